"""Tests for chatproto.cli.news.status: what nodes say of themselves, and what that means."""

import json

from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.news.status import Found, as_json, table, verdict
from chatproto.registry import Registration
from chatproto.services.news.status import NewsStatus


def node(name: str, role: str, *, serving: bool = True, why: str = "") -> Found:
    registration = Registration("news", name, f"news-{role}", "here:4848" if role != "proxy" else "")
    return Found(registration, None if why else NewsStatus(role, name, "1", 61.0, serving, "3 items"), why)


ALL = [node("tokyo", "delivery"), node("rome", "root"), node("clerk", "contracts"), node("phone", "proxy")]


class StatusTests(SynchronousTestCase):
    def test_news_gets_through_where_every_role_serves(self) -> None:
        self.assertEqual(verdict(ALL), (True, "the root, 1 delivery node and the contracting service serve"))
        self.assertIn("2 delivery nodes", verdict([*ALL, node("oslo", "delivery")])[1])

    def test_it_says_what_is_missing(self) -> None:
        for gone, why in (("rome", "no root"), ("tokyo", "no delivery node"), ("clerk", "no contracting service")):
            left = [one for one in ALL if one.registration.name != gone]
            good, said = verdict(left)
            self.assertFalse(good)
            self.assertTrue(said.startswith(why), said)
            good, said = verdict([*left, node(gone, "router", why="gone")])
            self.assertFalse(good)
        self.assertEqual(verdict([*ALL, node("oslo", "delivery", serving=False)]), (False, "not all serve: oslo"))

    def test_the_table_goes_down_the_tree(self) -> None:
        lines = table([*ALL, node("oslo", "delivery", why="no-answer\x1b"), node("x", "king")]).splitlines()
        self.assertEqual([line.split()[0] for line in lines[1:-1]], ["rome", "oslo", "tokyo", "clerk", "phone", "x"])
        self.assertEqual(lines[1].split(), ["rome", "root", "yes", "1m", "1s", "here:4848", "3", "items"])
        self.assertIn("no-answer␛", lines[2])
        self.assertEqual(lines[-1], "Does news get through? No: not all serve: oslo.")

    def test_json_has_everything(self) -> None:
        found = json.loads(as_json([*ALL, node("oslo", "delivery", why="no-answer")]))
        self.assertFalse(found["gets_through"])
        by_name = {one["name"]: one for one in found["nodes"]}
        self.assertEqual(by_name["oslo"]["error"], "no-answer")
        self.assertEqual(by_name["rome"]["up_s"], 61.0)
