"""How much longer than the shortest a message was on its way, by two clocks that differ by nobody knows what. Pure."""

import math

SPAN_S = 300.0
"""For so long at least, and twice as long at most, the shortest way is remembered: clocks drift."""


class Lateness:
    """What has waited before it on the way of each message from one side of a link to the other."""

    def __init__(self) -> None:
        """Know of no message."""
        self._least_s = self._least_before_s = math.inf
        self._since = 0.0

    def heard(self, at: float, now: float) -> float:
        """Hear of a message; return how much longer it took than the one that took least lately, in seconds.

        Args:
            at: when it was sent, by the sender's clock.
            now: by this side's.
        """
        took_s = now - at
        if not math.isfinite(took_s):
            return 0.0
        if now - self._since >= SPAN_S:
            self._least_before_s, self._least_s, self._since = self._least_s, took_s, now
        self._least_s = min(self._least_s, took_s)
        return took_s - min(self._least_s, self._least_before_s)
