"""Deleting what a snapshot has made unneeded, a few rows at a time, so that appends wait milliseconds at most."""

import sqlite3
import time

from chatproto.log.interface import Snapshot

PURGE_S = 0.001
"""How long a transaction goes on deleting; rows of many pages take longer than those of which many share one."""
PURGE_ROWS = 25
"""Rows deleted at once."""
IDS_SWEPT = 1000
"""Ids looked at at once."""
IDS_KEPT_S = 7 * 86400
"""How long an id outlives its message, so that a late retry is recognised and not said again."""


class Purge:
    """What is still to be deleted; false when that is nothing."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Delete from a database of the store, on the thread that writes to it."""
        self._database = database
        self._rooms: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._acts_to = 0
        self._now = 0.0
        # Where the sweep of ids is; None when none is due.
        self._swept_to: str | None = None

    def __bool__(self) -> bool:
        return bool(self._rooms) or self._acts_to > 0 or self._swept_to is not None

    def plan(self, snapshot: Snapshot, now: float) -> None:
        """Take up what a snapshot has made unneeded by `now`, in Unix seconds, besides what is under way."""
        self._now = now
        for room, first in snapshot.first.items():
            if first > self._done.get(room, 1):
                self._rooms[room] = first
        self._acts_to = snapshot.index

    def forget(self) -> None:
        """Plan nothing any more, and know of nothing deleted: another log is taken in, whose rows are others."""
        self._rooms.clear()
        self._done.clear()
        self._acts_to = 0
        self._swept_to = None

    def some(self) -> None:
        """Delete some, in one transaction."""
        end = time.monotonic() + PURGE_S
        self._database.execute("BEGIN IMMEDIATE")
        self._few()
        while self and time.monotonic() < end:
            self._few()
        self._database.execute("COMMIT")

    def _few(self) -> None:
        if self._rooms:
            room, first = next(iter(self._rooms.items()))
            # `position < ?` keeps it from looking at all that stay.
            below = "room = ? AND position > 0 AND position < ? AND position + count <= ?"
            if self._delete(below, room, first, first):
                self._done[room] = self._rooms.pop(room)
                self._swept_to = ""
        elif self._acts_to:
            if self._delete("position = 0 AND idx <= ?", self._acts_to):
                self._acts_to = 0
        elif self._swept_to is not None:
            self._sweep(self._swept_to)

    def _delete(self, which: str, *parameters: str | int) -> bool:
        """Delete some rows; return whether none is left."""
        rows = f"DELETE FROM log WHERE idx IN (SELECT idx FROM log WHERE {which} LIMIT {PURGE_ROWS})"
        return self._database.execute(rows, parameters).rowcount < PURGE_ROWS

    def _sweep(self, start: str) -> None:
        """Forget old ids of messages that are older than all that are kept."""
        (end,) = self._database.execute(
            "SELECT max(id) FROM (SELECT id FROM ids WHERE id > ? ORDER BY id LIMIT ?)", (start, IDS_SWEPT)
        ).fetchone()
        self._swept_to = end
        if end is not None:
            oldest = "coalesce((SELECT min(idx) FROM log WHERE position > 0), 9223372036854775807)"
            self._database.execute(
                f"DELETE FROM ids WHERE id > ? AND id <= ? AND time < ? AND idx < {oldest}",
                (start, end, self._now - IDS_KEPT_S),
            )
