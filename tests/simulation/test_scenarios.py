"""Stories told by hand: what the storm draws from a seed, one at a time and with its middle looked at."""

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat import hearing
from chatproto.chat.messages import (
    Ack,
    CreateRoom,
    Delete,
    Error,
    Gap,
    Hello,
    IdentityChange,
    Join,
    JoinExtended,
    List,
    NewIdentity,
    Notice,
    Resume,
    RoomChange,
    RoomContents,
    RoomList,
    Said,
    SaidExtended,
    Say,
    SayExtended,
    Status,
    StatusAsked,
    Welcome,
    Who,
)
from chatproto.chat.protocol import ClientLink
from chatproto.client import ChatClient
from chatproto.log import single
from chatproto.services import NodeSettings, Retention
from chatproto.testing import SimDeployment, SimNode, node_settings
from tests.simulation.hand import Connection, Hand, say

SEEDS = range(20)
KEEP_ALL = Retention()


class ScenarioTests(SynchronousTestCase):
    def deploy(self, seed: int = 0, retain: Retention = KEEP_ALL, **chat: object) -> SimDeployment:
        chosen = node_settings("primary", **chat)
        settings = NodeSettings(chosen.data, chosen.listen, chosen.chat, retain)
        self.deployment = SimDeployment(seed, {"primary": settings})
        self.addCleanup(self.deployment.check_archives)
        return self.deployment

    @property
    def node(self) -> SimNode:
        return self.deployment.nodes["primary"]

    def hand(self, name: str) -> Hand:
        return Hand(self.deployment, name)

    def talk(self, connection: Connection, count: int, content: str = "") -> None:
        """Have a client say so much, and see it acknowledged."""
        before = len(connection.all(Ack))
        connection.send(*[say(f"{self.hand_name(connection)}-{before + at}", content) for at in range(count)])
        self.deployment.run_until(lambda: len(connection.all(Ack)) == before + count, 5)

    def hand_name(self, connection: Connection) -> str:
        return connection.token[:8]

    def restart(self) -> None:
        self.node.host.crash()
        self.deployment.run(0.5)
        self.node.host.boot()
        self.deployment.run(0.5)

    # Storing and speaking

    def test_crash_between_commit_and_acknowledgement(self) -> None:
        """What is durable when the process dies is there after it; the retry gets its place, and adds nothing."""
        for seed in SEEDS:
            deployment = self.deploy(seed)
            client = self.hand("client")
            connection = client.hello()
            connection.send(say("one"))
            deployment.run_until(lambda: self.deployment.chronicle.said("one"), 5)
            self.node.host.crash()
            deployment.run(1)
            self.assertFalse(connection.open)
            self.assertEqual(connection.all(Ack), [])
            self.node.host.boot()
            again = client.hello(connection.token, resume=(("MainHall", 1),))
            self.assertEqual(again.token, connection.token)
            self.assertEqual(again.indexes, [1])
            again.send(say("one"))
            deployment.run(0.5)
            self.assertEqual(again.all(Ack), [Ack("one", "MainHall", 1, 1, 1)])
            self.assertEqual(deployment.chronicle.last("MainHall"), 1)

    def test_crash_during_commit(self) -> None:
        """A commit that the process did not live to see has happened or not; in either case the retry is there once."""
        kept = 0
        for seed in SEEDS:
            deployment = self.deploy(seed)
            client = self.hand("client")
            connection = client.hello()
            self.node.host.disk.slow((0.2, 0.2))
            connection.send(say("one"))
            deployment.run(0.1)
            self.assertEqual(deployment.chronicle.said("one"), [])
            self.node.host.crash()
            deployment.run(0.5)
            kept += len(deployment.chronicle.said("one"))
            self.node.host.disk.mend()
            self.node.host.boot()
            again = client.hello(connection.token, resume=(("MainHall", 1),))
            again.send(say("one"), say("two"))
            deployment.run(0.5)
            self.assertEqual({ack.id: ack.index for ack in again.all(Ack)}, {"one": 1, "two": 2})
            self.assertEqual(again.indexes, [1, 2])
            self.assertEqual(deployment.chronicle.last("MainHall"), 2)
        self.assertTrue(0 < kept < len(SEEDS), kept)

    def test_full_disk(self) -> None:
        """A process whose disk is full says so and ends; it acknowledges nothing, and nothing is lost."""
        deployment = self.deploy()
        client = self.hand("client")
        connection = client.hello()
        self.talk(connection, 3)
        self.node.host.disk.fill()
        connection.send(say("one"))
        deployment.run(1)
        self.assertFalse(self.node.host.alive)
        self.assertEqual(self.node.last_words, ["cannot write primary: database or disk is full"])
        self.assertFalse(connection.open)
        self.assertNotIn("one", [ack.id for ack in connection.all(Ack)])
        # As long as there is no room, it cannot even say who has gone.
        self.node.host.boot()
        deployment.run(10)
        self.assertFalse(self.node.host.alive)
        self.node.host.disk.mend()
        self.node.host.boot()
        again = client.hello(connection.token, resume=(("MainHall", 4),))
        again.send(say("one"))
        deployment.run(0.5)
        self.assertEqual(again.last(Ack).index, 4)

    def test_failing_disk(self) -> None:
        """After a failed fsync nothing more is acknowledged or written, whether or not the disk kept it."""
        kept = 0
        for seed in SEEDS:
            deployment = self.deploy(seed)
            connection = self.hand("client").hello()
            self.node.host.disk.fail()
            connection.send(say("one"))
            deployment.run(0.002)
            connection.send(say("two"))
            deployment.run(1)
            self.assertFalse(self.node.host.alive)
            self.assertEqual(self.node.last_words, ["cannot write primary: disk I/O error"])
            self.assertEqual(connection.all(Ack), [])
            kept += len(deployment.chronicle.said("one"))
        self.assertTrue(0 < kept < len(SEEDS), kept)

    # Sessions

    def test_half_open_within_the_grace(self) -> None:
        """A client that was cut off and is back within the grace: nobody saw it leave, and it missed nothing."""
        deployment = self.deploy(session_grace_s=10.0)
        away, witness = self.hand("away"), self.hand("witness")
        connection = away.hello(identity="adel")
        other = witness.hello()
        self.talk(other, 2)
        heard = len(other.heard)
        deployment.network.cut("away", "primary")
        self.talk(other, 5)
        deployment.run(6)
        # The node has given the connection up, and the client knows nothing of it.
        self.assertTrue(connection.open)
        self.assertEqual(connection.indexes, [1, 2])
        self.assertIsNone(next(seat for seat in self.node.server.seats.values() if seat.token == connection.token).link)
        deployment.network.heal("away", "primary")
        again = away.hello(connection.token, resume=(("MainHall", 3),))
        deployment.run(20)
        self.assertEqual(again.last(Welcome).identity, "adel")
        self.assertEqual(again.indexes, [3, 4, 5, 6, 7])
        self.assertEqual([line for line in other.heard[heard:] if isinstance(line, RoomChange | NewIdentity)], [])
        # The old connection finds out that it is none as soon as it is used.
        connection.send(List())
        deployment.run(1)
        self.assertFalse(connection.open)

    def test_half_open_beyond_the_grace(self) -> None:
        """A client that is cut off for longer is said to have left; it comes back to a new session, with no hole."""
        deployment = self.deploy(session_grace_s=2.0)
        away, witness = self.hand("away"), self.hand("witness")
        connection = away.hello(identity="adel")
        other = witness.hello()
        deployment.network.cut("away", "primary")
        self.talk(other, 5)
        deployment.run(10)
        self.assertEqual(other.last(RoomChange), RoomChange("adel", "MainHall", ""))
        deployment.network.heal("away", "primary")
        again = away.hello(connection.token, resume=(("MainHall", 1),), identity="adel")
        self.assertEqual(again.last(Notice).code, "session-unknown")
        self.assertNotEqual(again.token, connection.token)
        self.assertEqual(again.last(Welcome).identity, "adel")
        self.assertEqual(again.indexes, [1, 2, 3, 4, 5])

    def test_taken_over_by_a_newer_connection(self) -> None:
        """The newer connection has the session, and every message; the older is told, and closed."""
        for seed in SEEDS:
            deployment = self.deploy(seed)
            client, witness = self.hand("client"), self.hand("witness")
            older = client.hello()
            other = witness.hello()
            self.talk(older, 3)
            heard = len(other.heard)
            # The acknowledgement goes to whichever connection there is when the commit is through.
            older.send(say("late"))
            newer = client.hello(older.token, resume=(("MainHall", 4),))
            self.talk(other, 2)
            deployment.run(1)
            self.assertEqual(older.last(Error).code, "session-moved")
            self.assertFalse(older.open)
            self.assertEqual((older.indexes + newer.indexes)[-3:], [4, 5, 6])
            self.assertEqual([ack.index for ack in older.all(Ack) + newer.all(Ack) if ack.id == "late"], [4])
            newer.send(say("here"))
            deployment.run(1)
            self.assertEqual(newer.last(Ack).id, "here")
            self.assertEqual([line for line in other.heard[heard:] if isinstance(line, RoomChange)], [])

    # Restarts

    def test_owner_comes_back_after_a_crash(self) -> None:
        """A crash takes no room from its owner: who says the name has it again; nobody gets the name by chance."""
        deployment = self.deploy()
        owner = self.hand("owner").enter()
        owner.send(CreateRoom("jokes"), Join("jokes"), Say("one"))
        deployment.run(0.5)
        self.assertEqual(owner.all(NewIdentity)[0].identity, "guest1")
        self.restart()
        self.assertFalse(owner.open)
        self.assertEqual(self.node.server.hall.contents("jokes"), RoomContents("jokes", [], "guest1"))
        stranger = self.hand("stranger").enter()
        self.assertEqual(stranger.all(NewIdentity)[0].identity, "guest2")
        stranger.send(Delete("jokes"))
        deployment.run(0.5)
        self.assertIn("jokes", self.node.server.hall.rooms)
        again = self.hand("owner").enter()
        again.send(IdentityChange("guest1"), Join("jokes"), Who("jokes"))
        deployment.run(0.5)
        self.assertEqual(again.last(RoomContents), RoomContents("jokes", ["guest1"], "guest1"))
        self.assertEqual(deployment.chronicle.last("jokes"), 1)
        again.send(Delete("jokes"))
        deployment.run(0.5)
        self.assertNotIn("jokes", self.node.server.hall.rooms)

    def test_owner_who_leaves_loses_the_room(self) -> None:
        """Without a crash the room of an owner who leaves belongs to nobody, and ends with its last member."""
        deployment = self.deploy()
        owner = self.hand("owner").enter()
        member = self.hand("member").enter()
        owner.send(CreateRoom("jokes"), Join("jokes"))
        deployment.run(0.5)
        member.send(Join("jokes"))
        deployment.run(0.5)
        owner.transport.loseConnection()
        deployment.run(0.5)
        self.assertEqual(self.node.server.hall.contents("jokes").owner, "")
        member.send(Join("MainHall"), List())
        deployment.run(0.5)
        self.assertEqual([room.roomid for room in member.last(RoomList).rooms], ["MainHall"])

    def test_ownerless_room_waits_for_members_lost_in_a_crash(self) -> None:
        """An ownerless room is not ended by the crash of the server; it ends with the next one who leaves it."""
        deployment = self.deploy()
        owner = self.hand("owner").enter()
        member = self.hand("member").enter()
        owner.send(CreateRoom("jokes"))
        deployment.run(0.5)
        member.send(Join("jokes"), Say("one"))
        owner.transport.loseConnection()
        deployment.run(0.5)
        self.restart()
        self.assertEqual(self.node.server.hall.contents("jokes"), RoomContents("jokes", [], ""))
        again = self.hand("member").enter()
        again.send(Join("jokes"))
        deployment.run(0.5)
        self.assertEqual(again.heard[-1].content, "one")  # type: ignore[attr-defined]
        again.send(Join("MainHall"))
        deployment.run(0.5)
        self.assertNotIn("jokes", self.node.server.hall.rooms)

    def test_polite_stop(self) -> None:
        """A node that is stopped says so; sessions and owners are there again when it is."""
        deployment = self.deploy()
        client = self.hand("client")
        connection = client.hello(identity="adel")
        connection.send(CreateRoom("jokes"), JoinExtended("jokes"), say("one"))
        deployment.run(0.5)
        stopped = self.node.stop()
        deployment.run(2)
        self.assertFalse(self.node.host.alive)
        self.assertTrue(stopped.called)
        self.assertEqual(connection.last(Notice).code, "shutting-down")
        self.assertEqual(connection.last(Ack).id, "one")
        self.node.host.boot()
        again = client.hello(connection.token, resume=(("jokes", 1),))
        self.assertEqual(again.token, connection.token)
        self.assertEqual(again.indexes, [1])
        self.assertEqual(again.all(RoomContents), [RoomContents("jokes", ["adel"], "adel")])

    def test_polite_stop_of_an_owner_who_is_a_base_client(self) -> None:
        """It is the node that goes away: the room keeps its owner's name."""
        deployment = self.deploy()
        owner = self.hand("owner").enter()
        owner.send(CreateRoom("jokes"))
        deployment.run(0.5)
        self.node.stop()
        deployment.run(2)
        self.node.host.boot()
        deployment.run(0.5)
        self.assertEqual(self.node.server.hall.contents("jokes"), RoomContents("jokes", [], "guest1"))

    def test_crash_after_a_snapshot(self) -> None:
        """After a restart from a snapshot all is as it was: hall, positions, ids; and no act before it is needed."""
        with patch.object(single, "SNAPSHOT_ENTRIES", 10):
            deployment = self.deploy()
            client = self.hand("client")
            connection = client.hello(identity="adel")
            connection.send(CreateRoom("jokes"), JoinExtended("jokes"), CreateRoom("empty"))
            deployment.run(0.5)
            self.talk(connection, 25)
            deployment.run(1)
            durable = self.node.durable()
            self.assertEqual([run for run in durable if run.kind == "act"], [])
            self.assertGreater(deployment.chronicle.position, 25)
            before = self.node.server.hall.snapshot()
            self.restart()
            self.assertEqual(self.node.server.hall.snapshot(), before)
            again = client.hello(connection.token, resume=(("jokes", 20),))
            self.assertEqual(again.indexes, [20, 21, 22, 23, 24, 25])
            first = connection.all(Ack)[0]
            again.send(say(first.id), say("new"))
            deployment.run(0.5)
            self.assertIn(first, again.all(Ack))
            self.assertEqual(again.last(SaidExtended).index, 26)
            self.assertEqual(deployment.chronicle.last("jokes"), 26)

    # Archives

    def test_slow_reader(self) -> None:
        """Who does not read is told so and closed before its backlog grows further; resumed, it gets all the rest."""
        deployment = self.deploy(backlog_bytes_max=20_000)
        slow, other = self.hand("slow"), self.hand("other")
        connection = slow.hello()
        speaker = other.hello()
        slow.host.pause()
        for _ in range(40):
            self.talk(speaker, 10, "x" * 400)
        (seat,) = (seat for seat in self.node.server.seats.values() if seat.token == connection.token)
        assert isinstance(seat.link, ClientLink)
        self.assertFalse(seat.link.open)
        self.assertLess(seat.link.backlog_bytes, 30_000)
        slow.host.resume()
        deployment.run(2)
        self.assertEqual(connection.heard[-1], connection.last(Error))
        self.assertEqual(connection.last(Error).code, "backlog")
        self.assertFalse(connection.open)
        got = connection.indexes
        self.assertEqual(got, list(range(1, len(got) + 1)))
        self.assertLess(len(got), 400)
        again = slow.hello(connection.token, resume=(("MainHall", len(got) + 1),))
        deployment.run(5)
        self.assertEqual(again.token, connection.token)
        self.assertEqual(got + again.indexes, list(range(1, 401)))
        again.send(StatusAsked())
        deployment.run(1)
        self.assertEqual((again.last(Status).archived, again.last(Status).transferred), (400, 400))

    def test_gap_after_retention(self) -> None:
        """Who was away while retention dropped messages is told which, and gets the others."""
        deployment = self.deploy(retain=Retention(count=10), session_grace_s=1000.0)
        away, other = self.hand("away"), self.hand("other")
        connection = away.hello()
        speaker = other.hello()
        self.talk(speaker, 5)
        deployment.run(0.1)
        away.host.crash()
        for _ in range(30):
            self.talk(speaker, 1)
        deployment.run(120)
        self.assertEqual(self.node.server.hall.rooms["MainHall"].first, 26)
        self.assertEqual([run.position for run in self.node.durable() if run.position], list(range(26, 36)))
        away.host.boot()
        again = away.hello(connection.token, resume=(("MainHall", 6),))
        self.assertEqual(again.all(Gap), [Gap("MainHall", 6, 25, "retention")])
        self.assertEqual(again.indexes, list(range(26, 36)))
        # What was acknowledged and is dropped is not said again.
        first = speaker.all(Ack)[0].id
        speaker.send(say(first))
        deployment.run(0.5)
        self.assertEqual(speaker.last(Error).code, "forgotten")
        self.assertEqual(deployment.chronicle.last("MainHall"), 35)

    def test_gap_after_deletion(self) -> None:
        """A room made again under its name goes on numbering; what the deleted one had will not come."""
        deployment = self.deploy()
        connection = self.hand("client").hello()
        connection.send(CreateRoom("jokes"), JoinExtended("jokes"), say("one"), say("two"), Delete("jokes"))
        connection.send(CreateRoom("jokes"), JoinExtended("jokes", index=2), say("three"))
        deployment.run(1)
        self.assertEqual(connection.all(Gap), [Gap("jokes", 2, 2, "deleted")])
        self.assertEqual(connection.last(SaidExtended).index, 3)

    def test_returning_while_others_talk(self) -> None:
        """Whoever returns to a busy room is brought up page by page, and hears everything once and in order."""
        with patch.object(hearing, "PEEK_BYTES", 300), patch.object(hearing, "FEED_BYTES", 300):
            fed = 0
            for seed in SEEDS:
                deployment = self.deploy(seed)
                client, other = self.hand("client"), self.hand("other")
                connection = client.hello()
                speaker = other.hello()
                connection.transport.abortConnection()
                self.talk(speaker, 50)
                self.node.host.disk.slow((0.005, 0.05))
                again = client.dial()
                again.send(Hello(1, session=connection.token, resume=[Resume("MainHall", 1)]))
                for _ in range(20):
                    self.talk(speaker, 1)
                    (seat,) = (seat for seat in self.node.server.seats.values() if seat.session.key.endswith(".1"))
                    fed += bool(seat.feeds)
                deployment.run(5)
                self.assertEqual(again.indexes, list(range(1, 71)))
            self.assertGreater(fed, 2 * len(SEEDS), "what is said while it is brought up")

    def test_entering_while_others_talk(self) -> None:
        """What is said in one commit with somebody's coming is heard as it goes, not from the archive as well."""
        deployment = self.deploy()
        speaker = self.hand("speaker").hello()
        newcomer, base = self.hand("newcomer").hello(), self.hand("base").enter()
        speaker.send(CreateRoom("jokes"), JoinExtended("jokes"), say("one"))
        deployment.run(0.5)
        self.node.host.disk.slow((0.1, 0.1))
        speaker.send(say("two"))
        deployment.run(0.05)
        newcomer.send(JoinExtended("jokes"))
        base.send(Join("jokes"))
        deployment.run(0.02)
        speaker.send(say("three"), say("four"))
        deployment.run(1)
        runs = [run for run in self.node.durable() if run.room == "jokes"]
        self.assertEqual([(run.position, len(run.ids)) for run in runs], [(1, 1), (2, 1), (3, 2)])
        self.assertEqual(newcomer.indexes, [1, 2, 3, 4])
        self.assertEqual([said.content for said in base.all(Said)], ["one", "two", "three", "four"])

    # Found by storms

    def test_run_cut_by_a_reading(self) -> None:
        """Seed 11: of a run that was cut because it did not fit, the rest comes before the run after it."""
        with patch.object(hearing, "PEEK_BYTES", 300), patch.object(hearing, "FEED_BYTES", 300):
            deployment = self.deploy()
            speaker = self.hand("speaker").hello()
            speaker.send(say("one"), say("two", "y" * 150))
            deployment.run(0.1)
            speaker.send(say("three"))
            deployment.run(0.1)
            self.assertEqual([len(run.ids) for run in self.node.durable() if run.position], [2, 1])
            newcomer = self.hand("newcomer").hello()
            deployment.run(1)
            self.assertEqual(newcomer.indexes, [1, 2, 3])
            self.assertEqual(newcomer.all(Gap), [])

    def test_more_repeated_than_may_be_in_flight(self) -> None:
        """Seed 137: who repeats more than may be under way is answered, and then read again."""
        deployment = self.deploy(in_flight_max=4)
        client = self.hand("client")
        connection = client.hello()
        self.talk(connection, 20)
        ids = [ack.id for ack in connection.all(Ack)]
        again = client.hello(connection.token, resume=(("MainHall", 21),))
        again.send(*[SayExtended(id, id) for id in ids])
        deployment.run(1)
        again.send(say("new"))
        deployment.run(1)
        self.assertEqual([ack.index for ack in again.all(Ack)], list(range(1, 22)))

    def test_client_meets_its_own_ghost(self) -> None:
        """Seed 2711: a server that stood still reads a client's new connection, and the one that it gave up."""
        haunted = 0
        for seed in range(60):
            deployment = self.deploy(seed)
            world = self.hand("client").host.world()
            endpoints = [world.client("tcp:primary:4444:timeout=2")]
            client = ChatClient(world.clock, endpoints, dice=world.dice, welcome_s_max=1.0, retry_max_s=0.3)
            client.startService()
            deployment.run(1)
            session = client.session
            self.node.host.pause()
            deployment.network.reset_all()
            deployment.run(1.8)
            self.node.host.resume()
            said = client.send("one")
            deployment.run(5)
            self.assertEqual((client.state, client.session), ("online", session), seed)
            self.assertEqual(self.successResultOf(said).index, 1)
            haunted += sum(b'"act":"attach"' in record.line for record in deployment.chronicle.records) > 1
        self.assertGreater(haunted, 0, "both connections were read, and asked for the session")
