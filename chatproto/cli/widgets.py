"""What stands around the lines on the terminal: rooms, members, the state, and the line being typed."""

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static, TextArea

from chatproto.cli.conversation import Conversation
from chatproto.cli.history import name_style
from chatproto.cli.prompt import Completion, Recall, complete
from chatproto.cli.text import harmless

_GREY = "#7d8590"
_GOOD, _WORRY, _BAD = "#7ee787", "#e3b341", "#ff7b72"
_STATES = {"online": ("●", _GOOD), "connecting": ("◌", _WORRY), "waiting": ("◌", _BAD), "stopped": ("○", _BAD)}
_REDUNDANCY = {"paired": _GOOD, "single": _GREY, "alone": _WORRY, "isolated": _BAD}


class Panel(VerticalScroll, can_focus=False):
    """A list beside the lines, which scrolls when it is long."""

    def __init__(self, *, id: str) -> None:
        """Show nothing yet."""
        super().__init__(id=id)
        self.border_title = id.capitalize()
        self._list = Static(markup=False)

    def compose(self) -> ComposeResult:
        """Yield what it is made of."""
        yield self._list

    def show(self, rows: list[Text]) -> None:
        """Show a list."""
        for row in rows:
            row.no_wrap, row.overflow = True, "ellipsis"
        self._list.update(Text("\n").join(rows))


class Rooms(Panel):
    """All rooms; one that is clicked is shown, or entered."""

    class Chosen(Message):
        """Somebody clicked on a room."""

        def __init__(self, name: str) -> None:
            """Say which."""
            super().__init__()
            self.name = name

    def __init__(self, *, id: str) -> None:
        """Show nothing yet."""
        super().__init__(id=id)
        self._names: list[str] = []

    def show_rooms(self, conversation: Conversation) -> None:
        """Show the rooms that we are in, with what is unread, then the others."""
        self._names = conversation.room_names()
        rows = []
        for name in self._names:
            room = conversation.rooms.get(name)
            count = conversation.counts.get(name)
            row = Text.assemble(("▌ ", _GOOD) if name == conversation.shown else "  ")
            style = _GREY if room is None else "bold" if name == conversation.shown or room.unread else ""
            row.append(harmless(name), style)
            if room is not None and room.unread:
                row.append(f" {room.unread} new", f"bold {_WORRY if room.to_us else _GOOD}")
            elif count is not None:
                row.append(f" {count}", _GREY)
            rows.append(row)
        self.show(rows)

    def on_click(self, event: events.Click) -> None:
        """Say which room was clicked."""
        row = event.screen_y - self._list.region.y
        if 0 <= row < len(self._names):
            self.post_message(self.Chosen(self._names[row]))


class Members(Panel):
    """Who is in the room shown."""

    def __init__(self, *, id: str) -> None:
        """Show nobody yet."""
        super().__init__(id=id)
        self._shown: tuple[set[str], str, str] | None = None

    def show_members(self, conversation: Conversation) -> None:
        """Show them, the owner marked."""
        room = conversation.here
        members, owner = (room.members.copy(), room.owner) if room is not None else (set(), "")
        # Most of what is said changes nothing here, and there may be many to draw.
        if self._shown == (members, owner, conversation.identity):
            return
        self._shown = members, owner, conversation.identity
        rows = []
        for name in sorted(members, key=str.casefold):
            row = Text(harmless(name), "bold" if name == conversation.identity else name_style(name))
            if name == owner:
                row.append(" owner", _GREY)
            rows.append(row)
        self.border_title = f"Members {len(rows)}" if rows else "Members"
        self.show(rows)


class StatusLine(Static):
    """The connection, who and where we are, and what waits."""

    def __init__(self, *, id: str) -> None:
        """Show nothing yet."""
        super().__init__(id=id, markup=False)

    def show(self, conversation: Conversation, unseen: int, *, rooms_are_hidden: bool) -> None:
        """Show the state; where there is little room, what matters least goes first."""
        parts = self._parts(conversation, unseen, rooms_are_hidden=rooms_are_hidden)
        cells = self.content_size.width
        while len(parts) > 2 and sum(part.cell_len + 3 for _, part in parts) - 3 > cells:
            parts.remove(max(parts, key=lambda ranked: ranked[0]))
        line = Text.assemble((" │ ", _GREY)).join(part for _, part in parts)
        line.no_wrap, line.overflow = True, "ellipsis"
        self.update(line)

    @staticmethod
    def _parts(conversation: Conversation, unseen: int, *, rooms_are_hidden: bool) -> list[tuple[int, Text]]:
        """Return what there is to say, each part with its rank: the higher, the less it matters."""
        sign, colour = _STATES.get(conversation.state, ("?", _BAD))
        where = f" at {conversation.server}" if conversation.server else ""
        why = f": {conversation.reason}" if conversation.state != "online" and conversation.reason else ""
        parts = [(0, Text.assemble((f"{sign} ", colour), harmless(f"{conversation.state}{where}{why}")))]
        if conversation.redundancy:
            text = Text(harmless(conversation.redundancy), _REDUNDANCY.get(conversation.redundancy, _BAD))
            parts.append((1, text))
        if conversation.shown:
            parts.append((5, Text(harmless(f"{conversation.identity} in {conversation.shown}"))))
        if conversation.unacknowledged:
            parts.append((2, Text(f"{conversation.unacknowledged} not acknowledged yet", _WORRY)))
        if unseen:
            parts.append((3, Text(f"↓ {unseen} new", f"bold {_GOOD}")))
        if rooms_are_hidden:
            for room in conversation.rooms.values():
                if room.unread:
                    style = f"bold {_WORRY if room.to_us else _GOOD}"
                    parts.append((4, Text(f"{harmless(room.name)} {room.unread} new", style)))
        return parts


_APP_ACTIONS = {
    "pageup": "scroll(-1)",
    "pagedown": "scroll(1)",
    "escape": "to_the_end",
    "ctrl+n": "turn(1)",
    "ctrl+p": "turn(-1)",
    "f1": "help",
    "f2": "panels",
}


def _actions() -> dict[str, str]:
    """Return what keys mean in the line being typed: as Textual has it, with ours in place of some."""
    actions = {}
    for binding in TextArea.BINDINGS:
        assert isinstance(binding, Binding)
        actions.update(dict.fromkeys(binding.key.split(","), binding.action))
    actions["enter"] = "enter"
    actions["tab"] = "complete"
    actions.update(dict.fromkeys(("shift+enter", "alt+enter", "ctrl+j"), "new_line"))
    return actions


_ACTIONS = _actions()


class Prompt(TextArea):
    """The line being typed; it grows when it is long, and may have several lines.

    Attributes:
        rooms: what Tab offers as rooms.
        names: what Tab offers as names.
    """

    class Entered(Message):
        """A line was entered."""

        def __init__(self, line: str) -> None:
            """Say which."""
            super().__init__()
            self.line = line

    class Pressed(Message):
        """A key was pressed that means something to the App."""

        def __init__(self, action: str) -> None:
            """Say what."""
            super().__init__()
            self.action = action

    def __init__(self, *, id: str) -> None:
        """Begin empty."""
        super().__init__(id=id, soft_wrap=True, compact=True, highlight_cursor_line=False, show_line_numbers=False)
        self.rooms: list[str] = []
        self.names: list[str] = []
        self._recall = Recall()
        self._completion: Completion | None = None
        self._completed = ""

    async def on_key(self, event: events.Key) -> None:
        """Do what a key means here and now.

        Textual looks for the meaning of a key when it has gone up to the App and come back. Keys that come fast,
        typed by a program or over a slow line, would overtake each other: Enter the letters before it.
        """
        key = event.key
        if key in _APP_ACTIONS or (key == "ctrl+d" and not self.text):
            # By the way that lines entered take: the room is not turned before what was said in it is on its way.
            self.post_message(self.Pressed(_APP_ACTIONS.get(key, "leave")))
        elif key in _ACTIONS:
            await self.run_action(_ACTIONS[key])
        else:
            return
        event.stop()
        event.prevent_default()

    def action_enter(self) -> None:
        """Enter the line."""
        line = self.text.replace("\r\n", "\n")
        if line.strip():
            self._recall.add(line)
            self.text = ""
            self.post_message(self.Entered(line))

    def action_new_line(self) -> None:
        """Go on in a new line."""
        self.insert("\n")

    def action_complete(self) -> None:
        """Complete the word before the cursor; pressed again, try the next way."""
        if self._completion is None or self.text != self._completed:
            typed = self.get_text_range((0, 0), self.cursor_location)
            self._completion = complete(self.text, len(typed), self.rooms, self.names)
        if self._completion is None:
            self.app.bell()
            return
        line, cursor = self._completion.next()
        self._put(line, cursor)
        self._completed = self.text

    def action_cursor_up(self, select: bool = False) -> None:
        """Go up a row, or at the first one to the line typed before."""
        if not select and self.navigator.is_first_wrapped_line(self.cursor_location):
            self._put(self._recall.older(self.text))
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        """Go down a row, or at the last one to the line typed after."""
        if not select and self.navigator.is_last_wrapped_line(self.cursor_location):
            self._put(self._recall.newer(self.text))
        else:
            super().action_cursor_down(select)

    def _put(self, line: str | None, cursor: int | None = None) -> None:
        if line is None:
            return
        self.text = line
        typed = line[:cursor]
        self.move_cursor((typed.count("\n"), len(typed) - typed.rfind("\n") - 1))
