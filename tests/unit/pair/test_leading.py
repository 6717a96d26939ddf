from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from chatproto.pair.configuration import Configuration
from chatproto.pair.messages import Appended, Begin, Follow, Forward, sent_entry
from tests.unit.log.contract import act, message
from tests.unit.pair.rig import Rig


class LeadingTests(SynchronousTestCase):
    """East leads; what West says is what a test says."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.rig.start()
        self.rig.wait(0.25)
        self.leading = self.rig.east.log._leading
        self.link = self.rig.west.dialled.link

    def ask(self, number: int = 9, epoch: int = 2) -> None:
        self.link.say(Follow(number, epoch, 0, [], 0))
        self.rig.settle()

    def test_whoever_asks_again_is_fed_anew(self) -> None:
        first = self.leading.feed
        begun = len(self.rig.east.said(Begin))
        self.ask()
        self.assertIsNot(self.leading.feed, first)
        self.assertEqual([begin.number for begin in self.rig.east.said(Begin)[begun:]], [9])
        first.durable([])
        self.assertFalse(first.live)

    def test_a_newer_epoch_than_its_own_is_not_fed(self) -> None:
        first = self.leading.feed
        self.ask(epoch=3)
        self.assertIs(self.leading.feed, first)

    def test_nobody_is_fed_over_a_link_that_this_node_has_dialled(self) -> None:
        first = self.leading.feed
        self.rig.east.dialled.peer.link.say(Follow(9, 2, 0, [], 0))
        self.rig.settle()
        self.assertIs(self.leading.feed, first)

    def test_a_follower_is_not_followed(self) -> None:
        self.rig.east.dialled.link.say(Follow(9, 2, 0, [], 0))
        self.rig.settle()
        self.assertIsNone(self.rig.west.log._leading.feed)

    def test_only_the_follower_counts_and_only_it_is_listened_to(self) -> None:
        other = self.rig.east.dialled.peer.link
        before = self.rig.east.log.replica.match
        other.say(Appended(2, 50))
        other.say(Forward(2, [sent_entry(message("jokes", "1"))]))
        self.rig.settle()
        self.assertEqual((self.rig.east.log.replica.match, self.rig.east.disk.ids), (before, []))

    def test_ids_that_are_known_are_not_numbered_again_and_others_always_are(self) -> None:
        said = [message("jokes", "1", id="x"), message("jokes", "2"), act("a")]
        self.link.say(Forward(2, [sent_entry(entry) for entry in said]))
        self.link.say(Forward(2, [sent_entry(said[0])]))
        self.rig.settle()
        self.link.say(Forward(2, [sent_entry(said[0])]))
        self.rig.settle()
        self.assertEqual(self.rig.east.disk.ids, ["x", "made-jokes-2", "act-a"])

    def test_nor_those_that_are_on_their_way_to_be_numbered(self) -> None:
        entry = message("jokes", "1", id="x")
        self.rig.east.submit(entry)
        self.leading.on_forward(self.leading.link, Forward(2, [sent_entry(entry)]))
        self.rig.settle()
        self.assertEqual(self.rig.east.disk.ids, ["x"])

    def test_what_was_forwarded_over_a_link_that_broke_and_not_numbered_is_brought_again(self) -> None:
        rig = self.rig
        rig.west.disk.held = True
        rig.east.submit(message("jokes", "0"))
        rig.settle()
        rig.east.log.hand_over()
        rig.west.submit(message("jokes", "1"))
        rig.settle()
        self.assertEqual(len(rig.east.log.journal.submissions.forwarded), 1)
        for end in (rig.west.dialled, rig.west.dialled.peer):
            end.lose(ConnectionLost())
        rig.wait(2.5)
        self.assertEqual(rig.east.role, "leader-pair", "it has given up")
        rig.west.disk.held = False
        rig.wait(1)
        self.assertEqual(rig.east.hearer.ids, ["made-jokes-0", "made-jokes-1"])

    def test_a_connection_that_is_a_remnant_is_ended_by_the_next(self) -> None:
        """West has noticed that it is gone, and East has not."""
        end = self.rig.west.dialled
        end.lost = True
        end.link.connectionLost(Failed)
        self.rig.wait(0.25)
        self.assertEqual(end.peer.calls, ["abort"])
        self.assertIsNot(self.leading.link, end.peer.link)
        self.rig.east.submit(message("jokes", "1", id="x"))
        self.rig.settle()
        self.assertEqual(self.rig.west.hearer.ids, ["x"])
        self.assertEqual((self.rig.east.role, self.rig.east.log.epoch), ("leader-pair", 2))

    def test_a_member_that_does_not_hold_what_is_committed_is_left_out(self) -> None:
        self.rig.east.submit(message("jokes", "1", id="x"))
        self.rig.settle()
        self.rig.east.log.journal.tail.epochs[0] = (1, 1)
        for end in (self.rig.west.dialled, self.rig.west.dialled.peer):
            end.lose(ConnectionLost())
        self.rig.wait(0.25)
        self.assertEqual(self.rig.east.asked.claims[3], Configuration(3, "east", ("east",)), "at once")
        self.rig.wait(1)
        members = [claim.members for claim in self.rig.east.asked.claims if claim is not None]
        self.assertEqual(members, [("east",), ("east", "west"), ("east",), ("east", "west")])


class _Reason:
    """Why a connection is gone."""

    value = ConnectionLost()


Failed = _Reason()
