"""Tests for the picture in the docs: it can be drawn again, and shows without fetching anything."""

import asyncio
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.cli.picture import scene, without_fonts


class Picture(SynchronousTestCase):
    def test_it_fetches_nothing(self) -> None:
        svg = without_fonts(asyncio.run(asyncio.wait_for(scene(), 30)))
        self.assertIn("carol", svg)
        self.assertEqual(set(re.findall(r"https?://[^\"'\s)<]*", svg)), {"http://www.w3.org/2000/svg"})
        self.assertNotIn("@font-face", svg)
