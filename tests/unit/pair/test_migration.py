"""One node takes another's place, while clients speak and whatever may break does."""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from chatproto.pair.configuration import Configuration
from chatproto.pair.messages import Dismissed, Follow, Invite, Meet
from chatproto.pair.moving import JOINS_AFTER_S
from tests.unit.log.contract import act, message
from tests.unit.pair.rig import HEARTBEAT_S, SUSPECT_S, Node, Rig

PATIENCE_S = 2.0
"""After so long an operator invites again."""


class Deployment:
    """A rig whose operator wants North to lead in East's place.

    Attributes:
        rig: the nodes; without West if it is not `paired`.
        said: the ids of all that was submitted, with the node where it was.
        shown: all that was committed somewhere, in order.
    """

    def __init__(self, *, paired: bool = True, **settings: Any) -> None:
        self.rig = rig = Rig(paired=paired, **settings)
        self.paired = paired
        self.nodes = rig.nodes if paired else (rig.east, rig.north)
        self.said: dict[str, Node] = {}
        self.shown: list[str] = []
        self._stepped = 0
        self._invited_at: float | None = None
        # Who has invited North since it was started: it goes when North leads.
        self._goes: set[Node] = set()
        for node in self.nodes:
            self.start(node)
        rig.until(lambda: rig.east.role == ("leader-pair" if paired else "leader-solo"))

    def start(self, node: Node) -> None:
        """Start a node; a registry tells it where the others are."""
        self._goes.discard(node)
        node.start()
        node.log.know({other.name: other.settings.advertise for other in self.nodes if other is not node})

    def say(self, node: Node) -> None:
        id = f"m{len(self.said)}"
        self.said[id] = node
        node.submit(message("jokes", id, id=id))

    def operate(self) -> None:
        """Do what an operator does: invite North until it leads, then have whoever has invited it retire."""
        now = self.rig.clock.seconds()
        for node in self.nodes[:-1]:
            if not node.running:
                continue
            log = node.log
            if node.role in ("leader-solo", "leader-pair"):
                again = self._invited_at is None or now - self._invited_at > PATIENCE_S
                if again or log.replica.successor != "north":
                    self._invited_at = now
                    log.moving.withdraw()
                    log.moving.invite("north", "north:4545")
                    self._goes.add(node)
            elif log.moving.left_over or (node in self._goes and log.leader == "north" and node.role != "standby"):
                self._goes.discard(node)
                log.moving.retire()

    def look(self) -> None:
        """Check that all who serve show the same, as far as they are."""
        for node in self.nodes:
            if node.running and node.log.serving:
                ids = node.hearer.ids
                same = min(len(ids), len(self.shown))
                assert ids[:same] == self.shown[:same], (node.name, ids, self.shown)
                self.shown = max(ids, self.shown, key=len)

    def steps(self, count: int) -> None:
        """Do a little, so many times, while clients speak wherever they are served."""
        for _ in range(count):
            self.operate()
            for node in self.nodes:
                if self._stepped % 4 == 0 and node.running and node.role != "standby":
                    self.say(node)
            self._stepped += 1
            self.rig.step()
            self.look()

    def steps_for(self, seconds: float) -> None:
        """Go on like that for so long; time passes, although there is always something to do."""
        for _ in range(round(seconds * 32)):
            self.steps(4)
            self.rig.clock.advance(1 / 32)

    @property
    def done(self) -> bool:
        """Whether North leads, with another node if there is a pair, and nobody else has a part."""
        *others, north = (node.running and node.role for node in self.nodes)
        if not self.paired:
            return (north, others) == ("leader-solo", ["standby"])
        # One that was not there when North began to lead may be its other member as well as the one that was.
        return (north, sorted(map(str, others))) == ("leader-pair", ["follower", "standby"])

    def finish(self, seconds: float = 30.0) -> None:
        """Go on until North leads, and one of the others stands by."""
        end = self.rig.clock.seconds() + seconds
        while not self.done:
            roles = [node.running and node.role for node in self.nodes]
            assert self.rig.clock.seconds() < end, (roles, self.rig.witness and self.rig.witness.configuration)
            self.operate()
            self.rig.wait(1 / 32)
            self.look()
        self.rig.wait(1)
        self.look()


class MigrationTestCase(SynchronousTestCase):
    def check(self, deployment: Deployment, *lost: Node) -> None:
        """Check that everything is where it has to be, once, but for what was said where a process ended."""
        rig = deployment.rig
        ids = rig.north.hearer.ids
        self.assertEqual(ids[: len(deployment.shown)], deployment.shown)
        self.assertEqual(len(set(ids)), len(ids))
        missing = [id for id, node in deployment.said.items() if id not in ids and node not in lost]
        self.assertEqual(missing, [])
        for node in deployment.nodes:
            here = [] if node.role == "standby" else ids
            self.assertEqual((node.hearer.ids, node.disk.ids, node.pending, node.disk.orphans), (here, here, [], []))
            self.assertEqual(node.disk.disk.configuration("data") is None, node.role == "standby")
        self.assertEqual([node.disk.failures for node in deployment.nodes], [[] for _ in deployment.nodes])
        self.assertEqual(self.flushLoggedErrors(), [])


class MigrationTests(MigrationTestCase):
    def test_a_node_that_stands_by_takes_no_part(self) -> None:
        rig = Deployment().rig
        rig.east.submit(message("jokes", "1"))
        rig.wait(1)
        log = rig.north.log
        self.assertEqual((rig.north.role, log.role, log.redundancy), ("standby", "standby", "isolated"))
        self.assertEqual((log.serving, log.durable, log.epoch, log.leader, log.peers), (False, 1, 0, "", []))
        self.assertEqual((rig.north.hearer.ids, rig.north.said(Follow)), ([], []))
        self.assertEqual(rig.witness.configuration.members, ("east", "west"))

    def test_invited_it_takes_the_place_of_the_leader_who_stands_by_afterwards(self) -> None:
        deployment = Deployment()
        rig = deployment.rig
        rig.east.submit(message("jokes", "1", id="x"), act("a"))
        rig.settle()
        self.assertTrue(rig.east.log.moving.invite("north", "north:4545"))
        rig.until(lambda: rig.north.role == "leader-pair" and rig.east.role == "follower")
        self.assertEqual(rig.witness.configuration, Configuration(4, "north", ("east", "north")))
        self.assertEqual(rig.north.hearer.ids, ["x", "act-a"])
        self.assertEqual(rig.east.said(Invite), [Invite("east:4545", "west")])
        rig.east.log.moving.retire()
        rig.until(lambda: deployment.done)
        rig.wait(1)
        self.assertEqual(rig.witness.configuration.members, ("north", "west"))
        self.check(deployment)
        for node in (rig.north, rig.west):
            self.assertEqual((node.log.redundancy, node.log.serving), ("paired", True))
        self.assertEqual((rig.east.log.role, rig.east.log.serving), ("standby", False))

    def test_without_a_second_node_too(self) -> None:
        deployment = Deployment(paired=False)
        rig = deployment.rig
        self.assertEqual((rig.east.log.redundancy, rig.east.log.serving), ("single", True))
        deployment.steps(60)
        deployment.finish()
        self.check(deployment)
        self.assertEqual((rig.north.log.redundancy, rig.north.log.serving), ("single", True))

    def test_while_all_speak_nothing_is_refused_lost_or_there_twice(self) -> None:
        deployment = Deployment()
        deployment.steps(150)
        deployment.finish()
        self.check(deployment)
        self.assertGreater(len(deployment.said), 80)

    def test_and_all_the_while_somebody_serves(self) -> None:
        deployment = Deployment()
        for _ in range(150):
            deployment.steps(1)
            self.assertTrue(any(node.log.serving for node in deployment.nodes))

    def test_what_was_submitted_where_nobody_serves_any_more_is_brought_before_that_is_forgotten(self) -> None:
        deployment = Deployment()
        rig = deployment.rig
        rig.east.log.moving.invite("north", "north:4545")
        rig.until(lambda: rig.north.role == "leader-pair" and rig.east.role == "follower")
        rig.east.log.moving.retire()
        rig.north.disk.held = True
        deployment.say(rig.east)
        rig.wait(2)
        self.assertEqual(rig.north.hearer.ids, [])
        rig.north.disk.held = False
        deployment.finish()
        self.check(deployment)

    def test_there_and_back(self) -> None:
        deployment = Deployment()
        rig = deployment.rig
        deployment.steps(100)
        deployment.finish()
        self.assertTrue(rig.north.log.moving.invite("east", "east:4545"))
        rig.until(lambda: rig.east.role == "leader-pair" and rig.north.role == "follower")
        ids = rig.east.hearer.ids
        self.assertEqual((ids, rig.east.disk.ids), (deployment.shown, deployment.shown))
        rig.north.log.moving.retire()
        rig.until(lambda: rig.north.role == "standby" and rig.west.role == "follower")
        self.assertEqual(rig.witness.configuration.members, ("east", "west"))
        self.assertEqual((rig.north.disk.ids, rig.west.disk.ids), ([], ids))

    def test_the_other_member_hears_where_the_new_leader_is(self) -> None:
        """It may have no registry to say so."""
        deployment = Deployment()
        rig = deployment.rig
        rig.west.log._neighbours.addresses.clear()
        rig.east.log.moving.invite("north", "north:4545")
        rig.until(lambda: rig.north.role == "leader-pair")
        self.assertIn(Meet("north", "north:4545"), rig.east.said(Meet))
        rig.east.log.moving.retire()
        rig.until(lambda: deployment.done)

    def test_the_follower_is_followed_by_whoever_was_it(self) -> None:
        """A member that is exchanged goes on as a spare, so that it need not learn everything anew."""
        deployment = Deployment()
        rig = deployment.rig
        rig.east.submit(message("jokes", "1", id="x"))
        rig.settle()
        rig.east.log.moving.invite("north", "north:4545")
        rig.until(lambda: rig.north.role == "leader-pair" and rig.east.role == "follower")
        rig.north.submit(message("jokes", "2", id="y"))
        rig.wait(0.5)
        self.assertEqual((rig.west.role, rig.west.disk.ids), ("learner", ["x", "y"]))
        self.assertEqual(
            (rig.west.log.serving, rig.west.log.redundancy), (True, "paired"), "and clients notice nothing"
        )


class InviteTests(MigrationTestCase):
    def test_only_whoever_leads_can_and_one_at_a_time(self) -> None:
        rig = Deployment().rig
        self.assertFalse(rig.west.log.moving.invite("north", "north:4545"))
        self.assertFalse(rig.north.log.moving.invite("east", "east:4545"))
        rig.north.cut = True
        self.assertTrue(rig.east.log.moving.invite("north", "north:4545"))
        self.assertFalse(rig.east.log.moving.invite("south", "south:4545"))

    def test_without_a_witness_nobody_is(self) -> None:
        rig = Rig(static=True)
        rig.start()
        self.assertFalse(rig.east.log.moving.invite("north", "north:4545"))

    def test_one_that_is_not_there_changes_nothing(self) -> None:
        deployment = Deployment()
        rig = deployment.rig
        rig.north.crash()
        self.assertTrue(rig.east.log.moving.invite("north", "north:4545"))
        rig.wait(5)
        rig.west.submit(message("jokes", "1", id="x"))
        rig.settle()
        self.assertEqual((rig.east.role, rig.west.role, rig.east.log.epoch), ("leader-pair", "follower", 2))
        self.assertEqual(rig.west.hearer.ids, ["x"])
        deployment.start(rig.north)
        deployment.finish()

    def test_withdrawn_it_is_dialled_no_more(self) -> None:
        rig = Deployment().rig
        rig.north.crash()
        rig.east.log.moving.invite("north", "north:4545")
        rig.wait(1)
        rig.east.log.moving.withdraw()
        self.assertEqual(rig.east.log._neighbours.wanted, {""})
        self.assertTrue(rig.east.log.moving.invite("north", "north:4545"), "as often as one likes")

    def test_withdrawn_while_it_learns_the_pair_goes_on_as_it_was(self) -> None:
        deployment = Deployment()
        rig = deployment.rig
        rig.east.submit(message("jokes", "1", id="x"))
        rig.settle()
        rig.north.disk.held = True
        rig.east.log.moving.invite("north", "north:4545")
        rig.wait(1)
        rig.east.log.moving.withdraw()
        rig.north.disk.held = False
        rig.wait(5)
        self.assertEqual((rig.east.role, rig.west.role, rig.east.log.epoch), ("leader-pair", "follower", 2))
        rig.west.submit(message("jokes", "2", id="y"))
        rig.settle()
        self.assertEqual(rig.east.hearer.ids, ["x", "y"])
        deployment.finish()

    def test_somebody_who_does_not_stand_by_hears_it_in_vain(self) -> None:
        rig = Deployment().rig
        rig.east.log.moving.invite("west", "west:4545")
        rig.wait(1)
        self.assertEqual((rig.east.role, rig.west.role), ("follower", "leader-pair"), "it is a member already")
        end = next(end for end in rig.ends if end.owner is rig.west and not end.link.dialled and not end.lost)
        end.peer.link.say(Invite("nowhere:1", "north"))
        rig.wait(1)
        self.assertEqual((rig.west.role, rig.west.log.replica.expected), ("leader-pair", ""))
        self.assertNotIn("nowhere:1", rig.west.log._neighbours.wanted)


class StandingByTests(MigrationTestCase):
    """Whoever has no part any more forgets the log, and may have one again."""

    def handed_over(self, *, paired: bool = True) -> Deployment:
        """Return a deployment where North leads, East is its other member, and neither has retired."""
        deployment = Deployment(paired=paired)
        rig = deployment.rig
        rig.east.submit(message("jokes", "1", id="x"))
        rig.settle()
        rig.east.log.moving.invite("north", "north:4545")
        rig.until(lambda: rig.north.role.startswith("leader") and rig.east.role == "follower")
        return deployment

    def test_it_forgets_once_it_is_dismissed_and_not_before(self) -> None:
        deployment = self.handed_over()
        rig = deployment.rig
        rig.east.log.moving.retire()
        rig.step_until(lambda: rig.witness.configuration.members == ("north", "west"))
        (end,) = [end.peer for end in rig.ends if end.link is rig.east.log._following.leader]
        end.held = True
        rig.wait(0.25)
        self.assertEqual((rig.east.role, rig.east.disk.ids), ("learner", ["x"]))
        end.held = False
        rig.until(lambda: deployment.done)
        self.assertEqual(rig.north.said(Dismissed)[-1].number, rig.east.said(Follow)[-1].number)
        self.assertEqual(rig.east.disk.ids, [])

    def test_nor_while_something_waits(self) -> None:
        deployment = self.handed_over()
        rig = deployment.rig
        rig.east.log.moving.retire()
        rig.step_until(lambda: rig.east.role == "learner")
        rig.north.log._leading._journal.number = lambda entries: None
        deployment.say(rig.east)
        rig.wait(1)
        self.assertTrue(rig.east.log._following.dismissed)
        self.assertEqual((rig.east.role, rig.east.pending, rig.east.disk.ids), ("learner", ["m0"], ["x"]))

    def test_whoever_leads_or_has_no_log_does_not_retire(self) -> None:
        rig = Deployment().rig
        for node in (rig.east, rig.north):
            node.log.moving.retire()
            self.assertFalse(node.log.moving.leaves)
        rig.wait(3)
        self.assertEqual((rig.east.role, rig.west.role, rig.north.role), ("leader-pair", "follower", "standby"))

    def test_of_a_node_alone_and_its_successor_one_is_left_over_until_it_retires(self) -> None:
        rig = self.handed_over(paired=False).rig
        self.assertEqual((rig.east.log.moving.left_over, rig.north.log.moving.left_over), (True, False))
        rig.east.log.moving.retire()
        self.assertFalse(rig.east.log.moving.left_over, "it is about to go")
        rig.until(lambda: rig.east.role == "standby")
        self.assertEqual((rig.east.log.moving.left_over, rig.north.role), (False, "leader-solo"))

    def test_not_without_a_link_to_whoever_leads(self) -> None:
        rig = self.handed_over(paired=False).rig
        rig.witness.silent = True
        rig.north.crash()
        rig.settle()
        self.assertEqual((rig.east.role, rig.east.log.moving.left_over), ("follower", False))

    def test_the_successor_is_not_while_it_is_to_lead(self) -> None:
        deployment = Deployment(paired=False)
        rig = deployment.rig
        rig.east.log.moving.invite("north", "north:4545")
        rig.step_until(lambda: rig.north.role == "follower")
        self.assertFalse(rig.north.log.moving.left_over)
        deployment.finish()

    def test_of_a_pair_nobody_is(self) -> None:
        """North has taken the place of a node that was not asked to go: any two that are there make a pair."""
        rig = self.handed_over().rig
        self.assertEqual([node.log.moving.left_over for node in rig.nodes], [False, False, False])
        self.assertTrue(rig.north.log.hand_over())
        rig.until(lambda: rig.east.role == "leader-pair" and rig.north.role == "follower")
        self.assertEqual([node.log.moving.left_over for node in rig.nodes], [False, False, False])

    def stand_by_alone(self) -> Deployment:
        """Return a deployment where North leads alone, and East stands by, since this moment."""
        deployment = self.handed_over()
        rig = deployment.rig
        rig.east.log.moving.retire()
        rig.until(lambda: deployment.done)
        asked = len(rig.east.said(Follow))
        rig.wait(2 * JOINS_AFTER_S)
        self.assertEqual((deployment.done, len(rig.east.said(Follow))), (True, asked), "while there are two it is idle")
        rig.west.crash()
        rig.until(lambda: len(rig.witness.configuration.members) == 1)
        self.assertEqual((rig.north.role, rig.east.role), ("leader-solo", "standby"))
        return deployment

    def test_one_of_a_pair_is_a_member_again_where_somebody_has_been_alone_for_a_while(self) -> None:
        deployment = self.stand_by_alone()
        rig = deployment.rig
        rig.wait(JOINS_AFTER_S - 0.25)
        self.assertEqual(rig.east.role, "standby")
        rig.wait(0.75)
        self.assertEqual((rig.east.role, rig.east.disk.ids), ("follower", ["x"]))
        self.assertEqual(rig.witness.configuration.members, ("east", "north"))
        deployment.start(rig.west)
        rig.until(lambda: deployment.done)
        self.assertEqual((rig.west.role, rig.west.disk.ids), ("standby", []), "now it is the other way round")

    def test_not_where_the_one_that_was_away_is_back_by_then(self) -> None:
        deployment = self.stand_by_alone()
        rig = deployment.rig
        rig.wait(JOINS_AFTER_S / 2)
        deployment.start(rig.west)
        rig.wait(3 * JOINS_AFTER_S)
        self.assertEqual((rig.east.role, rig.west.role), ("standby", "follower"))

    def test_one_that_was_started_to_stand_by_waits_to_be_invited(self) -> None:
        rig = Deployment().rig
        rig.west.crash()
        rig.wait(5 * JOINS_AFTER_S)
        self.assertEqual((rig.east.role, rig.north.role), ("leader-solo", "standby"))


class BrokenTests(MigrationTestCase):
    """Something ends at every few steps of a migration."""

    def each(self, every: int, **options: Any) -> Iterable[Deployment]:
        """Return deployments, each some steps further in the migration."""
        for steps in range(0, 110, every):
            with self.subTest(steps=steps, **options):
                deployment = Deployment(**options)
                deployment.steps(steps)
                yield deployment

    def crash(self, deployment: Deployment, down_s: float, *nodes: Node) -> None:
        for node in nodes:
            node.crash()
        deployment.steps_for(down_s)
        for node in nodes:
            deployment.start(node)
        deployment.steps(40)
        deployment.finish()
        self.check(deployment, *nodes)

    def check_crashes(self, choose: Callable[[Rig], tuple[Node, ...]], every: int = 6) -> None:
        for down_s in (HEARTBEAT_S, 2 * SUSPECT_S):
            for deployment in self.each(every):
                self.crash(deployment, down_s, *choose(deployment.rig))

    def test_whenever_the_leader_dies(self) -> None:
        self.check_crashes(lambda rig: (rig.east,), every=4)

    def test_whenever_its_successor_dies(self) -> None:
        self.check_crashes(lambda rig: (rig.north,), every=4)

    def test_whenever_the_other_member_dies(self) -> None:
        self.check_crashes(lambda rig: (rig.west,))

    def test_whenever_the_leader_and_its_successor_die(self) -> None:
        self.check_crashes(lambda rig: (rig.east, rig.north))

    def test_whenever_the_whole_pair_dies(self) -> None:
        self.check_crashes(lambda rig: (rig.east, rig.west))

    def test_whenever_all_die(self) -> None:
        self.check_crashes(lambda rig: rig.nodes, every=10)

    def test_whenever_one_of_a_single_node_and_its_successor_dies(self) -> None:
        for choose in (lambda rig: rig.east, lambda rig: rig.north):
            for deployment in self.each(5, paired=False):
                self.crash(deployment, 2 * SUSPECT_S, choose(deployment.rig))

    def test_whenever_the_links_break(self) -> None:
        for paired in (True, False):
            for deployment in self.each(5, paired=paired):
                for end in list(deployment.rig.ends):
                    end.lose(ConnectionLost())
                deployment.steps(40)
                deployment.finish()
                self.check(deployment)

    def test_whenever_the_witness_is_not_reached_for_a_while(self) -> None:
        for deployment in self.each(5):
            nodes = deployment.nodes
            for node in nodes:
                node.asked.lose()
            deployment.steps(40)
            for node in nodes:
                node.asked.reach()
            deployment.finish()
            self.check(deployment)

    def test_closed_while_it_forgets_nobody_hears_of_it(self) -> None:
        deployment = Deployment()
        rig = deployment.rig
        rig.east.log.moving.invite("north", "north:4545")
        rig.until(lambda: rig.north.role == "leader-pair" and rig.east.role == "follower")
        rig.east.log.moving.retire()
        rig.until(lambda: rig.east.role == "learner")
        rig.east.disk.held = True
        rig.wait(1)
        self.assertTrue(rig.east.log.moving.forgetting)
        closed = rig.east.log.close()
        rig.east.running = rig.east.disk.held = False
        rig.settle()
        self.successResultOf(closed)
        self.assertEqual((rig.east.role, rig.east.disk.ids), ("learner", []))
