from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from chatproto.errors import StoreBusy, StoreCorrupt
from chatproto.link import Turn
from chatproto.log import single
from chatproto.log.entry import Entry, Numbering, Run
from chatproto.log.gathering import GATHER_TURNS_MAX
from chatproto.log.interface import ILog, IStore, Slice, Snapshot
from chatproto.log.single import SingleLog
from tests.unit.log.contract import act, message
from tests.unit.turns import TurnClock


@implementer(IStore)
class RecordingStore:
    """Remembers what it is asked; appends are durable when a test says so."""

    held_configuration: bytes | None = None

    def __init__(self, snapshot: Snapshot | None = None, runs: list[Run] | None = None) -> None:
        self.recovered = (snapshot, runs or [])
        self.appended: list[list[Run]] = []
        self.undone: list[Any] = []
        self.snapshots: list[Snapshot] = []
        self.ids: dict[str, int] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.held: Deferred[Run | None] = Deferred()

    def configuration(self) -> bytes | None:
        return self.held_configuration

    def recover(self) -> Any:
        return self.recovered

    def append(self, runs: list[Run], done: Any) -> None:
        self.appended.append(runs)
        self.undone.append(done)
        for run in runs:
            self.ids.update({run.ids[offset]: run.index + offset for offset in run.retriable})

    def done(self) -> None:
        self.undone.pop(0)()

    def save(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def find(self, id: str) -> int | None:
        return self.ids.get(id)

    def run_of(self, index: int) -> "Deferred[Run | None]":
        self.asked.append(("run_of", index))
        return self.held

    def read(self, *asked: Any) -> "Deferred[list[Slice]]":
        self.asked.append(("read", *asked))
        return succeed([Slice(1, 1, b"read")])

    def peek(self, *asked: Any) -> list[Slice]:
        self.asked.append(("peek", *asked))
        return [Slice(1, 1, b"peeked")]

    def expired(self, *asked: Any) -> "Deferred[dict[str, int]]":
        self.asked.append(("expired", *asked))
        return succeed({"jokes": 3})

    def close(self) -> "Deferred[None]":
        self.asked.append(("close",))
        return succeed(None)


class Hearer:
    """`Replayed` that notes what it hears."""

    def __init__(self, log: SingleLog, heard: list[Any]) -> None:
        self.log = log
        self.heard = heard

    def restore(self, state: bytes | None) -> None:
        self.heard.append(("restore", state))

    def replay(self, run: Run) -> None:
        self.heard.append(("replay", run.index))

    def commit(self, runs: list[Run]) -> None:
        self.heard.append(("commit", [run.index for run in runs], self.log.position))

    def repeated(self, entry: Entry, run: Run | None, offset: int) -> None:
        self.heard.append(("repeated", entry, run, offset))

    def capture(self) -> tuple[bytes, dict[str, int]]:
        return b"captured", {"jokes": 2}

    def changed(self) -> None:
        self.heard.append(("changed",))

    def told(self, note: bytes) -> None:
        self.heard.append(("told", note))


class SingleLogTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.heard: list[Any] = []
        self.begin(RecordingStore())

    def begin(self, store: RecordingStore) -> None:
        self.store = store
        self.log = SingleLog(lambda: store, Turn(self.clock))
        self.log.open(Hearer(self.log, self.heard))

    def turn(self) -> None:
        self.clock.turn()

    def settle(self) -> None:
        """Take all the turns that a batch may take."""
        self.clock.pump([0.0] * (GATHER_TURNS_MAX + 2))

    def submit(self, *entries: Entry) -> None:
        for entry in entries:
            self.log.submit(entry)

    def commit(self, *entries: Entry) -> list[Run]:
        """Submit, append and make durable."""
        self.submit(*entries)
        self.settle()
        self.store.done()
        return self.store.appended[-1]


class OpeningTests(SingleLogTestCase):
    def test_provides_the_interface(self) -> None:
        self.assertTrue(verifyClass(ILog, SingleLog))
        self.assertEqual(
            (self.log.epoch, self.log.role, self.log.redundancy, self.log.durable, self.log.position, self.log.peers),
            (1, "leader", "single", 1, 0, []),
        )

    def test_the_store_is_opened_by_open(self) -> None:
        def refuse() -> Any:
            raise StoreBusy("in use")

        log = SingleLog(refuse, Turn(self.clock))
        self.assertRaises(StoreBusy, log.open, Hearer(log, self.heard))

    def test_there_is_no_other_node(self) -> None:
        self.assertTrue(self.log.serving)
        self.assertFalse(self.log.tell(b"anybody?"))

    def test_a_new_log_replays_nothing_and_begins_with_1(self) -> None:
        self.assertEqual(self.heard, [])
        (run,) = self.commit(message("jokes", "1"))
        self.assertEqual((run.index, run.position, run.epoch), (1, 1, 1))

    def test_restores_the_snapshot_then_replays_what_follows_and_goes_on_numbering(self) -> None:
        snapshot = Snapshot(10, 1, {"jokes": 4, "gone": 2}, b"state", {})
        tail = Numbering(10, {"jokes": 4}, 1).seal([message("jokes", "5"), message("jokes", "6"), act("a"), act("b")])
        self.begin(RecordingStore(snapshot, tail))
        self.assertEqual(self.heard, [("restore", b"state"), ("replay", 11), ("replay", 13)])
        self.assertEqual(self.log.position, 14)
        runs = self.commit(message("jokes", "7"), message("gone", "3"), message("MainHall", "1"))
        self.assertEqual(
            [(run.index, run.room, run.position) for run in runs],
            [(15, "jokes", 7), (16, "gone", 3), (17, "MainHall", 1)],
        )

    def test_positions_of_a_snapshot_may_be_ahead_of_its_index(self) -> None:
        """They count what was appended but not committed when it was made."""
        runs = [
            *Numbering(10, {"jokes": 4}, 1).seal([message("jokes", "5"), message("jokes", "6")]),
            *Numbering(12, {"jokes": 6}, 1).seal([message("jokes", "7")]),
        ]
        for ahead in (4, 5, 6, 7, 9):
            self.begin(RecordingStore(Snapshot(10, 1, {"jokes": ahead}, b"state", {}), runs))
            (run,) = self.commit(message("jokes", "next"))
            self.assertEqual((run.index, run.position), (14, max(8, ahead + 1)))

    def open(self, snapshot: Snapshot | None, runs: list[Run], **calls: Any) -> None:
        log = SingleLog(lambda: RecordingStore(snapshot, runs), Turn(self.clock))
        hearer = Hearer(log, [])
        for name, call in calls.items():
            setattr(hearer, name, call)
        log.open(hearer)

    def test_a_message_that_is_missing_is_damage(self) -> None:
        for positions, runs in (
            ({}, Numbering(10, {"jokes": 1}, 1).seal([message("jokes", "2")])),
            ({"jokes": 4}, Numbering(10, {"jokes": 5}, 1).seal([message("jokes", "6")])),
            ({}, Numbering(10, {"jokes": -1}, 1).seal([message("jokes", "0")])),
        ):
            error = self.assertRaises(StoreCorrupt, self.open, Snapshot(10, 1, positions, b"", {}), runs)
            self.assertIn("jokes", str(error))

    def test_what_cannot_be_replayed_is_damage(self) -> None:
        def fail(*_: Any) -> None:
            raise KeyError("what?")

        (run,) = Numbering(10, {}, 1).seal([act("a")])
        snapshot = Snapshot(10, 1, {}, b"", {})
        for calls in ({"restore": fail}, {"replay": fail}):
            error = self.assertRaises(StoreCorrupt, self.open, snapshot, [run], **calls)
            self.assertIn("what?", str(error))

    def test_damage_that_the_store_finds_is_told_as_it_is(self) -> None:
        def fail(*_: Any) -> None:
            raise StoreCorrupt("entry 7")

        (run,) = Numbering(0, {}, 1).seal([act("a")])
        error = self.assertRaises(StoreCorrupt, self.open, None, [run], replay=fail)
        self.assertEqual(str(error), "entry 7")

    def test_a_snapshot_alone_sets_the_position(self) -> None:
        self.begin(RecordingStore(Snapshot(10, 1, {}, b"state", {})))
        self.assertEqual((self.heard, self.log.position), ([("restore", b"state")], 10))


class CommitTests(SingleLogTestCase):
    def test_what_is_submitted_in_a_turn_goes_together_in_order(self) -> None:
        entries = [message("jokes", "1"), act("a"), message("jokes", "2")]
        self.submit(*entries)
        self.assertEqual(self.store.appended, [])
        self.settle()
        (runs,) = self.store.appended
        self.assertEqual([run.entries for run in runs], [[entry] for entry in entries])

    def test_nothing_is_committed_before_it_is_durable(self) -> None:
        self.submit(message("jokes", "1"))
        self.settle()
        self.assertEqual((self.heard, self.log.position), ([], 0))
        self.store.done()
        self.assertEqual(self.heard, [("commit", [1], 1)])

    def test_batches_are_committed_in_order(self) -> None:
        for number in range(3):
            self.submit(message("jokes", str(number)), act(str(number)))
            self.settle()
        self.assertEqual(len(self.store.appended), 3)
        for _ in range(3):
            self.store.done()
        self.assertEqual(self.heard, [("commit", [1, 2], 2), ("commit", [3, 4], 4), ("commit", [5, 6], 6)])

    def test_a_batch_waits_while_turns_bring_it_more_and_no_longer(self) -> None:
        self.submit(message("jokes", "1"))
        self.turn()
        self.submit(message("jokes", "2"))
        self.turn()
        self.assertEqual(self.store.appended, [])
        self.turn()
        (runs,) = self.store.appended
        self.assertEqual([len(run.ids) for run in runs], [2])

    def test_a_batch_that_every_turn_brings_more_goes_all_the_same(self) -> None:
        turns = 0
        while not self.store.appended:
            self.submit(message("jokes", str(turns)))
            self.turn()
            turns += 1
        self.assertEqual(turns, GATHER_TURNS_MAX + 1)

    def test_the_next_batch_waits_anew(self) -> None:
        for count in (1, 2, 3, 4):
            self.submit(message("jokes", "1"))
            self.turn()
            self.submit(message("jokes", "2"))
            self.turn()
            self.turn()
            self.assertEqual([len(runs[0].ids) for runs in self.store.appended], [2] * count)


class RepetitionTests(SingleLogTestCase):
    def test_an_id_that_is_queued_or_under_way_is_answered_when_it_is_committed(self) -> None:
        first, queued, under_way = (message("jokes", "1", id="x") for _ in range(3))
        self.submit(act("a"), first, queued)
        self.settle()
        self.submit(under_way)
        self.settle()
        self.assertEqual((len(self.store.appended), self.heard), (1, []))
        self.store.done()
        run = self.store.appended[0][1]
        self.assertEqual(
            self.heard, [("commit", [1, 2], 2), ("repeated", queued, run, 0), ("repeated", under_way, run, 0)]
        )
        self.assertIs(self.heard[1][1], queued)
        self.assertIs(self.heard[2][1], under_way)

    def test_the_offset_is_that_of_the_id(self) -> None:
        again = message("jokes", "3", id="z")
        self.submit(message("jokes", "1", id="x"), message("jokes", "2"), message("jokes", "3", id="z"), again)
        self.settle()
        self.store.done()
        self.assertEqual(self.heard[1:], [("repeated", again, self.store.appended[0][0], 2)])

    def test_an_id_that_is_committed_is_looked_up(self) -> None:
        self.commit(act("a"), message("jokes", "1"), message("jokes", "2", id="x"))
        again = message("jokes", "2", id="x")
        self.submit(again)
        self.settle()
        self.assertEqual((len(self.store.appended), self.store.asked, self.heard[1:]), (1, [("run_of", 3)], []))
        run = self.store.appended[0][1]
        self.store.held.callback(run)
        self.assertEqual(self.heard[1:], [("repeated", again, run, 1)])

    def test_an_id_whose_message_was_dropped_is_answered_without_one(self) -> None:
        self.store.ids["x"] = 7
        again = message("jokes", "1", id="x")
        self.submit(again)
        self.store.held.callback(None)
        self.assertEqual(self.heard, [("repeated", again, None, 0)])

    def test_a_reading_that_fails_is_logged(self) -> None:
        self.store.ids["x"] = 7
        self.store.held = fail(OSError("broken"))
        self.submit(message("jokes", "1", id="x"))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertEqual(self.heard, [])

    def test_ids_that_nobody_chose_are_not_looked_up(self) -> None:
        self.commit(message("jokes", "1"))
        self.store.ids[message("jokes", "1").id] = 1
        self.commit(message("jokes", "1"))
        self.assertEqual(len(self.store.appended), 2)


class SnapshotTests(SingleLogTestCase):
    def test_is_what_was_captured_at_the_last_commit(self) -> None:
        self.commit(message("jokes", "1"), act("a"))
        self.submit(message("jokes", "2"))
        self.settle()
        self.log.snapshot()
        # The position counts what is appended already: the store takes a snapshot after the appends before it.
        self.assertEqual(self.store.snapshots, [Snapshot(2, 1, {"jokes": 2}, b"captured", {"jokes": 2}, [(1, 1)])])

    def test_its_positions_are_a_copy(self) -> None:
        self.commit(message("jokes", "1"))
        self.log.snapshot()
        self.commit(message("jokes", "2"))
        self.assertEqual(self.store.snapshots[0].positions, {"jokes": 1})

    def test_one_is_made_every_so_many_entries(self) -> None:
        self.patch(single, "SNAPSHOT_ENTRIES", 4)
        for number in range(9):
            self.commit(act(str(number)))
        self.assertEqual([snapshot.index for snapshot in self.store.snapshots], [4, 8])

    def test_the_count_goes_on_where_the_last_snapshot_was(self) -> None:
        self.patch(single, "SNAPSHOT_ENTRIES", 4)
        tail = Numbering(10, {}, 1).seal([act("a"), act("b")])
        self.begin(RecordingStore(Snapshot(10, 1, {}, b"", {}), tail))
        self.commit(act("c"))
        self.assertEqual(self.store.snapshots, [])
        self.commit(act("d"))
        self.assertEqual(self.store.snapshots, [Snapshot(14, 1, {}, b"captured", {"jokes": 2}, [(1, 1)])])


class EpochTests(SingleLogTestCase):
    """A log that comes from a pair, by a backup, goes on in the epoch of its last entry."""

    def test_of_an_empty_log(self) -> None:
        self.assertEqual((self.log.epoch, self.log.had(1), self.log.had(2)), (1, True, False))

    def test_goes_on_where_the_log_ends(self) -> None:
        first = Numbering(0, {}, 3).seal([message("jokes", "1")])
        last = Numbering(1, {"jokes": 1}, 1700000000).seal([act("restart")])
        self.begin(RecordingStore(None, [*first, *last]))
        self.assertEqual((self.log.epoch, self.log.had(3), self.log.had(1)), (1700000000, True, False))
        (run,) = self.commit(message("jokes", "2"))
        self.assertEqual((run.epoch, run.position), (1700000000, 2))
        self.log.snapshot()
        (snapshot,) = self.store.snapshots
        self.assertEqual((snapshot.epoch, snapshot.epochs), (1700000000, [(3, 1), (1700000000, 2)]))

    def test_or_where_its_snapshot_does(self) -> None:
        self.begin(RecordingStore(Snapshot(10, 5, {}, b"", {}, [(2, 1), (5, 8)])))
        self.assertEqual((self.log.epoch, self.log.had(2)), (5, True))


class PassingOnTests(SingleLogTestCase):
    def test_reading_is_the_stores(self) -> None:
        self.assertEqual(self.successResultOf(self.log.read("jokes", 1, 2, 3)), [Slice(1, 1, b"read")])
        self.assertEqual(self.log.peek("jokes", 4, 5, 6), [Slice(1, 1, b"peeked")])
        self.assertEqual(self.successResultOf(self.log.expired(7.0, 8)), {"jokes": 3})
        self.assertEqual(
            self.store.asked, [("read", "jokes", 1, 2, 3), ("peek", "jokes", 4, 5, 6), ("expired", 7.0, 8)]
        )

    def test_closing_closes_the_store(self) -> None:
        self.successResultOf(self.log.close())
        self.assertEqual((self.store.asked, self.store.appended), ([("close",)], []))

    def test_closing_in_the_turn_of_a_submit_appends_first(self) -> None:
        self.submit(act("a"))
        self.log.close()
        self.assertEqual(len(self.store.appended), 1)
        self.settle()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(len(self.store.appended), 1)
        self.store.done()
        self.assertEqual(self.heard, [("commit", [1], 1)])
