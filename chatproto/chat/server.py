"""A node's chat: takes requests from links, submits to the log, and tells its clients what was committed.

The pure parts decide (`hall`, `session`); this performs. Everything here runs on the reactor's thread.
"""

import hashlib
import random
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from chatproto.chat import hall as effects
from chatproto.chat.acts import Depart, Forget, decode_act
from chatproto.chat.answers import Answers
from chatproto.chat.hall import Hall, Member
from chatproto.chat.hearing import Hearing
from chatproto.chat.messages import (
    VERSION,
    Ack,
    Error,
    Hello,
    JoinExtended,
    Message,
    Notice,
    Quit,
    Request,
    Said,
    Welcome,
    decode_content,
    encode,
)
from chatproto.chat.seat import Door, Seat
from chatproto.chat.session import (
    Ask,
    Effect,
    EntryMaker,
    HangUp,
    Reply,
    Session,
    SessionRules,
    history_allowed,
)
from chatproto.chat.settings import ChatSettings
from chatproto.link import Turn
from chatproto.log.entry import MESSAGE, Entry, Run
from chatproto.log.interface import ILog
from chatproto.wire.fields import SERVER_IDENTITY


class ChatServer:
    """A node's chat over a log.

    Attributes:
        hall: the replayed state.
        seats: every session that this node serves, by key, those in their grace included.
    """

    def __init__(
        self,
        settings: ChatSettings,
        chat_log: ILog,
        turn: Turn,
        clock: IReactorTime,
        now: Callable[[], float],
        dice: random.Random,
    ) -> None:
        """Make a node's chat; `start` brings it to where the log is.

        Args:
            settings: what can be set.
            chat_log: not opened yet.
            turn: of the reactor that all calls come from.
            clock: for the grace of sessions.
            now: the time of day in Unix seconds.
            dice: makes tokens and ids; it has to be the system's source where they must not be guessed.
        """
        self.settings = settings
        self.log = chat_log
        self.hall = Hall()
        self.seats: dict[str, Seat] = {}
        self._clock = clock
        self._now = now
        self._dice = dice
        self._turn = turn
        # A node makes ids that no client can guess and no other start of a node has.
        self._make = EntryMaker(f"{dice.getrandbits(64):016x}.")
        self._rules = SessionRules(
            settings.name,
            settings.message_chars_max,
            settings.rooms_per_owner_max,
            settings.rooms_per_session_max,
        )
        self._hearing = Hearing(self.hall, chat_log, turn, settings.history, self._fed)
        self._answers = Answers(self.hall, chat_log, self._hearing, self.seats, dice, self._time, self._answered)
        self._impatient: dict[Seat, None] = {}
        self._snapshot_due = False
        self._stopping = False
        self._moment: float | None = None
        self._performers: dict[type[Any], Callable[[Any], None]] = {
            effects.TellRooms: self._tell_rooms,
            effects.Tell: self._tell,
            effects.Refuse: self._refuse,
            effects.Entered: self._entered,
            effects.Left: self._left,
            effects.Arrived: self._arrived,
            effects.Gone: self._gone,
            effects.Ended: self._ended,
        }

    # Life

    def start(self) -> None:
        """Replay the log; whoever was here when this node stopped is expected back, or said to have left."""
        self.log.open(self._restore, self._replay, self._commit, self._repeated, self._capture)
        for member in list(self.hall.members.values()):
            if member.token is None:
                # A base client's session ended with the node; it takes nobody's seat.
                gone = Depart(member.key, lost=True)
                self.log.submit(self._make.act(gone, self._make.id(), self._time(), None))
                continue
            session = Session(member.key, self.hall, self._rules, self._make, extended=True)
            seat = self.seats[member.key] = Seat(session, None)
            seat.lost = True
            self._orphaned(seat)

    def stop(self) -> None:
        """Tell clients and close their links; their sessions go on when this node is back."""
        self._stopping = True
        for seat in list(self.seats.values()):
            seat.cancel_grace()
            if seat.link is not None:
                farewell = Notice("shutting-down", f"{self.settings.name} is shutting down")
                seat.link.close(encode(farewell) if seat.session.extended else b"")

    def _capture(self) -> tuple[bytes, dict[str, int]]:
        return self.hall.snapshot(), self.hall.kept()

    def forget(self, first: dict[str, int]) -> None:
        """Have retention drop, in each room named, what lies before a position."""
        for name, position in first.items():
            room = self.hall.rooms.get(name)
            if room is not None and room.first < position <= room.last + 1:
                self.log.submit(self._make.act(Forget(name, position), self._make.id(), self._time(), None))

    # Requests, from links

    def greet(self, link: Door) -> Seat | None:
        """Give a base client a session; None if it was turned away, with the reason, and closed."""
        if self._full():
            link.close(encode(Said(SERVER_IDENTITY, self._full_text())))
            return None
        seat = self._seat(link, None)
        self._submit(seat.session.enter(self._time(), None, None, self.settings.history))
        return seat

    def hello(self, link: Door, hello: Hello, current: Seat | None) -> Seat | None:
        """Give an extended client a session, or its old one back; None if it was turned away and closed.

        Args:
            link: the client's door.
            hello: its first line, or a later one of a client taken for a base client until now.
            current: the base session it has until now.
        """
        refusal = self._hello_refusal(hello)
        if refusal is not None:
            link.close(encode(refusal))
            return None
        member = self.hall.tokens.get(_hash(hello.session)) if hello.session else None
        if member is None and current is None and self._full():
            link.close(encode(Error("full", self._full_text())))
            return None
        if current is not None:
            if current in self._impatient:
                del self._impatient[current]
                link.go_on()
            current.link = None
            self._forsake(current)
        link.welcomed()
        if member is not None:
            return self._return(link, hello, member)
        seat = self._seat(link, f"{self._dice.getrandbits(128):032x}")
        if hello.session:
            seat.send(encode(Notice("session-unknown", "your session is over; this is a new one")))
        history = self.settings.history if hello.history is None else hello.history
        assert seat.token is not None
        self._submit(seat.session.enter(self._time(), hello, _hash(seat.token), history))
        return seat

    def received(self, seat: Seat, requests: list[Request]) -> None:
        """Take a client's requests, in order."""
        self._perform(seat, seat.session.received(requests, self._time()))

    def impatient(self, seat: Seat) -> None:
        """Note that a link waits for its requests to be answered; `Door.go_on` tells it when."""
        self._impatient[seat] = None

    def hung_up(self, seat: Seat) -> None:
        """Hear that a client sends no more, but still listens: what it asked for, an archive too, is sent first."""
        self._perform(seat, seat.session.hang_up(self._time()))

    def lost(self, seat: Seat, link: Door) -> None:
        """Hear that a seat's connection is gone."""
        if seat.link is not link:
            return  # It has another one already.
        seat.link = None
        self._impatient.pop(seat, None)
        member = seat.session.member
        self._hearing.forsake(seat, member.rooms if member is not None else ())
        if not self._stopping:
            self._orphaned(seat)

    def _full(self) -> bool:
        return len(self.seats) >= self.settings.capacity

    def _full_text(self) -> str:
        return f"{self.settings.name} is full: it takes {self.settings.capacity} clients; try again later"

    def _hello_refusal(self, hello: Hello) -> Error | None:
        if hello.version != VERSION:
            return Error("version", f"this node speaks version {VERSION} of the extensions")
        if not history_allowed(hello.history) or any(wanted.index < 1 for wanted in hello.resume):
            return Error("bad-request", "history is all, none or a number; from is 1 or more")
        if len(hello.resume) > self.settings.rooms_per_session_max:
            return Error("too-many-rooms", f"one session is in at most {self.settings.rooms_per_session_max} rooms")
        return None

    def _seat(self, link: Door, token: str | None) -> Seat:
        key = self._make.id()
        session = Session(key, self.hall, self._rules, self._make, extended=token is not None)
        seat = self.seats[key] = Seat(session, link, token)
        return seat

    def _return(self, link: Door, hello: Hello, member: Member) -> Seat:
        seat = self.seats.get(member.key)
        if seat is None:
            session = Session(member.key, self.hall, self._rules, self._make, extended=True)
            seat = self.seats[member.key] = Seat(session, None)
        seat.cancel_grace()
        seat.token = hello.session
        seat.lost = seat.leaving = False
        older, seat.link = seat.link, link
        if older is not None:
            self._hearing.forsake(seat, member.rooms)
            older.close(encode(Error("session-moved", "a newer connection has this session")))
        self._welcome(seat, member)
        wanted = {resume.roomid: resume.index for resume in hello.resume}
        for name in member.rooms:
            seat.send(encode(self.hall.contents(name)))
        for name in member.rooms:
            self._hearing.enter(seat, name, wanted.pop(name, None), hello.history)
        if wanted:
            self.received(seat, [JoinExtended(name, stay=True, index=at) for name, at in wanted.items()])
        return seat

    def _welcome(self, seat: Seat, member: Member) -> None:
        assert seat.token is not None
        welcome = Welcome(
            VERSION,
            self.settings.name,
            seat.token,
            member.identity,
            self.log.epoch,
            self.log.role,
            self.log.redundancy,
            self.settings.servers,
        )
        seat.send(encode(welcome))

    def _orphaned(self, seat: Seat) -> None:
        """Give a session without a connection its grace, which is none for a base client's."""
        if not seat.session.extended:
            self._forsake(seat)
        elif seat.session.member is not None:
            seat.grace = self._clock.callLater(self.settings.session_grace_s, self._forsake, seat)

    def _forsake(self, seat: Seat) -> None:
        seat.grace = None
        self._submit(seat.session.depart(self._time(), lost=seat.lost))

    def _time(self) -> float:
        """Return the time of day, the same all through one reactor turn."""
        if self._moment is None:
            self._moment = self._now()
            self._turn.at_end(self._turn_ended)
        return self._moment

    def _turn_ended(self) -> None:
        self._moment = None

    def _submit(self, entry: Entry) -> None:
        self.log.submit(entry)

    def _perform(self, seat: Seat, doings: list[Effect]) -> None:
        for doing in doings:
            kind = type(doing)
            if kind is Entry:
                self.log.submit(doing)  # type: ignore[arg-type]
            elif kind is Reply:
                seat.send(encode(doing.line))  # type: ignore[union-attr]
            else:
                assert isinstance(doing, Ask)
                if isinstance(doing.request, HangUp):
                    self._hang_up(seat)
                else:
                    self._answers.answer(seat, doing.request)

    def _answered(self, seat: Seat) -> None:
        seat.session.acted()
        self._go_on(seat)

    def _go_on(self, seat: Seat) -> None:
        if seat.session.may_go_on:
            self._perform(seat, seat.session.go_on(self._time()))
        self._appease(seat)

    def _appease(self, seat: Seat) -> None:
        """Let a link that waits for answers be read again, once few enough are due."""
        if seat in self._impatient and seat.session.in_flight <= self.settings.in_flight_max // 2:
            del self._impatient[seat]
            if seat.link is not None:
                seat.link.go_on()

    # Commits, from the log

    def _restore(self, state: bytes) -> None:
        self.hall.restore(state)

    def _replay(self, run: Run) -> None:
        if run.kind == MESSAGE:
            self.hall.said(run.room, run.position + len(run.ids) - 1)
        else:
            for line in run.lines():
                self.hall.apply(decode_act(line))

    def _commit(self, runs: list[Run]) -> None:
        waiting: dict[Seat, None] = {}
        for run in runs:
            if run.kind == MESSAGE:
                self._said(run, waiting)
            else:
                self._acted(run, waiting)
        self._hearing.spill()
        for seat in waiting:
            self._perform(seat, seat.session.go_on(self._time()))
        for seat in list(self._impatient):
            self._appease(seat)

    def _said(self, run: Run, waiting: dict[Seat, None]) -> None:
        room = self.hall.said(run.room, run.position + len(run.ids) - 1)
        self._hearing.said(run)
        for entry in run.entries:
            seat: Seat = entry.origin
            session = seat.session
            session.unconfirmed -= 1
            if session.waiting and session.may_go_on:
                waiting[seat] = None
        for offset in run.retriable if run.entries else ():
            self._acknowledge(run.entries[offset].origin, run, offset, gone=room is None)

    def _acknowledge(self, seat: Seat, run: Run, offset: int, *, gone: bool) -> None:
        id = run.ids[offset]
        if gone:
            seat.send(encode(Error("no-such-room", f"{run.room} was deleted", id=id, roomid=run.room)))
        else:
            seat.send(encode(Ack(id, run.room, run.position + offset, run.epoch, self.log.durable)))

    def _repeated(self, entry: Entry, run: Run | None, offset: int) -> None:
        seat: Seat = entry.origin
        seat.session.unconfirmed -= 1
        if run is None:
            seat.send(encode(Error("forgotten", "it was said once; retention has dropped it", id=entry.id)))
        elif decode_content(run.lines()[offset]) != decode_content(entry.head + b"}"):
            seat.send(encode(Error("id-reused", "this id was used for another message", id=entry.id)))
        else:
            self._acknowledge(seat, run, offset, gone=False)
        self._go_on(seat)

    def _acted(self, run: Run, waiting: dict[Seat, None]) -> None:
        for at, line in enumerate(run.lines()):
            act = decode_act(line)
            for effect in self.hall.apply(act):
                self._performers[type(effect)](effect)
            if isinstance(act, Forget) and not self._snapshot_due:
                self._snapshot_due = True
                self._turn.at_end(self._snapshot)
            seat: Seat | None = run.entries[at].origin if run.entries else None
            if seat is not None:
                seat.session.acted()
                # Not at once: what waited may be answered only after what the rooms heard.
                if seat.session.may_go_on:
                    waiting[seat] = None

    def _snapshot(self) -> None:
        # Purging what retention has dropped follows from a snapshot that says so.
        self._snapshot_due = False
        self.log.snapshot()

    # Effects

    def _tell_rooms(self, effect: effects.TellRooms) -> None:
        self._hearing.tell(effect.rooms, encode(effect.line))

    def _tell(self, effect: effects.Tell) -> None:
        self._say_to(effect.member, effect.line)

    def _refuse(self, effect: effects.Refuse) -> None:
        if effect.member.token is not None:
            self._say_to(effect.member, effect.error)

    def _say_to(self, member: Member, line: Message) -> None:
        seat = self.seats.get(member.key)
        if seat is not None and seat.link is not None:
            self._hearing.tell_one(seat, member.rooms, encode(line))

    def _entered(self, effect: effects.Entered) -> None:
        seat = self.seats.get(effect.member.key)
        if seat is not None and seat.link is not None:
            self._hearing.enter(seat, effect.room, effect.index, effect.history)

    def _left(self, effect: effects.Left) -> None:
        seat = self.seats.get(effect.member.key)
        if seat is not None:
            self._hearing.leave(seat, effect.room)

    def _arrived(self, effect: effects.Arrived) -> None:
        seat = self.seats.get(effect.member.key)
        if seat is None:
            return
        seat.session.member = effect.member
        if seat.session.extended:
            if seat.link is None:
                self._orphaned(seat)
            else:
                self._welcome(seat, effect.member)

    def _gone(self, effect: effects.Gone) -> None:
        seat = self.seats.pop(effect.member.key, None)
        if seat is None:
            return
        seat.cancel_grace()
        seat.session.member = None
        if seat.link is not None:
            link, seat.link = seat.link, None
            link.close()

    def _ended(self, effect: effects.Ended) -> None:
        self._hearing.end(effect.room)

    # Partings

    def _fed(self, seat: Seat) -> None:
        if seat.leaving:
            self._let_go(seat)

    def _hang_up(self, seat: Seat) -> None:
        seat.leaving = True
        if not seat.feeds:
            self._let_go(seat)

    def _let_go(self, seat: Seat) -> None:
        """Part from a client that sends no more: for a base client that is the end, an extended one may be back."""
        if not seat.session.extended:
            self.received(seat, [Quit()])
        elif seat.link is not None:
            seat.link.close()


def _hash(token: str) -> str:
    """Return what the log keeps of a session's token, so that reading the log lets nobody in."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
