"""The chat on a terminal: lines in the middle, rooms and members beside them, the state and the prompt below."""

import time
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.cli import commands
from chatproto.cli.asking import ask, bans_in_words, reason, results_in_words, status_in_words
from chatproto.cli.conversation import Conversation, Pending, RoomView, Tone
from chatproto.cli.history import History
from chatproto.cli.widgets import Members, Prompt, Rooms, StatusLine
from chatproto.client import ChatClient, events
from chatproto.client.events import Event, HistoryPage, Sent
from chatproto.errors import ClientError

PAGE_MESSAGES = 100
ROOMS_EVERY_S = 20.0
"""How often all rooms are asked for: the server does not tell of rooms that others make."""

MEMBERS_FROM_CELLS, ROOMS_FROM_CELLS = 100, 72
"""From which width on the panels are shown."""

KEYS = [
    "PageUp, PageDown or the wheel scroll; at the top, older messages are fetched.",
    "Up and Down bring back what you typed; Tab completes commands, rooms and names.",
    "Alt-Enter or Ctrl-J begins another line; Escape goes back to the newest message.",
    "Ctrl-N and Ctrl-P go through the rooms you are in; F2 shows or hides the lists beside.",
    "Ctrl-C copies what is selected with the mouse, or leaves, as Ctrl-D does on an empty line.",
]

log = Logger()


class ChatApp(App[str]):
    """The chat on a terminal; returns one line on what went wrong, an empty one if nothing did."""

    TITLE = "chatproto"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (the base class has it as an instance variable)
        (0, "-narrow"),
        (ROOMS_FROM_CELLS, "-medium"),
        (MEMBERS_FROM_CELLS, "-wide"),
    ]
    CSS = """
    Screen { background: $background; }
    #middle { height: 1fr; }
    History { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; scrollbar-gutter: stable;
              overflow-x: hidden; border-top: solid $panel; border-title-color: $text; border-title-style: bold; }
    Panel { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; border: none; padding: 0 1;
            border-title-color: $text-muted; }
    #rooms { width: 24; border-right: solid $panel; border-top: solid $panel; }
    #members { width: 22; border-left: solid $panel; border-top: solid $panel; }
    .-narrow #rooms, .-narrow #members, .-medium #members { display: none; }
    .panels-shown #rooms, .panels-shown #members { display: block; }
    .panels-hidden #rooms, .panels-hidden #members { display: none; }
    .-narrow #rooms, .-narrow #members, .-medium #rooms { width: 18; }
    StatusLine { height: 1; padding: 0 1; background: $panel; }
    Prompt { height: auto; max-height: 8; padding: 0 1; background: $surface; border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        # Not by way of the prompt, which may have much to do.
        Binding("ctrl+c", "copy_or_leave", "leave", priority=True),
        Binding("ctrl+q", "leave", "leave", priority=True),
    ]

    def __init__(self, client: ChatClient, servers: str = "") -> None:
        """Chat as `client` does, which is started and stopped here; `servers` says where it connects to."""
        super().__init__()
        self.client = client
        self.conversation = Conversation()
        self._servers = servers
        self._history = History(id="history")
        self._rooms = Rooms(id="rooms")
        self._members = Members(id="members")
        self._status = StatusLine(id="status")
        self._prompt = Prompt(id="prompt")
        self._changed = False
        self._drawn_room = ""
        self._fetching = ""
        self._leaving = False
        self._warned = False

    def compose(self) -> ComposeResult:
        """Yield what the terminal shows."""
        with Horizontal(id="middle"):
            yield self._rooms
            yield self._history
            yield self._members
        yield self._status
        yield self._prompt

    def on_mount(self) -> None:
        """Begin."""
        self._prompt.focus()
        self.client.subscribe(self._heard)
        self.client.startService()
        self.set_interval(ROOMS_EVERY_S, self._list_rooms)
        self._change()

    # What the client says

    def _heard(self, event: Event) -> None:
        self.conversation.heard(event, time.time())
        match event:
            case events.Welcomed():
                self._list_rooms()
            case events.Moved(identity=self.client.identity, room=room) if room:
                # The server tells by itself who is in MainHall only.
                self.client.who(room).addErrback(self._unimportant)
            case events.StateChanged(state="stopped") if not self._leaving:
                self._leaving = True
                self.exit(f"the connection has ended: {event.reason}")
        self._change()

    def _list_rooms(self) -> None:
        if self.conversation.state == "online":
            self.client.list_rooms().addErrback(self._unimportant)

    @staticmethod
    def _unimportant(failure: Failure) -> None:
        # It is asked for again, and nothing that was said depends on it.
        if failure.check(ClientError) is None:
            log.failure("asking how the rooms are", failure)

    # What is typed

    def on_prompt_entered(self, entered: Prompt.Entered) -> None:
        """Do what a line says."""
        self._warned = False
        command = commands.parse(entered.line)
        match command:
            case None:
                pass
            case commands.Mistake():
                self._note(command.text, Tone.WRONG)
            case commands.Help():
                lines = commands.explanations(command.command, aligned=False)
                self._note("\n".join([*lines, *(() if command.command else KEYS)]), Tone.ANSWER)
            case commands.Quit():
                self.action_leave()
            case commands.Say():
                self._say(command.content)
            case commands.Join(room=room) if room in self.conversation.rooms:
                self.conversation.show(room)
            case _:
                asking = ask(self.client, command, self.conversation.shown)
                asking.addCallback(self._answered, command)
                asking.addErrback(self._failed)
                asking.addErrback(self._broken)
        self._history.show(self._lines(), self._header(), from_the_end=True)
        self._change()

    def _say(self, content: str) -> None:
        saying = self.conversation.say(content, time.time())
        if saying is None:
            self._note("There is no room to say that in yet.", Tone.WRONG)
            return
        room, pending = saying
        sending = self.client.send(content, room.name)
        sending.addCallbacks(self._sent, self._not_sent, (room, pending), {}, (room, pending))
        sending.addErrback(self._broken)

    def _sent(self, sent: Sent, room: RoomView, pending: Pending) -> None:
        room.acknowledged(pending, sent.index)
        self._change()

    def _not_sent(self, failure: Failure, room: RoomView, pending: Pending) -> None:
        self.conversation.failed(room, pending, reason(failure), time.time())
        self._change()

    def _answered(self, answer: Any, command: commands.Request) -> None:
        conversation = self.conversation
        match command:
            case commands.Join():
                conversation.show(command.room)
            case commands.Who():
                names = " ".join(sorted(answer.identities, key=str.casefold)) or "nobody"
                owner = f" (owned by {answer.owner})" if answer.owner else ""
                self._note(f"In {answer.room}{owner}: {names}", Tone.ANSWER)
            case commands.ListRooms():
                rooms = "  ".join(f"{name} {count}" for name, count in sorted(answer.items()))
                self._note(f"Rooms: {rooms}", Tone.ANSWER)
            case commands.CreateRoom():
                self._note(f"{command.room} is there, and yours. To go there: #join {command.room}", Tone.ANSWER)
            case commands.DeleteRoom():
                self._note(f"{command.room} is deleted.", Tone.ANSWER)
            case commands.Kick():
                text = f"{command.identity} is put out of {command.room} for {command.seconds} seconds."
                self._note(text, Tone.ANSWER)
            case commands.ListBans():
                self._note("\n".join(bans_in_words(answer)), Tone.ANSWER)
            case commands.Ban() | commands.Unban() | commands.Silence() | commands.Unsilence() | commands.CloseRoom():
                self._note("Done.", Tone.ANSWER)
            case commands.Private():
                conversation.private(command.to, command.content, time.time(), own=True)
                if not answer.sessions:
                    self._note(f"{command.to} was not reached.", Tone.WRONG)
            case commands.Search():
                self._note("\n".join(results_in_words(answer)), Tone.ANSWER)
            case commands.ShowStatus():
                self._note("\n".join(status_in_words(answer)), Tone.ANSWER)
            case _:
                pass
        self._change()

    def _failed(self, failure: Failure) -> None:
        self._note(reason(failure), Tone.WRONG)
        self._change()

    def _broken(self, failure: Failure) -> None:
        log.failure("a line could not be carried out", failure)

    def _note(self, text: str, tone: Tone) -> None:
        self.conversation.note(text, time.time(), tone)

    # What is older

    def on_history_at_top(self, event: History.AtTop) -> None:
        """Fetch a page of what is older."""
        room = self.conversation.here
        if room is None or not room.more or self._fetching or self.conversation.state != "online":
            return
        self._fetching = room.name
        fetching = self.client.history_page(room.name, before=room.first, limit=PAGE_MESSAGES)
        fetching.addCallback(self._fetched, room)
        fetching.addErrback(self._unimportant)
        fetching.addBoth(self._fetched_or_not)
        self._change()

    def _fetched(self, page: HistoryPage, room: RoomView) -> None:
        room.older([self.conversation.message(said) for said in page.messages], page.more)

    def _fetched_or_not(self, result: object) -> None:
        self._fetching = ""
        self._change()

    # Drawing

    def _change(self) -> None:
        """Draw once, however much happens at once."""
        if not self._changed:
            self._changed = True
            self.call_next(self._draw)

    def _draw(self) -> None:
        self._changed = False
        conversation = self.conversation
        another = conversation.shown != self._drawn_room
        self._drawn_room = conversation.shown
        self._history.border_title = conversation.shown
        self._history.show(self._lines(), self._header(), from_the_end=another)
        self._rooms.show_rooms(conversation)
        self._members.show_members(conversation)
        self._prompt.rooms, self._prompt.names = conversation.room_names(), conversation.names()
        self._prompt.placeholder = f"Say something in {conversation.shown}, or #help" if conversation.shown else ""
        self._show_status()

    def _show_status(self) -> None:
        hidden = not self._rooms.display
        self._status.show(self.conversation, self._history.unseen, rooms_are_hidden=hidden)

    def on_history_scrolled(self, event: History.Scrolled) -> None:
        """Tell how much came below what is in sight."""
        self._show_status()

    def _lines(self) -> Any:
        room = self.conversation.here
        return room.lines() if room is not None else ()

    def _header(self) -> str:
        room = self.conversation.here
        if room is None:
            return f"Connecting to {self._servers} …"
        if self._fetching == room.name:
            return "fetching older messages …"
        if room.more and room.first != 1:
            return "scroll up for older messages"
        return f"the beginning of {room.name}"

    def on_resize(self) -> None:
        """Fit the state into the new width."""
        self._change()

    # Keys

    async def on_prompt_pressed(self, pressed: Prompt.Pressed) -> None:
        """Do what a key means that has nothing to do with the line being typed."""
        await self.run_action(pressed.action)

    def action_scroll(self, pages: int) -> None:
        """Scroll the lines."""
        self._history.scroll_pages(pages)
        self._change()

    def action_to_the_end(self) -> None:
        """Show the newest line."""
        self._history.scroll_end(animate=False)
        self.screen.clear_selection()
        self._change()

    def action_turn(self, step: int) -> None:
        """Show another of the rooms that we are in."""
        self.conversation.turn(step)
        self._change()

    def on_rooms_chosen(self, chosen: Rooms.Chosen) -> None:
        """Show a room that was clicked, entering it where we are not in it."""
        self.on_prompt_entered(Prompt.Entered(f"#join {chosen.name} stay"))

    def on_click(self) -> None:
        """Go on typing in the prompt, whatever was clicked."""
        self._prompt.focus()

    def action_panels(self) -> None:
        """Show the lists beside if they are hidden, hide them if they are shown."""
        shown = bool(self._rooms.display)
        self.screen.set_class(not shown, "panels-shown")
        self.screen.set_class(shown, "panels-hidden")
        self.call_after_refresh(self._change)

    def action_help(self) -> None:
        """Explain everything."""
        self.on_prompt_entered(Prompt.Entered("#help"))

    def action_copy_or_leave(self) -> None:
        """Copy what is selected; leave if nothing is."""
        selected = self.screen.get_selected_text() or self._prompt.selected_text
        if selected:
            self.copy_to_clipboard(selected)
            self.screen.clear_selection()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Leave; while something is not acknowledged, only when asked twice."""
        waiting = self.conversation.unacknowledged
        if waiting and not self._warned and not self._leaving:
            self._warned = True
            what = "One message is" if waiting == 1 else f"{waiting} messages are"
            self._note(f"{what} not acknowledged yet. Once more, and you leave all the same.", Tone.WRONG)
            self._change()
        else:
            self.leave()

    def leave(self) -> None:
        """Leave politely; asked again before the server has answered, without waiting for it."""
        if self._leaving:
            self.exit("left without waiting for the server")
            return
        self._leaving = True
        waiting = self.conversation.unacknowledged
        problem = f"{waiting} of your messages were not acknowledged" if waiting else ""
        stopping = maybeDeferred(self.client.stopService)
        stopping.addErrback(lambda failure: log.failure("leaving", failure))
        stopping.addCallback(lambda ignored: self.exit(problem))
