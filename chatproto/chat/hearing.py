"""Who hears which room on this node, and how a newcomer is brought up from the archive before it hears the rest."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.audience import Audience
from chatproto.chat.hall import Hall
from chatproto.chat.lines import base_lines, base_lines_of
from chatproto.chat.messages import Gap, HistoryWanted, Rewind, encode
from chatproto.chat.people import Room
from chatproto.chat.seat import Feed, Seat
from chatproto.chat.settings import ChatSettings
from chatproto.link import Turn
from chatproto.log.entry import Run
from chatproto.log.interface import ILog, Slice
from chatproto.tally import Tally

PEEK_BYTES = 32 * 1024
"""An archive up to this size is sent at once, in its place among the lines that the reference lists."""
FEED_BYTES = 128 * 1024
"""What is read of an archive in one go: enough to be fast, little enough to hold nobody up."""

log = Logger()


class _Numbered(msgspec.Struct):
    epoch: int


_decode_numbered = msgspec.json.Decoder(_Numbered).decode


class Hearing:
    """The audiences of a node's rooms.

    What rooms are to hear piles up during a batch of commits; `spill` hands it to the links. A seat that wants the
    archive is fed at its own pace, one piece whenever its link is clear, and hears the room as it goes from the
    moment it has caught up.
    """

    def __init__(
        self,
        settings: ChatSettings,
        hall: Hall,
        chat_log: ILog,
        turn: Turn,
        tally: Tally,
        fed: Callable[[Seat], None],
    ) -> None:
        """Begin with nobody.

        Args:
            settings: what a seat gets of an archive when neither it nor its session says.
            hall: the replayed state.
            chat_log: whose archive is read.
            turn: of the reactor that all calls come from.
            tally: counts what is heard.
            fed: called with a seat when nothing is left to feed it.
        """
        self._hall = hall
        self._log = chat_log
        self._turn = turn
        self._settings = settings
        self._tally = tally
        self._tell_fed = fed
        self._audiences: dict[str, Audience] = {}
        self._touched: dict[Audience, None] = {}
        # Those who are in several rooms.
        self._several: dict[Seat, None] = {}

    # What is heard

    def said(self, run: Run) -> None:
        """Have a room hear a run of messages."""
        audience = self._audiences.get(run.room)
        if audience is not None:
            self._touched[audience] = None
            self._tally.deliveries += len(run.ids) * (len(audience.base) + len(audience.extended))
            if audience.base:
                audience.tell_base(base_lines_of(run))
            if audience.extended:
                audience.tell_extended(run.body + b"\n")

    def tell(self, rooms: tuple[str, ...], line: bytes) -> None:
        """Have everybody in any of some rooms hear a line, once."""
        audiences = [self._audience(name) for name in rooms]
        self._spill_before(audiences)
        if len(audiences) == 1:
            audiences[0].tell(line)
        elif len(audiences) == 2 and not audiences[0].shares(audiences[1]):
            for audience in audiences:
                audience.tell(line)
        else:
            for audience in audiences:
                audience.spill()
            for seat in dict.fromkeys(seat for audience in audiences for seat in audience.seats()):
                seat.send(line)

    def tell_one(self, seat: Seat, rooms: tuple[str, ...], line: bytes) -> None:
        """Have one seat hear a line, after what it heard in its rooms before."""
        for name in rooms:
            audience = self._audiences.get(name)
            if audience is not None and seat in audience:
                audience.catch_up(seat)
        seat.send(line)

    def _spill_before(self, audiences: list[Audience]) -> None:
        """Hand out what piled up in other rooms of those who are in these as well.

        They are to hear it first: somebody who left there under one name may have another one here by now.
        """
        for seat in self._several:
            if any(seat in audience for audience in audiences):
                for audience in self._touched:
                    if audience not in audiences and seat in audience:
                        audience.spill()

    def spill(self) -> None:
        """Hand what piled up to the links."""
        for audience in self._touched:
            audience.spill()
        self._touched.clear()

    def _audience(self, name: str) -> Audience:
        audience = self._audiences.get(name)
        if audience is None:
            audience = self._audiences[name] = Audience()
        self._touched[audience] = None
        return audience

    # Who hears

    def enter(self, seat: Seat, name: str, index: int | None, history: HistoryWanted, epoch: int | None = None) -> None:
        """Have a seat hear a room: the archive first, from `index`, or as much as `history` says where that is None.

        Where `epoch` is given, the client holds the message before `index` with that epoch; if this log has another
        one there, the client comes from a fork and is taken back to where that began.
        """
        room = self._hall.rooms[name]
        first, end = room.first, room.last + 1
        if index is None:
            wanted = self._settings.history if history is None else history
            count = wanted if isinstance(wanted, int) else room.last if wanted == "all" else 0
            start = max(first, end - count)
        else:
            shared = self._shared(room, index, epoch)
            if shared < index:
                # Nobody else can hold what this log does not: it was lost, with a disk or with a fork, not delayed.
                seat.send(encode(Rewind(name, shared)))
            start = max(first, shared)
            self.tell_gap(seat, name, shared, start)
        audience = self._audience(name)
        self._note_rooms(seat)
        feed = Feed(seat, name, start)
        if start < end and not seat.feeds:
            # What is durable already but not applied yet must not be read: it will be told as it is applied.
            self._feed(feed, self._log.peek(name, start, PEEK_BYTES, end - start), end)
        if feed.next == end:
            audience.live(seat)
            return
        audience.feed(feed)
        if seat.feeds is None:
            seat.feeds = deque()
        seat.feeds.append(feed)
        if len(seat.feeds) == 1:
            self._turn.at_end(lambda: self._read_on(feed))

    def _note_rooms(self, seat: Seat) -> None:
        member = seat.session.member
        if member is not None and len(member.rooms) > 1:
            self._several[seat] = None
        else:
            self._several.pop(seat, None)

    def _shared(self, room: Room, index: int, epoch: int | None) -> int:
        """Return the position, at most `index`, before which a client and this log hold the same, as far as known."""
        wanted, index = index, min(index, room.last + 1)
        held = index - 1
        if epoch is None:
            return index
        # Epochs never fall from one position to the next, and what has the same position and epoch is the same.
        if held < room.first:
            # It is not kept; what comes after it can tell only that it was another.
            falls = room.first <= room.last and self._epoch(room.name, room.first) < epoch
            return index if index == wanted and not falls and self._log.had(epoch) else 1
        if self._epoch(room.name, held) == epoch:
            return index
        kept = range(room.first, held)
        past = room.first + bisect_right(kept, epoch, key=lambda at: self._epoch(room.name, at))
        return past if past > room.first and self._epoch(room.name, past - 1) == epoch else 1

    def _epoch(self, name: str, position: int) -> int:
        (piece,) = self._log.peek(name, position, 1, 1)
        return _decode_numbered(piece.lines).epoch

    def tell_gap(self, seat: Seat, name: str, start: int, end: int) -> None:
        """Tell an extended client that the positions from `start` up to, without, `end` will not come."""
        if not seat.session.extended or start >= end:
            return
        born = self._hall.rooms[name].born
        if start < born:
            seat.send(encode(Gap(name, start, min(end, born) - 1, "deleted")))
        if end > born:
            seat.send(encode(Gap(name, max(start, born), end - 1, "retention")))

    def _is_on(self, feed: Feed) -> bool:
        return bool(feed.seat.feeds) and feed.seat.feeds[0] is feed and feed.seat.link is not None  # type: ignore[index]

    def _read_on(self, feed: Feed) -> None:
        if self._is_on(feed):
            end = self._hall.rooms[feed.room].last + 1
            reading = self._log.read(feed.room, feed.next, FEED_BYTES, end - feed.next)
            reading.addCallback(self._fed, feed, end)
            reading.addErrback(self._unreadable, feed.seat)

    def _unreadable(self, failure: Failure, seat: Seat) -> None:
        log.failure("the archive cannot be read: look at the disk of this node", failure)
        if seat.link is not None:
            seat.link.drop("unreadable", last=b"")

    def _fed(self, slices: list[Slice], feed: Feed, end: int) -> None:
        if not self._is_on(feed):
            return
        room = self._hall.rooms[feed.room]
        self._feed(feed, slices, end)
        seat = feed.seat
        if feed.next <= room.last:
            assert seat.link is not None
            seat.link.when_clear(lambda: self._read_on(feed))
            return
        self._audience(feed.room).live(seat)
        assert seat.feeds is not None
        seat.feeds.popleft()
        self._feed_next(seat)

    def _feed(self, feed: Feed, slices: list[Slice], end: int) -> None:
        """Send what was read of the positions before `end`; where nothing was, nothing is there."""
        seat, begun = feed.seat, feed.next
        for piece in slices:
            # Where something is missing, as many as were asked for go beyond the end, which is told as it is applied.
            count = min(piece.count, end - piece.position)
            if count <= 0:
                break
            lines = piece.lines if count == piece.count else b"\n".join(piece.lines.split(b"\n")[:count])
            self.tell_gap(seat, feed.room, feed.next, piece.position)
            seat.send(lines + b"\n" if seat.session.extended else base_lines(lines))
            feed.next = piece.position + count
        if feed.next == begun:
            self.tell_gap(seat, feed.room, feed.next, end)
            feed.next = end

    def _feed_next(self, seat: Seat) -> None:
        if seat.feeds:
            following = seat.feeds[0]
            self._turn.at_end(lambda: self._read_on(following))
        else:
            seat.feeds = None
            self._tell_fed(seat)

    def leave(self, seat: Seat, name: str) -> None:
        """Have a seat hear a room no longer."""
        audience = self._audiences.get(name)
        if audience is None:
            return
        audience.leave(seat)
        self._note_rooms(seat)
        if seat.feeds and any(feed.room == name for feed in seat.feeds):
            was_on = seat.feeds[0].room == name
            seat.feeds = deque(feed for feed in seat.feeds if feed.room != name)
            if was_on:
                self._feed_next(seat)

    def forsake(self, seat: Seat, rooms: tuple[str, ...]) -> None:
        """Have a seat hear nothing any more."""
        seat.feeds = None
        for name in rooms:
            self.leave(seat, name)
        self._several.pop(seat, None)

    def end(self, name: str) -> None:
        """Hear that a room is no more."""
        self._audiences.pop(name, None)

    def transferred(self, seat: Seat, name: str) -> int:
        """Return the position up to which a seat has been brought in a room that it hears."""
        for feed in seat.feeds or ():
            if feed.room == name:
                return feed.next - 1
        return self._hall.rooms[name].last
