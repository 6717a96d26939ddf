"""Two-phase commits over the production links: kills, cuts and takeovers; all or nothing, in the end everywhere."""

from collections.abc import Callable

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.placing import Remove, Settled, Steps, steps_to_place
from chatproto.news.terms import Terms
from tests.simulation.placing import placed
from tests.simulation.placing_links import HOME_AFTER_S, Scene

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
            self.weather(storm, seed)

    def weather(self, storm: Callable[[int], Scene], seed: int) -> None:
        try:
            storm(seed)
        except Exception as error:
            self.fail(f"seed {seed}: {error!r}")
        self.assertEqual(self.flushLoggedErrors(), [], f"seed {seed}")

    # Temporary readers

    def test_a_substitute(self) -> None:
        """A reader is placed there while its node is away, is sent home after that, and nothing is forgotten."""
        scene = Scene(1, NODES)
        ada = placed("ada").placement
        scene.place("new ada", {"east": (placed("ada"),)})
        scene.run(2)
        self.assertEqual(scene.shelter("ask", ada, "east", "west"), "at-home")
        scene.nodes["east"].process.host.crash()
        self.assertEqual(scene.shelter("ask", ada, "east", ""), "no-substitute")
        free = msgspec.structs.replace(ada, terms=Terms(("sport",)))
        self.assertEqual(scene.shelter("ask", free, "east", "west"), "not-paid")
        took_s = scene.until(lambda: not scene.shelter("ask", ada, "east", "west"))
        self.assertLess(took_s, 1.5)
        took_s = scene.until(lambda: "ask" in scene.told)
        self.assertLess(took_s, 0.5)
        scene.until(lambda: scene.guests() == {"west": ["ada"], "south": []}, 1)
        self.assertEqual(scene.nodes["west"].table.held["ada"].home, "east")
        scene.told.clear()
        scene.shelter("ask", ada, "east", "west")
        self.assertEqual(scene.told, {"ask": Settled("ask", True)})
        scene.nodes["west"].process.host.crash()
        scene.serving.process.host.crash()
        scene.change_over()
        scene.run(10)
        scene.nodes["west"].process.host.boot()
        scene.run(10)
        self.assertEqual(scene.guests()["west"], ["ada"])
        scene.nodes["east"].process.host.boot()
        scene.run(HOME_AFTER_S - 1)
        self.assertEqual(scene.guests()["west"], ["ada"])
        scene.until(lambda: not any(scene.guests().values()), 5)
        self.assertEqual([*scene.nodes["east"].table.held], ["ada"])
        scene.told.clear()
        scene.check_end()

    def test_a_substitute_that_is_away_too(self) -> None:
        scene = Scene(1, NODES)
        scene.place("new ada", {"east": (placed("ada"),)})
        for name in ("east", "west"):
            scene.nodes[name].process.host.crash()
        scene.run(2)
        self.assertEqual(scene.shelter("ask", placed("ada").placement, "east", "west"), "substitute-away")

    def test_a_contract_is_moved_while_its_reader_is_a_guest(self) -> None:
        """To a third node: all three take part, so it is done when the reader's own is back; or it is not done."""
        scene = Scene(1, NODES)
        scene.place("new ada", {"east": (placed("ada"),)})
        scene.nodes["east"].process.host.crash()
        scene.until(lambda: not scene.shelter("ask", placed("ada").placement, "east", "west"))
        scene.until(lambda: "ask" in scene.told)
        steps = steps_to_place(scene.serving.ledger, placed("ada", 2).placement, "south", "east")
        self.assertEqual(
            steps, {"south": (placed("ada", 2),), "east": (Remove("ada", 2),), "west": (Remove("ada", 2),)}
        )
        self.assertEqual(scene.place("move", steps), Settled("move", False, "no-answer", "east"))
        self.assertEqual(scene.guests()["west"], ["ada"])
        scene.nodes["east"].process.host.boot()
        self.assertEqual(scene.place("move again", steps), Settled("move again", True))
        scene.check_end()
        self.assertEqual(
            {name: [*node.table.held] for name, node in scene.nodes.items()}, {"east": [], "west": [], "south": ["ada"]}
        )
        self.assertEqual(scene.serving.ledger.guests, {})

    def test_storms_of_guests(self) -> None:
        # In 1013 one that coordinates is superseded, and again coordinates, while it begins something.
        for seed in (*SEEDS, 1013):
            self.weather(storm_of_guests, seed)


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


def storm_of_guests(seed: int) -> Scene:
    """Have nodes crash whose readers ask for a place at the substitute; in the end everybody is at home."""
    scene = Scene(seed, dict.fromkeys(NODES, ""))
    dice, names = scene.dice, list(NODES)
    hosts = [host for host in scene.network.hosts.values() if host.name != "registry"]
    homes = {f"{node}{number}": node for node in names for number in range(3)}
    for reader, node in homes.items():
        scene.place(f"new {reader}", {node: (placed(reader),)})
    for _ in range(60):
        luck, host = dice.random(), dice.choice(hosts)
        if luck < 0.25:
            host.boot() if not host.alive else host.crash()
        elif luck < 0.3:
            scene.change_over()
        for reader, node in homes.items():
            if not scene.nodes[node].process.host.alive and dice.random() < 0.5:
                substitute = names[(names.index(node) + 1) % len(names)]
                scene.shelter(f"shelter {reader} {scene.clock.seconds()}", placed(reader).placement, node, substitute)
        scene.run(dice.uniform(0.05, 1.0))
        scene.check()
    scene.check_end()
    scene.until(lambda: not any(scene.guests().values()) and scene.over(), HOME_AFTER_S + 10)
    for name, node in scene.nodes.items():
        assert sorted(node.table.held) == [reader for reader, home in homes.items() if home == name], name
    return scene
