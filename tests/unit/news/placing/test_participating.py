from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.keyvalue import Change, IKeyValueStore
from chatproto.link import Turn
from chatproto.news.link import NewsLinkFactory
from chatproto.news.messages import Refused, Taken, decoder
from chatproto.news.placing import Participating
from chatproto.news.placing.messages import Commit as Committed
from chatproto.news.placing.messages import (
    Coordinate,
    Done,
    FromCoordinator,
    FromParticipant,
    Participate,
    Prepare,
    Ready,
)
from chatproto.tally import Tally
from chatproto.wire import framed
from tests.simulation.placing import Readers, placed
from tests.unit.registry.rig import End
from tests.unit.turns import TurnClock

HELLO = Coordinate("master", 1)


@implementer(IKeyValueStore)
class Store:
    """A table that makes durable what it is asked to when a test says so."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.asked: list[tuple[Sequence[Change], Callable[[], None]]] = []

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix))

    def keys(self, prefix: bytes) -> list[bytes]:
        return [key for key, _ in self.scan(prefix)]

    def read(self, key: bytes) -> "Deferred[bytes | None]":
        return succeed(self.rows.get(key))

    def write(self, changes: Sequence[Change], done: Callable[[], None]) -> None:
        self.asked.append((changes, done))

    def close(self) -> "Deferred[None]":
        return succeed(None)

    def go_on(self) -> None:
        asked, self.asked = self.asked, []
        for changes, done in asked:
            for key, value in changes:
                self.rows.pop(key, None)
                if value is not None:
                    self.rows[key] = value
            done()


class Desk:
    """A delivery node's guarded port, without a network."""

    def __init__(self) -> None:
        self.clock = TurnClock()
        self.tally = Tally()
        self.store = Store()
        self.table = Readers({})
        self.participating = Participating("east", self.table)
        hellos: Any = {Coordinate: self.participating}
        decode = decoder(FromCoordinator, Taken)
        self.factory = NewsLinkFactory("news-peer", decode, hellos, Turn(self.clock), self.clock, self.tally)

    def link(self) -> End:
        return End(self.factory.buildProtocol(None), self.clock, decoder(FromParticipant))

    def hear(self, end: End, *messages: Any) -> list[Any]:
        for message in messages:
            end.link.dataReceived(framed(msgspec.msgpack.encode(message)))
        return list(end.sent())

    def dropped(self, reason: str) -> int:
        return self.tally.dropped.get(("news-peer", reason), 0)


class ParticipatingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.participating.open(self.desk.store)

    def test_a_transaction(self) -> None:
        desk, store = self.desk, self.desk.store
        end = desk.link()
        self.assertEqual(desk.hear(end, HELLO), [Participate("east")])
        self.assertEqual(desk.hear(end, Prepare(1, (placed("ada"),))), [])
        store.go_on()
        self.assertEqual(end.sent(), [Ready(1)])
        self.assertEqual(desk.hear(end, Committed(1)), [])
        self.assertEqual(desk.table.held, {})
        store.go_on()
        self.assertEqual((end.sent(), [*desk.table.held]), ([Done(1)], ["ada"]))

    def test_a_life_after_the_promise(self) -> None:
        desk = self.desk
        end = desk.link()
        desk.hear(end, HELLO, Prepare(1, (placed("ada"),)))
        desk.store.go_on()
        other = Desk()
        other.participating.open(desk.store)
        self.assertEqual(other.hear(other.link(), HELLO), [Participate("east"), Ready(1)])

    def test_a_link_that_is_lost_hears_nothing(self) -> None:
        end = self.desk.link()
        self.desk.hear(end, HELLO, Prepare(1, (placed("ada"),)))
        end.lose()
        self.desk.store.go_on()
        self.assertEqual(self.desk.participating.participant.in_doubt, 1)

    def test_the_later_coordinator(self) -> None:
        desk = self.desk
        first, second = desk.link(), desk.link()
        desk.hear(first, Coordinate("master", 1))
        self.assertEqual(desk.hear(second, Coordinate("slave", 2)), [Participate("east")])
        [refused] = first.sent()
        self.assertEqual((refused.code, first.link.open, desk.dropped("superseded")), ("superseded", False, 1))
        third = desk.link()
        [refused] = desk.hear(third, Coordinate("master", 1))
        self.assertEqual((refused.code, desk.dropped("superseded")), ("superseded", 2))

    def test_not_welcome(self) -> None:
        desk = self.desk
        [refused] = desk.hear(desk.link(), Coordinate("master", 1, version=2))
        self.assertEqual(refused.code, "version")
        early = Desk()
        [refused] = early.hear(early.link(), HELLO)
        self.assertIsInstance(refused, Refused)
        self.assertEqual((refused.code, early.dropped("starting")), ("starting", 1))

    def test_what_does_not_belong_there(self) -> None:
        twice, stranger = (placed("ada"), placed("ada", 2)), (placed("no name"),)
        for messages in (
            (Committed(1),),
            (HELLO, HELLO),
            (HELLO, Taken(1, 1)),
            (HELLO, Ready(1)),
            (HELLO, Prepare(1, ())),
            (HELLO, Prepare(1, twice)),
            (HELLO, Prepare(1, stranger)),
        ):
            desk = Desk()
            desk.participating.open(desk.store)
            end = desk.link()
            desk.hear(end, *messages)
            self.assertTrue(end.aborted(), messages)
            self.assertEqual(sum(desk.tally.dropped.values()), 1)
            self.assertEqual(desk.hear(desk.link(), HELLO), [Participate("east")])

    @given(st.binary(max_size=200), st.booleans())
    def test_garbage(self, data: bytes, greeted: bool) -> None:
        """Whatever comes, it is a message or the end of the link, and nothing is changed."""
        desk = Desk()
        desk.participating.open(desk.store)
        end = desk.link()
        if greeted:
            desk.hear(end, HELLO)
        end.link.dataReceived(framed(data))
        end.aborted()
        self.assertEqual((desk.store.rows, desk.table.held), ({}, {}))
