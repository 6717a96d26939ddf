"""Whether a server that says nothing has nothing to say, or is not there any more. Pure.

A process that was stopped, and a machine that lost its power, keep their connections: only silence tells. Whoever
waits for an answer asks after a while (`ping`), which a server that lives answers at once, whatever else it holds
back; where nothing at all comes, it is left. While nothing is waited for a slow heartbeat does.
"""

import enum
import math

EARLY_S = 0.001
"""A timer may fire this much too early."""

UPLINK_BYTES_S_MIN = 16 * 1024
"""How slowly a line may leave: before it has arrived as a whole there is nothing to be answered."""


class Finding(enum.Enum):
    """What is to be done about a server."""

    NOTHING = "it is not time yet"
    ASK = "it has been quiet: ask whether it lives"
    SILENT = "it was asked and did not answer"


class Watch:
    """Watches over one connection after another.

    Attributes:
        heard_at: when anything was heard last.
    """

    def __init__(self, answer_s_max: float, heartbeat_s: float, silence_s_max: float) -> None:
        """Watch over nothing yet.

        Args:
            answer_s_max: how long a server may be silent while something is waited for.
            heartbeat_s: after so much silence it is asked while nothing is.
            silence_s_max: how long it may be silent then.
        """
        self.heard_at = -math.inf
        self._answer_s_max = answer_s_max
        self._heartbeat_s = heartbeat_s
        self._silence_s_max = silence_s_max
        self._patience_s = answer_s_max
        self._began_at = -math.inf
        self._since: float | None = None
        self._asked_at = -math.inf
        self._granted_s = 0.0
        self._looked = False

    def begin(self, now: float, patience_s: float) -> None:
        """Watch over a new connection, whose server may be silent for `patience_s` before it is welcomed by it."""
        self._began_at = now
        self._patience_s = patience_s
        self._since = None
        self.heard(now)

    def welcomed(self, now: float) -> None:
        """Hear that the server has let us in; one that took long for it is far away, and answers no faster later."""
        if now - self._began_at <= self._answer_s_max:
            self._patience_s = self._answer_s_max

    def heard(self, now: float) -> None:
        """Take that something came, be it part of a line."""
        self.heard_at = now
        # Even if it was asked at this very moment: that is answered.
        self._asked_at = -math.inf
        self._start_over()

    def awaits(self, awaited: bool, now: float) -> None:
        """Take whether anything is waited for; what was before it says nothing about who is to answer it."""
        if not awaited:
            self._since = None
        elif self._since is None:
            self._since = now
            self._start_over()

    def _start_over(self) -> None:
        self._granted_s = 0.0
        self._looked = False

    @property
    def quiet_since(self) -> float:
        """From when on silence counts."""
        return self.heard_at if self._since is None else max(self.heard_at, self._since)

    @property
    def due_at(self) -> float:
        """When `due` is to be asked next; earlier is of no use."""
        return self._next()[0]

    def _next(self) -> tuple[float, bool]:
        """Return when something is to be done, and whether that is the end."""
        quiet_since, asked_at = self.quiet_since, self._asked_at
        if self._since is None:
            ask_at, end_at = max(quiet_since, asked_at) + self._heartbeat_s, quiet_since + self._silence_s_max
            return (ask_at, False) if ask_at < end_at else (end_at, True)
        if asked_at < quiet_since:
            return quiet_since + self._patience_s / 2, False
        # If we were late with asking, the server has as much time to answer all the same.
        return max(quiet_since + self._patience_s, asked_at + self._patience_s / 2) + self._granted_s, True

    def due(self, now: float, line_bytes_max: int) -> Finding:
        """Return what is to be done; `line_bytes_max` is the length of the longest line that waits for its answer."""
        at, is_the_end = self._next()
        if now + EARLY_S < at:
            return Finding.NOTHING
        if not is_the_end:
            self._asked_at = now
            return Finding.ASK
        if self._since is not None and not self._granted_s and line_bytes_max:
            self._granted_s = line_bytes_max / UPLINK_BYTES_S_MIN
            return Finding.NOTHING
        if not self._looked:
            # It may be we who stood still, with the answer unread: a reactor reads before its next call is due.
            self._looked = True
            return Finding.NOTHING
        return Finding.SILENT
