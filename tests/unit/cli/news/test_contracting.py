"""Tests for chatproto.cli.news.contracting: who wants a contract, and a service that bargains."""

import json
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.news.contracting import (
    ContractFailed,
    Negotiating,
    Wish,
    place_as_json,
    place_in_words,
    terms_in_words,
)
from chatproto.cli.news.offers import ASK, NEAREST, NOTHING
from chatproto.cli.news.reaching import Reach
from chatproto.errors import ContractRefused
from chatproto.news.terms import Place, Terms

PAID = Terms(("sport",), paid=True, minimum=5, maximum=50, delay_s_max=200.0)
LESS = Terms(("sport",), paid=True, minimum=5, maximum=20, delay_s_max=200.0)
FREE = Terms(("sport",))


class Client:
    """Agrees on some terms only."""

    def __init__(self, *agrees: Terms) -> None:
        self.agrees = agrees
        self.proposed: list[Terms] = []
        self.given_up = self.cancelled = self.deleted = False
        self.password = ""

    def propose(self, terms: Terms) -> "Deferred[Any]":
        self.proposed.append(terms)
        return succeed(self.place(terms) if terms in self.agrees else (LESS, FREE))

    def place(self, terms: Terms) -> Place:
        return Place("anna", terms, "east", "west", "ticket")

    def give_up(self) -> "Deferred[None]":
        self.given_up = True
        return succeed(None)

    def where(self) -> "Deferred[Any]":
        return succeed(self.place(self.agrees[0])) if self.agrees else fail(ContractRefused("no-contract", "none"))

    def cancel(self) -> "Deferred[None]":
        self.cancelled = True
        return succeed(None)

    def change_password(self, password: str) -> "Deferred[None]":
        self.password = password
        return succeed(None)

    def delete_account(self) -> "Deferred[None]":
        self.deleted = True
        return succeed(None)


class NegotiatingTests(SynchronousTestCase):
    def go(self, client: Client, *typed: str | None, **wish: Any) -> "Deferred[Place | None]":
        answers = list(typed)
        self.said: list[str] = []

        async def hear(question: str) -> str | None:
            self.said.append(question)
            return answers.pop(0)

        wanted = Wish(Reach("here"), "anna", "secret", **wish)
        return Deferred.fromCoroutine(Negotiating(client, wanted, self.said.append, hear).go())

    def test_what_can_be_had_is_had(self) -> None:
        place = self.successResultOf(self.go(Client(PAID), terms=PAID))
        assert place is not None
        self.assertEqual(place.terms, PAID)
        self.assertEqual(self.said, [])

    def test_a_script_takes_the_nearest_offer_or_nothing(self) -> None:
        place = self.successResultOf(self.go(Client(LESS), terms=PAID, offers=NEAREST))
        assert place is not None
        self.assertEqual(place.terms, LESS)
        client = Client(LESS)
        self.failureResultOf(self.go(client, terms=PAID, offers=NOTHING), ContractFailed)
        self.assertTrue(client.given_up)

    def test_somebody_picks_counters_or_gives_up(self) -> None:
        client = Client(FREE)
        place = self.successResultOf(self.go(client, "7", "x", "2", terms=PAID, offers=ASK))
        assert place is not None
        self.assertEqual(place.terms, FREE)
        self.assertIn("'7' is neither.", self.said)
        counter = Terms(("sport",), paid=True, minimum=5, maximum=10, delay_s_max=200.0)
        client = Client(counter)
        typed = ("c", "", "n", "n", "", "", "", "10", "")
        self.successResultOf(self.go(client, *typed, terms=PAID, offers=ASK))
        self.assertEqual(client.proposed, [PAID, counter])
        for ending in ("q", None):
            client = Client()
            self.failureResultOf(self.go(client, ending, terms=PAID, offers=ASK), ContractFailed)
            self.assertTrue(client.given_up)

    def test_somebody_is_asked_for_the_terms(self) -> None:
        mobile = Terms(("gossip", "sport"), mode="pull", mobile=True)
        self.successResultOf(self.go(Client(mobile), ",", "sport, gossip", "maybe", "y", offers=ASK))
        paid = Terms(("sport",), mode="pull", paid=True, exclusives=True, minimum=5, maximum=50, delay_s_max=100.0)
        typed = ("sport", "n", "y", "yes", "y", "five", "5", "50", "100")
        self.successResultOf(self.go(Client(paid), *typed, offers=ASK))
        self.assertIn("'five' is no number", self.said)
        self.successResultOf(self.go(Client(FREE), "sport", "", "", "", offers=ASK))
        self.failureResultOf(self.go(Client(), None, offers=ASK), ContractFailed)

    def test_a_contract_is_shown_and_ended(self) -> None:
        place = self.successResultOf(self.go(Client(PAID), looks=True))
        assert place is not None
        self.assertEqual(place.node, "east")
        failure = self.failureResultOf(self.go(Client(), looks=True), ContractFailed)
        self.assertEqual(failure.getErrorMessage(), "no-contract: none")
        client = Client()
        self.assertIsNone(self.successResultOf(self.go(client, ends=True)))
        self.assertTrue(client.cancelled)

    def test_another_password_and_the_end_of_an_account(self) -> None:
        client = Client()
        self.assertIsNone(self.successResultOf(self.go(client, renewed="another")))
        self.assertEqual(client.password, "another")
        self.assertIsNone(self.successResultOf(self.go(client, closes=True)))
        self.assertTrue(client.deleted)


class WordsTests(SynchronousTestCase):
    def test_a_contract_reads_well_and_keeps_its_ticket(self) -> None:
        self.assertEqual(
            terms_in_words(Terms(("a", "b"), "pull", True, True, False, 5, 50, 200.0)),
            "a, b; asked for; paid; with exclusives; at least 5 an hour; at most 50 an hour; at most 200 s late",
        )
        self.assertEqual(terms_in_words(Terms((), "pull", mobile=True)), "nothing; on the mobile page; free")
        place = Place("anna", FREE, "east", "west", "hush")
        self.assertEqual(place_in_words(place), ["anna: sport; sent; free", "delivered by east, or west in its place"])
        self.assertEqual(place_in_words(Place("anna", FREE, "east", "", "hush"))[1], "delivered by east")
        found = json.loads(place_as_json(place))
        self.assertEqual((found["node"], found["terms"]["topics"]), ("east", ["sport"]))
        self.assertNotIn("hush", place_as_json(place))
