"""The simulated disk and the store on it."""

import random
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chatproto.errors import StoreBusy, StoreCorrupt, StoreError
from chatproto.log.entry import ACT, MESSAGE, Entry, Numbering, Run
from chatproto.log.interface import IStore, Snapshot
from chatproto.testing import DISK_FAULTS, FAULTS, FaultPlan, SimClock, SimDisk, SimHost, SimNetwork, SimStore
from chatproto.testing.clock import HostClock
from tests.unit.log.contract import StoreContract
from tests.unit.testing.lives import Lives


def message(number: int, room: str = "hall") -> Entry:
    return Entry(MESSAGE, room, f"m{number}", 1000.0 + number, b'{"n":%d' % number, b"}", retriable=True)


class Life:
    """One life of a program that appends and remembers what was done."""

    def __init__(self, disk: SimDisk, directory: str = "data") -> None:
        self.clock = HostClock(disk.clock)
        self.failed: list[str] = []
        self.store = disk.open(directory, self.failed.append, self.clock)
        snapshot, runs = self.store.recover()
        self.snapshot = snapshot
        self.recovered = list(runs)
        index = snapshot.index if snapshot is not None else 0
        positions = dict(snapshot.positions) if snapshot is not None else {}
        for run in self.recovered:
            index = run.index + len(run.ids) - 1
            if run.position:
                positions[run.room] = run.position + len(run.ids) - 1
        self.numbering = Numbering(index, positions, 1)
        self.done: list[str] = []

    def append(self, *numbers: int, room: str = "hall") -> None:
        """Append one run of messages."""
        runs = self.numbering.seal([message(number, room) for number in numbers])
        self.store.append(runs, lambda: self.done.extend(f"m{number}" for number in numbers))

    def save(self, first: dict[str, int] | None = None) -> None:
        numbering = self.numbering
        self.store.save(Snapshot(numbering.index, 1, dict(numbering.positions), b"state", first or {}))


def ids(runs: list[Run]) -> list[str]:
    return [id for run in runs for id in run.ids]


class ContractTests(Lives, StoreContract, SynchronousTestCase):
    """What every store promises, of the simulated one."""

    opener = "open"


class SimDiskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = SimClock()
        self.disk = self.new_disk(0)

    def new_disk(self, seed: int, **options: Any) -> SimDisk:
        return SimDisk(self.clock, random.Random(seed), **options)

    def end(self, disk: SimDisk, life: Life) -> None:
        life.clock.die()
        disk.crash()

    def test_interface(self) -> None:
        verifyObject(IStore, Life(self.disk).store)

    def test_commit_takes_its_time(self) -> None:
        """Not done before the time drawn, and done once, in order."""
        life = Life(self.new_disk(0, commit_s=(0.5, 0.5)))
        life.append(1)
        life.append(2)
        self.assertEqual(life.done, [])
        self.clock.run(0.4)
        self.assertEqual(life.done, [])
        self.clock.run(0.2)
        self.assertEqual(life.done, ["m1"])
        self.clock.run(0.5)
        self.assertEqual(life.done, ["m1", "m2"])

    def test_one_commit_for_what_waited(self) -> None:
        """What came while one commit was under way goes in one."""
        life = Life(self.new_disk(0, commit_s=(0.5, 0.5)))
        for number in range(100):
            life.append(number)
        self.clock.run(1.1)
        self.assertEqual(len(life.done), 100)

    def test_survives_a_restart(self) -> None:
        """What was done is there for the next life, without what only this process knew."""
        life = Life(self.disk)
        life.append(1, 2)
        life.append(3)
        self.clock.run(1)
        self.end(self.disk, life)
        again = Life(self.disk)
        self.assertEqual(ids(again.recovered), ["m1", "m2", "m3"])
        self.assertEqual([run.entries for run in again.recovered], [[], []])
        self.assertEqual(again.recovered[0].lines()[1], b'{"n":2,"roomid":"hall","index":2,"epoch":1}')
        read = again.store.run_of(1)
        self.clock.run(1)
        for run in (again.recovered[0], self.successResultOf(read)):
            run.ids.clear()
        self.end(self.disk, again)
        again = Life(self.disk)
        self.assertEqual(ids(again.recovered), ["m1", "m2", "m3"], "a process cannot change what the disk holds")
        self.assertEqual(again.store.find("m3"), 3)
        self.assertEqual(again.store.find("m4"), None)

    def test_crash_in_a_commit(self) -> None:
        """All of what was under way survives or nothing of it; both happen; what waited is lost, what was done not."""
        outcomes = set()
        for seed in range(50):
            disk = self.new_disk(seed, commit_s=(0.5, 0.5))
            life = Life(disk)
            life.append(1)
            self.clock.run(0.1)
            life.append(2, 3)
            life.append(4, room="other")
            self.clock.run(0.6)
            life.append(5)
            self.assertEqual(life.done, ["m1"])
            self.end(disk, life)
            self.clock.run(10)
            self.assertEqual(life.done, ["m1"])
            outcomes.add(tuple(ids(Life(disk).recovered)))
        self.assertEqual(outcomes, {("m1",), ("m1", "m2", "m3", "m4")})

    def test_durable_but_not_told(self) -> None:
        """A crash between the commit and its `done` loses nothing."""
        for seed in range(10):
            disk = self.new_disk(seed)
            life = Life(disk)
            life.append(1)
            life.clock.pause()
            self.clock.run(1)
            self.assertEqual(life.done, [])
            self.end(disk, life)
            self.assertEqual(ids(Life(disk).recovered), ["m1"])

    def test_paused(self) -> None:
        """The commit under way ends; the process hears of it, and begins the next, when it goes on."""
        life = Life(self.disk)
        life.append(1)
        life.append(2)
        life.clock.pause()
        self.clock.run(5)
        self.assertEqual(life.done, [])
        life.clock.resume()
        self.clock.run(5)
        self.assertEqual(life.done, ["m1", "m2"])

    def test_full(self) -> None:
        """The opener is told once, nothing is kept or done from then on, and closing still answers."""
        life = Life(self.disk)
        life.append(1)
        self.clock.run(1)
        self.disk.fill()
        life.append(2)
        life.append(3)
        self.clock.run(1)
        life.append(4)
        self.clock.run(1)
        self.assertEqual(life.failed, ["cannot write data: database or disk is full"])
        self.assertEqual(life.done, ["m1"])
        closed = life.store.close()
        self.clock.run(1)
        self.successResultOf(closed)
        self.assertRaises(StoreError, self.disk.open, "new", life.failed.append, life.clock)
        self.disk.mend()
        again = Life(self.disk)
        self.assertEqual(ids(again.recovered), ["m1"])
        again.append(5)
        self.clock.run(1)
        self.assertEqual(again.done, ["m5"])

    def test_failing(self) -> None:
        """A commit that fails once may be on the disk all the same; the next life writes again."""
        outcomes = set()
        for seed in range(20):
            disk = self.new_disk(seed)
            life = Life(disk)
            disk.fail()
            life.append(1)
            life.append(2)
            self.clock.run(1)
            self.assertEqual((len(life.failed), life.done), (1, []))
            self.assertIn("disk I/O error", life.failed[0])
            self.end(disk, life)
            again = Life(disk)
            outcomes.add(tuple(ids(again.recovered)))
            again.append(3)
            self.clock.run(1)
            self.assertEqual(again.done, ["m3"])
        self.assertEqual(outcomes, {(), ("m1",)})

    def test_slow(self) -> None:
        life = Life(self.disk)
        self.disk.slow((5, 5))
        life.append(1)
        self.clock.run(4.9)
        self.assertEqual(life.done, [])
        self.disk.mend()
        self.clock.run(0.2)
        life.append(2)
        self.clock.run(0.1)
        self.assertEqual(life.done, ["m1", "m2"])

    def test_busy(self) -> None:
        """One process at a time: the next after a close or a crash, not after a pause; other directories are free."""
        life = Life(self.disk)
        self.assertRaises(StoreBusy, Life, self.disk)
        Life(self.disk, "other")
        life.append(1)
        closed = life.store.close()
        self.assertRaises(StoreBusy, Life, self.disk)
        life.append(2)
        self.clock.run(1)
        self.successResultOf(closed)
        self.assertEqual(life.done, ["m1"])
        again = Life(self.disk)
        self.assertEqual(ids(again.recovered), ["m1"])
        again.clock.pause()
        self.assertRaises(StoreBusy, Life, self.disk)
        self.end(self.disk, again)
        Life(self.disk)

    def test_snapshot(self) -> None:
        """Recovery starts with it; ids before it are still found, its acts and what is below `first` are purged."""
        life = Life(self.disk)
        life.append(1, 2)
        life.store.append(life.numbering.seal([Entry(ACT, "", "a", 1.0, b"{}", retriable=True)]), lambda: None)
        life.append(4, room="other")
        life.append(5)
        life.save({"hall": 3})
        self.assertEqual(life.store.find("m1"), 1)
        life.append(6)
        self.clock.run(1)
        self.assertEqual(life.store.find("m1"), 1)
        self.end(self.disk, life)
        again = Life(self.disk)
        assert again.snapshot is not None
        self.assertEqual((again.snapshot.index, again.snapshot.state), (5, b"state"))
        self.assertEqual(ids(again.recovered), ["m6"])
        self.assertEqual([again.store.find(id) for id in ("m1", "a", "m4", "m6")], [1, 3, 4, 6])
        runs = [again.store.run_of(index) for index in (1, 3, 4, 5, 6, 7)]
        self.clock.run(1)
        found = [self.successResultOf(run) for run in runs]
        self.assertEqual([run and run.ids[0] for run in found], [None, None, "m4", "m5", "m6", None])

    def test_snapshot_in_its_turn(self) -> None:
        """It is not durable before what it includes, and a second one while one is being saved is left out."""
        for seed in range(20):
            disk = self.new_disk(seed)
            life = Life(disk)
            life.append(1)
            life.append(2)
            life.save()
            life.append(3)
            life.save()
            self.clock.run(random.Random(seed).uniform(0, 0.02))
            self.end(disk, life)
            again = Life(disk)
            index = again.snapshot.index if again.snapshot is not None else 0
            self.assertIn(index, (0, 2))
            total = index + len(ids(again.recovered))
            self.assertGreaterEqual(total, len(life.done))
            self.assertLessEqual(total, 3)

    def test_read(self) -> None:
        """Later, in the order asked; `peek` at once."""
        life = Life(self.disk)
        life.append(1, 2, 3)
        life.append(4, room="other")
        life.append(5)
        self.clock.run(1)
        answered: list[int] = []
        for number in range(10):
            life.store.read("hall", 2, 1000, 1000).addCallback(lambda _, number=number: answered.append(number))
        reading = life.store.read("hall", 2, 1000, 3)
        self.assertNoResult(reading)
        self.clock.run(1)
        self.assertEqual(answered, list(range(10)))
        (piece,) = self.successResultOf(reading)
        self.assertEqual((piece.position, piece.count), (2, 3))
        self.assertEqual(life.store.peek("hall", 2, 1000, 3), [piece])
        self.assertEqual([piece.count for piece in life.store.peek("hall", 1, 1, 3)], [1])
        self.assertEqual(life.store.peek("hall", 5, 1000, 3), [])
        self.assertEqual(life.store.peek("nowhere", 1, 1000, 3), [])

    def test_expired(self) -> None:
        """By age and by size."""
        life = Life(self.disk)
        for number in range(10):
            life.append(number)
        self.clock.run(1)
        by_age, by_size, none = (life.store.expired(*limits) for limits in ((1003.5, 0), (0, 500), (0, 0)))
        self.clock.run(1)
        self.assertEqual(self.successResultOf(by_age), {"hall": 5})
        self.assertGreater(self.successResultOf(by_size)["hall"], 3)
        self.assertEqual(self.successResultOf(none), {})

    def test_lost_sector(self) -> None:
        """A gap is found by whoever recovers."""
        life = Life(self.disk)
        for number in range(3):
            life.append(number)
        self.clock.run(1)
        self.end(self.disk, life)
        self.disk.lose("data", 2)
        self.assertRaises(StoreCorrupt, Life, self.disk)

    def test_reader_after_death(self) -> None:
        """Nothing is answered, nothing is written."""
        life = Life(self.disk)
        life.append(1)
        self.clock.run(1)
        answers: list[Any] = []
        life.store.run_of(1).addCallback(answers.append)
        self.end(self.disk, life)
        life.append(2)
        life.store.read("hall", 1, 100, 100).addCallback(answers.append)
        life.store.close().addCallback(answers.append)
        self.clock.run(5)
        self.assertEqual((answers, life.done), ([], ["m1"]))
        self.assertEqual(ids(Life(self.disk).recovered), ["m1"])


class PairedDiskTests(SynchronousTestCase):
    """What a disk holds for two nodes, and what crashes and faults make of it."""

    def setUp(self) -> None:
        self.clock = SimClock()

    def begin(self, seed: int, **options: Any) -> None:
        """Have a new disk with three messages on it, each a run, the first one in a snapshot."""
        self.disk = SimDisk(self.clock, random.Random(seed), **options)
        life = self.life = Life(self.disk)
        life.append(1)
        life.save()
        life.append(2)
        life.append(3)
        life.store.configure(b"one", lambda: None)
        self.clock.run(10)

    def cut(self, after: int, *numbers: int) -> None:
        """Cut, and number on after it."""
        orphans = [(f"m{number}", b"%d" % number) for number in numbers]
        self.life.store.cut(after, orphans, lambda: self.life.done.append("cut"))
        self.life.numbering = Numbering(after, {"hall": after}, 2)

    def install(self, after: int) -> None:
        """Begin to install, and number on after it, leaving five entries out."""
        self.life.store.install(after, lambda: self.life.done.append("install"))
        self.life.numbering = Numbering(after + 5, {"hall": after}, 2)

    def found(self) -> tuple[Any, ...]:
        """End the process and return what its next life finds."""
        self.life.clock.die()
        self.disk.crash()
        life = self.life = Life(self.disk)
        found = [life.store.find(f"m{number}") for number in (1, 2, 3, 4)]
        orphans = [id for id, _ in life.store.orphans()]
        self.assertEqual(self.disk.orphans("data"), life.store.orphans())
        configuration = life.store.configuration()
        self.assertEqual(self.disk.configuration("data"), configuration)
        snapshot = life.snapshot and life.snapshot.index
        return snapshot, [run.index for run in life.recovered], found, orphans, configuration

    BEFORE = (1, [2, 3], [1, 2, 3, None], [], b"one")

    def outcomes(self, work: Any, seeds: int = 300) -> set[Any]:
        """Return what is found after work and a crash soon after, whatever the dice."""
        found = set()
        for seed in range(seeds):
            self.begin(seed)
            work()
            self.clock.run(random.Random(seed).uniform(0, 0.012))
            found.add(str(self.found()))
        return found

    def check_outcomes(self, work: Any, *allowed: Any) -> None:
        self.assertEqual(self.outcomes(work), set(map(str, allowed)))

    def test_crash_in_a_cut(self) -> None:
        """What was cut is in the log or among the orphans, and what follows is there only with the cut."""

        def work() -> None:
            self.cut(2, 3)
            self.life.append(4)
            self.life.store.adopted(["m3"])

        cut = (1, [2], [1, 2, None, None], ["m3"], b"one")
        self.check_outcomes(work, self.BEFORE, cut, (1, [2, 3], [1, 2, None, 3], [], b"one"))

    def test_crash_in_what_goes_together(self) -> None:
        """Appends, configurations and adoptions that waited for one another are one commit."""

        def work() -> None:
            self.cut(3, 9)
            self.life.append(4)
            self.life.store.configure(b"two", lambda: None)
            self.life.store.adopted(["m9"])
            self.life.append(5)

        self.check_outcomes(
            work,
            self.BEFORE,
            (*self.BEFORE[:3], ["m9"], b"one"),
            (1, [2, 3, 4, 5], [1, 2, 3, 4], [], b"two"),
        )

    def test_crash_in_an_installation(self) -> None:
        """It goes back to where it began until its snapshot is there."""

        def work() -> None:
            self.install(0)
            self.life.append(3)
            self.life.append(4)
            self.life.save()
            self.life.append(5)

        nothing = (None, [], [None] * 4, [], b"one")
        ended = [None, None, 6, 7]
        self.check_outcomes(work, self.BEFORE, nothing, (7, [], ended, [], b"one"), (7, [8], ended, [], b"one"))

    def test_crash_in_an_installation_after_an_index(self) -> None:
        def work() -> None:
            self.install(2)
            self.life.append(4)
            self.life.save()

        self.check_outcomes(
            work, self.BEFORE, (1, [2], [1, 2, None, None], [], b"one"), (8, [], [1, 2, None, 8], [], b"one")
        )

    def test_crash_in_forgetting(self) -> None:
        """It has happened wholly or not, and what follows is there only with it."""

        def work() -> None:
            self.cut(3, 9)
            self.life.store.forget(lambda: None)
            self.life.numbering = Numbering(0, {}, 2)
            self.life.append(4)
            self.life.store.configure(b"two", lambda: None)

        self.check_outcomes(
            work,
            self.BEFORE,
            (*self.BEFORE[:3], ["m9"], b"one"),
            (None, [], [None] * 4, [], None),
            (None, [1], [None, None, None, 1], [], b"two"),
        )

    def test_who_has_forgotten_all_holds_the_directory_still(self) -> None:
        self.begin(0)
        before = self.disk.changes
        self.life.store.forget(lambda: None)
        self.clock.run(1)
        self.assertGreater(self.disk.changes, before)
        self.assertEqual(self.disk.extent("data"), (None, 0, False))
        self.assertRaises(StoreBusy, Life, self.disk)

    def find_all_along(self, *numbers: int) -> list[list[int | None]]:
        """Return what is found of these ids, step by step, until all is done; the same only once."""
        found: list[list[int | None]] = []

        def look() -> None:
            looked = [self.life.store.find(f"m{number}") for number in numbers]
            if found[-1:] != [looked]:
                found.append(looked)

        look()
        self.clock.run(10, after_each=look)
        return found

    def test_ids_while_several_cuts_are_under_way(self) -> None:
        """Not even for a moment is an id found that a later cut removes."""
        self.begin(0)
        self.life.save()
        self.clock.run(10)
        self.assertEqual([self.life.store.find(f"m{number}") for number in (1, 2, 3)], [1, 2, 3])
        self.life.store.install(3, lambda: None)
        self.life.numbering = Numbering(3, {"hall": 3}, 2)
        for number in (4, 5, 6):
            self.life.append(number)
        self.life.store.save(Snapshot(3, 2, {"hall": 3}, b"", {}))
        self.clock.run(10)
        for after in (5, 4, 3):
            self.cut(after)
        self.assertEqual(self.find_all_along(3, 4, 5, 6), [[3, None, None, None]])

    def test_ids_while_several_snapshots_are_under_way(self) -> None:
        """Not even for a moment is an id lost that a later snapshot has."""
        self.begin(0)
        self.life.append(4)
        self.life.save()
        self.life.store.install(4, lambda: None)
        self.life.append(5)
        self.life.save()
        self.life.store.install(5, lambda: None)
        self.life.append(6)
        self.life.save()
        self.assertEqual(self.find_all_along(4, 5, 6), [[4, 5, 6]])

    def test_failing(self) -> None:
        """Whatever commit fails, the opener is told once, and it has happened or not."""
        for work, done in (
            (lambda: self.cut(2, 3), (1, [2], [1, 2, None, None], ["m3"], b"one")),
            (lambda: self.install(0), (None, [], [None] * 4, [], b"one")),
            (lambda: self.life.store.forget(lambda: self.life.done.append("")), (None, [], [None] * 4, [], None)),
            (lambda: self.life.store.configure(b"two", lambda: self.life.done.append("")), (*self.BEFORE[:4], b"two")),
            (lambda: self.life.store.adopted(["m9"]), self.BEFORE),
        ):
            found = set()
            for seed in range(20):
                self.begin(seed)
                before = list(self.life.done)
                self.disk.fail()
                work()
                self.life.append(9)
                self.clock.run(1)
                self.life.store.configure(b"never", lambda: None)
                self.clock.run(1)
                self.assertEqual(len(self.life.failed), 1)
                self.assertIn("disk I/O error", self.life.failed[0])
                self.assertEqual(self.life.done, before)
                found.add(str(self.found()))
            self.assertEqual(found, {str(self.BEFORE), str(done)})

    def test_full(self) -> None:
        self.begin(0)
        self.disk.fill()
        self.cut(2, 3)
        self.life.append(9)
        self.clock.run(1)
        self.assertEqual(self.life.failed, ["cannot write data: database or disk is full"])
        self.disk.mend()
        self.assertEqual(self.found(), self.BEFORE)

    def test_appends_go_upwards(self) -> None:
        """As in the SQLite store, where an index can be taken once; nobody overwrites what is there."""
        self.begin(0)
        self.life.numbering = Numbering(2, {"hall": 2}, 1)
        self.life.append(4)
        self.clock.run(1)
        self.assertEqual(self.life.failed, ["cannot write data: entry 3 cannot follow entry 3"])
        self.assertEqual(self.found(), self.BEFORE)

    def test_crash_in_what_is_refused(self) -> None:
        """It has not happened."""
        for seed in range(10):
            self.begin(seed, commit_s=(0.5, 0.5))
            self.cut(0, 1)
            self.clock.run(0.1)
            self.assertEqual(self.found(), self.BEFORE)

    def test_a_dead_life_keeps_no_entries_alive(self) -> None:
        self.begin(0, commit_s=(0.5, 0.5))
        store = self.life.store
        self.life.append(4)
        self.life.append(5)
        self.clock.run(0.1)
        self.found()
        self.assertEqual((store._under_way, list(store._jobs)), ([], []))

    def test_a_new_disk(self) -> None:
        """Everything is gone, once no process holds it."""
        self.begin(0)
        self.cut(2, 3)
        self.life.store.install(2, lambda: None)
        self.clock.run(1)
        self.assertEqual((self.disk.configuration("data"), self.disk.orphans("data")), (b"one", [("m3", b"3")]))
        self.assertRaises(StoreBusy, self.disk.wipe, "data")
        self.life.clock.die()
        self.disk.crash()
        self.disk.wipe("data")
        self.assertEqual((self.disk.configuration("data"), self.disk.orphans("data")), (None, []))
        self.assertEqual(list(self.disk.newest_first("data")), [])
        self.assertEqual(self.found(), (None, [], [None] * 4, [], None))
        self.disk.wipe("elsewhere")

    def test_extent(self) -> None:
        """How far a disk goes can be asked at any time, and so can whether it has changed."""
        self.begin(1)
        snapshot, end, installing = self.disk.extent("data")
        assert snapshot is not None
        self.assertEqual((snapshot.index, end, installing), (1, 3, False))
        before = self.disk.changes
        self.clock.run(1)
        self.assertEqual(self.disk.changes, before)
        self.cut(2, 3)
        self.clock.run(1)
        self.assertEqual(self.disk.extent("data")[1:], (2, False))
        self.install(1)
        self.life.append(7)
        self.clock.run(1)
        self.assertEqual(self.disk.extent("data")[1:], (1, True))
        self.assertGreater(self.disk.changes, before)
        self.assertEqual(self.disk.extent("nothing"), (None, 0, False))


class Keeper:
    """A program that appends for ever, and must find again what it was told is kept."""

    def __init__(self, host: SimHost, kept: list[int], test: SynchronousTestCase) -> None:
        world = host.world()
        self.clock = world.clock
        store = world.store("data", world.fatal)
        assert isinstance(store, SimStore)
        self.store = store
        _, runs = store.recover()
        numbers = [int(id[1:]) for id in ids(list(runs))]
        test.assertEqual(numbers, list(range(len(numbers))))
        test.assertGreaterEqual(len(numbers), len(kept))
        kept[:] = numbers
        self.kept = kept
        self.numbering = Numbering(len(numbers), {"hall": len(numbers)}, 1)
        self.next(len(numbers))

    def next(self, number: int) -> None:
        runs = self.numbering.seal([message(number)])
        self.store.append(runs, partial(self.kept.append, number))
        self.clock.callLater(0.02, self.next, number + 1)


class HostTests(SynchronousTestCase):
    def test_storms(self) -> None:
        """Whatever happens to processes and disks, what was done is found again, in order, by every life."""
        lives = deaths = 0
        for seed in range(20):
            network = SimNetwork(SimClock(), random.Random(seed))
            host = network.host("a")
            kept: list[int] = []
            host.runs(lambda host, kept=kept: Keeper(host, kept, self))
            plan = FaultPlan(network, random.Random(seed), faults=FAULTS + DISK_FAULTS, lasting_s=(0.05, 1))
            plan.rain(30)
            network.clock.run(30)
            self.assertTrue(host.alive)
            before = len(kept)
            network.clock.run(1)
            self.assertGreater(len(kept), before + 40, plan.describe())
            lives += host.lives
            deaths += len(host.last_words)
        self.assertGreater(lives, 60)
        self.assertGreater(deaths, 20, "disks end processes")

    def test_one_disk_a_host(self) -> None:
        """The same path on two hosts is two directories."""
        network = SimNetwork(SimClock(), random.Random(0))
        for name in "ab":
            network.host(name).world().store("data", self.fail)
        world = network.host("a").world()
        self.assertRaises(StoreBusy, world.store, "data", self.fail)

    def test_doomed_hosts_count_as_dead(self) -> None:
        """With `down_max=1` a full disk is not followed by a crash elsewhere."""
        network = SimNetwork(SimClock(), random.Random(0))
        hosts = [network.host(name) for name in "abc"]
        for host in hosts:
            host.runs(lambda host: Keeper(host, [], self))
        plan = FaultPlan(network, random.Random(3), faults=(*DISK_FAULTS, FAULTS[0]), gap_s=(0.05, 0.2), down_max=1)
        most = 0

        def count() -> None:
            nonlocal most
            most = max(most, sum(not host.alive for host in hosts))

        plan.rain(30)
        network.clock.run(30, after_each=count)
        self.assertEqual(most, 1)
