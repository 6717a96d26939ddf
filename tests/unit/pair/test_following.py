from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import StoreCorrupt
from chatproto.log.entry import Numbering, Snapshot
from chatproto.pair import following
from chatproto.pair.messages import (
    Append,
    Appended,
    Begin,
    Commit,
    Dismissed,
    Follow,
    Forward,
    Ids,
    Install,
    Installed,
    State,
    sent_run,
)
from tests.unit.log.contract import act, message
from tests.unit.pair.rig import COMMIT_S, Rig, parted


class FollowingTestCase(SynchronousTestCase):
    """West follows; what East says is what a test says."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.rig.start()
        self.rig.east.submit(message("jokes", "0", id="zero"))
        self.rig.wait(0.25)
        self.west = self.rig.west
        self.following = self.west.log._following
        self.end = self.west.dialled
        self.number = self.following._number

    def hear(self, *messages: Any) -> None:
        """Have West hear something over the link on which it follows."""
        for each in messages:
            self.end.peer.link.say(each)
        self.rig.settle()

    def append(self, index: int, epoch: int = 2) -> Append:
        runs = Numbering(index - 1, {"jokes": index - 1}, epoch).seal([message("jokes", "x")])
        return Append(2, 0, [sent_run(run) for run in runs])


class TakingTests(FollowingTestCase):
    def test_it_asks_with_what_it_has(self) -> None:
        asked = self.west.said(Follow)[-1]
        self.assertEqual((asked.number, asked.end, asked.epochs, asked.snapshot), (self.number, 0, [], 0))

    def test_runs_that_do_not_follow_end_the_link_and_are_not_kept(self) -> None:
        for wrong in (self.append(3), self.append(1), self.append(2, epoch=1)):
            self.setUp()
            self.hear(wrong)
            self.assertEqual((self.end.calls, self.west.disk.ids), (["abort"], ["zero"]))
            self.assertEqual(self.west.log.journal.tail.end, 1)
            self.rig.wait(2)
            self.assertEqual(self.west.role, "follower", "over the next link")

    def test_a_beginning_beyond_its_end_ends_the_link(self) -> None:
        self.hear(Begin(self.number, 2, 7, 9, 9))
        self.assertEqual(self.end.calls, ["abort"])

    def test_what_answers_an_earlier_question_does_not_count(self) -> None:
        earlier = self.number - 1
        for late in (Begin(earlier, 2, 0, 1, 1), Install(earlier, 2, 0, 0, 1, 1, Snapshot(0, 1, {}, b"", {}))):
            self.hear(late)
        self.assertEqual((self.end.calls, self.west.disk.ids), ([], ["zero"]))
        self.assertTrue(self.west.log.serving)

    def test_who_does_not_lead_it_is_not_listened_to(self) -> None:
        """East says these on the link that East has dialled, over which West does not follow."""
        east = self.rig.east.dialled.link
        begin = Begin(self.number, 2, 0, 1, 1)
        for each in (self.append(2), Commit(2, 9), Installed(2), Ids(2, [("x", 1, 0.0)]), begin):
            east.say(each)
        self.rig.settle()
        self.assertEqual((self.west.disk.ids, self.west.log.replica.commit), (["zero"], 1))
        self.assertEqual(self.rig.east.dialled.calls, [])

    def test_who_led_once_is_told_who_does_now(self) -> None:
        self.rig.east.log.hand_over()
        self.rig.wait(1)
        told = len(self.west.said(State))
        self.hear(self.append(2))
        self.assertEqual([state.configuration.leader for state in self.west.said(State)[told:]], ["west"])
        self.assertEqual(self.west.disk.ids, ["zero"])

    def test_the_end_of_an_installation_that_never_began_is_nothing(self) -> None:
        self.hear(Installed(2), Ids(2, [("x", 1, 0.0)]))
        self.assertEqual((self.west.role, self.west.disk.ids, self.end.calls), ("follower", ["zero"], []))

    def test_only_a_dismissal_for_its_last_asking_counts(self) -> None:
        self.hear(Dismissed(2, self.number - 1))
        self.assertFalse(self.following.dismissed)
        self.hear(Dismissed(2, self.number))
        self.assertTrue(self.following.dismissed)
        self.hear(Dismissed(2, self.number - 1))
        self.assertFalse(self.following.dismissed)

    def test_asking_again_it_is_not_dismissed(self) -> None:
        self.hear(Dismissed(2, self.number))
        for end in (self.end, self.end.peer):
            end.lose(ConnectionResetError())
        self.assertFalse(self.following.dismissed)
        self.rig.wait(1)
        self.assertFalse(self.following.dismissed)

    def test_nobody_else_dismisses_it(self) -> None:
        self.rig.east.dialled.link.say(Dismissed(2, self.number))
        self.rig.settle()
        self.assertFalse(self.following.dismissed)

    def test_a_member_forgets_nothing_though_it_is_dismissed(self) -> None:
        self.hear(Dismissed(2, self.number))
        self.rig.wait(1)
        self.assertEqual((self.west.role, self.west.disk.ids), ("follower", ["zero"]))

    def test_it_reads_no_further_while_its_disk_is_far_behind(self) -> None:
        self.patch(following, "UNDURABLE_BYTES_MAX", 1000)
        self.west.disk.held = True
        for at in range(8):
            self.rig.east.submit(message("jokes", f"{at}" * 200))
            self.rig.settle()
        self.assertTrue(self.end.link.held and self.end.paused)
        self.rig.witness.silent = True
        self.rig.wait(5)
        self.assertEqual(self.west.asked.questions, [])
        self.assertEqual((self.west.role, self.end.calls), ("follower", []), "it is no wonder that nothing is heard")
        self.west.disk.held = False
        self.rig.settle()
        self.assertFalse(self.end.link.held or self.end.paused)
        self.assertEqual(len(self.west.disk.ids), 9)


class ForwardingTests(FollowingTestCase):
    def test_what_is_submitted_goes_to_the_leader_at_once(self) -> None:
        self.west.submit(message("jokes", "1", id="x"), act("a"))
        self.rig.settle()
        (forward,) = self.west.said(Forward)
        self.assertEqual([sent.id for sent in forward.entries], ["x", "act-a"])

    def test_nothing_is_brought_again_before_it_is_known_what_the_leader_has(self) -> None:
        """What had arrived before the link broke comes with the log."""
        self.west.submit(message("jokes", "1", id="x"), message("jokes", "2"))
        self.rig.step_until(lambda: "made-jokes-2" in self.rig.east.disk.ids)
        for end in (self.end, self.end.peer):
            end.lose(ConnectionResetError())
        self.assertEqual(self.west.pending, ["x", "made-jokes-2"])
        self.rig.wait(1)
        self.assertEqual(self.rig.east.disk.ids, ["zero", "x", "made-jokes-2"])
        self.assertEqual(len(self.west.said(Forward)), 1)
        self.assertEqual(self.west.pending, [])

    def test_what_had_not_arrived_is_brought_again(self) -> None:
        self.end.held = True
        self.west.submit(message("jokes", "1", id="x"), message("jokes", "2"))
        self.rig.settle()
        for end in (self.end, self.end.peer):
            end.lose(ConnectionResetError())
        self.rig.wait(1)
        self.assertEqual(self.rig.east.hearer.ids, ["zero", "x", "made-jokes-2"])


class AskingOnceMoreTests(FollowingTestCase):
    """Over the same link, because the follower wants something else."""

    def ask_once_more(self) -> None:
        self.following.leave()
        self.west.log.follow()

    def test_what_was_forwarded_before_and_not_numbered_is_brought_again(self) -> None:
        replica = self.rig.east.log.replica
        replica.busy = True
        self.west.submit(message("jokes", "1", id="x"), act("a"))
        self.rig.settle()
        self.ask_once_more()
        self.west.submit(message("jokes", "2"))
        self.rig.settle()
        replica.busy = False
        self.rig.east.log.number_pending()
        self.rig.settle()
        for node in (self.rig.east, self.west):
            self.assertEqual((node.hearer.ids, node.pending), (["zero", "x", "act-a", "made-jokes-2"], []))

    def test_what_is_said_in_the_same_turn_as_that_is_there_once(self) -> None:
        self.west.submit(act("a"))
        self.ask_once_more()
        self.rig.settle()
        self.assertEqual((self.rig.east.hearer.ids, self.west.pending), (["zero", "act-a"], []))

    def test_what_the_leader_had_sent_before_does_not_count(self) -> None:
        """It is sent again: the leader knows of it as little as of anything else after the end that it is told."""
        parts: list[int] = []
        self.patch(self.west.log.journal, "part", parts.append)
        self.end.peer.held = True
        self.rig.east.submit(message("jokes", "1", id="x"))
        self.rig.settle()
        self.ask_once_more()
        self.rig.settle()
        self.end.peer.held = False
        self.rig.settle()
        self.assertEqual((parts, self.west.disk.ids, self.west.hearer.ids), ([], ["zero", "x"], ["zero", "x"]))
        self.assertEqual((self.west.hearer.rewinds, self.west.disk.orphans), ([], []))


class BusyTests(SynchronousTestCase):
    def test_what_arrives_meanwhile_and_makes_no_sense_ends_the_link_afterwards(self) -> None:
        rig = parted(1, 2)
        rig.heal()
        rig.step_until(lambda: rig.west.log.replica.busy)
        rig.west.disk.held = True
        end = rig.west.dialled
        end.peer.link.say(Append(5, 0, [sent_run(Numbering(98, {}, 5).seal([act("a")])[0])]))
        rig.settle()
        self.assertEqual(end.calls, [])
        rig.west.disk.held = False
        rig.settle()
        self.assertEqual(end.calls, ["abort"])
        rig.wait(2)
        self.assertEqual(rig.west.role, "follower")

    def test_a_disk_that_cannot_be_read_ends_the_link_and_the_node_takes_no_part(self) -> None:
        rig = parted(1, 2)
        rig.west.log.journal.store.runs = lambda after, size: fail_with(StoreCorrupt("a bad sector"))
        rig.heal()
        rig.wait(2)
        self.assertEqual(len(self.flushLoggedErrors(StoreCorrupt)), 1)
        self.assertEqual((rig.west.role, rig.west.log.serving, rig.east.role), ("learner", False, "leader-solo"))

    def test_appended_is_said_of_the_leaders_log_alone(self) -> None:
        """Whatever West says, while it parts and afterwards, East has it."""
        for late in range(3):
            rig = parted(2, 3)
            rig.west.disk.held = True
            rig.heal()
            rig.wait(0.25)
            for at in range(late):
                rig.west.submit(message("jokes", f"late {at}"))
            rig.clock.pump([0.0] * 12)
            for _ in range(20):
                rig.west.disk.clock.advance(COMMIT_S / 2)
                rig.settle()
                said = [each.index for each in rig.west.said(Appended) if each.epoch > 3]
                self.assertLessEqual(max(said, default=0), rig.east.log.journal.tail.end)
                self.assertLessEqual(rig.east.match("west"), rig.east.log.journal.tail.end)


def fail_with(error: Exception) -> Any:
    from twisted.internet.defer import fail

    return fail(error)
