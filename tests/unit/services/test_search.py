"""Tests for chatproto.services.search: when the index is advanced, and what is said when there is none."""

import sqlite3
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import Rejected, StoreError
from chatproto.log.interface import Found, Wanted
from chatproto.services.search import AFTER_FAILURE_S, BUSY_ENTRIES, LOOK_EVERY_S, PIECES_EVERY_S, SearchService

WANTED = Wanted('"tea"', {"den": (1, 9)})


class FakeSearch:
    def __init__(self) -> None:
        self.asked: list[tuple[int, dict[str, int]]] = []
        self.answers: list[Deferred[int]] = []
        self.closed = 0

    def advance(self, position: int, first: dict[str, int]) -> "Deferred[int]":
        self.asked.append((position, first))
        self.answers.append(Deferred())
        return self.answers[-1]

    def find(self, wanted: Wanted) -> "Deferred[Found]":
        found: Deferred[Found] = Deferred()
        found.callback(Found([], more=wanted is not WANTED))
        return found

    def close(self) -> "Deferred[None]":
        self.closed += 1
        return Deferred()


class SearchTests(SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.search = FakeSearch()
        self.hall: Any = SimpleNamespace(kept=lambda: {"den": 3})
        self.server: Any = SimpleNamespace(log=SimpleNamespace(position=5), hall=self.hall, search_by=self.search_by)
        self.service = SearchService(self.clock, self.open, self.server)
        self.fails = False

    def search_by(self, find: Any) -> None:
        self.find = find

    def open(self) -> Any:
        if self.fails:
            raise StoreError("no such module: fts5")
        return self.search

    def answer(self, left: int = 0) -> None:
        self.search.answers.pop().callback(left)

    def test_what_there_is_is_taken_in_piece_by_piece_and_then_what_is_new(self) -> None:
        self.service.startService()
        self.assertEqual(self.search.asked, [(5, {"den": 3})])
        self.answer(2)
        self.clock.advance(PIECES_EVERY_S)
        self.assertEqual(len(self.search.asked), 2)
        self.answer()
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(len(self.search.asked), 2, "nothing is new")
        self.server.log.position = 6
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(self.search.asked[2:], [(6, {"den": 3})])

    def test_while_much_is_said_it_takes_its_time(self) -> None:
        self.service.startService()
        self.answer(1)
        self.server.log.position += BUSY_ENTRIES + 1
        self.clock.advance(PIECES_EVERY_S)
        self.answer(1)
        self.clock.advance(PIECES_EVERY_S)
        self.assertEqual(len(self.search.asked), 2)
        self.clock.advance(LOOK_EVERY_S)
        self.assertEqual(len(self.search.asked), 3)
        self.answer(1)
        self.clock.advance(PIECES_EVERY_S)
        self.assertEqual(len(self.search.asked), 4, "no more was said since")

    def test_no_two_at_once(self) -> None:
        self.service.startService()
        self.server.log.position = 9
        self.clock.advance(100)
        self.assertEqual(len(self.search.asked), 1)

    def test_a_full_disk_is_no_mistake(self) -> None:
        self.service.startService()
        self.search.answers.pop().errback(sqlite3.OperationalError("database or disk is full"))
        self.clock.advance(AFTER_FAILURE_S)
        self.assertEqual((len(self.search.asked), self.flushLoggedErrors()), (2, []))

    def test_a_failure_is_logged_once_and_it_is_tried_again(self) -> None:
        self.service.startService()
        for _ in range(3):
            self.search.answers.pop().errback(ValueError("a mistake"))
            self.clock.advance(AFTER_FAILURE_S)
        self.assertEqual((len(self.search.asked), len(self.flushLoggedErrors(ValueError))), (4, 1))
        self.answer()
        self.server.log.position = 6
        self.clock.advance(LOOK_EVERY_S)
        self.search.answers.pop().errback(ValueError("full again"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_how_far_it_is_behind(self) -> None:
        self.assertIsNone(self.service.behind, "nothing is searched")
        self.service.startService()
        self.assertEqual(self.service.behind, 5)
        self.answer(2)
        self.assertEqual(self.service.behind, 2)
        self.clock.advance(PIECES_EVERY_S)
        self.answer()
        self.assertEqual(self.service.behind, 0)
        self.server.log.position = 9
        self.assertEqual(self.service.behind, 4)
        self.server.log.position = 1
        self.assertEqual(self.service.behind, 0, "the log is another one")
        self.service.stopService()
        self.assertIsNone(self.service.behind)

    def test_searches_are_passed_on(self) -> None:
        self.service.startService()
        self.assertEqual(self.successResultOf(self.find(WANTED)), Found([], more=False))

    def test_before_and_after_and_where_it_cannot_be_opened_nothing_is_searched(self) -> None:
        self.failureResultOf(self.find(WANTED), Rejected)
        self.fails = True
        self.service.startService()
        self.failureResultOf(self.find(WANTED), Rejected)
        self.assertIsNone(self.service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_closes_it_also_in_the_middle(self) -> None:
        self.service.startService()
        self.assertIsNotNone(self.service.stopService())
        self.assertEqual(self.search.closed, 1)
        self.answer(7)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.service.startService()
        self.answer()
        self.service.stopService()
        self.assertEqual((self.search.closed, self.clock.getDelayedCalls()), (2, []))
