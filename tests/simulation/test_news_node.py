"""What every node of the news system is and does, whatever its role: on the simulated network, with a registry."""

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import RegistryRefused
from chatproto.gate import Limits
from chatproto.link import Turn
from chatproto.news.link import NewsDialler, NewsLink
from chatproto.news.messages import Message, decoder
from chatproto.registry import Registration, RegistryClient
from chatproto.services.measures import GAUGE, Measure
from chatproto.services.news import NewsSettings
from chatproto.services.news.doors import STOP_S_MAX
from chatproto.services.news.node import NewsNode
from chatproto.services.news.status import NewsStatus, decode_status
from chatproto.services.registering import STATUS
from chatproto.services.registry import RegistrySettings, build_registry
from chatproto.testing import SimClock, SimNetwork
from chatproto.testing.nodes import SimProcess
from chatproto.world import Supervisor, World
from tests.exposition import check_exposition

SETTINGS = NewsSettings(
    data="data",
    name="east",
    listen=("tcp:0",),
    peer_listen="tcp:4747",
    peer_advertise="east:4747",
    registry="tcp:registry:4646",
)


class Hello(Message, frozen=True, tag="hello-of-the-test"):
    """Says who comes."""


class Desk:
    """Hears the links of a door, and makes them when it dials."""

    def __init__(self) -> None:
        self.links: list[NewsLink] = []
        self.heard: list[Any] = []

    def link_admitted(self, link: NewsLink) -> None:
        self.links.append(link)

    def link_received(self, link: NewsLink, message: Any) -> None:
        self.heard.append(message)

    def link_lost(self, link: NewsLink, reason: str) -> None:
        self.links.remove(link)


class Caller(Desk):
    """Dials and says hello."""

    def link_admitted(self, link: NewsLink) -> None:
        super().link_admitted(link)
        link.say(Hello())


class Post(NewsNode):
    """A node whose role is to be tested."""

    role = "router"
    open_ = True
    serves_ = True

    def opened(self) -> bool:
        return self.open_

    def serves(self) -> bool:
        return self.serves_

    def summary(self) -> str:
        return "all quiet"

    def measures(self) -> Iterable[Measure]:
        yield Measure(GAUGE, "chatproto_news_items", "Items.", [({}, 3)])
        yield Measure(GAUGE, "chatproto_news_due", "Due, by kind.", [({"kind": "exclusive"}, 3)])

    def attributes(self) -> dict[str, str]:
        return {"substitute": "west"}


def build_post(world: World, settings: NewsSettings) -> Post:
    post = Post(world, settings)
    decode = decoder(Hello)
    post.guarded_desk, post.public_desk = Desk(), Desk()  # type: ignore[attr-defined]
    post.open_guarded("news-child", decode, {Hello: post.guarded_desk}, Limits(9))  # type: ignore[attr-defined]
    post.open_public("news-source", decode, {Hello: post.public_desk}, Limits(9))  # type: ignore[attr-defined]
    post.complete()
    return post


class Scrape(Protocol):
    """Asks for the metrics, once."""

    answer = b""
    ended = False

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"GET /metrics HTTP/1.0\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.answer += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True


class NewsNodeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = SimNetwork(SimClock(), random.Random(1))
        registry = SimProcess(self.network.host("registry"), lambda world: build_registry(world, RegistrySettings("d")))
        self.addCleanup(registry.host.crash)
        world = self.network.host("looker").world()
        self.client = RegistryClient(world.client("tcp:registry:4646"), world.clock, world.dice, who="looker")
        self.client.startService()
        self.told: list[bytes] = []

    def start(self, **settings: Any) -> Post:
        chosen = replace(SETTINGS, **settings)

        def build(world: World) -> Post:
            return build_post(replace(world, supervisor=Supervisor(self.told.append)), chosen)

        self.process = SimProcess(self.network.host("east"), build)
        post: Post = self.process.tree
        return post

    def run_for(self, seconds: float) -> None:
        self.network.clock.run(seconds)

    def until(self, predicate: Any, seconds_max: float = 5.0) -> None:
        self.network.clock.run_until(predicate, seconds_max)

    def ask(self, asked: "Deferred[Any]") -> Any:
        answers: list[Any] = []
        asked.addBoth(answers.append)
        self.until(lambda: answers)
        return answers[0]

    def listed(self) -> list[Registration]:
        found: list[Registration] = self.ask(self.client.list(service="news"))
        return found

    def dial(self, port: int) -> tuple[NewsDialler, Caller]:
        world, caller = self.network.host("caller").world(), Caller()
        dialler = NewsDialler(
            world.client(f"tcp:east:{port}"),
            caller,
            decoder(Hello),
            Turn(world.clock),
            world.clock,
            world.dice,
            what="east",
        )
        dialler.start()
        return dialler, caller


class RegistrationTests(NewsNodeTestCase):
    def test_it_is_registered_as_what_it_is_with_the_port_that_it_was_given(self) -> None:
        post = self.start(listen=("tcp:0:interface=127.0.0.1",))
        self.run_for(1)
        port = post.listeners[0].port
        assert port is not None
        address = f"127.0.0.1:{port.getHost().port}"
        attributes = {"substitute": "west", "peer": "east:4747"}
        self.assertEqual(self.listed(), [Registration("news", "east", "news-router", address, attributes=attributes)])

    def test_what_is_advertised_is_registered(self) -> None:
        self.start(advertise="tls:east.example:7", lease_s=9.0)
        self.run_for(1)
        (found,) = self.listed()
        self.assertEqual((found.place, found.lease_s), ("tls:east.example:7", 9.0))

    def test_it_says_how_it_is(self) -> None:
        post = self.start()
        self.run_for(1)
        status = decode_status(self.ask(self.client.call("news", "east", STATUS)))
        self.assertEqual((status.role, status.name, status.serving), ("router", "east", True))
        self.assertEqual((status.summary, status.figures), ("all quiet", {"chatproto_news_items": 3.0}))
        self.assertGreater(status.up_s, 0.5)
        post.serves_ = False
        self.assertFalse(decode_status(self.ask(self.client.call("news", "east", STATUS))).serving)
        self.assertRaises(msgspec.ValidationError, decode_status, b"{}")
        self.assertEqual(decode_status(msgspec.json.encode(status)), status)
        self.assertIsInstance(status, NewsStatus)

    def test_it_is_withdrawn_when_it_stops(self) -> None:
        self.start()
        self.run_for(1)
        self.process.stop()
        self.run_for(0.5)
        self.assertEqual(self.ask(self.client.resolve("news", "east")).check(RegistryRefused), RegistryRefused)

    def test_without_a_registry_it_serves_all_the_same(self) -> None:
        post = self.start(registry="")
        self.run_for(1)
        self.assertEqual((post.registering, post.health().serving, self.listed()), (None, True, []))


class DoorTests(NewsNodeTestCase):
    def test_other_nodes_and_others_come_by_doors_of_their_own(self) -> None:
        post: Any = self.start(listen=("tcp:4848", "tcp:4849"))
        self.run_for(0.5)
        callers = [self.dial(port)[1] for port in (4747, 4848, 4849)]
        self.until(lambda: post.guarded_desk.heard and len(post.public_desk.heard) == 2)
        self.assertEqual((len(post.guarded_desk.links), len(post.public_desk.links)), (1, 2))
        self.assertEqual([len(caller.links) for caller in callers], [1, 1, 1])

    def test_links_end_politely_when_it_stops_and_nobody_else_is_waited_for(self) -> None:
        post: Any = self.start(listen=("tcp:4848",))
        self.run_for(0.5)
        _, caller = self.dial(4848)
        self.until(lambda: post.public_desk.heard)
        stopped = self.process.stop()
        self.run_for(0.5)
        self.successResultOf(stopped)
        self.assertEqual(caller.links, [])

    def test_one_that_does_not_end_is_cut_off(self) -> None:
        post: Any = self.start(listen=("tcp:4848",))
        self.run_for(0.5)
        self.dial(4848)
        self.until(lambda: post.public_desk.heard)
        self.network.host("caller").pause()
        post.public_desk.links[0].send(bytes(700_000))
        stopped = self.process.stop()
        self.run_for(STOP_S_MAX / 2)
        self.assertNoResult(stopped)
        self.run_for(STOP_S_MAX)
        self.successResultOf(stopped)

    def test_a_node_may_have_no_door_for_others(self) -> None:
        post = self.start(peer_listen="", peer_advertise="")
        self.run_for(0.5)
        self.assertEqual((post.guarded, self.listed()[0].attributes), (None, {"substitute": "west"}))


class HealthTests(NewsNodeTestCase):
    def test_a_service_manager_is_told(self) -> None:
        post = self.start()
        self.run_for(0.5)
        self.assertIn(b"READY=1\nSTATUS=all quiet", self.told)
        self.assertTrue(post.health().serving)
        post.open_ = False
        self.assertEqual((post.health().ready, post.health().serving), (False, False))
        self.process.stop()
        self.run_for(2)
        self.assertIn(b"STOPPING=1", b"".join(self.told))

    def test_one_that_cannot_listen_does_not_come_to_serve(self) -> None:
        self.start(listen=("tcp:4747",))
        self.assertIn("cannot listen on tcp:4747", self.process.host.last_words[0])

    def test_parts_have_names_and_stop_in_the_right_order(self) -> None:
        post = self.start(metrics="tcp:9464")
        self.assertEqual(
            [part.name for part in post],
            ["probes", "guarded-links", "guarded-listener", "public-links", "public-listener-1", "registering",
             "supervision"],
        )  # fmt: skip


class MeasuresTests(NewsNodeTestCase):
    def test_what_every_node_has_and_what_is_of_its_role(self) -> None:
        self.start(listen=("tcp:4848",), metrics="tcp:9464")
        self.run_for(0.5)
        self.dial(4747)
        self.run_for(0.5)
        connectProtocol(self.network.host("prometheus").world().client("tcp:east:9464"), scrape := Scrape())
        self.until(lambda: scrape.ended)
        said = check_exposition(scrape.answer.decode().partition("\r\n\r\n")[2])
        links = {sample.labels["door"]: sample.value for sample in said["chatproto_news_links"]}
        self.assertEqual(links, {"news-child": 1, "news-source": 0})
        self.assertEqual([sample.value for sample in said["chatproto_registry_reached"]], [1])
        self.assertEqual([sample.value for sample in said["chatproto_news_items"]], [3])
        self.assertEqual([sample.labels["role"] for sample in said["chatproto_build_info"]], ["router"])
