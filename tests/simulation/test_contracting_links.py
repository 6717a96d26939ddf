"""What is said wrongly to a contracting server, and what other parts of the system ask it."""

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.passwords import token_hash
from chatproto.link import Turn
from chatproto.news.contracting import parts
from chatproto.news.contracting.inquiry import NotAlive, ask
from chatproto.news.contracting.messages import (
    Alive,
    Ask,
    Check,
    Checked,
    Declined,
    Enter,
    Entered,
    Mobile,
    Offer,
    Propose,
    Readers,
    Waits,
    Where,
    decode_to_part,
    decode_to_reader,
)
from chatproto.news.contracting.server import WAITING_PER_ORIGIN_MAX
from chatproto.news.link import NewsLink
from chatproto.news.messages import Message, Refused
from chatproto.news.terms import PULL, Terms
from chatproto.trust.interface import BELIEVING
from tests.simulation.contracting import SPORT, TOO_MUCH, Contracts

MOBILE = Terms(("sport",), PULL, mobile=True)


class Stranger(Factory):
    """Says whatever it is told to, and notes what it hears."""

    def __init__(self, scene: Contracts, port: int, decode: Callable[[bytes], Any]) -> None:
        self.scene = scene
        self.heard: list[Any] = []
        self.lost = ""
        world = scene.network.host("stranger").world()
        self._outside = Turn(world.clock), world.clock
        self._decode = decode
        world.client(f"tcp:master:{port}").connect(self)
        scene.until(lambda: hasattr(self, "link"))

    def buildProtocol(self, addr: Any) -> NewsLink:
        return NewsLink(self, self._decode, *self._outside, dialled=True)

    def link_admitted(self, link: NewsLink) -> None:
        self.link = link

    def link_received(self, link: NewsLink, message: Any) -> None:
        self.heard.append(message)

    def link_lost(self, link: NewsLink, reason: str) -> None:
        self.lost = reason

    def say(self, *messages: Message) -> Any:
        """Say something; return the answer."""
        self.heard.clear()
        for message in messages:
            self.link.say(message)
        self.scene.until(lambda: bool(self.heard))
        return self.heard[0]

    def dropped(self, *messages: Message) -> str:
        """Say something for which the other side ends the link; return for what reason."""
        before = self.scene.tree().server.tally.dropped.copy()
        for message in messages:
            self.link.say(message)
        self.scene.until(lambda: bool(self.lost))
        [(door, reason)] = (self.scene.tree().server.tally.dropped - before).keys()
        return f"{door} {reason}"


class ReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.scene = Contracts(slave=False)
        self.scene.settle("north")
        self.stranger = Stranger(self.scene, 4848, decode_to_reader)

    def test_another_version(self) -> None:
        refused = self.stranger.say(Enter(9, "ada", "secret", True))
        self.assertIsInstance(refused, Refused)
        self.assertEqual(refused.code, "version")

    def test_a_request_before_the_hello(self) -> None:
        self.assertEqual(self.stranger.dropped(Where(1)), "news-contract stranger")

    def test_a_request_before_the_hello_is_answered(self) -> None:
        self.assertEqual(self.stranger.dropped(Enter(1, "ada", "secret", True), Where(1)), "news-contract stranger")

    def test_a_second_hello(self) -> None:
        enter = Enter(1, "ada", "secret", True)
        self.assertEqual(self.stranger.say(enter), Entered("master"))
        self.assertEqual(self.stranger.dropped(enter), "news-contract bad-frame")

    def test_two_requests_at_a_time(self) -> None:
        self.stranger.say(Enter(1, "ada", "secret", True))
        self.scene.holding = True
        self.assertEqual(self.stranger.dropped(Propose(1, "id", SPORT), Where(2)), "news-contract bad-frame")
        self.assertEqual(self.scene.tree().server.negotiations, 0)
        self.scene.release()
        self.scene.until(lambda: self.scene.book().accounts["ada"].contract is not None)

    def test_ids_that_are_none(self) -> None:
        self.stranger.say(Enter(1, "ada", "secret", True))
        for number, id in enumerate(("", "x" * 65)):
            answer = self.stranger.say(Propose(number, id, SPORT))
            self.assertIsInstance(answer, Declined)
            self.assertEqual((answer.number, answer.code), (number, "bad-id"))

    def test_another_negotiation_ends_the_first(self) -> None:
        too_much = Terms(("sport",), paid=True, minimum=50)
        self.stranger.say(Enter(1, "ada", "secret", True))
        for id in ("one", "two"):
            self.assertEqual(len(self.stranger.say(Propose(1, id, too_much)).options), 2)
            self.assertEqual(self.scene.tree().server.negotiations, 1)

    def test_more_topics_than_there_can_be(self) -> None:
        self.stranger.say(Enter(1, "ada", "secret", True))
        topics = tuple(f"topic-{number}" for number in range(100))
        self.assertEqual(self.stranger.dropped(Propose(1, "id", Terms(topics))), "news-contract bad-frame")


class CrowdTests(SynchronousTestCase):
    def test_one_address_does_not_keep_everybody_out(self) -> None:
        """It has all places, and its negotiations wait for more, as many as may."""
        scene = Contracts(slave=False, negotiations_max=1)
        scene.settle("north")
        crowd = [Stranger(scene, 4848, decode_to_reader) for _ in range(WAITING_PER_ORIGIN_MAX + 2)]
        for number, one in enumerate(crowd):
            one.say(Enter(1, f"bot-{number}", "secret", True))
        answers = [one.say(Propose(1, "id", TOO_MUCH)) for one in crowd]
        self.assertIsInstance(answers[0], Offer)
        self.assertEqual({type(answer) for answer in answers[1:-1]}, {Waits})
        self.assertEqual(answers[-1].code, "busy")
        told: list[str] = []
        client = scene.client("ada")
        client.told = told.append
        client.propose(SPORT)
        scene.until(lambda: bool(told))
        self.assertEqual(told, [f"as many negotiate as may; before you: {WAITING_PER_ORIGIN_MAX}"])


class PartTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.scene = Contracts(slave=False)
        self.scene.settle("north")
        self.part = Stranger(self.scene, 4747, decode_to_part)
        self.assertEqual(self.part.say(Ask()), Alive("master", True))

    def test_mobile_readers_of_a_node(self) -> None:
        self.patch(parts, "READERS_AT_ONCE_MAX", 2)
        places = [
            self.scene.wait(self.scene.client(name).propose(terms))
            for name, terms in (("ada", MOBILE), ("bob", SPORT), ("eve", MOBILE), ("zoe", MOBILE))
        ]
        known = [(place.reader, token_hash(place.ticket), ("sport",)) for place in places if place.terms.mobile]
        self.assertEqual(self.part.say(Readers("north")), Mobile(tuple(known[:2]), True))
        self.assertEqual(self.part.say(Readers("north", "eve")), Mobile(tuple(known[2:]), False))
        self.assertEqual(self.part.say(Readers("south")), Mobile((), False))

    def test_a_mobile_reader_who_logs_in_at_the_page(self) -> None:
        ada = self.scene.client("ada")
        self.scene.wait(ada.enter())
        self.assertEqual(self.part.say(Check(1, "ada", "secret", "10.0.0.1")), Checked(1, "no-contract"))
        place = self.scene.wait(ada.propose(MOBILE))
        self.assertEqual(self.part.say(Check(2, "ada", "secret", "10.0.0.1")), Checked(2, "", place))
        self.assertEqual(self.part.say(Check(3, "ada", "guess", "10.0.0.1")), Checked(3, "login-failed"))
        self.assertEqual(self.part.say(Check(4, "ada", "secret", "10.0.0.1")), Checked(4, "slowed"))

    def test_what_belongs_to_another_door(self) -> None:
        self.part.link.say(Where(1))
        self.scene.until(lambda: bool(self.part.lost))


class InquiryTests(SynchronousTestCase):
    def test_whoever_answers_something_else_or_nothing_is_not_alive(self) -> None:
        """As the port of readers does, where the hello is not known."""
        scene = Contracts(slave=False)
        scene.settle("north")
        world = scene.network.host("asking").world()
        for port, error in ((4848, NotAlive), (4747, None)):
            asking = ask(world.client(f"tcp:master:{port}"), Turn(world.clock), world.clock, BELIEVING)
            if error is None:
                self.assertEqual(scene.wait(asking), Alive("master", True))
            else:
                with self.assertRaises(error):
                    scene.wait(asking)
