from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import StoreCorrupt, StoreError
from chatproto.log.entry import Numbering, Run, Snapshot
from chatproto.pair.configuration import Configuration, Kept, keep, kept
from chatproto.pair.journal import Journal
from chatproto.pair.messages import received_run, sent_run
from chatproto.pair.replica import Replica, Rules
from tests.unit.log.contract import act, message
from tests.unit.pair.rig import Disk, Hearer, parted


class JournalTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = Disk()
        self.begin()

    def begin(self) -> Kept | None:
        self.replica = Replica(Rules("east", True, True))
        self.heard: list[tuple[int, list[int]]] = []
        self.journal = Journal(self.replica, self.durable)
        self.hearer = Hearer()
        return self.journal.open(self.disk.open(), self.hearer)

    def restart(self) -> Kept | None:
        self.disk.crash()
        return self.begin()

    def durable(self, index: int, runs: list[Run]) -> None:
        self.heard.append((index, [run.index for run in runs]))
        self.replica.stored_to(index, 0.0)

    def number(self, *ids: str) -> None:
        self.journal.number([message("jokes", id, id=id) for id in ids])

    def commit(self, index: int) -> None:
        self.replica.told_commit(index)
        self.journal.apply()


class GrowingTests(JournalTestCase):
    def test_what_is_numbered_is_durable_and_then_applied_up_to_the_commit(self) -> None:
        self.number("a", "b")
        self.number("c")
        self.commit(2)
        self.assertEqual((self.heard, self.hearer.ids), ([], []), "committed elsewhere, and not durable here")
        self.disk.settle()
        self.assertEqual(self.heard, [(2, [1]), (3, [3])])
        self.assertTrue(self.journal.apply())
        self.assertFalse(self.journal.apply())
        self.assertEqual((self.hearer.ids, self.replica.end), (["a", "b"], 3))

    def test_a_repetition_of_what_is_committed_is_answered_from_the_disk(self) -> None:
        self.number("a", "b")
        self.disk.settle()
        self.commit(2)
        again = message("jokes", "b", id="b")
        self.assertTrue(self.journal.known(again))
        self.disk.settle()
        self.assertEqual(self.hearer.repetitions, [(None, 1, 1)])

    def test_one_of_what_is_not_committed_yet_is_answered_then(self) -> None:
        self.number("a")
        self.assertTrue(self.journal.known(message("jokes", "a", id="a")))
        self.disk.settle()
        self.assertEqual(self.hearer.repetitions, [])
        self.commit(1)
        self.assertEqual(self.hearer.repetitions, [(None, 1, 0)])

    def test_an_id_that_is_new_is_on_its_way(self) -> None:
        entry = message("jokes", "a", id="a")
        self.assertFalse(self.journal.known(entry))
        self.assertTrue(self.journal.known(entry))

    def test_a_disk_that_cannot_answer_is_logged(self) -> None:
        self.number("a")
        self.disk.settle()
        self.commit(1)
        failing: Deferred[Any] = Deferred()
        self.journal.store.run_of = lambda index: failing  # type: ignore[method-assign]
        self.journal.known(message("jokes", "a", id="a"))
        failing.errback(StoreCorrupt("a bad sector"))
        self.assertEqual(len(self.flushLoggedErrors(StoreCorrupt)), 1)

    def test_nobody_hears_of_what_becomes_durable_after_the_end(self) -> None:
        self.number("a")
        told: list[str] = []
        self.journal.configure(keep(Configuration(1, "east", ("east",))), lambda: told.append("configured"))
        closed = self.journal.close()
        self.disk.settle()
        self.successResultOf(closed)
        self.assertEqual((self.heard, told, self.disk.ids), ([], [], ["a"]))


class OpeningTests(JournalTestCase):
    def test_the_configuration_is_kept(self) -> None:
        self.assertIsNone(self.restart())
        told: list[str] = []
        data = keep(Configuration(7, "west", ("east", "west")), complete=False, required="north")
        self.journal.configure(data, lambda: told.append("stored"))
        self.assertEqual(told, [])
        self.disk.settle()
        self.assertEqual((told, self.restart()), (["stored"], kept(data)))

    def test_a_data_directory_of_something_else_is_refused(self) -> None:
        self.journal.store.configure(b"\x93\x01\x02\x03", lambda: None)
        self.disk.settle()
        self.assertRaises(StoreError, self.restart)

    def test_the_floor_is_what_was_found(self) -> None:
        self.number("a", "b")
        self.disk.settle()
        self.restart()
        self.assertEqual((self.journal.floor, self.journal.tail.applied, self.hearer.ids), (2, 2, ["a", "b"]))

    def test_a_snapshot_is_where_it_goes_on(self) -> None:
        self.number("a", "b")
        self.disk.settle()
        self.commit(2)
        self.journal.snapshot()
        self.number("c")
        self.disk.settle()
        self.restart()
        self.assertEqual((self.journal.snapshot_index, self.journal.tail.end), (2, 3))
        self.number("d")
        self.disk.settle()
        self.assertEqual([run.position for run in self.disk.runs], [1, 3, 4])

    def test_a_snapshot_of_an_empty_log(self) -> None:
        self.journal.snapshot()
        self.disk.settle()
        self.restart()
        self.assertEqual((self.journal.tail.end, self.journal.snapshot_index), (0, 0))


class PartingTests(JournalTestCase):
    def setUp(self) -> None:
        super().setUp()
        for id in ("a", "b", "c"):
            self.number(id)
        self.disk.settle()
        self.commit(1)
        self.heard.clear()

    def test_at_once_where_nothing_of_it_was_applied(self) -> None:
        self.assertTrue(self.journal.part(1))
        self.assertEqual((self.journal.tail.end, self.replica.end, self.replica.durable), (1, 1, 1))
        self.assertEqual(list(self.journal.submissions.pending), ["b", "c"])
        self.disk.settle()
        self.assertEqual((self.disk.ids, self.disk.orphans, self.heard), (["a"], ["b", "c"], [(1, [])]))

    def test_not_at_once_where_something_was(self) -> None:
        self.assertFalse(self.journal.part(0))
        self.assertEqual(self.journal.tail.end, 3)
        done = self.journal.part_from_applied(0)
        self.disk.settle()
        self.successResultOf(done)
        self.assertEqual((self.disk.ids, self.disk.orphans), ([], ["a", "b", "c"]))
        self.assertEqual((self.hearer.ids, self.hearer.rewinds, self.journal.floor), ([], [{"jokes": 1}], 0))

    def test_what_was_under_way_to_the_disk_counts_no_more(self) -> None:
        self.number("d")
        self.journal.part(2)
        self.number("e")
        self.disk.settle()
        self.assertEqual(self.heard, [(2, []), (3, [3])])
        self.assertEqual((self.disk.ids, self.disk.orphans), (["a", "b", "e"], ["c", "d"]))

    def test_orphans_that_are_committed_again_are_dropped_from_the_disk(self) -> None:
        self.journal.part(1)
        self.journal.number(self.journal.submissions.take())
        self.disk.settle()
        self.assertEqual(self.disk.orphans, ["b", "c"])
        self.commit(3)
        self.disk.settle()
        self.assertEqual((self.disk.orphans, self.hearer.ids), ([], ["a", "b", "c"]))

    def test_orphans_wait_again_after_a_restart(self) -> None:
        self.journal.part(1)
        self.disk.settle()
        self.restart()
        self.assertEqual(list(self.journal.submissions.pending), ["b", "c"])
        self.assertEqual(self.journal.submissions.orphans, {"b", "c"})

    def test_orphans_that_are_in_the_log_do_not_and_are_dropped_with_the_commit(self) -> None:
        self.journal.part(1)
        self.journal.number(self.journal.submissions.take())
        self.disk.settle()
        self.restart()
        self.assertEqual((self.journal.submissions.pending, self.disk.orphans), ({}, ["b", "c"]))
        self.replica.start(None, 3, 0.0)
        self.commit(2)
        self.disk.settle()
        self.assertEqual(self.disk.orphans, ["b", "c"])
        self.commit(3)
        self.disk.settle()
        self.assertEqual(self.disk.orphans, [])

    def test_and_wait_again_when_they_are_parted_from_once_more(self) -> None:
        self.journal.part(1)
        self.journal.number(self.journal.submissions.take())
        self.disk.settle()
        self.restart()
        self.replica.start(None, 3, 0.0)
        done = self.journal.part_from_applied(1)
        self.disk.settle()
        self.successResultOf(done)
        self.assertEqual(list(self.journal.submissions.pending), ["b", "c"])
        self.commit(1)
        self.disk.settle()
        self.assertEqual(self.disk.orphans, ["b", "c"])

    def test_acts_alone_rewind_nobody(self) -> None:
        self.journal.number([act("x")])
        self.disk.settle()
        self.commit(4)
        done = self.journal.part_from_applied(3)
        self.disk.settle()
        self.successResultOf(done)
        self.assertEqual((self.hearer.rewinds, self.hearer.ids), ([], ["a", "b", "c"]))

    def test_a_log_that_is_missing_what_stays_is_told(self) -> None:
        self.disk.disk.lose("data", 1)
        self.commit(3)
        done = self.journal.part_from_applied(1)
        self.disk.settle()
        self.assertIn("entry 1", str(self.failureResultOf(done, StoreCorrupt).value))

    def test_a_snapshot_is_what_it_is_brought_back_to_first(self) -> None:
        self.journal.snapshot()
        self.disk.settle()
        self.commit(3)
        done = self.journal.part_from_applied(2)
        self.disk.settle()
        self.successResultOf(done)
        self.assertEqual((self.hearer.ids, self.disk.orphans, self.journal.floor), (["a", "b"], ["c"], 2))


class ForgettingTests(JournalTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.journal.configure(keep(Configuration(7, "west", ("east", "west"))), lambda: None)
        for id in ("a", "b", "c"):
            self.number(id)
        self.disk.settle()
        self.commit(2)
        self.journal.snapshot()
        self.journal.part(2)
        self.journal.submissions.forward("west", message("jokes", "d", id="d"))
        self.disk.settle()
        self.heard.clear()

    def forget(self) -> None:
        """Forget, as a node does."""
        forgotten = self.journal.forget()
        self.assertNoResult(forgotten)
        self.disk.settle()
        self.successResultOf(forgotten)
        self.replica.start(None, 0, 0.0)
        self.replica.forgotten()

    def test_nothing_is_left_anywhere(self) -> None:
        self.journal.forget()
        journal, submissions = self.journal, self.journal.submissions
        self.assertEqual((self.hearer.ids, self.hearer.rewinds), ([], []))
        self.assertEqual((journal.tail.end, journal.tail.applied, journal.tail.epochs), (0, 0, []))
        self.assertEqual((journal.floor, journal.snapshot_index, journal.snapshot_due), (0, 0, False))
        self.assertEqual((submissions.pending, submissions.forwarded, submissions.orphans), ({}, {}, set()))
        self.assertFalse(journal.known(message("jokes", "c", id="c")), "as if it had never been said")
        self.disk.settle()
        self.assertEqual((self.disk.ids, self.disk.orphans), ([], []))
        self.assertIsNone(self.restart())
        self.assertEqual((self.hearer.ids, self.journal.tail.end, self.journal.submissions.pending), ([], 0, {}))

    def test_what_was_under_way_to_the_disk_counts_no_more(self) -> None:
        self.number("e")
        self.journal.forget()
        self.disk.settle()
        self.assertEqual((self.heard, self.disk.ids), ([], []))

    def test_orphans_found_at_the_start_are_not_waited_for(self) -> None:
        self.journal.number(self.journal.submissions.take())
        self.disk.settle()
        self.restart()
        self.forget()
        self.number("x")
        self.disk.settle()
        self.commit(1)
        self.disk.settle()
        self.assertEqual((self.hearer.ids, self.disk.orphans), (["x"], []))

    def test_another_log_can_begin(self) -> None:
        self.forget()
        self.number("c", "a")
        self.number("b")
        self.disk.settle()
        self.assertEqual((self.heard, self.replica.end, self.replica.durable), ([(2, [1]), (3, [3])], 3, 3))
        self.commit(3)
        self.assertEqual([run.position for run in self.disk.runs], [1, 3])
        self.assertEqual(self.hearer.ids, ["c", "a", "b"])
        self.assertEqual(self.journal.store.find("c"), 1)

    def test_nobody_hears_of_it_once_it_is_closed(self) -> None:
        forgotten = self.journal.forget()
        closed = self.journal.close()
        self.disk.settle()
        self.successResultOf(closed)
        self.assertNoResult(forgotten)
        self.assertEqual(self.disk.ids, [])


class InstallingTests(JournalTestCase):
    """The leader's log is taken in, with holes up to entry 5, for which a snapshot stands."""

    SNAPSHOT = Snapshot(5, 1, {"jokes": 5}, msgspec.msgpack.encode(["a", "b", "c", "d", "e"]), {}, [(1, 1)])

    def begin(self) -> Kept | None:
        found = super().begin()
        self.begun = self.journal.install(0, 0)
        self.disk.settle()
        self.successResultOf(self.begun)
        return found

    def repeat(self, id: str) -> bool:
        entry = message("jokes", id, id=id)
        entry.origin = "again"
        return self.journal.known(entry)

    def test_an_id_on_its_way_to_the_disk_is_known_and_answered_at_once(self) -> None:
        """Numbered again later, it would be in the log twice."""
        self.journal.take_in_ids([("a", 1, 5.0), ("b", 2, 5.0)])
        self.assertIsNone(self.journal.store.find("a"), "the disk has it not yet")
        self.assertTrue(self.repeat("a"))
        self.disk.settle()
        self.assertEqual(self.hearer.repetitions, [("again", 0, 0)])
        self.journal.installed(self.SNAPSHOT)
        self.disk.settle()
        self.assertEqual((self.hearer.repetitions, self.journal.submissions.take()), ([("again", 0, 0)], []))

    def test_so_is_one_that_the_disk_has_though_nothing_is_applied(self) -> None:
        self.journal.take_in_ids([("a", 1, 5.0)])
        self.disk.settle()
        self.assertEqual((self.journal.store.find("a"), self.journal._learning), (1, {}))
        self.assertTrue(self.repeat("a"))
        self.disk.settle()
        self.assertEqual(self.hearer.repetitions, [("again", 0, 0)])

    def test_and_one_of_a_run_that_is_left(self) -> None:
        (run,) = Numbering(3, {"jokes": 3}, 1).seal([message("jokes", "d", id="d"), message("jokes", "e", id="e")])
        self.journal.take_in([received_run(sent_run(run))], lambda: None)
        self.disk.settle()
        self.assertTrue(self.repeat("e"))
        self.disk.settle()
        self.assertEqual(self.hearer.repetitions, [("again", 4, 1)])

    def test_what_was_submitted_before_its_id_comes_is_answered_with_it(self) -> None:
        entry = message("jokes", "a", id="a")
        entry.origin = "first"
        self.assertFalse(self.journal.known(entry))
        self.journal.submissions.wait([entry])
        self.assertTrue(self.repeat("a"))
        self.journal.take_in_ids([("a", 1, 5.0)])
        self.assertEqual(self.hearer.repetitions, [("first", 0, 0), ("again", 0, 0)])
        self.assertEqual(self.journal.submissions.take(), [])

    def test_an_id_that_does_not_come_is_new(self) -> None:
        self.journal.take_in_ids([("a", 1, 5.0)])
        self.assertFalse(self.repeat("x"))

    def test_whoever_begins_anew_forgets_what_had_come(self) -> None:
        self.journal.take_in_ids([("a", 1, 5.0)])
        self.journal.install(0, 0)
        self.assertFalse(self.repeat("a"), "the next leader may not have it")
        self.disk.settle()
        self.assertFalse(self.journal.submissions.orphans or self.journal._learning)

    def test_so_does_whoever_parts_or_forgets(self) -> None:
        for end in (lambda: self.journal.part(0), lambda: self.journal.forget()):
            self.restart()
            self.journal.take_in_ids([("a", 1, 5.0)])
            end()
            self.assertFalse(self.repeat("a"))
            self.disk.settle()

    def test_once_it_is_ended_what_is_beyond_waits_for_the_commit_again(self) -> None:
        self.journal.take_in_ids([("a", 1, 5.0)])
        self.journal.installed(self.SNAPSHOT)
        self.disk.settle()
        self.assertEqual((self.heard, self.hearer.ids), ([(5, [])], ["a", "b", "c", "d", "e"]))
        self.number("f")
        self.assertTrue(self.repeat("f"))
        self.disk.settle()
        self.assertEqual(self.hearer.repetitions, [])
        self.commit(6)
        self.assertEqual(self.hearer.repetitions, [("again", 6, 0)])


class ClosingTests(SynchronousTestCase):
    def test_wherever_a_parting_is_nobody_hears_of_it_once_it_is_closed(self) -> None:
        for steps in range(60):
            with self.subTest(steps=steps):
                rig = parted(1, 2)
                rig.heal()
                for _ in range(steps):
                    rig.step()
                hearer = rig.west.hearer
                closed = rig.west.log.close()
                before = (list(hearer.ids), list(hearer.rewinds), list(hearer.repetitions), hearer.changes)
                rig.settle()
                self.successResultOf(closed)
                self.assertEqual((hearer.ids, hearer.rewinds, hearer.repetitions, hearer.changes), before)
