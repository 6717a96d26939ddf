"""What a node of the tree keeps on its disk, and under which keys. Pure.

    tree/born            of this disk
    tree/number          the last number that was given
    tree/stamp           the last stamp that was given
    tree/item/N          a `Record`
    tree/body/N I        the piece of a body that has index I
    tree/has/N NAME      a child has the item, whole
    tree/child/NAME      a `Child`

N and I are big-endian, of 8 and 4 bytes.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec

from chatproto.news.items import Item
from chatproto.news.messages import CHUNK_BYTES_MAX
from chatproto.news.tree.messages import Reach

if TYPE_CHECKING:
    from chatproto.keyvalue.interface import Change

PREFIX = b"tree/"
BORN = PREFIX + b"born"
NUMBER = PREFIX + b"number"
STAMP = PREFIX + b"stamp"
ITEM = PREFIX + b"item/"
BODY = PREFIX + b"body/"
HAS = PREFIX + b"has/"
CHILD = PREFIX + b"child/"
SMALL = (BORN, NUMBER, STAMP, ITEM, HAS, CHILD)
"""All but bodies."""

PIECE_BYTES = CHUNK_BYTES_MAX
"""Every piece of a body has so many, but for the last one."""

Phase = Literal["partial", "whole", "released"]
PARTIAL: Literal["partial"] = "partial"
WHOLE: Literal["whole"] = "whole"
RELEASED: Literal["released"] = "released"


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of an item, beside its body.

    Attributes:
        item: without its body.
        began: when it was injected, by this node's time of day: Unix seconds, from the delay it came with.
        phase: `partial`; `whole`; or `released`: it was, all who need it have it, and its body is gone.
        stamp: see `Held`; 0 before it is whole.
    """

    item: Item
    began: float
    phase: Phase = PARTIAL
    stamp: int = 0


class Child(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a child.

    Attributes:
        born: of its disk.
        reach: its last report.
    """

    born: str = ""
    reach: Reach = ()


_encoder = msgspec.msgpack.Encoder()
_records = msgspec.msgpack.Decoder(Record)
_children = msgspec.msgpack.Decoder(Child)


def encoded(value: "Record | Child | int | str") -> bytes:
    """Return what is kept under a key."""
    return _encoder.encode(value)


def decode_record(data: bytes) -> Record:
    """Read a record back."""
    return _records.decode(data)


def decode_child(data: bytes) -> Child:
    """Read what is kept of a child back."""
    return _children.decode(data)


def decode_count(data: bytes) -> int:
    """Read a number back."""
    return msgspec.msgpack.decode(data, type=int)


def decode_name(data: bytes) -> str:
    """Read a word back."""
    return msgspec.msgpack.decode(data, type=str)


def item_key(number: int) -> bytes:
    """Return the key of an item's record."""
    return ITEM + number.to_bytes(8)


def piece_key(number: int, index: int) -> bytes:
    """Return the key of a piece of its body."""
    return BODY + number.to_bytes(8) + index.to_bytes(4)


def has_key(number: int, child: str) -> bytes:
    """Return the key that says that a child has it."""
    return HAS + number.to_bytes(8) + child.encode()


def child_key(child: str) -> bytes:
    """Return the key of a child."""
    return CHILD + child.encode()


def number_in(key: bytes, prefix: bytes) -> tuple[int, bytes]:
    """Return the number in a key that begins so, and what comes after it."""
    rest = key[len(prefix) :]
    return int.from_bytes(rest[:8]), rest[8:]


def piece_count(size: int) -> int:
    """Return how many pieces so many bytes have."""
    return -(-size // PIECE_BYTES)


def removal(number: int, size: int) -> "list[Change]":
    """Return the changes that remove the first so many bytes of a body."""
    return [(piece_key(number, index), None) for index in range(piece_count(size))]


def removal_of(keys: Iterable[bytes]) -> "list[Change]":
    """Return the changes that remove keys."""
    return [(key, None) for key in keys]
