"""Tests for chatproto.cli.backup: what is copied of a node that runs or does not, and what goes on from it."""

import os
import sqlite3
from contextlib import closing
from unittest import mock

from chatproto.chat.acts import Create, Enter, Move, encode_act
from chatproto.chat.messages import SaidExtended, encode
from chatproto.cli import backup
from chatproto.cli.archive import archive, replayed
from chatproto.cli.control import ControlFailed, NotRunning
from chatproto.errors import StoreCorrupt, StoreError
from chatproto.log.entry import ACT, MESSAGE, Run
from chatproto.log.sqlite import LOG
from tests.unit.log.rig import SQLiteTestCase


class BackupTestCase(SQLiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.file = self.mktemp()
        self.acts(Enter("p.1", "primary", "adel"), Create("p.1", "jokes"), Move("p.1", "jokes", 0.0, True))
        self.say(4, "jokes", 1)
        self.say(5, "jokes", 2)

    def acts(self, *acts: Enter | Create | Move) -> None:
        bodies = b"\n".join(map(encode_act, acts))
        self.keep(Run(1, 1, ACT, "", 0, 1000.0, [f"a-{at}" for at in range(len(acts))], bodies))

    def say(self, index: int, room: str, position: int) -> None:
        said = SaidExtended("adel", "hello", room, position, 1, f"m-{index}", 1000.0)
        self.keep(Run(index, 1, MESSAGE, room, position, 1000.0, [said.id], encode(said).rstrip(b"\n"), [0]))

    def keep(self, run: Run) -> None:
        store = self.store or self.open()
        done: list[None] = []
        store.append([run], lambda: done.append(None))
        self.calls.run_until(lambda: done)

    def pair(self) -> None:
        """Have it be the directory of a node of a pair."""
        with closing(sqlite3.connect(self.path)) as database:
            database.execute("INSERT INTO pair VALUES ('configuration', x'00')")
            database.commit()

    def backup(self) -> str:
        return backup.backup(self.directory, self.file, "1.2.3")

    def archive(self, directory: str) -> list[str]:
        lines: list[str] = []
        archive(directory, None, lines.append)
        return lines


class TakeTests(BackupTestCase):
    def test_of_a_node_alone_that_runs(self) -> None:
        said = self.backup()
        self.assertTrue(said.startswith("2 messages in 2 rooms, said from "), said)
        self.assertIn("; 5 entries up to epoch 1; taken ", said)
        self.assertTrue(said.endswith(" by chatproto 1.2.3"), said)
        self.assertEqual(str(backup.verify(self.file)), said)

    def test_one_of_a_pair_is_asked_what_is_committed(self) -> None:
        self.pair()
        with mock.patch.object(backup, "command", return_value="4") as command:
            self.assertTrue(self.backup().startswith("1 messages in 2 rooms"))
        command.assert_called_once_with(self.directory, "committed")

    def test_one_that_does_not_know_is_no_good(self) -> None:
        self.pair()
        with mock.patch.object(backup, "command", side_effect=ControlFailed("it does not know")):
            self.assertRaises(ControlFailed, self.backup)
        self.assertFalse(os.path.exists(self.file))

    def test_nor_one_that_takes_no_commands(self) -> None:
        self.pair()
        with mock.patch.object(backup, "command", side_effect=NotRunning("nobody")):
            self.assertIn("does not say what is committed", str(self.assertRaises(StoreError, self.backup)))

    def test_of_one_that_was_stopped_all_is_kept(self) -> None:
        self.pair()
        self.close()
        self.assertTrue(self.backup().startswith("2 messages"))

    def test_what_waits_to_be_said_again_is_mentioned(self) -> None:
        with closing(sqlite3.connect(self.path)) as database:
            database.execute("INSERT INTO orphans VALUES (1, 'o-1', x'00')")
            database.commit()
        self.assertTrue(self.backup().endswith("; 1 entries that still wait to be said again are not in it"))

    def test_an_empty_one(self) -> None:
        self.close()
        self.directory = self.mktemp()
        self.open()
        self.assertIn("holds no log", str(self.assertRaises(StoreError, self.backup)))
        self.assertFalse(os.path.exists(self.file), "it would be taken for one of the archive")

    def test_it_is_not_to_be_in_a_data_directory(self) -> None:
        for path in (os.path.join(self.directory, "backup"), self.path):
            with self.assertRaises(StoreError):
                backup.backup(self.directory, path, "1.2.3", replace=True)
        self.assertEqual(len(self.archive(self.directory)), 2)

    def test_one_that_cannot_be_replayed_is_none(self) -> None:
        self.keep(Run(6, 1, ACT, "", 0, 1000.0, ["a-9"], b'{"act":"what"}'))
        self.assertIn("cannot be replayed", str(self.assertRaises(StoreCorrupt, self.backup)))
        self.assertFalse(os.path.exists(self.file))


class RestoreTests(BackupTestCase):
    def test_the_archive_is_the_same_and_rooms_wait_for_their_owners(self) -> None:
        self.backup()
        directory = self.mktemp()
        self.assertEqual(str(backup.restore(self.file, directory)), str(backup.verify(self.file)))
        self.assertEqual(self.archive(directory), self.archive(self.directory))
        with closing(LOG.connect(directory)) as database:
            hall = replayed(database)
        self.assertEqual((hall.members, hall.rooms["jokes"].owner), ({}, "adel"))

    def test_a_clock_that_is_wrong_does_not_lead_back_into_old_epochs(self) -> None:
        self.backup()
        directory, taken = self.mktemp(), backup.verify(self.file).about.taken
        with mock.patch("time.time", return_value=17.0):
            backup.restore(self.file, directory)
        with closing(LOG.connect(directory)) as database:
            self.assertEqual(database.execute("SELECT max(epoch) FROM log").fetchone(), (int(taken),))

    def test_a_damaged_one_is_refused_before_anything_is_written(self) -> None:
        self.backup()
        with closing(sqlite3.connect(self.file)) as database:
            database.execute("DELETE FROM log WHERE idx = 4")
            database.commit()
        directory = self.mktemp()
        self.assertRaises(StoreCorrupt, backup.restore, self.file, directory)
        self.assertFalse(os.path.exists(directory))
