import sqlite3

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.log import purge
from chatproto.log.interface import Snapshot
from chatproto.log.purge import IDS_KEPT_S, Purge
from chatproto.log.sqlite import SCHEMA

NOW = 1700000000.0


class PurgeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(purge, "PURGE_S", 0.0)
        self.patch(purge, "PURGE_ROWS", 3)
        self.patch(purge, "IDS_SWEPT", 2)
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.database.close)
        self.database.executescript("".join(SCHEMA))
        self.purge = Purge(self.database)
        self.index = 0

    def say(self, room: str, position: int, count: int = 1, *, id: str | None = None, age_s: float = 0.0) -> None:
        """Store a run of messages; with an id, one that a client chose, written so long ago."""
        self._insert(room, position, count)
        if id is not None:
            self.database.execute("INSERT INTO ids VALUES (?, ?, ?)", (id, self.index, NOW - age_s))
        self.index += count - 1

    def act(self) -> None:
        self._insert("", 0, 1)

    def _insert(self, room: str, position: int, count: int) -> None:
        self.index += 1
        ids = msgspec.msgpack.encode(["id"] * count)
        row = (self.index, count, 1, "message" if room else "act", room, position, NOW, ids, None, b"\n" * (count - 1))
        self.database.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def plan(self, **first: int) -> None:
        self.purge.plan(Snapshot(self.index, 1, {}, b"", first), NOW)

    def finish(self) -> list[int]:
        """Purge until nothing is left to purge; return how many rows there were after each step."""
        left = []
        while self.purge:
            self.purge.some()
            (count,) = self.database.execute("SELECT count(*) FROM log").fetchone()
            left.append(count)
            self.assertLess(len(left), 100)
        return left

    def kept(self, room: str = "jokes") -> list[int]:
        rows = self.database.execute("SELECT position FROM log WHERE room = ? ORDER BY position", (room,))
        return [position for (position,) in rows]

    def ids(self) -> list[str]:
        return [id for (id,) in self.database.execute("SELECT id FROM ids ORDER BY id")]

    def test_nothing_is_planned_at_first(self) -> None:
        self.assertFalse(self.purge)

    def test_rows_go_a_few_at_a_time(self) -> None:
        for position in range(1, 8):
            self.say("jokes", position)
        self.plan(jokes=7)
        self.assertEqual(self.finish()[:3], [4, 1, 1])
        self.assertEqual(self.kept(), [7])

    def test_runs_that_reach_the_first_position_kept_stay(self) -> None:
        self.say("jokes", 1, 3)
        self.say("jokes", 4, 3)
        self.plan(jokes=6)
        self.finish()
        self.assertEqual(self.kept(), [4])
        self.plan(jokes=7)
        self.finish()
        self.assertEqual(self.kept(), [])

    def test_rooms_and_acts_go_one_after_another(self) -> None:
        for position in range(1, 5):
            self.say("jokes", position)
            self.say("news", position)
            self.act()
        self.say("MainHall", 1)
        self.plan(jokes=3, news=5)
        self.act()
        self.finish()
        self.assertEqual((self.kept(), self.kept("news"), self.kept("MainHall")), ([3, 4], [], [1]))
        self.assertEqual(self.kept(""), [0], "the act after the snapshot stays")

    def test_a_snapshot_during_a_purge_adds_to_it(self) -> None:
        for position in range(1, 9):
            self.say("jokes", position)
            self.say("news", position)
        self.plan(jokes=7)
        self.purge.some()
        self.plan(news=4)
        self.finish()
        self.assertEqual((self.kept(), self.kept("news")), ([7, 8], [4, 5, 6, 7, 8]))

    def test_a_room_that_was_purged_is_not_looked_at_again(self) -> None:
        self.say("jokes", 1)
        self.plan(jokes=2)
        self.finish()
        statements: list[str] = []
        self.database.set_trace_callback(statements.append)
        self.plan(jokes=2)
        self.finish()
        self.assertEqual([line for line in statements if "jokes" in line], [])

    def test_forgets_what_was_planned_and_what_was_purged(self) -> None:
        """Another log has other rows at the same places."""
        for position in range(1, 8):
            self.say("jokes", position)
            self.act()
        self.plan(jokes=7)
        self.purge.some()
        self.purge.forget()
        self.assertFalse(self.purge)
        self.assertEqual(self.kept(), [4, 5, 6, 7])
        self.plan(jokes=6)
        self.finish()
        self.assertEqual((self.kept(), self.kept("")), ([6, 7], []))
        self.purge.forget()
        self.plan(jokes=7)
        self.purge.forget()
        self.database.execute("DELETE FROM log")
        for position in range(1, 8):
            self.say("jokes", position)
        self.plan(jokes=3)
        self.finish()
        self.assertEqual(self.kept(), [3, 4, 5, 6, 7])

    def test_forgets_the_ids_it_had_to_look_at(self) -> None:
        self.say("jokes", 1, id="a", age_s=IDS_KEPT_S + 1)
        self.plan(jokes=2)
        self.purge.some()
        self.purge.forget()
        self.assertFalse(self.purge)
        self.assertEqual(self.ids(), ["a"])

    def test_the_first_position_of_all_is_nothing_to_purge(self) -> None:
        self.say("jokes", 1)
        self.plan(jokes=1)
        self.finish()
        self.assertEqual(self.kept(), [1])

    def test_ids_are_forgotten_long_after_their_messages(self) -> None:
        for number in range(5):
            self.say("jokes", number + 1, id=f"old{number}", age_s=IDS_KEPT_S + 1)
            self.say("news", number + 1, id=f"new{number}", age_s=IDS_KEPT_S - 1)
        self.plan(jokes=6, news=6)
        self.finish()
        self.assertEqual(self.ids(), [f"new{number}" for number in range(5)])

    def test_ids_of_messages_that_are_kept_are_kept(self) -> None:
        self.say("jokes", 1, id="a", age_s=10 * IDS_KEPT_S)
        self.say("jokes", 2, id="b", age_s=10 * IDS_KEPT_S)
        self.say("jokes", 3, id="c", age_s=10 * IDS_KEPT_S)
        self.plan(jokes=2)
        self.finish()
        self.assertEqual(self.ids(), ["b", "c"])

    def test_ids_are_looked_at_when_messages_went_and_not_with_every_snapshot(self) -> None:
        self.say("jokes", 1, id="a", age_s=IDS_KEPT_S + 1)
        self.database.execute("DELETE FROM log")
        self.act()
        self.plan()
        self.finish()
        self.assertEqual(self.ids(), ["a"])
        self.say("jokes", 2)
        self.plan(jokes=3)
        self.finish()
        self.assertEqual(self.ids(), [])
