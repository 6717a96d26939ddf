"""What comes on one connection from upstream, put together into the pieces that are kept. Pure.

Whoever sends may cut a body as it likes, and may send again what is here already: each piece is kept once, and
acknowledged once it is on the disk.
"""

from typing import NamedTuple

from chatproto.errors import WireError
from chatproto.news.messages import CHUNK_BYTES_MAX
from chatproto.news.tree.records import PIECE_BYTES

OPEN_MAX = 1000
"""Items of which the beginning has come on one connection, and not the end."""


class Piece(NamedTuple):
    """A piece of a body, whole; the first has place 0."""

    number: int
    place: int
    data: bytes


class _Open:
    """An item that comes."""

    __slots__ = ("arrived", "keys", "loose", "number", "size")

    def __init__(self, number: int, size: int, arrived: int) -> None:
        self.keys: list[int] = []
        self.number = number
        self.size = size
        self.arrived = arrived
        self.loose = bytearray()


class Intake:
    """The items that come on one connection."""

    def __init__(self) -> None:
        """Expect none."""
        self._by_key: dict[int, _Open] = {}
        self._by_number: dict[int, _Open] = {}

    def begin(self, key: int, number: int, size: int, arrived: int) -> None:
        """Expect the body of an item, or the rest of it.

        Args:
            key: on this connection; an item that is announced twice comes under two, and either brings it on.
            number: the item's.
            size: of its body.
            arrived: how much of that is here: whole pieces, or everything.

        Raises:
            WireError: it is one too many.
        """
        replaced = self._by_key.get(key)
        if replaced is not None:
            self.end(replaced.number)
        if len(self._by_key) >= OPEN_MAX:
            raise WireError(f"more than {OPEN_MAX} items at once")
        coming = self._by_number.get(number)
        if coming is None:
            coming = self._by_number[number] = _Open(number, size, arrived)
        coming.keys.append(key)
        self._by_key[key] = coming

    def data(self, key: int, offset: int, data: bytes) -> list[Piece]:
        """Take some of a body; return the pieces that are whole now. What nobody expects (any more) is passed over.

        Raises:
            WireError: something is missing before it, or it is more than the body has.
        """
        coming = self._by_key.get(key)
        if coming is None:
            return []
        here = coming.arrived + len(coming.loose)
        if not 0 <= offset <= here:
            raise WireError(f"bytes from {offset} of item {coming.number}, of which {here} are here")
        if offset + len(data) > coming.size or len(data) > CHUNK_BYTES_MAX:
            raise WireError(f"{len(data)} bytes from {offset} of item {coming.number}, which has {coming.size}")
        coming.loose += data[here - offset :]
        pieces = []
        while len(coming.loose) >= PIECE_BYTES or (coming.loose and coming.arrived + len(coming.loose) == coming.size):
            piece = bytes(coming.loose[:PIECE_BYTES])
            del coming.loose[:PIECE_BYTES]
            pieces.append(Piece(coming.number, coming.arrived // PIECE_BYTES, piece))
            coming.arrived += len(piece)
        return pieces

    def keys_of(self, number: int) -> list[int]:
        """Return the keys under which an item comes here."""
        coming = self._by_number.get(number)
        return [] if coming is None else list(coming.keys)

    def end(self, number: int) -> None:
        """Expect nothing more of an item."""
        coming = self._by_number.pop(number, None)
        for key in coming.keys if coming is not None else ():
            del self._by_key[key]
