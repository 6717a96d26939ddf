"""Entries that are submitted closely after one another are gathered into one batch."""

from collections.abc import Callable

from chatproto.link import Turn
from chatproto.log.entry import Entry

GATHER_TURNS_MAX = 8
"""Reactor turns that a batch waits while each brings it more: entries that follow one another closely then share
a commit and, which matters more, a write to every receiver."""


class Gathering:
    """Hands entries on, in order, once a turn has brought nothing more."""

    def __init__(self, turn: Turn, hand_on: Callable[[list[Entry]], None]) -> None:
        """Gather nothing yet, and hand on to `hand_on`, never an empty batch."""
        self._turn = turn
        self._hand_on = hand_on
        self._entries: list[Entry] = []
        self._seen = 0
        self._turns = 0

    def add(self, entry: Entry) -> None:
        """Take an entry."""
        if not self._entries:
            self._turn.at_end(self._look)
        self._entries.append(entry)

    def _look(self) -> None:
        if self._seen < len(self._entries) and self._turns < GATHER_TURNS_MAX:
            self._seen = len(self._entries)
            self._turns += 1
            self._turn.at_end(self._look)
        else:
            self.flush()

    def drop(self) -> None:
        """Forget what there is."""
        self._entries = []

    def flush(self) -> None:
        """Hand on what there is, now."""
        self._seen = self._turns = 0
        if self._entries:
            entries, self._entries = self._entries, []
            self._hand_on(entries)
