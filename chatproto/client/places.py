"""Where to connect next, and after how long. Pure."""

from chatproto.wire import host_and_port
from chatproto.wire.addresses import without_tls

Place = int | str
"""One of the endpoints a client was made with, by its number, or `HOST:PORT` or `tls:HOST:PORT` as a server told it."""

STAY_S_MIN = 0.3
"""A stay that was shorter is a failure like any other: servers that drop whom they welcomed must not be hammered."""


class Places:
    """Goes round the places there are: those given, and those that servers tell of.

    In one round each place is tried once, and without waiting: whoever loses one server is on the other at once.
    Between two rounds there is a pause, which doubles with every round from `retry_min_s` up to `retry_max_s`. A
    good stay ends all that: the next round is the first again, and the place that was lost is its last.

    Attributes:
        rounds: how many rounds have failed since the last good stay.
    """

    def __init__(self, given: int, retry_min_s: float, retry_max_s: float, *, told: bool = True) -> None:
        """Start with as many endpoints as were given, one at least; `told` says whether others can be reached."""
        self.rounds = 0
        self._given: list[Place] = list(range(given))
        self._told: list[Place] = []
        self._preferred: list[Place] = []
        self._tried: set[Place] = set()
        # One server may be several places: one that was given, and its address as servers tell it.
        self._names: dict[Place, str] = {}
        self._here: Place = 0
        self._can_reach_told = told
        self._retry_min_s = retry_min_s
        self._retry_max_s = retry_max_s

    def next(self) -> Place:
        """Return where to connect now: where a redirect named places, those first."""
        if not self._untried():
            self._tried.clear()
        self._here = self._untried()[0]
        self._tried.add(self._here)
        return self._here

    def wait_s_max(self) -> float:
        """Return the longest wait before the next try: none where a place was not tried in this round."""
        if self._untried():
            return 0.0
        wait_s = self._pause_s()
        self.rounds += 1
        self._tried.clear()
        return wait_s

    def welcomed(self, server: str, told: list[str]) -> None:
        """Hear which server is at the last place, and of more places."""
        # A server names its own addresses first; wanted are the others.
        self._told = self._reachable(told)[::-1]
        self._names[self._here] = server
        self._names = {place: name for place, name in self._names.items() if place in self._all()}

    def lost(self, online_s: float) -> None:
        """Hear that the last place was lost after so many seconds: if it was a good one, the next round begins."""
        if online_s >= max(STAY_S_MIN, self._pause_s()):
            self.rounds = 0
            gone = self._names.get(self._here)
            self._tried = {self._here, *(place for place, name in self._names.items() if name == gone)}

    def prefer(self, told: list[str]) -> None:
        """Hear where to go next."""
        self._preferred = self._reachable(told)

    def _reachable(self, told: list[str]) -> list[Place]:
        if not self._can_reach_told:
            return []
        return [place for place in dict.fromkeys(told) if host_and_port(without_tls(place)) is not None]

    def _all(self) -> list[Place]:
        return list(dict.fromkeys([*self._preferred, *self._given, *self._told]))

    def _untried(self) -> list[Place]:
        return [place for place in self._all() if place not in self._tried]

    def _pause_s(self) -> float:
        # A float's exponent has an end, an outage has none.
        return float(min(self._retry_max_s, self._retry_min_s * 2.0 ** min(self.rounds, 64)))
