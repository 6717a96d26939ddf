"""Tests for chatproto.services.whereabouts: what a node makes of what the registry says of others."""

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.pair.log import PairSettings
from chatproto.registry import Registration
from chatproto.services.whereabouts import Whereabouts


class FakeClient:
    """The registry's; `watched` is what is listened to."""

    def __init__(self) -> None:
        self.watched: list[tuple[Any, str]] = []

    def watch(self, heard: Any, service: str) -> Callable[[], None]:
        self.watched.append((heard, service))
        return self.watched.clear


class FakePair:
    def __init__(self) -> None:
        self.settings = PairSettings("east", "tea")
        self.known: dict[str, str] = {}

    def know(self, addresses: dict[str, str]) -> None:
        self.known = addresses


class FakeServer:
    """A node's chat and its exodus in one."""

    def __init__(self) -> None:
        self.exodus = self
        self.servers: list[list[str]] = []
        self.pages: list[list[str]] = []
        self.pages_elsewhere: list[str] = []

    def found(self, servers: list[str], pages: list[str]) -> None:
        self.servers.append(servers)
        self.pages.append(pages)


def node(name: str, role: str = "follower", epoch: int = 1, **fields: Any) -> Registration:
    fields = {"address": f"{name}:4444", "attributes": {"peer": f"{name}:4545"}, **fields}
    return Registration("tea", name, role=role, epoch=epoch, **fields)


class WhereaboutsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client, self.pair, self.server = FakeClient(), FakePair(), FakeServer()
        outside: tuple[Any, ...] = (self.client, self.pair, self.server)
        self.service = Whereabouts(*outside)
        self.service.startService()

    def test_it_listens_to_its_service_until_it_is_stopped(self) -> None:
        self.assertEqual(self.client.watched, [(self.service, "tea")])
        self.service.stopService()
        self.assertEqual(self.client.watched, [])

    def test_stopped_before_it_began_it_has_nothing_to_end(self) -> None:
        outside: tuple[Any, ...] = (self.client, self.pair, self.server)
        Whereabouts(*outside).stopService()
        self.assertEqual(len(self.client.watched), 1)

    def test_the_log_knows_the_peer_links_of_the_others(self) -> None:
        self.service.names_listed([node("east"), node("west"), node("news", attributes={"http": "news:80"})])
        self.assertEqual(self.pair.known, {"west": "west:4545"})
        self.service.name_registered(node("north", "standby"))
        self.assertEqual(self.pair.known, {"west": "west:4545", "north": "north:4545"})
        self.service.name_registered(node("west", attributes={"peer": "west:6"}))
        self.assertEqual(self.pair.known, {"west": "west:6", "north": "north:4545"})

    def test_what_can_be_no_address_is_none(self) -> None:
        bad = [node(f"n{number}", attributes={"peer": peer}) for number, peer in enumerate(("", "x", "x:0", "a b:1"))]
        self.service.names_listed([*bad, node("west")])
        self.assertEqual(self.pair.known, {"west": "west:4545"})

    def test_one_that_is_gone_is_remembered_until_all_are_listed_anew(self) -> None:
        self.service.names_listed([node("west"), node("north")])
        self.service.name_gone(node("west"))
        self.service.name_registered(node("south"))
        self.assertEqual(set(self.pair.known), {"west", "north", "south"})
        self.service.names_listed([node("north")])
        self.assertEqual(set(self.pair.known), {"north"})

    def test_the_chat_hears_where_clients_are_served(self) -> None:
        self.service.names_listed([node("west", "leader", 3), node("north", "leader", 4), node("south", epoch=9)])
        self.assertEqual(self.server.servers, [["north:4444"]], "of two, the one that leads in the higher epoch")
        self.service.name_registered(node("north", "leader", 5, attributes={"page": "http://north"}))
        self.assertEqual(self.server.pages, [[], ["http://north"]])

    def test_pages_of_those_that_stand_by_are_known_too(self) -> None:
        pages = [node(name, "standby", attributes={"page": f"http://{name}"}) for name in ("east", "north")]
        self.service.names_listed([*pages, node("west", "leader")])
        self.assertEqual(self.server.pages_elsewhere, ["http://north"])

    def test_nothing_where_nobody_else_serves(self) -> None:
        self.service.names_listed([node("east", "leader", 5), node("west"), node("north", "leader", 4, address="")])
        self.assertEqual(self.server.servers, [])

    def test_a_leader_that_speaks_tls(self) -> None:
        self.service.names_listed([node("west", "leader", attributes={"tls": "yes"})])
        self.assertEqual(self.server.servers, [["tls:west:4444"]])
