"""The bodies of items: every piece in the table, those that came last in memory, too."""

from collections import OrderedDict

from twisted.internet.defer import Deferred

from chatproto.keyvalue.interface import IKeyValueStore
from chatproto.news.tree.records import PIECE_BYTES, piece_count, piece_key

MEMORY_BYTES_MAX = 8 * 1024 * 1024


class Pieces:
    """Reads bodies back. What is put here is put into the table by somebody else, before it is read."""

    def __init__(self, store: IKeyValueStore, bytes_max: int = MEMORY_BYTES_MAX) -> None:
        """Remember so many bytes."""
        self._store = store
        self._bytes_max = bytes_max
        self._bytes = 0
        self._recent: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def put(self, number: int, place: int, data: bytes) -> None:
        """Remember a piece for a while."""
        self._recent[number, place] = data
        self._bytes += len(data)
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._recent.popitem(last=False)[1])

    def forget(self, number: int, size: int) -> None:
        """Forget the pieces of a body that had so many bytes."""
        for place in range(piece_count(size)):
            self._bytes -= len(self._recent.pop((number, place), b""))

    def at_hand(self, number: int, offset: int, count: int) -> bytes | None:
        """Return bytes of one piece, if they are remembered."""
        place, start = divmod(offset, PIECE_BYTES)
        piece = self._recent.get((number, place))
        return None if piece is None or start + count > PIECE_BYTES else piece[start : start + count]

    def read(self, number: int, offset: int, count: int) -> "Deferred[bytes]":
        """Read bytes that a body has; fails with `KeyError` if a piece is gone."""
        return Deferred.fromCoroutine(self._read(number, offset, count))

    async def _read(self, number: int, offset: int, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            place, start = divmod(offset + len(found), PIECE_BYTES)
            piece = self._recent.get((number, place))
            if piece is None:
                piece = await self._store.read(piece_key(number, place))
            if piece is None:
                raise KeyError(number)
            found += piece[start : start + count - len(found)]
        return bytes(found)
