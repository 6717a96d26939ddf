"""Two-phase commits in storms: all or nothing, in the end everywhere; and each known mistake is caught."""

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.placing import Participant
from chatproto.news.placing import coordinator as coordinators
from chatproto.news.placing.coordinator import Coordinator, Settled, Tell
from chatproto.news.placing.messages import Abort, Coordinate, Ready
from chatproto.news.placing.participant import Cue, ParticipantEffect, Stage, Write
from tests.simulation.placing import NODES, World, Wrong, crash, in_order
from tests.simulation.placing import Storm as PlacingStorm

SEEDS = range(300)
VICTIMS = ("coordinator", "deposed", *NODES)


def struck(at: int, victim: str, keep: bool) -> World:
    """Return a world in which somebody is struck after so many steps, and everything has come to its end."""
    world = in_order()
    for _ in range(at):
        world.step()
    crash(world, victim, keep)
    world.run()
    world.check_end()
    return world


def strike_everywhere() -> None:
    """Strike everybody at every step, before and after it, with what is being written lost and kept.

    Raises:
        Wrong: something was not all or nothing; or whatever else broke.
    """
    for at in range(in_order().run() + 1):
        for victim in VICTIMS:
            for keep in (False, True):
                struck(at, victim, keep)


class PlacingTests(SynchronousTestCase):
    def test_all_is_well(self) -> None:
        world = in_order()
        world.run()
        world.check_end()
        self.assertEqual(
            {name: settled.committed for name, settled in world.told.items()},
            {name: name != "new cyd" for name, _ in world.wishes},
        )
        self.assertEqual(world.told["new cyd"], Settled("new cyd", False, "full", "west"))

    def test_struck_at_every_step(self) -> None:
        strike_everywhere()

    def test_struck_twice(self) -> None:
        """Whoever is struck while it recovers recovers all the same."""
        count = in_order().run()
        for first in range(0, count, 7):
            for then in range(1, 40, 5):
                for victims in (
                    ("coordinator", "east"),
                    ("west", "coordinator"),
                    ("deposed", "west"),
                    ("east", "east"),
                ):
                    world = in_order()
                    for victim, steps in zip(victims, (first, then), strict=True):
                        for _ in range(steps):
                            world.step()
                        crash(world, victim, bool(first % 2))
                    world.run()
                    world.check_end()

    def test_a_node_that_is_away_holds_up_its_own_transactions_only(self) -> None:
        world = in_order()
        world.wishes = [("both", world.wishes[1][1]), ("east alone", world.wishes[0][1])]
        world.nodes["west"].crash(False)
        world.run()
        self.assertEqual(world.told["both"], Settled("both", False, "no-answer", "west"))
        self.assertEqual(world.told["east alone"], Settled("east alone", True))

    def test_a_node_that_is_away_after_the_decision_does_its_part_when_it_is_back(self) -> None:
        world = in_order()
        while "new bob" not in world.told:
            world.step()
        world.nodes["west"].crash(False)
        world.wishes = [*world.wishes[:2], world.wishes[0]]
        for _ in range(200):
            world.step()
        self.assertEqual([one.name for one in world.process.ledger.open.values()], ["new bob"])
        world.nodes["west"].boot()
        world.run()
        world.check_end()
        self.assertIn("bob", world.nodes["west"].table.held)

    def test_storms(self) -> None:
        for seed in SEEDS:
            try:
                PlacingStorm(seed).run()
            except Exception as error:
                self.fail(f"seed {seed}: {error!r}")


class PlantedTests(SynchronousTestCase):
    """Storms and strikes can fail: each mistake, planted into the code, is caught."""

    def caught(self, *complaints: str) -> None:
        """See that something finds a mistake, and complains about it as expected."""
        for find in (strike_everywhere, *(PlacingStorm(seed).run for seed in SEEDS)):
            try:
                find()
            except Wrong as wrong:
                self.assertTrue(any(complaint in str(wrong) for complaint in complaints), str(wrong))
                return
        self.fail("nothing has caught it")

    def plant(self, owner: Any, name: str, mistake: Callable[..., Any]) -> Callable[..., Any]:
        right: Callable[..., Any] = getattr(owner, name)
        self.patch(owner, name, mistake)
        return right

    def test_told_before_it_is_durable(self) -> None:
        """The coordinator tells the nodes what it is about to decide."""

        def decide(self: Coordinator, round: Any, committed: bool, code: str = "", node: str = "") -> list[Any]:
            effects = right(self, round, committed, code, node)
            if committed:
                effects += [Tell(name, coordinators.Commit(round.number)) for name in round.steps]
            return effects

        right = self.plant(Coordinator, "_decide", decide)
        self.caught("that is not decided", "the log says")

    def test_settled_before_it_is_durable(self) -> None:
        """Whoever wants a transaction is told of it as soon as all nodes can."""

        def decide(self: Coordinator, round: Any, committed: bool, code: str = "", node: str = "") -> list[Any]:
            return [Settled(round.name, committed, code, node), *right(self, round, committed, code, node)]

        right = self.plant(Coordinator, "_decide", decide)
        self.caught("not decided", "decided otherwise")

    def test_committed_without_all(self) -> None:
        """One node that can is enough."""

        def ready(self: Coordinator, node: str, number: int) -> list[Any]:
            round = self._rounds.get(number)
            if round is not None and not round.committed and round.until is not None:
                return self._decide(round, True)
            return right(self, node, number)

        right = self.plant(Coordinator, "_ready", ready)
        self.caught("the log says", "not over")

    def test_promised_before_it_is_durable(self) -> None:
        """A node says that it can before it has written that down, and has forgotten it after a crash."""

        def moved(self: Participant, number: int, cue: Cue) -> list[ParticipantEffect]:
            effects = right(self, number, cue)
            if effects and isinstance(effects[0], Write) and effects[0].stage is Stage.PROMISING:
                effects += self._say(Ready(number))
            return effects

        right = self.plant(Participant, "_moved", moved)
        self.caught("the log says")

    def test_promise_forgotten(self) -> None:
        """A node that comes back knows nothing of what it had promised."""

        def recover(self: Participant, key: bytes, value: bytes) -> None:
            pass

        self.plant(Participant, "_recover", recover)
        self.caught("the log says", "on its disk for ever")

    def test_promise_given_up_with_the_link(self) -> None:
        """A node that does not hear the coordinator any more aborts on its own."""

        def left(self: Participant, at: int) -> None:
            right(self, at)
            for number, stage in list(self._stages.items()):
                if stage is Stage.READY:
                    self._finished(number, Stage.DROPPING)

        right = self.plant(Participant, "left", left)
        self.caught("the log says", "on its disk for ever")

    def test_done_and_promise_in_two_writes(self) -> None:
        """The promise goes from the disk before what was promised is there."""

        def moved(self: Participant, number: int, cue: Cue) -> list[ParticipantEffect]:
            effects = right(self, number, cue)
            if effects and isinstance(effects[0], Write) and effects[0].stage is Stage.DOING:
                write = effects[0]
                return [write._replace(stage=Stage.UNKNOWN, changes=write.changes[-1:]), write]
            return effects

        right = self.plant(Participant, "_moved", moved)
        self.caught("the log says")

    def test_nobody_known_is_committed(self) -> None:
        """A transaction that is committed is forgotten before all nodes have done their part."""

        def done(self: Coordinator, node: str, number: int) -> list[Any]:
            if number in self._rounds:
                self._rounds[number].answered.update(self._rounds[number].steps)
            return [coordinators.Record(coordinators.Completed(number))]

        self.plant(Coordinator, "_done", done)
        self.caught("the log says")

    def test_nobody_is_superseded(self) -> None:
        """A node listens to whoever says hello, also to one that another one has replaced."""

        def entered(self: Participant, at: int, hello: Coordinate) -> list[ParticipantEffect]:
            self.term = 0
            return right(self, at, hello)

        right = self.plant(Participant, "entered", entered)
        self.caught("the log says", "no end", "is told")

    def test_aborted_because_it_is_not_begun_here(self) -> None:
        """A coordinator says abort of what it has just begun, for it looks at what is decided only."""

        def ready(self: Coordinator, node: str, number: int) -> list[Any]:
            round = self._rounds.get(number)
            effects = right(self, node, number)
            if round is not None and not round.committed and not effects:
                return [Tell(node, Abort(number))]
            return effects

        right = self.plant(Coordinator, "_ready", ready)
        self.caught("the log says")
