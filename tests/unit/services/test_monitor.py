"""Who the master of a chat service is, and when it lives."""

import random
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from chatproto.chat.inquiry import NotAnswered
from chatproto.chat.messages import Status, encode
from chatproto.chat.settings import ChatSettings
from chatproto.monitor import IAlive, IPlace, IStandIn
from chatproto.registry import Registration
from chatproto.services.monitor import (
    STANDS_IN_FOR,
    MonitorSettings,
    NoMaster,
    RegisteredMaster,
    build_monitor,
)
from chatproto.services.node import NodeSettings
from chatproto.world import World
from tests.unit.turns import TurnClock


def server(name: str, address: str = "east:4444", role: str = "leader", epoch: int = 1, **attributes: str) -> Any:
    return Registration("chat", name, "chat", address, role, epoch, 100, attributes)


class Transport(StringTransportWithDisconnection):
    """One whose abort is a loss, as that of a socket."""

    def abortConnection(self) -> None:
        self.loseConnection()


@implementer(IStreamClientEndpoint)
class Answers:
    """A node that says what a test says."""

    def __init__(self) -> None:
        self.said = b""
        self.transport: Any = None

    def connect(self, factory: Any) -> "Deferred[Any]":
        protocol = factory.buildProtocol(None)
        self.transport = Transport()
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        if self.said:
            protocol.dataReceived(self.said)
        return succeed(protocol)


def status(server: str, *, serving: bool = True) -> bytes:
    return encode(Status([], 0, 0, 1, "leader", "single", [], server=server, serving=serving))


class MasterTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.fatal: list[str] = []
        self.dialled: list[str] = []
        self.node = Answers()
        self.local: set[str] = set()

    def world(self) -> World:
        def client(description: str) -> Any:
            self.dialled.append(description)
            return self.node

        def udp(port: int, protocol: Any, host: str) -> Any:
            if host not in self.local:
                raise CannotListenError(host, port, OSError("not here"))
            return Port()

        class Port:
            def stopListening(self) -> None:
                """Stop at once."""

        return World(
            clock=TurnClock(),
            now=lambda: 0.0,
            dice=random.Random(1),
            server=lambda description: None,  # type: ignore[arg-type,return-value]
            client=client,
            store=lambda directory, failed: None,  # type: ignore[arg-type,return-value]
            fatal=self.fatal.append,
            secret=lambda directory: "",
            udp=udp,
        )

    def master(self, **how: Any) -> RegisteredMaster:
        node = NodeSettings("data", chat=ChatSettings("standin", ["west:4444"]))
        return RegisteredMaster(self.world(), MonitorSettings("tcp:registry:4646", "chat", node, **how))


class WhoTests(MasterTestCase):
    def known(self, master: RegisteredMaster) -> str:
        return master.registration.name if master.registration is not None else ""

    def test_whoever_leads(self) -> None:
        master = self.master()
        master.names_listed([server("a", role="follower"), server("b"), server("c", role="standby")])
        self.assertEqual(self.known(master), "b")
        master.name_registered(server("a", epoch=2))
        self.assertEqual(self.known(master), "a")
        master.name_registered(server("b", epoch=1))
        self.assertEqual(self.known(master), "a", "that one led before")

    def test_the_highest_epoch_of_several(self) -> None:
        master = self.master()
        master.names_listed([server("a", epoch=7), server("b", epoch=3)])
        self.assertEqual(self.known(master), "a")

    def test_one_by_its_name_whatever_it_is(self) -> None:
        master = self.master(master="b")
        master.names_listed([server("a"), server("b", role="follower")])
        self.assertEqual(self.known(master), "b")

    def test_one_that_begins_anew_with_a_lower_epoch(self) -> None:
        """Its data directory is another: it is the same server all the same."""
        master = self.master()
        master.name_registered(server("a", epoch=7))
        master.name_registered(server("a", "east:5555", epoch=1))
        assert master.registration is not None
        self.assertEqual(master.registration.address, "east:5555")

    def test_a_stand_in_is_no_master(self) -> None:
        master = self.master()
        master.name_registered(server("standin", epoch=9, **{STANDS_IN_FOR: "a"}))
        self.assertEqual(self.known(master), "")

    def test_one_without_an_address(self) -> None:
        master = self.master()
        master.name_registered(server("a", ""))
        self.assertEqual(self.known(master), "")

    def test_one_that_is_gone_is_asked_where_it_was(self) -> None:
        master = self.master()
        master.name_registered(server("a"))
        master.name_gone(server("a"))
        master.ask().addErrback(lambda _: None)
        self.assertEqual(self.dialled, ["tcp:east:4444"])

    def test_an_address_of_ipv6(self) -> None:
        master = self.master()
        master.name_registered(server("a", "[::2]:4444"))
        master.ask().addErrback(lambda _: None)
        self.assertEqual(self.dialled, [r"tcp:\:\:2:4444"])


class SameHostTests(MasterTestCase):
    def test_a_master_on_this_machine_is_refused(self) -> None:
        self.local = {"10.0.0.1"}
        for address in ("10.0.0.1:4444", "west:5555", "localhost:1"):
            master = self.master()
            master.name_registered(server("a", address))
            self.assertIsNone(master.registration)
            reason = self.fatal.pop()
            self.assertIn(address, reason)
            self.assertIn("--same-host", reason)
        master.name_registered(server("a", "10.0.0.2:4444"))
        self.assertEqual(self.fatal, [])

    def test_unless_that_is_meant(self) -> None:
        self.local = {"10.0.0.1"}
        master = self.master(same_host=True)
        master.name_registered(server("a", "10.0.0.1:4444"))
        self.assertEqual(self.fatal, [])
        self.assertIsNotNone(master.registration)


class AliveTests(MasterTestCase):
    def ask(self) -> "Deferred[object]":
        master = self.master()
        master.name_registered(server("a"))
        return master.ask()

    def test_one_that_was_never_registered(self) -> None:
        self.failureResultOf(self.master().ask(), NoMaster)

    def test_one_that_serves(self) -> None:
        self.node.said = status("a")
        self.successResultOf(self.ask())
        self.assertEqual(self.node.transport.value(), b'{"type":"status"}\n')
        self.assertFalse(self.node.transport.connected)

    def test_one_that_speaks_tls(self) -> None:
        master = self.master()
        master.name_registered(server("a", tls="yes"))
        self.node.said = status("a")
        self.successResultOf(master.ask())
        self.assertEqual(self.dialled, ["tls:east:4444"])

    def test_one_that_cannot_serve(self) -> None:
        self.node.said = status("a", serving=False)
        self.failureResultOf(self.ask(), NoMaster)

    def test_ourselves(self) -> None:
        self.node.said = status("standin")
        self.failureResultOf(self.ask(), NoMaster)

    def test_something_else_at_its_port(self) -> None:
        self.node.said = b"SSH-2.0\n"
        self.failureResultOf(self.ask(), NotAnswered)

    def test_one_that_closes(self) -> None:
        asking = self.ask()
        self.node.transport.loseConnection()
        self.failureResultOf(asking, NotAnswered)

    def test_one_that_says_nothing_is_given_up(self) -> None:
        asking = self.ask()
        self.assertNoResult(asking)
        asking.cancel()
        self.failureResultOf(asking)
        self.assertFalse(self.node.transport.connected)


class TreeTests(MasterTestCase):
    def test_where_the_stand_in_is_to_listen_is_understood_at_once(self) -> None:
        def server(description: str) -> Any:
            raise ValueError(description)

        settings = MonitorSettings("tcp:registry:4646", "chat", NodeSettings("data", ("carrier:pigeon",)))
        self.assertRaises(ValueError, build_monitor, replace(self.world(), server=server), settings)

    def test_every_service_has_its_name(self) -> None:
        node = NodeSettings("data", chat=ChatSettings("standin", ["west:4444"]))
        tree = build_monitor(self.world(), MonitorSettings("tcp:registry:4646", "chat", node))
        self.assertEqual([service.name for service in tree], ["registry", "monitor"])
        for interface in (IStandIn, IPlace):
            self.assertTrue(verifyObject(interface, tree.stand_in))
        self.assertTrue(verifyObject(IAlive, self.master()))
