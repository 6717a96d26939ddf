from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.log.entry import Entry, Epochs, Numbering, Run, note_epoch
from chatproto.pair.tail import Tail, common
from tests.unit.log.contract import act, message

ROOMS = ["", "MainHall", "jokes"]


def entries(rooms: list[str]) -> list[Entry]:
    return [message(room, "x") if room else act("x") for room in rooms]


def epochs_of(history: list[int]) -> Epochs:
    """Return the epochs of a log, given the epoch of each entry."""
    return [(epoch, at) for at, epoch in enumerate(history, 1) if at == 1 or history[at - 2] != epoch]


@st.composite
def parted(draw: Callable[[Any], Any]) -> tuple[list[int], list[int], int]:
    """Draw two histories as the protocol gives them, by the epoch of each entry, and how much they share.

    Whoever leads in an epoch numbers in it, and one node leads in an epoch: so the one who goes on in an epoch is
    the only one who does.
    """
    shared = sorted(draw(st.lists(st.integers(1, 6), max_size=8)))
    last = shared[-1] if shared else 1
    leads = draw(st.dictionaries(st.integers(last, last + 6), st.booleans()))
    mine, theirs = (
        sorted(draw(st.lists(st.sampled_from(epochs), max_size=8))) if epochs else []
        for epochs in ([epoch for epoch, own in leads.items() if own is side] for side in (True, False))
    )
    return shared + mine, shared + theirs, len(shared)


class CommonTests(SynchronousTestCase):
    @given(parted())
    def test_it_is_where_two_histories_have_parted(self, histories: tuple[list[int], list[int], int]) -> None:
        mine, theirs, shared = histories
        found = common(epochs_of(mine), len(mine), epochs_of(theirs), len(theirs))
        self.assertEqual(found, shared)
        self.assertEqual(common(epochs_of(theirs), len(theirs), epochs_of(mine), len(mine)), found)

    @given(st.lists(st.integers(1, 6), max_size=12), st.integers(0, 12))
    def test_a_log_that_is_behind_shares_all_it_has(self, history: list[int], behind: int) -> None:
        history.sort()
        shorter = history[:behind]
        self.assertEqual(
            common(epochs_of(history), len(history), epochs_of(shorter), len(shorter)), min(behind, len(history))
        )

    def test_who_took_over_and_who_went_on_share_what_both_have_of_the_last_epoch(self) -> None:
        """The old leader had numbered up to 9 in epoch 2, of which the follower had up to 6 when it took over."""
        self.assertEqual(common([(1, 1), (2, 4)], 9, [(1, 1), (2, 4), (3, 7)], 20), 6)

    def test_logs_of_different_pairs_share_nothing(self) -> None:
        self.assertEqual(common([(1, 1)], 5, [(2, 1)], 5), 0)
        self.assertEqual(common([], 0, [(2, 1)], 5), 0)


class TailTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tail = Tail(Numbering(0, {}, 1), [])

    def number(self, *rooms: str, epoch: int = 1) -> list[Run]:
        self.tail.numbering.epoch = epoch
        runs = self.tail.numbering.seal(entries(list(rooms)))
        for run in runs:
            self.tail.number(run)
        return runs

    def test_an_empty_log(self) -> None:
        self.assertEqual((self.tail.end, self.tail.epoch, self.tail.applied), (0, 0, 0))
        self.assertEqual(self.tail.take(10), [])
        self.assertEqual(self.tail.epochs_at(10), [])

    def test_it_begins_where_all_is_applied(self) -> None:
        tail = Tail(Numbering(7, {"jokes": 3}, 5), [(1, 1), (4, 5)])
        self.assertEqual((tail.end, tail.epoch, tail.applied, list(tail.waiting)), (7, 4, 7, []))

    def test_what_is_numbered_waits_until_it_is_taken(self) -> None:
        first, second = self.number("jokes", "jokes", "MainHall")
        (third,) = self.number("", epoch=2)
        self.assertEqual((self.tail.end, self.tail.epoch, self.tail.epochs), (4, 2, [(1, 1), (2, 4)]))
        self.assertEqual(self.tail.take(1), [], "half a run is not taken")
        self.assertEqual((self.tail.take(3), self.tail.applied), ([first, second], 3))
        self.assertEqual((self.tail.take(100), self.tail.applied), ([third], 4))
        self.assertEqual((self.tail.take(100), self.tail.applied), ([], 4))

    def test_what_the_other_node_has_numbered_is_counted_on_from(self) -> None:
        other = Tail(Numbering(0, {}, 3), [])
        for run in other.numbering.seal(entries(["jokes", "jokes", "", "jokes"])):
            other.number(run)
            self.tail.extend(run)
        self.assertEqual((self.tail.end, self.tail.epochs), (other.end, other.epochs))
        self.assertEqual(self.tail.numbering.positions, {"jokes": 3})
        self.assertEqual(list(self.tail.waiting), list(other.waiting))

    def test_unapplied_after(self) -> None:
        _, second, third = self.number("jokes", "MainHall", "")
        self.tail.take(1)
        self.assertEqual(self.tail.unapplied_after(0), [second, third])
        self.assertEqual(self.tail.unapplied_after(2), [third])
        self.assertEqual(self.tail.unapplied_after(3), [])

    def test_a_log_that_is_parted_from_goes_on_as_if_it_never_had_been(self) -> None:
        self.number("jokes", "jokes")
        self.number("MainHall", "jokes", "", epoch=2)
        self.number("jokes", "MainHall", epoch=3)
        self.tail.take(4)
        self.tail.cut(2, [*self.tail_runs_after(2)])
        self.assertEqual((self.tail.end, self.tail.applied, self.tail.epochs), (2, 2, [(1, 1)]))
        (run,) = self.number("jokes", epoch=4)
        self.assertEqual((run.index, run.position), (3, 3))
        (run,) = self.number("MainHall", epoch=4)
        self.assertEqual((run.index, run.position), (4, 1))

    def tail_runs_after(self, index: int) -> list[Run]:
        """Return the runs after an index, applied ones too: they are numbered the same way again."""
        again = Numbering(0, {}, 0)
        sealed: list[Run] = []
        for rooms in (["jokes", "jokes"], ["MainHall", "jokes", ""], ["jokes", "MainHall"]):
            sealed += again.seal(entries(rooms))
        return [run for run in sealed if run.index > index]

    @given(st.lists(st.tuples(st.sampled_from(ROOMS), st.integers(1, 4)), max_size=20), st.data())
    def test_cut_and_the_questions_agree_with_a_log_that_was_never_longer(
        self, steps: list[tuple[str, int]], data: st.DataObject
    ) -> None:
        self.setUp()
        runs: list[Run] = []
        whole: list[tuple[int, dict[str, int], Epochs]] = [(0, {}, [])]
        for epoch, (room, count) in enumerate(steps, 1):
            runs += self.number(*[room] * count, epoch=(epoch + 1) // 2)
            whole.append((self.tail.end, dict(self.tail.numbering.positions), list(self.tail.epochs)))
        applied, _, _ = whole[data.draw(st.integers(0, len(steps)))]
        end, positions, epochs = whole[data.draw(st.integers(0, len(steps)))]
        self.tail.take(applied)
        self.assertEqual(self.tail.applied, applied)
        self.assertEqual(self.tail.epochs_at(end), epochs)
        self.assertEqual(self.tail.unapplied_after(end), [run for run in runs if run.index > max(applied, end)])
        if end >= applied:
            self.assertEqual(self.given_out(self.tail.positions_at(end)), positions)
        self.tail.cut(end, [run for run in runs if run.index > end])
        self.assertEqual(
            (self.tail.end, self.tail.epochs, self.tail.applied, self.given_out(self.tail.numbering.positions)),
            (end, epochs, min(applied, end), positions),
        )
        self.assertEqual(self.tail.unapplied_after(0), [run for run in runs if applied < run.index <= end])

    def given_out(self, positions: dict[str, int]) -> dict[str, int]:
        return {room: position for room, position in positions.items() if position}

    def test_epochs_are_noted_once(self) -> None:
        epochs: Epochs = []
        for run in self.number("jokes", "MainHall"):
            note_epoch(epochs, run)
        self.assertEqual(epochs, [(1, 1)])
