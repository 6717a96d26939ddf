import random
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.client import RegistryEndpoint
from chatproto.errors import ClientError, RegistryUnanswered
from chatproto.registry import Registration
from chatproto.registry.messages import Beat, encode
from chatproto.registry.requests import Entered, Find, Found, decode_from_anybody
from chatproto.registry.visitor import TIMEOUT_S
from tests.unit.registry.rig import End
from tests.unit.registry.test_client import FakeEndpoint
from tests.unit.turns import TurnClock

EAST = Registration("chat", "east", address="east:4444", role="leader", epoch=3)
WEST = Registration("chat", "west", address="west:4444", role="follower", epoch=3)
FACTORY: Any = object()


class RegistryEndpointTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.registry = FakeEndpoint(self.clock)
        self.servers = {address: FakeEndpoint(self.clock) for address in ("east:4444", "west:4444", "north:4444")}
        self.tried: list[str] = []
        self.endpoint = RegistryEndpoint(
            self.registry, self.clock, self.connector, service="chat", dice=random.Random(1)
        )

    def connector(self, address: str) -> FakeEndpoint:
        self.tried.append(address)
        return self.servers[address]

    def find(self, *found: Registration) -> "Deferred[Any]":
        """Ask to connect; the registry says who there is."""
        self.tried = []
        connecting = self.endpoint.connect(FACTORY)
        end = End(self.registry.factories[-1].buildProtocol(None), self.clock, decode_from_anybody)
        self.registry.tries[-1].callback(end.link)
        end.sent()
        end.link.dataReceived(encode(Entered(0.15, 0.6)))
        (request,) = [message for message in end.sent() if not isinstance(message, Beat)]
        assert isinstance(request, Find)
        self.assertEqual(request, Find(request.number, "chat", "chat", ""))
        end.link.dataReceived(encode(Found(request.number, list(found), False)))
        end.sent()
        self.assertEqual(end.calls, ["lose"], "the registry is left when it has answered")
        end.lose()
        return connecting

    def refuse(self) -> None:
        self.servers[self.tried[-1]].tries[-1].errback(ConnectionRefusedError())

    def take(self, connecting: "Deferred[Any]") -> None:
        self.servers[self.tried[-1]].tries[-1].callback("connected")
        self.assertEqual(self.successResultOf(connecting), "connected")
        self.assertEqual(self.servers[self.tried[-1]].factories[-1], FACTORY)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_leader_first(self) -> None:
        connecting = self.find(WEST, EAST)
        self.assertEqual(self.tried, ["east:4444"])
        self.take(connecting)

    def test_of_two_the_one_with_the_higher_epoch(self) -> None:
        connecting = self.find(EAST, Registration("chat", "west", address="west:4444", role="leader", epoch=4))
        self.assertEqual(self.tried, ["west:4444"])
        self.take(connecting)

    def test_one_that_speaks_tls(self) -> None:
        secure: list[str] = []

        def tls_connector(address: str) -> FakeEndpoint:
            secure.append(address)
            return self.connector(address)

        self.endpoint = RegistryEndpoint(self.registry, self.clock, self.connector, tls_connector=tls_connector)
        connecting = self.find(msgspec.structs.replace(EAST, attributes={"tls": "yes"}), WEST)
        self.take(connecting)
        self.assertEqual((self.tried, secure), (["east:4444"], ["east:4444"]))

    def test_without_a_reactor_nobody_can_be_reached(self) -> None:
        self.assertRaises(ClientError, RegistryEndpoint, self.registry, self.clock)

    def test_then_the_others(self) -> None:
        connecting = self.find(WEST, EAST)
        self.refuse()
        self.assertEqual(self.tried, ["east:4444", "west:4444"])
        self.take(connecting)

    def test_nobody_is_reached(self) -> None:
        connecting = self.find(WEST, EAST)
        self.refuse()
        self.refuse()
        self.failureResultOf(connecting, ConnectionRefusedError)

    def test_nobody_is_registered(self) -> None:
        failure = self.failureResultOf(self.find(Registration("chat", "east")), ConnectError)
        self.assertIn("no server of chat is registered", str(failure.value))

    def test_who_was_not_reached_comes_last_the_next_time(self) -> None:
        """Whoever hangs is given up by the asker, and would be the first again and again."""
        connecting = self.find(WEST, EAST)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual(self.tried, ["east:4444"])
        connecting = self.find(WEST, EAST)
        self.assertEqual(self.tried, ["west:4444"])
        self.refuse()
        self.assertEqual(self.tried, ["west:4444", "east:4444"])
        self.take(connecting)
        self.find(WEST, EAST).addErrback(lambda _: None)
        self.assertEqual(self.tried, ["east:4444"])

    def test_one_that_went_away_is_forgotten(self) -> None:
        for found in ((EAST,), (WEST,)):
            connecting = self.find(*found)
            self.refuse()
            self.failureResultOf(connecting, ConnectionRefusedError)
        self.find(WEST, EAST).addErrback(lambda _: None)
        self.assertEqual(self.tried, ["east:4444"])

    def test_a_registry_that_is_not_reached(self) -> None:
        connecting = self.endpoint.connect(FACTORY)
        for _ in range(round(TIMEOUT_S / 0.1) + 1):
            self.clock.advance(0.1)
        self.failureResultOf(connecting, RegistryUnanswered)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_given_up_while_the_registry_is_asked(self) -> None:
        connecting = self.endpoint.connect(FACTORY)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual((self.registry.cancelled, self.clock.getDelayedCalls()), (1, []))

    def test_without_a_connector_names_are_looked_up(self) -> None:
        endpoint = RegistryEndpoint(self.registry, MemoryReactorClock())  # type: ignore[no-untyped-call]
        self.assertIsInstance(endpoint._connector("east:4444"), HostnameEndpoint)
