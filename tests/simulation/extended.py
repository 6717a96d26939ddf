"""A client of the extensions, done by hand and honestly: what the reference promises is all it relies on.

It is told by the reference alone, not by `chatproto.client`, so that the two can be wrong in different ways.
"""

from typing import ClassVar

from chatproto.chat.messages import (
    Ack,
    CreateRoom,
    Delete,
    Error,
    Gap,
    Hello,
    History,
    HistoryAsked,
    IdentityChange,
    JoinExtended,
    Kick,
    Leave,
    List,
    Message,
    Notice,
    Ping,
    Pong,
    Private,
    PrivateAck,
    PrivateAsked,
    Redirect,
    Resume,
    Rewind,
    RoomChange,
    RoomContents,
    SaidExtended,
    SayExtended,
    Status,
    StatusAsked,
    Welcome,
    Who,
    decode_server_line,
    encode,
)
from chatproto.errors import WireError
from chatproto.testing.checkers import Forks, Presence, RoomView, Violation, behind
from tests.simulation.talking import IDENTITIES, Actions, TalkingClient

NEVER = frozenset({"bad-line", "bad-request", "already-welcome", "version", "id-invalid", "content-too-long"})
"""Errors that an honest client never sees."""


class ExtendedClient(TalkingClient):
    """Says things with ids that it keeps until they are acknowledged, in several rooms, and resumes.

    Attributes:
        token: of its session.
        said: everything it said, by id: the room, None for the one joined last, and the content.
        pending: ids of what is neither acknowledged nor refused yet.
        acked: ids of what is acknowledged.
        views: what it was told, by room.
        presence: who is where, as it was told.
        welcomes: how many sessions it began, and how many it went on with.
        errors: the codes of all errors it heard.
        gaps: how often it was told that something will not come.
        rewinds: how often it was told that something holds no more.
        server: the name of the node that welcomed it last.
        moves: how often a session went on at the other node.
        redirects: why it was sent to the other node, each time that it was.
    """

    def reset(self) -> None:
        self.token: str | None = None
        self.said: dict[str, tuple[str | None, str]] = {}
        self.pending: dict[str, None] = {}
        self.acked: dict[str, None] = {}
        self.views: dict[str, RoomView] = {}
        self.presence = Presence(self.name)
        self.welcomes = {"begun": 0, "resumed": 0}
        self.errors: list[str] = []
        self.gaps = 0
        self.rewinds = 0
        self.redirects: list[str] = []
        self.server = ""
        self.moves = 0
        self.status: Status | None = None
        self._privates: set[str] = set()
        self._positions: dict[str, int] = {}
        self._resumed_from: dict[str, int] = {}
        # What a session was asked for over one connection it may do over the next.
        self._joining: dict[str, int] = {}
        self.lost()

    def lost(self) -> None:
        self.online = False
        self.status = None
        self._returning = False
        self._last_words: str | None = None
        self._asked: set[str] = set()

    def greet(self) -> None:
        self._resumed_from = {room: view.next for room, view in self.views.items() if view.next is not None}
        resume = [Resume(room, index, self.views[room].epoch) for room, index in self._resumed_from.items()]
        hello = Hello(1, self.dice.choice(IDENTITIES), self.token, resume, self.history)
        self.send(encode(hello))

    # What it hears

    def hear(self, line: bytes) -> None:
        try:
            message = decode_server_line(line)
        except WireError as error:
            if not self.online:
                return
            raise Violation(f"{self.name} is sent {line!r}, which is no line of the protocol: {error}") from None
        if not self.online and not isinstance(message, Welcome | Error | Notice | Ping):
            # Our `hello` was late, and until it came we were taken for a base client.
            return
        if self._returning and not isinstance(message, RoomContents):
            self._returned()
        own = self.presence.identity
        self.presence.hear(message)
        if isinstance(message, RoomChange):
            if message.identity == own and message.former != message.roomid:
                self._go(message.former, message.roomid)
                if not self.presence.rooms:
                    raise Violation(f"{self.name} is there, and hears that its session is over: {message}")
        else:
            hears = getattr(self, f"_hear_{type(message).__name__.lower()}", None)
            if hears is not None:
                hears(message)

    def _hear_welcome(self, welcome: Welcome) -> None:
        resumed = welcome.session == self.token
        self.welcomes["resumed" if resumed else "begun"] += 1
        self.moves += resumed and welcome.server != self.server
        self.server = welcome.server
        self.token = welcome.session
        self.presence.begin(welcome.identity if resumed else "")
        self.online = True
        self._resumed = self._returning = resumed
        # What goes on was asked for by `hello`; of the others only their being there is known.
        self.views = {room: self.views[room] for room in self._resumed_from} if resumed else {}
        if not resumed:
            self._joining = {}
        for id in self.pending:
            self._send_again(id)
        self.tell(StatusAsked())

    def _hear_roomcontents(self, contents: RoomContents) -> None:
        self._asked.discard(contents.roomid)
        if contents.roomid in self.presence.rooms and contents.roomid not in self.views:
            # A room that the session came into while there was no connection.
            self._enter(contents.roomid)

    def _returned(self) -> None:
        """All rooms of the session have been told; into the others it is let again, from where it was, if at all."""
        self._returning = False
        for room in [room for room in self.views if room not in self.presence.rooms]:
            del self.views[room]
            self._joining[room] = self._resumed_from[room]

    def _enter(self, room: str) -> None:
        wanted = self._joining.get(room)
        self.views[room] = RoomView(self.deployment.chronicle, room, self.name, self.history, wanted)

    def _go(self, former: str, room: str) -> None:
        if former:
            view = self.views.pop(former)
            if view.next is not None:
                self._positions[former] = view.next
        if room:
            self._enter(room)
            if not self._resumed:
                # A session that begins enters the rooms that `hello` names, before anything else.
                self.views[room].next = self._resumed_from.pop(room, None)
            self.tell(StatusAsked())

    def _hear_saidextended(self, said: SaidExtended) -> None:
        if said.roomid not in self.views:
            raise Violation(f"{self.name} is in {list(self.views)} and hears {said}")
        self.views[said.roomid].said(said)
        if said.id in self.said and said.content != self.said[said.id][1]:
            raise Violation(f"{self.name} said {self.said[said.id]} and hears {said}")

    def _hear_gap(self, gap: Gap) -> None:
        self.gaps += 1
        if gap.roomid in self.views:
            self.views[gap.roomid].gap(gap)

    def _hear_rewind(self, rewind: Rewind) -> None:
        if not isinstance(self.deployment.chronicle, Forks):
            raise Violation(f"{self.name} hears {rewind}, and nothing was ever lost")
        self.rewinds += 1
        if rewind.roomid in self.views:
            self.views[rewind.roomid].rewind(rewind)

    def _hear_history(self, page: History) -> None:
        RoomView(self.deployment.chronicle, page.roomid, self.name, self.history).page(page)

    def _hear_status(self, status: Status) -> None:
        self.status = status
        for room in status.rooms:
            if room.roomid not in self.views:
                raise Violation(f"{self.name} is in {list(self.views)} and hears {status}")
            self.views[room.roomid].transferred(room.transferred)

    def _hear_ack(self, ack: Ack) -> None:
        if ack.id not in self.said:
            raise Violation(f"{self.name} hears {ack}, having said nothing of that id")
        room, content = self.said[ack.id]
        if room not in (None, ack.roomid):
            raise Violation(f"{self.name} hears {ack}, having spoken in {room}")
        self.pending.pop(ack.id, None)
        self.acked[ack.id] = None
        self.deployment.acknowledgements.heard(ack, content)

    def _hear_privateack(self, ack: PrivateAck) -> None:
        # Whoever has an account has several devices, and who left may have ended after some heard it.
        devices_max = 3 if ack.to in self.deployment.chronicle.hall.accounts else 1
        if ack.id not in self._privates or not 0 <= ack.delivered <= devices_max:
            raise Violation(f"{self.name} hears {ack}, having whispered {self._privates}")

    def _hear_private(self, private: Private) -> None:
        if not private.content.startswith("private "):
            raise Violation(f"{self.name} hears {private}, which was said in a room")

    def _hear_error(self, error: Error) -> None:
        self.errors.append(error.code)
        if error.code in NEVER or (error.code == "id-reused" and error.id not in self.acked):
            raise Violation(f"{self.name} hears {error}")
        if error.id is not None:
            # Refused, so perhaps not kept; an acknowledgement of an earlier try may still come.
            self.pending.pop(error.id, None)
        if error.code == "no-such-room" and error.roomid is not None:
            self._resumed_from.pop(error.roomid, None)
        if error.code == "session-moved":
            # Nobody else has the token: it was an older connection of our own that came late.
            self.end()

    def _hear_redirect(self, redirect: Redirect) -> None:
        self.redirects.append(redirect.reason)

    def _hear_ping(self, ping: Ping) -> None:
        self.tell(Pong())

    # What it says

    def act(self) -> None:
        if self.online:
            self.draw(self.ACTIONS)(self)

    def ask(self) -> None:
        if self.online:
            self.tell(Ping())

    def tell(self, message: Message) -> None:
        self.send(encode(message))

    def _send_again(self, id: str) -> None:
        room, content = self.said[id]
        self.tell(SayExtended(content, id, room))

    def say(self) -> str:
        """Say something; return its id."""
        id = f"{self.dice.getrandbits(64):016x}"
        self.said[id] = (self.dice.choice([*self.presence.rooms, None]), self.content())
        self.pending[id] = None
        self._send_again(id)
        return id

    def _say_at_once(self) -> None:
        for _ in range(self.dice.randint(2, 12)):
            self.say()

    def _say_twice(self) -> None:
        self._send_again(self.say())

    def _repeat(self) -> None:
        """Say again what is acknowledged: the same acknowledgement comes again."""
        if self.acked:
            self._send_again(self.dice.choice(list(self.acked)))

    def _say_otherwise(self) -> None:
        """Use an id again for something else; not where a server may not know of it yet, which no client can tell."""
        if self.acked and not isinstance(self.deployment.chronicle, Forks):
            self.tell(SayExtended(self.content(), self.dice.choice(list(self.acked))))

    def _join(self) -> None:
        room = self.draw_room()
        index = None
        if room in self._positions and room not in (*self.views, *self._joining) and self.dice.random() < 0.5:
            index = self._joining[room] = self._positions[room]
        self.tell(JoinExtended(room, self.dice.random() < 0.6, index))

    def _turn_pages(self) -> None:
        index = self.dice.randint(1, 40)
        if self.dice.random() < 0.5:
            self.tell(HistoryAsked(self.draw_room(), index, limit=self.dice.randint(1, 30)))
        else:
            self.tell(HistoryAsked(self.draw_room(), None, index, limit=self.dice.randint(1, 30)))

    def _kick(self) -> None:
        room, identity = self.draw_victim(self.presence.identity)
        self.tell(Kick(room, identity, self.dice.randint(1, 3)))

    def _whisper(self) -> None:
        id = f"{self.dice.getrandbits(64):016x}"
        self._privates.add(id)
        self.tell(PrivateAsked(self.draw_somebody(), "private " + self.content(), id))

    ACTIONS: ClassVar[Actions] = (
        (30, say),
        (4, _say_at_once),
        (4, _say_twice),
        (4, _repeat),
        (1, _say_otherwise),
        (10, _join),
        (4, lambda self: self.tell(Leave(self.draw_room()))),
        (3, lambda self: self.tell(Who(self.draw_room()))),
        (1, lambda self: self.tell(List())),
        (3, lambda self: self.tell(IdentityChange(self.dice.choice(IDENTITIES)))),
        (6, lambda self: self.tell(CreateRoom(self.draw_room()))),
        (1, lambda self: self.tell(Delete(self.draw_room()))),
        (5, _kick),
        (4, lambda self: self.tell(StatusAsked())),
        (3, _turn_pages),
        (2, _whisper),
    )

    # The end

    def finish(self) -> None:
        if not self.online:
            return
        if self._last_words is None:
            self._last_words = self.say()
        self.status = None
        self.tell(StatusAsked())
        self._asked = set(self.presence.rooms)
        for room in self.presence.rooms:
            self.tell(Who(room))

    def unsettled(self) -> list[str]:
        if not self.online:
            return [f"{self.name} is not online"]
        return [f"{self.name} waits for the acknowledgement of {id}" for id in self.pending]

    def unfinished(self) -> list[str]:
        found = self.unsettled() + self.presence.differences(self.deployment.chronicle.hall)
        if self._last_words is None or self.status is None or self._asked:
            found.append(f"{self.name} still asks")
        else:
            found += behind(self.status, self.deployment.chronicle)
        for room, view in self.views.items():
            last = self.deployment.chronicle.last(room)
            if view.next != last + 1:
                found.append(f"{self.name} was brought to {view.next} in {room}, which ends at {last}")
        return found
