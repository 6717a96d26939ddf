import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import StoreBusy
from chatproto.log.entry import ACT, Run
from chatproto.log.interface import Snapshot
from chatproto.pair.configuration import Configuration, encode_configuration
from chatproto.registry.messages import (
    Beat,
    Hello,
    Holds,
    Message,
    Propose,
    Welcome,
    decode_from_registry,
    decode_state,
    encode,
    encode_state,
)
from chatproto.services.dns import DNSSettings
from chatproto.services.registry import STOP_S_MAX, RegistryService, RegistrySettings, build_registry
from chatproto.world import Supervisor, World
from tests.unit.registry.rig import End
from tests.unit.services.test_listener import FakeEndpoint, FakePort
from tests.unit.turns import TurnClock

PAIR = Configuration(3, "east", ("east", "west"))
ALONE = Configuration(4, "east", ("east",))


class FakeStore:
    """As much of `IStore` as a registry may use; what it is given is durable when a test says so."""

    def __init__(self, state: bytes | None = None, snapshot: Snapshot | None = None, *runs: Run) -> None:
        self.state = state
        self.found = snapshot, iter(runs)
        self.asked: list[str] = []
        self.undone: list[tuple[bytes, Callable[[], None]]] = []
        self.closing: Deferred[None] = Deferred()

    def recover(self) -> Any:
        self.asked.append("recover")
        return self.found

    def configuration(self) -> bytes | None:
        assert self.asked == ["recover"]
        self.asked.append("configuration")
        return self.state

    def configure(self, configuration: bytes, done: Callable[[], None]) -> None:
        self.undone.append((configuration, done))

    def done(self) -> None:
        self.state, done = self.undone.pop(0)
        done()

    def close(self) -> "Deferred[None]":
        self.asked.append("close")
        return self.closing


class RegistryTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.store = FakeStore()
        self.opened: list[str] = []
        self.fatal: list[str] = []
        self.ports: dict[str, FakePort] = {}
        self.refusal: Exception | None = None
        self.supervisor: Supervisor | None = None

    def build(self, **settings: Any) -> RegistryService:
        settings = {"data": "/srv/registry", "listen": ("tcp:1",), **settings}
        world = World(
            clock=self.clock,
            now=lambda: 0.0,
            dice=random.Random(1),
            server=self.endpoint,
            client=lambda description: None,  # type: ignore[arg-type,return-value]
            store=self.open_store,
            fatal=self.fatal.append,
            secret=str,
            supervisor=self.supervisor,
        )
        return build_registry(world, RegistrySettings(**settings))

    def start(self, **settings: Any) -> RegistryService:
        self.registry = self.build(**settings)
        self.registry.startService()
        return self.registry

    def endpoint(self, description: str) -> Any:
        self.ports[description] = FakePort()
        return FakeEndpoint(succeed(self.ports[description]))

    def open_store(self, directory: str, failed: Any) -> Any:
        self.opened.append(directory)
        self.failed = failed
        if self.refusal is not None:
            raise self.refusal
        return self.store

    def come(self, name: str, claim: Configuration | None = PAIR) -> End:
        link = self.registry.factory.buildProtocol(None)
        assert link is not None
        end = End(link, self.clock, decode_from_registry)
        self.say(end, Hello(1, "chat", name, False, claim, 1, 1))
        return end

    def say(self, end: End, *messages: Message) -> None:
        end.link.dataReceived(b"".join(map(encode, messages)))


class TreeTests(RegistryTestCase):
    def test_every_service_has_its_name(self) -> None:
        registry = self.build(listen=("tcp:1", "tcp:2"))
        names = [service.name for service in registry]
        self.assertEqual(names, ["witness", "registry-listener-1", "registry-listener-2"])
        self.assertIs(registry.getServiceNamed("registry-listener-2"), registry.listeners[1])

    def test_its_service_manager_is_told(self) -> None:
        told: list[str] = []
        self.supervisor = Supervisor(lambda notice: told.append(notice.decode()))
        self.start()
        self.clock.turn()
        self.assertEqual(told, ["READY=1\nSTATUS=0 names, 0 connections"])
        self.registry.stopService()
        self.assertEqual(told[1:], ["STOPPING=1"])

    def test_answers_to_the_dns_are_given_from_what_is_registered(self) -> None:
        registry = self.build(dns=DNSSettings("127.0.0.1", 0, "127.0.0.1"))
        self.assertIs(registry.getServiceNamed("dns"), registry.dns)
        # Not before what is registered was taken up from the disk.
        self.assertEqual([service.name for service in registry], ["witness", "dns", "registry-listener-1"])

    def test_the_defaults(self) -> None:
        settings = RegistrySettings("/srv/registry")
        self.assertEqual(settings.listen, ("tcp:4646",))
        self.assertEqual((settings.heartbeat_s, settings.suspect_s, settings.lease_s), (0.15, 0.6, 0.9))

    def test_nothing_is_opened_before_it_starts(self) -> None:
        registry = self.build()
        self.assertEqual(self.opened, [])
        registry.startService()
        self.assertEqual(self.opened, ["/srv/registry"])
        self.assertIs(registry.listeners[0].port, self.ports["tcp:1"])
        self.assertEqual(self.fatal, [])


class StateTests(RegistryTestCase):
    def test_takes_up_what_the_disk_has(self) -> None:
        self.store.state = encode_state({"chat": PAIR})
        self.start()
        self.assertEqual(self.come("east").sent(), [Welcome(PAIR)])

    def test_keeps_what_it_grants_and_says_so_then(self) -> None:
        self.store.state = encode_state({"chat": PAIR, "news": ALONE})
        self.start()
        east = self.come("east")
        east.sent()
        self.say(east, Propose(ALONE, False))
        self.assertEqual(east.sent(), [])
        self.store.done()
        self.assertEqual(east.sent(), [Holds(ALONE)])
        assert self.store.state is not None
        self.assertEqual(decode_state(self.store.state), {"chat": ALONE, "news": ALONE})

    def test_a_new_disk_holds_nothing(self) -> None:
        self.start()
        self.assertEqual(self.come("east", None).sent(), [Welcome(None)])

    def test_a_store_that_cannot_be_opened_is_fatal(self) -> None:
        self.refusal = StoreBusy("in use by another process")
        self.start()
        self.assertEqual(self.fatal, ["in use by another process"])
        self.assertIsNone(self.registry.factory.buildProtocol(None))
        self.clock.advance(1)
        stopping = self.registry.stopService()
        self.ports["tcp:1"].stopped[0].callback(None)
        self.assertTrue(all(succeeded for succeeded, _ in self.successResultOf(stopping)))
        self.assertEqual(self.store.asked, [])

    def test_a_write_that_fails_is_fatal(self) -> None:
        self.start()
        self.failed("the disk is full")
        self.assertEqual(self.fatal, ["the disk is full"])

    def test_the_data_of_a_chat_node_are_not_touched(self) -> None:
        run = Run(1, 1, ACT, "", 0, 0.0, ["id"], b"{}")
        snapshot = Snapshot(1, 1, {}, b"", {})
        for store in (FakeStore(None, None, run), FakeStore(None, snapshot)):
            self.setUp()
            self.store = store
            self.start()
            (reason,) = self.fatal
            self.assertIn("/srv/registry is the data directory of a chat node", reason)
            self.assertIsNone(self.registry.factory.buildProtocol(None))

    def test_what_is_no_state_of_a_registry_is_fatal(self) -> None:
        for state in (encode_configuration(PAIR), b"", b"garbage"):
            self.setUp()
            self.store = FakeStore(state)
            self.start()
            (reason,) = self.fatal
            self.assertIn("/srv/registry has no data of a registry", reason)


class TimeTests(RegistryTestCase):
    """The spans are those of the settings."""

    TAKEOVER = Propose(Configuration(4, "west", ("west",)), False)

    def test_a_leader_that_is_silent_is_replaced_after_the_lease(self) -> None:
        self.store.state = encode_state({"chat": PAIR})
        self.start(heartbeat_s=1, suspect_s=20, lease_s=30)
        west = self.come("west")
        self.come("east")
        for second in range(31):
            self.assertEqual(self.store.undone, [], second)
            self.say(west, Beat(), self.TAKEOVER)
            self.clock.advance(1)
        self.assertEqual(len(self.store.undone), 1)

    def test_a_registry_that_stood_still_hears_everybody_anew(self) -> None:
        self.store.state = encode_state({"chat": PAIR})
        self.start()
        west = self.come("west")
        self.come("east")
        self.clock.rightNow += 5
        self.say(west, self.TAKEOVER)
        self.clock.turn()
        self.say(west, self.TAKEOVER)
        self.assertEqual(self.store.undone, [])


class StopTests(RegistryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store.state = encode_state({"chat": PAIR})
        self.start()
        self.east = self.come("east")

    def stop(self) -> "Deferred[Any]":
        stopping: Deferred[Any] = self.registry.stopService()
        self.clock.turn()
        self.clock.turn()
        return stopping

    def test_nodes_are_let_go_then_the_store_is_closed(self) -> None:
        stopping = self.stop()
        self.assertEqual(self.east.calls, ["lose"])
        self.assertEqual(len(self.ports["tcp:1"].stopped), 1)
        self.assertNotIn("close", self.store.asked)
        self.east.link.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(0.1)
        self.assertEqual(self.store.asked[-1], "close")
        self.ports["tcp:1"].stopped[0].callback(None)
        self.assertNoResult(stopping)
        self.store.closing.callback(None)
        self.assertTrue(all(succeeded for succeeded, _ in self.successResultOf(stopping)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nodes_that_stay_are_cut_off(self) -> None:
        self.stop()
        self.clock.pump([0.05] * int(STOP_S_MAX / 0.05 + 2))
        self.assertEqual(self.east.calls, ["lose", "abort"])
        self.assertEqual(self.store.asked[-1], "close")

    def test_told_again_to_stop_it_waits_for_nobody(self) -> None:
        self.stop()
        self.registry.hurry()
        self.assertEqual(self.east.calls, ["lose", "abort"])

    def test_a_change_under_way_is_not_told_any_more(self) -> None:
        self.say(self.east, Propose(ALONE, False))
        self.east.sent()
        self.stop()
        self.store.done()
        self.assertEqual(self.east.sent(), [])

    def test_nobody_is_let_in(self) -> None:
        self.stop()
        self.assertIsNone(self.registry.factory.buildProtocol(None))
