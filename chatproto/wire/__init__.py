"""Bytes to typed messages and back. Pure: no clock, socket, thread, dice or disk.

Public: `LineBuffer` (newline framing with a ceiling), `FrameBuffer` and `framed` (length-prefixed framing),
`TokenBucket` (a rate with a burst), `identity_allowed` and `room_allowed` (the protocol's names), `host_and_port`,
`address_of` and `address_allowed` (where something listens).
"""

from chatproto.wire.addresses import address_allowed, address_of, host_and_port
from chatproto.wire.bucket import TokenBucket
from chatproto.wire.fields import MAIN_HALL, identity_allowed, room_allowed
from chatproto.wire.frames import FrameBuffer, framed
from chatproto.wire.lines import LineBuffer

__all__ = [
    "MAIN_HALL",
    "FrameBuffer",
    "LineBuffer",
    "TokenBucket",
    "address_allowed",
    "address_of",
    "framed",
    "host_and_port",
    "identity_allowed",
    "room_allowed",
]
