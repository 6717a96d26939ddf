"""Tests for chatproto.log.search: the index of a log that grows, is cut, purged, replaced and damaged."""

import os
import sqlite3
from contextlib import closing
from typing import Any
from unittest import mock

import msgspec
from zope.interface.verify import verifyClass

from chatproto.chat.messages import SaidExtended, encode
from chatproto.errors import StoreError
from chatproto.log import search
from chatproto.log.entry import ACT, MESSAGE, Run
from chatproto.log.interface import Found, ISearch, Wanted
from chatproto.log.rows import INSERT_ROW, row_of
from chatproto.log.search import SearchIndex
from tests.unit.log.rig import SQLiteTestCase

EVERYTHING = 2**62
SAID = msgspec.json.Decoder(SaidExtended)


class SearchTestCase(SQLiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.open()
        self.close()
        self.search: SearchIndex | None = None
        self.addCleanup(self.leave)
        self.come()
        self.index = 0
        self.positions: dict[str, int] = {}

    def come(self) -> None:
        self.search = SearchIndex(self.directory, self.calls)

    def leave(self) -> None:
        search, self.search = self.search, None
        if search is not None:
            self.take(search.close())

    def take(self, answer: Any) -> Any:
        self.calls.run_until(lambda: answer.called)
        return self.successResultOf(answer)

    def query(self, sql: str, *rows: tuple[Any, ...]) -> None:
        with closing(sqlite3.connect(self.path)) as database:
            for row in rows or ((),):
                database.execute(sql, row)
            database.commit()

    def keep(self, run: Run) -> None:
        self.query(INSERT_ROW, row_of(run))

    def say(self, *contents: str, room: str = "den", epoch: int = 1) -> int:
        """Put a run into the log; return its last index."""
        start, position = self.index + 1, self.positions.get(room, 0) + 1
        self.index += len(contents)
        self.positions[room] = position + len(contents) - 1
        lines = [
            encode(SaidExtended("adel", content, room, position + at, epoch, f"id-{start + at}", 1.0)).rstrip(b"\n")
            for at, content in enumerate(contents)
        ]
        ids = [f"id-{start + at}" for at in range(len(contents))]
        self.keep(Run(start, epoch, MESSAGE, room, position, 1.0, ids, b"\n".join(lines)))
        return self.index

    def act(self) -> int:
        self.index += 1
        self.keep(Run(self.index, 1, ACT, "", 0, 1.0, [f"act-{self.index}"], b"{}"))
        return self.index

    def advance(self, position: int | None = None, **first: int) -> int:
        assert self.search is not None
        return int(self.take(self.search.advance(self.index if position is None else position, first)))

    def find(self, match: str, *rooms: str, last: int = EVERYTHING, **more: Any) -> list[str]:
        """Return what is found, in short."""
        found = self.found(match, *rooms, last=last, **more)
        return [SAID.decode(line).content for _, line in found.lines]

    def found(self, match: str, *rooms: str, first: int = 1, last: int = EVERYTHING, **more: Any) -> Found:
        assert self.search is not None
        wanted = Wanted(match, dict.fromkeys(rooms or ("den",), (first, last)), **more)
        found: Found = self.take(self.search.find(wanted))
        return found


class FindTests(SearchTestCase):
    def test_provides_the_interface(self) -> None:
        self.assertTrue(verifyClass(ISearch, SearchIndex))

    def test_the_newest_come_first(self) -> None:
        self.say("tea one", "tea two")
        self.say("tea three")
        self.assertEqual(self.advance(), 0)
        self.assertEqual(self.find('"tea"'), ["tea three", "tea two", "tea one"])

    def test_nothing_before_it_was_taken_in(self) -> None:
        self.say("tea")
        self.assertEqual(self.find('"tea"'), [])

    def test_only_in_the_rooms_wanted_whose_names_are_not_words(self) -> None:
        self.say("tea den", room="den")
        self.say("tea hall", room="hall")
        self.say("tea Den", room="Den")
        self.advance()
        self.assertEqual(self.find('"tea"', "den"), ["tea den"])
        self.assertEqual(self.find('"tea"', "den", "hall"), ["tea hall", "tea den"])
        self.assertEqual(self.find('"tea"', "Den"), ["tea Den"])
        self.assertEqual(self.find('"hall"', "den"), [])
        assert self.search is not None
        self.assertEqual(self.take(self.search.find(Wanted('"tea"', {}))), Found([], False))

    def test_only_what_is_kept_and_committed(self) -> None:
        self.say(*(f"tea {number}" for number in range(1, 6)))
        self.advance()
        self.assertEqual(self.find('"tea"', first=2, last=4), ["tea 4", "tea 3", "tea 2"])

    def test_so_many_and_whether_there_is_more(self) -> None:
        self.say("tea 1", "tea 2", "tea 3")
        self.advance()
        for limit, more in ((1, True), (2, True), (3, False), (4, False)):
            found = self.found('"tea"', limit=limit)
            self.assertEqual((len(found.lines), found.more, found.complete), (min(limit, 3), more, True))

    def test_before_a_position(self) -> None:
        self.say("tea 1", "tea 2")
        self.say("tea elsewhere", room="hall")
        self.say("tea 3")
        self.advance()
        for position, wanted in ((1, []), (2, ["tea 1"]), (3, ["tea 2", "tea 1"]), (9, ["tea 3", "tea 2", "tea 1"])):
            self.assertEqual(self.find('"tea"', before=("den", position)), wanted)
        self.assertEqual(self.find('"tea"', "den", "hall", before=("den", 3)), ["tea 2", "tea 1"])
        self.assertEqual(self.find('"tea"', before=("attic", 3)), [])

    def test_strange_contents(self) -> None:
        odd = ('"tea" \\ \n', "a\x00 tea", "x" * 70_000 + " tea", "ÉCLAIR 茶 tea", "\\u0000 tea")
        self.say(*odd)
        self.advance()
        self.assertEqual(self.find('"tea"'), list(reversed(odd)))
        self.assertEqual(self.find('"eclair"'), ["ÉCLAIR 茶 tea"])

    def test_what_takes_too_long_is_told_as_far_as_it_is(self) -> None:
        self.say(*(f"tea {number}" for number in range(500)))
        self.advance()
        with mock.patch.object(search, "FIND_S_MAX", -1.0), mock.patch.object(search, "STEPS_BETWEEN_LOOKS", 1):
            found = self.found('"tea"', limit=400)
        self.assertLess(len(found.lines), 400)
        self.assertEqual((found.more, found.complete), (True, False))
        self.assertEqual(len(self.find('"tea"', limit=400)), 400)

    def test_a_failure_is_one(self) -> None:
        self.query("DROP TABLE log")
        assert self.search is not None
        looking = self.search.find(Wanted('"tea"', {"den": (1, 9)}, ("den", 5)))
        looking.addErrback(lambda failure: failure.trap(sqlite3.OperationalError))
        self.assertIs(self.take(looking), sqlite3.OperationalError)


class AdvanceTests(SearchTestCase):
    def test_what_is_not_committed_is_not_taken_in(self) -> None:
        committed = self.say("tea 1")
        self.say("tea 2")
        self.assertEqual(self.advance(committed), 0)
        self.assertEqual(self.find('"tea"'), ["tea 1"])
        self.assertEqual(self.advance(), 0)
        self.assertEqual(self.find('"tea"'), ["tea 2", "tea 1"])

    def test_a_piece_at_a_time(self) -> None:
        for number in range(5):
            self.say(f"tea {number}")
        with mock.patch.object(search, "CHUNK_BYTES", 1):
            self.assertEqual([self.advance() for _ in range(5)], [4, 3, 2, 1, 0])
        self.assertEqual(len(self.find('"tea"')), 5)

    def test_acts_and_holes_are_passed_over(self) -> None:
        self.act()
        self.say("tea 1")
        self.act()
        self.index += 7
        self.say("tea 2")
        self.index += 3
        self.assertEqual((self.advance(), self.advance()), (3, 0))
        self.assertEqual(self.find('"tea"'), ["tea 2", "tea 1"])

    def test_it_goes_on_where_it_was(self) -> None:
        self.say("tea 1")
        self.advance()
        self.leave()
        self.come()
        self.assertEqual(self.find('"tea"'), ["tea 1"])
        self.say("tea 2")
        self.advance()
        self.assertEqual(self.find('"tea"'), ["tea 2", "tea 1"])

    def test_what_is_not_kept_any_more_is_forgotten(self) -> None:
        for number in range(1, 6):
            self.say(f"tea {number}")
        self.say("tea", room="hall")
        self.advance()
        with mock.patch.object(search, "FORGOTTEN_ROWS", 2):
            self.assertEqual([self.advance(den=4) for _ in range(3)], [1, 0, 0])
        self.assertEqual(self.find('"tea"', "den", "hall"), ["tea", "tea 5", "tea 4"])
        self.assertEqual(self.words(), 3)

    def words(self) -> int:
        with closing(sqlite3.connect(os.path.join(self.directory, search.FILE_NAME))) as database:
            return int(database.execute("SELECT count(*) FROM words").fetchone()[0])

    def test_a_run_that_is_partly_kept_stays(self) -> None:
        self.say("tea 1", "tea 2", "tea 3")
        self.assertEqual(self.advance(den=2), 0)
        self.assertEqual((self.words(), self.find('"tea"', first=2)), (3, ["tea 3", "tea 2"]))

    def test_what_was_purged_from_the_log_does_not_make_it_another(self) -> None:
        self.say("tea 1")
        self.say("tea 2")
        self.advance()
        self.query("DELETE FROM log WHERE idx = 2")
        self.assertEqual(self.find('"tea"'), ["tea 1"])
        self.advance(den=3)
        self.assertEqual(self.words(), 0)


class AnotherLogTests(SearchTestCase):
    """Where the log is not the one that the index was made of, that is made anew."""

    def test_it_is_shorter(self) -> None:
        self.say("tea 1")
        self.say("tea 2")
        self.advance()
        self.query("DELETE FROM log WHERE idx = 2")
        self.assertEqual(self.advance(1), 0)
        self.assertEqual(self.find('"tea"'), ["tea 1"])
        self.query("DELETE FROM log")
        self.assertEqual(self.advance(0), 0)

    def test_it_went_on_in_another_way(self) -> None:
        self.say("tea 1")
        self.say("tea 2")
        self.advance()
        self.query("DELETE FROM log WHERE idx = 2")
        self.index, self.positions["den"] = 1, 1
        self.say("tea too", epoch=2)
        self.assertEqual(
            self.find('"tea"'), ["tea 1"], "what is not there any more is not found, nor what is in its place"
        )
        self.assertEqual(self.advance(), 0)
        self.assertEqual(self.find('"tea"'), ["tea too", "tea 1"])

    def test_it_lost_what_was_to_be_kept(self) -> None:
        self.say("tea 1")
        self.say("tea 2")
        self.advance()
        self.query("DELETE FROM log WHERE idx = 2")
        self.advance(2)
        self.assertEqual(self.find('"tea"'), ["tea 1"])


class OpeningTests(SearchTestCase):
    def damage(self, data: bytes) -> None:
        self.say("tea 1")
        self.advance()
        self.leave()
        with open(os.path.join(self.directory, search.FILE_NAME), "wb") as file:
            file.write(data)

    def test_a_damaged_one_is_made_anew(self) -> None:
        self.damage(b"nonsense" * 1000)
        self.come()
        self.assertEqual(self.find('"tea"'), [])
        self.advance()
        self.assertEqual(self.find('"tea"'), ["tea 1"])

    def rot(self) -> None:
        """Have all of the index but its first page be garbage, as a bad disk may."""
        for number in range(50):
            self.say(f"tea {number} " + "x" * 500)
        self.advance()
        self.leave()
        path = os.path.join(self.directory, search.FILE_NAME)
        with open(path, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(4096)
            file.write(b"rot!" * ((size - 4096) // 4))
        self.come()

    def failed(self, answer: Any) -> Exception:
        failures: list[Any] = []
        answer.addErrback(failures.append)
        self.calls.run_until(lambda: failures)
        error: Exception = failures[0].value
        return error

    def test_one_that_rots_is_made_anew_when_that_is_found_out_by_what_is_new(self) -> None:
        self.rot()
        assert self.search is not None
        self.assertIn("made anew", str(self.failed(self.search.advance(self.index, {}))))
        self.assertEqual(self.find('"tea"'), [])
        while self.advance():
            pass
        self.assertEqual(len(self.find('"tea"', limit=100)), 50)

    def test_and_so_it_is_when_a_search_finds_it_out(self) -> None:
        self.rot()
        assert self.search is not None
        error = self.failed(self.search.find(Wanted('"tea"', {"den": (1, EVERYTHING)})))
        self.assertIsInstance(error, StoreError)
        while self.advance():
            pass
        self.assertEqual(len(self.find('"tea"', limit=100)), 50)

    def test_a_log_that_is_damaged_does_not_have_it_made_anew_again_and_again(self) -> None:
        assert self.search is not None
        damaged = sqlite3.DatabaseError("malformed")
        damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        with mock.patch.object(search, "read_runs", side_effect=damaged):
            errors = [self.failed(self.search.advance(9, {})) for _ in range(3)]
        self.assertIsInstance(errors[0], StoreError)
        self.assertEqual(errors[1:], [damaged, damaged])

    def test_one_of_another_version_is_made_anew(self) -> None:
        self.say("tea 1")
        self.advance()
        self.leave()
        with (
            mock.patch.object(search, "VERSION", 2),
            mock.patch.object(search, "SCHEMA", search.SCHEMA.replace("user_version=1", "user_version=2")),
        ):
            self.come()
            self.assertEqual(self.find('"tea"'), [])
            self.advance()
            self.assertEqual(self.find('"tea"'), ["tea 1"])

    def test_where_there_is_no_log_there_is_none(self) -> None:
        self.assertRaises(StoreError, SearchIndex, self.mktemp(), self.calls)

    def test_where_this_sqlite_cannot_there_is_none(self) -> None:
        self.leave()
        os.unlink(os.path.join(self.directory, search.FILE_NAME))
        with mock.patch.object(search, "SCHEMA", "CREATE VIRTUAL TABLE words USING fts9(room);"):
            error = self.assertRaises(StoreError, SearchIndex, self.directory, self.calls)
        self.assertIn("fts9", str(error))
