"""How nodes end on purpose, while everybody talks: what clients notice of it, and what may fail meanwhile."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import Ack, Hello, Notice, Redirect, RoomChange, Said
from chatproto.pair.states import Role
from chatproto.services.draining import LAG_S, SPREAD_S_MIN, Phase
from chatproto.testing import SimDeployment
from tests.simulation.hand import Hand, say
from tests.simulation.pair import PairTestCase, Talker

DRAIN_S_MAX = 10.0
SILENCE_S_MAX = 0.3
"""No client is to wait longer for an acknowledgement while a node is drained."""
MOMENTS_S = (*(step / 50 for step in range(16)), *(0.2 + step / 250 for step in range(15)))
"""Into a drain, that of a few clients takes 0.24 s: close together where leadership is handed over."""


class PairDrainTests(PairTestCase):
    def crowd(self, count: int = 6) -> list[Talker]:
        talkers = [Talker(self.deployment, f"talker{number}") for number in range(count)]
        self.deployment.run(2)
        return talkers

    def drain(self, name: str) -> Any:
        """Stop a node as SIGTERM does; return what clients saw, once its process is gone."""
        drain = self.node(name).tree.drain
        saw = drain.run()
        stopped = self.node(name).stop()
        self.deployment.run_until(lambda: stopped.called, DRAIN_S_MAX + 1)
        return self.successResultOf(saw)

    def bring_back(self, *talkers: Talker) -> None:
        self.deployment.run(1)
        for process in self.deployment.processes.values():
            if not process.host.alive:
                process.host.boot()
        self.heal(*talkers)

    def test_the_leader_is_drained_under_load(self) -> None:
        """Its clients go on at the other node, which leads by then, and nobody waits for longer than a moment."""
        for witness in (True, False):
            self.deploy(witness=witness)
            watcher = Hand(self.deployment, "watcher", "secondary").hello()
            talkers = self.crowd()
            saw = self.drain("primary")
            self.assertEqual((saw.clients, saw.parted, saw.aborted, saw.leader), (6, 0, 0, "secondary"))
            self.assertLess(saw.took_s, SPREAD_S_MIN + LAG_S)
            self.bring_back(*talkers)
            self.assertEqual(self.role("secondary"), Role.LEADER_PAIR)
            self.assertLess(max(talker.longest_wait_s for talker in talkers), SILENCE_S_MAX)
            self.assertEqual([change for change in watcher.all(RoomChange) if change.roomid == ""], [])

    def test_the_follower_is_drained_under_load(self) -> None:
        self.deploy()
        talkers = self.crowd(2)
        here = [Hand(self.deployment, f"here{number}", "secondary").hello() for number in range(3)]
        self.assertEqual(self.drain("secondary").clients, 3)
        for connection in here:
            self.assertEqual((connection.last(Redirect).reason, connection.open), ("draining", False))
        self.bring_back(*talkers)
        self.assertEqual(self.role("primary"), Role.LEADER_PAIR)
        self.assertLess(max(talker.longest_wait_s for talker in talkers), SILENCE_S_MAX)

    def test_one_after_the_other_again_and_again(self) -> None:
        self.deploy()
        talkers = self.crowd(4)
        for round in range(6):
            self.drain(("primary", "secondary")[round % 2])
            self.deployment.run(0.5)
            self.node(("primary", "secondary")[round % 2]).host.boot()
            self.deployment.run_until_paired()
        self.heal(*talkers)
        self.assertLess(max(talker.longest_wait_s for talker in talkers), SILENCE_S_MAX)

    def test_the_leader_is_drained_with_nobody_there(self) -> None:
        """There is nobody to wait for, but leadership is handed over."""
        self.deploy()
        saw = self.drain("primary")
        self.assertEqual((saw.clients, saw.leader, saw.took_s), (0, "secondary", 0.0))
        self.bring_back()
        self.assertEqual(self.role("secondary"), Role.LEADER_PAIR)

    def test_who_ignores_it_is_served_then_answered_then_closed(self) -> None:
        self.deploy()
        connection = Hand(self.deployment, "stubborn").hello(history="all")
        stopped = self.node("primary").stop()
        self.deployment.run(SPREAD_S_MIN + LAG_S / 2)
        connection.send(say("still here"))
        self.deployment.run(0.1)
        self.assertEqual((connection.last(Ack).id, connection.open), ("still here", True))
        self.deployment.run_until(lambda: stopped.called, 1)
        self.deployment.run(0.1)
        self.assertFalse(connection.open)
        self.assertEqual(len(connection.all(Redirect)), 1)
        self.bring_back()

    def test_who_never_reads_holds_nobody_up_for_long(self) -> None:
        self.deploy()
        talkers = self.crowd(2)
        for number in range(3):
            deaf = Hand(self.deployment, f"deaf{number}").hello(history="all")
            deaf.transport.pauseProducing()
            deaf.send(*[say(f"{number} {at}", "x" * 1000) for at in range(600)])
        self.deployment.run(1)
        start = self.network.clock.seconds()
        saw = self.drain("primary")
        self.assertGreater(saw.aborted, 0)
        self.assertLess(self.network.clock.seconds() - start, DRAIN_S_MAX)
        self.bring_back(*talkers)
        self.assertLess(max(talker.longest_wait_s for talker in talkers), SILENCE_S_MAX)

    def test_a_base_client_is_told_where_to_go_and_has_its_name_there(self) -> None:
        self.deploy()
        hand = Hand(self.deployment, "stranger")
        connection = hand.enter()
        watcher = Hand(self.deployment, "watcher", "secondary").hello()
        self.drain("primary")
        self.assertEqual(connection.last(Said).content, "primary is shutting down; go to secondary:4444")
        self.assertEqual([change.identity for change in watcher.all(RoomChange) if change.roomid == ""], ["guest1"])
        self.assertNotIn("guest1", self.node("secondary").server.hall.identities)
        self.bring_back()

    def test_newcomers_go_to_the_other_node(self) -> None:
        """A full node does not send them to one that is drained."""
        self.deploy(capacity=2)
        for name in ("first", "second"):
            Hand(self.deployment, name, "secondary").hello()
        Hand(self.deployment, "stubborn").hello()
        self.deployment.run(0.2)

        def answer(name: str) -> list[str]:
            late = Hand(self.deployment, name, "secondary").dial()
            late.send(Hello(1))
            self.deployment.run(0.1)
            return [type(message).__name__ for message in late.heard]

        self.assertEqual(answer("early"), ["Redirect"])
        self.node("primary").stop()
        self.deployment.run(0.1)
        self.assertEqual(answer("late"), ["Error"])
        self.deployment.run(3)
        self.bring_back()

    def check_survives(self, victim: str, moment_s: float) -> None:
        """Drain the leader, and kill a process a moment later."""
        self.deploy()
        talkers = self.crowd(3)
        stopped = self.node("primary").stop()
        self.deployment.run(moment_s)
        process = self.deployment.processes[victim]
        if process.host.alive:
            process.host.crash()
        if victim != "primary":
            self.deployment.run_until(lambda: stopped.called, DRAIN_S_MAX + 1)
        self.bring_back(*talkers)

    def test_the_other_node_dies_at_every_moment_of_a_drain(self) -> None:
        for moment_s in MOMENTS_S:
            self.check_survives("secondary", moment_s)

    def test_the_registry_dies_at_every_moment_of_a_drain(self) -> None:
        for moment_s in MOMENTS_S:
            self.check_survives("registry", moment_s)

    def test_it_is_killed_at_every_moment_of_its_drain(self) -> None:
        for moment_s in MOMENTS_S:
            self.check_survives("primary", moment_s)

    def test_both_are_drained_at_once(self) -> None:
        for later_s in (0.0, 0.001, 0.1, 0.22):
            self.deploy()
            talkers = self.crowd(3)
            first = self.node("primary").stop()
            self.deployment.run(later_s)
            second = self.node("secondary").stop()
            self.deployment.run_until(lambda first=first, second=second: first.called and second.called, DRAIN_S_MAX)
            self.bring_back(*talkers)

    def test_hurried(self) -> None:
        """It ends at once, and nothing that was acknowledged is lost."""
        for moment_s in (0.0, 0.1, 0.222):
            self.deploy()
            talkers = self.crowd(3)
            stopped = self.node("primary").stop()
            self.deployment.run(moment_s)
            drain = self.node("primary").tree.drain
            drain.hurry()
            self.assertIn(drain.phase, (Phase.LEAVING, Phase.OVER))
            self.deployment.run_until(lambda stopped=stopped: stopped.called, 0.2)
            self.bring_back(*talkers)

    def test_where_leadership_would_be_handed_back_it_ends_all_the_same(self) -> None:
        self.deploy(prefer_primary=True)
        talkers = self.crowd(3)
        self.drain("primary")
        self.bring_back(*talkers)
        self.assertLess(max(talker.longest_wait_s for talker in talkers), SILENCE_S_MAX)


class AloneDrainTests(SynchronousTestCase):
    def test_what_is_not_acknowledged_arrives_once(self) -> None:
        """A node alone is drained under load and comes back: everything said is there, once."""
        deployment = SimDeployment(0)
        node = deployment.nodes["primary"]
        talkers = [Talker(deployment, f"talker{number}", 0.003) for number in range(3)]
        for _ in range(5):
            deployment.run(1)
            stopped = node.stop()
            deployment.run_until(lambda stopped=stopped: stopped.called, DRAIN_S_MAX)
            deployment.run(0.2)
            node.host.boot()
        deployment.run(1)
        for talker in talkers:
            talker.talking = False
        deployment.run_until(lambda: all(talker.waiting == 0 for talker in talkers), 10)
        self.assertEqual([refused for talker in talkers for refused in talker.refused], [])
        deployment.check_archives()
        said = [id for run in node.durable() if run.kind == "message" for id in run.ids]
        self.assertEqual(len(said), len(set(said)))
        self.assertEqual(len(said), sum(talker.sent for talker in talkers))

    def test_clients_are_told_and_the_process_is_gone_at_once(self) -> None:
        deployment = SimDeployment(0)
        extended, base = Hand(deployment, "extended").hello(), Hand(deployment, "base").enter()
        extended.send(say("last words"))
        deployment.run(0.0001)
        stopped = deployment.nodes["primary"].stop()
        deployment.run_until(lambda: stopped.called, 0.5)
        deployment.run(0.1)
        self.assertEqual((extended.open, base.open), (False, False))
        self.assertEqual([notice.code for notice in extended.all(Notice)], ["shutting-down"])
        self.assertEqual(extended.all(Redirect), [])
        self.assertEqual(base.last(Said).identity, "server")
