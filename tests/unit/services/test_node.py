import json
import random
import sys
from typing import Any
from unittest import mock

from twisted.application.service import Service
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.protocol import ClientLink
from chatproto.chat.settings import ChatSettings
from chatproto.errors import MissingExtra, StoreBusy
from chatproto.gateway import PageSettings
from chatproto.log.interface import Snapshot
from chatproto.services import NodeSettings, Retention, build_node
from chatproto.services.draining import PHASE_S_MAX, Phase
from chatproto.services.node import REGISTERING, RETENTION_INTERVAL_S, STUCK_S_MAX, NodeService
from chatproto.world import Supervisor, World
from tests.unit.log.test_single import RecordingStore
from tests.unit.services.test_listener import FakeEndpoint, FakePort
from tests.unit.transports import Transport
from tests.unit.turns import TurnClock

NOW = 1700000000.0


class PromptStore(RecordingStore):
    """A store whose appends are durable at the end of the turn."""

    def __init__(self, clock: TurnClock) -> None:
        super().__init__()
        self.clock = clock
        self.closing: Deferred[None] = Deferred()

    def append(self, runs: Any, done: Any) -> None:
        super().append(runs, done)
        self.clock.callLater(0, self.done)

    def close(self) -> "Deferred[None]":
        super().close()
        return self.closing


class NodeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.store = PromptStore(self.clock)
        self.opened: list[str] = []
        self.fatal: list[str] = []
        self.ports: dict[str, FakePort] = {}
        self.refusal: Exception | None = None
        self.supervisor: Supervisor | None = None

    search: Any = None

    def build(self, **settings: Any) -> NodeService:
        settings = {"data": "/srv/chat", "listen": ("tcp:1",), "chat": ChatSettings(name="east"), **settings}
        return build_node(self.world(), NodeSettings(**settings))

    def world(self) -> World:
        return World(
            clock=self.clock,  # type: ignore[arg-type]
            now=lambda: NOW + self.clock.seconds(),
            dice=random.Random(1),
            server=self.endpoint,
            client=lambda description: None,  # type: ignore[arg-type,return-value]
            store=self.open_store,
            fatal=self.fatal.append,
            secret=str,
            supervisor=self.supervisor,
            search=self.search,
        )

    def endpoint(self, description: str) -> Any:
        self.ports[description] = FakePort()
        return FakeEndpoint(succeed(self.ports[description]))

    def open_store(self, directory: str, failed: Any) -> Any:
        self.opened.append(directory)
        self.failed = failed
        if self.refusal is not None:
            raise self.refusal
        return self.store

    def settle(self) -> None:
        for _ in range(30):
            self.clock.turn()

    def come(self, node: NodeService) -> tuple[ClientLink, Transport]:
        """Let a base client in."""
        transport = Transport()
        transport.peerAddr = IPv4Address("TCP", "127.0.0.1", 5)
        link = node.factory.buildProtocol(None)
        link.makeConnection(transport)
        link.dataReceived(b'{"type":"list"}\n')
        self.settle()
        return link, transport


class TreeTests(NodeTestCase):
    def test_every_service_has_its_name(self) -> None:
        node = self.build(listen=("tcp:1", "tcp:2"), retain=Retention(count=5))
        self.assertEqual(
            [service.name for service in node], ["chat", "retention", "client-listener-1", "client-listener-2"]
        )
        self.assertIs(node.getServiceNamed("client-listener-2"), node.listeners[1])

    def test_the_page_is_served_beside_the_lines_and_closed_with_them(self) -> None:
        node = self.build(page=PageSettings("tcp:8080"))
        self.assertEqual(
            [service.name for service in node], ["chat", "retention", "client-listener-1", "page-listener"]
        )
        node.startService()
        assert node.page is not None
        self.assertIs(node.page.port, self.ports["tcp:8080"])
        node.drain.run()
        self.assertEqual([len(port.stopped) for port in self.ports.values()], [1, 1])
        self.assertIsNone(self.build().page)

    def test_what_the_page_needs_may_be_missing(self) -> None:
        with mock.patch.dict(sys.modules, {"websockets.frames": None, "websockets.protocol": None}):
            for module in ("frames", "websocket", "page"):
                sys.modules.pop(f"chatproto.gateway.{module}", None)
            error = self.assertRaises(MissingExtra, self.build, page=PageSettings("tcp:8080"))
        self.assertIn("pip install websockets", str(error))

    def test_it_searches_where_it_can_and_is_to(self) -> None:
        self.search = self.fail
        self.assertEqual(
            [service.name for service in self.build()], ["chat", "search", "retention", "client-listener-1"]
        )
        self.assertEqual(
            [service.name for service in self.build(search=False)], ["chat", "retention", "client-listener-1"]
        )

    def test_nothing_is_opened_before_it_starts(self) -> None:
        node = self.build()
        self.assertEqual(self.opened, [])
        node.startService()
        self.assertEqual(self.opened, ["/srv/chat"])
        self.assertIs(node.listeners[0].port, self.ports["tcp:1"])

    def test_it_serves(self) -> None:
        node = self.build()
        node.startService()
        _, transport = self.come(node)
        lines = [json.loads(line) for line in b"".join(transport.writes).split(b"\n")[:-1]]
        self.assertEqual(lines[-1], {"type": "roomlist", "rooms": [{"roomid": "MainHall", "count": 1}]})
        self.assertEqual(node.server.settings.name, "east")

    def test_a_store_that_cannot_be_opened_is_fatal(self) -> None:
        self.refusal = StoreBusy("in use by another process")
        node = self.build()
        node.startService()
        self.assertEqual(self.fatal, ["in use by another process"])
        stopping = node.stopService()
        self.ports["tcp:1"].stopped[0].callback(None)
        self.assertTrue(all(succeeded for succeeded, _ in self.successResultOf(stopping)))
        self.assertEqual(self.store.asked, [])
        self.assertEqual(self.clock.getDelayedCalls(), [], "there is nothing to drain")

    def test_a_write_that_fails_is_fatal(self) -> None:
        self.build().startService()
        self.failed("the disk is full")
        self.assertEqual(self.fatal, ["the disk is full"])


class StopTests(NodeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.node = self.build(retain=Retention(count=5))
        self.node.startService()
        self.link, self.transport = self.come(self.node)

    def stop(self) -> "Deferred[Any]":
        stopping = self.node.stopService()
        self.settle()
        return stopping

    def lose(self, link: ClientLink) -> None:
        link.connectionLost(Failure(ConnectionDone()))

    def test_clients_are_let_go_then_the_log_is_closed(self) -> None:
        stopping = self.stop()
        self.assertEqual(self.transport.calls, ["lose"])
        self.assertEqual(len(self.ports["tcp:1"].stopped), 1)
        self.assertNotIn(("close",), self.store.asked)
        self.lose(self.link)
        self.clock.advance(0.1)
        self.assertEqual(self.store.asked[-1:], [("close",)])
        self.assertNoResult(stopping)
        self.store.closing.callback(None)
        self.assertTrue(all(succeeded for succeeded, _ in self.successResultOf(stopping)))
        said = b"".join(self.transport.writes)
        self.assertTrue(said.endswith(b'"content":"east is shutting down; try again later"}\n'), said)

    def test_clients_that_stay_are_cut_off(self) -> None:
        self.stop()
        self.clock.pump([0.05] * int(PHASE_S_MAX[Phase.LEAVING] / 0.05 - 1))
        self.assertEqual(self.transport.calls, ["lose"])
        self.clock.pump([0.05] * 2)
        self.assertEqual(self.transport.calls, ["lose", "abort"])
        self.assertEqual(self.store.asked[-1:], [("close",)])

    def test_told_again_to_stop_it_waits_for_nobody(self) -> None:
        self.stop()
        self.node.drain.hurry()
        self.assertEqual(self.transport.calls, ["lose", "abort"])
        self.assertEqual(self.store.asked[-1:], [("close",)])
        self.node.drain.hurry()
        self.assertEqual(self.clock.getDelayedCalls(), [], "nothing looks any more")

    def test_what_was_said_is_committed_and_heard_first(self) -> None:
        self.transport.writes.clear()
        self.link.dataReceived(b'{"type":"message","content":"last"}\n')
        self.node.stopService()
        self.link.dataReceived(b'{"type":"message","content":"too late"}\n')
        self.assertEqual(self.transport.calls, [])
        self.settle()
        said = [json.loads(line) for line in b"".join(self.transport.writes).split(b"\n")[:-1]]
        self.assertEqual([line["identity"] for line in said], ["guest1", "server"])
        self.assertEqual(said[0]["content"], "last")

    def test_a_store_that_never_answers_is_not_waited_for_for_ever(self) -> None:
        self.store.append = lambda runs, done: None  # type: ignore[method-assign]
        self.link.dataReceived(b'{"type":"message","content":"last"}\n')
        self.node.stopService()
        self.settle()
        self.clock.pump([0.02] * int(PHASE_S_MAX[Phase.SETTLING] / 0.02 - 5))
        self.assertEqual(self.transport.calls, [])
        self.clock.pump([0.02] * 10)
        self.assertEqual(self.transport.calls, ["lose"])

    def test_nobody_new_is_let_in(self) -> None:
        self.node.stopService()
        _, transport = self.come(self.node)
        self.assertEqual(transport.calls, ["lose"])
        self.assertIn(b"shutting down", b"".join(transport.writes))

    def test_it_withdraws_before_links_end_and_waits_for_that(self) -> None:
        withdrawn: Deferred[None] = Deferred()
        found: list[list[str]] = []

        class Registration(Service):
            def stopService(inner) -> "Deferred[None]":
                found.append(list(self.transport.calls))
                return withdrawn

        registration = Registration()
        registration.setName(REGISTERING)
        registration.setServiceParent(self.node)
        self.stop()
        self.lose(self.link)
        self.clock.advance(1)
        self.assertEqual((found, self.store.asked[-1:] == [("close",)]), ([[]], False))
        withdrawn.callback(None)
        self.clock.advance(0.1)
        self.assertEqual(self.store.asked[-1:], [("close",)])
        self.assertEqual(found, [[]], "once")

    def test_it_ends_although_it_cannot_withdraw(self) -> None:
        registration = Service()
        registration.stopService = lambda: fail(StoreBusy("not now"))  # type: ignore[method-assign]
        registration.setName(REGISTERING)
        registration.setServiceParent(self.node)
        self.stop()
        self.lose(self.link)
        self.clock.advance(0.1)
        self.assertEqual(self.store.asked[-1:], [("close",)])
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_drained_before_it_stops_it_is_not_drained_again(self) -> None:
        drained = self.node.drain.run()
        self.lose(self.link)
        self.clock.advance(0.1)
        saw = self.successResultOf(drained)
        self.assertEqual((saw.clients, saw.parted, saw.aborted, saw.leader), (1, 1, 0, ""))
        self.assertNotIn(("close",), self.store.asked)
        self.node.stopService()
        self.assertEqual(self.store.asked[-1:], [("close",)])

    def test_at_once(self) -> None:
        super().setUp()
        self.node = self.build(drain_s_max=0.0)
        self.node.startService()
        self.link, self.transport = self.come(self.node)
        self.stop()
        self.assertEqual(self.transport.calls, ["lose"])
        self.clock.pump([0.02] * 4)
        self.assertEqual(self.transport.calls, ["lose", "abort"])
        self.assertEqual(self.store.asked[-1:], [("close",)])

    def test_connections_that_are_not_greeted_yet_are_let_go_too(self) -> None:
        transport = Transport()
        transport.peerAddr = IPv4Address("TCP", "127.0.0.1", 5)
        link = self.node.factory.buildProtocol(None)
        link.makeConnection(transport)
        self.stop()
        self.assertEqual(transport.calls, ["lose"])

    def test_nobody_departs(self) -> None:
        appended = len(self.store.appended)
        self.stop()
        self.lose(self.link)
        self.settle()
        self.assertEqual(len(self.store.appended), appended)

    def test_retention_looks_no_more(self) -> None:
        self.stop()
        self.store.asked.clear()
        self.clock.advance(3 * RETENTION_INTERVAL_S)
        self.assertNotIn("expired", [asked[0] for asked in self.store.asked])


class SupervisionTests(NodeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[str] = []
        self.supervisor = Supervisor(lambda notice: self.told.append(notice.decode()), 3.0)
        self.node = self.build()

    def test_it_is_watched_where_there_is_somebody(self) -> None:
        self.assertEqual(
            [service.name for service in self.node], ["chat", "retention", "client-listener-1", "supervision"]
        )

    def test_from_the_beginning_to_the_end(self) -> None:
        self.assertFalse(self.node.health().ready)
        self.node.startService()
        self.settle()
        self.assertEqual(self.told, ["READY=1\nSTATUS=leader, single, 0 of 100 clients\nWATCHDOG=1"])
        self.come(self.node)
        self.told.clear()
        self.node.stopService()
        self.settle()
        first, *rest = self.told
        self.assertEqual(first, "STOPPING=1\nSTATUS=draining, settling: 1 clients left")
        self.assertEqual(rest, [], "it is told once")

    def test_not_ready_before_it_listens(self) -> None:
        self.endpoint = lambda description: FakeEndpoint(Deferred())  # type: ignore[method-assign]
        node = self.build()
        node.startService()
        self.assertFalse(node.health().ready)

    def test_not_ready_without_its_log(self) -> None:
        self.refusal = StoreBusy("in use by another process")
        self.node.startService()
        self.assertFalse(self.node.health().ready)

    def test_a_disk_that_takes_nothing_is_not_sane(self) -> None:
        self.node.startService()
        link, _ = self.come(self.node)
        self.assertEqual([self.node.health().sane() for _ in range(3)], [True] * 3, "there is nothing to take")
        self.store.append = lambda runs, done: None  # type: ignore[method-assign]
        link.dataReceived(b'{"type":"message","content":"lost"}\n')
        self.settle()
        self.assertEqual([self.node.health().sane() for _ in range(3)], [True] * 3, "it may just be at it")
        self.clock.advance(STUCK_S_MAX)
        self.assertEqual([self.node.health().sane() for _ in range(2)], [False, False])

    def test_a_disk_that_always_has_more_to_take_gets_on(self) -> None:
        self.node.startService()
        link, _ = self.come(self.node)
        done: list[Any] = []
        self.store.append = lambda runs, then: done.append(then)  # type: ignore[method-assign]
        link.dataReceived(b'{"type":"message","content":"first"}\n')
        self.settle()
        for _ in range(5):
            self.assertTrue(self.node.health().sane())
            self.clock.advance(STUCK_S_MAX)
            link.dataReceived(b'{"type":"message","content":"more"}\n')
            self.settle()
            done.pop(0)()
        self.assertEqual(len(done), 1, "there was always one more")

    def test_what_is_new_is_not_stuck_however_long_nobody_asked(self) -> None:
        self.node.startService()
        link, _ = self.come(self.node)
        self.assertTrue(self.node.health().sane())
        self.clock.advance(100)
        self.store.append = lambda runs, done: None  # type: ignore[method-assign]
        link.dataReceived(b'{"type":"message","content":"new"}\n')
        self.settle()
        self.assertTrue(self.node.health().sane())


class ChangeTests(NodeTestCase):
    def test_what_can_change_changes_while_it_runs(self) -> None:
        node = self.build()
        node.startService()
        link, _ = self.come(node)
        chat = ChatSettings(name="east", capacity=7, message_chars_max=5, session_grace_s=3, announcement="moved")
        node.change(NodeSettings("/srv/chat", ("tcp:1",), chat, Retention(count=3), drain_s_max=0))
        self.assertIn("1 of 7 clients", node.health().status)
        _, other = self.come(node)
        self.assertIn(b"moved", b"".join(other.writes))
        for content in (b"short", b"too long"):
            link.dataReceived(b'{"type":"message","content":"%b"}\n' % content)
        self.settle()
        self.assertEqual(node.server.hall.rooms["MainHall"].last, 1)
        for number in range(9):
            link.dataReceived(b'{"type":"message","content":"%d"}\n' % number)
        self.settle()
        self.clock.advance(RETENTION_INTERVAL_S)
        self.settle()
        self.assertEqual(node.server.hall.rooms["MainHall"].first, 8)
        node.stopService()
        self.assertIs(node.drain.phase, Phase.LEAVING, "there is no time for anything else")


class RetentionTests(NodeTestCase):
    def begin(self, **retain: Any) -> NodeService:
        node = self.build(retain=Retention(**retain))
        node.startService()
        link, _ = self.come(node)
        self.store.asked.clear()
        for number in range(10):
            link.dataReceived(b'{"type":"message","content":"%d"}\n' % number)
        self.settle()
        return node

    def look(self) -> list[tuple[Any, ...]]:
        """Let the next look come; return what the store was asked."""
        self.store.asked.clear()
        self.clock.advance(RETENTION_INTERVAL_S)
        self.settle()
        return [asked for asked in self.store.asked if asked[0] == "expired"]

    def test_where_everything_is_kept_it_asks_nothing(self) -> None:
        self.begin()
        self.assertEqual(self.look(), [])

    def test_it_looks_once_a_minute(self) -> None:
        self.begin(age_s=3600, bytes_max=10**6)
        for _ in range(3):
            self.assertEqual(self.look(), [("expired", NOW + self.clock.seconds() - 3600, 10**6)])

    def test_without_an_age_no_time_is_too_old(self) -> None:
        self.begin(count=100)
        self.assertEqual(self.look(), [("expired", 0.0, 0)])

    def test_what_is_expired_is_forgotten(self) -> None:
        node = self.begin(age_s=3600)
        self.store.expired = lambda *_: succeed({"MainHall": 4, "gone": 3})  # type: ignore[method-assign]
        self.look()
        self.assertEqual(node.server.hall.rooms["MainHall"].first, 4)
        self.assertEqual([snapshot.first for snapshot in self.store.snapshots], [{"MainHall": 4}])
        self.assertIsInstance(self.store.snapshots[0], Snapshot)

    def test_so_many_messages_of_each_room_are_kept(self) -> None:
        node = self.begin(count=3)
        self.assertEqual(node.server.hall.rooms["MainHall"].first, 1)
        self.store.expired = lambda *_: succeed({})  # type: ignore[method-assign]
        self.look()
        self.assertEqual(node.server.hall.rooms["MainHall"].first, 8)

    def test_the_stricter_bound_counts(self) -> None:
        for expired, first in ((3, 8), (9, 9)):
            self.setUp()
            node = self.begin(count=3, age_s=3600)
            self.store.expired = lambda *_, expired=expired: succeed({"MainHall": expired})  # type: ignore[method-assign]
            self.look()
            self.assertEqual(node.server.hall.rooms["MainHall"].first, first)

    def test_a_look_that_fails_is_logged_and_the_next_one_comes(self) -> None:
        node = self.begin(age_s=3600)
        self.store.expired = lambda *_: fail(OSError("broken"))  # type: ignore[method-assign]
        self.look()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.store.expired = lambda *_: succeed({"MainHall": 4})  # type: ignore[method-assign]
        self.look()
        self.assertEqual(node.server.hall.rooms["MainHall"].first, 4)
