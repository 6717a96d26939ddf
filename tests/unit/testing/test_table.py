"""The simulated table."""

import random
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import StoreBusy, StoreError
from chatproto.testing import SimClock, SimDisk, SimNetwork, SimTable
from chatproto.testing.clock import HostClock
from tests.unit.keyvalue.contract import TableContract
from tests.unit.testing.lives import Lives


class ContractTests(Lives, TableContract, SynchronousTestCase):
    """What every table promises, of the simulated one."""

    opener = "open_table"


class SimTableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = SimClock()
        self.failures: list[str] = []

    def begin(self, seed: int = 0, commit_s: float = 0.5) -> SimTable:
        self.disk = SimDisk(self.clock, random.Random(seed), commit_s=(commit_s, commit_s))
        return self.open()

    def open(self) -> SimTable:
        self.life = HostClock(self.clock)
        return self.disk.open_table("data", self.failures.append, self.life)

    def crash(self) -> None:
        self.life.die()
        self.disk.crash()

    def test_a_commit_takes_its_time(self) -> None:
        table, done = self.begin(), []
        table.write([(b"a", b"1")], lambda: done.append(1))
        table.write([(b"b", b"1")], lambda: done.append(2))
        self.clock.run(0.4)
        self.assertEqual((done, table.keys(b"")), ([], []))
        self.clock.run(0.2)
        self.assertEqual((done, table.keys(b"")), ([1], [b"a"]))
        self.clock.run(0.5)
        self.assertEqual((done, table.keys(b"")), ([1, 2], [b"a", b"b"]))

    def test_a_crash_loses_what_was_not_durable_and_never_half_of_a_write(self) -> None:
        """What was under way survives or not; both happen."""
        outcomes = set()
        for seed in range(50):
            table = self.begin(seed)
            done: list[str] = []
            table.write([(b"first", b"")], partial(done.append, "first"))
            self.clock.run(0.6)
            table.write([(b"one", b""), (b"other", b"")], partial(done.append, "second"))
            self.clock.run(0.2)
            table.write([(b"late", b"")], partial(done.append, "late"))
            self.crash()
            self.clock.run(2)
            self.assertEqual(done, ["first"])
            outcomes.add(tuple(self.open().keys(b"")))
        self.assertEqual(outcomes, {(b"first",), (b"first", b"one", b"other")})

    def test_a_full_disk_is_told_once_and_keeps_nothing(self) -> None:
        table, done = self.begin(), []
        table.write([(b"a", b"1")], lambda: done.append(1))
        self.disk.fill()
        self.clock.run(1)
        table.write([(b"b", b"1")], lambda: done.append(2))
        self.clock.run(1)
        self.assertEqual((done, self.failures, self.disk.table("data")),
                         ([], ["cannot write data: database or disk is full"], {}))  # fmt: skip
        self.crash()
        self.disk.mend()
        self.assertEqual(self.open().keys(b""), [])

    def test_one_process_has_a_directory(self) -> None:
        table = self.begin()
        self.assertRaises(StoreBusy, self.open)
        self.assertRaises(StoreBusy, self.disk.open, "data", self.failures.append, self.life)
        table.close()
        self.clock.run(1)
        self.open()

    def test_there_may_be_no_room_to_make_it(self) -> None:
        self.begin()
        self.disk.fill()
        self.assertRaises(StoreError, self.disk.open_table, "other", self.failures.append, self.life)

    def test_what_is_durable_can_be_looked_at(self) -> None:
        table = self.begin()
        table.write([(b"a", b"1")], lambda: None)
        self.assertEqual(self.disk.table("data"), {})
        self.clock.run(1)
        self.assertEqual(self.disk.table("data"), {b"a": b"1"})
        self.assertEqual(self.disk.table("elsewhere"), {})
        self.disk.table("data").clear()
        self.assertEqual(table.keys(b""), [b"a"], "a copy")

    def test_a_host_has_it(self) -> None:
        """From one life to the next."""
        host = SimNetwork(self.clock, random.Random(1)).host("north")
        host.world().keyvalue("data", self.failures.append).write([(b"a", b"1")], lambda: None)
        self.clock.run(1)
        host.crash()
        host.boot()
        self.assertEqual(host.world().keyvalue("data", self.failures.append).keys(b""), [b"a"])
