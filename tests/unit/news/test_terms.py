import math
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.items import TOPICS, Item
from chatproto.news.terms import ITEMS_AN_HOUR_MAX, PULL, REASONS, Terms, refusal_of

ALL = frozenset(TOPICS)


def item(topic: str, *, exclusive: bool = False) -> Item:
    return Item("ansa", "1", topic, "", "text/plain", 0, b"", 1.0, exclusive)


class IncludesTests(SynchronousTestCase):
    def test_topics(self) -> None:
        self.assertTrue(Terms(("sport",)).includes(item("sport")))
        self.assertFalse(Terms(("sport",)).includes(item("finance")))

    def test_exclusives_are_for_paid_contracts_that_include_them(self) -> None:
        for paid, exclusives, included in (
            (False, False, False),
            (False, True, False),
            (True, False, False),
            (True, True, True),
        ):
            terms = Terms(("sport",), paid=paid, exclusives=exclusives)
            self.assertIs(terms.includes(item("sport", exclusive=True)), included)

    def test_the_same_about_other_topics(self) -> None:
        terms = Terms(("sport",), PULL, paid=True).about(["sport", "finance", "sport"])
        self.assertEqual(terms, Terms(("finance", "sport"), PULL, paid=True))


class RefusalTests(SynchronousTestCase):
    def refusal(self, topics: tuple[str, ...] = ("sport",), **terms: Any) -> str:
        return refusal_of(Terms(topics, **terms), ALL)

    def test_what_makes_sense(self) -> None:
        for terms in (
            {},
            {"mode": PULL, "mobile": True},
            {"maximum": 1},
            {"paid": True, "minimum": 5, "maximum": 5, "delay_s_max": 0.5, "exclusives": True},
            {"paid": True, "minimum": ITEMS_AN_HOUR_MAX},
        ):
            self.assertEqual(self.refusal(**terms), "", terms)  # type: ignore[arg-type]
        self.assertEqual(self.refusal(TOPICS), "")

    def test_what_does_not(self) -> None:
        self.assertEqual(self.refusal(()), "no-topics")
        self.assertEqual(self.refusal(("sport", "weather")), "unknown-topic")
        for code, *wrong in (
            ("bad-minimum", {"paid": True, "minimum": -1}, {"paid": True, "minimum": ITEMS_AN_HOUR_MAX + 1}),
            ("bad-maximum", {"maximum": 0}, {"maximum": ITEMS_AN_HOUR_MAX + 1}),
            ("minimum-above-maximum", {"paid": True, "minimum": 6, "maximum": 5}),
            ("bad-delay", *({"paid": True, "delay_s_max": delay} for delay in (-1.0, math.inf, math.nan))),
            ("free-without-quality", {"minimum": 1}, {"delay_s_max": 1.0}, {"exclusives": True}),
            ("mobile-is-free-pull", {"mobile": True}, {"mobile": True, "mode": PULL, "paid": True}),
        ):
            for terms in wrong:
                self.assertEqual(self.refusal(**terms), code, terms)  # type: ignore[arg-type]
            self.assertIn(code, REASONS)
