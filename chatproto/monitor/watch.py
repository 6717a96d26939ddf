"""Whether a master lives, and who serves in its place while it does not. Pure.

The master is asked at an interval. An answer that does not come within `dead_after_s` is the end of it: the stand-in is
activated and registered. The questions go on; the first answer has the stand-in finish what it is doing.
"""

from dataclasses import dataclass
from enum import Enum

RETRIES = 4
"""Into so many parts `dead_after_s` is divided: a question that fails at once is put again after one of them."""

LATE_S_MAX = 0.5
"""A call that comes later than this says that we stood still ourselves, and then silence says nothing."""


class State(Enum):
    """What the monitor does."""

    LOOKING = "looking for the master, which was never heard yet"
    WATCHING = "the master serves, and is asked whether it lives"
    ACTIVATING = "the stand-in begins to serve"
    STANDING_IN = "the stand-in serves, and the master is asked whether it is back"
    STANDING_DOWN = "the master is back, and the stand-in finishes what it is doing"


class Event(Enum):
    """What can happen."""

    ANSWERED = "the master has answered"
    SILENT = "the master has not answered in time"
    ACTIVATED = "the stand-in serves"
    FAILED = "the stand-in cannot serve"
    FINISHED = "the stand-in has finished, and serves no more"


TRANSITIONS: dict[tuple[State, Event], tuple[State, str]] = {
    (State.LOOKING, Event.ANSWERED): (State.WATCHING, "it is there: from now on its silence means something"),
    (State.LOOKING, Event.SILENT): (State.LOOKING, "it may not have been started yet: nobody misses it"),
    (State.WATCHING, Event.ANSWERED): (State.WATCHING, "it lives"),
    (State.WATCHING, Event.SILENT): (State.ACTIVATING, "it is dead, or cannot be reached: somebody has to serve"),
    (State.ACTIVATING, Event.ANSWERED): (State.ACTIVATING, "what has begun is finished; it will answer again"),
    (State.ACTIVATING, Event.SILENT): (State.ACTIVATING, "so it is dead still"),
    (State.ACTIVATING, Event.ACTIVATED): (State.STANDING_IN, "whoever looks for the service is sent here"),
    (State.ACTIVATING, Event.FAILED): (State.WATCHING, "nobody serves; the next silence is another try"),
    (State.STANDING_IN, Event.ANSWERED): (State.STANDING_DOWN, "the master is back, and has what was before"),
    (State.STANDING_IN, Event.SILENT): (State.STANDING_IN, "so it is dead still"),
    (State.STANDING_DOWN, Event.ANSWERED): (State.STANDING_DOWN, "what is under way is finished first"),
    (State.STANDING_DOWN, Event.SILENT): (State.STANDING_DOWN, "if it is dead again, that is found when this is over"),
    (State.STANDING_DOWN, Event.FINISHED): (State.WATCHING, "the place is the master's again"),
}


@dataclass(frozen=True)
class Ask:
    """Ask the master whether it lives; hear `answered` or `unanswered`."""


@dataclass(frozen=True)
class GiveUp:
    """Wait no more for the answer to the last question."""


@dataclass(frozen=True)
class Activate:
    """Have the stand-in serve, and register it; hear `activated` or `failed`."""


@dataclass(frozen=True)
class StandDown:
    """Have the stand-in finish what it is doing, and serve no more; hear `finished`."""


@dataclass(frozen=True)
class Changed:
    """Tell: the state is another one.

    Attributes:
        state: the new one.
        event: what has happened.
        reason: why the one follows from the other.
    """

    state: State
    event: Event
    reason: str


Effect = Ask | GiveUp | Activate | StandDown | Changed

_BEGUN: dict[State, type[Activate | StandDown]] = {State.ACTIVATING: Activate, State.STANDING_DOWN: StandDown}


class Watch:
    """Watches over a master.

    Times are `now` in seconds of any clock that only goes forward. Every call returns what is to be done.

    Attributes:
        state: what it does.
        asking: whether an answer is waited for.
    """

    def __init__(self, ask_every_s: float, dead_after_s: float, *, known: bool = False) -> None:
        """Watch nothing before `start`.

        Args:
            ask_every_s: between an answer and the next question.
            dead_after_s: a question that has no answer for so long, however often it was repeated, never has one.
            known: whether the master was there before: then its silence means something from the start.
        """
        self.state = State.WATCHING if known else State.LOOKING
        self.asking = False
        self._ask_every_s = ask_every_s
        self._dead_after_s = dead_after_s
        # When the question was put that has no answer yet, first of all its repetitions.
        self._asked_at: float | None = None
        self._ask_at: float | None = None

    def start(self, now: float) -> list[Effect]:
        """Begin, with a question."""
        return self._ask(now)

    def answered(self, now: float) -> list[Effect]:
        """Hear that the master lives."""
        self.asking, self._asked_at = False, None
        self._ask_at = now + self._ask_every_s
        return self._happened(Event.ANSWERED)

    def unanswered(self, now: float) -> list[Effect]:
        """Hear that a question failed: that is silence as any other, and soon repeated."""
        self.asking = False
        self._ask_at = now + min(self._ask_every_s, self._dead_after_s / RETRIES)
        return []

    def activated(self) -> list[Effect]:
        """Hear that the stand-in serves."""
        return self._happened(Event.ACTIVATED)

    def failed(self) -> list[Effect]:
        """Hear that it cannot."""
        return self._happened(Event.FAILED)

    def finished(self) -> list[Effect]:
        """Hear that it has finished, and serves no more."""
        return self._happened(Event.FINISHED)

    def next_wakeup(self) -> float | None:
        """Return when `due` is to be called next; None before `start`."""
        return min((at for at in (self._ask_at, self._dead_at) if at is not None), default=None)

    @property
    def _dead_at(self) -> float | None:
        return self._asked_at + self._dead_after_s if self._asked_at is not None else None

    def due(self, now: float) -> list[Effect]:
        """Do what time has come for."""
        wakeup = self.next_wakeup()
        if wakeup is None or now < wakeup:
            return []
        if now - wakeup > LATE_S_MAX and self._asked_at is not None:
            # We stood still, with the answer unread perhaps: the master has as much time again.
            self._asked_at = now
        if self._dead_at is not None and now >= self._dead_at:
            return self._silent(now)
        return self._ask(now) if self._ask_at is not None and now >= self._ask_at else []

    def _silent(self, now: float) -> list[Effect]:
        given_up: list[Effect] = [GiveUp()] if self.asking else []
        self.asking, self._asked_at = False, None
        self._ask_at = now + self._ask_every_s
        return [*given_up, *self._happened(Event.SILENT)]

    def _ask(self, now: float) -> list[Effect]:
        self.asking, self._ask_at = True, None
        if self._asked_at is None:
            self._asked_at = now
        return [Ask()]

    def _happened(self, event: Event) -> list[Effect]:
        before = self.state
        self.state, reason = TRANSITIONS[before, event]
        if self.state is before:
            return []
        told: list[Effect] = [Changed(self.state, event, reason)]
        begun = _BEGUN.get(self.state)
        return [*told, begun()] if begun is not None else told


def describe() -> str:
    """Return the table of transitions as text, one a line, for the documents."""
    lines = []
    for (before, event), (after, reason) in TRANSITIONS.items():
        arrow = f"{before.name} -> {after.name}" if after is not before else before.name
        lines.append(f"{event.name:<10} {arrow:<29} {reason}")
    return "\n".join(lines) + "\n"
