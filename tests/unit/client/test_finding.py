"""Endpoints that look for servers each time, asked by hand and in simulation."""

import gc
import random
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.names import dns
from twisted.names.error import DNSNameError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.client import ChatClient, FoundEndpoint, SRVEndpoint, SRVFinder
from chatproto.client.finding import STAGGER_S, TRIES_MAX
from chatproto.client.srv import LOOKUPS_S
from chatproto.services.node import NodeSettings, build_node
from tests.unit.client.rig import Deployment


class Listed:
    """A finder that knows what a test says."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Sequence[str] = addresses
        self.asked = 0

    def find(self) -> "Deferred[Sequence[str]]":
        self.asked += 1
        return succeed(self.addresses)


@implementer(IStreamClientEndpoint)
class Tried:
    """An endpoint whose tries end when a test says; one that is cancelled `too_late` connects all the same."""

    def __init__(self) -> None:
        self.tries: list[Deferred[Any]] = []
        self.connected: list[Any] = []
        self.cancelled = 0
        self.too_late = False

    def connect(self, protocolFactory: Any) -> "Deferred[Any]":
        self.tries.append(Deferred(lambda _: self._cancel()))
        return self.tries[-1]

    def _cancel(self) -> None:
        self.cancelled += 1
        if self.too_late:
            self.accept()

    def refuse(self) -> None:
        self.tries[-1].errback(ConnectionRefusedError())

    def accept(self) -> Protocol:
        protocol = Protocol()
        protocol.makeConnection(StringTransport())
        self.connected.append(protocol)
        self.tries[-1].callback(protocol)
        return protocol


class FoundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.places = {name: Tried() for name in ("a:1", "b:1", "c:1")}
        self.finder = Listed(*self.places)
        self.endpoint = FoundEndpoint(self.clock, self.finder, self.places.__getitem__)

    def connect(self) -> "Deferred[Any]":
        return self.endpoint.connect(Factory.forProtocol(Protocol))

    def tried(self) -> list[str]:
        return [name for name, place in self.places.items() if place.tries]

    def test_the_best_is_tried_first_and_alone(self) -> None:
        connecting = self.connect()
        self.assertEqual(self.tried(), ["a:1"])
        protocol = self.places["a:1"].accept()
        self.assertIs(self.successResultOf(connecting), protocol)
        self.assertEqual((self.tried(), self.clock.calls), (["a:1"], []))

    def test_the_next_at_once_where_one_fails(self) -> None:
        connecting = self.connect()
        self.places["a:1"].refuse()
        self.assertEqual(self.tried(), ["a:1", "b:1"])
        protocol = self.places["b:1"].accept()
        self.assertIs(self.successResultOf(connecting), protocol)
        self.assertEqual(self.clock.calls, [])

    def test_the_next_beside_one_that_is_slow(self) -> None:
        """A machine without power answers nothing at all; one far away may still be the first."""
        connecting = self.connect()
        self.clock.advance(STAGGER_S - 0.01)
        self.assertEqual(self.tried(), ["a:1"])
        self.clock.advance(0.01)
        self.assertEqual(self.tried(), ["a:1", "b:1"])
        protocol = self.places["a:1"].accept()
        self.assertIs(self.successResultOf(connecting), protocol)
        self.assertEqual((self.places["b:1"].cancelled, self.clock.calls), (1, []))

    def test_a_failure_is_no_reason_to_hurry_the_one_after_the_next(self) -> None:
        self.connect().addErrback(lambda _: None)
        self.clock.advance(STAGGER_S / 2)
        self.places["a:1"].refuse()
        self.clock.advance(STAGGER_S / 2)
        self.assertEqual(self.tried(), ["a:1", "b:1"])

    def test_two_at_once(self) -> None:
        """Whoever loses is hung up on, where it was too late to stop it."""
        connecting = self.connect()
        self.clock.advance(STAGGER_S)
        late = self.places["a:1"]
        late.too_late = True
        winner = self.places["b:1"].accept()
        self.assertIs(self.successResultOf(connecting), winner)
        (loser,) = late.connected
        self.assertEqual((loser.transport.disconnected, winner.transport.disconnected), (True, False))

    def test_nobody_can_be_reached(self) -> None:
        connecting = self.connect()
        for name in self.places:
            self.assertNoResult(connecting)
            self.places[name].refuse()
        self.failureResultOf(connecting, ConnectionRefusedError)
        self.assertEqual(self.clock.calls, [])

    def test_an_address_that_no_endpoint_can_be_made_of(self) -> None:
        self.finder.addresses = ("x:1", "a:1")
        connecting = self.connect()
        self.places["a:1"].accept()
        self.successResultOf(connecting)

    def test_nobody_is_found(self) -> None:
        self.finder.addresses = ()
        self.failureResultOf(self.connect(), ConnectError)

    def test_a_finder_that_fails(self) -> None:
        self.finder.find = lambda: fail(ConnectionRefusedError())  # type: ignore[method-assign]
        self.failureResultOf(self.connect(), ConnectionRefusedError)

    def test_asked_anew_each_time(self) -> None:
        self.connect().addErrback(lambda _: None)
        self.finder.addresses = ("b:1",)
        self.connect().addErrback(lambda _: None)
        self.assertEqual((self.finder.asked, self.tried()), (2, ["a:1", "b:1"]))

    def test_giving_up(self) -> None:
        connecting = self.connect()
        self.clock.advance(STAGGER_S)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual([place.cancelled for place in self.places.values()], [1, 1, 0])
        self.assertEqual(self.clock.calls, [])

    def test_giving_up_while_it_is_asked(self) -> None:
        asking: Deferred[Any] = Deferred()
        self.finder.find = lambda: asking  # type: ignore[method-assign]
        connecting = self.connect()
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual(self.tried(), [])

    def test_no_more_than_there_may_be(self) -> None:
        self.finder.addresses = [f"x:{port}" for port in range(1, TRIES_MAX + 1)] + ["a:1"]
        self.failureResultOf(self.connect(), KeyError)
        self.assertEqual(self.tried(), [])


class Records:
    """A resolver that knows what a test says."""

    def __init__(self, *answers: Any, additional: Sequence[Any] = ()) -> None:
        self.answers = answers
        self.additional = additional
        self.known: dict[bytes, Any] = {}
        self.asked: list[bytes | str] = []

    def lookupService(self, name: str, timeout: Any) -> Any:
        assert timeout == LOOKUPS_S
        self.asked.append(name)
        return succeed((self.answers, (), self.additional))

    def lookupAddress(self, name: bytes, timeout: Any) -> Any:
        self.asked.append(name)
        if name not in self.known:
            return fail(DNSNameError())
        return succeed((self.known[name], (), ()))

    def lookupIPV6Address(self, name: bytes, timeout: Any) -> Any:
        return fail(DNSNameError())


def srv(host: bytes, port: int = 4444, priority: int = 0, weight: int = 1) -> dns.RRHeader:
    return dns.RRHeader(b"x", dns.SRV, payload=dns.Record_SRV(priority, weight, port, host))


def a(host: bytes, address: str) -> dns.RRHeader:
    payload: Any = dns.Record_AAAA(address) if ":" in address else dns.Record_A(address)
    return dns.RRHeader(host, payload.TYPE, payload=payload)


class SRVTests(SynchronousTestCase):
    def find(self, resolver: Any) -> list[str]:
        finder = SRVFinder("_chat._tcp.chat.example", resolver, random.Random(1))
        return list(self.successResultOf(finder.find()))

    def test_targets_in_their_order(self) -> None:
        told = [a(b"ONE.chat.example", "10.0.0.1"), a(b"two.chat.example", "::2"), a(b"two.chat.example", "10.0.0.2")]
        resolver = Records(srv(b"two.chat.example", 2, 10), srv(b"one.chat.example", 1), additional=told)
        self.assertEqual(self.find(resolver), ["10.0.0.1:1", "[::2]:2", "10.0.0.2:2"])
        self.assertEqual(resolver.asked, ["_chat._tcp.chat.example"])

    def test_addresses_that_were_not_told_are_asked_for(self) -> None:
        resolver = Records(srv(b"one.chat.example"))
        resolver.known[b"one.chat.example"] = [a(b"one.chat.example", "10.0.0.1")]
        self.assertEqual(self.find(resolver), ["10.0.0.1:4444"])

    def test_giving_up_while_addresses_are_asked_for(self) -> None:
        resolver = Records(srv(b"one"), srv(b"two"))
        resolver.lookupAddress = lambda name, timeout: Deferred()  # type: ignore[method-assign]
        finding = SRVFinder("_chat._tcp.chat.example", resolver).find()  # type: ignore[arg-type]
        finding.cancel()
        self.failureResultOf(finding, CancelledError)
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_what_the_dns_does_not_know_the_system_may(self) -> None:
        self.assertEqual(self.find(Records(srv(b"one"))), ["one:4444"])

    def test_other_records_are_passed_over(self) -> None:
        self.assertEqual(self.find(Records(a(b"x", "10.0.0.1"))), [])

    def test_decidedly_not_there(self) -> None:
        """RFC 2782: a target that is the root."""
        self.assertEqual(self.find(Records(srv(b"."))), [])
        self.assertEqual(self.find(Records(srv(b""))), [])

    def test_no_such_name(self) -> None:
        resolver = Records()
        resolver.lookupService = lambda name, timeout: fail(DNSNameError())  # type: ignore[method-assign]
        finder = SRVFinder("_chat._tcp.chat.example", resolver)  # type: ignore[arg-type]
        self.failureResultOf(finder.find(), DNSNameError)

    def test_as_a_description(self) -> None:
        """What `clientFromString` knows once chatproto is installed."""
        reactor = MemoryReactorClock()
        self.assertIsInstance(clientFromString(reactor, "srv:chat.example"), SRVEndpoint)
        described = r"srv:chat.example:service=news:dns=127.0.0.1\:5353"
        self.assertIsInstance(clientFromString(reactor, described), SRVEndpoint)
        self.assertRaises(ValueError, clientFromString, reactor, "srv:chat.example:dns=nowhere")


class FollowingTests(SynchronousTestCase):
    def test_a_client_follows_a_service_that_has_moved(self) -> None:
        """Its only server dies, and nobody tells it where the next one is but the finder."""
        deployment = Deployment()
        other = deployment.network.host("other")
        home = deployment.network.host("home")
        finder = Listed("node:4444")
        where = home.world()
        endpoint = FoundEndpoint(where.clock, finder, lambda address: where.client(f"tcp:{address}"))
        ada = ChatClient(where.clock, [endpoint], dice=random.Random(1))
        ada.startService()
        deployment.until(lambda: ada.state == "online")
        deployment.host.crash()
        deployment.until(lambda: ada.state != "online")
        build_node(other.world(), NodeSettings("data", ("tcp:4444",))).startService()
        finder.addresses = ("node:4444", "other:4444")
        deployment.until(lambda: ada.state == "online")
        self.assertEqual(deployment.result(ada.send("here")).index, 1)
