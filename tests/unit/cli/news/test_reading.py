"""Tests for chatproto.cli.news.reading: how items are shown."""

import json
import os
from types import SimpleNamespace
from typing import cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.news.reaching import Reach
from chatproto.cli.news.reading import UNKNOWN_S_MAX, Reading, ReadingFailed, Showing
from chatproto.news.reader import NewsReader
from tests.unit.news.proxy.making import item_of


class ShowingTests(SynchronousTestCase):
    def showing(self, **given: object) -> Showing:
        self.said: list[str] = []
        self.clock = Clock()
        reading = Reading(Reach("here"), "anna", "secret", **given)  # type: ignore[arg-type]
        return Showing(reading, self.said.append, self.clock)

    def test_nothing_in_an_item_does_anything_on_a_terminal(self) -> None:
        show = self.showing()
        show.show(item_of(1, b"a\x1b[2J\nb", title="\x1b]0;x", source="an\nsa"), b"a\x1b[2J\nb")
        self.assertNotIn("\x1b", "".join(self.said))
        self.assertFalse([line for line in self.said if "\n" in line])
        self.assertEqual(self.said[-2:], ["   a␛[2J", "   b"])
        show.show(item_of(2, b"\x89", media_type="image/png"), b"\x89")
        self.assertEqual(self.said[-1], "   image/png, 1 bytes; --save DIR keeps it")

    def test_json_is_a_line_an_item(self) -> None:
        show = self.showing(as_json=True)
        show.show(item_of(1, "ü\n".encode()), "ü\n".encode())
        self.assertEqual(json.loads(self.said[0])["text"], "ü\n")

    def test_bodies_are_kept_under_names_that_stay_in_the_directory(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        show = self.showing(directory=directory, as_json=True)
        show.show(item_of(1, b"x", source="../..", id="/etc"), b"x")
        self.assertEqual(os.listdir(directory), ["1-.._..-_etc"])
        self.assertEqual(json.loads(self.said[0])["file"], os.path.join(directory, "1-.._..-_etc"))

    def test_it_ends_when_it_is_enough(self) -> None:
        show = self.showing(count=2)
        self.assertEqual(show.left, 2)
        for number in (1, 2):
            show.show(item_of(number), b"It rains.")
        self.successResultOf(show.enough)
        self.assertRaises(ReadingFailed, show.show, item_of(3), b"It rains.")
        show.refused("moved")

    def test_it_ends_when_the_node_says_no(self) -> None:
        show = self.showing()
        show.refused("closing")
        self.assertNoResult(show.enough)
        show.refused("moved")
        self.failureResultOf(show.enough, ReadingFailed)

    def test_a_node_may_hear_of_a_contract_later_than_its_reader(self) -> None:
        show = self.showing()
        reader = show.reader = cast(NewsReader, SimpleNamespace(last_refusal="unknown-reader"))
        show.refused("unknown-reader")
        show.refused("unknown-reader")
        reader.last_refusal = ""
        self.clock.advance(UNKNOWN_S_MAX)
        self.assertNoResult(show.enough)
        reader.last_refusal = "unknown-reader"
        show.refused("unknown-reader")
        self.clock.advance(UNKNOWN_S_MAX - 0.1)
        self.assertNoResult(show.enough)
        self.clock.advance(0.1)
        self.failureResultOf(show.enough, ReadingFailed)
