"""The desk of a delivery node, with disks that take their time: what was read for a connection that has gone."""

from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatproto.link import Turn
from chatproto.news.delivery.desk import DOOR, Desk
from chatproto.news.delivery.messages import ReaderHello, from_node, from_reader
from chatproto.news.delivery.table import Table
from chatproto.news.items import TOPICS
from chatproto.news.link import NewsLinkFactory
from chatproto.news.messages import CHUNK_BYTES_MAX, FRAME_BYTES_MAX, VERSION, Announce, Chunk, Taken
from chatproto.news.placing.actions import Place
from chatproto.tally import Tally
from chatproto.wire import framed
from tests.unit.news.delivery.items import Items, body_of, item, paid
from tests.unit.news.placing.test_participating import Store
from tests.unit.registry.rig import End
from tests.unit.turns import TurnClock

HELLO = ReaderHello(VERSION, "rita", "ticket of rita")
SIZE = 3 * CHUNK_BYTES_MAX


class SlowItems(Items):
    """Reads when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reading: dict[tuple[int, int], Deferred[bytes]] = {}

    def read(self, number: int, offset: int, count: int) -> "Deferred[bytes]":
        reading: Deferred[bytes] = Deferred()
        self.reading[number, offset] = reading
        return reading

    def come(self, number: int, offset: int = 0) -> None:
        """Have a part come from the disk."""
        self.reading.pop((number, offset)).callback(body_of(number, SIZE)[offset : offset + CHUNK_BYTES_MAX])


class SlowDiskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.items = SlowItems()
        turn = Turn(self.clock)
        table = Table(frozenset(TOPICS))
        self.desk = Desk("north", self.items, turn, self.clock, 1e9, table)
        store = Store()
        self.desk.open(store)
        table.done(Place(paid()))
        hellos: Any = {ReaderHello: self.desk}
        self.factory = NewsLinkFactory(DOOR, from_reader, hellos, turn, self.clock, Tally())

    def come(self) -> End:
        end = End(self.factory.buildProtocol(None), self.clock, from_node, frame_bytes_max=FRAME_BYTES_MAX)
        self.say(end, HELLO)
        return end

    def say(self, end: End, message: Any) -> None:
        end.link.dataReceived(framed(msgspec.msgpack.encode(message)))
        self.clock.advance(0)

    def parts(self, end: End) -> list[tuple[int, int]]:
        """Return the parts that have come at an end: stamps, and where they begin."""
        self.clock.advance(0)
        return [(part.key, part.offset) for part in end.sent() if isinstance(part, Announce | Chunk)]

    def test_a_read_that_outlives_its_connection_does_not_hurry_the_next_one(self) -> None:
        first = self.come()
        self.items.put(item(1, SIZE))
        self.clock.advance(0)
        self.assertEqual(list(self.items.reading), [(1, 0)], "the first part is being read")
        first.lose()
        self.items.put(item(2, SIZE, priority=9))
        second = self.come()
        self.assertEqual(list(self.items.reading), [(1, 0), (2, 0)], "what is more urgent is read for the second")
        self.items.come(1)
        self.clock.advance(0)
        self.assertEqual(list(self.items.reading), [(2, 0)], "one part is on its way to a reader, and no more")
        self.assertEqual(self.parts(second), [])
        # So the parts come in their order, whatever the order in which a disk has them.
        for offset in range(0, SIZE, CHUNK_BYTES_MAX):
            self.assertEqual(list(self.items.reading), [(2, offset)])
            self.items.come(2, offset)
            self.assertEqual(self.parts(second)[0], (2, offset))
            self.say(second, Taken(2, offset + CHUNK_BYTES_MAX))
