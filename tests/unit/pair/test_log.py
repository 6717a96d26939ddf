from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from chatproto.log.interface import ILog, Peer
from chatproto.pair import journal
from chatproto.pair.configuration import Configuration
from chatproto.pair.log import PairLog
from chatproto.pair.messages import SECONDARY, VERSION, Begin, Commit, Follow, Forward, Hello, Install, State, encode
from chatproto.wire import framed
from tests.unit.log.contract import act, message
from tests.unit.pair.bench import EAST, FOUNDING
from tests.unit.pair.rig import SUSPECT_S, Rig, parted
from tests.unit.transports import Transport


class PairTestCase(SynchronousTestCase):
    def agree(self, rig: Rig, ids: list[str]) -> None:
        """Check that both have these, in this order, in their logs and in what they show; and nothing is left over."""
        for node in (rig.east, rig.west):
            self.assertEqual((node.disk.ids, node.hearer.ids), (ids, ids), node.name)
            self.assertEqual((node.pending, node.disk.orphans, node.disk.failures), ([], [], []), node.name)
        self.assertEqual(rig.east.disk.runs, rig.west.disk.runs)


class FirstStartTests(PairTestCase):
    def test_provides_the_interface(self) -> None:
        self.assertTrue(verifyClass(ILog, PairLog))

    def test_with_a_witness(self) -> None:
        rig = Rig()
        rig.west.start()
        rig.wait(2)
        self.assertEqual((rig.west.role, rig.west.log.redundancy, rig.west.log.serving), ("boot", "isolated", False))
        rig.east.start()
        rig.until(lambda: rig.west.role == "follower")
        self.assertEqual(rig.witness.configuration, Configuration(2, "east", ("east", "west")))
        self.assertEqual(rig.west.asked.claims[-1], rig.witness.configuration)

    def test_without_one(self) -> None:
        rig = Rig(static=True)
        rig.start()
        self.assertEqual(rig.east.log.epoch, 3)

    def test_what_is_submitted_before_anybody_leads_waits(self) -> None:
        rig = Rig()
        rig.west.start()
        rig.west.submit(message("jokes", "1", id="x"), act("a"))
        rig.wait(1)
        self.assertEqual(rig.west.pending, ["x", "act-a"])
        rig.east.start()
        rig.wait(1)
        self.agree(rig, ["x", "act-a"])

    def test_a_founding_that_was_interrupted_claims_nothing(self) -> None:
        """No configuration has the epoch 0, and the registry would take no such claim."""
        rig = Rig()
        rig.witness.silent = True
        rig.east.start()
        rig.wait(1)
        rig.east.crash()
        self.assertIsNotNone(rig.east.disk.disk.configuration("data"))
        rig.witness.silent = False
        rig.east.start()
        self.assertNotIn(FOUNDING, rig.east.asked.claims)
        rig.wait(1)
        self.assertEqual((rig.east.role, rig.witness.configuration), ("leader-solo", EAST))


class WhatIsSoTests(PairTestCase):
    def test_of_a_pair(self) -> None:
        rig = Rig()
        rig.start()
        rig.west.submit(message("jokes", "1"), message("jokes", "2"))
        rig.settle()
        for node, role, peer in (
            (rig.east, "leader", Peer("west", "follower", 0)),
            (rig.west, "follower", Peer("east", "leader", 0)),
        ):
            log = node.log
            self.assertEqual((log.epoch, log.role, log.redundancy, log.serving), (2, role, "paired", True))
            self.assertEqual((log.durable, log.position, log.peers), (2, 2, [peer]))

    def test_of_one_whose_other_is_gone(self) -> None:
        rig = Rig()
        rig.start()
        rig.west.crash()
        rig.wait(SUSPECT_S)
        log = rig.east.log
        self.assertEqual(
            (log.role, log.redundancy, log.serving, log.durable, log.peers), ("leader", "alone", True, 1, [])
        )

    def test_how_much_a_follower_is_behind(self) -> None:
        rig = Rig()
        rig.start()
        rig.west.disk.held = True
        rig.east.submit(*[message("jokes", str(number)) for number in range(5)])
        rig.settle()
        self.assertEqual(rig.east.log.peers, [Peer("west", "follower", 5)])
        self.assertEqual((rig.east.log.position, rig.east.hearer.ids), (0, []))
        rig.west.disk.held = False
        rig.settle()
        self.assertEqual(rig.east.log.peers, [Peer("west", "follower", 0)])

    def test_two_that_do_not_know_who_leads(self) -> None:
        rig = Rig(static=True)
        rig.east.disk.held = True
        rig.east.start()
        rig.west.start()
        rig.wait(1)
        self.assertEqual(rig.west.log.peers, [Peer("east", "follower", 0)])
        self.assertEqual((rig.west.log.epoch, rig.west.log.durable), (0, 1))

    def test_notes_reach_the_other_while_there_is_a_link(self) -> None:
        rig = Rig()
        rig.east.start()
        self.assertFalse(rig.east.log.tell(b"anybody?"))
        rig.west.start()
        rig.wait(1)
        self.assertTrue(rig.east.log.tell(b"hello, West") and rig.west.log.tell(b"hello, East"))
        rig.settle()
        self.assertEqual((rig.east.hearer.notes, rig.west.hearer.notes), ([b"hello, East"], [b"hello, West"]))

    def test_the_archive_is_read_from_this_disk(self) -> None:
        rig = Rig()
        rig.start()
        rig.east.submit(message("jokes", "1"), message("jokes", "2"))
        rig.settle()
        log = rig.west.log
        (piece,) = log.peek("jokes", 1, 10**6, 10)
        read, expired = log.read("jokes", 1, 10**6, 10), log.expired(2000.0, 0)
        rig.settle()
        self.assertEqual((self.successResultOf(read), piece.count), ([piece], 2))
        self.assertEqual(self.successResultOf(expired), {"jokes": 3})

    def test_whoever_stands_on_it_hears_of_changes_and_of_nothing_else(self) -> None:
        rig = Rig()
        rig.start()
        rig.wait(1)
        before = rig.east.hearer.changes, rig.west.hearer.changes
        rig.east.submit(message("jokes", "1"))
        rig.wait(3)
        self.assertEqual((rig.east.hearer.changes, rig.west.hearer.changes), before)
        rig.cut()
        self.assertGreater(rig.east.hearer.changes, before[0])


class CommitTests(PairTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.rig.start()

    def test_nothing_is_committed_before_both_have_it(self) -> None:
        rig = self.rig
        rig.west.disk.held = True
        rig.east.submit(message("jokes", "1", id="x"))
        rig.settle()
        self.assertEqual((rig.east.disk.ids, rig.east.hearer.ids, rig.west.hearer.ids), (["x"], [], []))
        rig.west.disk.held = False
        rig.settle()
        self.agree(rig, ["x"])

    def test_nothing_is_sent_before_it_is_durable_here(self) -> None:
        """A leader that starts again knows all that its follower can have of it."""
        rig = self.rig
        rig.east.disk.held = True
        rig.east.submit(message("jokes", "1", id="x"))
        rig.wait(1)
        self.assertEqual(rig.west.log.journal.tail.end, 0)

    def test_what_either_submits_is_committed_in_one_order_and_known_to_whoever_submitted_it(self) -> None:
        rig = self.rig
        for number in range(20):
            rig.east.submit(message("jokes", str(number), id=f"e{number}"))
            rig.west.submit(message("jokes", str(number), id=f"w{number}"), act(f"w{number}"))
            if number % 3:
                rig.step()
        rig.settle()
        self.agree(rig, rig.east.hearer.ids)
        self.assertEqual(len(rig.east.hearer.ids), 60)
        for node, mine in ((rig.east, 20), (rig.west, 40)):
            known = [origin for origin in node.hearer.origins if origin]
            self.assertEqual(len(known), mine)
            self.assertTrue(all(origin.startswith(node.name) for origin in known))
            self.assertEqual(
                [index for batch in node.hearer.batches for index in batch], [r.index for r in node.disk.runs]
            )

    def test_the_follower_is_told_of_commits_once_a_turn(self) -> None:
        rig = self.rig
        for number in range(50):
            rig.east.submit(message("jokes", str(number)))
        rig.settle()
        self.assertEqual([(told.index) for told in rig.east.said(Commit)], [50])

    def test_an_id_is_in_the_log_once_and_everybody_who_said_it_is_answered_with_its_index(self) -> None:
        rig = self.rig
        rig.east.submit(message("jokes", "0"), message("jokes", "1", id="x"))
        rig.west.submit(message("jokes", "1", id="x"))
        rig.step()
        rig.west.submit(message("jokes", "1", id="x"))
        rig.east.submit(message("jokes", "1", id="x"))
        rig.settle()
        rig.west.submit(message("jokes", "1", id="x"))
        rig.settle()
        self.assertEqual(rig.east.disk.ids.count("x"), 1)
        self.assertEqual(rig.east.hearer.repetitions, [("east x", 1, 1)])
        self.assertEqual(rig.west.hearer.repetitions, [("west x", 1, 1)] * 2)
        self.assertEqual([origin for origin in rig.west.hearer.origins if origin], ["west x"])

    def test_something_else_under_the_same_id_is_answered_as_a_repetition(self) -> None:
        rig = self.rig
        rig.east.submit(message("jokes", "1", id="x"))
        rig.west.submit(message("jokes", "another", id="x"))
        rig.settle()
        self.agree(rig, ["x"])
        self.assertEqual(rig.west.hearer.repetitions, [("west x", 1, 0)])

    def test_an_id_of_the_other_that_is_not_committed_is_waited_for(self) -> None:
        rig = self.rig
        rig.east.submit(message("jokes", "1", id="x"))
        rig.step_until(lambda: rig.west.log.journal.tail.end == 1)
        rig.west.submit(message("jokes", "1", id="x"))
        self.assertEqual(rig.west.hearer.repetitions, [])
        rig.settle()
        self.assertEqual(rig.west.hearer.repetitions, [("west x", 1, 0)])
        self.agree(rig, ["x"])


class FailoverTests(PairTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.rig.start()

    def test_what_was_forwarded_to_a_leader_that_died_is_committed_after_the_takeover(self) -> None:
        rig = self.rig
        rig.west.submit(message("jokes", "1", id="x"), message("jokes", "2"), act("a"))
        rig.step_until(lambda: rig.west.said(Forward))
        self.assertEqual(rig.east.hearer.ids, [])
        rig.east.crash()
        rig.wait(SUSPECT_S)
        self.assertEqual((rig.west.role, rig.west.hearer.ids), ("leader-solo", ["x", "made-jokes-2", "act-a"]))
        rig.east.start()
        rig.wait(1)
        self.agree(rig, ["x", "made-jokes-2", "act-a"])

    def test_whenever_the_leader_dies_nothing_is_lost_or_there_twice(self) -> None:
        for steps in range(0, 40, 2):
            with self.subTest(steps=steps):
                self.setUp()
                rig = self.rig
                rig.west.submit(message("jokes", "w1"), message("jokes", "w2", id="w2"))
                rig.east.submit(message("jokes", "e", id="e"))
                for _ in range(steps):
                    rig.step()
                shown = list(rig.east.hearer.ids)
                rig.east.crash()
                rig.wait(1)
                rig.east.start()
                rig.wait(2)
                self.agree(rig, rig.west.hearer.ids)
                ids = rig.west.hearer.ids
                self.assertEqual(ids[: len(shown)], shown)
                self.assertEqual(sorted(set(ids) - {"e"}), ["made-jokes-w1", "w2"])
                self.assertEqual(len(ids), len(set(ids)))

    def test_whenever_the_follower_dies_nothing_acknowledged_is_lost_or_there_twice(self) -> None:
        for steps in range(0, 40, 2):
            with self.subTest(steps=steps):
                self.setUp()
                rig = self.rig
                rig.west.submit(message("jokes", "w1"), message("jokes", "w2", id="w2"))
                rig.east.submit(message("jokes", "e", id="e"))
                for _ in range(steps):
                    rig.step()
                shown = list(rig.west.hearer.ids)
                rig.west.crash()
                rig.wait(1)
                self.assertEqual(rig.east.role, "leader-solo")
                rig.west.start()
                rig.wait(2)
                ids = rig.east.hearer.ids
                self.agree(rig, ids)
                self.assertEqual(ids[: len(shown)], shown)
                self.assertIn("e", ids)
                self.assertEqual(len(ids), len(set(ids)))

    def test_a_leader_that_was_cut_off_keeps_nothing_that_nobody_else_has(self) -> None:
        rig = self.rig
        rig.east.asked.lose()
        rig.cut()
        rig.east.submit(message("jokes", "1", id="x"), message("jokes", "2"))
        rig.wait(SUSPECT_S)
        self.assertEqual((rig.east.role, rig.west.role, rig.east.hearer.ids), ("isolated", "leader-solo", []))
        self.assertFalse(rig.east.log.serving)
        rig.west.submit(message("jokes", "3", id="y"))
        rig.wait(1)
        rig.east.asked.reach()
        rig.heal()
        rig.wait(2)
        self.agree(rig, ["y", "x", "made-jokes-2"])
        self.assertEqual(rig.east.hearer.rewinds, [], "nothing of it had been shown")
        self.assertEqual(rig.east.hearer.origins, ["east x", "east made-jokes-2"])

    def test_a_leader_that_starts_again_leads_on_if_nobody_took_over(self) -> None:
        rig = self.rig
        rig.east.submit(message("jokes", "1"))
        rig.settle()
        rig.west.asked.lose()
        rig.east.crash()
        rig.wait(SUSPECT_S / 4)
        rig.east.start()
        self.assertFalse(rig.east.log.serving, "what it found may be committed or not")
        rig.wait(1)
        self.assertEqual((rig.east.role, rig.west.role, rig.east.log.epoch), ("leader-pair", "follower", 2))
        self.assertTrue(rig.east.log.serving)
        self.agree(rig, ["made-jokes-1"])

    def test_both_die_and_come_back(self) -> None:
        rig = self.rig
        rig.west.submit(message("jokes", "1", id="x"))
        rig.settle()
        rig.east.crash()
        rig.west.crash()
        rig.west.start()
        rig.east.start()
        rig.wait(2)
        self.agree(rig, ["x"])


class HandoverTests(PairTestCase):
    def test_nothing_is_refused_lost_or_there_twice(self) -> None:
        rig = Rig()
        rig.start()
        for number in range(30):
            rig.east.submit(message("jokes", f"e{number}"))
            rig.west.submit(message("jokes", f"w{number}", id=f"w{number}"))
            if number == 10:
                self.assertTrue(rig.east.log.hand_over())
                self.assertFalse(rig.east.log.hand_over())
            if number > 10:
                self.assertTrue(rig.east.log.serving and rig.west.log.serving)
            rig.step()
        rig.wait(1)
        self.assertEqual((rig.east.role, rig.west.role), ("follower", "leader-pair"))
        self.assertEqual(len(set(rig.west.hearer.ids)), 60)
        self.agree(rig, rig.west.hearer.ids)
        for node in (rig.east, rig.west):
            letter = node.name[0]
            said = [int(origin.rpartition(letter)[2]) for origin in node.hearer.origins if origin]
            self.assertEqual(said, list(range(30)), "in the order given")

    def test_given_up_it_goes_on_as_before(self) -> None:
        rig = Rig()
        rig.start()
        rig.west.disk.held = True
        rig.east.submit(message("jokes", "1"))
        rig.settle()
        self.assertTrue(rig.east.log.hand_over())
        rig.east.submit(message("jokes", "2"))
        rig.west.submit(message("jokes", "3"))
        rig.wait(2.5)
        self.assertEqual(rig.east.role, "leader-pair")
        rig.west.disk.held = False
        rig.wait(1)
        self.agree(rig, ["made-jokes-1", "made-jokes-2", "made-jokes-3"])

    def test_the_primary_gets_it_back_where_it_is_preferred(self) -> None:
        rig = Rig(prefer_primary=True)
        rig.start()
        rig.east.crash()
        rig.wait(SUSPECT_S)
        self.assertEqual(rig.west.role, "leader-solo")
        rig.east.start()
        rig.wait(2)
        self.assertEqual((rig.east.role, rig.west.role), ("leader-pair", "follower"))


class PartingTests(PairTestCase):
    """Without a witness, two that went on alone meet: East has the higher epoch, so West parts from what it has."""

    def test_what_is_parted_from_is_submitted_again(self) -> None:
        rig = parted(2, 3)
        rig.heal()
        rig.wait(2)
        self.agree(rig, ["zero", "e0", "e1", "w0", "w1", "w2"])
        self.assertEqual((rig.east.hearer.rewinds, rig.west.hearer.rewinds), ([], [{"jokes": 2}]))

    def test_orphans_are_kept_before_anything_is_cut_and_until_they_are_committed(self) -> None:
        rig = parted(1, 3)
        rig.heal()
        seen: list[list[str]] = []

        def done() -> bool:
            west = rig.west
            for id in ("w0", "w1", "w2"):
                self.assertIn(id, west.disk.ids + west.disk.orphans)
                if id in west.disk.orphans and id in west.hearer.ids:
                    self.assertNotEqual(west.disk.clock.getDelayedCalls(), [], "it is about to be dropped")
            seen.append(west.disk.orphans)
            return rig.west.role == "follower" and rig.west.hearer.ids[2:] == ["w0", "w1", "w2"]

        rig.step_until(done)
        self.assertIn(["w0", "w1", "w2"], seen)
        rig.wait(1)
        self.agree(rig, ["zero", "e0", "w0", "w1", "w2"])

    def test_whenever_the_loser_dies_nothing_is_lost_or_there_twice(self) -> None:
        for steps in range(0, 120, 3):
            with self.subTest(steps=steps):
                rig = parted(1, 2)
                rig.west.submit(message("jokes", "plain"))
                rig.settle()
                rig.heal()
                for _ in range(steps):
                    rig.step()
                rig.west.crash()
                rig.wait(0.125)
                rig.west.start()
                rig.wait(3)
                self.agree(rig, rig.east.hearer.ids)
                self.assertEqual(sorted(rig.east.hearer.ids), ["e0", "made-jokes-plain", "w0", "w1", "zero"])

    def test_an_orphan_that_is_in_the_log_again_is_not_submitted_at_the_next_start(self) -> None:
        rig = parted(1, 1)
        west = rig.west
        west.submit(message("jokes", "plain"))
        rig.settle()
        rig.heal()
        rig.step_until(lambda: "made-jokes-plain" in west.disk.orphans and "made-jokes-plain" in west.disk.ids[2:])
        rig.east.cut = True
        west.disk.disk.keeps_unfinished = lambda: False
        west.crash()
        west.start()
        self.assertEqual(west.disk.orphans, ["w0", "made-jokes-plain"])
        self.assertEqual(west.pending, [])
        rig.east.cut = False
        rig.wait(3)
        self.agree(rig, ["zero", "e0", "w0", "made-jokes-plain"])

    def test_what_is_parted_from_is_never_called_the_leaders(self) -> None:
        """An entry of its own that becomes durable while West parts says nothing of what West has of East's log."""
        rig = parted(1, 5)
        west = rig.west
        west.disk.held = True
        rig.heal()
        rig.wait(0.25)
        west.submit(message("jokes", "late", id="late"))
        rig.clock.pump([0.0] * 12)
        west.disk.clock.advance(1)
        rig.settle()
        self.assertTrue(west.log.replica.busy)
        west.disk.clock.advance(1)
        rig.settle()
        self.assertLessEqual(rig.east.match("west"), rig.east.log.journal.tail.end)
        self.assertEqual((rig.east.role, rig.east.match("west")), ("leader-solo", 0))
        west.disk.held = False
        rig.wait(2)
        self.agree(rig, ["zero", "e0", "w0", "w1", "w2", "w3", "w4", "late"])

    def busy(self) -> Rig:
        """Return a pair of which West is parting, and does not come further."""
        rig = parted(1, 2)
        rig.heal()
        rig.step_until(lambda: rig.west.log.replica.busy)
        rig.west.disk.held = True
        return rig

    def test_while_it_parts_a_node_serves_nobody_and_takes_what_comes_afterwards(self) -> None:
        rig = self.busy()
        rig.east.submit(message("jokes", "e", id="e1"))
        rig.west.submit(message("jokes", "w", id="w2"))
        rig.wait(0.25)
        self.assertFalse(rig.west.log.serving)
        rig.west.disk.held = False
        rig.wait(2)
        self.agree(rig, ["zero", "e0", "e1", "w0", "w1", "w2"])

    def test_a_link_that_breaks_while_parting_is_followed_by_another(self) -> None:
        rig = self.busy()
        end = rig.west.dialled
        for each in (end, end.peer):
            each.lose(ConnectionLost())
        rig.wait(0.5)
        self.assertTrue(rig.west.log.replica.busy)
        rig.west.disk.held = False
        rig.wait(2)
        self.agree(rig, ["zero", "e0", "w0", "w1"])

    def test_nobody_hears_of_it_once_it_is_closed(self) -> None:
        rig = self.busy()
        hearer = rig.west.hearer
        before = (list(hearer.ids), hearer.rewinds, hearer.changes)
        closed = rig.west.log.close()
        rig.west.disk.held = False
        rig.settle()
        self.successResultOf(closed)
        self.assertEqual((hearer.ids, hearer.rewinds, hearer.changes), before)

    def test_a_position_is_given_out_again_after_parting(self) -> None:
        rig = parted(1, 2)
        rig.heal()
        rig.wait(2)
        positions = [run.position for run in rig.west.disk.runs]
        self.assertEqual(positions, sorted(set(positions)))


class SnapshotTests(PairTestCase):
    def test_one_is_made_every_so_many_entries(self) -> None:
        self.patch(journal, "SNAPSHOT_ENTRIES", 10)
        rig = Rig()
        rig.start()
        for number in range(25):
            rig.east.submit(message("jokes", str(number)))
            rig.settle()
        for node in (rig.east, rig.west):
            snapshot = node.disk.disk.extent("data")[0]
            self.assertEqual((snapshot.index, snapshot.epoch, snapshot.positions), (20, 2, {"jokes": 20}))
            self.assertEqual(snapshot.epochs, [(2, 1)])

    def test_a_node_starts_again_from_one(self) -> None:
        rig = Rig()
        rig.start()
        rig.east.submit(message("jokes", "1", id="x"), act("a"))
        rig.settle()
        rig.west.log.snapshot()
        rig.east.submit(message("jokes", "2", id="y"))
        rig.settle()
        rig.west.crash()
        rig.west.start()
        self.assertEqual(rig.west.hearer.ids, ["x", "act-a", "y"])
        rig.wait(2)
        rig.east.submit(message("jokes", "3", id="z"))
        rig.settle()
        self.assertEqual(rig.west.hearer.ids, ["x", "act-a", "y", "z"])

    def test_it_is_put_off_while_what_is_there_may_be_parted_from(self) -> None:
        rig = parted(1, 1)
        rig.west.log.snapshot()
        rig.settle()
        self.assertIsNone(rig.west.disk.disk.extent("data")[0])
        rig.heal()
        rig.wait(2)
        self.agree(rig, ["zero", "e0", "w0"])
        self.assertEqual(rig.west.disk.disk.extent("data")[0].index, 3)

    def test_it_is_put_off_while_the_log_is_read_for_a_follower(self) -> None:
        """Else what it purges would be missing."""
        rig = Rig()
        rig.start()
        rig.west.crash()
        rig.wait(1)
        rig.east.submit(act("a"))
        rig.settle()
        rig.west.start()
        rig.step_until(lambda: rig.east.log._leading.reading_back)
        rig.east.log.snapshot()
        self.assertEqual(rig.east.log.journal.snapshot_index, 0)
        rig.wait(1)
        rig.east.submit(message("jokes", "1"))
        rig.settle()
        self.assertIsNotNone(rig.east.disk.disk.extent("data")[0])
        self.assertEqual((rig.west.role, rig.west.hearer.ids), ("follower", ["act-a", "made-jokes-1"]))


class InstallTests(PairTestCase):
    """A follower that is too far behind for what is left of the leader's log."""

    def behind(self) -> Rig:
        rig = Rig()
        rig.start()
        rig.east.submit(message("jokes", "0", id="zero"), act("a"))
        rig.settle()
        rig.west.crash()
        rig.wait(1)
        rig.east.submit(act("b"), message("jokes", "1", id="one"), act("c"), message("jokes", "2", id="two"))
        rig.settle()
        rig.east.log.snapshot()
        rig.settle()
        rig.east.submit(act("d"), message("jokes", "3", id="three"))
        rig.settle()
        return rig

    EVERYTHING = ("zero", "act-a", "act-b", "one", "act-c", "two", "act-d", "three")

    def test_it_takes_the_state_and_what_is_left(self) -> None:
        rig = self.behind()
        rig.west.start()
        rig.wait(2)
        self.assertEqual([(each.common, each.after) for each in rig.east.said(Install)], [(2, 2)])
        self.assertEqual((rig.west.role, rig.west.hearer.ids), ("follower", list(self.EVERYTHING)))
        rig.west.submit(message("jokes", "4", id="four"))
        rig.settle()
        self.assertEqual(rig.west.hearer.ids[-1], "four")
        rig.west.crash()
        rig.west.start()
        self.assertEqual(rig.west.hearer.ids, [*self.EVERYTHING, "four"])

    def test_whenever_it_dies_meanwhile_it_begins_anew(self) -> None:
        for steps in range(0, 80, 4):
            with self.subTest(steps=steps):
                rig = self.behind()
                rig.west.start()
                for _ in range(steps):
                    rig.step()
                rig.west.crash()
                rig.wait(0.25)
                rig.west.start()
                rig.wait(2)
                self.assertEqual((rig.west.role, rig.west.hearer.ids), ("follower", list(self.EVERYTHING)))
                rig.east.crash()
                rig.wait(1)
                self.assertEqual((rig.west.role, rig.west.disk.failures), ("leader-solo", []))

    def test_whenever_the_link_breaks_meanwhile_it_begins_anew(self) -> None:
        for steps in range(0, 80, 4):
            with self.subTest(steps=steps):
                rig = self.behind()
                rig.west.start()
                for _ in range(steps):
                    rig.step()
                for end in list(rig.ends):
                    end.lose(ConnectionLost())
                rig.wait(2)
                self.assertEqual((rig.west.role, rig.west.hearer.ids), ("follower", list(self.EVERYTHING)))

    def test_what_had_arrived_before_the_link_broke_does_not_count(self) -> None:
        rig = self.behind()
        rig.west.start()
        rig.step_until(lambda: rig.west.log._following._installing)
        for end in list(rig.ends):
            end.lose(ConnectionLost())
        self.assertFalse(rig.west.log.replica.busy)
        self.assertTrue(rig.west.log.replica.incomplete, "it cannot stand for itself")
        rig.wait(2)
        self.assertEqual(len(rig.east.said(Install)), 2)
        self.assertEqual((rig.west.role, rig.west.hearer.ids), ("follower", list(self.EVERYTHING)))

    def test_what_waits_on_it_is_answered_if_the_leader_had_it(self) -> None:
        """And forgotten where it is an act, of a session that is over: it leaves no trace in what is sent."""
        rig = self.behind()
        rig.west.start()
        rig.west.submit(message("jokes", "1", id="one"), message("jokes", "5", id="five"), act("late"))
        rig.wait(2)
        self.assertEqual(rig.west.hearer.repetitions, [("west one", 4, 0)])
        self.assertEqual(rig.west.hearer.ids, [*self.EVERYTHING, "five"])
        self.assertEqual(rig.east.hearer.ids, [*self.EVERYTHING, "five"])
        self.assertEqual(rig.west.pending, [])


class CloseTests(PairTestCase):
    def test_what_was_submitted_is_finished_and_then_nothing_is_left(self) -> None:
        rig = Rig()
        rig.start()
        rig.west.log.close()
        rig.west.running = False
        rig.wait(1)
        rig.east.submit(message("jokes", "1", id="x"))
        closed = rig.east.log.close()
        rig.settle()
        self.successResultOf(closed)
        self.assertEqual(rig.east.disk.ids, ["x"])
        rig.clock.advance(10)
        self.assertEqual(rig.clock.getDelayedCalls(), [])
        self.assertTrue(all(end.lost for end in rig.ends))

    def test_with_everything_under_way(self) -> None:
        for steps in range(0, 60, 3):
            with self.subTest(steps=steps):
                rig = Rig()
                rig.east.start()
                rig.west.start()
                rig.east.submit(message("jokes", "1", id="x"))
                rig.west.submit(message("jokes", "2", id="y"))
                for _ in range(steps):
                    rig.step()
                closed = [node.log.close() for node in (rig.west, rig.east)]
                heard = [list(node.hearer.ids) for node in (rig.west, rig.east)]
                rig.settle()
                for each in closed:
                    self.successResultOf(each)
                self.assertEqual([node.hearer.ids for node in (rig.west, rig.east)], heard)
                rig.clock.advance(10)
                self.assertEqual(rig.clock.getDelayedCalls(), [])


class FenceTests(PairTestCase):
    def test_a_message_of_a_lower_epoch_is_answered_with_the_higher(self) -> None:
        rig = Rig()
        rig.start()
        link = rig.west.dialled.link
        told = len(rig.east.said(State))
        for old in (Follow(9, 1, 0, [], 0),):
            link.say(old)
            rig.settle()
        self.assertEqual([state.configuration.epoch for state in rig.east.said(State)[told:]], [2])
        self.assertEqual(len(rig.east.said(Begin)), 1)

    def test_a_member_that_has_lost_its_disk_is_left_out_until_it_has_learned(self) -> None:
        rig = Rig()
        rig.start()
        rig.east.submit(message("jokes", "1", id="x"))
        rig.settle()
        rig.west.crash()
        rig.west.disk.disk.wipe("data")
        rig.west.start()
        rig.wait(1 / 8)
        self.assertEqual(rig.west.role, "boot")
        rig.wait(3)
        self.assertEqual(rig.west.role, "follower")
        self.assertEqual(rig.east.log.epoch, 4)
        self.agree(rig, ["x"])


class ThirdNodeTests(PairTestCase):
    """A pair has two nodes; somebody who starts a third is told so."""

    def test_it_takes_nobodys_place(self) -> None:
        rig = Rig()
        rig.start()
        rig.wait(0.5)
        factory = rig.east.log.factory
        west = next(end for end in rig.ends if end.owner is rig.east and not end.link.dialled and not end.lost)
        third = Hello(VERSION, "chat", "north", SECONDARY, True, None)
        for _ in range(2):
            transport = Transport()
            transport.peerAddr = west.peerAddr
            link = factory.buildProtocol(None)
            link.makeConnection(transport)
            link.dataReceived(framed(encode(third)))
            self.assertEqual(transport.calls, ["abort"])
            link.connectionLost(Failure(ConnectionLost()))
        rig.wait(1)
        self.assertEqual((west.calls, rig.west.role), ([], "follower"))
