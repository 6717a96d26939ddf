import os
import sqlite3
import stat
from typing import Any

import msgspec

from chatproto.errors import StoreBusy, StoreCorrupt, StoreError, StoreVersion
from chatproto.log import sqlite
from chatproto.log.entry import Numbering, Run
from chatproto.log.interface import Slice, Snapshot
from chatproto.log.purge import PURGE_ROWS
from chatproto.log.rows import collect_slices, runs_after
from chatproto.log.sqlite import SQLiteStore, connect
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
        self.change("PRAGMA user_version=2")
        error = self.assertRaises(StoreVersion, self.open)
        self.assertIn("version 2", str(error))

    def test_a_database_without_tables_is_made_ours(self) -> None:
        os.mkdir(self.directory)
        self.change("PRAGMA user_version=9")
        self.open()
        self.close()
        self.assertEqual(self.tables(), ["ids", "log", "snapshot"])
        self.open()

    def test_tables_that_cannot_be_made_are_told_and_not_half_made(self) -> None:
        patched = self.patch(sqlite, "SCHEMA", sqlite.SCHEMA + "CREATE NONSENSE;")
        error = self.assertRaises(StoreError, self.open)
        self.assertIn(self.path, str(error))
        patched.restore()
        self.assertEqual(self.tables(), [])
        self.open()

    def test_reading_where_there_is_nothing_is_refused_and_makes_nothing(self) -> None:
        os.mkdir(self.directory)
        error = self.assertRaises(StoreError, connect, self.directory, writing=False)
        self.assertIn(self.directory, str(error))
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_reader_cannot_write(self) -> None:
        self.open()
        database = connect(self.directory, writing=False)
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

    def test_appends_go_between_the_chunks(self) -> None:
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


def sqlite3_count(directory: str) -> int:
    database = connect(directory, writing=False)
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
