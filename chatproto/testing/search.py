"""The search of a simulated host: it finds what `SearchIndex` finds, in what the disk has, and needs no index."""

import sqlite3
from contextlib import closing

import msgspec
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from chatproto.log.interface import Found, ISearch, Wanted
from chatproto.testing.disk import SimDisk


class _Said(msgspec.Struct):
    content: str


_said = msgspec.json.Decoder(_Said)


@implementer(ISearch)
class SimSearch:
    """`ISearch` over a data directory of a `SimDisk`. It takes no simulated time."""

    def __init__(self, disk: SimDisk, directory: str) -> None:
        """Search the log in a data directory of a disk."""
        self._disk = disk
        self._directory = directory

    def advance(self, position: int, first: dict[str, int]) -> "Deferred[int]":
        """See `ISearch.advance`."""
        return succeed(0)

    def find(self, wanted: Wanted) -> "Deferred[Found]":
        """See `ISearch.find`."""
        lines: list[tuple[str, bytes]] = []
        beyond = wanted.before is not None
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute(
                'CREATE VIRTUAL TABLE words USING fts5(content, tokenize = "unicode61 remove_diacritics 2")'
            )
            for run in self._disk.newest_first(self._directory):
                first, last = wanted.rooms.get(run.room, (1, 0))
                for position, line in reversed(list(enumerate(run.lines(), start=run.position))):
                    beyond = beyond and not (run.room == wanted.before[0] and position < wanted.before[1])  # type: ignore[index]
                    if beyond or not first <= position <= last:
                        continue
                    database.execute("DELETE FROM words")
                    database.execute("INSERT INTO words VALUES (?)", (_said.decode(line).content,))
                    if database.execute("SELECT 1 FROM words WHERE words MATCH ?", (wanted.match,)).fetchone():
                        lines.append((run.room, line))
        return succeed(Found(lines[: wanted.limit], more=len(lines) > wanted.limit))

    def close(self) -> "Deferred[None]":
        """See `ISearch.close`."""
        return succeed(None)
