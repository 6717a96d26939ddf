"""Answers that need more than the replayed state: the archive, other seats, or how far a client has been brought."""

import random
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.hall import Hall
from chatproto.chat.hearing import Hearing
from chatproto.chat.lines import HISTORY_LIMIT_MAX, SEARCH_LIMIT_MAX, fitting, history_line, lines_of, search_line
from chatproto.chat.messages import (
    Contact,
    ContactAsked,
    Error,
    HistoryAsked,
    PeerStatus,
    Private,
    PrivateAck,
    PrivateAsked,
    RoomStatus,
    SearchAsked,
    Status,
    StatusAsked,
    encode,
)
from chatproto.chat.neighbour import Neighbour
from chatproto.chat.notes import Answer, Call, Called, Heard, Question, Whisper
from chatproto.chat.people import Member, Room
from chatproto.chat.query import match_of
from chatproto.chat.seat import Seat
from chatproto.chat.settings import ChatSettings
from chatproto.errors import Rejected
from chatproto.log.interface import Found, ILog, Slice, Wanted
from chatproto.messaging import ConcurrentServer

ADDRESS_CHARS_MAX = 256
PAGE_BYTES_READ_MAX = 4 * 1024 * 1024
PAGES_AT_ONCE_MAX = 4
"""Pages that are read together: each is held as a whole, far more than what is sent of it, until it is sent."""
SEARCHES_WAITING_MAX = 20
"""They are made one after the other, and each may take a while."""

_NO_PAGE = {
    "busy": "too many read the archive now: ask again",
    "no-such-room": "the room was deleted",
    "unreadable": "the archive cannot be read now",
}
_NOTHING_FOUND = {
    "busy": "too many search now, or it takes too long: ask again, or for something rarer",
    "no-search": "this server does not search",
    "unreadable": "the archive cannot be searched now",
}

_WITNESS = {None: "", True: "reached", False: "not reached"}

log = Logger()


class Answers:
    """Answers what sessions ask for with `Ask`, and what the other node asks of them."""

    def __init__(
        self,
        settings: ChatSettings,
        hall: Hall,
        chat_log: ILog,
        hearing: Hearing,
        seats: dict[str, Seat],
        neighbour: Neighbour,
        dice: random.Random,
        time: Callable[[], float],
        answered: Callable[[Seat], None],
    ) -> None:
        """Answer for a node.

        Args:
            settings: what can be set.
            hall: the replayed state.
            chat_log: whose archive is read.
            hearing: knows how far clients have been brought.
            seats: the sessions that this node serves, by key.
            neighbour: answers for those of the other node.
            dice: makes the tokens of contacts.
            time: the time of day in Unix seconds.
            answered: called with the seat whose page of history was sent.
        """
        self._settings = settings
        self._hall = hall
        self._log = chat_log
        self._hearing = hearing
        self._seats = seats
        self._neighbour = neighbour
        self._dice = dice
        self._time = time
        self._tell_answered = answered
        # A session asks for one page at a time, so as many may wait as there are sessions.
        self._pages: ConcurrentServer[Callable[[], Deferred[bytes]], bytes]
        self._pages = ConcurrentServer(
            lambda page: page(), at_once_max=PAGES_AT_ONCE_MAX, waiting_max=settings.capacity
        )
        self._searches: ConcurrentServer[Callable[[], Deferred[bytes]], bytes]
        self._searches = ConcurrentServer(lambda find: find(), at_once_max=1, waiting_max=SEARCHES_WAITING_MAX)
        self.search: Callable[[Wanted], Deferred[Found]] | None = None
        """Finds messages; None where nobody does."""
        self._steps: dict[type[Any], Callable[[Seat, Any], None]] = {
            HistoryAsked: self._history,
            SearchAsked: self._search,
            StatusAsked: self._status,
            PrivateAsked: self._private,
            ContactAsked: self._contact,
        }

    def answer(self, seat: Seat, asked: HistoryAsked | SearchAsked | StatusAsked | PrivateAsked | ContactAsked) -> None:
        """Answer a request, now or, for what is on the disk, once it is read."""
        self._steps[type(asked)](seat, asked)

    def _history(self, seat: Seat, asked: HistoryAsked) -> None:
        room = self._hall.rooms[asked.roomid]
        limit = min(asked.limit, HISTORY_LIMIT_MAX)
        if asked.index is not None:
            start = max(room.first, min(asked.index, room.last + 1))
            self._hearing.tell_gap(seat, room.name, max(1, asked.index), start)
            stop = min(start + limit, room.last + 1)
        else:
            assert asked.before is not None
            stop = max(room.first, min(asked.before, room.last + 1))
            start = max(room.first, stop - limit)
        page = partial(self._page, room.name, start, stop, backwards=asked.before is not None)
        paging = self._pages.serve(page).addErrback(self._no_page, asked)
        paging.addCallback(partial(self._answered, seat))
        paging.addErrback(lambda failure: log.failure("answering with a page failed", failure))

    @inlineCallbacks
    def _page(
        self, name: str, start: int, stop: int, *, backwards: bool
    ) -> Generator["Deferred[list[Slice]]", list[Slice], bytes]:
        """Read a page; return its line.

        Raises:
            Rejected: there is none; see `_NO_PAGE`.
        """
        try:
            slices = yield self._log.read(name, start, PAGE_BYTES_READ_MAX, max(1, stop - start))
            while backwards and slices and slices[-1].position + slices[-1].count < stop:
                # Long messages: what was read ends before the page does. The nearer half is enough.
                start += (stop - start) // 2
                slices = yield self._log.read(name, start, PAGE_BYTES_READ_MAX, max(1, stop - start))
        except Exception as error:
            log.failure("the archive cannot be read: look at the disk of this node")
            raise Rejected("unreadable") from error
        room = self._hall.rooms.get(name)
        if room is None:
            raise Rejected("no-such-room")
        lines = lines_of(slices) if start < stop else []
        page = fitting(lines, from_the_end=backwards)
        if backwards:
            more = stop - len(page) > room.first
        else:
            more = start + len(page) <= room.last
        return history_line(name, page, more)

    def _no_page(self, failure: Failure, asked: HistoryAsked) -> bytes:
        reason = failure.value.reason if isinstance(failure.value, Rejected) else ""
        code = reason if reason in _NO_PAGE else "unreadable"
        return encode(Error(code, _NO_PAGE[code], roomid=asked.roomid))

    def _answered(self, seat: Seat, line: bytes) -> None:
        seat.send(line)
        self._tell_answered(seat)

    def _search(self, seat: Seat, asked: SearchAsked) -> None:
        finding = self._searches.serve(partial(self._find, seat, asked)).addErrback(self._nothing_found)
        finding.addCallback(partial(self._answered, seat))
        finding.addErrback(lambda failure: log.failure("answering a search failed", failure))

    @inlineCallbacks
    def _find(self, seat: Seat, asked: SearchAsked) -> Generator["Deferred[Found]", Found, bytes]:
        """Look for messages; return the line that says what was found.

        Raises:
            Rejected: nothing can be found; see `_NOTHING_FOUND`.
        """
        match = match_of(asked.query)
        assert match is not None
        rooms = {room.name: (room.first, room.last) for room in self._rooms(seat, asked.roomid)}
        before = None if asked.roomid is None or asked.before is None else (asked.roomid, asked.before)
        if self.search is None:
            raise Rejected("no-search")
        try:
            found = yield self.search(Wanted(match, rooms, before, min(asked.limit, SEARCH_LIMIT_MAX)))
        except Rejected:
            raise
        except Exception as error:
            log.failure("the archive cannot be searched: look at the disk of this node")
            raise Rejected("unreadable") from error
        if not (found.lines or found.complete):
            raise Rejected("busy")
        # What it has left meanwhile is none of its business any more.
        seen = {room.name for room in self._rooms(seat, asked.roomid)}
        lines = [line for name, line in found.lines if name in seen]
        page = fitting(lines, from_the_end=False, beside_bytes=len(search_line(asked.query, [], False)))
        return search_line(asked.query, page, found.more or len(page) < len(lines))

    def _rooms(self, seat: Seat, only: str | None) -> list[Room]:
        """Return the rooms that a session is in, or the only one of them."""
        member = seat.session.member
        names = member.rooms if member is not None else ()
        return [self._hall.rooms[name] for name in names if only is None or name == only]

    def _nothing_found(self, failure: Failure) -> bytes:
        reason = failure.value.reason if isinstance(failure.value, Rejected) else ""
        code = reason if reason in _NOTHING_FOUND else "unreadable"
        return encode(Error(code, _NOTHING_FOUND[code]))

    # How it is

    def _status(self, seat: Seat, asked: StatusAsked) -> None:
        member = seat.session.member
        if member is not None:
            rooms = [
                RoomStatus(name, self._hall.rooms[name].last, self._hearing.transferred(seat, name))
                for name in member.rooms
            ]
            seat.send(encode(self.status(rooms)))

    def status(self, rooms: list[RoomStatus]) -> Status:
        """Return how this node is, for a client that has been brought so far in its rooms."""
        return Status(
            rooms,
            sum(room.archived for room in rooms),
            sum(room.transferred for room in rooms),
            self._log.epoch,
            self._log.role,
            self._log.redundancy,
            [PeerStatus(peer.name, peer.role, peer.lag) for peer in self._log.peers],
            self._settings.name,
            len(self._seats),
            self._settings.capacity,
            self._log.serving,
            _WITNESS[self._log.witness],
            self._log.waits_for,
            self._neighbour.all_pages,
        )

    # Between two clients, each of which may be on either node

    def _private(self, seat: Seat, asked: PrivateAsked) -> None:
        sender = seat.session.member
        devices = self._devices(asked.to)
        if sender is None:
            return
        if not devices:
            seat.send(encode(Error("no-such-identity", f"nobody is called {asked.to[:64]}", id=asked.id)))
            return
        whisper = partial(
            Whisper, identity=sender.identity, content=asked.content, id=asked.id, time=round(self._time(), 3)
        )
        reached: list[int] = []

        def heard(answer: Answer | None) -> None:
            reached.append(answer.delivered if isinstance(answer, Heard) else 0)
            if len(reached) == len(devices):
                seat.send(encode(PrivateAck(asked.id, asked.to, sum(reached))))

        for member in devices:
            if member.node == self._settings.name:
                heard(self._whisper(whisper(0, member.key)))
            else:
                self._neighbour.ask(partial(whisper, session=member.key), heard)

    def _devices(self, identity: str) -> list[Member]:
        """Return the sessions of somebody, those that this node serves first."""
        person = self._hall.identities.get(identity)
        devices = person.devices.values() if person is not None else ()
        return sorted(devices, key=lambda member: member.node != self._settings.name)

    def _contact(self, seat: Seat, asked: ContactAsked) -> None:
        sender = seat.session.member
        if asked.address is not None:
            if len(asked.address) > ADDRESS_CHARS_MAX:
                seat.send(encode(Error("bad-request", f"an address has at most {ADDRESS_CHARS_MAX} characters")))
                return
            seat.address = asked.address or None
        if asked.identity is None or sender is None:
            return
        devices = self._devices(asked.identity)
        if not devices:
            seat.send(encode(Error("no-such-identity", f"nobody is called {asked.identity[:64]}")))
            return
        called_identity, identity = devices[0].identity, sender.identity

        def called(answer: Answer | None) -> None:
            if isinstance(answer, Called) and answer.address is not None and answer.token is not None:
                seat.send(encode(Contact(called_identity, answer.token, answer.address)))
            elif devices:
                call_next()
            else:
                text = f"{called_identity} accepts no direct connections"
                seat.send(encode(Error("no-address", text)))

        def call_next() -> None:
            member = devices.pop(0)
            if member.node == self._settings.name:
                called(self._call(Call(0, member.key, identity)))
            else:
                self._neighbour.ask(lambda number: Call(number, member.key, identity), called)

        call_next()

    def asked(self, question: Question) -> Answer:
        """Answer a question about a session that this node serves."""
        return self._whisper(question) if isinstance(question, Whisper) else self._call(question)

    def _whisper(self, asked: Whisper) -> Heard:
        seat = self._seats.get(asked.session)
        if seat is None or seat.link is None or not seat.session.extended:
            return Heard(asked.number, 0)
        seat.send(encode(Private(asked.identity, asked.content, asked.id, asked.time)))
        return Heard(asked.number, 1)

    def _call(self, asked: Call) -> Called:
        seat = self._seats.get(asked.session)
        if seat is None or seat.link is None or seat.address is None:
            return Called(asked.number, None, None)
        token = f"{self._dice.getrandbits(128):032x}"
        seat.send(encode(Contact(asked.identity, token)))
        return Called(asked.number, seat.address, token)
