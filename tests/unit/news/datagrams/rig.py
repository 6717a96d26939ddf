"""Items, readers and what they agree on, for the tests of free delivery."""

import hashlib
import random
from typing import Any

from chatproto.chat.passwords import token_hash
from chatproto.news.datagrams.messages import PART_BYTES, Part, from_node
from chatproto.news.datagrams.parcels import Parcel
from chatproto.news.items import Item
from chatproto.news.terms import PUSH, Place, Placement, Terms

CONVERSATION = b"12345678"
TICKET = "let me in"
KEY = token_hash(TICKET)
NEVER = 4_000_000_000.0
"""Unix seconds, when items expire here unless it is said."""


def body_of(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def item_of(number: int, size: int, expires: float = NEVER, **fields: Any) -> Item:
    digest = hashlib.sha256(body_of(number, size)).digest()
    given = {"topic": "sport", "title": "a title", "media_type": "text/plain", **fields}
    return Item("agency", f"id-{number}", size=size, digest=digest, expires=expires, number=number, **given)


def parcel_of(number: int, size: int = 10, expires: float = NEVER, **fields: Any) -> Parcel:
    return Parcel(item_of(number, size, expires, **fields), number, body_of(number, size), 1.5, 0.0)


def parts_of(parcel: Parcel) -> list[Part]:
    return [from_node(data).message for data in parcel.datagrams(CONVERSATION, 0.0)]


def bytes_in(parts: int) -> int:
    """Return a size of a body that makes a parcel of so many parts."""
    return (parts - 1) * PART_BYTES


def terms_of(mode: Any = PUSH, **fields: Any) -> Terms:
    return Terms(("sport",), mode, **fields)


def placement_of(reader: str, mode: Any = PUSH, **fields: Any) -> Placement:
    return Placement(reader, terms_of(mode, **fields), KEY)


def place_of(reader: str, mode: Any = PUSH, node: str = "east", ticket: str = TICKET) -> Place:
    return Place(reader, terms_of(mode), node, "", ticket)
