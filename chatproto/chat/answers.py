"""Answers that need more than the replayed state: the archive, other seats, or how far a client has been brought."""

import random
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.hall import Hall
from chatproto.chat.hearing import Hearing
from chatproto.chat.lines import HISTORY_LIMIT_MAX, fitting, history_line, lines_of
from chatproto.chat.messages import (
    Contact,
    ContactAsked,
    Error,
    HistoryAsked,
    Private,
    PrivateAck,
    PrivateAsked,
    RoomStatus,
    Status,
    StatusAsked,
    encode,
)
from chatproto.chat.seat import Seat
from chatproto.log.interface import ILog, Slice

PAGE_BYTES_READ_MAX = 4 * 1024 * 1024

log = Logger()


class Answers:
    """Answers what sessions ask for with `Ask`."""

    def __init__(
        self,
        hall: Hall,
        chat_log: ILog,
        hearing: Hearing,
        seats: dict[str, Seat],
        dice: random.Random,
        time: Callable[[], float],
        answered: Callable[[Seat], None],
    ) -> None:
        """Answer for a node.

        Args:
            hall: the replayed state.
            chat_log: whose archive is read.
            hearing: knows how far clients have been brought.
            seats: the sessions that this node serves, by key.
            dice: makes the tokens of contacts.
            time: the time of day in Unix seconds.
            answered: called with the seat whose page of history was sent.
        """
        self._hall = hall
        self._log = chat_log
        self._hearing = hearing
        self._seats = seats
        self._dice = dice
        self._time = time
        self._tell_answered = answered
        self._steps: dict[type[Any], Callable[[Seat, Any], None]] = {
            HistoryAsked: self._history,
            StatusAsked: self._status,
            PrivateAsked: self._private,
            ContactAsked: self._contact,
        }

    def answer(self, seat: Seat, asked: HistoryAsked | StatusAsked | PrivateAsked | ContactAsked) -> None:
        """Answer a request, now or, for a page of history, once it is read."""
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
        reading = self._log.read(room.name, start, PAGE_BYTES_READ_MAX, max(1, stop - start))
        reading.addCallback(self._read_page, seat, asked, start, stop)
        reading.addErrback(self._page_unreadable, seat, asked)

    def _read_page(self, slices: list[Slice], seat: Seat, asked: HistoryAsked, start: int, stop: int) -> None:
        room = self._hall.rooms.get(asked.roomid)
        if room is None:
            self._answered(seat, encode(Error("no-such-room", f"{asked.roomid} was deleted", roomid=asked.roomid)))
            return
        backwards = asked.before is not None
        read_to = slices[-1].position + slices[-1].count if slices else stop
        if backwards and read_to < stop:
            # Long messages: what was read ends before the page does. The nearer half is enough.
            start += (stop - start) // 2
            reading = self._log.read(room.name, start, PAGE_BYTES_READ_MAX, max(1, stop - start))
            reading.addCallback(self._read_page, seat, asked, start, stop)
            reading.addErrback(self._page_unreadable, seat, asked)
            return
        lines = lines_of(slices) if start < stop else []
        page = fitting(lines, from_the_end=backwards)
        if backwards:
            more = stop - len(page) > room.first
        else:
            more = start + len(page) <= room.last
        self._answered(seat, history_line(room.name, page, more))

    def _page_unreadable(self, failure: Failure, seat: Seat, asked: HistoryAsked) -> None:
        log.failure("the archive cannot be read: look at the disk of this node", failure)
        self._answered(seat, encode(Error("unreadable", "the archive cannot be read now", roomid=asked.roomid)))

    def _answered(self, seat: Seat, line: bytes) -> None:
        seat.send(line)
        self._tell_answered(seat)

    def _status(self, seat: Seat, asked: StatusAsked) -> None:
        member = seat.session.member
        if member is None:
            return
        rooms = [
            RoomStatus(name, self._hall.rooms[name].last, self._hearing.transferred(seat, name))
            for name in member.rooms
        ]
        status = Status(
            rooms,
            sum(room.archived for room in rooms),
            sum(room.transferred for room in rooms),
            self._log.epoch,
            self._log.role,
            self._log.redundancy,
            [],
        )
        seat.send(encode(status))

    def _private(self, seat: Seat, asked: PrivateAsked) -> None:
        sender = seat.session.member
        member = self._hall.identities.get(asked.to)
        if sender is None:
            return
        if member is None:
            seat.send(encode(Error("no-such-identity", f"nobody is called {asked.to[:64]}", id=asked.id)))
            return
        delivered = 0
        other = self._seats.get(member.key)
        if other is not None and other.link is not None and other.session.extended:
            other.send(encode(Private(sender.identity, asked.content, asked.id, round(self._time(), 3))))
            delivered = 1
        seat.send(encode(PrivateAck(asked.id, asked.to, delivered)))

    def _contact(self, seat: Seat, asked: ContactAsked) -> None:
        sender = seat.session.member
        if asked.address is not None:
            seat.address = asked.address[:256]
        if asked.identity is None or sender is None:
            return
        member = self._hall.identities.get(asked.identity)
        other = self._seats.get(member.key) if member is not None else None
        if member is None or other is None:
            text = f"nobody is called {asked.identity[:64]}"
            seat.send(encode(Error("no-such-identity", text)))
        elif other.address is None or other.link is None:
            text = f"{member.identity} accepts no direct connections"
            seat.send(encode(Error("no-address", text)))
        else:
            token = f"{self._dice.getrandbits(128):032x}"
            other.send(encode(Contact(sender.identity, token)))
            seat.send(encode(Contact(member.identity, token, other.address)))
