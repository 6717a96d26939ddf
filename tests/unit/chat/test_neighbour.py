"""Tests for chatproto.chat.neighbour: what a node makes of what the others tell, of whom there may be several."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.neighbour import Neighbour
from chatproto.chat.notes import Here, decode_note, encode_note
from chatproto.chat.settings import ChatSettings
from chatproto.log.interface import Peer


class FakeLog:
    """The node's log, as far as it carries notes."""

    serving = True

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.told: list[Any] = []

    def tell(self, note: bytes) -> bool:
        self.told.append(decode_note(note))
        return True


class NeighbourTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.log = FakeLog()
        outside: tuple[Any, ...] = (self.log, {}, Clock())
        self.neighbour = Neighbour(ChatSettings(name="east", servers=["east:4444"], capacity=7), *outside)

    def peers(self, *names: str) -> None:
        """Have links to these nodes, and to no others."""
        self.log.peers = [Peer(name, "follower", 0) for name in names]
        self.neighbour.changed()

    def hear(self, name: str, *, sessions: int = 0, capacity: int = 1, serving: bool = True) -> None:
        here = Here([f"{name}:4444"], sessions, capacity, serving, name)
        self.neighbour.told(encode_note(here), lambda question: self.fail("nothing was asked"))

    @property
    def sight(self) -> tuple[bool, list[str]]:
        return self.neighbour.serving, self.neighbour.servers

    def test_it_tells_how_this_node_is_and_its_name(self) -> None:
        self.peers("west")
        self.assertEqual(self.log.told, [Here(["east:4444"], 0, 7, True, "east")])
        self.neighbour.retire()
        self.neighbour.retire(retired=False)
        self.assertEqual([here.serving for here in self.log.told[1:]], [False, True])

    def test_where_tls_is_spoken_is_told_beside_the_addresses(self) -> None:
        outside: tuple[Any, ...] = (self.log, {}, Clock())
        self.neighbour = Neighbour(ChatSettings(name="east", servers=["tls:east:4444", "east:5"]), *outside)
        self.peers("west")
        (here,) = self.log.told
        self.assertEqual((here.servers, here.tls), (["east:4444", "east:5"], ["east:4444"]))
        west = Here(["west:4444", "west:5"], 0, 1, True, "west", tls=["west:5"])
        self.neighbour.told(encode_note(west), lambda question: self.fail("nothing was asked"))
        self.assertEqual(self.sight, (True, ["west:4444", "tls:west:5"]))
        self.peers()
        self.assertEqual(self.sight, (False, ["west:4444", "tls:west:5"]))

    def test_before_it_hears_of_anybody(self) -> None:
        self.assertEqual(self.sight, (False, []))
        self.assertFalse(self.neighbour.takes_one())

    def test_of_several_those_count_that_serve(self) -> None:
        self.peers("west", "north")
        self.hear("west", serving=False)
        self.hear("north")
        self.assertEqual(self.sight, (True, ["north:4444"]))
        self.hear("west")
        self.assertEqual(self.sight, (True, ["west:4444", "north:4444"]))
        self.hear("north", serving=False)
        self.assertEqual(self.sight, (True, ["west:4444"]))

    def test_what_one_tells_is_not_held_against_another(self) -> None:
        """A node that stands by serves nobody, and the one that clients are sent to does."""
        self.peers("west", "north")
        self.hear("west")
        self.hear("north", serving=False)
        self.assertEqual(self.sight, (True, ["west:4444"]))

    def test_one_whose_links_are_gone_serves_nobody(self) -> None:
        self.peers("west", "north")
        self.hear("west")
        self.hear("north")
        self.peers("north")
        self.assertEqual(self.sight, (True, ["north:4444"]))
        self.peers()
        self.assertEqual(self.sight, (False, ["north:4444"]), "where it was last")

    def test_any_that_has_room_takes_one_and_that_one_is_counted(self) -> None:
        self.peers("west", "north")
        self.hear("west", sessions=1)
        self.hear("north", capacity=2)
        self.assertEqual([self.neighbour.takes_one() for _ in range(3)], [True, True, False])
        self.hear("north", capacity=5, serving=False)
        self.assertFalse(self.neighbour.takes_one())

    def test_where_clients_are_served_may_be_heard_from_elsewhere(self) -> None:
        self.neighbour.found(["north:4444"], ["http://north"])
        self.assertEqual(self.sight, (False, ["north:4444"]))
        self.assertEqual(self.neighbour.pages, ["http://north"])
        self.peers("west")
        self.hear("west")
        self.assertEqual(self.sight, (True, ["west:4444"]), "it says so itself")
        self.neighbour.found(["north:4444"], [])
        self.peers()
        self.assertEqual(self.sight, (False, ["west:4444"]), "nobody is asked while one that serves is heard")

    def test_pages_are_told_and_remembered_as_servers_are(self) -> None:
        settings = ChatSettings(name="east", pages=["http://east"])
        neighbour = self.neighbour = Neighbour(settings, self.log, {}, Clock())  # type: ignore[arg-type]
        self.peers("west")
        self.assertEqual(self.log.told[-1].pages, ["http://east"])
        self.assertEqual(neighbour.all_pages, ["http://east"])
        here = Here([], 0, 1, True, "west", ["http://west", "http://east"])
        neighbour.told(encode_note(here), lambda question: self.fail("nothing was asked"))
        self.peers()
        self.assertEqual((neighbour.pages, neighbour.all_pages), (here.pages, ["http://east", "http://west"]))
        neighbour.refer(["help:4444"])
        self.assertEqual(neighbour.pages, [], "those have told of no page")

    def test_clients_may_be_referred_to_others_whatever_is_heard(self) -> None:
        self.peers("west")
        self.hear("west")
        self.neighbour.refer(["help:4444"])
        self.assertEqual(self.sight, (True, ["help:4444"]))
