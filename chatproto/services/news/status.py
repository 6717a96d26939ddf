"""How a node of the news system is, as it says to whoever asks through the registry."""

from collections.abc import Iterable

import msgspec

from chatproto.release import RELEASE
from chatproto.services.measures import HISTOGRAM, Measure
from chatproto.services.systemd import Health
from chatproto.tally import Tally


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


def status_of(role: str, name: str, up_s: float, health: Health, measures: Iterable[Measure], tally: Tally) -> bytes:
    """Return what a node answers, `NewsStatus` as JSON; `measures` are those of its role, `up_s` since its start."""
    figures = {
        measure.name: float(value)
        for measure in measures
        for labels, value in (measure.values if measure.kind != HISTOGRAM else ())
        if not labels
    }
    dropped = {f"{door} {reason}": count for (door, reason), count in tally.dropped.items()}
    said = NewsStatus(role, name, RELEASE, round(up_s, 1), health.serving, health.status, figures, dropped)
    return msgspec.json.encode(said)


decode_status = msgspec.json.Decoder(NewsStatus).decode
"""Reads that; raises `msgspec.MsgspecError`."""
