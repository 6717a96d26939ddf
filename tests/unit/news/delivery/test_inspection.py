"""What an operator is told of a delivery node comes in pages, and nothing is left out between two of them."""

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.delivery.inspection import (
    CONTRACTS,
    HOUR_S,
    PAGE_BYTES_MAX,
    ContractsWanted,
    UndeliveredWanted,
    call_of,
    contracts_told,
    contracts_wanted,
    decode_contracts,
    decode_undelivered,
    undelivered_told,
    undelivered_wanted,
)
from chatproto.news.delivery.keeping import records_of, records_prefix
from chatproto.news.delivery.records import HOURS_KEPT, UNDELIVERED_MAX, Record, Undeliverable, Undelivered
from chatproto.registry.names import PAYLOAD_BYTES_MAX
from tests.unit.news.delivery.items import paid
from tests.unit.news.delivery.room import EPOCH, Room

HOUR = int(EPOCH // HOUR_S)


class ContractsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Room()

    def told(self, wanted: ContractsWanted, hour: int) -> bytes:
        disk = self.room.disk

        def records(name: str) -> list[Record]:
            prefix = records_prefix(name)
            return records_of(sorted((k, v) for k, v in disk.items() if k.startswith(prefix))).get(name, [])

        return contracts_told(self.room.readers.paid, records, wanted, hour)

    def test_hour_by_hour(self) -> None:
        room = self.room
        room.place(paid(minimum=1, maximum=7, delay_s_max=100.0, home="west"), paid("rita2"))
        room.come("rita")
        room.run(HOUR_S)
        for hour in range(3):
            room.put(1 + hour, delay_s=200 * (hour == 1))
            room.run(HOUR_S)
        contract, other = decode_contracts(self.told(ContractsWanted(), HOUR + 4)).contracts
        self.assertEqual((contract.reader, contract.home, contract.here, other.here), ("rita", "west", True, False))
        agreed = contract.mode, contract.minimum, contract.maximum, contract.delay_s_max
        self.assertEqual(agreed, ("push", 1, 7, 100.0))
        self.assertEqual([hour.verdict for hour in contract.hours], ["met", "met", "late", "met"])
        self.assertEqual([hour.at // HOUR_S - HOUR for hour in contract.hours], [0, 1, 2, 3])
        found = decode_contracts(self.told(ContractsWanted(hours=2), HOUR + 3)).contracts[0].hours
        self.assertEqual([hour.late for hour in found], [1, 0])
        for hours in (0, -5):
            found = decode_contracts(self.told(ContractsWanted(hours=hours), HOUR + 3)).contracts[0].hours
            self.assertEqual(len(found), 1, "the present one at least")

    def test_what_is_not_durable_yet_is_told(self) -> None:
        self.room.place(paid())
        self.room.come("rita")
        self.room.put(1)
        (hour,) = decode_contracts(self.told(ContractsWanted(), HOUR)).contracts[0].hours
        self.assertEqual((hour.available, hour.delivered, hour.verdict), (1, 0, "met"))

    def test_many_are_told_in_pages(self) -> None:
        names = [f"reader-{number:03}" for number in range(300)]
        self.room.place(*map(paid, names))
        self.room.come(*names)
        for hour in range(HOURS_KEPT):
            self.room.put(1 + hour)
            self.room.run(HOUR_S)
        wanted, told, pages = ContractsWanted(hours=HOURS_KEPT), [], 0
        while True:
            said = self.told(wanted, HOUR + HOURS_KEPT)
            self.assertLess(len(said), PAYLOAD_BYTES_MAX)
            page = decode_contracts(said)
            told += [contract.reader for contract in page.contracts]
            pages += 1
            if not page.after:
                break
            wanted = ContractsWanted(page.after, HOURS_KEPT)
        self.assertEqual(told, names)
        self.assertGreater(pages, 10)


class UndeliveredTests(SynchronousTestCase):
    def test_the_newest_is_first(self) -> None:
        undeliverable = Undeliverable()
        self.assertEqual(decode_undelivered(undelivered_told(undeliverable, UndeliveredWanted())).undelivered, ())
        added = UNDELIVERED_MAX + 50
        for number in range(added):
            names = tuple(f"{number:060}-{each}" for each in range(10))
            undeliverable.add(Undelivered(float(number), number, "ansa", "title", "away", 12, names))
        wanted, told = UndeliveredWanted(), []
        while True:
            said = undelivered_told(undeliverable, wanted)
            self.assertLess(len(said), PAYLOAD_BYTES_MAX)
            page = decode_undelivered(said)
            told += [entry.item for entry in page.undelivered]
            if not page.before:
                break
            wanted = UndeliveredWanted(page.before)
        self.assertEqual(told, list(reversed(range(50, added))))
        self.assertEqual(undeliverable.missed["away"], 12 * added)

    def test_one_that_is_large_is_told(self) -> None:
        undeliverable = Undeliverable()
        for number in range(2):
            undeliverable.add(Undelivered(1.0, number, "ansa", "x" * PAGE_BYTES_MAX, "away", 1, ("rita",)))
        self.assertEqual(len(decode_undelivered(undelivered_told(undeliverable, UndeliveredWanted())).undelivered), 1)


class CallTests(SynchronousTestCase):
    def test_a_call_is_a_word_and_what_is_wanted(self) -> None:
        self.assertEqual(call_of(CONTRACTS, ContractsWanted("rita", 3)), b'!contracts {"after":"rita","hours":3}')
        self.assertEqual(contracts_wanted(b'{"after":"rita"}'), ContractsWanted("rita"))
        self.assertEqual((contracts_wanted(b""), undelivered_wanted(b"")), (ContractsWanted(), UndeliveredWanted()))
        for nonsense in (b"x", b"[]", b'{"hours":"many"}'):
            self.assertRaises(msgspec.MsgspecError, contracts_wanted, nonsense)
