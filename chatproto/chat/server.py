"""A node's chat: takes requests from links, submits to the log, and tells its clients what was committed.

The pure parts decide (`hall`, `session`); this performs. Everything here runs on the reactor's thread. Chat does not
know which engine carries its log: on two nodes the very same code runs over the same agreed log, and what
concerns one node only (who is served where) is decided by acts that name nodes.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatproto.chat import effects
from chatproto.chat.acts import Act, Adopt, Decree, Forbid, Forget, decode_act
from chatproto.chat.answers import Answers
from chatproto.chat.arrivals import Arrivals
from chatproto.chat.bans import origin_of
from chatproto.chat.exodus import Exodus
from chatproto.chat.hall import Hall
from chatproto.chat.hearing import Hearing
from chatproto.chat.messages import (
    Ack,
    Error,
    Hello,
    Message,
    Notice,
    Quit,
    Request,
    Rewind,
    Said,
    decode_content,
    encode,
)
from chatproto.chat.neighbour import Neighbour
from chatproto.chat.opening import Opening
from chatproto.chat.partings import Partings
from chatproto.chat.people import Member
from chatproto.chat.portal import Aside, portal_of
from chatproto.chat.seat import Door, Seat, Seats
from chatproto.chat.session import Ask, Effect, EntryMaker, HangUp, Hold, Reply, SessionRules
from chatproto.chat.settings import ChatSettings
from chatproto.link import Turn
from chatproto.log.entry import MESSAGE, Entry, Run
from chatproto.log.interface import Found, ILog, Wanted
from chatproto.release import RELEASE
from chatproto.tally import Tally
from chatproto.wire.fields import SERVER_IDENTITY

log = Logger()

_REDUNDANCY = {
    "single": "this server works on its own",
    "paired": "two servers hold every message",
    "alone": "this server goes on without the other one: messages are held once until that is back",
    "isolated": "this server is cut off and confirms nothing: try the other one",
}


class ChatServer:
    """A node's chat over a log.

    Attributes:
        hall: the replayed state.
        seats: every session that this node serves, by key, those in their grace included.
        exodus: has the clients leave before this node stops.
        portal: lets accounts in, for front doors of your own: `IAvatar` for `IUsernamePassword` or `ITicket`.
        tally: what is counted.
        pages_elsewhere: addresses of the pages of all other servers that are known, those included that stand by.
    """

    def __init__(
        self,
        settings: ChatSettings,
        chat_log: ILog,
        turn: Turn,
        clock: IReactorTime,
        now: Callable[[], float],
        dice: random.Random,
        tally: Tally,
        aside: Aside = execute,
        checkers: Sequence[ICredentialsChecker] = (),
    ) -> None:
        """Make a node's chat; `start` brings it to where the log is.

        Args:
            settings: what can be set.
            chat_log: not opened yet.
            turn: of the reactor that all calls come from.
            clock: for the grace of sessions, and for what waits for the other node.
            now: the time of day in Unix seconds.
            dice: makes tokens and ids; it has to be the system's source where they must not be guessed.
            aside: runs what takes its time, as checking a password does.
            checkers: know whom to let in besides the accounts in the log.
            tally: counts what is committed and heard.
        """
        self.settings = settings
        self.log = chat_log
        self.hall = Hall()
        self._now = now
        self._clock = clock
        self._began = clock.seconds()
        self._turn = turn
        self.tally = tally
        self.pages_elsewhere: list[str] = []
        # A node makes ids that no client can guess and no other start of a node has.
        self._make = EntryMaker(f"{dice.getrandbits(64):016x}.")
        self._rules = SessionRules(settings.name, clients_min=settings.clients_min)
        self._set_rules()
        self.seats = seats = Seats(self.hall, self._rules, self._make)
        self._hearing = hearing = Hearing(settings, self.hall, chat_log, turn, tally, self._fed)
        self._neighbour = neighbour = Neighbour(settings, chat_log, seats, clock)
        self._answers = Answers(
            settings, self.hall, chat_log, hearing, seats, neighbour, dice, self.time, self._answered
        )
        self._opening = Opening(settings, self.hall, chat_log, seats)
        self._partings = Partings(settings, chat_log, seats, hearing, neighbour, clock, dice, self.time)
        self.exodus = Exodus(chat_log, seats, self._partings, neighbour, self.hung_up)
        self.portal = portal_of(self.hall, aside, self.time, checkers)
        self._arrivals = Arrivals(
            settings,
            self.hall,
            chat_log,
            seats,
            hearing,
            neighbour,
            self._partings,
            clock,
            dice,
            self.time,
            self.portal,
        )
        # Seats whose requests may go on after this batch, and those whose links wait for that.
        self._due: dict[Seat, None] = {}
        self._impatient: dict[Seat, None] = {}
        self._snapshot_due = False
        self._started = self._stopping = False
        self._life_begins = False
        self._adopted_epoch = 0
        self._serving = False
        self._redundancy = ""
        self._told_redundancy = False
        self._moment: float | None = None
        self._watchers: list[Callable[[], None]] = []
        self._performers: dict[type[Any], Callable[[Any, Seat | None], None]] = {
            effects.TellRooms: self._tell_rooms,
            effects.Tell: self._tell,
            effects.Refuse: self._refuse,
            effects.Entered: self._entered,
            effects.Left: self._left,
            effects.Arrived: self._arrived,
            effects.Attached: self._attached,
            effects.Unknown: lambda _, asker: self._arrivals.unknown(asker),
            effects.Overtaken: lambda _, asker: self._arrivals.overtaken(asker),
            effects.Expected: self._expected,
            effects.Gone: self._gone,
            effects.Ended: lambda effect, _: self._hearing.end(effect.room),
            effects.Warned: self._warned,
            effects.Dismissed: self._dismissed,
            effects.Denied: lambda effect, _: self._arrivals.denied(effect.session, effect.error),
            effects.Traced: self._traced,
            effects.Announced: self._announced,
            effects.Verdict: lambda effect, _: None,
        }

    # Life

    def start(self) -> None:
        """Replay the log; whoever was here when this node stopped is expected back, or said to have left."""
        self.log.open(self)
        self._started = True
        self._redundancy = self.log.redundancy
        self._opening.begin()
        self._life_begins = self.log.redundancy != "single" or self.settings.name in self._serving_nodes()
        self.changed()

    def stop(self) -> None:
        """Tell clients and close their links; their sessions go on when this node is back, or on the other."""
        self._stopping = True
        self._partings.stop([*self.seats.values(), *self._arrivals.seats])
        self._arrivals.clear()
        self._neighbour.stop()

    def search_by(self, find: Callable[[Wanted], "Deferred[Found]"]) -> None:
        """Have clients' searches answered by what finds messages of the log."""
        self._answers.search = find

    def change(self, settings: ChatSettings) -> None:
        """Take other settings into use.

        Name, addresses and what concerns the opening of the chat have to be the same; what a link takes when it begins,
        its rate and its ceilings in bytes, holds for those that begin from now on.
        """
        self.settings.become(settings)
        self._set_rules()
        # Other nodes, and the registry, are told the capacity.
        self.changed()

    def _set_rules(self) -> None:
        rules, settings = self._rules, self.settings
        rules.message_chars_max = settings.message_chars_max
        rules.rooms_per_owner_max = settings.rooms_per_owner_max
        rules.rooms_per_session_max = settings.rooms_per_session_max

    def refer(self, servers: list[str]) -> None:
        """Have clients that leave because of `stop` go to other servers, `HOST:PORT` each."""
        self._neighbour.refer(servers)

    def forget(self, first: dict[str, int]) -> None:
        """Have retention drop, in each room named, what lies before a position; the leader does it for both nodes."""
        if self.log.role != "leader":
            return
        for name, position in first.items():
            room = self.hall.rooms.get(name)
            if room is not None and room.first < position <= room.last + 1:
                self._submit(Forget(name, position))

    def decree(self, decree: Decree) -> "Deferred[Error | None]":
        """Have done what an operator of this node asks for; called back when it is, or with why it is refused.

        A node that is cut off has it done when it is not any more, which may be never.
        """
        petition: Deferred[Error | None] = Deferred()
        self._submit(decree, petition)
        return petition

    def _submit(self, act: Act, origin: "Deferred[Error | None] | None" = None) -> None:
        self.log.submit(self._make.act(act, self._make.id(), self.time(), origin))

    def _begin_life(self) -> None:
        """Say that whoever this node served before is served no more, ahead of anybody who comes now."""
        if self._life_begins:
            self._life_begins = False
            self._submit(Adopt(self.settings.name))

    def _go_on_alone(self) -> None:
        """Take on, once in an epoch, whoever the node served that is away now."""
        if self.log.role != "leader" or self._adopted_epoch == self.log.epoch:
            return
        redundancy, name = self.log.redundancy, self.settings.name
        # A node that works on its own has others' members only where it had another name, or was one of two, before.
        if redundancy == "alone" or (redundancy == "single" and self._serving_nodes() - {name}):
            self._adopted_epoch = self.log.epoch
            self._submit(Adopt(name, self.log.epoch))

    def _serving_nodes(self) -> set[str]:
        return {member.node for member in self.hall.members.values()}

    # Requests, from links

    def greet(self, link: Door) -> Seat | None:
        """Give a base client a session; None if it was turned away, with the reason, and closed."""
        self._begin_life()
        return self._arrivals.greet(link)

    def hello(self, link: Door, hello: Hello, current: Seat | None) -> Seat | None:
        """Give an extended client a session, or its old one back; None if it was turned away and closed.

        The seat of a client that comes with a session is a provisional one: `Door.seated` tells of the other.

        Args:
            link: the client's door.
            hello: its first line, or a later one of a client taken for a base client until now.
            current: the base session it has until now.
        """
        self._begin_life()
        seat = self._arrivals.hello(link, hello, current)
        if seat is not None and current is not None and current in self._impatient:
            del self._impatient[current]
            link.go_on()
        return seat

    def status(self, link: Door) -> None:
        """Tell a client that has no session how this node is."""
        link.send(self.status_line())

    def status_line(self) -> bytes:
        """Return how this node is, as the line that a client without a session is told."""
        status = msgspec.structs.replace(
            self._answers.status([]),
            version=RELEASE,
            up_s=round(self._clock.seconds() - self._began, 1),
            room_count=len(self.hall.rooms),
            entries=self.log.position,
            dropped=self.tally.dropped.total(),
        )
        return encode(status)

    @property
    def pages(self) -> list[str]:
        """The addresses of this node's page and of those that may ever be gone on with, as far as they are known."""
        return list(dict.fromkeys([*self._neighbour.all_pages, *self.pages_elsewhere]))

    def watch(self, changed: Callable[[], None]) -> None:
        """Have something called, from the start on, whenever role, epoch or redundancy may be another."""
        self._watchers.append(changed)

    def received(self, seat: Seat, requests: list[Request]) -> None:
        """Take a client's requests, in order."""
        self._perform(seat, seat.session.received(requests, self.time()))

    def impatient(self, seat: Seat) -> None:
        """Note that a link waits for its requests to be answered; `Door.go_on` tells it when."""
        self._impatient[seat] = None

    def hung_up(self, seat: Seat) -> None:
        """Let a client go that sends no more, but still listens: what it asked for, an archive too, is sent first."""
        self._perform(seat, seat.session.hang_up(self.time()))

    def lost(self, seat: Seat, link: Door) -> None:
        """Hear that a seat's connection is gone."""
        if seat.link is not link:
            return  # It has another one already.
        seat.link = None
        self._impatient.pop(seat, None)
        member = seat.session.member
        self._hearing.forsake(seat, member.rooms if member is not None else ())
        if not self._arrivals.lost(seat) and not self._stopping:
            self._partings.orphaned(seat)

    def time(self) -> float:
        """Return the time of day in Unix seconds, the same all through one reactor turn."""
        if self._moment is None:
            self._moment = self._now()
            self._turn.at_end(self._turn_ended)
        return self._moment

    def _turn_ended(self) -> None:
        self._moment = None

    def _perform(self, seat: Seat, doings: list[Effect]) -> None:
        for doing in doings:
            kind = type(doing)
            if kind is Entry:
                self.log.submit(doing)  # type: ignore[arg-type]
            elif kind is Reply:
                seat.send(encode(doing.line))  # type: ignore[union-attr]
            elif isinstance(doing, Hold):
                self._opening.hold(seat, doing.entry)
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
            self._perform(seat, seat.session.go_on(self.time()))
        self._appease(seat)

    def _appease(self, seat: Seat) -> None:
        """Let a link that waits for answers be read again, once few enough are due."""
        if seat in self._impatient and seat.session.in_flight <= self.settings.in_flight_max // 2:
            del self._impatient[seat]
            if seat.link is not None:
                seat.link.go_on()

    # `Replayed`: what the log says

    def rewound(self, first: dict[str, int]) -> None:
        """See `Replayed.rewound`."""
        for seat in self.seats.values():
            member = seat.session.member
            if member is None or seat.link is None or not seat.session.extended:
                continue
            for name in member.rooms:
                if name in first and self._hearing.transferred(seat, name) >= first[name]:
                    seat.send(encode(Rewind(name, first[name])))

    def restore(self, state: bytes | None) -> None:
        """See `Replayed.restore`."""
        if self._started:
            for seat in [*self.seats.values(), *self._arrivals.seats]:
                farewell = self._partings.farewell("isolated", extended=seat.session.extended)
                self._partings.drop(seat, "isolated", farewell)
            self._arrivals.clear()
            self._impatient.clear()
            self._life_begins = True
        self.hall.restore(state)
        self._opening.begin()

    def capture(self) -> tuple[bytes, dict[str, int]]:
        """See `Replayed.capture`."""
        return self.hall.snapshot(), self.hall.kept()

    def changed(self) -> None:
        """See `Replayed.changed`."""
        if not self._started:
            return  # The log is still being opened.
        self._begin_life()
        self._go_on_alone()
        if self.log.redundancy != self._redundancy and self.log.role != "standby":
            self._redundancy = self.log.redundancy
            self._tell_redundancy()
        self._arrivals.changed()
        if self._serving and not self.log.serving:
            self._partings.send_away([*self.seats.values(), *self._arrivals.seats])
        self._serving = self.log.serving
        self._neighbour.changed()
        for changed in self._watchers:
            changed()
        if not self._opening.over:
            self._opening.look()

    def _tell_redundancy(self) -> None:
        state = self._redundancy
        first, self._told_redundancy = not self._told_redundancy, True
        meaning = _REDUNDANCY.get(state, "")
        if state in ("alone", "isolated") and not first:
            log.warn(
                "redundancy lost: {state}; look at the other node, the witness and what connects them", state=state
            )
        else:
            log.info("redundancy: {state}", state=state)
        line = encode(Notice("redundancy", f"{state}: {meaning}"))
        for seat in self.seats.values():
            if seat.session.extended and seat.session.member is not None:
                seat.send(line)

    def told(self, note: bytes) -> None:
        """See `Replayed.told`."""
        self._neighbour.told(note, self._answers.asked)

    def replay(self, run: Run) -> None:
        """See `Replayed.replay`."""
        if run.kind == MESSAGE:
            self.hall.said(run.room, run.last_position)
        else:
            for line in run.lines():
                self.hall.apply(decode_act(line), run.epoch)

    def commit(self, runs: list[Run]) -> None:
        """See `Replayed.commit`."""
        self._count(runs)
        for run in runs:
            if run.kind == MESSAGE:
                self._said(run)
            else:
                self._acted(run)
        self._hearing.spill()
        if not self._opening.over:
            # Before what waited: that was asked later.
            self._opening.look()
        if self._due:
            due, self._due = self._due, {}
            for seat in due:
                self._perform(seat, seat.session.go_on(self.time()))
        for seat in list(self._impatient):
            self._appease(seat)
        self._neighbour.counted()

    def _count(self, runs: list[Run]) -> None:
        tally, messages, acts, oldest = self.tally, 0, 0, None
        for run in runs:
            if run.kind == MESSAGE:
                messages += len(run.ids)
            else:
                acts += len(run.ids)
            if oldest is None and run.entries and run.entries[0].origin is not None:
                oldest = run.entries[0].time
        tally.messages += messages
        tally.acts += acts
        tally.batch_entries.observe(messages + acts)
        if oldest is not None:
            # The time of day may be set back meanwhile.
            tally.commit_s.observe(max(0.0, self._now() - oldest))

    def _said(self, run: Run) -> None:
        room = self.hall.said(run.room, run.last_position)
        self._hearing.said(run)
        for entry in run.entries:
            seat: Seat | None = entry.origin
            if seat is None:
                continue  # Somebody's on the other node.
            session = seat.session
            session.unconfirmed -= 1
            if session.waiting and session.may_go_on:
                self._due[seat] = None
        for offset in run.retriable if run.entries else ():
            seat = run.entries[offset].origin
            if seat is not None:
                self._acknowledge(seat, run, offset, gone=room is None)

    def _acknowledge(self, seat: Seat, run: Run, offset: int, *, gone: bool) -> None:
        id = run.ids[offset]
        if gone:
            seat.send(encode(Error("no-such-room", f"{run.room} was deleted", id=id, roomid=run.room)))
        else:
            seat.send(encode(Ack(id, run.room, run.position + offset, run.epoch, self.log.durable)))

    def repeated(self, entry: Entry, run: Run | None, offset: int) -> None:
        """See `Replayed.repeated`."""
        seat: Seat | None = entry.origin
        if seat is None:
            return
        seat.session.unconfirmed -= 1
        if run is None:
            seat.send(encode(Error("forgotten", "it was said once; retention has dropped it", id=entry.id)))
        elif decode_content(run.lines()[offset]) != decode_content(entry.head + b"}"):
            seat.send(encode(Error("id-reused", "this id was used for another message", id=entry.id)))
        else:
            self._acknowledge(seat, run, offset, gone=False)
        self._go_on(seat)

    def _acted(self, run: Run) -> None:
        for at, line in enumerate(run.lines()):
            act = decode_act(line)
            origin: Seat | Deferred[Error | None] | None = run.entries[at].origin if run.entries else None
            asker = origin if isinstance(origin, Seat) else None
            for effect in self.hall.apply(act, run.epoch):
                self._performers[type(effect)](effect, asker)
                if isinstance(effect, effects.Verdict) and isinstance(origin, Deferred):
                    origin.callback(effect.error)
            if isinstance(act, Forget) and not self._snapshot_due:
                self._snapshot_due = True
                self._turn.at_end(self._snapshot)
            if asker is not None:
                asker.session.acted()
                # Not at once: what waited may be answered only after what the rooms heard.
                if asker.session.may_go_on:
                    self._due[asker] = None

    def _snapshot(self) -> None:
        # Purging what retention has dropped follows from a snapshot that says so.
        self._snapshot_due = False
        self.log.snapshot()

    # Effects

    def _tell_rooms(self, effect: effects.TellRooms, asker: Seat | None) -> None:
        self._hearing.tell(effect.rooms, encode(effect.line))

    def _tell(self, effect: effects.Tell, asker: Seat | None) -> None:
        self._say_to(effect.member, effect.line)

    def _refuse(self, effect: effects.Refuse, asker: Seat | None) -> None:
        if effect.member.token is not None:
            self._say_to(effect.member, effect.error)

    def _warned(self, effect: effects.Warned, asker: Seat | None) -> None:
        extended = effect.member.token is not None
        self._say_to(effect.member, effect.error if extended else Said(SERVER_IDENTITY, effect.error.message))

    def _dismissed(self, effect: effects.Dismissed, asker: Seat | None) -> None:
        seat, error = self.seats.get(effect.member.key), effect.error
        if seat is not None:
            last = error if seat.session.extended else Said(SERVER_IDENTITY, error.message)
            self._partings.drop(seat, error.code, encode(last))

    def _traced(self, effect: effects.Traced, asker: Seat | None) -> None:
        seat, ban = self.seats.get(effect.member.key), effect.ban
        origin = origin_of(seat.host) if seat is not None else ""
        if origin:
            decree = Forbid(subject=origin, until=ban.until, time=self.time(), reason=ban.reason, by=ban.by)
            self._submit(decree)

    def _announced(self, effect: effects.Announced, asker: Seat | None) -> None:
        for key in list(self.seats):
            self._announce(key, effect.content)

    def _say_to(self, member: Member, line: Message) -> None:
        seat = self.seats.get(member.key)
        if seat is not None and seat.link is not None:
            self._hearing.tell_one(seat, member.rooms, encode(line))

    def _arrived(self, effect: effects.Arrived, asker: Seat | None) -> None:
        self._opening.counted()
        self._arrivals.arrived(effect.member)
        if self.settings.announcement:
            # After its greeting, which this batch brings.
            self._turn.at_end(lambda: self._announce(effect.member.key, self.settings.announcement))

    def _announce(self, key: str, text: str) -> None:
        seat = self.seats.get(key)
        if seat is not None and seat.session.member is not None:
            seat.send(encode(Notice("announcement", text) if seat.session.extended else Said(SERVER_IDENTITY, text)))

    def _entered(self, effect: effects.Entered, asker: Seat | None) -> None:
        seat = self.seats.get(effect.member.key)
        if seat is not None and seat.link is not None:
            self._hearing.enter(seat, effect.room, effect.index, effect.history, effect.epoch)

    def _left(self, effect: effects.Left, asker: Seat | None) -> None:
        seat = self.seats.get(effect.member.key)
        if seat is not None:
            self._hearing.leave(seat, effect.room)

    def _attached(self, effect: effects.Attached, asker: Seat | None) -> None:
        seat = self._arrivals.attached(effect.member, asker)
        if seat is None:
            return
        if not self._opening.over:
            self._opening.tell([seat])
        self._due[seat] = None
        if asker in self._impatient:
            del self._impatient[asker]
            self._impatient[seat] = None

    def _expected(self, effect: effects.Expected, asker: Seat | None) -> None:
        if effect.member.node == self.settings.name:
            self._partings.expect(effect.member)
        elif effect.member.key in self.seats:
            farewell = self._partings.farewell("isolated", extended=True)
            self._partings.drop(self.seats[effect.member.key], "isolated", farewell)

    def _gone(self, effect: effects.Gone, asker: Seat | None) -> None:
        self._opening.counted()
        seat = self.seats.get(effect.member.key)
        if seat is not None:
            self._partings.drop(seat)

    # Clients that send no more

    def _fed(self, seat: Seat) -> None:
        if seat.leaving:
            self._let_go(seat)

    def _hang_up(self, seat: Seat) -> None:
        if self.exodus.part_from(seat):
            # Of an archive it gets the rest when it is back, here or elsewhere.
            return
        seat.leaving = True
        if not seat.feeds:
            self._let_go(seat)

    def _let_go(self, seat: Seat) -> None:
        """Part from a client that sends no more: for a base client that is the end, an extended one may be back."""
        if not seat.session.extended:
            self.received(seat, [Quit()])
        elif seat.link is not None:
            seat.link.close()
