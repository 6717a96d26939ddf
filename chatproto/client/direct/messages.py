"""The lines of a direct connection, typed: the protocol reference lists them under "Direct connections". Pure."""

import msgspec

from chatproto.chat.messages import NONSENSE, Message, encode
from chatproto.errors import WireError

__all__ = ["VERSION", "Accepted", "Ack", "Call", "DirectMessage", "Error", "Nack", "Private", "decode_line", "encode"]

VERSION = 1
"""The version of direct connections that `direct` speaks of."""


class Call(Message, frozen=True, tag="direct"):
    """The first line of the caller: who it is, whom it means, and the token that the server made for the two."""

    version: int
    identity: str
    to: str
    token: str


class Accepted(Message, frozen=True, tag="accepted"):
    """The answer to `direct`: the token was expected; from here on either side may speak."""


class Private(Message, frozen=True, tag="private"):
    """Said to the other side; `id` is that of the same message when it is relayed."""

    id: str
    content: str


class Ack(Message, frozen=True, tag="ack"):
    """The other side was shown the message, now or before."""

    id: str


class Nack(Message, frozen=True, tag="nack"):
    """The message is not taken, and nor is any after it: the connection ends."""

    id: str
    code: str


class Error(Message, frozen=True, tag="error"):
    """Why the connection ends."""

    code: str
    message: str


DirectMessage = Call | Accepted | Private | Ack | Nack | Error

_line = msgspec.json.Decoder(DirectMessage)


def decode_line(line: bytes) -> DirectMessage:
    """Read a line.

    Raises:
        WireError: it is not of the protocol.
    """
    try:
        message: DirectMessage = _line.decode(line)
    except NONSENSE as error:
        raise WireError(str(error)) from None
    return message
