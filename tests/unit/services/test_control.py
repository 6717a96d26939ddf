"""Tests for chatproto.services.control: an operator's commands, what comes of them, and where they are taken."""

import os
import random
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import MigrationFailed
from chatproto.pair.configuration import Configuration
from chatproto.pair.states import LEADING, Role
from chatproto.reloading import Reloading
from chatproto.services.control import (
    COMMANDS_WAITING_MAX,
    LOOK_EVERY_S,
    SWITCHOVER_S_MAX,
    ChatControl,
    ControlLink,
)
from chatproto.world import World
from tests.unit.services.test_listener import FakeEndpoint, FakePort

MEMBERS = ("east", "west")
REDUNDANCY = {Role.LEADER_SOLO: "alone", Role.ISOLATED: "isolated"}


class FakeReplica:
    def __init__(self) -> None:
        self.role = Role.LEADER_PAIR
        self.configuration: Configuration | None = Configuration(3, "east", MEMBERS)

    @property
    def leads(self) -> bool:
        return self.role in LEADING


class FakePair:
    """A node's log in a pair, as far as an operator has to do with it."""

    def __init__(self) -> None:
        self.settings = SimpleNamespace(name="east")
        self.replica = FakeReplica()
        self.asked = 0
        self.willing = self.certain = True

    @property
    def redundancy(self) -> str:
        return REDUNDANCY.get(self.replica.role, "paired")

    def hand_over(self) -> bool:
        self.asked += 1
        if self.willing:
            self.replica.role = Role.HANDING
        return self.willing


class ControlTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.port = FakePort()
        self.listening: Any = succeed(self.port)
        self.described: list[str] = []
        self.path = self.mktemp()
        self.stopped: list[float] = []
        self.reloading = Reloading()

    def drain(self) -> "Deferred[str]":
        self.drains += 1
        return self.drained

    def make(self, pair: FakePair | None) -> ChatControl:
        def endpoint(description: str) -> FakeEndpoint:
            self.described.append(description)
            self.endpoint = FakeEndpoint(self.listening)
            return self.endpoint

        world = World(
            clock=self.clock,  # type: ignore[arg-type]
            now=self.clock.seconds,
            dice=random.Random(1),
            server=endpoint,  # type: ignore[arg-type,return-value]
            client=lambda description: None,  # type: ignore[arg-type,return-value]
            store=lambda directory, failed: None,  # type: ignore[arg-type,return-value]
            fatal=self.fail,
            secret=str,
            stop=lambda: self.stopped.append(self.clock.seconds()),
            reloading=self.reloading,
        )
        server: Any = SimpleNamespace(seats={"one": 1, "two": 2}, log=SimpleNamespace(position=7))
        self.drained: Deferred[str] = Deferred()
        self.drains = 0
        drain: Any = SimpleNamespace(run=self.drain)
        control = ChatControl(world, self.path, server, pair, drain)  # type: ignore[arg-type]
        self.addCleanup(lambda: control.running and control.stopService())
        return control

    def operator(self, pair: FakePair | None) -> tuple[ControlLink, StringTransport]:
        """Let an operator in to a service that runs."""
        self.control = self.make(pair)
        self.control.startService()
        return self.again()

    def again(self) -> tuple[ControlLink, StringTransport]:
        link = self.endpoint.factories[0].buildProtocol(None)
        transport = StringTransport()
        link.makeConnection(transport)
        return link, transport


class CommittedTests(ControlTestCase):
    def ask(self, pair: FakePair | None) -> bytes:
        link, transport = self.operator(pair)
        link.dataReceived(b"committed\n")
        return transport.value()

    def test_a_node_alone_knows(self) -> None:
        self.assertEqual(self.ask(None), b"done: 7\n")

    def test_one_of_two_knows_once_it_has_heard(self) -> None:
        pair = FakePair()
        self.assertEqual(self.ask(pair), b"done: 7\n")
        pair.certain = False
        link, transport = self.again()
        link.dataReceived(b"committed\n")
        self.assertTrue(transport.value().startswith(b"refused: this node does not know yet"))


class ReloadTests(ControlTestCase):
    def test_what_could_not_be_changed_is_said(self) -> None:
        link, transport = self.operator(None)
        self.reloading.add("options", lambda: ["--listen takes a restart", "--peer takes a restart"])
        link.dataReceived(b"reload\n")
        self.assertEqual(
            transport.value(),
            b"not changed: options: --listen takes a restart\nnot changed: options: --peer takes a restart\n"
            b"refused: not all of it could be changed\n",
        )

    def test_all_was_changed(self) -> None:
        link, transport = self.operator(None)
        link.dataReceived(b"reload\n")
        self.assertEqual(transport.value(), b"done: read again\n")


class SwitchoverTests(ControlTestCase):
    def ask(self, pair: FakePair | None) -> StringTransport:
        link, transport = self.operator(pair)
        link.dataReceived(b"switchover\n")
        return transport

    def check_refused(self, pair: FakePair | None, why: str) -> None:
        transport = self.ask(pair)
        self.assertEqual(transport.value(), f"refused: {why}\n".encode())
        self.assertEqual(self.clock.getDelayedCalls(), [], "nothing is waited for")

    def test_it_is_done_when_the_other_leads(self) -> None:
        pair = FakePair()
        transport = self.ask(pair)
        self.assertEqual(transport.value(), b"")
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(transport.value(), b"", "not before it is so")
        pair.replica.role, pair.replica.configuration = Role.FOLLOWER, Configuration(4, "west", MEMBERS)
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(
            transport.value(),
            b"done: west leads since epoch 4; it took 20 ms, in which messages waited and none was refused; "
            b"2 clients of this node stay connected\n",
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_node_alone(self) -> None:
        self.check_refused(None, "this node is alone; a switchover needs a pair")

    def test_on_the_follower(self) -> None:
        pair = FakePair()
        pair.replica.role, pair.replica.configuration = Role.FOLLOWER, Configuration(3, "west", MEMBERS)
        self.check_refused(pair, "west leads, so it is there that leadership can be handed over")
        self.assertEqual(pair.asked, 0)

    def test_before_there_is_a_configuration(self) -> None:
        pair = FakePair()
        pair.replica.role, pair.replica.configuration = Role.BOOT, None
        self.check_refused(pair, "nobody leads, so it is there that leadership can be handed over")

    def test_while_the_other_is_away(self) -> None:
        pair = FakePair()
        pair.replica.role = Role.LEADER_SOLO
        self.check_refused(pair, "the pair is alone; leadership is handed over only while it is paired")

    def test_while_the_registry_is_away(self) -> None:
        pair = FakePair()
        pair.willing = False
        self.check_refused(
            pair, "another change is under way, or the registry is not reached; look at the log, or try again"
        )

    def test_it_is_given_up(self) -> None:
        for role in (Role.LEADER_PAIR, Role.LEADER_SOLO):
            pair = FakePair()
            transport = self.ask(pair)
            pair.replica.role = role
            self.clock.advance(LOOK_EVERY_S)
            self.assertIn(b"refused: the handover was given up", transport.value())

    def test_cut_off_meanwhile_it_is_not_done(self) -> None:
        """An isolated node does not lead; but nobody else does, for all it knows."""
        pair = FakePair()
        transport = self.ask(pair)
        pair.replica.role = Role.ISOLATED
        self.clock.advance(LOOK_EVERY_S)
        self.assertTrue(transport.value().startswith(b"refused: "), transport.value())

    def test_it_is_not_waited_for_for_ever(self) -> None:
        transport = self.ask(FakePair())
        self.clock.pump([LOOK_EVERY_S] * round(SWITCHOVER_S_MAX / LOOK_EVERY_S + 2))
        self.assertIn(b"refused: ", transport.value())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_of_two_operators_at_once_the_second_is_served_after_the_first(self) -> None:
        """What it asks for is judged by how things are then."""
        pair = FakePair()
        first = self.ask(pair)
        link, second = self.again()
        link.dataReceived(b"switchover\n")
        self.assertEqual((first.value(), second.value(), pair.asked), (b"", b"", 1))
        pair.replica.role, pair.replica.configuration = Role.FOLLOWER, Configuration(4, "west", MEMBERS)
        self.clock.advance(LOOK_EVERY_S)
        self.assertTrue(first.value().startswith(b"done: west leads"))
        self.assertTrue(second.value().startswith(b"refused: west leads"))

    def test_not_too_many_wait(self) -> None:
        link, transport = self.operator(FakePair())
        link.dataReceived(b"switchover\n" * (COMMANDS_WAITING_MAX + 1))
        self.assertEqual(transport.value(), b"")
        link.dataReceived(b"switchover\n")
        self.assertEqual(transport.value(), b"refused: as many requests wait as may: ask again later\n")

    def test_a_command_that_fails_is_refused(self) -> None:
        """And logged; those after it are taken."""
        pair = FakePair()
        link, transport = self.operator(pair)
        self.patch(pair, "hand_over", lambda: 1 // 0)
        link.dataReceived(b"switchover\n")
        self.assertEqual(transport.value(), b"refused: the server could not do it; its log says why\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        transport.clear()
        pair.replica.role = Role.LEADER_SOLO
        link.dataReceived(b"switchover\n")
        self.assertIn(b"refused: the pair is alone", transport.value())

    def test_an_operator_who_has_gone_is_told_nothing(self) -> None:
        pair = FakePair()
        link, transport = self.operator(pair)
        link.dataReceived(b"switchover\n")
        link.connected = 0
        pair.replica.role, pair.replica.configuration = Role.FOLLOWER, Configuration(4, "west", MEMBERS)
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(transport.value(), b"")

    def test_nothing_is_waited_for_once_it_stops(self) -> None:
        """And whoever waits is told."""
        transport = self.ask(FakePair())
        self.control.stopService()
        self.assertEqual(transport.value(), b"refused: the server takes no more requests\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DrainTests(ControlTestCase):
    def test_it_is_told_what_clients_saw_and_then_the_node_stops(self) -> None:
        link, transport = self.operator(None)
        link.dataReceived(b"drain\n")
        self.assertEqual((self.drains, transport.value(), self.stopped), (1, b"", []), "not before it is over")
        self.drained.callback("2 clients went")
        self.assertEqual(transport.value(), b"done: 2 clients went\n")
        self.assertEqual(self.stopped, [0.0])

    def test_the_node_stops_although_nobody_listens_any_more(self) -> None:
        link, transport = self.operator(None)
        link.dataReceived(b"drain\n")
        link.connected = 0
        self.drained.callback("2 clients went")
        self.assertEqual((transport.value(), self.stopped), (b"", [0.0]))

    def test_a_failure_is_logged(self) -> None:
        link, _ = self.operator(None)
        link.dataReceived(b"drain\n")
        self.drained.errback(ValueError("it broke"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class FakeMigration:
    """`moving` is how a migration goes; `asked` has whom it was asked for to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.moving: Deferred[Any] = Deferred()

    def migrate(self, to: str = "") -> "Deferred[Any]":
        self.asked.append(to)
        return self.moving


class MigrateTests(ControlTestCase):
    def ask(self, line: bytes) -> StringTransport:
        link, transport = self.operator(FakePair())
        migration: Any = FakeMigration()
        self.control.migration = self.migration = migration
        link.dataReceived(line + b"\n")
        return transport

    def test_what_came_of_it_is_said_when_it_has(self) -> None:
        transport = self.ask(b"migrate")
        self.assertEqual((self.migration.asked, transport.value()), ([""], b""))
        self.migration.moving.callback("north leads")
        self.assertEqual(transport.value(), b"done: north leads\n")

    def test_to_a_node_that_is_named(self) -> None:
        self.ask(b" migrate  north ")
        self.assertEqual(self.migration.asked, ["north"])

    def test_a_refusal_says_why(self) -> None:
        transport = self.ask(b"migrate")
        self.migration.moving.errback(MigrationFailed("nobody stands by"))
        self.assertEqual(transport.value(), b"refused: nobody stands by\n")

    def test_a_server_that_cannot_be_moved_says_what_it_takes(self) -> None:
        link, transport = self.operator(None)
        link.dataReceived(b"migrate north\n")
        self.assertIn(b"refused: this server cannot be moved", transport.value())
        self.assertIn(b"--registry", transport.value())

    def test_a_mistake_of_ours_is_logged(self) -> None:
        self.ask(b"migrate")
        self.migration.moving.errback(ValueError("it broke"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class LinkTests(ControlTestCase):
    def test_what_is_no_command_is_refused_with_those_there_are(self) -> None:
        for line in (b"", b"halt", b"SWITCHOVER", b"switchover now", b"\xff\x00"):
            link, transport = self.operator(FakePair())
            link.dataReceived(line + b"\n")
            known = b"accounts, bans, committed, decree, drain, migrate, reload, switchover"
            self.assertEqual(transport.value(), b"refused: the commands are %b\n" % known)

    def test_spaces_do_not_matter(self) -> None:
        link, transport = self.operator(None)
        link.dataReceived(b" switchover \r\n")
        self.assertIn(b"needs a pair", transport.value())

    def test_in_pieces_and_one_after_the_other(self) -> None:
        link, transport = self.operator(None)
        for byte in b"switchover\nhalt\n":
            link.dataReceived(bytes([byte]))
        first, second = transport.value().splitlines()
        self.assertIn(b"needs a pair", first)
        self.assertIn(b"the commands are", second)

    def test_a_line_without_an_end_ends_the_link(self) -> None:
        link, transport = self.operator(None)
        link.dataReceived(b"x" * 5000)
        self.assertTrue(transport.disconnecting)


class ServiceTests(ControlTestCase):
    def test_listens_while_it_runs_for_its_own_user_only(self) -> None:
        control = self.make(None)
        self.assertEqual(self.described, [])
        control.startService()
        self.assertEqual(self.described, [f"unix:{self.path}:mode=600"])
        stopping = control.stopService()
        assert stopping is not None
        self.assertNoResult(stopping)
        self.port.stopped[0].callback(None)
        self.successResultOf(stopping)

    def test_a_socket_that_was_left_behind_is_removed(self) -> None:
        with open(self.path, "w") as left:
            left.write("by a node that was killed")
        self.make(None).startService()
        self.assertFalse(os.path.exists(self.path))

    def test_a_path_with_colons(self) -> None:
        self.path = "/srv/chat:1/control"
        self.make(None).startService()
        self.assertEqual(self.described, ["unix:/srv/chat\\:1/control:mode=600"])

    def check_goes_on_without(self, why: str) -> None:
        with capturedLogs() as logged:
            control = self.make(None)
            control.startService()
        (event,) = (event for event in logged if event["log_level"] is LogLevel.warn)
        self.assertEqual((event["path"], event["reason"]), (self.path, why))
        self.assertIsNone(control.stopService())

    def test_a_node_goes_on_where_it_cannot_listen(self) -> None:
        self.listening = fail(CannotListenError("unix", self.path, OSError("too long")))
        self.check_goes_on_without(f"Couldn't listen on unix:{self.path}: too long.")

    def test_a_node_goes_on_where_what_is_there_cannot_be_removed(self) -> None:
        os.mkdir(self.path)
        self.check_goes_on_without(os.strerror(21))
        self.assertEqual(self.described, [])

    def test_an_endpoint_that_takes_its_time(self) -> None:
        self.listening = Deferred()
        control = self.make(None)
        control.startService()
        self.listening.callback(self.port)
        self.assertIs(control.stopService(), self.port.stopped[0])
