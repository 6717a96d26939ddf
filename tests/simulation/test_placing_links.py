"""Two-phase commits over the production links: kills, cuts and takeovers; all or nothing, in the end everywhere."""

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.placing import Remove, Settled, Steps
from tests.simulation.placing import placed
from tests.simulation.placing_links import Scene

SEEDS = range(25)
NODES = {"east": "", "west": "cyd", "south": ""}


class PlacingLinksTests(SynchronousTestCase):
    def test_all_is_well(self) -> None:
        scene = Scene(1, NODES)
        self.assertEqual(scene.place("new ada", {"east": (placed("ada"),)}), Settled("new ada", True))
        moved: Steps = {"east": (Remove("ada", 2),), "west": (placed("ada", 2),)}
        self.assertEqual(scene.place("move ada", moved), Settled("move ada", True))
        both: Steps = {"east": (placed("cyd"),), "west": (placed("cyd"),)}
        self.assertEqual(scene.place("new cyd", both), Settled("new cyd", False, "full", "west"))
        scene.check_end()
        self.assertEqual([*scene.nodes["west"].table.held], ["ada"])

    def test_a_node_that_is_away(self) -> None:
        """Before it has answered, the transaction is aborted; after the decision, it does its part when it is back."""
        scene = Scene(1, NODES)
        scene.place("new ada", {"east": (placed("ada"),)})
        scene.nodes["west"].process.host.crash("silence")
        both: Steps = {"east": (placed("bob"),), "west": (placed("bob"),)}
        self.assertEqual(scene.place("new bob", both), Settled("new bob", False, "no-answer", "west"))
        self.assertEqual(scene.place("new dan", {"east": (placed("dan"),)}, 2), Settled("new dan", True))
        scene.nodes["west"].process.host.boot()
        self.assertTrue(scene.place("bob again", both).committed)
        scene.check_end()

    def test_a_node_whose_address_is_another_ones(self) -> None:
        """Nothing is said to it but hello, and nothing is placed there."""
        scene = Scene(1, {"east": "", "west": ""})
        scene.until(lambda: scene.serving.placing.coordinator.up == {"east", "west"})
        way = scene.serving.placing._ways["west"]
        scene.serving.placing._forget("west")
        way.place = ("east", way.place[1])
        way.__init__(scene.serving.placing, "west", way.place)
        scene.serving.placing._ways["west"] = way
        way.start()
        settled = scene.place("new ada", {"west": (placed("ada"),)})
        self.assertEqual(settled, Settled("new ada", False, "no-answer", "west"))
        self.assertEqual(scene.nodes["east"].table.held, {})
        dropped = scene.serving.world.tally.dropped
        self.assertTrue(any("wrong-node" in key for key in dropped), dropped)

    def test_storms(self) -> None:
        for seed in SEEDS:
            try:
                storm(seed)
            except Exception as error:
                self.fail(f"seed {seed}: {error!r}")
            self.assertEqual(self.flushLoggedErrors(), [])


def storm(seed: int) -> Scene:
    """Want one thing after the other while faults rain, then see that everything ends well."""
    scene = Scene(seed, NODES)
    dice = scene.dice
    readers = ("ada", "bob", "cyd", "dan")
    hosts = list(scene.network.hosts.values())
    for number in range(12):
        steps: Steps = {}
        for node in dice.sample(list(NODES), dice.randint(1, 3)):
            reader = dice.choice(readers)
            action = placed(reader, number + 1) if dice.random() < 0.7 else Remove(reader, number + 1)
            steps[node] = (action,)
        name, end = f"wish {number}", scene.clock.seconds() + dice.uniform(0.02, 3)
        while scene.clock.seconds() < end and not scene.outcome(name, steps):
            scene.run(dice.uniform(0.001, 0.05))
            luck = dice.random()
            host = dice.choice(hosts)
            if luck < 0.06:
                if host.alive:
                    host.crash(dice.choice(("reset", "close", "silence")))
                else:
                    host.boot()
            elif luck < 0.09:
                host.resume() if host.paused else host.pause()
            elif luck < 0.13:
                scene.network.cut(*(one.name for one in dice.sample(hosts, 2)))
            elif luck < 0.18:
                scene.network.heal_all()
            elif luck < 0.21:
                scene.change_over()
            scene.check()
    scene.check_end()
    return scene
