"""How a node of the news system is, as it says to whoever asks through the registry."""

import msgspec


class NewsStatus(msgspec.Struct, frozen=True):
    """What a node answers to the call `chatproto.services.registering.STATUS`, as JSON.

    Attributes:
        role: what `--role` calls it.
        name: of the node.
        version: the release that runs.
        up_s: seconds since it was started.
        serving: whether it does now what it is there for.
        summary: what an operator is to read, in one line.
        figures: those of its measures that are one number, by name; their meaning is that of the metrics.
        dropped: connections that were refused or ended by this side, by door and reason: `DOOR REASON`.
    """

    role: str
    name: str
    version: str
    up_s: float
    serving: bool
    summary: str
    figures: dict[str, float] = {}
    dropped: dict[str, int] = {}


decode_status = msgspec.json.Decoder(NewsStatus).decode
"""Reads what `NewsNode.status` has written; raises `msgspec.MsgspecError`."""
