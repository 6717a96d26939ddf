"""A simulated disk, and one life after another of whoever has it open."""

import random
from typing import Any

from chatproto.testing import SimClock, SimDisk
from chatproto.testing.clock import HostClock


class Lives:
    """Makes the contract of a store, or a table, one of the simulated disk; lives end now politely, now in a crash."""

    opener: str
    """Of the methods of `SimDisk`, the one that opens it."""

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.clock = SimClock()
        self.disk = SimDisk(self.clock, random.Random(0))
        self.failures: list[str] = []
        self.polite = True

    def open(self) -> Any:
        self.life = HostClock(self.clock)
        return getattr(self.disk, self.opener)("data", self.failures.append, self.life)

    def settle(self) -> None:
        self.clock.run(1)

    def reopen(self, opened: Any) -> Any:
        self.polite = not self.polite
        if self.polite:
            opened.close()
            self.settle()
        self.life.die()
        self.disk.crash()
        return self.open()
