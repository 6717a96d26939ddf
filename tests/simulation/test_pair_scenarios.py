"""What can fail of two servers, one story each; docs/failure-model.md has a row for every one of them."""

from chatproto.chat.messages import (
    Ack,
    Error,
    Hello,
    Notice,
    Redirect,
    Resume,
    Rewind,
    RoomChange,
    Said,
    SaidExtended,
    Say,
    Welcome,
)
from chatproto.pair.states import Role
from tests.simulation.hand import Hand, say
from tests.simulation.pair import LEASE_S, SUSPECT_S, PairTestCase, Talker

PAIR_OF_EACH = ("primary", "secondary", "primary", "secondary")


def _resuming(session: str | None, index: int | None, epoch: int | None) -> Hello:
    resume = [] if index is None else [Resume("MainHall", index, epoch)]
    return Hello(1, session=session, resume=resume, history="all")


class PairScenarioTests(PairTestCase):
    # One process

    def test_leader_killed(self) -> None:
        """The follower takes over at once; clients wait less than a second, and lose nothing."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        self.node("primary").host.crash()
        self.deployment.run(2)
        self.assertEqual(self.role("secondary"), Role.LEADER_SOLO)
        self.assertLess(talker.longest_wait_s, 1.0)
        self.node("primary").host.boot()
        self.heal(talker)
        self.assertEqual(self.role("primary"), Role.FOLLOWER)

    def test_follower_killed(self) -> None:
        """The leader goes on alone; whoever was with the follower comes to it."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        self.node("secondary").host.crash()
        self.deployment.run(2)
        self.assertEqual(self.role("primary"), Role.LEADER_SOLO)
        self.assertLess(talker.longest_wait_s, 1.0)
        self.node("secondary").host.boot()
        self.heal(talker)
        self.assertEqual(self.role("primary"), Role.LEADER_PAIR)

    def test_leader_stopped(self) -> None:
        """A leader that stood still for longer than the lease finds that the other leads, and follows it."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        self.node("primary").host.pause()
        self.deployment.run(LEASE_S + 2)
        self.assertEqual(self.role("secondary"), Role.LEADER_SOLO)
        self.assertGreater(talker.kept[-1][0], self.network.clock.seconds() - 0.5)
        self.node("primary").host.resume()
        self.heal(talker)
        self.assertEqual((self.role("primary"), self.role("secondary")), (Role.FOLLOWER, Role.LEADER_PAIR))

    def test_leader_stopped_for_a_moment(self) -> None:
        """A leader that stood still for less than the others' patience leads on."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        self.node("primary").host.pause()
        self.deployment.run(SUSPECT_S / 3)
        self.node("primary").host.resume()
        self.deployment.run(2)
        self.assertEqual(self.node("primary").pair.epoch, 2)
        self.heal(talker)

    # Partitions

    def test_partition_with_a_witness(self) -> None:
        """The nodes do not hear each other: the leader goes on alone, and the other one serves nobody."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        self.network.cut("primary", "secondary")
        self.deployment.run(3)
        self.assertEqual((self.role("primary"), self.role("secondary")), (Role.LEADER_SOLO, Role.LEARNER))
        self.assertFalse(self.node("secondary").pair.serving)
        self.network.heal("primary", "secondary")
        self.heal(talker)

    def test_partition_without_a_witness(self) -> None:
        """Both sides go on and acknowledge; when they meet, one is merged into the other, and nothing is lost."""
        self.deploy(witness=False)
        one, two = Hand(self.deployment, "one"), Hand(self.deployment, "two", "secondary")
        here, there = one.hello(history="all"), two.hello(history="all")
        self.network.cut("primary", "secondary")
        self.deployment.run(3)
        for connection, words in ((here, "here"), (there, "there")):
            connection.send(*[say(f"{words}{number}") for number in range(5)])
        self.deployment.run(1)
        self.assertEqual([len(connection.all(Ack)) for connection in (here, there)], [5, 5])
        self.assertEqual([ack.index for ack in here.all(Ack)], [ack.index for ack in there.all(Ack)])
        self.network.heal("primary", "secondary")
        self.heal()
        records = self.deployment.logs.of("primary").records
        said = [record.id for record in records if record.kind == "message"]
        self.assertEqual(sorted(said), sorted(f"{words}{number}" for words in ("here", "there") for number in range(5)))

    def test_client_of_the_merged_side(self) -> None:
        """A client of the side that was merged is told what to forget, and hears all of it again in its place."""
        self.deploy(witness=False)
        one, two = Hand(self.deployment, "one"), Hand(self.deployment, "two", "secondary")
        here, there = one.hello(history="all"), two.hello(history="all")
        here.send(say("before"))
        self.deployment.run(1)
        self.network.cut("primary", "secondary")
        self.deployment.run(3)
        here.send(say("here"))
        there.send(say("there"))
        self.deployment.run(1)
        self.assertEqual((here.indexes, there.indexes), ([1, 2], [1, 2]))
        self.network.heal("primary", "secondary")
        self.heal()
        leader = self.deployment.leader().name
        hand, connection = (two, there) if leader == "primary" else (one, here)
        self.assertIn(Redirect, [type(message) for message in connection.heard])
        self.assertEqual(connection.all(Rewind), [Rewind("MainHall", 2)])
        hand.server = leader
        again = hand.dial()
        again.send(_resuming(connection.token, 2, connection.all(SaidExtended)[0].epoch))
        self.deployment.run(1)
        self.assertEqual(again.all(Rewind), [])
        self.assertEqual(sorted(said.content for said in again.all(SaidExtended)), ["here", "there"])

    def test_client_that_was_away_while_its_side_was_merged(self) -> None:
        """A client that comes from a side that is no more is told what it has to forget, and hears what holds now."""
        self.deploy(witness=False)
        one, two = Hand(self.deployment, "one"), Hand(self.deployment, "two", "secondary")
        here, there = one.hello(history="all"), two.hello(history="all")
        here.send(say("before"))
        self.deployment.run(1)
        self.network.cut("primary", "secondary")
        self.deployment.run(3)
        here.send(say("here"))
        there.send(say("there"))
        self.deployment.run(1)
        for connection in (here, there):
            connection.transport.abortConnection()
        self.network.heal("primary", "secondary")
        self.heal()
        leader = self.deployment.leader().name
        hand, connection = (two, there) if leader == "primary" else (one, here)
        hand.server = leader
        again = hand.dial()
        again.send(_resuming(connection.token, 3, connection.all(SaidExtended)[1].epoch))
        self.deployment.run(1)
        # Where the sides parted is not known here; but what is older than both of them is of no other.
        (rewind,) = again.all(Rewind)
        self.assertIn(rewind.index, (1, 2))
        self.assertEqual(again.indexes, list(range(rewind.index, 4)))
        self.assertEqual(sorted(said.content for said in again.all(SaidExtended))[-2:], ["here", "there"])

    def test_leader_isolated_with_its_clients(self) -> None:
        """A leader that hears neither the other node nor the witness acknowledges nothing, and its clients leave."""
        self.deploy()
        hand = Hand(self.deployment, "client")
        connection = hand.hello()
        for other in ("secondary", "registry"):
            self.network.cut("primary", other)
        self.deployment.run(0.1)
        connection.send(say("one"))
        self.deployment.run(3)
        self.assertEqual(connection.all(Ack), [])
        self.assertEqual(self.role("primary"), Role.ISOLATED)
        self.assertEqual(connection.last(Redirect).reason, "isolated")
        self.assertEqual(self.role("secondary"), Role.LEADER_SOLO)
        hand.server = "secondary"
        again = hand.hello(connection.token)
        self.assertEqual(again.token, connection.token)
        again.send(say("one"))
        self.deployment.run(1)
        self.assertEqual(again.last(Ack).id, "one")
        for other in ("secondary", "registry"):
            self.network.heal("primary", other)
        self.heal()
        self.assertEqual(sum(record.id == "one" for record in self.deployment.logs.of("primary").records), 1)

    def test_session_that_moved_away_from_a_node_cut_off(self) -> None:
        """A node that was cut off for longer than the grace ends no session that has gone on at the other one."""
        self.deploy()
        watcher = Hand(self.deployment, "watcher", "secondary").hello()
        hand = Hand(self.deployment, "client")
        connection = hand.hello()
        for other in ("secondary", "registry", "client"):
            self.network.cut("primary", other)
        self.deployment.run(2)
        hand.server = "secondary"
        again = hand.hello(connection.token)
        self.assertEqual(again.token, connection.token)
        self.deployment.run(8)
        self.network.heal_all()
        self.heal()
        self.deployment.run(2)
        self.assertTrue(again.open)
        self.assertIn(again.last(Welcome).identity, self.node("secondary").server.hall.identities)
        self.assertEqual([change for change in watcher.all(RoomChange) if change.roomid == ""], [])

    # The witness

    def test_witness_killed(self) -> None:
        """Without the witness both nodes go on as they are."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(1)
        assert self.deployment.registry is not None
        self.deployment.registry.host.crash()
        self.deployment.run(3)
        self.assertEqual(self.deployment.unpaired(), [])
        self.assertLess(talker.longest_wait_s, 0.2)
        self.deployment.registry.host.boot()
        self.heal(talker)

    def test_witness_killed_and_then_the_leader(self) -> None:
        """Where the witness is gone, too, the follower must not take over; it does once the witness is back."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        assert self.deployment.registry is not None
        self.deployment.registry.host.crash()
        self.deployment.run(1)
        self.node("primary").host.crash()
        kept = len(talker.kept)
        self.deployment.run(4)
        self.assertEqual(self.role("secondary"), Role.ISOLATED)
        self.assertEqual(len(talker.kept), kept)
        self.deployment.registry.host.boot()
        self.deployment.run(4)
        self.assertEqual(self.role("secondary"), Role.LEADER_SOLO)
        self.assertGreater(len(talker.kept), kept)
        self.node("primary").host.boot()
        self.heal(talker)

    # Both nodes, and their disks

    def test_both_killed(self) -> None:
        """Both are back with all that was acknowledged, and nobody is said to have left."""
        self.deploy()
        talker = Talker(self.deployment)
        watcher = Hand(self.deployment, "watcher").hello()
        self.deployment.run(2)
        for node in self.deployment.paired:
            node.host.crash()
        self.deployment.run(1)
        for node in self.deployment.paired:
            node.host.boot()
        self.heal(talker)
        self.assertFalse(any(change.roomid == "" for change in watcher.all(RoomChange)))

    def lose_the_survivor(self, *, allow_data_loss: bool) -> Talker:
        self.deploy(allow_data_loss=allow_data_loss)
        talker = Talker(self.deployment)
        self.deployment.run(2)
        self.node("secondary").host.crash()
        self.deployment.run(2)
        self.assertEqual(self.role("primary"), Role.LEADER_SOLO)
        self.node("primary").host.crash()
        self.node("secondary").host.boot()
        self.deployment.run(4)
        return talker

    def test_survivor_dies(self) -> None:
        """The last that went on alone dies, and the other is outdated: service waits for it, and loses nothing."""
        talker = self.lose_the_survivor(allow_data_loss=False)
        self.assertFalse(self.node("secondary").pair.serving)
        kept = len(talker.kept)
        self.deployment.run(3)
        self.assertEqual(len(talker.kept), kept)
        self.node("primary").host.boot()
        self.heal(talker)

    def test_survivor_dies_and_data_may_be_lost(self) -> None:
        """Where the operator allows it, the outdated node goes on; what only the survivor held is away while it is."""
        talker = self.lose_the_survivor(allow_data_loss=True)
        kept = len(talker.kept)
        self.deployment.run(3)
        self.assertEqual(self.role("secondary"), Role.LEADER_SOLO)
        self.assertGreater(len(talker.kept), kept)
        self.node("primary").host.boot()
        self.heal(talker)

    def test_disk_wiped(self) -> None:
        """A node with a new disk is left out, learns everything, and counts again."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        node = self.node("primary")
        node.host.crash()
        node.wipe()
        self.deployment.run(2)
        node.host.boot()
        self.heal(talker)
        self.assertEqual(len(self.deployment.logs.of("primary").records), self.deployment.chronicle.position)

    def test_disk_full(self) -> None:
        """A node whose disk fails ends its process; the other goes on."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        host = self.node("primary").host
        host.disk.fill()
        self.deployment.run(2)
        self.assertFalse(host.alive)
        self.assertLess(talker.longest_wait_s, 1.0)
        host.disk.mend()
        host.boot()
        self.heal(talker)

    # The operator

    def test_rolling_restart(self) -> None:
        """One node after the other is stopped politely and started: nothing is lost, and nobody waits for long."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        for name in ("secondary", "primary"):
            stopped = self.node(name).stop()
            self.deployment.run_until(lambda stopped=stopped: stopped.called, 5)  # type: ignore[misc]
            self.deployment.run(1)
            self.node(name).host.boot()
            self.deployment.run_until_paired()
        self.heal(talker)
        self.assertLess(talker.longest_wait_s, 1.5)

    def test_handover(self) -> None:
        """Leadership moves while everybody talks: nothing is refused, nothing lost, and nobody notices."""
        for witness in (True, False):
            self.deploy(witness=witness)
            talkers = [Talker(self.deployment, f"talker{number}") for number in range(3)]
            self.deployment.run(2)
            for _ in range(4):
                self.assertTrue(self.deployment.leader().pair.hand_over())
                self.deployment.run(1)
            self.assertEqual(self.node("primary").pair.epoch, self.node("secondary").pair.epoch)
            self.heal(*talkers)
            for talker in talkers:
                self.assertLess(talker.longest_wait_s, 0.3)

    def test_follower_dies_in_a_handover(self) -> None:
        """The handover is given up, and the leader goes on alone."""
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        self.node("secondary").host.pause()
        self.assertTrue(self.node("primary").pair.hand_over())
        self.deployment.run(3)
        self.assertEqual(self.role("primary"), Role.LEADER_SOLO)
        self.node("secondary").host.resume()
        self.heal(talker)

    # Clients

    def test_capacity_redirect(self) -> None:
        """A full node sends newcomers to the other one; where both are full, a newcomer is told so."""
        self.deploy(capacity=2)
        self.deployment.run(1)
        for number in range(2):
            Hand(self.deployment, f"early{number}").hello()
        hand = Hand(self.deployment, "late")
        connection = hand.dial()
        connection.send(_resuming(None, None, None))
        self.deployment.run(1)
        redirect = connection.last(Redirect)
        self.assertEqual((redirect.servers, redirect.reason), (["secondary:4444"], "full"))
        self.assertFalse(connection.open)
        hand.server = "secondary"
        hand.hello()
        Hand(self.deployment, "later", "secondary").hello()
        last = Hand(self.deployment, "last").dial()
        last.send(_resuming(None, None, None))
        self.deployment.run(1)
        self.assertEqual(last.last(Error).code, "full")

    def test_leader_killed_before_enough_are_there(self) -> None:
        """What a base client said there is gone with it, as its connection is; who keeps ids says it again."""
        for seed in range(10):
            self.deploy(seed=seed, clients_min=3)
            self.deployment.run(1)
            talker = Talker(self.deployment, every_s=1.0)
            base = Hand(self.deployment, "base", "primary").enter()
            base.send(Say("held by primary"))
            self.deployment.run(2)
            self.assertEqual((talker.chat.server, len(talker.kept), talker.sent), ("primary", 0, 3))
            self.assertIn("waiting for 1 more", base.last(Said).content)
            self.node("primary").host.crash()
            self.deployment.run(2)
            self.assertEqual((talker.chat.server, talker.kept), ("secondary", []))
            self.assertFalse(base.open)
            for number in (1, 2):
                self.assertEqual(self.deployment.chronicle.last("MainHall"), 0)
                Hand(self.deployment, f"more{number}", "secondary").hello()
            self.deployment.run(1)
            self.assertEqual(len(talker.kept), talker.sent)
            places = [sent.index for _, sent in talker.kept]  # type: ignore[attr-defined]
            self.assertEqual(places, [*range(1, talker.sent + 1)])
            self.node("primary").host.boot()
            self.deployment.run_until_paired()
            # It has begun on both, and for good.
            base = Hand(self.deployment, "base", "primary").enter()
            base.send(Say("at once"))
            self.deployment.run(0.5)
            self.assertIn("at once", [said.content for said in base.all(Said)])
            self.heal(talker)

    def test_clients_of_both_nodes_make_enough(self) -> None:
        """All the same who is served where, and in which order the nodes hear that it has begun."""
        for seed in range(20):
            self.deploy(seed=seed, clients_min=4)
            hands = [Hand(self.deployment, f"client{n}", server) for n, server in enumerate(PAIR_OF_EACH)]
            connections = []
            for hand in hands:
                connections.append(hand.hello())
                for number in range(5):
                    connections[-1].send(say(f"{hand.name}-{number}"))
                if len(connections) < len(hands):
                    self.deployment.run(0.3)
                    self.assertEqual(self.deployment.chronicle.last("MainHall"), 0)
            self.deployment.run(1)
            views = [[said.id for said in connection.all(SaidExtended)] for connection in connections]
            for hand, connection, view in zip(hands, connections, views, strict=True):
                self.assertEqual(view, views[0])
                self.assertEqual(len(connection.all(Ack)), 5)
                own = [id for id in view if id.startswith(hand.name)]
                self.assertEqual(own, [f"{hand.name}-{number}" for number in range(5)])
                self.assertEqual([notice.code for notice in connection.all(Notice)][-1], "begun")
            self.deployment.check_archives()

    def test_client_moving_back_and_forth(self) -> None:
        """A session goes on at whichever node its client comes to, with nothing left out and nothing twice."""
        self.deploy()
        watcher = Hand(self.deployment, "watcher").hello()
        hand = Hand(self.deployment, "client")
        connection = hand.hello(identity="adel")
        heard: list[int] = []
        for number, server in enumerate(("secondary", "primary", "secondary", "primary"), 1):
            connection.send(say(f"{number}"))
            self.deployment.run(0.5)
            heard += connection.indexes
            hand.server = server
            before, connection = connection, hand.hello(connection.token, resume=(("MainHall", number + 1),))
            self.assertEqual(connection.token, before.token)
            self.assertFalse(before.open)
        self.assertEqual(heard, [1, 2, 3, 4])
        self.assertEqual([change.identity for change in watcher.all(RoomChange) if change.roomid == ""], [])
        self.deployment.check_archives()
