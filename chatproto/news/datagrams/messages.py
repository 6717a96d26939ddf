"""The datagrams between a delivery node and its free readers: what they say, and how damage is noticed. Pure.

A datagram is a message (msgpack) and a tail: the conversation (8 bytes that the reader has drawn, and that are in all
that the node answers, so that nobody who does not hear them can speak in its place), how long what it brings has been
under way (4 bytes, a float; 0 where it brings no item), and the CRC-32 of all before (4 bytes).
"""

import struct
from functools import reduce
from operator import or_
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from chatproto.errors import WireError
from chatproto.news.messages import NONSENSE, Message

DATAGRAM_BYTES_MAX = 1200
"""Of any datagram, without the headers of UDP and IP; less than what every path takes in one piece (RFC 8200, 5)."""

PART_BYTES = 1144
"""Of an item, in one datagram; the last brings what is left. The rest of it is the message's, and the tail."""

CONVERSATION_BYTES = 8
COOKIE_BYTES = 24
NO_COOKIE = bytes(COOKIE_BYTES)
"""In place of a cookie that the reader does not have yet, so that what asks for one is longer than the answer."""

PROOF_BYTES = 16
PULL_ITEMS_MAX = 50

REASONS = {
    "unknown-reader": "the node has no such reader, or this is not its ticket",
    "paid": "paid contracts are fulfilled over connections",
    "wrong-mode": "a push contract listens, a pull contract pulls",
    "mobile": "a mobile reader is read by the proxy",
    "moved": "the reader has asked from elsewhere since",
    "gone": "the reader's contract is not fulfilled here any more",
    "bad-pull": f"a pull asks for 1 to {PULL_ITEMS_MAX} items",
}
"""Why a reader is not served, by the code of `Denied`."""

_TAIL = struct.Struct(f">{CONVERSATION_BYTES}sf")
_CHECK = struct.Struct(">I")
_TAIL_BYTES = _TAIL.size + _CHECK.size


class Request(Message, frozen=True):
    """What every message of a reader is.

    Attributes:
        reader: its name.
        cookie: what the node has given to the reader's address; `NO_COOKIE` before.
        serial: counts the reader's datagrams of this conversation: each has a higher one, also where it says the same.
        proof: that whoever sends this has the ticket; see `chatproto.news.datagrams.proof`.
    """

    reader: str
    cookie: bytes
    serial: int
    proof: bytes


class Listen(Request, frozen=True, tag="listen"):
    """Asks to be sent what comes (push); to be said again before the lease of the answer is over."""


class Leave(Request, frozen=True, tag="leave"):
    """Takes leave: nothing is to be sent any more. Not answered."""


class Pull(Request, frozen=True, tag="pull"):
    """Asks for what is there (pull).

    Attributes:
        after: the highest stamp that was sent before, as told by `Pulled` of the same node; 0 at first.
        count: how many items at most, up to `PULL_ITEMS_MAX`.
    """

    after: int
    count: int


class Challenge(Message, frozen=True, tag="challenge"):
    """Answers a request without a cookie that is good now: ask again, with this one, to show that you hear me."""

    cookie: bytes


class Granted(Message, frozen=True, tag="granted"):
    """Answers `Listen`: what comes is sent to where that came from.

    Attributes:
        serial: of the request.
        node: the name of the node.
        lease_s: for so long.
    """

    serial: int
    node: str
    lease_s: float


class Pulled(Message, frozen=True, tag="pulled"):
    """Answers `Pull`, after the items.

    Attributes:
        serial: of the request.
        node: the name of the node, whose stamps these are.
        upto: the highest stamp that the answer has come to; pull after it next time.
        numbers: of the items that were sent, each in as many datagrams as it takes.
        more: whether there is more after that already.
        held_back: empty, or why less was sent than there is: `suspended`, as free deliveries are while paid ones are
            late, or `maximum`, for the hour.
    """

    serial: int
    node: str
    upto: int
    numbers: tuple[int, ...]
    more: bool
    held_back: str = ""


class Denied(Message, frozen=True, tag="denied"):
    """Answers a request that is not granted, or ends what was.

    Attributes:
        serial: of the request; 0 where there was none.
        code: one of `REASONS`.
    """

    serial: int
    code: str


class Part(Message, frozen=True, tag="part"):
    """A part of a parcel, which is an item's description and its body.

    Attributes:
        number: the item's.
        check: the first bytes of the description's digest; the description has the body's. Parts of one check are of
            one parcel, whenever they were sent.
        size: of the parcel, in bytes.
        index: 0, 1, 2, …: where in the parcel this is, in steps of `PART_BYTES`.
        data: `PART_BYTES`, or what is left at the end.
    """

    number: int
    check: bytes
    size: int
    index: int
    data: bytes


FromReader = Listen | Leave | Pull
FromNode = Challenge | Granted | Pulled | Denied | Part


class Datagram(NamedTuple):
    """One that has come, undamaged.

    Attributes:
        message: what it says.
        conversation: which it belongs to.
        delay_s: how long the item that it brings a part of has been under way.
    """

    message: Any
    conversation: bytes
    delay_s: float


_encoder = msgspec.msgpack.Encoder()
_from_reader = msgspec.msgpack.Decoder(FromReader)
_from_node: "msgspec.msgpack.Decoder[FromNode]" = msgspec.msgpack.Decoder(
    reduce(or_, (Challenge, Granted, Pulled, Denied, Part))
)


def encode(message: Message) -> bytes:
    """Return a message's bytes, for `sealed` and `datagram`."""
    return _encoder.encode(message)


def datagram(message: Message, conversation: bytes) -> bytes:
    """Return the datagram of a message that brings no item."""
    data = encode(message)
    return with_tail(data, crc32(data), conversation, 0.0)


def with_tail(data: bytes, check: int, conversation: bytes, delay_s: float) -> bytes:
    """Return the datagram of a message's bytes and their CRC-32.

    The same bytes go to thousands of readers: they are encoded, and looked at, once.
    """
    tail = _TAIL.pack(conversation, delay_s)
    return b"".join((data, tail, _CHECK.pack(crc32(tail, check))))


def from_reader(data: bytes) -> Datagram:
    """Read a datagram that a node got.

    Raises:
        WireError: it is damaged, or not one of a reader's.
    """
    return _read(data, _from_reader)


def from_node(data: bytes) -> Datagram:
    """Read a datagram that a reader got.

    Raises:
        WireError: it is damaged, or not one of a node's.
    """
    return _read(data, _from_node)


def _read(data: bytes, decoder: "msgspec.msgpack.Decoder[Any]") -> Datagram:
    if not _TAIL_BYTES < len(data) <= DATAGRAM_BYTES_MAX:
        raise WireError(f"a datagram of {len(data)} bytes")
    end = len(data) - _TAIL_BYTES
    (check,) = _CHECK.unpack_from(data, end + _TAIL.size)
    if check != crc32(data[: end + _TAIL.size]):
        raise WireError("a damaged datagram")
    conversation, delay_s = _TAIL.unpack_from(data, end)
    try:
        return Datagram(decoder.decode(memoryview(data)[:end]), conversation, delay_s)
    except NONSENSE as error:
        raise WireError(f"not a message of this port: {error}") from None
