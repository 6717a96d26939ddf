"""The checkers of pairs: what is right passes, and each wrong is told."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.acts import Forget
from chatproto.chat.hall import Hall
from chatproto.chat.messages import Gap, Rewind, SaidExtended
from chatproto.chat.session import EntryMaker
from chatproto.log.entry import Numbering, Run
from chatproto.pair.configuration import Configuration
from chatproto.testing.checkers import WITNESS, Agreement, Chronicle, Copy, Forks, Logs, RoomView, Violation

SOLO = Configuration(1, "a", ("a",))
PAIR = Configuration(2, "a", ("a", "b"))
TAKEN = Configuration(3, "b", ("b",))


class Writer:
    """Numbers messages as a node does that leads in an epoch."""

    def __init__(self, epoch: int, index: int = 0, position: int = 0) -> None:
        self._numbering = Numbering(index, {"MainHall": position}, epoch)
        self._make = EntryMaker(f"w{epoch}")

    def say(self, *contents: str) -> list[Run]:
        heads = {name: b'{"type":"message","identity":"adel","content":"%b"' % name.encode() for name in contents}
        return self._numbering.seal(
            [self._make.message("MainHall", head, name, 1000.0, None) for name, head in heads.items()]
        )

    def act(self, act: Any) -> list[Run]:
        return self._numbering.seal([self._make.act(act, self._make.id(), 1000.0, None)])


class LogsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.logs = Logs()

    def test_same_log(self) -> None:
        """Two nodes that have the same agree; each holds what it has."""
        runs = Writer(1).say("one", "two")
        self.logs.grow("a", runs)
        self.logs.grow("b", runs)
        self.assertTrue(self.logs.holds("b", 2, 1))
        self.assertFalse(self.logs.holds("b", 2, 2))
        self.assertFalse(self.logs.holds("c", 1, 1))
        self.assertTrue(self.logs.holds("c", 0, 0))
        self.assertIn("two", self.logs.of("a"))

    def test_another_entry_of_one_number(self) -> None:
        """One index and epoch are one entry."""
        self.logs.grow("a", Writer(1).say("one"))
        self.assertRaisesRegex(Violation, "with this number", self.logs.grow, "b", Writer(1).say("other"))

    def test_another_entry_before(self) -> None:
        """One index and epoch come after one entry."""
        self.logs.grow("a", [*Writer(1).say("one"), *Writer(3, 1, 1).say("two")])
        self.logs.grow("b", Writer(2).say("else"))
        self.assertRaisesRegex(Violation, "with this number", self.logs.grow, "b", Writer(3, 1, 1).say("two"))

    def test_hole(self) -> None:
        self.assertRaisesRegex(Violation, "entry 1 is missing", self.logs.grow, "a", Writer(1, 1, 0).say("two"))

    def test_hole_in_a_room(self) -> None:
        self.assertRaisesRegex(Violation, "position 1 comes next", self.logs.grow, "a", Writer(1, 0, 1).say("two"))

    def test_id_twice(self) -> None:
        self.logs.grow("a", Writer(1).say("one"))
        self.assertRaisesRegex(Violation, "twice", self.logs.grow, "a", Writer(1, 1, 1).say("one"))

    def test_epoch_falls(self) -> None:
        self.logs.grow("a", Writer(2).say("one"))
        self.assertRaisesRegex(Violation, "epoch falls", self.logs.grow, "a", Writer(1, 1, 1).say("two"))

    def test_cut(self) -> None:
        """What is cut away may come again under another number."""
        self.logs.grow("a", Writer(1).say("one", "two"))
        copy = self.logs.of("a")
        self.assertEqual([record.id for record in copy.cut(1)], ["two"])
        self.assertEqual((copy.position, copy.cuts), (1, 1))
        copy.cut(1)
        self.assertEqual(copy.cuts, 1)
        self.logs.grow("a", Writer(2, 1, 1).say("three", "two"))
        self.assertEqual([record.epoch for record in copy.records], [1, 2, 2])

    def test_install(self) -> None:
        """Another node's log is taken in as a whole, whatever of it is sent."""
        one, act, two = Writer(1).say("one"), Writer(1, 1, 1).act(Forget("MainHall", 1)), Writer(2, 2, 1).say("two")
        self.logs.grow("a", [*one, *act, *two])
        self.logs.grow("b", Writer(3).say("else"))
        self.logs.install("b", 3, 2, one)
        self.assertEqual(self.logs.of("b").records, self.logs.of("a").records)
        self.assertRaisesRegex(Violation, "nowhere durable", self.logs.install, "b", 3, 1, [])
        wrong = Writer(1).say("wrong")
        self.assertRaisesRegex(Violation, "was sent", self.logs.install, "b", 3, 2, wrong)


class AgreementTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.logs = Logs()
        self.chronicle = Chronicle()
        self.agreement = Agreement(self.logs, self.chronicle)
        self.writer = Writer(1)

    def configure(self, configuration: Configuration, *where: str) -> None:
        for place in where:
            self.agreement.configured(place, configuration)

    def write(self, *nodes: str) -> int:
        """Have something more durable on some nodes; return its index."""
        runs = self.writer.say(f"m{self.logs.of(nodes[0]).position}")
        for node in nodes:
            self.logs.grow(node, runs)
        return runs[-1].index

    def test_committed(self) -> None:
        """What members hold is committed by the leader, and then by the follower."""
        self.configure(PAIR, WITNESS, "a", "b")
        index = self.write("a", "b")
        self.assertEqual([record.id for record in self.agreement.committed("a", PAIR, index, leads=True)], ["m0"])
        self.assertEqual(self.agreement.committed("b", PAIR, index, leads=False), [])
        self.assertEqual(self.chronicle.position, 1)
        self.assertTrue(self.agreement.holds_everything("b"))
        self.assertFalse(self.agreement.holds_everything("c"))
        self.agreement.check_healed(["a", "b"], ["m0"])

    def refuse(self, what: str, node: str, configuration: Configuration | None, index: int, *, leads: bool) -> None:
        self.assertRaisesRegex(Violation, what, self.agreement.committed, node, configuration, index, leads=leads)

    def test_member_without_it(self) -> None:
        self.configure(PAIR, WITNESS, "a", "b")
        self.refuse("of what epochs members hold it", "a", PAIR, self.write("a"), leads=True)

    def test_follower_first(self) -> None:
        self.configure(PAIR, WITNESS, "a", "b")
        self.refuse("nobody committed who leads", "b", PAIR, self.write("a", "b"), leads=False)

    def test_beyond_its_disk(self) -> None:
        self.configure(SOLO, "a")
        self.refuse("its disk ends at 0", "a", SOLO, 1, leads=True)

    def test_configuration_not_durable(self) -> None:
        self.configure(SOLO, "a")
        self.refuse("leads with", "a", PAIR, self.write("a", "b"), leads=True)
        self.refuse("leads with", "b", None, 1, leads=True)

    def test_two_leaders_of_an_epoch(self) -> None:
        self.configure(PAIR, "a", "b")
        index = self.write("a", "b")
        self.refuse("commits in epoch 2", "b", PAIR, index, leads=True)

    def test_committed_entry_changes(self) -> None:
        self.configure(SOLO, "a")
        self.agreement.committed("a", SOLO, self.write("a"), leads=True)
        self.configure(TAKEN, "b")
        self.logs.grow("b", Writer(3).say("other"))
        self.refuse("entry 1 was", "b", TAKEN, 1, leads=True)

    def test_configurations(self) -> None:
        """Epochs on a disk never fall, and each has one configuration."""
        self.configure(PAIR, WITNESS, "a")
        configured = self.agreement.configured
        self.assertRaisesRegex(Violation, "falls", configured, "a", SOLO)
        self.assertRaisesRegex(Violation, "has nothing", configured, "a", None)
        self.assertRaisesRegex(Violation, "in that epoch", configured, "b", Configuration(2, "b", ("b",)))
        configured("c", None)

    def test_member_that_misses_something(self) -> None:
        """Nobody becomes a member without all that is committed."""
        self.configure(SOLO, WITNESS, "a")
        self.agreement.committed("a", SOLO, self.write("a"), leads=True)
        self.assertRaisesRegex(Violation, "does not hold", self.agreement.configured, WITNESS, PAIR)

    def test_cut_below_the_commit(self) -> None:
        """What is committed stays on the disks of members; who takes another log in is none."""
        self.configure(PAIR, WITNESS, "a", "b")
        self.agreement.committed("a", PAIR, self.write("a", "b"), leads=True)
        self.logs.grow("b", Writer(3, 1, 1).say("tail"))
        self.agreement.cut("b", 1, installing=False)
        self.assertRaisesRegex(Violation, "cut", self.agreement.cut, "b", 0, installing=True)

    def test_cut_of_a_learner(self) -> None:
        self.configure(SOLO, WITNESS, "a")
        self.agreement.committed("a", SOLO, self.write("a", "b"), leads=True)
        self.agreement.cut("b", 0, installing=True)
        self.write("a")
        self.assertRaisesRegex(Violation, "cut", self.agreement.cut, "a", 0, installing=False)

    def test_wiped(self) -> None:
        """A new disk is forgiven until it has everything, and then no more."""
        self.configure(PAIR, WITNESS, "a", "b")
        index = self.write("a", "b")
        self.agreement.wiped("b")
        # What it said before may still be believed.
        self.agreement.committed("a", PAIR, index, leads=True)
        self.assertFalse(self.agreement.holds_everything("b"))
        self.configure(SOLO, "b")
        self.logs.install("b", 1, 1, [])
        following = self.write("a", "b")
        self.agreement.committed("a", PAIR, following, leads=True)
        self.assertTrue(self.agreement.holds_everything("b"))
        self.assertRaisesRegex(Violation, "cut", self.agreement.cut, "b", 0, installing=True)

    def test_orphans(self) -> None:
        """What a client may wait for is forgotten when it is committed, and not before."""
        self.configure(SOLO, "a")
        self.agreement.orphans("b", {"m0": True, "base": False})
        self.assertRaisesRegex(Violation, "forgotten m0", self.agreement.orphans, "b", {})
        self.agreement.orphans("b", {"m0": True})
        self.agreement.committed("a", SOLO, self.write("a"), leads=True)
        self.agreement.orphans("b", {})

    def test_healed(self) -> None:
        check = self.agreement.check_healed
        self.write("a", "b")
        check(["a", "b"], ["m0"])
        self.assertRaisesRegex(Violation, "in no log", check, ["a", "b"], ["m1"])
        self.agreement.orphans("a", {"m0": True})
        self.assertRaisesRegex(Violation, "orphans", check, ["a", "b"], [])
        self.write("a")
        self.assertRaisesRegex(Violation, "the end of one", check, ["a", "b"], [])
        self.logs.grow("b", Writer(3, 1, 1).say("else"))
        self.assertRaisesRegex(Violation, "differ from", check, ["a", "b"], [])

    def test_without_a_witness(self) -> None:
        """Both sides commit; what one of them has committed may be cut away."""
        self.agreement = Agreement(self.logs, None)
        self.configure(SOLO, "a")
        self.configure(TAKEN, "b")
        self.agreement.committed("a", SOLO, self.write("a"), leads=True)
        self.logs.grow("b", Writer(3).say("other"))
        self.agreement.committed("b", TAKEN, 1, leads=True)
        self.agreement.cut("a", 0, installing=False)
        self.assertFalse(self.agreement.holds_everything("b"))


class ForksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.logs = Logs()
        self.halls: list[Hall] = []
        self.forks = Forks(self.logs, lambda: self.halls)
        self.logs.grow("a", Writer(1).say("both"))
        self.logs.grow("b", Writer(1).say("both"))
        self.logs.grow("a", Writer(2, 1, 1).say("here", "moved"))
        self.logs.grow("b", Writer(3, 1, 1).say("there"))
        self.forks.add(self.logs.of("a").records)
        self.forks.add(self.logs.of("b").records[1:])

    def said(self, position: int, epoch: int) -> SaidExtended:
        message = self.forks.message("MainHall", position, epoch)
        assert message is not None
        return message

    def view(self) -> RoomView:
        view = RoomView(self.forks, "MainHall", "client", "all")
        view.said(self.said(1, 1))
        return view

    def test_both_sides(self) -> None:
        self.assertEqual([self.said(2, epoch).content for epoch in (2, 3)], ["here", "there"])
        self.assertIsNone(self.forks.message("MainHall", 3, 3))
        self.assertEqual(self.forks.epoch_before("MainHall", 2, 3), 1)
        self.assertEqual(self.forks.epoch_before("MainHall", 9, 3), 0)
        self.assertEqual([message.index for message in self.forks.said("moved")], [3])
        self.assertEqual((self.forks.last_ever("MainHall"), self.forks.last_ever("alpha")), (3, 0))

    def test_view_of_one_side(self) -> None:
        view = self.view()
        view.said(self.said(2, 2))
        view.said(self.said(3, 2))
        self.assertEqual((view.next, view.epoch), (4, 2))

    def test_view_of_two_sides(self) -> None:
        """Nobody is told of one side, and goes on with the other."""
        view = self.view()
        view.said(self.said(2, 3))
        self.assertRaisesRegex(Violation, "of another log", view.said, self.said(3, 2))

    def test_rewound_view(self) -> None:
        view = self.view()
        view.said(self.said(2, 3))
        view.rewind(Rewind("MainHall", 2))
        self.assertEqual((view.next, view.epoch), (2, 1))
        view.said(self.said(2, 2))
        view.said(self.said(3, 2))
        self.assertRaisesRegex(Violation, "is told Rewind", view.rewind, Rewind("MainHall", 4))

    def test_rewound_before_anything_was_heard(self) -> None:
        view = RoomView(self.forks, "MainHall", "client", "none")
        self.assertIsNone(view.epoch)
        view.rewind(Rewind("MainHall", 2))
        self.assertRaisesRegex(Violation, "a hole", view.said, self.said(3, 2))

    def test_halls(self) -> None:
        """The hall of the node that counts most is the one that counts; what is kept, is kept on any side."""
        self.assertEqual(self.forks.hall.listing(), Hall().listing())
        self.assertEqual((self.forks.first("MainHall"), self.forks.last("MainHall")), (1, 0))
        hall = Hall()
        hall.said("MainHall", 5)
        hall.apply(Forget("MainHall", 4), 1)
        self.halls.append(hall)
        self.assertIs(self.forks.hall, hall)
        self.assertEqual((self.forks.last("MainHall"), self.forks.last("alpha")), (5, 0))
        self.forks.kept(hall)
        self.assertEqual(self.forks.first("MainHall"), 4)
        RoomView(self.forks, "MainHall", "client", "all").gap(Gap("MainHall", 1, 3, "retention"))


class CopyTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        copy = Copy()
        self.assertEqual((copy.position, copy.epoch(0), copy.epoch(1)), (0, 0, 0))
        self.assertNotIn("one", copy)
