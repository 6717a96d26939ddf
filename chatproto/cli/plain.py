"""The chat in lines: what is read are messages and commands, what is written is one event a line.

Each line begins with a word that says what it is; fields follow, separated by one space; what anybody wrote
stands last and is harmless (`chatproto.cli.text`). An empty field is `-`, a time is local, in ISO 8601.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.messages import Status
from chatproto.cli import commands
from chatproto.cli.asking import ask, code, reason
from chatproto.cli.text import harmless, iso_time
from chatproto.client import ChatClient, events
from chatproto.client.events import Event, Sent

FORMAT = """\
state STATE SERVER REDUNDANCY REASON
failover FORMER SERVER SECONDS REASON
identity NAME
message ROOM INDEX TIME NAME TEXT
private TIME NAME TEXT
sent ROOM INDEX
delivered NAME SESSIONS direct|relayed
renamed FORMER NAME
moved NAME FORMER ROOM
members ROOM OWNER NAME ...
rooms ROOM=COUNT ...
found ROOM INDEX TIME NAME TEXT
status ROLE EPOCH REDUNDANCY ARCHIVED TRANSFERRED PEER=LAG ...
done COMMAND
banned WHO UNTIL NAME TEXT
missing ROOM FROM TO REASON
rewound ROOM INDEX
notice CODE TEXT
redirect REASON SERVER ...
refused CODE TEXT
mistake TEXT
help TEXT
"""
"""Every line that is written."""

UNACKNOWLEDGED_MAX = 500
"""Messages under way before no more lines are read."""

log = Logger()


class PlainChat:
    """A chat in lines.

    Attributes:
        finished: fires when the client has left, with one line on what went wrong; an empty one if nothing did.
    """

    def __init__(
        self,
        client: ChatClient,
        clock: IReactorTime,
        write: Callable[[str], None],
        *,
        name: str | None = None,
        rooms: tuple[str, ...] = (),
        connect_timeout_s: float = 10.0,
        hold: Callable[[bool], None] = lambda held: None,
    ) -> None:
        """Chat as `client` does, and write lines, each without its newline.

        `name` and `rooms` are those that the client was made with. Not getting them is a failure: what is
        said then would be said under the wrong name or in the wrong place. `hold` is told to read no more lines
        for now (true), or to go on (false).
        """
        self.finished: Deferred[str] = Deferred()
        self._client = client
        self._clock = clock
        self._write = write
        self._name = name
        self._rooms = rooms
        self._connect_timeout_s = connect_timeout_s
        self._hold = hold
        self._held = False
        self._lines: deque[str] = deque()
        self._ended = False
        self._ready = False
        self._asking = False
        self._leaving = False
        self._unacknowledged = 0
        # Up to where rooms have been told, and where in them the last message of ours is that was not told yet.
        self._told: dict[str, int] = {}
        self._echoes: dict[str, int] = {}
        self._refusals = 0
        self._first_refusal = ""
        self._state = "stopped"
        self._state_told: Event | None = None
        # The server that was lost, why, and when, until there is one again.
        self._server = ""
        self._lost: tuple[str, str, float] | None = None
        self._reason = ""
        self._timer: IDelayedCall | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin."""
        self._unsubscribe = self._client.subscribe(self._heard)
        self._client.startService()
        self._watch()

    # Lines in

    def line(self, line: str) -> None:
        """Take a line that was read."""
        if not self._ended:
            self._lines.append(line)
            self._go_on()

    def end(self) -> None:
        """Take that no more lines come: leave as soon as all that was asked is answered."""
        self._ended = True
        self._go_on()

    def _go_on(self) -> None:
        while self._may_go_on():
            self._perform(self._lines.popleft())
        held = bool(self._lines) or self._leaving
        if held != self._held:
            self._held = held
            self._hold(held)
        if self._all_answered and not self._echoes:
            self.leave()
        self._watch()

    @property
    def _all_answered(self) -> bool:
        return self._ended and self._ready and not (self._lines or self._asking or self._unacknowledged)

    def _may_go_on(self) -> bool:
        free = self._ready and not self._asking and not self._leaving
        return free and bool(self._lines) and self._unacknowledged < UNACKNOWLEDGED_MAX

    def _perform(self, line: str) -> None:
        command = commands.parse(line)
        match command:
            case None:
                pass
            case commands.Mistake():
                self._out("mistake", text=command.text)
                self._refused(command.text)
            case commands.Help():
                for explained in commands.explanations(command.command):
                    self._out("help", text=explained)
            case commands.Quit():
                self._lines.clear()
                self._ended = True
            case commands.Say():
                self._unacknowledged += 1
                sending = self._client.send(command.content, self._client.room)
                sending.addCallback(self._sent)
                sending.addErrback(self._failed)
                sending.addBoth(self._acknowledged)
            case _:
                # The next line may depend on it: what follows a `#join` is meant for that room.
                self._asking = True
                asking = ask(self._client, command, self._client.room)
                asking.addCallback(self._answered, command, line)
                asking.addErrback(self._failed)
                asking.addBoth(self._answer_taken)

    def _sent(self, sent: Sent) -> None:
        self._out("sent", sent.room, sent.index)
        if sent.index > self._told.get(sent.room, 0):
            self._echoes[sent.room] = sent.index

    def _came(self, room: str, index: int) -> None:
        """Take that a room has been told up to an index."""
        self._told[room] = index
        if index >= self._echoes.get(room, index + 1):
            del self._echoes[room]
            self._clock.callLater(0, self._go_on)

    def _acknowledged(self, result: Any) -> None:
        self._unacknowledged -= 1
        self._later(result)

    def _answer_taken(self, result: Any) -> None:
        self._asking = False
        self._later(result)

    def _later(self, result: Any) -> None:
        if isinstance(result, Failure):
            log.failure("a line could not be carried out", result)
        # Not at once: with answers that come at once this would go as deep as there are lines.
        self._clock.callLater(0, self._go_on)

    # Answers

    def _answered(self, answer: Any, command: commands.Request, line: str) -> None:
        match command:
            case commands.ShowStatus():
                self._status(answer)
            case commands.Search():
                for said in answer.messages:
                    self._out("found", said.room, said.index, iso_time(said.time), said.identity, text=said.content)
                self._out("done", text=line.strip())
            case commands.Private():
                self._out("delivered", command.to, answer.sessions, "direct" if answer.direct else "relayed")
            case commands.ListBans():
                for ban in answer:
                    self._out("banned", ban.who, iso_time(ban.until), ban.by, text=ban.reason)
                self._out("done", text=line.strip())
            case commands.Who() | commands.ListRooms():
                pass  # The client tells its listeners the same.
            case _:
                self._out("done", text=line.strip())

    def _failed(self, failure: Failure) -> None:
        why = reason(failure)
        if not self._leaving:
            self._out("refused", code(failure), text=why)
            self._refused(why)

    def _refused(self, text: str) -> None:
        self._refusals += 1
        self._first_refusal = self._first_refusal or text

    def _status(self, status: Status) -> None:
        peers = [f"{peer.name}={peer.lag}" for peer in status.peers]
        kept = (status.archived, status.transferred)
        self._out("status", status.role, status.epoch, status.redundancy, *kept, *peers)

    # Events

    def _heard(self, event: Event) -> None:
        match event:
            case events.StateChanged():
                self._state_changed(event)
            case events.Welcomed():
                self._out("identity", event.identity)
            case events.Said():
                place = (event.room, event.index, iso_time(event.time))
                self._out("message", *place, event.identity, text=event.content)
                self._came(event.room, event.index)
            case events.PrivateSaid():
                self._out("private", iso_time(event.time), event.identity, text=event.content)
            case events.Renamed():
                self._out("renamed", event.former, event.identity)
            case events.Moved():
                self._out("moved", event.identity, event.former, event.room)
                if event.identity == self._client.identity:
                    # We are told no more of what is said there.
                    self._echoes.pop(event.former, None)
            case events.Members():
                self._out("members", event.room, event.owner, *sorted(event.identities))
            case events.Rooms():
                self._out("rooms", *(f"{name}={count}" for name, count in sorted(event.rooms.items())))
            case events.Missing():
                self._out("missing", event.room, event.start, event.end, text=event.reason)
                self._came(event.room, event.end)
            case events.Rewound():
                self._out("rewound", event.room, event.index)
            case events.Noticed():
                self._out("notice", event.code, text=event.content)
            case events.Redirected():
                self._out("redirect", event.reason, *event.servers)
            case events.Refusal():
                self._reason = event.message or event.code
                self._out("refused", event.code, text=event.message)
                if not self._ready and (event.room in self._rooms or event.code.startswith("identity-")):
                    self.leave(self._reason)
        self._watch()

    def _state_changed(self, event: events.StateChanged) -> None:
        # That it is tried again, and again in vain, is no news.
        again = self._state == "waiting" and event.state == "connecting"
        if not again and event != self._state_told:
            self._state_told = event
            self._out("state", event.state, event.server, event.redundancy, text=event.reason)
        now = self._clock.seconds()
        if self._state == "online" and event.state == "waiting":
            self._lost = self._server, event.reason, now
        elif self._lost is not None and event.state == "online":
            former, reason, at = self._lost
            self._lost = None
            self._out("failover", former, event.server, f"{now - at:.2f}", text=reason)
        self._state, self._server, self._reason = event.state, event.server, event.reason or self._reason
        if event.state == "stopped":
            self.leave(f"the connection has ended: {event.reason}")

    def _watch(self) -> None:
        """See whether the client is where it was asked to be, and how long that may still take."""
        client = self._client
        if not self._ready and self._state == "online" and {*self._rooms} <= {*client.rooms}:
            self._ready = self._name is None or client.identity == self._name
            if self._ready:
                self._clock.callLater(0, self._go_on)
        # What comes back of what was said is waited for too, for the sake of who reads the lines.
        late = self._ended and (self._state != "online" or self._all_answered)
        hurry = not self._leaving and (late or not self._ready)
        if hurry and self._timer is None:
            self._timer = self._clock.callLater(self._connect_timeout_s, self._too_late)
        elif not hurry and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self._all_answered:
            self.leave()
            return
        waited = f"no server let us in within {self._connect_timeout_s:g} s"
        self.leave(f"{waited}: {self._reason}" if self._reason else waited)

    # Ends

    def leave(self, problem: str = "") -> None:
        """Leave politely, whatever is still under way; `finished` fires when that is done."""
        if self._leaving:
            return
        self._leaving = True
        if not problem and self._unacknowledged:
            problem = f"{self._unacknowledged} of your messages were not acknowledged"
        if not problem and self._refusals:
            count = "one line was" if self._refusals == 1 else f"{self._refusals} lines were"
            problem = f"{count} not carried out: {self._first_refusal}"
        self._watch()
        self._unsubscribe()
        stopping = maybeDeferred(self._client.stopService)
        stopping.addErrback(lambda failure: log.failure("leaving", failure))
        stopping.addCallback(lambda ignored: self.finished.callback(harmless(problem)))

    def _out(self, word: str, *fields: object, text: str | None = None) -> None:
        shown = [word, *(harmless(str(field)).replace(" ", "_") or "-" for field in fields)]
        if text is not None:
            shown.append(harmless(text) or "-")
        self._write(" ".join(shown))
