"""How clients come to a node: as newcomers, or with a session that may have been elsewhere.

A client that comes with a session takes no shortcut, even where this node knows the session: it asks for it by an
entry of the log (`Attach`). Whatever it has seen, on whatever node, is applied here before that entry is.
"""

import random
from collections import Counter
from collections.abc import Callable

from twisted.cred.portal import Portal
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatproto.chat.authority import banned
from chatproto.chat.hall import Hall
from chatproto.chat.hearing import Hearing
from chatproto.chat.logins import Logins
from chatproto.chat.messages import (
    VERSION,
    Error,
    Hello,
    JoinExtended,
    Notice,
    Said,
    Welcome,
    encode,
)
from chatproto.chat.neighbour import Neighbour
from chatproto.chat.partings import Partings
from chatproto.chat.passwords import token_hash
from chatproto.chat.people import Member
from chatproto.chat.portal import IAvatar
from chatproto.chat.seat import Door, Seat, Seats
from chatproto.chat.session import HangUp, Proof, history_allowed
from chatproto.chat.settings import ChatSettings
from chatproto.log.entry import Entry
from chatproto.log.interface import ILog
from chatproto.wire.addresses import split_tls
from chatproto.wire.fields import SERVER_IDENTITY

HOLD_S_MAX = 2.0
"""How long newcomers wait on a node that has just started and cannot serve yet."""
MOVED = "session-moved"

LOGIN_REQUIRED = Error("login-required", "this server lets nobody in without an account")

log = Logger()


class Arrivals:
    """Lets clients in.

    Attributes:
        arriving: the provisional seats of clients that came with a session, until the log knows whether there is one.
    """

    def __init__(
        self,
        settings: ChatSettings,
        hall: Hall,
        chat_log: ILog,
        seats: Seats,
        hearing: Hearing,
        neighbour: Neighbour,
        partings: Partings,
        clock: IReactorTime,
        dice: random.Random,
        time: Callable[[], float],
        portal: Portal,
    ) -> None:
        """Let clients in to a node.

        Args:
            settings: what can be set.
            hall: the replayed state.
            chat_log: takes the arrivals.
            seats: of the sessions that this node serves.
            hearing: of those who hear its rooms.
            neighbour: who may have room where this node has none.
            partings: for those who cannot come in, and those whose session was elsewhere.
            clock: for how long newcomers are held.
            dice: makes tokens; it has to be the system's source where they must not be guessed.
            time: the time of day in Unix seconds.
            portal: knows the accounts.
        """
        self.arriving: dict[Seat, Hello] = {}
        # The sessions they come with, by the hashes of their tokens.
        self._coming: Counter[str] = Counter()
        partings.returning = self._is_coming
        self._settings = settings
        self._hall = hall
        self._log = chat_log
        self._seats = seats
        self._hearing = hearing
        self._neighbour = neighbour
        self._partings = partings
        self._clock = clock
        self._dice = dice
        self._time = time
        self._logins = Logins(portal, clock, self._proved, self._turn_away)
        # What is to be submitted for newcomers once this node serves.
        self._held: dict[Seat, Entry] = {}
        self._patience: IDelayedCall | None = None
        self._served = False
        self._overfull = False

    # Newcomers

    def greet(self, link: Door) -> Seat | None:
        """See `ChatServer.greet`."""
        if self._cut_off(link, extended=False) or self._barred(link, extended=False):
            return None
        if self._full(link, extended=False):
            return None
        seat = self._seats.new(link, None)
        self._enter(seat, None)
        return seat

    def hello(self, link: Door, hello: Hello, current: Seat | None) -> Seat | None:
        """See `ChatServer.hello`, which parts from `current`."""
        refusal = self._refusal(hello)
        if refusal is not None:
            link.drop(refusal.code, last=encode(refusal))
            return None
        if self._cut_off(link, extended=True) or self._barred(link, extended=True):
            return None
        if hello.session is None and current is None and self._full(link, extended=True):
            return None
        if current is not None:
            current.link = None
            if not self.lost(current):
                self._partings.forsake(current)
        link.welcomed()
        seat = self._seats.new(link, f"{self._dice.getrandbits(128):032x}")
        if hello.session is None:
            self._admit(seat, hello)
        else:
            self.arriving[seat] = hello
            self._coming[token_hash(hello.session)] += 1
            known = self._awaited(hello)
            if known is not None:
                # It is there again, and has it as soon as the log says so.
                known.cancel_grace()
            self._attach(seat, hello.session)
        return seat

    def lost(self, seat: Seat) -> bool:
        """Hear that a link is gone; return whether nothing more is to be done for its seat."""
        if self._logins.lost(seat):
            return True
        held = self._held.pop(seat, None)
        hello = self.arriving.get(seat)
        if held is not None:
            # Nothing was asked of the log.
            self._seats.pop(seat.session.key, None)
            if hello is not None:
                self._no_longer(seat)
                self._nobody_came(hello)
        return held is not None or hello is not None

    def _refusal(self, hello: Hello) -> Error | None:
        if hello.version != VERSION:
            return Error("version", f"this node speaks version {VERSION} of the extensions")
        if not history_allowed(hello.history) or any(wanted.index < 1 for wanted in hello.resume):
            return Error("bad-request", "history is all, none or a number; from is 1 or more")
        if len(hello.resume) > self._settings.rooms_per_session_max:
            return Error("too-many-rooms", f"one session is in at most {self._settings.rooms_per_session_max} rooms")
        return None

    def _full(self, link: Door, *, extended: bool) -> bool:
        """Turn a newcomer away where there is no room for it: to the other node, if that has room."""
        if len(self._seats) < self._settings.capacity:
            return False
        if self._log.redundancy == "alone":
            if not self._overfull:
                self._overfull = True
                log.warn(
                    "serving more than {capacity} clients while the other node is away: bring it back, or raise "
                    "--capacity if this one bears it",
                    capacity=self._settings.capacity,
                )
            return False
        if self._log.redundancy != "single" and self._neighbour.takes_one():
            link.drop("full", last=self._partings.farewell("full", extended=extended))
        else:
            text = f"{self._settings.name} is full: it takes {self._settings.capacity} clients; try again later"
            link.drop("full", last=encode(Error("full", text) if extended else Said(SERVER_IDENTITY, text)))
        return True

    def _barred(self, link: Door, *, extended: bool) -> bool:
        """Turn somebody away whose address is banned, or who speaks a dialect in which one cannot log in."""
        ban = self._hall.bans.of_address(link.host, self._time()) if link.host is not None else None
        if ban is not None:
            error = banned(ban)
        elif extended or self._settings.guests:
            return False
        else:
            error = LOGIN_REQUIRED
        link.drop(error.code, last=encode(error if extended else Said(SERVER_IDENTITY, error.message)))
        return True

    def _admit(self, seat: Seat, hello: Hello) -> None:
        """Let a newcomer in, once it has proved to be who it says."""
        if hello.account is not None:
            self._logins.begin(seat, hello)
        elif self._settings.guests:
            self._enter(seat, hello)
        else:
            self._turn_away(seat, LOGIN_REQUIRED)

    def _turn_away(self, seat: Seat, error: Error) -> None:
        seat.session.over()
        link, seat.link = seat.link, None
        if link is not None:
            link.drop(error.code, last=encode(error))

    def _proved(self, seat: Seat, hello: Hello, avatar: IAvatar) -> None:
        link = seat.link
        assert link is not None
        if self._cut_off(link, extended=True) or self._full(link, extended=True):
            seat.link = None
            seat.session.over()
            return
        proof = Proof(avatar.account, opens=avatar.account not in self._hall.accounts)
        if hello.ticket is None:
            seat.ticket = f"{self._dice.getrandbits(256):064x}"
            until = self._time() + self._settings.ticket_s
            proof = Proof(proof.account, proof.opens, token_hash(seat.ticket), until)
        self._enter(seat, hello, proof)

    def _enter(self, seat: Seat, hello: Hello | None, proof: Proof | None = None) -> None:
        self._seats[seat.session.key] = seat
        self._neighbour.counted()
        history = hello.history if hello is not None else None
        token = None if seat.token is None else token_hash(seat.token)
        history = self._settings.history if history is None else history
        self._submit(seat, seat.session.enter(self._time(), hello, token, history, proof))

    def denied(self, key: str, error: Error) -> None:
        """Hear that a session does not begin after all."""
        seat = self._seats.pop(key, None)
        if seat is not None:
            self._turn_away(seat, error)

    def arrived(self, member: Member) -> None:
        """Hear that a session is present."""
        seat = self._seats.get(member.key)
        if seat is None:
            if member.node == self._settings.name:
                # It was asked for in an earlier life of this node.
                self._partings.expect(member)
            return
        seat.session.member = member
        if seat.session.extended:
            if seat.link is None:
                self._partings.orphaned(seat)
            else:
                self._welcome(seat, member)

    def _welcome(self, seat: Seat, member: Member) -> None:
        assert seat.token is not None
        servers, tls = split_tls(dict.fromkeys([*self._settings.servers, *self._neighbour.servers]))
        account = member.person.account
        welcome = Welcome(
            VERSION,
            self._settings.name,
            seat.token,
            member.identity,
            self._log.epoch,
            self._log.role,
            self._log.redundancy,
            servers,
            self._neighbour.all_pages,
            member.identity if account is not None else None,
            seat.ticket,
            account.roles if account is not None else [],
            tls,
        )
        seat.ticket = None
        seat.send(encode(welcome))

    # Sessions that come back

    def _attach(self, seat: Seat, token: str) -> None:
        self._submit(seat, seat.session.attach(self._time(), token_hash(token), self._log.epoch))

    def attached(self, member: Member, asker: Seat | None) -> Seat | None:
        """Hear that a member's session is with its node from here on; return its seat, if it has one here now."""
        hello = self._no_longer(asker)
        if member.node != self._settings.name:
            seat = self._seats.get(member.key)
            if seat is not None:
                self._partings.drop(seat, MOVED, _moved())
            return None
        if asker is None or hello is None:
            # It was asked for in an earlier life of this node.
            self._partings.expect(member)
            return None
        seat = self._seats.of(member)
        waiting = asker.session.waiting or ()
        asker.session.waiting = None
        link, asker.link = asker.link, None
        if link is None:
            if seat.link is None:
                self._partings.orphaned(seat)
            seat.session.await_turn(request for request in waiting if not isinstance(request, HangUp))
            return seat
        self._seat(link, seat, member, hello)
        positions = {resume.roomid: resume for resume in hello.resume}
        for name in member.rooms:
            seat.send(encode(self._hall.contents(name)))
        for name in member.rooms:
            at = positions.pop(name, None)
            index, epoch = (at.index, at.epoch) if at is not None else (None, None)
            self._hearing.enter(seat, name, index, hello.history, epoch)
        seat.session.await_turn(
            JoinExtended(name, stay=True, index=at.index, epoch=at.epoch) for name, at in positions.items()
        )
        seat.session.await_turn(waiting)
        return seat

    def _seat(self, link: Door, seat: Seat, member: Member, hello: Hello) -> None:
        """Give a link the seat that it asked for; whoever had it goes."""
        seat.cancel_grace()
        seat.token = hello.session
        seat.lost = seat.leaving = False
        if seat.link is not None:
            # What its rooms heard so far in this batch is still for the older one.
            self._hearing.forsake(seat, member.rooms)
            seat.link.drop(MOVED, last=_moved())
        seat.link, seat.host = link, link.host
        link.seated(seat)
        self._welcome(seat, member)

    def unknown(self, asker: Seat | None) -> None:
        """Hear that there is no such session as somebody came with: it is a newcomer."""
        hello = self._no_longer(asker)
        if asker is None or hello is None or asker.link is None:
            return
        if self._full(asker.link, extended=True):
            asker.session.over()
            return
        asker.send(encode(Notice("session-unknown", "your session is over; this is a new one")))
        self._admit(asker, hello)

    def overtaken(self, asker: Seat | None) -> None:
        """Hear that somebody asked for a session in an epoch that is over: it asks again, if it is still there."""
        hello = self.arriving.get(asker) if asker is not None else None
        if asker is None or hello is None:
            return
        if asker.link is not None:
            assert hello.session is not None
            self._attach(asker, hello.session)
        else:
            self._no_longer(asker)
            self._nobody_came(hello)

    def _no_longer(self, asker: Seat | None) -> Hello | None:
        """Take somebody from those who arrive; return what it came with."""
        hello = self.arriving.pop(asker, None) if asker is not None else None
        if hello is not None:
            assert hello.session is not None
            token = token_hash(hello.session)
            self._coming[token] -= 1
            if not self._coming[token]:
                del self._coming[token]
        return hello

    def _is_coming(self, member: Member) -> bool:
        """Whether a client has come with a member's session, and only the log has not said so yet."""
        return member.token in self._coming

    def _awaited(self, hello: Hello) -> Seat | None:
        """Return the seat that this node has of the session that a client comes with."""
        assert hello.session is not None
        member = self._hall.tokens.get(token_hash(hello.session))
        return self._seats.get(member.key) if member is not None else None

    def _nobody_came(self, hello: Hello) -> None:
        """Go on waiting for a client that was there for a moment."""
        seat = self._awaited(hello)
        if seat is not None and seat.link is None:
            self._partings.orphaned(seat)

    # A node that cannot serve

    def changed(self) -> None:
        """Hear that the log may serve now, or serve no more, or not be alone any more."""
        if self._log.redundancy != "alone":
            self._overfull = False
        if self._log.serving:
            self._served = True
            self._lose_patience()
            held, self._held = self._held, {}
            for entry in held.values():
                self._log.submit(entry)

    @property
    def seats(self) -> list[Seat]:
        """Those whose clients have come, but are not present yet: with a session, or with credentials."""
        return [*self.arriving, *self._logins.seats]

    def clear(self) -> None:
        """Know of nobody who arrives."""
        self.arriving.clear()
        self._logins.clear()
        self._coming.clear()
        self._held.clear()
        self._lose_patience()

    def _cut_off(self, link: Door, *, extended: bool) -> bool:
        """Send a newcomer away from a node that served and cannot now, or stops, or stands by."""
        if self._partings.leaving:
            link.drop(self._partings.leaving, last=self._partings.last_words(extended=extended))
            return True
        if self._log.role == "standby":
            link.drop("migrating", last=self._partings.farewell("migrating", extended=extended))
            return True
        if self._log.serving or not self._served:
            return False
        link.drop("isolated", last=self._partings.farewell("isolated", extended=extended))
        return True

    def _submit(self, seat: Seat, entry: Entry) -> None:
        """Submit for a newcomer; while this node has not begun to serve, that is held back for a while."""
        if self._log.serving:
            self._log.submit(entry)
            return
        self._held[seat] = entry
        if self._patience is None:
            self._patience = self._clock.callLater(HOLD_S_MAX, self._give_up)

    def _lose_patience(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        for seat in list(self._held):
            link = seat.link
            assert link is not None
            self.lost(seat)
            seat.link = None
            link.drop("isolated", last=self._partings.farewell("isolated", extended=seat.session.extended))


def _moved() -> bytes:
    return encode(Error(MOVED, "a newer connection has this session"))
