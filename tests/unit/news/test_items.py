"""Which items are taken from a source."""

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.items import (
    BODY_BYTES_MAX,
    ID_CHARS_MAX,
    LIFE_S_MAX,
    NAME_CHARS_MAX,
    REASONS,
    TITLE_CHARS_MAX,
    TOPICS,
    Held,
    name_allowed,
    refusal_of,
)
from tests.unit.news.samples import NOW, item_of


class RefusalTests(SynchronousTestCase):
    def refusal(self, **fields: object) -> str:
        code = refusal_of(item_of(**fields), "ansa", frozenset(TOPICS), NOW)
        self.assertTrue(code == "" or code in REASONS)
        return code

    def test_what_is_in_order_is_taken(self) -> None:
        self.assertEqual(self.refusal(), "")
        self.assertEqual(self.refusal(size=BODY_BYTES_MAX), "")
        self.assertEqual(self.refusal(size=0), "")
        self.assertEqual(self.refusal(title=""), "")
        self.assertEqual(self.refusal(title="È finita: 1–0"), "")
        self.assertEqual(self.refusal(media_type="text/html; charset=utf-8"), "")
        self.assertEqual(self.refusal(expires=NOW + LIFE_S_MAX), "")

    def test_a_source_publishes_under_its_own_name(self) -> None:
        self.assertEqual(self.refusal(source="reuters"), "wrong-source")

    def test_ids(self) -> None:
        for bad in ("", "a b", "é", "x" * (ID_CHARS_MAX + 1), "a\n", "a/b"):
            self.assertEqual(self.refusal(id=bad), "bad-id", bad)

    def test_topics(self) -> None:
        for bad in ("astrology", "", "Sport"):
            self.assertEqual(self.refusal(topic=bad), "unknown-topic", bad)

    def test_titles(self) -> None:
        for bad in ("x" * (TITLE_CHARS_MAX + 1), "a\nb", "a\x1b[2J", "a\u2028b"):
            self.assertEqual(self.refusal(title=bad), "bad-title", bad)

    def test_media_types(self) -> None:
        for bad in ("", "text", "text/", "text/plain\n", "téxt/plain", "text/plain, x", "a/" + "b" * 100):
            self.assertEqual(self.refusal(media_type=bad), "bad-media-type", bad)

    def test_sizes(self) -> None:
        self.assertEqual(self.refusal(size=-1), "bad-size")
        self.assertEqual(self.refusal(size=BODY_BYTES_MAX + 1), "too-large")

    def test_expiries(self) -> None:
        for bad in (NOW, NOW - 1, -5.0, NOW + LIFE_S_MAX + 1, math.nan, math.inf, -math.inf):
            self.assertEqual(self.refusal(expires=bad), "bad-expiry", bad)

    @given(st.text(), st.text(), st.text(), st.integers(), st.floats(allow_nan=True))
    def test_whatever_comes_there_is_an_answer(self, id: str, title: str, kind: str, size: int, at: float) -> None:
        self.refusal(id=id, title=title, media_type=kind, size=size, expires=at)


class NameTests(SynchronousTestCase):
    def test_names(self) -> None:
        for good in ("ansa", "A", "9", "a.b-c_d", "x" * NAME_CHARS_MAX):
            self.assertTrue(name_allowed(good), good)
        for bad in ("", ".a", "-a", "a b", "é", "a\n", "x" * (NAME_CHARS_MAX + 1)):
            self.assertFalse(name_allowed(bad), bad)


class HeldTests(SynchronousTestCase):
    def test_the_delay_goes_on_here(self) -> None:
        held = Held(item_of(), stamp=1, delay_s=10.0, since=100.0)
        self.assertEqual(held.delay_at(103.0), 13.0)
