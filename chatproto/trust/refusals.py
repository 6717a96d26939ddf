"""Tells of links that were refused: counted each time, and logged not too often."""

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from chatproto.tally import Tally

SAID_AGAIN_S = 60.0
REMEMBERED_MAX = 256

log = Logger()


class Refusals:
    """Logs each refusal of one host for one reason at once, and then once a minute at most; counts them all."""

    def __init__(self, tally: Tally, seconds: Callable[[], float]) -> None:
        """Count in a tally, and measure with a clock that only goes forward."""
        self._tally = tally
        self._seconds = seconds
        self._said: dict[tuple[str, str, str, bool], float] = {}

    def refuse(self, door: str, transport: Any, reason: str, why: str, *, told: bool = False) -> None:
        """See `Trust.refuse`."""
        if not told:
            self._tally.drop(door, reason)
        peer = transport.getPeer()
        key = door, str(getattr(peer, "host", peer)), reason, told
        now = self._seconds()
        if now - self._said.get(key, -SAID_AGAIN_S) < SAID_AGAIN_S:
            return
        self._said.pop(key, None)
        self._said[key] = now
        while len(self._said) > REMEMBERED_MAX:
            del self._said[next(iter(self._said))]
        log.warn(
            "{who} a {door} link with {peer} ({reason}): {why}",
            who="the other side refuses" if told else "refusing",
            door=door,
            peer=str(peer),
            reason=reason,
            why=f"of this node it is said, {why}" if told else why,
        )
