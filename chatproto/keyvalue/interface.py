"""The seam between state machines that keep things under names, and whatever disk keeps them."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from zope.interface import Interface

Change = tuple[bytes, bytes | None]
"""A key, and its value from now on; None removes it."""


class IKeyValueStore(Interface):
    """A durable table; one process has it at a time. All is called, and answered, on the reactor's thread."""

    def scan(prefix: bytes) -> list[tuple[bytes, bytes]]:
        """Return keys that begin so, with their values, sorted by key. At once: for the start, and small values.

        What was written and is not durable yet is not seen.
        """

    def keys(prefix: bytes) -> list[bytes]:
        """Return keys that begin so, sorted, as `scan` does."""

    def read(key: bytes) -> "Deferred[bytes | None]":
        """Read the value of a key back, after all that was written before; None if there is none.

        Not answered where that cannot become durable: see `write`.
        """

    def write(changes: Sequence[Change], done: Callable[[], None]) -> None:
        """Make changes durable, all or none, then call `done`.

        In the order of the calls; several may become durable at once. If it cannot be done, `done` is never called and
        the failure call of the opener is, once; nothing is written after that.
        """

    def close() -> "Deferred[None]":
        """Finish what was asked, then let the data directory go."""
