"""A table of keys and values on a simulated disk."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from chatproto.keyvalue import Change, IKeyValueStore
from chatproto.testing.clock import HostClock
from chatproto.testing.committing import Committing, Job

if TYPE_CHECKING:
    from chatproto.testing.disk import SimDisk


@implementer(IKeyValueStore)
class SimTable(Committing):
    """`IKeyValueStore` on a `SimDisk`: what is not durable is lost in a crash, each write wholly or not at all."""

    def __init__(
        self,
        disk: "SimDisk",
        held: dict[bytes, bytes],
        directory: str,
        failed: Callable[[str], None],
        life: HostClock,
    ) -> None:
        """Take an open table, which is changed in place; `SimDisk.open_table` does."""
        super().__init__(disk, directory, failed, life)
        self._held = held

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """See `IKeyValueStore.scan`."""
        return [(key, self._held[key]) for key in self.keys(prefix)]

    def keys(self, prefix: bytes) -> list[bytes]:
        """See `IKeyValueStore.keys`."""
        return sorted(key for key in self._held if key.startswith(prefix))

    def read(self, key: bytes) -> "Deferred[bytes | None]":
        """See `IKeyValueStore.read`."""
        durable: Deferred[None] = Deferred()
        durable.addCallback(lambda _: self._answer(lambda: self._held.get(key)))
        if self._jobs or self._under_way:
            self.write((), lambda: durable.callback(None))
        else:
            durable.callback(None)
        return durable  # type: ignore[return-value]

    def write(self, changes: Sequence[Change], done: Callable[[], None]) -> None:
        """See `IKeyValueStore.write`."""
        changes = list(changes)

        def change() -> None:
            for key, value in changes:
                if value is None:
                    self._held.pop(key, None)
                else:
                    self._held[key] = value

        self._put(Job(change, done))
