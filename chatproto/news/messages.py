"""What every link of the news system says: typed msgpack arrays, one in a frame; and how items travel. Pure.

A connection begins with the hello of whoever has dialled, which says what that is: a source, a child in the tree, a
reader, …. Each part of the system has its hello and its messages in a module of its own, made of `Message`; a link is
given the decoder of those that may come to it.

Items travel the same way on every hop, from a source to the root, from a node to its child, from a delivery node to a
reader: `Announce`, which has the beginning of the body, then `Chunk` by `Chunk`, each acknowledged by `Taken` once it
is kept. The sender has at most a window of bytes unacknowledged, so that what is urgent passes between two chunks.
"""

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from chatproto.errors import WireError
from chatproto.news.items import Item
from chatproto.wire import framed

VERSION = 1
"""The version that every hello speaks of."""

CHUNK_BYTES_MAX = 16 * 1024
"""Of a body, in one message: at 200 KB/s, what is urgent waits for it for 80 ms."""

FRAME_BYTES_MAX = 64 * 1024
"""Of any message: a chunk, or an item's description, or a list that says how long it may be."""

HELLO_BYTES_MAX = 20 * 1024

NONSENSE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises: text that is no UTF-8, and depth beyond Python's stack, have exceptions of their own."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What every message is. Fields that a newer release adds to the end are passed over."""


# On every link


class Beat(Message, frozen=True, tag="beat"):
    """Says that the sender lives; answered with `Echo`.

    Attributes:
        at: any number, such as a time of the sender's clock.
    """

    at: float = 0.0


class Echo(Message, frozen=True, tag="echo"):
    """The answer to a `Beat`, with its number: the sender of that learns how long the way is."""

    at: float


class Refused(Message, frozen=True, tag="refused"):
    """The answer to a hello that is not welcome; the connection ends.

    Attributes:
        code: stable; each part of the system lists its own.
        why: in words.
    """

    code: str
    why: str = ""


# Items on their way; the receiver of one is downstream


class Announce(Message, frozen=True, tag="item"):
    """From upstream: an item comes, or comes again from where it broke off.

    Attributes:
        key: the item's on this link: its number in the tree, its stamp from a delivery node, its place in a source's
            own queue.
        item: as far as it is known there.
        delay_s: how long it has been under way, seconds, half of the way on this link included.
        offset: where `data` begins in the body.
        data: some of the body, `CHUNK_BYTES_MAX` at most; all that is left of a small one.
        at: when it is sent, in seconds of the sender's clock; 0 where nobody wants to know what it has waited for.
    """

    key: int
    item: Item
    delay_s: float
    offset: int
    data: bytes
    at: float = 0.0


class Chunk(Message, frozen=True, tag="chunk"):
    """From upstream: more of the body of an item that was announced on this connection."""

    key: int
    offset: int
    data: bytes


class Withdrawn(Message, frozen=True, tag="withdrawn"):
    """From upstream: an item that was announced comes no further, for it has expired; what is there of it may go."""

    key: int


class Taken(Message, frozen=True, tag="taken"):
    """From downstream: so many bytes of an item, from its beginning, are kept.

    All of them: it is whole, and never sent again. That may be said at once of one that is there already.
    """

    key: int
    size: int


Transfer = Announce | Chunk | Withdrawn | Taken
Common = Beat | Echo | Refused

_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Return the frame of a message."""
    return framed(_encoder.encode(message))


def decoder(*messages: Any) -> Callable[[bytes], Any]:
    """Return what reads the frames of a link on which `Common` and these messages (types, or unions) may come.

    What is read has the right types; whether its values make sense is looked at by whoever takes it. It raises
    `WireError` for everything else.
    """
    reading = msgspec.msgpack.Decoder(reduce(or_, messages, Common))

    def decode(frame: bytes) -> Any:
        try:
            return reading.decode(frame)
        except NONSENSE as error:
            raise WireError(f"not a message of this link: {error}") from None

    return decode
