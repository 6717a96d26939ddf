"""The table on SQLite, with real threads and a real disk."""

import os
import sqlite3
from contextlib import closing

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import StoreBusy, StoreCorrupt, StoreError, StoreVersion
from chatproto.keyvalue.sqlite import TABLE, SQLiteTable
from chatproto.log.sqlite import SQLiteStore
from tests.unit.keyvalue.contract import PICTURE, TableContract
from tests.unit.log.rig import CallsFromThreads


class SQLiteTableTestCase(SynchronousTestCase):
    """Opens tables in one new data directory, and closes what a test leaves open."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = self.mktemp()
        self.calls = CallsFromThreads()
        self.failures: list[str] = []
        self.table: SQLiteTable | None = None
        self.addCleanup(self.close)

    @property
    def path(self) -> str:
        return os.path.join(self.directory, "news.sqlite")

    def open(self, kind: str = "") -> SQLiteTable:
        self.table = SQLiteTable(self.directory, self.failures.append, self.calls, kind)
        return self.table

    def close(self) -> None:
        table, self.table = self.table, None
        if table is not None:
            closed = table._writer.closed
            if not closed.called:
                table.close()
            self.calls.run_until(lambda: closed.called and not closed.paused)

    def settle(self) -> None:
        """Wait until both threads have done what they were asked, or the writer has ended."""
        table, done = self.table, []
        assert table is not None
        closed = table._writer.closed
        while not (self.failures or (closed.called and not closed.paused)):
            done.clear()
            table.write((), lambda: table._reader.run(lambda: None).addCallback(done.append))
            self.calls.run_until(lambda: done or self.failures or (closed.called and not closed.paused))
            if done and not table._changing:
                return

    def change(self, statement: str) -> None:
        with closing(sqlite3.connect(self.path)) as database:
            database.execute(statement)
            database.commit()


class ContractTests(TableContract, SQLiteTableTestCase):
    """What every table promises, of the one on SQLite."""

    def reopen(self, table: SQLiteTable) -> SQLiteTable:
        self.close()
        return self.open()


class FileTests(SQLiteTableTestCase):
    def test_a_directory_in_use_is_refused_until_it_is_let_go(self) -> None:
        self.open()
        error = self.assertRaises(StoreBusy, SQLiteTable, self.directory, self.failures.append, self.calls)
        self.assertIn(self.directory, str(error))
        self.assertRaises(StoreBusy, SQLiteStore, self.directory, self.failures.append, self.calls)
        self.close()
        self.open()

    def test_a_path_that_is_a_file_is_refused(self) -> None:
        with open(self.directory, "w"):
            pass
        self.assertIn(self.directory, str(self.assertRaises(StoreError, self.open)))

    def test_a_directory_that_cannot_be_written_is_refused(self) -> None:
        os.mkdir(self.directory)
        os.mkdir(self.path)
        self.assertIn(self.path, str(self.assertRaises(StoreError, self.open)))

    def test_a_directory_of_a_node_of_another_kind_is_refused_and_stays_as_it_is(self) -> None:
        self.open("news-root")
        self.close()
        for kind in ("news-router", "chat"):
            error = self.assertRaises(StoreError, self.open, kind)
            said = f"the data directory {self.directory} has what news-root keeps, not {kind}: give each node its own"
            self.assertEqual(str(error), said)
        self.assertRaises(StoreError, SQLiteStore, self.directory, self.failures.append, self.calls, "chat")
        self.assertEqual(sorted(os.listdir(self.directory)), ["lock", "news.sqlite"])
        for kind in ("", "news-root"):
            self.open(kind)
            self.close()

    def test_a_file_that_is_no_database_is_refused_and_lets_the_lock_go(self) -> None:
        os.mkdir(self.directory)
        with open(self.path, "wb") as file:
            file.write(b"this is no database" * 100)
        self.assertIn(self.path, str(self.assertRaises(StoreError, self.open)))
        os.remove(self.path)
        self.open()

    def test_a_database_of_another_program_is_refused(self) -> None:
        os.mkdir(self.directory)
        self.change("CREATE TABLE recipes (name TEXT)")
        self.assertIn("another program", str(self.assertRaises(StoreError, self.open)))

    def test_another_schema_version_is_refused(self) -> None:
        self.open()
        self.close()
        self.change(f"PRAGMA user_version={TABLE.version + 1}")
        self.assertIn(f"version {TABLE.version + 1}", str(self.assertRaises(StoreVersion, self.open)))

    def test_a_damaged_file_is_refused(self) -> None:
        table = self.open()
        table.write([(b"%d" % number, PICTURE[:5000]) for number in range(100)], lambda: None)
        self.close()
        with open(self.path, "r+b") as file:
            file.seek(4096 * 3)
            file.write(b"\x00" * 4096 * 100)
        error = self.assertRaises(StoreCorrupt, self.open)
        self.assertIn(self.path, str(error))
        self.assertIn("restore it from a backup", str(error))


class FailureTests(SQLiteTableTestCase):
    def test_a_write_that_fails_is_told_once_and_nothing_is_written_after_it(self) -> None:
        table, done = self.open(), []
        table.write([(b"a", b"1")], lambda: done.append("a"))
        self.settle()
        (pages,) = table._writer._database.execute("PRAGMA page_count").fetchone()
        table._writer._database.execute(f"PRAGMA max_page_count={pages + 2}")
        table.write([(b"b", PICTURE), (b"a", None)], lambda: done.append("b"))
        read = table.read(b"b")
        table.write([(b"c", b"1")], lambda: done.append("c"))
        self.calls.run_until(lambda: self.failures)
        table.write([(b"d", b"1")], lambda: done.append("d"))
        self.close()
        self.assertEqual(done, ["a"])
        self.assertNoResult(read)
        (reason,) = self.failures
        self.assertIn(self.path, reason)
        self.assertIn("full", reason)
        self.assertEqual(self.open().scan(b""), [(b"a", b"1")])

    def test_what_waits_shares_a_commit(self) -> None:
        table = self.open()
        statements: list[str] = []
        table._writer._database.set_trace_callback(statements.append)
        held = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(held.close)
        held.execute("BEGIN IMMEDIATE")  # The writer waits for it.
        done: list[int] = []
        for number in range(100):
            table.write([(b"%d" % number, b"")], lambda: done.append(len(done)))
        held.execute("COMMIT")
        self.calls.run_until(lambda: len(done) == 100)
        self.assertLessEqual(sum(line.startswith("BEGIN") for line in statements), 3)
