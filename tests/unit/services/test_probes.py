import os
import sys
from typing import Any
from unittest import mock

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from chatproto.errors import MissingExtra
from chatproto.http import REQUEST_S_MAX
from chatproto.services.measures import COUNTER, GAUGE, Measure, of_chat, of_process, together
from chatproto.services.probes import LIMITS, ProbesSite, build_probes
from chatproto.services.systemd import Health
from tests.exposition import check_exposition
from tests.unit.services.test_node import NodeTestCase
from tests.unit.services.test_registry import RegistryTestCase

AWAY = IPv4Address("TCP", "192.0.2.7", 5)


class ProbesTestCase(NodeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.measures: list[Measure] = []
        self.health = Health(True, lambda: True, False, "leader, single", True)
        world = self.world()
        self.tally = world.tally
        self.listener = build_probes(world, "tcp:9464", lambda: self.health, lambda: self.measures)
        self.site: ProbesSite = self.listener._factory  # type: ignore[assignment]
        self.site.startFactory()
        self.addCleanup(self.site.stopFactory)

    def connect(self, address: IPv4Address = AWAY) -> StringTransport:
        transport = StringTransport(peerAddress=address)
        channel = self.site.buildProtocol(address)
        assert channel is not None
        channel.makeConnection(transport)
        transport.protocol = channel  # type: ignore[attr-defined]
        return transport

    def ask(self, path: str, *headers: str, method: str = "GET") -> tuple[int, str, str]:
        """Return status, headers and body of an answer."""
        transport = self.connect()
        lines = [f"{method} {path} HTTP/1.1", "Host: here", *headers, "", ""]
        transport.protocol.dataReceived("\r\n".join(lines).encode())  # type: ignore[attr-defined]
        self.assertTrue(transport.disconnecting, "each connection has one question")
        head, _, body = transport.value().decode().partition("\r\n\r\n")
        return int(head.split()[1]), head.lower(), body


class PagesTests(ProbesTestCase):
    def test_it_gets_on(self) -> None:
        self.assertEqual(self.ask("/healthz")[::2], (200, "ok\n"))
        self.health = Health(True, lambda: False, False, "leader, single", True)
        status, _, body = self.ask("/healthz")
        self.assertEqual((status, body.count("\n")), (503, 1))

    def test_it_serves(self) -> None:
        self.assertEqual(self.ask("/readyz")[::2], (200, "leader, single\n"))
        self.health = Health(True, lambda: True, False, "follower, alone, waits for primary", False)
        self.assertEqual(self.ask("/readyz")[::2], (503, "follower, alone, waits for primary\n"))

    def test_the_first_page_says_what_there_is(self) -> None:
        status, _, body = self.ask("/")
        self.assertEqual(status, 200)
        for path in ("/metrics", "/healthz", "/readyz"):
            self.assertIn(path, body)
        self.assertEqual(self.ask("/secret")[0], 404)

    def test_it_only_answers(self) -> None:
        self.assertEqual(self.ask("/healthz", method="HEAD")[::2], (200, ""))
        self.assertEqual(self.ask("/healthz", method="DELETE")[0], 501)

    def test_metrics(self) -> None:
        self.measures = [
            Measure(GAUGE, "chatproto_clients", "Sessions.", [({}, 3)]),
            Measure(COUNTER, "chatproto_dropped_total", "Drops.", [({"door": "page", "reason": "slow"}, 2)]),
        ]
        status, head, body = self.ask("/metrics")
        self.assertEqual(status, 200)
        self.assertIn("content-type: text/plain; version=", head)
        self.assertIn("\nchatproto_clients 3.0\n", body)
        self.assertIn('\nchatproto_dropped_total{door="page",reason="slow"} 2.0\n', body)
        self.assertIn("\nprocess_cpu_seconds_total ", body)
        check_exposition(body)

    def test_metrics_as_openmetrics(self) -> None:
        self.measures = [Measure(COUNTER, "chatproto_dropped_total", "Drops.", [({}, 2)])]
        _, head, body = self.ask("/metrics", "Accept: application/openmetrics-text; version=1.0.0")
        self.assertIn("application/openmetrics-text", head)
        self.assertTrue(body.endswith("# EOF\n"))

    def test_what_cannot_be_measured_is_logged_and_the_next_scrape_comes(self) -> None:
        self.measures = None  # type: ignore[assignment]
        self.assertEqual(self.ask("/metrics")[0], 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.measures = []
        self.assertEqual(self.ask("/metrics")[0], 200)

    def test_nothing_is_logged_of_it(self) -> None:
        from twisted.logger import capturedLogs

        with capturedLogs() as events:
            self.ask("/healthz")
        self.assertEqual(events, [])


class BoundsTests(ProbesTestCase):
    def dropped(self) -> dict[tuple[str, str], int]:
        return dict(self.tally.dropped)

    def test_who_talks_slowly_has_no_more_time_than_others(self) -> None:
        transport = self.connect()
        for byte in b"GET /healthz HTTP/1.1"[: int(REQUEST_S_MAX) - 1]:
            transport.protocol.dataReceived(bytes([byte]))  # type: ignore[attr-defined]
            self.clock.advance(1)
        self.assertFalse(transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(transport.disconnected)
        self.assertEqual(self.dropped(), {("metrics", "too-slow"): 1})

    def test_nobody_sends_a_body(self) -> None:
        for header in (b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"):
            transport = self.connect()
            transport.protocol.dataReceived(  # type: ignore[attr-defined]
                b"GET /healthz HTTP/1.1\r\nHost: here\r\n" + header + b"\r\n\r\n"
            )
            self.assertTrue(transport.disconnected, header)
        self.assertEqual(self.dropped(), {("metrics", "body"): 2})

    def test_there_are_so_many_at_once(self) -> None:
        addresses = [IPv4Address("TCP", f"192.0.2.{number}", 5) for number in range(LIMITS.connections_max)]
        transports = [self.connect(address) for address in addresses]
        self.assertFalse(any(transport.disconnected for transport in transports))
        self.assertEqual(self.ask("/healthz")[0], 200, "whoever comes takes the place of who came first")
        self.assertEqual([transport.disconnected for transport in transports].index(True), 0)
        self.assertEqual(self.dropped(), {("metrics", "full"): 1})

    def test_one_address_does_not_take_all(self) -> None:
        for _ in range(LIMITS.per_address_max):
            self.connect()
        self.assertTrue(self.connect().disconnected)
        self.assertEqual(self.dropped(), {("metrics", "too-many-from-address"): 1})
        other = IPv4Address("TCP", "192.0.2.8", 5)
        self.assertFalse(self.connect(other).disconnected)

    def test_when_all_are_gone_nothing_is_left(self) -> None:
        transport = self.connect()
        transport.protocol.connectionLost()  # type: ignore[attr-defined]
        self.clock.advance(REQUEST_S_MAX)
        self.assertEqual((self.site.gate.links, self.dropped()), ({}, {}))

    def test_a_header_without_an_end(self) -> None:
        transport = self.connect()
        for _ in range(20):
            transport.protocol.dataReceived(b"X" * 4096)  # type: ignore[attr-defined]
        self.assertTrue(transport.disconnecting or transport.disconnected)

    def test_the_library_may_be_missing(self) -> None:
        with mock.patch.dict(sys.modules, {"prometheus_client": None}):
            error = self.assertRaises(MissingExtra, build_probes, self.world(), "tcp:1", None, None)
        self.assertIn("pip install chatproto[metrics]", str(error))


class NodeProbesTests(NodeTestCase):
    def samples(self, node: Any, *, data: str = "/nowhere") -> dict[tuple[str, ...], float]:
        measure = together(
            of_process("primary", node.health, node.server.tally),
            of_chat(node.server, node.factory, node.pair, node.search, data),
        )
        return {(found.name, *labels.values()): value for found in measure() for labels, value in found.values}

    def test_a_node_that_has_an_endpoint_for_it(self) -> None:
        node = self.build(metrics="tcp:9464")
        node.startService()
        self.assertIs(node.getServiceNamed("probes").port, self.ports["tcp:9464"])
        self.assertEqual(len(node.listeners), 1)

    def test_what_is_counted(self) -> None:
        node = self.build()
        node.startService()
        link, _ = self.come(node)
        self.come(node)
        before = self.samples(node)
        link.dataReceived(b'{"type":"message","content":"a"}\n{"type":"message","content":"b"}\n')
        self.settle()
        after = self.samples(node)
        self.assertEqual(after["chatproto_clients",], 2)
        self.assertEqual(after["chatproto_connections",], 2)
        self.assertEqual(after["chatproto_archive_messages",], 2)
        self.assertEqual(after["chatproto_deliveries_total",] - before["chatproto_deliveries_total",], 4)
        counted = ("chatproto_committed_entries_total", "message")
        self.assertEqual(after[counted] - before[counted], 2)
        self.assertNotIn(("chatproto_search_behind_entries",), after)
        self.assertEqual(after["chatproto_redundancy", "single"], 1)
        self.assertEqual(after["chatproto_redundancy", "paired"], 0)
        tally = node.server.tally
        self.assertEqual(tally.batch_entries.counts[1], 1, "two in one go")
        self.assertEqual(sum(tally.commit_s.counts), sum(tally.batch_entries.counts))

    def test_how_long_a_commit_took(self) -> None:
        node = self.build()
        node.startService()
        link, _ = self.come(node)
        done: list[Any] = []
        self.store.append = lambda runs, then: done.append(then)  # type: ignore[method-assign]
        before = node.server.tally.commit_s.sum
        link.dataReceived(b'{"type":"message","content":"a"}\n')
        self.settle()
        self.clock.advance(0.75)
        done.pop()()
        self.assertAlmostEqual(node.server.tally.commit_s.sum - before, 0.75)

    def test_the_disk(self) -> None:
        node = self.build()
        node.startService()
        data = self.mktemp()
        os.mkdir(data)
        with open(os.path.join(data, "log"), "wb") as file:
            file.write(b"x" * 1000)
        found = self.samples(node, data=data)
        self.assertEqual(found["chatproto_data_bytes",], 1000)
        self.assertGreaterEqual(found["chatproto_disk_bytes",], found["chatproto_disk_free_bytes",])
        self.assertNotIn(("chatproto_data_bytes",), self.samples(node))

    def test_what_was_dropped(self) -> None:
        node = self.build()
        node.server.tally.drop("client", "silent")
        self.assertEqual(self.samples(node)["chatproto_dropped_total", "client", "silent"], 1)


class RegistryProbesTests(RegistryTestCase):
    def test_a_registry_has_them_too(self) -> None:
        registry = self.start(metrics="tcp:9464")
        self.assertIs(registry.getServiceNamed("probes").port, self.ports["tcp:9464"])
        self.assertTrue(registry.health().serving)
        registry.stopService()
        self.assertFalse(registry.health().serving)
