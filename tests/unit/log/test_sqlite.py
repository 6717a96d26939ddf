import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from chatproto.errors import StoreBusy, StoreCorrupt, StoreError, StoreVersion
from chatproto.log import purge, sqlite, writer
from chatproto.log.entry import Numbering, Run
from chatproto.log.interface import Slice, Snapshot
from chatproto.log.purge import PURGE_ROWS
from chatproto.log.rows import collect_slices, runs_after
from chatproto.log.sqlite import LOG, SCHEMA, SQLiteStore
from chatproto.log.writer import IDS_SORTED, STEP_IDS_MIN, Writer, abandon_installation
from tests.unit.log.contract import StoreContract, act, message
from tests.unit.log.rig import SQLiteTestCase


class ContractTests(StoreContract, SQLiteTestCase):
    """What every store promises, of the one on SQLite."""

    def reopen(self, store: SQLiteStore) -> SQLiteStore:
        self.close()
        return self.open()


class DirectoryTests(SQLiteTestCase):
    def test_makes_the_directory_with_its_parents_for_its_owner_alone(self) -> None:
        self.directory = os.path.join(self.mktemp(), "a", "b")
        self.open()
        self.assertEqual(stat.S_IMODE(os.stat(self.directory).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.directory, "lock")).st_mode), 0o600)

    def test_a_directory_in_use_is_refused_until_it_is_let_go(self) -> None:
        self.open()
        error = self.assertRaises(StoreBusy, SQLiteStore, self.directory, self.failures.append, self.calls)
        self.assertIn(self.directory, str(error))
        self.close()
        self.open()

    def test_a_path_that_is_a_file_is_refused(self) -> None:
        with open(self.directory, "w"):
            pass
        error = self.assertRaises(StoreError, self.open)
        self.assertIn(self.directory, str(error))

    def test_every_failed_opening_lets_the_lock_go(self) -> None:
        os.mkdir(self.directory)
        with open(self.path, "wb") as file:
            file.write(b"this is no database" * 100)
        self.assertRaises(StoreError, self.open)
        os.remove(self.path)
        self.open()

    def test_a_file_that_is_no_database_is_refused(self) -> None:
        os.mkdir(self.directory)
        with open(self.path, "wb") as file:
            file.write(b"this is no database" * 100)
        error = self.assertRaises(StoreError, self.open)
        self.assertIn(self.path, str(error))

    def test_a_database_of_another_program_is_refused_and_not_touched(self) -> None:
        os.mkdir(self.directory)
        self.change("CREATE TABLE recipes (name TEXT)")
        error = self.assertRaises(StoreError, self.open)
        self.assertIn("another program", str(error))
        self.assertEqual(self.tables(), ["recipes"])

    def test_another_schema_version_is_refused(self) -> None:
        self.open()
        self.close()
        for version in (0, LOG.version + 1):
            self.change(f"PRAGMA user_version={version}")
            for opening in (self.open, partial(LOG.connect, self.directory)):
                error = self.assertRaises(StoreVersion, opening)
                self.assertIn(f"version {version}", str(error))

    def test_a_database_without_tables_is_made_ours(self) -> None:
        os.mkdir(self.directory)
        self.change("PRAGMA user_version=9")
        self.open()
        self.close()
        self.assertEqual(self.tables(), ["ids", "log", "orphans", "pair", "snapshot"])
        self.open()

    def test_tables_that_cannot_be_made_are_told_and_not_half_made(self) -> None:
        patched = self.patch(sqlite, "LOG", replace(LOG, schema=(*SCHEMA, "CREATE NONSENSE;")))
        error = self.assertRaises(StoreError, self.open)
        self.assertIn(self.path, str(error))
        patched.restore()
        self.assertEqual(self.tables(), [])
        self.open()

    def test_reading_where_there_is_nothing_is_refused_and_makes_nothing(self) -> None:
        os.mkdir(self.directory)
        error = self.assertRaises(StoreError, LOG.connect, self.directory)
        self.assertIn(self.directory, str(error))
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_reader_cannot_write(self) -> None:
        self.open()
        database = LOG.connect(self.directory)
        self.addCleanup(database.close)
        self.assertRaises(sqlite3.OperationalError, database.execute, "DELETE FROM log")

    def change(self, statement: str) -> None:
        database = sqlite3.connect(self.path)
        database.execute(statement)
        database.commit()
        database.close()

    def tables(self) -> list[str]:
        database = sqlite3.connect(self.path)
        rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        database.close()
        return [name for (name,) in rows]


class FilledTestCase(SQLiteTestCase):
    """A store that holds something, and means to damage it while it is closed."""

    def setUp(self) -> None:
        super().setUp()
        self.numbering = Numbering(0, {}, 1)
        self.done: list[Any] = []
        self.open().recover()

    def append(self, *entries: Any, name: Any = None) -> list[Run]:
        assert self.store is not None
        runs = self.numbering.seal(list(entries))
        self.store.append(runs, lambda: self.done.append(name))
        return runs

    def change(self, statement: str, *parameters: Any) -> None:
        self.close()
        database = sqlite3.connect(self.path)
        database.execute(statement, parameters)
        database.commit()
        database.close()


class DamageTests(FilledTestCase):
    def setUp(self) -> None:
        super().setUp()
        for number in range(1, 6):
            self.append(message("MainHall", f"{number}-one"), message("MainHall", f"{number}-two"))
        self.settle()

    def check_missing(self, index: int) -> None:
        runs = self.open().recover()[1]
        error = self.assertRaises(StoreCorrupt, list, runs)
        self.assertIn(f"entry {index} ", str(error))

    def test_a_missing_row_is_found(self) -> None:
        self.change("DELETE FROM log WHERE idx = 5")
        self.check_missing(5)

    def test_a_missing_first_row_is_found(self) -> None:
        self.change("DELETE FROM log WHERE idx = 1")
        self.check_missing(1)

    def test_a_row_with_a_wrong_count_is_found(self) -> None:
        self.change("UPDATE log SET count = 3 WHERE idx = 7")
        self.check_missing(7)

    def test_a_row_with_too_few_ids_is_found(self) -> None:
        self.change("UPDATE log SET ids = ? WHERE idx = 3", msgspec.msgpack.encode(["one"]))
        self.check_missing(3)

    def test_a_row_with_too_few_lines_is_found(self) -> None:
        self.change("UPDATE log SET body = ? WHERE idx = 3", b"one")
        self.check_missing(3)

    def test_the_runs_before_the_damage_come_out(self) -> None:
        self.change("DELETE FROM log WHERE idx = 5")
        database = sqlite3.connect(self.path)
        self.addCleanup(database.close)
        runs = iter(runs_after(database, 0))
        self.assertEqual([next(runs).index, next(runs).index], [1, 3])
        self.assertRaises(StoreCorrupt, next, runs)

    def test_damaged_pages_are_found(self) -> None:
        for number in range(200):
            self.append(message("MainHall", f"{number:01000}"))
        self.settle()
        self.close()
        size = os.path.getsize(self.path)
        with open(self.path, "r+b") as file:
            file.seek(size // 2)
            file.write(b"\xff" * 8192)
        error = self.assertRaises(StoreError, self.open)
        self.assertIn(self.path, str(error))

    def test_a_file_that_was_cut_off_is_found(self) -> None:
        for number in range(200):
            self.append(message("MainHall", f"{number:01000}"))
        self.settle()
        self.close()
        size = os.path.getsize(self.path)
        for pages in (2, 5, 20):
            with open(self.path, "r+b") as file:
                file.truncate(size // 4096 // pages * 4096)
            error = self.assertRaises(StoreError, self.open)
            self.assertIn(self.path, str(error))

    def test_rows_missing_from_the_archive_are_found(self) -> None:
        """A check of the file's pages alone would not see it: the index has fewer rows than the table."""
        self.close()
        database = sqlite3.connect(self.path)
        database.execute("PRAGMA writable_schema=ON")
        database.execute("CREATE TABLE other (room TEXT, position INTEGER)")
        page = "(SELECT rootpage FROM sqlite_master WHERE name = 'other')"
        database.execute(f"UPDATE sqlite_master SET rootpage = {page} WHERE name = 'snapshot'")
        database.commit()
        database.close()
        error = self.assertRaises(StoreError, self.open)
        self.assertIn(self.path, str(error))


class FailingTests(FilledTestCase):
    def fail_writes_of(self, room: str) -> None:
        assert self.store is not None
        self.store._database.execute(
            f"CREATE TEMP TRIGGER full BEFORE INSERT ON log WHEN NEW.room = '{room}' "
            "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )

    def test_a_failed_write_is_told_once_and_nothing_after_it_is_done(self) -> None:
        self.append(message("MainHall", "1"), name="before")
        self.settle()
        self.fail_writes_of("jokes")
        for number in range(20):
            self.append(message("jokes", str(number)), name="failing")
            self.append(message("MainHall", str(number)), name="after")
        assert self.store is not None
        self.store.save(Snapshot(1, 1, {}, b"", {}))
        self.calls.run_until(lambda: self.failures)
        self.append(message("MainHall", "later"), name="later")
        self.close()
        self.assertEqual(self.done, ["before"])
        (reason,) = self.failures
        self.assertIn("the disk is full", reason)
        self.assertIn(self.path, reason)

        snapshot, runs = self.open().recover()
        self.assertIsNone(snapshot)
        self.assertEqual([run.index for run in runs], [1])

    def test_what_is_written_with_a_failing_append_is_not_half_kept(self) -> None:
        self.fail_writes_of("jokes")
        self.append(message("MainHall", "1"), message("jokes", "1"), message("MainHall", "2"))
        self.calls.run_until(lambda: self.failures)
        self.close()
        self.assertEqual(list(self.open().recover()[1]), [])

    def test_a_failed_write_lets_reading_go_on(self) -> None:
        self.append(message("MainHall", "1"))
        self.settle()
        self.fail_writes_of("jokes")
        self.append(message("jokes", "1"))
        self.calls.run_until(lambda: self.failures)
        assert self.store is not None
        self.assertEqual([piece.count for piece in self.store.peek("MainHall", 1, 1000, 10)], [1])

    def test_a_full_disk_is_told(self) -> None:
        assert self.store is not None
        (pages,) = self.store._database.execute("PRAGMA page_count").fetchone()
        self.store._database.execute(f"PRAGMA max_page_count={pages}")
        self.append(message("MainHall", "x" * 100_000))
        self.calls.run_until(lambda: self.failures)
        self.assertEqual((len(self.failures), self.done), (1, []))

    def check_failing(self, statement: str, table: str, work: Callable[[SQLiteStore], None]) -> None:
        """Check that work whose statement fails is told once, not done, and not half kept."""
        store = self.store
        assert store is not None
        self.append(message("MainHall", "1"), act("a"), name="before")
        store.cut(2, [("x", b"x")], lambda: None)
        self.settle()
        held = list(store._lookup.iterdump())
        store._database.execute(
            f"CREATE TEMP TRIGGER full BEFORE {statement} ON {table} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        work(store)
        self.append(message("MainHall", "2"), name="later")
        store.save(Snapshot(2, 1, {}, b"", {}))
        self.settle()
        self.close()
        self.assertEqual(len(self.failures), 1)
        self.assertIn("the disk is full", self.failures[0])
        self.assertEqual(self.done, ["before"])
        database = LOG.connect(self.directory)
        self.addCleanup(database.close)
        self.assertEqual(list(database.iterdump()), held)

    def done_with(self, name: str) -> Callable[[], None]:
        return partial(self.done.append, name)

    def test_a_failed_configuration_is_told(self) -> None:
        self.check_failing("INSERT", "pair", lambda store: store.configure(b"one", self.done_with("configure")))

    def test_a_failed_adoption_is_told(self) -> None:
        self.check_failing("DELETE", "orphans", lambda store: store.adopted(["x"]))

    def test_a_failed_cut_is_told(self) -> None:
        for statement, table in (("INSERT", "orphans"), ("DELETE", "log")):
            self.check_failing(statement, table, lambda store: store.cut(1, [("y", b"y")], self.done_with("cut")))
            self.failures.clear()
            self.done.clear()
            self.directory = self.mktemp()
            self.numbering = Numbering(0, {}, 1)
            self.open().recover()

    def test_a_failed_installation_is_told(self) -> None:
        self.check_failing("INSERT", "pair", lambda store: store.install(1, self.done_with("install")))

    def test_a_failed_end_of_an_installation_is_told(self) -> None:
        assert self.store is not None
        self.store.install(0, lambda: None)
        self.check_failing("DELETE", "pair", lambda store: store.save(Snapshot(1, 1, {}, b"", {})))

    def test_a_failed_forgetting_is_told(self) -> None:
        self.check_failing("DELETE", "log", lambda store: store.forget(self.done_with("forget")))

    def test_a_failing_reading_answers_with_its_failure(self) -> None:
        assert self.store is not None
        self.settle()
        self.store._reading.execute("PRAGMA query_only=OFF")
        self.store._reading.execute("DROP TABLE log")
        answers: list[Any] = []
        self.store.read("MainHall", 1, 1000, 10).addErrback(answers.append)
        self.calls.run_until(lambda: answers)
        answers[0].trap(sqlite3.OperationalError)


class PurgeTests(FilledTestCase):
    def test_purges_in_chunks(self) -> None:
        self.patch(purge, "PURGE_S", 0.0)
        rows = 2 * PURGE_ROWS + 1
        for number in range(rows):
            self.append(message("jokes", str(number)), act(str(number)))
        self.settle()
        assert self.store is not None
        left: list[int] = []

        def count_rows(statement: str) -> None:
            if statement.startswith("DELETE FROM log"):
                left.append(sqlite3_count(self.directory))

        self.store._database.set_trace_callback(count_rows)
        self.store.save(Snapshot(self.numbering.index, 1, {"jokes": rows}, b"", {"jokes": rows}))
        self.settle()
        self.store._database.set_trace_callback(None)
        # Each statement sees what the ones before it left; the last look of each kind finds less than a chunk.
        self.assertEqual(
            left,
            [2 * rows, 2 * rows - PURGE_ROWS, 2 * rows - 2 * PURGE_ROWS, rows + 1, rows + 1 - PURGE_ROWS, 2],
        )
        self.assertEqual([piece.position for piece in self.store.peek("jokes", 1, 1000, 10)], [rows])

    def test_a_transaction_goes_on_for_a_while(self) -> None:
        self.patch(purge, "PURGE_S", 60.0)
        for number in range(3 * PURGE_ROWS):
            self.append(act(str(number)), message("jokes", str(number)))
        self.settle()
        assert self.store is not None
        statements: list[str] = []
        self.store._database.set_trace_callback(lambda line: statements.append(line.split()[0]))
        self.store.save(Snapshot(self.numbering.index, 1, {}, b"", {}))
        self.settle()
        self.store._database.set_trace_callback(None)
        first = statements.index("DELETE", statements.index("COMMIT"))
        self.assertEqual(statements[first - 1 : first + 5], ["BEGIN", *["DELETE"] * 4, "COMMIT"])

    def test_appends_go_between_the_chunks(self) -> None:
        self.patch(purge, "PURGE_S", 0.0)
        for number in range(3 * PURGE_ROWS):
            self.append(act(str(number)), message("jokes", str(number)))
        self.settle()
        assert self.store is not None
        statements: list[str] = []

        def note(statement: str) -> None:
            if statement.startswith(("DELETE FROM log", "INSERT INTO log")):
                statements.append(statement.split()[0])
                if statements == ["DELETE", "DELETE"]:
                    self.append(message("MainHall", "between"))

        self.store._database.set_trace_callback(note)
        self.store.save(Snapshot(self.numbering.index, 1, {}, b"", {}))
        self.settle()
        self.store._database.set_trace_callback(None)
        self.assertEqual(statements, ["DELETE", "DELETE", "INSERT", "DELETE", "DELETE"])

    def test_what_stays_is_not_looked_at(self) -> None:
        """Or a long archive would hold everybody up after each snapshot."""
        rooms = ("jokes", "MainHall")
        for number in range(2000):
            self.append(message(rooms[number % 2], str(number)))
        self.append(act("last"))
        self.settle()
        assert self.store is not None
        steps: list[int] = []
        self.store._database.set_progress_handler(lambda: steps.append(100), 100)
        self.store.save(Snapshot(self.numbering.index, 1, {}, b"", {"jokes": 3}))
        self.settle()
        self.store._database.set_progress_handler(None, 0)
        self.assertLess(sum(steps), 2000)
        self.assertEqual(sqlite3_count(self.directory), 1998)

    def test_an_id_is_forgotten_a_week_after_its_message(self) -> None:
        assert self.store is not None
        day = 86400.0
        self.append(message("jokes", "1", id="x", time=0.0))
        self.save_all()
        self.append(message("jokes", "2", id="y", time=6 * day))
        self.save_all(jokes=3)
        self.assertEqual([self.store.find(id) for id in ("x", "y")], [1, 2])
        self.append(message("jokes", "3", id="z", time=7 * day + 1))
        self.save_all(jokes=4)
        self.assertEqual([self.store.find(id) for id in ("x", "y", "z")], [None, 2, 3])

    def test_so_are_the_times_of_messages_that_are_forgotten(self) -> None:
        """Else an id would be kept for longer than it need be."""
        self.append(message("jokes", "1", id="x", time=9000.0))
        assert self.store is not None
        self.store.forget(lambda: None)
        self.numbering = Numbering(0, {}, 2)
        self.append(message("jokes", "1", id="y", time=1000.0))
        self.save_all()
        ids: list[Any] = []
        self.store.ids("", 10).addCallback(ids.extend)
        self.settle()
        self.assertEqual(ids, [("y", 1, 1000.0)])

    def test_an_installation_ends_a_purge_that_is_under_way(self) -> None:
        self.patch(purge, "PURGE_S", 0.0)
        """Which knows the rows of the old log, and would take some of the new one's for them."""
        for number in range(3 * PURGE_ROWS):
            self.append(act(str(number)), message("jokes", str(number)))
        self.settle()
        store = self.store
        assert store is not None
        deleted = []

        def note(statement: str) -> None:
            if statement.startswith("DELETE FROM log WHERE idx IN"):
                deleted.append(statement)
                if len(deleted) == 2:
                    store.install(0, lambda: None)
                    self.numbering = Numbering(0, {}, 2)
                    for number in range(10):
                        self.append(act(f"other {number}"), message("jokes", f"other {number}"))

        store._database.set_trace_callback(note)
        first = {"jokes": 3 * PURGE_ROWS}
        store.save(Snapshot(self.numbering.index, 1, {"jokes": 3 * PURGE_ROWS}, b"", first))
        self.settle()
        store._database.set_trace_callback(None)
        self.assertEqual((len(deleted), sqlite3_count(self.directory)), (2, 20))

    def test_the_room_of_what_is_forgotten_is_given_back(self) -> None:
        store = self.store
        assert store is not None
        for number in range(100):
            self.append(act(f"{number:010000}"))
        self.settle()
        store.forget(lambda: None)
        self.settle()
        names = ("log.sqlite", "log.sqlite-wal")
        sizes = [os.path.getsize(os.path.join(self.directory, name)) for name in names]
        self.assertLess(sum(sizes), 100_000, sizes)

    def test_a_cut_leaves_a_purge_to_go_on(self) -> None:
        self.patch(purge, "PURGE_S", 0.0)
        """What it deletes lies in the snapshot, below the cut."""
        for number in range(3 * PURGE_ROWS):
            self.append(act(str(number)))
        index = self.numbering.index
        kept = self.append(message("jokes", "1"), act("kept"))
        self.append(message("jokes", "2"))
        self.settle()
        store = self.store
        assert store is not None
        deleted = []

        def note(statement: str) -> None:
            if statement.startswith("DELETE FROM log WHERE idx IN"):
                deleted.append(statement)
                if len(deleted) == 1:
                    store.cut(index + 2, [], lambda: None)
                    kept.extend(Numbering(index + 2, {"jokes": 1}, 2).seal([message("jokes", "other"), act("other")]))
                    store.append(kept[2:], lambda: None)

        store._database.set_trace_callback(note)
        store.save(Snapshot(index, 1, {}, b"", {}))
        self.settle()
        store._database.set_trace_callback(None)
        runs = list(runs_after(store._lookup, index))
        self.assertEqual([run.ids for run in runs], [run.ids for run in kept])
        self.assertEqual(sqlite3_count(self.directory), 4)

    def save_all(self, **first: int) -> None:
        assert self.store is not None
        self.store.save(Snapshot(self.numbering.index, 1, dict(self.numbering.positions), b"", first))
        self.settle()

    def test_forgets_what_is_purged_already(self) -> None:
        """A room long gone is not looked for again at every snapshot."""
        self.append(message("jokes", "1"), act("a"))
        assert self.store is not None
        self.store.save(Snapshot(2, 1, {}, b"", {"jokes": 2}))
        self.settle()
        statements: list[str] = []
        self.store._database.set_trace_callback(statements.append)
        self.store.save(Snapshot(2, 1, {}, b"", {"jokes": 2}))
        self.settle()
        self.store._database.set_trace_callback(None)
        self.assertEqual([line for line in statements if line.startswith("DELETE FROM log") and "jokes" in line], [])


class SavingTests(FilledTestCase):
    def save(self, state: bytes) -> None:
        assert self.store is not None
        self.store.save(Snapshot(self.numbering.index, 1, {}, state, {}))

    def saved(self) -> bytes:
        assert self.store is not None
        self.settle()
        snapshot, _ = self.store.recover()
        assert snapshot is not None
        return snapshot.state

    def test_a_snapshot_asked_for_while_one_is_saved_is_left_out(self) -> None:
        self.append(message("MainHall", "1", id="x"))
        self.save(b"first")
        self.save(b"second")
        self.assertEqual(self.saved(), b"first")
        self.save(b"third")
        self.assertEqual(self.saved(), b"third")

    def test_an_id_is_found_whatever_snapshots_are_under_way(self) -> None:
        """One without any id is saved, one with an id waits for the disk: the id is not lost in between."""
        assert self.store is not None
        self.save(b"first")
        self.calls.wait()
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.append(message("MainHall", "1", id="x"))
        self.save(b"second")
        self.calls.run_waiting()
        self.assertEqual(self.store.find("x"), 1)
        other.execute("COMMIT")
        self.settle()
        self.assertEqual(self.store.find("x"), 1)

    def test_appends_go_between_the_ids_of_a_snapshot(self) -> None:
        self.patch(writer, "WORK_S", 0.0)
        assert self.store is not None
        count = 2 * STEP_IDS_MIN
        self.append(*[message("MainHall", "", id=f"id{number:04}") for number in range(count)])
        self.settle()
        written: list[str] = []

        def note(statement: str) -> None:
            words = statement.split()
            if words[0] == "INSERT":
                written.append(words[words.index("INTO") + 1])
            elif words[0] == "COMMIT" and len(written) == STEP_IDS_MIN:
                written.append("")
                self.append(message("MainHall", "between", id="between"))

        self.store._database.set_trace_callback(note)
        self.save(b"whole")
        self.calls.run_until(lambda: len(self.done) == 2)
        self.settle()
        self.store._database.set_trace_callback(None)
        ids = ["ids"] * STEP_IDS_MIN
        self.assertEqual(written, [*ids, "", "log", *ids, "snapshot"])
        self.assertEqual(self.saved(), b"whole")
        self.assertEqual([self.store.find(f"id{number:04}") for number in range(count)], list(range(1, count + 1)))
        self.assertEqual(self.store.find("between"), count + 1)

    def test_ids_go_to_the_disk_in_their_order(self) -> None:
        """Neighbours share a page."""
        assert self.store is not None
        self.append(*[message("MainHall", "", id=f"{number * 7919 % 10007:05}") for number in range(IDS_SORTED + 2)])
        written: list[str] = []
        self.store._database.set_trace_callback(
            lambda line: written.append(line) if line.startswith("INSERT OR REPLACE INTO ids") else None
        )
        self.save(b"whole")
        self.settle()
        self.store._database.set_trace_callback(None)
        self.assertEqual(len(written), IDS_SORTED + 2)
        self.assertEqual(written, sorted(written))

    def test_what_is_appended_after_the_end_of_an_installation_waits_for_it(self) -> None:
        """Otherwise it would be gone with the installation if the process ended in between."""
        assert self.store is not None
        before: list[Any] = []
        other = LOG.connect(self.directory)
        self.addCleanup(other.close)

        def look(statement: str) -> None:
            if statement.startswith("INSERT INTO log"):
                before.append(other.execute("SELECT count(*) FROM snapshot").fetchone()[0])

        self.store._database.set_trace_callback(look)
        self.store.install(0, lambda: None)
        self.append(*[message("MainHall", "", id=f"id{number:04}") for number in range(3 * STEP_IDS_MIN)])
        self.save(b"installed")
        self.append(message("MainHall", "after"))
        self.settle()
        self.store._database.set_trace_callback(None)
        self.assertEqual(before, [0, 1])

    def test_a_snapshot_under_way_is_finished_before_the_store_closes(self) -> None:
        assert self.store is not None
        self.append(*[message("MainHall", "", id=f"id{number:04}") for number in range(3 * STEP_IDS_MIN)])
        self.save(b"whole")
        self.close()
        snapshot, _ = self.open().recover()
        assert snapshot is not None
        self.assertEqual(snapshot.state, b"whole")


class TogetherTests(FilledTestCase):
    """With another process, as it were, keeping the writer waiting in between."""

    def setUp(self) -> None:
        super().setUp()
        self.other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(self.other.close)

    def test_what_queued_up_goes_in_one_transaction(self) -> None:
        store = self.store
        assert store is not None
        store.cut(0, [(id, b"") for id in "abc"], lambda: None)
        self.settle()
        begun: list[str] = []
        store._database.set_trace_callback(lambda line: begun.append(line) if line.startswith("BEGIN") else None)
        self.other.execute("BEGIN IMMEDIATE")
        self.append(message("MainHall", "0"), name=0)
        while not begun:
            pass
        for number in range(1, 31, 3):
            self.append(message("MainHall", str(number)), name=number)
            store.configure(b"%d" % number, partial(self.done.append, number + 1))
            store.adopted(["b"])
            self.append(act(str(number)), name=number + 2)
        self.other.execute("COMMIT")
        self.calls.run_until(lambda: len(self.done) == 31)
        store._database.set_trace_callback(None)
        self.assertEqual(self.done, list(range(31)))
        self.assertEqual(len(begun), 2)
        self.assertEqual(store.configuration(), b"28")
        self.assertEqual([id for id, _ in store.orphans()], ["a", "c"])

    def test_ids_on_the_disk_are_hidden_before_they_are_removed(self) -> None:
        for remove, left in ((SQLiteStore.cut, [1, None]), (SQLiteStore.install, [None, None])):
            store = self.store
            assert store is not None
            for number, id in enumerate("xy"):
                self.append(message("jokes", str(number), id=id))
            self.settle()
            store.save(Snapshot(1, 1, {"jokes": 1}, b"", {}))
            self.settle()
            self.other.execute("BEGIN IMMEDIATE")
            if remove is SQLiteStore.cut:
                store.cut(1, [], lambda: None)
            else:
                store.install(0, lambda: None)
            (ids,) = self.other.execute("SELECT count(*) FROM ids").fetchone()
            self.assertEqual(ids, 2)
            self.assertEqual([store.find(id) for id in "xy"], left)
            self.other.execute("COMMIT")
            self.settle()
            self.assertEqual([store.find(id) for id in "xy"], left)
            (ids,) = self.other.execute("SELECT count(*) FROM ids").fetchone()
            self.assertEqual(ids, len([index for index in left if index]))
            store.install(0, lambda: None)
            self.numbering = Numbering(0, {}, 1)


class RunsTests(FilledTestCase):
    def setUp(self) -> None:
        super().setUp()
        for number in range(3):
            self.append(message("MainHall", f"{number:0100}"))
        self.settle()

    def answer(self, after: int, bytes_max: int) -> Any:
        assert self.store is not None
        answers: list[Any] = []
        self.store.runs(after, bytes_max).addBoth(answers.append)
        self.calls.run_until(lambda: answers)
        return answers[0]

    def damage(self, index: int) -> None:
        self.change("UPDATE log SET body = ? WHERE idx = ?", b"one\ntwo", index)
        self.open()

    def test_nothing_is_read_beyond_what_is_asked(self) -> None:
        self.damage(3)
        self.assertEqual([run.index for run in self.answer(0, 250)], [1, 2])

    def test_a_damaged_run_is_not_passed_on(self) -> None:
        self.damage(2)
        failure = self.answer(0, 1000)
        failure.trap(StoreCorrupt)
        self.assertIn("entry 2 ", str(failure.value))

    def test_no_transaction_is_left_open(self) -> None:
        """Or the write-ahead log would grow for ever."""
        self.damage(2)
        answers = [self.answer(0, 1), self.answer(1, 1000)]
        self.assertEqual(len(answers), 2)
        self.append(message("MainHall", "more"))
        self.settle()
        database = sqlite3.connect(self.path)
        self.addCleanup(database.close)
        self.assertEqual(database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone(), (0, 0, 0))


class KilledTests(FilledTestCase):
    """What is found wherever the power went: the write-ahead log is there up to some page."""

    def found_after(self, work: Callable[[SQLiteStore], None]) -> Iterator[SQLiteStore]:
        """Do work on the open store; then open what each end in the middle of it would have left, earliest first."""
        store = self.store
        assert store is not None
        self.settle()
        database = sqlite3.connect(self.path)
        self.assertEqual(database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone(), (0, 0, 0))
        database.close()
        work(store)
        self.settle()
        whole = self.mktemp()
        shutil.copytree(self.directory, whole, ignore=shutil.ignore_patterns("*-shm"))
        log = os.path.join(whole, "log.sqlite-wal")
        pages, rest = divmod(os.path.getsize(log) - 32, 24 + 4096)
        self.assertEqual(rest, 0)
        self.assertGreater(pages, 3)
        for left in range(pages + 1):
            self.close()
            self.directory = self.mktemp()
            shutil.copytree(whole, self.directory)
            os.truncate(os.path.join(self.directory, "log.sqlite-wal"), 32 + left * (24 + 4096))
            yield self.open()

    def holdings(self, store: SQLiteStore) -> tuple[Any, ...]:
        snapshot, runs = store.recover()
        indexes = [run.index for run in runs]
        (ids,) = store._lookup.execute("SELECT count(*) FROM ids").fetchone()
        orphans = [id for id, _ in store.orphans()]
        return snapshot and snapshot.index, indexes, [store.find(id) for id in "xyz"], ids, orphans

    def check_found(self, work: Callable[[SQLiteStore], None], *allowed: Any) -> None:
        """Check that exactly these are found, one after another."""
        found: list[Any] = []
        for store in self.found_after(work):
            holdings = self.holdings(store)
            if not found or found[-1] != holdings:
                found.append(holdings)
        self.assertEqual(found, list(allowed))

    def fill(self) -> None:
        for number, id in enumerate("xyz"):
            self.append(message("jokes", str(number), id=id), act(f"{number:0100000}"))
        self.settle()
        assert self.store is not None
        self.store.save(Snapshot(4, 1, {"jokes": 2}, b"own", {}))

    BEFORE = (4, [5, 6], [1, 3, 5], 3, [])

    def test_a_cut_happens_wholly_or_not(self) -> None:
        self.fill()

        def work(store: SQLiteStore) -> None:
            store.cut(4, [("z", b"z" * 50000), ("w", b"w")], lambda: None)

        self.check_found(work, self.BEFORE, (4, [], [1, 3, None], 2, ["z", "w"]))

    def test_a_cut_and_what_follows_happen_one_after_another(self) -> None:
        self.fill()

        def work(store: SQLiteStore) -> None:
            store.cut(4, [("z", b"z")], lambda: None)
            self.numbering = Numbering(4, {"jokes": 2}, 2)
            self.append(act("other"), message("jokes", "other", id="z"))
            self.settle()
            store.adopted(["z"])

        after = (4, [5, 6], [1, 3, 6], 2)
        self.check_found(work, self.BEFORE, (4, [], [1, 3, None], 2, ["z"]), (*after, ["z"]), (*after, []))

    def test_an_installation_over_everything_happens_wholly_or_not(self) -> None:
        self.fill()

        def work(store: SQLiteStore) -> None:
            store.install(0, lambda: None)
            self.append_other(Numbering(0, {}, 2))
            store.save(Snapshot(9, 2, {"jokes": 1}, b"other", {}))
            self.append(message("jokes", "tail"))

        nothing = (None, [], [None] * 3, 0, [])
        ended = [None, 9, 8]
        self.check_found(work, self.BEFORE, nothing, (9, [], ended, 2, []), (9, [10], ended, 2, []))

    def test_an_installation_after_an_index_happens_wholly_or_not(self) -> None:
        self.fill()

        def work(store: SQLiteStore) -> None:
            store.install(5, lambda: None)
            self.append_other(Numbering(5, {"jokes": 3}, 2))
            store.save(Snapshot(14, 2, {"jokes": 4}, b"other", {}))
            self.append(message("jokes", "tail"))

        ended = [1, 14, 13]
        self.check_found(
            work,
            self.BEFORE,
            (4, [5], [1, 3, 5], 3, []),
            (14, [], ended, 3, []),
            (14, [15], ended, 3, []),
        )

    def test_a_snapshot_of_many_ids_is_there_wholly_or_not(self) -> None:
        """Some of the ids may be there without it: the log has them for the same entries."""
        self.patch(writer, "WORK_S", 0.0)
        count = 2 * STEP_IDS_MIN
        self.append(*[message("jokes", "", id=f"id{number:03}") for number in range(count)], act("last"))

        def work(store: SQLiteStore) -> None:
            store.save(Snapshot(count + 1, 1, {"jokes": count}, b"all", {}))

        found: list[tuple[Any, int]] = []
        for store in self.found_after(work):
            snapshot, runs = store.recover()
            list(runs)
            self.assertEqual([store.find(f"id{number:03}") for number in (0, 99, 199)], [1, 100, 200])
            (ids,) = store._lookup.execute("SELECT count(*) FROM ids").fetchone()
            found.append((snapshot and snapshot.index, ids))
        self.assertEqual(sorted(set(found), key=found.index), [(None, 0), (None, 100), (None, 200), (201, 200)])

    def test_forgetting_happens_wholly_or_not(self) -> None:
        # It ends with nothing left in the write-ahead log, of which this is about.
        self.patch(Writer, "_shrink", lambda writer: None)
        self.fill()

        def work(store: SQLiteStore) -> None:
            store.forget(lambda: None)
            self.numbering = Numbering(0, {}, 2)
            self.append(message("jokes", "new", id="z"))

        nothing = (None, [], [None] * 3, 0, [])
        self.check_found(work, self.BEFORE, nothing, (None, [1], [None, None, 1], 0, []))

    def append_other(self, numbering: Numbering) -> None:
        """Append the last two of nine entries, as another node that has purged the others would send them."""
        self.numbering = numbering
        numbering.seal([act(str(number)) for number in range(7)])
        self.append(message("MainHall", "other", id="z"))
        self.append(message("jokes", "other", id="y"))

    def test_going_back_from_an_installation_happens_wholly_or_not(self) -> None:
        self.fill()
        assert self.store is not None
        self.store.install(4, lambda: None)
        self.append_other(Numbering(4, {"jokes": 2}, 2))
        self.settle()
        self.close()
        whole = self.mktemp()
        shutil.copytree(self.directory, whole)
        # It goes back while it is opened: what is left of that is the work here.
        database = sqlite3.connect(os.path.join(whole, "log.sqlite"), isolation_level=None)
        self.addCleanup(database.close)
        abandon_installation(database)
        log = os.path.join(whole, "log.sqlite-wal")
        pages, rest = divmod(os.path.getsize(log) - 32, 24 + 4096)
        self.assertEqual(rest, 0)
        for left in range(pages + 1):
            self.close()
            self.directory = self.mktemp()
            shutil.copytree(whole, self.directory, ignore=shutil.ignore_patterns("*-shm"))
            os.truncate(self.path + "-wal", 32 + left * (24 + 4096))
            self.assertEqual(self.holdings(self.open()), (4, [], [1, 3, None], 2, []))


VERSION_1 = """
CREATE TABLE log (
    idx INTEGER PRIMARY KEY, count INTEGER NOT NULL, epoch INTEGER NOT NULL, kind TEXT NOT NULL, room TEXT NOT NULL,
    position INTEGER NOT NULL, time REAL NOT NULL, ids BLOB NOT NULL, retriable BLOB, body BLOB NOT NULL
) STRICT;
CREATE INDEX archive ON log (room, position) WHERE position > 0;
CREATE TABLE ids (id TEXT PRIMARY KEY, idx INTEGER NOT NULL, time REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot (idx INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
PRAGMA application_id=0x63707274;
PRAGMA user_version=1;
"""


class MigrationTests(SQLiteTestCase):
    """A database that the first releases wrote, before there were two nodes."""

    def setUp(self) -> None:
        super().setUp()
        os.mkdir(self.directory)
        encode = msgspec.msgpack.encode
        database = sqlite3.connect(self.path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.executescript(VERSION_1)
        snapshot = {"index": 2, "epoch": 1, "positions": {"jokes": 1}, "state": b"state", "first": {}}
        database.execute("INSERT INTO snapshot VALUES (2, ?)", (encode(snapshot),))
        database.execute("INSERT INTO ids VALUES ('x', 2, 1000.0)")
        log = "INSERT INTO log VALUES (?, 1, 1, 'message', 'jokes', ?, 1000.0, ?, ?, ?)"
        database.execute(log, (2, 1, encode(["x"]), encode([0]), b"one"))
        database.execute(log, (3, 2, encode(["y"]), None, b"two"))
        database.close()

    def version(self) -> tuple[int, list[str]]:
        database = sqlite3.connect(self.path)
        (version,) = database.execute("PRAGMA user_version").fetchone()
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        database.close()
        return version, [name for (name,) in tables]

    OLD = (1, ["ids", "log", "snapshot"])
    NEW = (3, ["ids", "log", "orphans", "pair", "snapshot"])

    def check_whole(self, store: SQLiteStore) -> None:
        snapshot, runs = store.recover()
        self.assertEqual(snapshot, Snapshot(2, 1, {"jokes": 1}, b"state", {}, []))
        self.assertEqual(list(runs), [Run(3, 1, "message", "jokes", 2, 1000.0, ["y"], b"two")])
        self.assertEqual((store.find("x"), store.configuration(), store.orphans()), (2, None, []))

    def test_it_is_taken_over(self) -> None:
        store = self.open()
        self.check_whole(store)
        store.configure(b"one", lambda: None)
        store.cut(2, [("y", b"two")], lambda: None)
        self.close()
        self.assertEqual(self.version(), self.NEW)
        store = self.open()
        self.assertEqual((store.configuration(), store.orphans()), (b"one", [("y", b"two")]))

    def test_reading_leaves_it_as_it_is(self) -> None:
        database = LOG.connect(self.directory)
        self.assertEqual([run.index for run in runs_after(database, 2)], [3])
        database.close()
        self.assertEqual(self.version(), self.OLD)

    def test_it_can_be_read_before_and_after_it_is_taken_over(self) -> None:
        database = LOG.connect(self.directory)
        self.addCleanup(database.close)
        self.open()
        self.assertEqual([run.index for run in runs_after(database, 2)], [3])

    def test_what_cannot_be_taken_over_is_left_as_it_was(self) -> None:
        patched = self.patch(sqlite, "LOG", replace(LOG, schema=(*SCHEMA[:-1], SCHEMA[-1] + "CREATE NONSENSE;")))
        error = self.assertRaises(StoreError, self.open)
        self.assertIn(self.path, str(error))
        self.assertEqual(self.version(), self.OLD)
        patched.restore()
        self.check_whole(self.open())

    def test_it_is_taken_over_wholly_or_not(self) -> None:
        """Wherever the power goes."""
        self.open()
        whole = self.mktemp()
        shutil.copytree(self.directory, whole, ignore=shutil.ignore_patterns("*-shm"))
        log = os.path.join(whole, "log.sqlite-wal")
        pages, rest = divmod(os.path.getsize(log) - 32, 24 + 4096)
        self.assertEqual(rest, 0)
        found = []
        for left in range(pages + 1):
            self.close()
            self.directory = self.mktemp()
            shutil.copytree(whole, self.directory)
            os.truncate(self.path + "-wal", 32 + left * (24 + 4096))
            found.append(self.version())
            self.check_whole(self.open())
        self.assertEqual(found, sorted(found))
        self.assertEqual((found[0], found[-1]), (self.OLD, self.NEW))
        self.assertEqual({version for version, _ in found}, {1, 3})


def sqlite3_count(directory: str) -> int:
    database = LOG.connect(directory)
    try:
        (count,) = database.execute("SELECT count(*) FROM log").fetchone()
        return count
    finally:
        database.close()


class CollectSlicesTests(SQLiteTestCase):
    """What lies together comes out as one piece, whatever rows it came from."""

    def test_adjoining_rows_are_one_slice(self) -> None:
        rows = [(1, 2, b"a\nb"), (3, 1, b"c"), (4, 2, b"d\ne")]
        self.assertEqual(collect_slices(rows, 1, 100, 100), [Slice(1, 5, b"a\nb\nc\nd\ne")])

    def test_a_hole_makes_two_slices(self) -> None:
        rows = [(1, 2, b"a\nb"), (4, 1, b"d")]
        self.assertEqual(collect_slices(rows, 2, 100, 100), [Slice(2, 1, b"b"), Slice(4, 1, b"d")])

    def test_rows_before_the_position_are_passed_over(self) -> None:
        self.assertEqual(collect_slices([(1, 2, b"a\nb"), (7, 1, b"g")], 3, 100, 100), [Slice(7, 1, b"g")])

    def test_ends_where_nothing_more_is_allowed(self) -> None:
        rows = iter([(1, 2, b"a\nb"), (3, 1, b"c")])
        self.assertEqual(collect_slices(rows, 1, 100, 2), [Slice(1, 2, b"a\nb")])
        self.assertEqual(next(rows), (3, 1, b"c"))
