"""Bodies of items, read once for many readers."""

from collections import OrderedDict
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from chatproto.news.interface import IItems

CACHE_BYTES_MAX = 32 * 1024 * 1024

Part = tuple[int, int, int]


class Bodies:
    """Reads parts of bodies, and keeps those that were read last.

    Attributes:
        reads: how often something had to be read.
    """

    def __init__(self, items: IItems, bytes_max: int = CACHE_BYTES_MAX) -> None:
        """Read what there is, and keep at most so many bytes of it."""
        self.reads = 0
        self._items = items
        self._bytes_max = bytes_max
        self._kept: OrderedDict[Part, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._waiting: dict[Part, list[Deferred[bytes]]] = {}

    def read(self, number: int, offset: int, count: int) -> "Deferred[bytes]":
        """Return some of an item's body; fails with `KeyError` if the item is gone."""
        part = number, offset, count
        data = self._kept.get(part)
        if data is not None:
            self._kept.move_to_end(part)
            return succeed(data)
        waiting = self._waiting.setdefault(part, [])
        answer: Deferred[bytes] = Deferred()
        waiting.append(answer)
        if len(waiting) == 1:
            self.reads += 1
            reading: Deferred[Any] = self._items.read(number, offset, count)
            reading.addCallbacks(self._keep, lambda failure: failure, callbackArgs=(part,))
            reading.addBoth(self._answer, part)
        return answer

    def _keep(self, data: bytes, part: Part) -> bytes:
        self._kept[part] = data
        self._kept_bytes += len(data)
        while self._kept_bytes > self._bytes_max:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return data

    def _answer(self, result: "bytes | Failure", part: Part) -> None:
        for waiting in self._waiting.pop(part):
            if isinstance(result, Failure):
                waiting.errback(result)
            else:
                waiting.callback(result)
