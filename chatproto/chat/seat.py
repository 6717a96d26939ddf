"""Sessions' places on this node: each with its link while there is one, and what it is still to be fed."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall

from chatproto.chat.hall import Hall
from chatproto.chat.people import Member
from chatproto.chat.session import EntryMaker, Session, SessionRules


class Door(Protocol):
    """What a seat needs of the link behind it, whatever its kind."""

    @property
    def host(self) -> str | None:
        """The address that the client comes from; None where it is this machine's, as over a Unix socket."""

    def send(self, data: bytes) -> None:
        """Send whole lines."""

    def send_at_leisure(self, data: bytes) -> None:
        """Send whole lines that go to very many."""

    def close(self, last: bytes = b"") -> None:
        """End politely, as the client wants to, or has been told."""

    def drop(self, reason: str, why: str = "", last: bytes | None = None) -> None:
        """End for a reason of this side's, which is counted; see `Link.drop`."""

    def when_clear(self, call: Callable[[], None]) -> None:
        """Call once the client has taken what was sent."""

    def welcomed(self) -> None:
        """Hear that the client speaks the extensions."""

    def seated(self, seat: "Seat") -> None:
        """Hear that another seat is behind it from here on."""

    def go_on(self) -> None:
        """Hear that few enough of the client's requests are under way to read more."""


class Feed:
    """A seat that is being brought up in one room; `next` is the position it is to get next."""

    __slots__ = ("next", "room", "seat")

    def __init__(self, seat: "Seat", room: str, start: int) -> None:
        """Make one that starts at a position."""
        self.seat = seat
        self.room = room
        self.next = start


class Seat:
    """A session's place on this node.

    Attributes:
        session: the conversation.
        link: its door; None while the connection is broken.
        token: what `welcome` tells an extended client to come back with.
        feeds: rooms it is to be fed from, the one under way first.
        grace: ends the session when it runs out.
        lost: whether it is this node that went away, not the client.
        leaving: whether the client sends no more, and is let go once it has heard all it asked for.
        address: where the client accepts direct connections.
        host: the address that the client came from last, as its door has it.
        ticket: what `welcome` tells a client that logged in, to show next time.
    """

    __slots__ = ("address", "feeds", "grace", "host", "leaving", "link", "lost", "session", "ticket", "token")

    def __init__(self, session: Session, link: Door | None, token: str | None = None) -> None:
        """Seat a session."""
        self.session = session
        self.link = link
        self.host = link.host if link is not None else None
        self.token = token
        self.ticket: str | None = None
        self.feeds: deque[Feed] | None = None
        self.grace: IDelayedCall | None = None
        self.lost = False
        self.leaving = False
        self.address: str | None = None
        session.origin = self

    def send(self, line: bytes) -> None:
        """Send whole lines, if there is somebody to send to."""
        if self.link is not None:
            self.link.send(line)

    def cancel_grace(self) -> None:
        """Stop waiting for the client's return."""
        if self.grace is not None:
            if self.grace.active():
                self.grace.cancel()
            self.grace = None


class Seats(dict[str, Seat]):
    """Every session that a node serves, by key, those included whose client is away for a while."""

    def __init__(self, hall: Hall, rules: SessionRules, make: EntryMaker) -> None:
        """Begin with nobody.

        Args:
            hall: the replayed state.
            rules: of all sessions.
            make: makes their entries.
        """
        super().__init__()
        self._hall = hall
        self._rules = rules
        self._make = make

    def new(self, link: Door, token: str | None) -> Seat:
        """Make the seat of a session that begins, or may begin: it is not one of these yet."""
        return Seat(self._session(self._make.id(), extended=token is not None), link, token)

    def of(self, member: Member) -> Seat:
        """Return the seat of a member, made where there is none."""
        seat = self.get(member.key)
        if seat is None:
            seat = self[member.key] = Seat(self._session(member.key, extended=member.token is not None), None)
        return seat

    def _session(self, key: str, *, extended: bool) -> Session:
        return Session(key, self._hall, self._rules, self._make, extended=extended)
