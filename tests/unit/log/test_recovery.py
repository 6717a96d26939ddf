from collections.abc import Iterable, Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import StoreCorrupt, StoreVersion
from chatproto.log.entry import Entry, Numbering, Run, Snapshot
from chatproto.log.recovery import recover
from tests.unit.log.contract import act, message


class Replay:
    """`Replayed` that notes what it is brought to, and fails where a test wants it to."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.fails_at = 0

    def restore(self, state: bytes | None) -> None:
        self.heard.append(state)

    def replay(self, run: Run) -> None:
        if run.index == self.fails_at:
            raise KeyError(run.index)
        self.heard.append(run.index)


class Store:
    def __init__(self, snapshot: Snapshot | None, runs: Iterable[Run]) -> None:
        self.held = snapshot, runs

    def recover(self) -> Any:
        return self.held


def sealed(*entries: Entry, index: int = 0, epoch: int = 1, **positions: int) -> list[Run]:
    return Numbering(index, positions, epoch).seal(list(entries))


class RecoverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.replay = Replay()

    def recover(self, snapshot: Snapshot | None, runs: Iterable[Run]) -> Any:
        return recover(Store(snapshot, runs), self.replay)  # type: ignore[arg-type]

    def test_nothing(self) -> None:
        found = self.recover(None, [])
        self.assertEqual((found.index, found.positions, found.epochs, found.snapshot_index), (0, {}, [], 0))
        self.assertEqual(self.replay.heard, [], "it is as before the first entry already")

    def test_runs_alone(self) -> None:
        runs = sealed(message("jokes", "1"), message("jokes", "2"), act("a"), message("MainHall", "1"))
        runs += sealed(message("jokes", "3"), index=4, epoch=3, jokes=2)
        found = self.recover(None, runs)
        self.assertEqual((found.index, found.positions), (5, {"jokes": 3, "MainHall": 1}))
        self.assertEqual((found.epochs, found.snapshot_index), ([(1, 1), (3, 5)], 0))
        self.assertEqual(self.replay.heard, [1, 3, 4, 5])

    def test_a_snapshot_and_what_came_after(self) -> None:
        snapshot = Snapshot(7, 3, {"jokes": 4, "gone": 9}, b"state", {}, [(1, 1), (3, 5)])
        found = self.recover(snapshot, sealed(message("jokes", "5"), index=7, epoch=4, jokes=4))
        self.assertEqual((found.index, found.positions), (8, {"jokes": 5, "gone": 9}))
        self.assertEqual((found.epochs, found.snapshot_index), ([(1, 1), (3, 5), (4, 8)], 7))
        self.assertEqual(self.replay.heard, [b"state", 8])

    def test_a_snapshot_alone(self) -> None:
        found = self.recover(Snapshot(7, 3, {"jokes": 4}, b"state", {}, [(3, 1)]), [])
        self.assertEqual((found.index, found.epochs), (7, [(3, 1)]))

    def test_a_snapshot_of_a_release_that_kept_no_epochs(self) -> None:
        found = self.recover(Snapshot(7, 1, {}, b"state", {}), sealed(act("a"), index=7))
        self.assertEqual(found.epochs, [(1, 1)])

    def test_a_snapshot_that_counts_what_was_not_committed_yet(self) -> None:
        found = self.recover(
            Snapshot(7, 1, {"jokes": 6}, b"state", {}), sealed(message("jokes", "5"), index=7, jokes=4)
        )
        self.assertEqual(found.positions, {"jokes": 6})

    def test_every_run_is_shown_before_it_is_replayed(self) -> None:
        seen: list[tuple[int, int]] = []
        runs = sealed(act("a"), message("jokes", "1"))
        recover(Store(None, runs), self.replay, lambda run: seen.append((run.index, len(self.replay.heard))))  # type: ignore[arg-type]
        self.assertEqual(seen, [(1, 0), (2, 1)])

    def test_a_message_that_is_missing(self) -> None:
        for snapshot, runs in (
            (None, sealed(message("jokes", "2"), jokes=1)),
            (Snapshot(7, 1, {"jokes": 4}, b"", {}), sealed(message("jokes", "6"), index=7, jokes=5)),
        ):
            error = self.assertRaises(StoreCorrupt, self.recover, snapshot, runs)
            self.assertIn("jokes has no message", str(error))

    def test_a_message_without_a_position(self) -> None:
        (run,) = sealed(message("jokes", "1"))
        run.position = 0
        self.assertRaises(StoreCorrupt, self.recover, None, [run])

    def test_what_cannot_be_replayed_says_where(self) -> None:
        self.replay.fails_at = 2
        error = self.assertRaises(StoreCorrupt, self.recover, None, sealed(act("a"), message("jokes", "1")))
        self.assertIn("entry 2", str(error))
        self.assertIsInstance(error.__cause__, KeyError)

    def test_what_the_store_says_is_not_said_in_other_words(self) -> None:
        def runs() -> Iterator[Run]:
            yield from sealed(act("a"))
            raise StoreVersion("another release")

        error = self.assertRaises(StoreVersion, self.recover, None, runs())
        self.assertEqual(str(error), "another release")
