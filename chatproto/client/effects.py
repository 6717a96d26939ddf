"""What a client's state machine has done for it. Pure."""

import msgspec

from chatproto.client.events import Event
from chatproto.client.outbox import Done
from chatproto.client.places import Place


class Connect(msgspec.Struct, frozen=True):
    """Try to connect; what became of it is heard as `connected` or `failed`."""

    place: Place


class HangUp(msgspec.Struct, frozen=True):
    """End the connection, which is heard as `lost`, or the try to get one, which is heard no more."""

    polite: bool = False


class Send(msgspec.Struct, frozen=True):
    """Send whole lines."""

    lines: bytes


class Wake(msgspec.Struct, frozen=True):
    """Call `due` once, after a span drawn from between these; this is in place of any earlier one."""

    least_s: float
    most_s: float


class Sleep(msgspec.Struct, frozen=True):
    """Do not call `due`."""


class Tell(msgspec.Struct, frozen=True):
    """Have listeners hear an event."""

    event: Event


Effect = Connect | HangUp | Send | Wake | Sleep | Tell | Done
