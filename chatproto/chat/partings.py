"""How a node parts from its clients: for a while, for good, or by sending them to the other node."""

import random
from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IReactorTime

from chatproto.chat.hearing import Hearing
from chatproto.chat.messages import Notice, Redirect, Said, encode
from chatproto.chat.neighbour import Neighbour
from chatproto.chat.people import Member
from chatproto.chat.seat import Door, Seat, Seats
from chatproto.chat.settings import ChatSettings
from chatproto.log.interface import ILog
from chatproto.wire.addresses import split_tls, without_tls
from chatproto.wire.fields import SERVER_IDENTITY

AFTER_MS_MAX = 200
"""Within this span clients that are sent elsewhere at one moment go there, not as a herd."""

_WHY = {
    "full": "is full: it takes {capacity} clients",
    "isolated": "is cut off and cannot serve now",
    "draining": "is shutting down",
    "migrating": "does not serve: another server has its place",
}


class Partings:
    """Parts from clients; their sessions may go on, here or on the other node.

    Attributes:
        returning: says whether a member's client has come back already, as far as this node knows before the log does.
        leaving: why the node lets nobody in, and has its clients leave: `draining`, as it is about to stop, or
            `migrating`, as another node has taken its place; empty where it does not.
    """

    def __init__(
        self,
        settings: ChatSettings,
        chat_log: ILog,
        seats: Seats,
        hearing: Hearing,
        neighbour: Neighbour,
        clock: IReactorTime,
        dice: random.Random,
        time: Callable[[], float],
    ) -> None:
        """Part from a node's clients.

        Args:
            settings: what can be set.
            chat_log: takes the departures.
            seats: of the sessions that this node serves.
            hearing: of those who hear its rooms.
            neighbour: where clients are sent.
            clock: for graces.
            dice: spreads those who are sent away.
            time: the time of day in Unix seconds.
        """
        self._settings = settings
        self._log = chat_log
        self._seats = seats
        self._hearing = hearing
        self._neighbour = neighbour
        self._clock = clock
        self._dice = dice
        self._time = time
        self.returning: Callable[[Member], bool] = lambda member: False
        self.leaving = ""

    # Sessions

    def orphaned(self, seat: Seat) -> None:
        """Give a session without a connection its grace, which is none for a base client's."""
        if not seat.session.extended:
            self.forsake(seat)
        elif seat.session.member is not None and seat.grace is None and not self.returning(seat.session.member):
            seat.grace = self._clock.callLater(self._settings.session_grace_s, self.forsake, seat)

    def forsake(self, seat: Seat) -> None:
        """Have a session end."""
        seat.grace = None
        self._log.submit(seat.session.depart(self._time(), lost=seat.lost))

    def expect(self, member: Member) -> None:
        """Wait a grace for a member that the server lost, if it has no connection here."""
        seat = self._seats.of(member)
        if seat.link is None:
            seat.lost = True
            self.orphaned(seat)

    def drop(self, seat: Seat, reason: str = "", last: bytes = b"") -> None:
        """Part from a session that goes on elsewhere, for a reason, or has ended; its link is closed after `last`."""
        self._seats.pop(seat.session.key, None)
        seat.cancel_grace()
        if seat.session.member is not None:
            self._hearing.forsake(seat, seat.session.member.rooms)
        seat.session.over()
        link, seat.link = seat.link, None
        if link is None:
            return
        if reason:
            link.drop(reason, last=last)
        else:
            link.close(last)

    # Links

    def send_away(self, seats: Iterable[Seat]) -> None:
        """Send clients to the other node: extended ones within `AFTER_MS_MAX`, being served until then."""
        leaving = []
        for seat in seats:
            if seat.link is None:
                continue
            farewell = self.farewell("isolated", extended=seat.session.extended)
            if seat.session.extended:
                seat.link.send(farewell)
                leaving.append(seat.link)
            else:
                seat.link.drop("isolated", last=farewell)
        if leaving:
            self._clock.callLater(AFTER_MS_MAX / 1000, self._close, leaving)

    @staticmethod
    def _close(links: list[Door]) -> None:
        for link in links:
            link.drop("isolated", last=b"")

    def stop(self, seats: Iterable[Seat]) -> None:
        """Tell clients that the node stops, and close their links; their sessions wait."""
        for seat in seats:
            seat.cancel_grace()
            if seat.link is not None:
                seat.link.drop(self.leaving or "draining", last=self.last_words(extended=seat.session.extended))

    def last_words(self, within_ms: int = AFTER_MS_MAX, *, extended: bool) -> bytes:
        """Return what a client is told of a node that it has to leave; if it can be told when, within a span."""
        reason, elsewhere = self.leaving or "draining", self._neighbour.serving
        if not extended:
            return self._said(reason, self._neighbour.servers if elsewhere else [])
        if reason == "migrating":
            return self.farewell(reason, within_ms, extended=True)
        notice = encode(Notice("shutting-down", f"{self._settings.name} is shutting down"))
        return notice + self.farewell(reason, within_ms, extended=True) if elsewhere else notice

    def farewell(self, reason: str, within_ms: int = AFTER_MS_MAX, *, extended: bool) -> bytes:
        """Return the last line for a client that is sent to the other node, within a span."""
        if extended:
            after_ms = 0 if reason == "full" else self._dice.randint(0, within_ms)
            servers, tls = split_tls(self._neighbour.servers)
            return encode(Redirect(servers, reason, after_ms, self._neighbour.pages, tls))
        return self._said(reason, self._neighbour.servers)

    def _said(self, reason: str, servers: list[str]) -> bytes:
        why = _WHY[reason].format(capacity=self._settings.capacity)
        where = f"go to {' or '.join(map(without_tls, servers))}" if servers else "try again later"
        return encode(Said(SERVER_IDENTITY, f"{self._settings.name} {why}; {where}"))
