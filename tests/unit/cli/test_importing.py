"""Tests for chatproto.cli.importing: an archive in lines becomes a data directory, or a line is named."""

import io
import json
import os
from contextlib import closing
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli import importing
from chatproto.cli.archive import archive, replayed
from chatproto.cli.importing import ImportFailed, import_archive
from chatproto.errors import StoreError
from chatproto.log.backup import check
from chatproto.log.rows import read_snapshot
from chatproto.log.sqlite import LOG
from tests.unit.log.rig import SQLiteTestCase


def said(room: str, index: int, **fields: Any) -> bytes:
    """Return a line as `chatproto archive` writes it, with some fields as given; None leaves one out."""
    usual = {"epoch": 1, "id": f"{room}-{index}", "identity": "adel", "content": f"{room} {index}", "time": 1000.0}
    found = {"room": room, "index": index, **usual, **fields}
    return json.dumps({name: value for name, value in found.items() if value is not None}).encode() + b"\n"


def imported(directory: str, *lines: bytes, owner: str | None = None) -> str:
    return import_archive(io.BytesIO(b"".join(lines)), directory, owner)


def exported(directory: str) -> list[dict[str, Any]]:
    lines: list[str] = []
    archive(directory, None, lines.append)
    return [json.loads(line) for line in lines]


class ImportTests(SQLiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = self.mktemp()

    def round_trip(self, *lines: bytes) -> None:
        imported(self.directory, *lines)
        self.assertEqual(exported(self.directory), [json.loads(line) for line in lines])
        with closing(LOG.connect(self.directory)) as database:
            self.assertEqual(check(database).messages, len(lines))

    def test_rooms_keep_their_messages(self) -> None:
        odd = 'a "quoted" \\ \u2028 \U0001f600 \n\x00 line'
        self.round_trip(said("MainHall", 1, content=odd, time=1795361234.567), said("MainHall", 2), said("jokes", 1))

    def test_what_retention_dropped_stays_away(self) -> None:
        self.round_trip(said("MainHall", 51), said("MainHall", 52))

    def test_of_rooms_one_after_the_other_the_epochs_are_in_order(self) -> None:
        rooms = ("MainHall", "jokes", "den")
        self.round_trip(*(said(room, at, epoch=epoch) for room in rooms for at, epoch in ((1, 1), (2, 3), (3, 3))))

    def test_a_clock_that_was_set_back_changes_no_order(self) -> None:
        self.round_trip(said("MainHall", 1, time=2000.0), said("MainHall", 2, time=1.0), said("jokes", 1, time=1500.0))

    def test_more_than_one_batch(self) -> None:
        with mock.patch.object(importing, "BATCH_ENTRIES", 2):
            self.round_trip(*(said("MainHall", at) for at in range(1, 8)))

    def test_nothing(self) -> None:
        self.assertEqual(imported(self.directory, b"\n", b" \n"), "0 messages in 0 rooms")
        self.assertEqual(exported(self.directory), [])

    def test_lines_of_rooms_may_be_mixed(self) -> None:
        self.assertEqual(
            imported(self.directory, said("jokes", 1), said("MainHall", 1), said("jokes", 2)),
            "3 messages in 2 rooms",
        )
        self.assertEqual(
            [(line["room"], line["index"]) for line in exported(self.directory)][1:], [("jokes", 1), ("jokes", 2)]
        )

    def test_rooms_wait_for_their_owner(self) -> None:
        for owner, wanted in ((None, "server"), ("adel", "adel")):
            directory = self.mktemp()
            imported(directory, said("jokes", 1), said("MainHall", 1), owner=owner)
            with closing(LOG.connect(directory)) as database:
                hall = replayed(database)
            self.assertEqual((hall.rooms["jokes"].owner, hall.rooms["MainHall"].owner), (wanted, ""))

    def test_a_node_goes_on_from_it_and_knows_the_ids(self) -> None:
        imported(self.directory, said("jokes", 7, epoch=3), said("jokes", 8, epoch=4))
        store = self.open()
        snapshot, runs = store.recover()
        (restart,) = runs
        assert snapshot is not None
        self.assertEqual((snapshot.index, snapshot.epoch, snapshot.positions), (2, 4, {"jokes": 8}))
        self.assertEqual((snapshot.first, snapshot.epochs), ({"jokes": 7}, [(3, 1), (4, 2)]))
        self.assertGreater(restart.epoch, 1_700_000_000)
        self.assertEqual([store.find(id) for id in ("jokes-7", "jokes-8", "jokes-9")], [1, 2, None])
        (piece,) = store.peek("jokes", 7, 1000, 10)
        self.assertEqual((piece.position, piece.count), (7, 2))
        with closing(LOG.connect(self.directory)) as database:
            self.assertEqual(read_snapshot(database), snapshot)


class MistakeTests(SynchronousTestCase):
    def refused(self, *lines: bytes) -> str:
        """Import; return why that is refused. Nothing is left of it."""
        directory = self.mktemp()
        error = self.assertRaises(ImportFailed, imported, directory, *lines)
        self.assertEqual(os.listdir(directory), ["lock"])
        return str(error)

    def test_each_is_told_with_its_line(self) -> None:
        first = said("jokes", 3, epoch=2)
        for line, why in (
            (b"nonsense\n", "line 3: not what chatproto archive writes"),
            (b"[]\n", "line 3: not what chatproto archive writes"),
            (b"[" * 100_000, "line 3: not what chatproto archive writes"),
            (b"\xff\n", "line 3: not what chatproto archive writes"),
            (said("jokes", 4, id=None), "line 3: not what chatproto archive writes"),
            (said("jokes", 4, content=7), "line 3: not what chatproto archive writes"),
            (said("jokes", 4, content="\ud800"), "line 3: not what chatproto archive writes"),
            (said("no room", 4), "line 3: 'no room' is not a room"),
            (said("jokes", 4, identity="x"), "line 3: 'x' is not an identity"),
            (said("jokes", 4, identity="server"), "line 3: 'server' is not an identity"),
            (said("jokes", 4, id=""), "line 3: an id has 1 to 64 characters"),
            (said("jokes", 4, id="x" * 65), "line 3: an id has 1 to 64 characters"),
            (said("jokes", 4, epoch=0), "line 3: an epoch is from 1"),
            (said("jokes", 4, epoch=2**53), "line 3: an epoch is from 1"),
            (said("jokes", 4, time=-1.0), "line 3: time is in Unix seconds"),
            (said("jokes", 4, time=1e300), "line 3: time is in Unix seconds"),
            (said("den", 0), "line 3: an index is from 1"),
            (said("den", 2**63), "line 3: "),
            (said("jokes", 3), "line 3: index 3 of jokes does not follow 3"),
            (said("jokes", 5), "line 3: index 5 of jokes does not follow 3"),
            (said("jokes", 4, epoch=1), "line 3: its epoch is 1, and the message before it in jokes has 2"),
            (said("jokes", 4, epoch=2, id="jokes-3"), "line 3: an earlier line has its id"),
        ):
            told = self.refused(first, b"\n", line)
            self.assertTrue(told.startswith(why), (line[:100], told))

    def test_what_a_process_that_died_left_is_no_hindrance(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        for end in (".part", ".part-journal", ".part-staged"):
            with open(LOG.path_in(directory) + end, "wb") as file:
                file.write(b"half a database" * 1000)
        imported(directory, said("jokes", 1))
        self.assertEqual(len(exported(directory)), 1)
        self.assertEqual(sorted(os.listdir(directory)), ["lock", "log.sqlite"])

    def test_a_line_without_end(self) -> None:
        with mock.patch.object(importing, "LINE_BYTES_MAX", 200):
            self.assertEqual(self.refused(said("jokes", 1, content="x" * 300)), "line 1: it has more than 200 bytes")

    def test_a_directory_with_data_is_left_alone(self) -> None:
        directory = self.mktemp()
        imported(directory, said("jokes", 1))
        self.assertRaises(StoreError, imported, directory, said("den", 1))
        self.assertEqual([line["room"] for line in exported(directory)], ["jokes"])
