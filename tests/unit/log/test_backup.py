"""Tests for chatproto.log.backup: what is in a backup, what is refused, and what goes on from one."""

import os
import sqlite3
from contextlib import closing
from typing import Any
from unittest import mock

import msgspec

from chatproto.disk.directory import in_use
from chatproto.errors import StoreBusy, StoreCorrupt, StoreError, StoreVersion
from chatproto.log import backup
from chatproto.log.backup import Backup, Log
from chatproto.log.entry import Entry, Numbering, Run, Snapshot
from chatproto.log.rows import INSERT_ROW
from chatproto.log.sqlite import LOG
from tests.unit.log import contract
from tests.unit.log.contract import act
from tests.unit.log.rig import SQLiteTestCase

ABOUT = Backup(1700000000.0, "1.2.3")


def message(room: str, id: str) -> Entry:
    return contract.message(room, id, id=id)


class BackupTestCase(SQLiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.numbering = Numbering(0, {}, 1)
        self.file = self.mktemp()
        self.open()

    def write(self, *entries: Entry) -> list[Run]:
        """Have the store keep entries."""
        assert self.store is not None
        runs = self.numbering.seal(list(entries))
        done: list[None] = []
        self.store.append(runs, lambda: done.append(None))
        self.calls.run_until(lambda: done)
        return runs

    def save(self, **first: int) -> None:
        assert self.store is not None
        numbering = self.numbering
        epochs = [(1, 1)] if numbering.epoch == 1 else [(1, 1), (numbering.epoch, numbering.index)]
        positions = dict(numbering.positions)
        self.store.save(Snapshot(numbering.index, numbering.epoch, positions, b"state", first, epochs))
        self.settle()

    def query(self, sql: str, path: str | None = None) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path or self.path, isolation_level=None)) as database:
            return database.execute(sql).fetchall()

    def take(self, committed: int | None = None) -> int:
        return backup.take(self.directory, self.file, lambda: committed, ABOUT)

    def check(self) -> Log:
        with closing(backup.open_backup(self.file)) as database:
            about = backup.about(database)
            self.assertEqual((about.taken, about.release), (ABOUT.taken, ABOUT.release))
            return backup.check(database, about.digest)

    def taken(self, committed: int | None = None) -> Log:
        self.take(committed)
        return self.check()


class TakeTests(BackupTestCase):
    def test_an_empty_log(self) -> None:
        self.assertEqual(self.taken(), Log(0, 0, 0, 0.0, 0.0))

    def test_of_a_node_that_runs(self) -> None:
        self.write(act("a-1"), message("jokes", "m-1"), message("jokes", "m-2"))
        self.numbering.epoch = 3
        self.write(message("den", "m-3"))
        log = self.taken()
        self.assertEqual((log.entries, log.epoch, log.messages), (4, 3, 3))
        self.write(message("jokes", "m-4"))

    def test_what_is_not_known_to_be_committed_is_not_in_it(self) -> None:
        self.write(message("jokes", "m-1"))
        self.write(message("jokes", "secret"))
        self.assertEqual(self.taken(1).messages, 1)
        with open(self.file, "rb") as file:
            self.assertNotIn(b"secret", file.read())

    def test_what_a_snapshot_stands_for_is_committed(self) -> None:
        self.write(message("jokes", "m-1"))
        self.write(message("jokes", "m-2"))
        self.save()
        self.write(message("jokes", "m-3"))
        self.assertEqual(self.taken(1).entries, 2)

    def test_ids_of_what_is_left_out_are_not_in_it(self) -> None:
        self.write(message("jokes", "m-1"))
        self.write(message("jokes", "m-2"))
        self.query("INSERT INTO ids VALUES ('m-1', 1, 0), ('m-2', 2, 0)")
        self.take(1)
        self.assertEqual(self.query("SELECT id FROM ids", self.file), [("m-1",)])

    def test_that_the_log_is_another_by_now_is_found_out(self) -> None:
        self.write(message("jokes", "m-1"), message("jokes", "m-2"))
        self.assertIn("try again", str(self.assertRaises(StoreError, self.take, 1)))

    def test_what_is_the_nodes_own_is_left_out(self) -> None:
        self.query("INSERT INTO pair VALUES ('configuration', x'00')")
        self.query("INSERT INTO orphans VALUES (1, 'o-1', x'00'), (2, 'o-2', x'00')")
        self.assertEqual(self.take(), 2)
        self.assertEqual(self.query("SELECT * FROM pair UNION SELECT id, body FROM orphans", self.file), [])

    def test_not_while_another_log_is_taken_in(self) -> None:
        self.query("INSERT INTO pair VALUES ('installing', 3)")
        self.assertIn("another one", str(self.assertRaises(StoreError, self.take)))

    def test_what_cannot_be_written_is_said(self) -> None:
        self.file = os.path.join(self.mktemp(), "missing", "file")
        self.assertIn("cannot copy", str(self.assertRaises(StoreError, self.take)))

    def test_of_what_is_no_data_directory(self) -> None:
        self.directory = self.mktemp()
        self.close()
        self.assertIn("no chatproto data", str(self.assertRaises(StoreError, self.take)))


class UnfinishedTests(BackupTestCase):
    def write_file(self, path: str, *, replace: bool = False, fails: BaseException | None = None) -> None:
        with backup.unfinished(path, replace=replace) as part:
            with open(part, "w") as file:
                file.write("new")
            if fails is not None:
                raise fails

    def read(self) -> str:
        with open(self.file) as file:
            return file.read()

    def names(self) -> list[str]:
        folder, name = os.path.split(self.file)
        return [found for found in os.listdir(folder) if found.startswith(name)]

    def test_it_is_there_when_it_is_whole(self) -> None:
        self.write_file(self.file)
        self.assertEqual((self.read(), len(self.names())), ("new", 1))
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)

    def test_what_is_there_is_replaced_only_if_that_is_wanted(self) -> None:
        with open(self.file, "w") as file:
            file.write("old")
        self.assertIn("is there already", str(self.assertRaises(StoreError, self.write_file, self.file)))
        self.assertEqual(self.read(), "old")
        self.write_file(self.file, replace=True)
        self.assertEqual(self.read(), "new")

    def test_nothing_is_left_of_what_failed(self) -> None:
        self.assertRaises(KeyboardInterrupt, self.write_file, self.file, fails=KeyboardInterrupt())
        error = self.assertRaises(StoreError, self.write_file, self.file, fails=OSError(28, "No space left on device"))
        self.assertEqual(str(error), f"cannot write {self.file}: No space left on device")
        self.assertEqual(self.names(), [])

    def test_a_leftover_of_a_process_that_died_is_no_hindrance(self) -> None:
        with open(self.file + backup.UNFINISHED, "w") as file:
            file.write("left over")
        self.write_file(self.file)
        self.assertEqual((self.read(), len(self.names())), ("new", 1))

    def test_what_sqlite_left_of_it_is_not_taken_for_a_part_of_the_next(self) -> None:
        part = self.file + backup.UNFINISHED
        for end in ("", *backup.BESIDE):
            with open(part + end, "w") as file:
                file.write("left over")
        with backup.unfinished(self.file) as written:
            self.assertEqual(self.names(), [os.path.basename(written)])
        with open(self.file + "-wal", "w") as file:
            file.write("left of one that was removed")
        for replace in (True, False):
            os.path.exists(self.file) and os.unlink(self.file)
            error = self.assertRaises(StoreError, self.write_file, self.file, replace=replace)
            self.assertIn(f"{self.file}-wal is left of another file", str(error))

    def test_a_leftover_that_has_its_name_already_is_not_written_to(self) -> None:
        self.write_file(self.file)
        os.link(self.file, self.file + backup.UNFINISHED)
        with backup.unfinished(self.file, replace=True) as part, open(part, "w") as file:
            file.write("half")
            file.flush()
            self.assertEqual(self.read(), "new")
        self.assertEqual(self.read(), "half")

    def test_no_two_write_it_at_once(self) -> None:
        with backup.unfinished(self.file) as part:
            with open(part, "w") as file:
                file.write("first")
            error = self.assertRaises(StoreError, self.write_file, self.file)
            self.assertIn("another process is writing", str(error))
        self.assertEqual((self.read(), len(self.names())), ("first", 1))

    def test_another_may_have_been_faster(self) -> None:
        with mock.patch("fcntl.flock", side_effect=[BlockingIOError()]):
            self.assertIn("another process", str(self.assertRaises(StoreError, self.write_file, self.file)))

    def test_a_disk_without_links(self) -> None:
        with mock.patch("os.link", side_effect=PermissionError(1, "Operation not permitted")):
            self.write_file(self.file)
            self.assertEqual((self.read(), len(self.names())), ("new", 1))
            with (
                self.assertRaises(StoreError),
                backup.unfinished(self.file + "2"),
                open(self.file + "2", "w") as file,
            ):
                file.write("of another process")
        with open(self.file + "2") as file:
            self.assertEqual(file.read(), "of another process")


class CheckTests(BackupTestCase):
    """Whatever is wrong with a backup is found, and where."""

    def damaged(self, *statements: str) -> str:
        """Take a backup, damage it, and return what the check says."""
        self.take()
        for statement in statements:
            self.query(statement, self.file)
        return str(self.assertRaises(StoreCorrupt, self.check))

    def some(self) -> None:
        for number in range(1, 5):
            self.write(message("jokes", f"m-{number}"))

    def test_an_entry_is_missing(self) -> None:
        self.some()
        self.assertEqual(self.damaged("DELETE FROM log WHERE idx = 2"), "entry 2 is missing")

    def test_the_first_after_a_snapshot_is_missing(self) -> None:
        self.some()
        self.save()
        self.some_more()
        self.assertEqual(self.damaged("DELETE FROM log WHERE idx = 5"), "entry 5 is missing")

    def some_more(self) -> None:
        for number in range(5, 7):
            self.write(message("jokes", f"m-{number}"))

    def test_before_a_snapshot_a_message_is_missing(self) -> None:
        self.some()
        self.save()
        self.assertEqual(self.damaged("DELETE FROM log WHERE idx = 2"), "jokes has no message 2")

    def test_before_a_snapshot_acts_may_be_gone_and_what_retention_drops(self) -> None:
        self.write(act("a-1"))
        self.some()
        self.write(act("a-2"))
        (second,) = self.query("SELECT * FROM log WHERE position = 2")
        self.save(jokes=4)
        self.some_more()
        # Purging goes in steps, and a step in any order.
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.execute(INSERT_ROW, second)
        log = self.taken()
        self.assertEqual((log.entries, log.messages), (8, 4))
        self.assertEqual(self.damaged_further(), "jokes has no message 4")

    def damaged_further(self) -> str:
        self.query("DELETE FROM log WHERE room = 'jokes' AND position = 4", self.file)
        return str(self.assertRaises(StoreCorrupt, self.check))

    def test_an_id_is_there_twice(self) -> None:
        self.some()
        ids = msgspec.msgpack.encode(["m-1"]).hex()
        body = "replace(CAST(body AS TEXT), 'm-3', 'm-1')"
        said = self.damaged(f"UPDATE log SET ids = x'{ids}', body = CAST({body} AS BLOB) WHERE idx = 3")
        self.assertIn("an id of the entries 3 to 3 is there twice", said)

    def test_a_line_is_not_what_its_row_says(self) -> None:
        self.some()
        for wrong in ("room = 'den'", "epoch = 2", f"ids = x'{msgspec.msgpack.encode(['m-9']).hex()}'"):
            said = self.damaged(f"UPDATE log SET {wrong} WHERE idx = 4")
            self.assertEqual(said, "entry 4 is not what its row says")
            os.unlink(self.file)
        self.assertIn("damaged", self.damaged("UPDATE log SET body = x'7b' WHERE idx = 4"))

    def test_a_message_is_another_than_was_said(self) -> None:
        self.some()
        self.assertIn(
            "not what was written",
            self.damaged("UPDATE log SET body = CAST(replace(body, 'ann', 'eve') AS BLOB) WHERE idx = 3"),
        )

    def test_a_line_and_an_id_are_no_text(self) -> None:
        self.some()
        for column in ("body", "ids"):
            self.damaged(f"UPDATE log SET {column} = CAST({column} || x'ff' AS BLOB) WHERE idx = 3")
            os.unlink(self.file)
        self.damaged("UPDATE log SET ids = x'91a3ff6d2d' WHERE idx = 3")

    def test_there_is_no_room_for_checking_it(self) -> None:
        self.some()
        self.take()
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorname = "SQLITE_FULL"
        with mock.patch.object(backup._Checking, "all", side_effect=full):
            error = self.assertRaises(StoreError, self.check)
        self.assertNotIsInstance(error, StoreCorrupt)
        self.assertIn("temporary files", str(error))

    def test_one_that_was_taken_before_there_were_digests(self) -> None:
        self.some()
        self.take()
        about = msgspec.msgpack.encode({"taken": ABOUT.taken, "release": ABOUT.release})
        self.query(f"UPDATE backup SET about = x'{about.hex()}'", self.file)
        self.assertEqual(self.check().messages, 4)

    def test_an_epoch_falls(self) -> None:
        self.numbering.epoch = 2
        self.some()
        self.assertIn("does not follow", self.damaged("UPDATE log SET epoch = 1 WHERE idx = 3"))

    def test_a_row_has_another_count(self) -> None:
        self.some()
        self.assertIn("entry 3", self.damaged("UPDATE log SET count = 2 WHERE idx = 3"))

    def test_a_page_is_garbage(self) -> None:
        self.write(*(message("jokes", f"m-{number}") for number in range(2000)))
        self.take()
        with open(self.file, "r+b") as file:
            file.seek(os.path.getsize(self.file) // 2)
            file.write(b"\xff" * 4096)
        self.assertIn("the file is damaged", str(self.assertRaises(StoreCorrupt, self.check)))

    def test_nothing_is_written_by_it(self) -> None:
        self.some()
        self.take()
        with open(self.file, "rb") as file:
            before = file.read()
        self.check()
        with open(self.file, "rb") as file:
            self.assertEqual(file.read(), before)


class OpenTests(BackupTestCase):
    def refused(self, kind: type[StoreError] = StoreError) -> str:
        return str(self.assertRaises(kind, backup.open_backup, self.file))

    def test_there_is_none(self) -> None:
        self.assertIn("there is no file", self.refused())

    def test_it_is_something_else(self) -> None:
        for data in (b"", b"nonsense" * 1000):
            with open(self.file, "wb") as file:
                file.write(data)
            self.assertIn("not a backup", self.refused())

    def test_a_data_directory_is_no_backup_nor_the_other_way_round(self) -> None:
        self.file = self.path
        self.assertIn("not a backup", self.refused())
        self.file = self.mktemp()
        self.take()
        self.close()
        os.replace(self.file, self.path)
        self.assertIn("another program", str(self.assertRaises(StoreError, self.open)))

    def test_a_later_release_wrote_it(self) -> None:
        self.take()
        self.query("PRAGMA user_version=99", self.file)
        self.refused(StoreVersion)


class RestoreTests(BackupTestCase):
    def restore(self, now: float = 1_700_000_000.5) -> None:
        log = self.taken()
        self.close()
        self.directory = self.mktemp()
        backup.restore(self.file, self.directory, log, b'{"act":"restart"}', now)

    def recovered(self) -> tuple[Snapshot | None, list[Run]]:
        snapshot, runs = self.open().recover()
        return snapshot, list(runs)

    def test_it_goes_on_in_an_epoch_that_nobody_has_had(self) -> None:
        self.write(message("jokes", "m-1"))
        self.restore()
        _, (said, restart) = self.recovered()
        self.assertEqual((said.index, said.epoch, said.ids), (1, 1, ["m-1"]))
        self.assertEqual((restart.index, restart.epoch, restart.kind), (2, 1_700_000_000, "act"))
        self.assertEqual(restart.body, b'{"act":"restart"}')

    def test_and_so_it_does_if_the_clock_is_wrong(self) -> None:
        self.numbering.epoch = 7
        self.write(message("jokes", "m-1"))
        self.restore(0.0)
        self.assertEqual([run.epoch for run in self.recovered()[1]], [7, 8])

    def test_snapshot_and_ids_are_there(self) -> None:
        self.write(message("jokes", "m-1"))
        self.save()
        self.restore()
        snapshot, (restart,) = self.recovered()
        assert snapshot is not None and self.store is not None
        self.assertEqual((snapshot.index, restart.index, self.store.find("m-1")), (1, 2, 1))

    def test_of_an_empty_log(self) -> None:
        self.restore()
        self.assertEqual([run.index for run in self.recovered()[1]], [1])

    def test_a_directory_with_data_is_left_alone(self) -> None:
        again = (backup.restore, self.file, self.directory, self.taken(), b"{}", 0.0)
        self.assertRaises(StoreBusy, *again)
        self.close()
        self.assertIn("holds the data of a node", str(self.assertRaises(StoreError, *again)))

    def test_what_fails_leaves_no_data_behind(self) -> None:
        self.take()
        self.directory = self.mktemp()
        again = (backup.restore, self.file, self.directory, Log(0, 0, 0, 0, 0), b"{}", 0.0)
        with mock.patch.object(backup, "begin_anew", side_effect=sqlite3.OperationalError("database or disk is full")):
            self.assertIn("disk is full", str(self.assertRaises(StoreError, *again)))
        self.assertEqual(os.listdir(self.directory), ["lock"])
        self.assertFalse(os.path.exists(LOG.path_in(self.directory)))


class InUseTests(BackupTestCase):
    def test_by_a_store_that_is_open(self) -> None:
        self.assertTrue(in_use(self.directory))
        self.close()
        self.assertFalse(in_use(self.directory))

    def test_not_if_nobody_ever_used_it(self) -> None:
        self.assertFalse(in_use(self.mktemp()))
