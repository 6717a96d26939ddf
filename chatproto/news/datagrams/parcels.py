"""An item as it travels in datagrams: its description and its body, cut into parts. Pure."""

import hashlib
from collections.abc import Iterator
from zlib import crc32

import msgspec

from chatproto.errors import WireError
from chatproto.news.datagrams.messages import PART_BYTES, Part, encode, with_tail
from chatproto.news.items import BODY_BYTES_MAX, Item
from chatproto.news.messages import NONSENSE, Message

CHECK_BYTES = 8
DESCRIPTION_BYTES_MAX = 8 * 1024
PARCEL_BYTES_MAX = DESCRIPTION_BYTES_MAX + BODY_BYTES_MAX
KEPT_PARTS_MAX = 64
"""A parcel of so many parts keeps them encoded, for the next reader; a larger one makes each when it is due."""

_LENGTH_BYTES = 2


class Description(Message, frozen=True):
    """What is in a parcel before the body.

    Attributes:
        stamp: of the item, at the node that sends it.
        item: as the node has it, without its route.
    """

    stamp: int
    item: Item


_description = msgspec.msgpack.Decoder(Description)


class Parcel:
    """An item that is to be sent, to any number of readers.

    Attributes:
        item: what is sent.
        stamp: the item's at this node.
        size: of all of it, in bytes.
        count: how many parts it has.
    """

    def __init__(self, item: Item, stamp: int, body: bytes, delay_s: float, since: float) -> None:
        """Pack an item.

        Args:
            item: as the node has it.
            stamp: as the node has set it.
            body: all of it.
            delay_s: how long it had been under way at `since`.
            since: in seconds of the clock that `datagram` is told.
        """
        description = encode(Description(stamp, msgspec.structs.replace(item, route=None)))
        if len(description) > DESCRIPTION_BYTES_MAX:
            raise ValueError(f"an item's description of {len(description)} bytes")
        self.item = item
        self.stamp = stamp
        self._bytes = len(description).to_bytes(_LENGTH_BYTES) + description + body
        self.size = len(self._bytes)
        self.count = parts_of(self.size)
        self._check = hashlib.sha256(description).digest()[:CHECK_BYTES]
        self._delay_s = delay_s
        self._since = since
        self._kept: dict[int, tuple[bytes, int]] = {}

    def datagram(self, index: int, conversation: bytes, now: float) -> bytes:
        """Return the datagram that brings a part to a reader."""
        encoded = self._kept.get(index)
        if encoded is None:
            encoded = self._encode(index)
        return with_tail(*encoded, conversation, self._delay_s + now - self._since)

    def datagrams(self, conversation: bytes, now: float) -> Iterator[bytes]:
        """Return all datagrams, in order."""
        return (self.datagram(index, conversation, now) for index in range(self.count))

    def _encode(self, index: int) -> tuple[bytes, int]:
        data = self._bytes[index * PART_BYTES : (index + 1) * PART_BYTES]
        part = encode(Part(self.item.number, self._check, self.size, index, data))
        encoded = part, crc32(part)
        if self.count <= KEPT_PARTS_MAX:
            self._kept[index] = encoded
        return encoded


def parts_of(size: int) -> int:
    """Return how many parts a parcel of so many bytes has."""
    return -(-size // PART_BYTES)


def fits(part: Part) -> bool:
    """Whether a part can be one of a parcel at all."""
    size, index = part.size, part.index
    if not _LENGTH_BYTES < size <= PARCEL_BYTES_MAX or len(part.check) != CHECK_BYTES:
        return False
    return 0 <= index < parts_of(size) and len(part.data) == min(PART_BYTES, size - index * PART_BYTES)


def unpacked(data: bytes, number: int, check: bytes) -> tuple[Description, bytes]:
    """Return the description and the body of a parcel.

    Args:
        data: all of it.
        number: of the item, as each part has said.
        check: as each part has said.

    Raises:
        WireError: it is not what was sent.
    """
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES])
    packed, body = data[_LENGTH_BYTES:end], data[end:]
    if hashlib.sha256(packed).digest()[:CHECK_BYTES] != check:
        raise WireError("the description is damaged")
    try:
        description = _description.decode(packed)
    except NONSENSE as error:
        raise WireError(f"no description of an item: {error}") from None
    item = description.item
    if item.number != number or item.size != len(body) or item.digest != hashlib.sha256(body).digest():
        raise WireError("the body is not the one that is described")
    return description, body
