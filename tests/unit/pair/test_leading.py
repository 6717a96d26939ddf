from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from chatproto.link import Turn
from chatproto.pair.configuration import Configuration
from chatproto.pair.feed import Feed
from chatproto.pair.link import PeerLink
from chatproto.pair.messages import (
    STANDBY,
    VERSION,
    Appended,
    Beat,
    Begin,
    Dismissed,
    Follow,
    Forward,
    Hello,
    sent_entry,
)
from tests.unit.log.contract import act, message
from tests.unit.pair.rig import HEARTBEAT_S, SUSPECT_S, Rig


class LeadingTests(SynchronousTestCase):
    """East leads; what West says is what a test says."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.rig.start()
        self.rig.wait(0.25)
        self.leading = self.rig.east.log._leading
        self.link = self.rig.west.dialled.link

    @property
    def feed(self) -> Feed:
        """What is sent to the one follower."""
        (feed,) = self.leading.feeds.values()
        return feed

    def ask(self, number: int = 9, epoch: int = 2) -> None:
        self.link.say(Follow(number, epoch, 0, [], 0))
        self.rig.settle()

    def test_whoever_asks_again_is_fed_anew(self) -> None:
        first = self.feed
        begun = len(self.rig.east.said(Begin))
        self.ask()
        self.assertIsNot(self.feed, first)
        self.assertEqual([begin.number for begin in self.rig.east.said(Begin)[begun:]], [9])
        first.durable([])
        self.assertFalse(first.live)

    def test_a_newer_epoch_than_its_own_is_not_fed(self) -> None:
        first = self.feed
        self.ask(epoch=3)
        self.assertIs(self.feed, first)

    def test_nobody_is_fed_over_a_link_that_this_node_has_dialled(self) -> None:
        first = self.feed
        self.rig.east.dialled.peer.link.say(Follow(9, 2, 0, [], 0))
        self.rig.settle()
        self.assertIs(self.feed, first)

    def test_a_follower_is_not_followed(self) -> None:
        self.rig.east.dialled.link.say(Follow(9, 2, 0, [], 0))
        self.rig.settle()
        self.assertEqual(self.rig.west.log._leading.feeds, {})

    def test_only_the_follower_counts_and_only_it_is_listened_to(self) -> None:
        other = self.rig.east.dialled.peer.link
        before = self.rig.east.match("west")
        other.say(Appended(2, 50))
        other.say(Forward(2, [sent_entry(message("jokes", "1"))]))
        self.rig.settle()
        self.assertEqual((self.rig.east.match("west"), self.rig.east.disk.ids), (before, []))

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
        self.leading.on_forward(self.feed.link, Forward(2, [sent_entry(entry)]))
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
        self.assertIsNot(self.feed.link, end.peer.link)
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


class Asker:
    """North, which stands by, as far as its link goes; it says what a test says."""

    def hello(self) -> Hello:
        return Hello(VERSION, "chat", "north", STANDBY, False, None)

    def beat(self) -> Beat:
        return Beat(0)

    def ignore(self, *heard: Any) -> None:
        pass

    link_up = link_says = link_down = ignore

    def dial(self, rig: Rig) -> PeerLink:
        """Return a link to East."""
        factory = Factory.forProtocol(lambda: PeerLink(self, True, Turn(rig.clock), rig.clock, HEARTBEAT_S, SUSPECT_S))
        link: PeerLink = rig.connect(rig.north, rig.east, factory)
        rig.settle()
        return link


class DismissTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.rig.start()
        self.rig.east.log.know({"north": "north:4545"})
        self.link = Asker().dial(self.rig)

    def follow(self, number: int, *, counts: bool = False) -> None:
        self.link.say(Follow(number, self.rig.east.log.epoch, 0, [], 0, counts))
        self.rig.settle()

    @property
    def dismissed(self) -> list[int]:
        """The numbers of the askings after which somebody was dismissed."""
        return [each.number for each in self.rig.east.said(Dismissed)]

    def test_whoever_is_to_be_no_member_is_dismissed_once_when_it_was_told_where_to_begin(self) -> None:
        self.follow(5)
        self.rig.east.submit(message("jokes", "1"))
        self.rig.wait(1)
        self.assertEqual(self.dismissed, [5])
        said = [type(each) for each in self.rig.north.dialled.peer.sent]
        self.assertEqual(said.count(Begin), 1)
        self.assertLess(said.index(Begin), said.index(Dismissed))

    def test_not_before(self) -> None:
        self.rig.east.disk.held = True
        self.follow(5)
        self.assertEqual(len(self.rig.east.log._leading.feeds), 2)
        self.rig.east.log.perform([])
        self.assertEqual(self.dismissed, [])
        self.rig.east.disk.held = False
        self.rig.settle()
        self.assertEqual(self.dismissed, [5])

    def test_each_asking_is_answered(self) -> None:
        self.follow(5)
        self.follow(6)
        self.assertEqual(self.dismissed, [5, 6])

    def test_whoever_wants_to_be_one_is_not(self) -> None:
        self.rig.east.log.moving.invite("north", "north:4545")
        self.follow(5, counts=True)
        self.rig.wait(0.25)
        self.assertEqual(self.dismissed, [])

    def test_whoever_wants_to_be_one_beside_two_is(self) -> None:
        """It hears that it need not stay, and takes nobody's place."""
        self.follow(5, counts=True)
        self.assertEqual(self.dismissed, [5])

    def test_and_as_soon_as_there_are_two(self) -> None:
        rig = self.rig
        rig.west.crash()
        rig.until(lambda: rig.east.role == "leader-solo")
        self.follow(5, counts=True)
        self.assertEqual(self.dismissed, [])
        rig.west.start()
        rig.until(lambda: rig.east.role == "leader-pair")
        self.assertEqual((rig.witness.configuration.members, self.dismissed), (("east", "west"), [5]))

    def test_so_is_whoever_wants_to_be_one_beside_a_node_that_wants_nobody(self) -> None:
        rig = Rig(paired=False)
        rig.east.start()
        rig.settle()
        Asker().dial(rig).say(Follow(5, 1, 0, [], 0))
        rig.wait(1)
        self.assertEqual((rig.east.role, [each.number for each in rig.east.said(Dismissed)]), ("leader-solo", [5]))

    def test_a_member_that_wants_to_leave_is_dismissed_when_it_is_none(self) -> None:
        rig = self.rig
        rig.witness.silent = True
        west = rig.west.dialled.link
        west.say(Follow(50, 2, 0, [], 0, False))
        rig.wait(0.25)
        self.assertEqual((rig.east.log.replica.undecided, self.dismissed), (True, []))
        rig.witness.silent = False
        rig.wait(0.25)
        self.assertEqual(self.dismissed, [50])


class _Reason:
    """Why a connection is gone."""

    value = ConnectionLost()


Failed = _Reason()
