"""How a node ends without anybody's loss: its phases, and every way from one to the next. Pure.

What is seen comes in as a `Sight`, with `now` in seconds of any clock that only goes forward; what is to be done goes
out as effects, in order. The picture in the documentation is printed from the table by `picture`.
"""

from collections.abc import Callable
from enum import Enum

import msgspec

MOVED_PER_S = 500
"""So many clients a second are sent to the other node, whatever their number, up to `SPREAD_S_MAX`."""
SPREAD_S_MIN = 0.2
SPREAD_S_MAX = 5.0
"""The last client is told to go so long after the first; `redirect` promises that it is no longer."""
LAG_S = 0.3
"""So much longer than they were told clients may take to go by themselves."""
SPREAD_SHARE = 0.4
"""Of all the time there is, so much is for the spread, where clients are many."""
FLUSH_S = 0.05
"""However little time there is, what clients are told at last has so long to leave this process."""


def spread_s(clients: int) -> float:
    """Return within how many seconds so many clients are told to go."""
    return min(max(clients / MOVED_PER_S, SPREAD_S_MIN), SPREAD_S_MAX)


class Phase(Enum):
    """How far a node is with its end; the value is the name in logs and pictures."""

    SERVING = "serving"
    MOVING = "moving"
    SETTLING = "settling"
    HANDING = "handing"
    LEAVING = "leaving"
    OVER = "over"


class Cue(Enum):
    """What moves a drain from phase to phase."""

    ELSEWHERE = "somewhere to go"
    NOWHERE = "nowhere to go"
    DONE = "done"
    LATE = "late"
    HURRIED = "hurried"


TRANSITIONS: dict[tuple[Phase, Cue], tuple[Phase, str]] = {
    (Phase.SERVING, Cue.ELSEWHERE): (Phase.MOVING, "the other node serves: clients are told when to go there"),
    (Phase.SERVING, Cue.NOWHERE): (Phase.SETTLING, "no client is here, or there is no other node to go to"),
    (Phase.SERVING, Cue.HURRIED): (Phase.LEAVING, "there is no time for anything else"),
    (Phase.MOVING, Cue.DONE): (Phase.SETTLING, "everybody has gone"),
    (Phase.MOVING, Cue.LATE): (Phase.SETTLING, "who has not gone by now does not listen: it is parted from"),
    (Phase.MOVING, Cue.HURRIED): (Phase.LEAVING, "whoever is left is told again, and parted from at once"),
    (Phase.SETTLING, Cue.DONE): (Phase.HANDING, "all that clients asked for is committed and answered"),
    (Phase.SETTLING, Cue.LATE): (Phase.HANDING, "what is not answered was not promised: its sender says it again"),
    (Phase.SETTLING, Cue.HURRIED): (Phase.LEAVING, "what is not answered was not promised: its sender says it again"),
    (Phase.HANDING, Cue.DONE): (Phase.LEAVING, "the other node leads, or there is none to hand leadership to"),
    (Phase.HANDING, Cue.LATE): (Phase.LEAVING, "the other node takes over when this one is gone"),
    (Phase.HANDING, Cue.HURRIED): (Phase.LEAVING, "the other node takes over when this one is gone"),
    (Phase.LEAVING, Cue.DONE): (Phase.OVER, "everybody has taken what they were told"),
    (Phase.LEAVING, Cue.LATE): (Phase.OVER, "who does not read is not waited for"),
    (Phase.LEAVING, Cue.HURRIED): (Phase.OVER, "who has not read yet is not waited for"),
}

PHASE_S_MAX = {Phase.SETTLING: 3.0, Phase.HANDING: 3.0, Phase.LEAVING: 2.0, Phase.OVER: 0.0}
"""How long each phase lasts at most, in seconds; moving lasts as long as the spread, and `LAG_S`."""

END_SHARE = {Phase.MOVING: 0.5, Phase.SETTLING: 0.75, Phase.HANDING: 0.9, Phase.LEAVING: 1.0, Phase.OVER: 1.0}
"""When each phase ends at the latest, as a share of all the time there is: something is left for those after it."""


class Sight(msgspec.Struct, frozen=True):
    """What a drain looks at.

    Attributes:
        clients: how many sessions have a connection here.
        links: how many connections there are, those included that are closing or have no session.
        elsewhere: whether another node serves that clients can go to.
        leads_pair: whether this node leads another one that has everything, or is handing over to it.
        withdrawn: whether nothing elsewhere says any more that this node serves.
    """

    clients: int
    links: int
    elsewhere: bool = False
    leads_pair: bool = False
    withdrawn: bool = True


class Entered(msgspec.Struct, frozen=True):
    """The phase is another."""

    before: Phase
    phase: Phase
    reason: str


class SendAway(msgspec.Struct, frozen=True):
    """Tell the clients that can be told to go elsewhere, each at a moment of its own within this span."""

    within_ms: int


class Part(msgspec.Struct, frozen=True):
    """Part from this share of the clients that cannot be told when to go, once each is answered."""

    share: float


class PartFromAll(msgspec.Struct, frozen=True):
    """Part from every client, once each is answered."""


class HandOver(msgspec.Struct, frozen=True):
    """Hand leadership to the other node; asked for again until it leads."""


class Leave(msgspec.Struct, frozen=True):
    """Close every connection politely."""


class Abort(msgspec.Struct, frozen=True):
    """End every connection that is left."""


Effect = Entered | SendAway | Part | PartFromAll | HandOver | Leave | Abort


class Draining:
    """A node's end.

    Attributes:
        phase: see `TRANSITIONS`.
        clients: how many there were when it began.
        took_s: how long each phase took that is over, in seconds.
    """

    def __init__(self, drain_s_max: float) -> None:
        """Make one that has not begun and may take so long; 0 for no longer than what is said last takes to leave."""
        self.phase = Phase.SERVING
        self.clients = 0
        self.took_s: dict[Phase, float] = {}
        self._drain_s_max = drain_s_max
        self._begun = self._entered = self._until = 0.0
        self._spread_s = 0.0

    def begin(self, sight: Sight, now: float) -> list[Effect]:
        """Begin; nobody new is let in from here on."""
        self._begun = self._entered = now
        self.clients = sight.clients
        self._spread_s = min(spread_s(sight.clients), SPREAD_SHARE * self._drain_s_max)
        if not self._drain_s_max:
            return self._go(Cue.HURRIED, now)
        return self._go(Cue.ELSEWHERE if sight.elsewhere and sight.clients else Cue.NOWHERE, now)

    def look(self, sight: Sight, now: float) -> list[Effect]:
        """Look how far it is; to be called many times a second until it is over."""
        effects: list[Effect] = []
        while (cue := self._cue(sight, now)) is not None:
            effects += self._go(cue, now)
        if self.phase is Phase.MOVING:
            effects.append(Part(min(1.0, (now - self._entered) / self._spread_s)))
        elif self.phase is Phase.HANDING:
            effects.append(HandOver())
        return effects

    def hurry(self, now: float) -> list[Effect]:
        """End sooner: whatever is waited for is waited for no more."""
        return [] if self.phase in (Phase.SERVING, Phase.OVER) else self._go(Cue.HURRIED, now)

    def _cue(self, sight: Sight, now: float) -> Cue | None:
        if self.phase is Phase.OVER:
            return None
        if _DONE[self.phase](sight):
            return Cue.DONE
        return Cue.LATE if now >= self._until else None

    def _go(self, cue: Cue, now: float) -> list[Effect]:
        before, (self.phase, reason) = self.phase, TRANSITIONS[self.phase, cue]
        self.took_s[before] = now - self._entered
        self._entered = now
        entered = Entered(before, self.phase, reason)
        phase_s_max = self._spread_s + LAG_S if self.phase is Phase.MOVING else PHASE_S_MAX[self.phase]
        self._until = min(now + phase_s_max, self._begun + END_SHARE[self.phase] * self._drain_s_max)
        if self.phase is Phase.LEAVING:
            self._until = max(self._until, now + FLUSH_S)
        if self.phase is Phase.MOVING:
            return [entered, SendAway(round(self._spread_s * 1000))]
        return [entered, *_FIRST[self.phase]]


_FIRST: dict[Phase, list[Effect]] = {
    Phase.SETTLING: [PartFromAll()],
    # Whether there is anything to hand over is seen only when it is looked at.
    Phase.HANDING: [],
    Phase.LEAVING: [Leave()],
    Phase.OVER: [Abort()],
}

_DONE: dict[Phase, Callable[[Sight], bool]] = {
    Phase.MOVING: lambda sight: not sight.clients,
    Phase.SETTLING: lambda sight: not sight.clients,
    Phase.HANDING: lambda sight: not sight.leads_pair,
    Phase.LEAVING: lambda sight: not sight.links and sight.withdrawn,
}


def picture() -> str:
    """Return the table as text: each phase, and where it goes, when and why."""
    lines: list[str] = []
    for phase in Phase:
        lines.append(phase.value)
        lines += [
            f"    {cue.value:15} → {after.value:8}  {reason}"
            for (before, cue), (after, reason) in TRANSITIONS.items()
            if before is phase
        ]
    return "\n".join(lines) + "\n"
