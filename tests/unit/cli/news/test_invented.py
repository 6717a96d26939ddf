"""Tests for chatproto.cli.news.invented: all of it can be published, and shown."""

import struct
import zlib
from itertools import islice

from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.news.invented import (
    AGENCIES,
    EXCLUSIVE_EVERY,
    FLEETING_EVERY,
    HEADLINES,
    HEIGHT,
    PICTURE_EVERY,
    SKIES,
    WIDTH,
    inventions,
    picture,
)
from chatproto.news.items import PRIORITIES, TITLE_CHARS_MAX, TOPICS, name_allowed
from chatproto.news.proxy.pages import PICTURE_BYTES_MAX


class InventedTests(SynchronousTestCase):
    def test_items_are_what_a_root_accepts(self) -> None:
        for name, priority in AGENCIES.items():
            self.assertTrue(name_allowed(name))
            self.assertIn(priority, PRIORITIES)
        self.assertEqual({topic for topic, _, _ in HEADLINES}, set(TOPICS))
        for each in islice(inventions(), 2 * PICTURE_EVERY):
            self.assertIn(each.source, AGENCIES)
            self.assertIn(each.topic, TOPICS)
            self.assertLessEqual(len(each.title), TITLE_CHARS_MAX)

    def test_there_is_one_of_each_kind(self) -> None:
        first = list(islice(inventions(), FLEETING_EVERY))
        self.assertTrue(first[EXCLUSIVE_EVERY - 1].exclusive)
        self.assertEqual(first[PICTURE_EVERY - 1].media_type, "image/png")
        self.assertLess(first[FLEETING_EVERY - 1].life_s, first[0].life_s)

    def test_a_picture_is_a_small_one_that_the_page_shows(self) -> None:
        shown = {picture(hour) for hour in range(len(SKIES))}
        self.assertEqual(len(shown), len(SKIES))
        for each in shown:
            self.assertLess(len(each), PICTURE_BYTES_MAX / 10)
            self.assertEqual(struct.unpack(">II", each[16:24]), (WIDTH, HEIGHT))
            self.assertEqual(len(_rows(each)), HEIGHT * (3 * WIDTH + 1))


def _rows(png: bytes) -> bytes:
    begin = png.index(b"IDAT")
    (size,) = struct.unpack(">I", png[begin - 4 : begin])
    return zlib.decompress(png[begin + 4 : begin + 4 + size])
