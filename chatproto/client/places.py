"""Where to connect next, and after how long. Pure."""

Place = int | str
"""One of the endpoints a client was made with, by its number, or `HOST:PORT` as a server told it."""


def host_and_port(address: str) -> tuple[str, int] | None:
    """Read `HOST:PORT`, an IPv6 address in brackets; None if it is not of that form."""
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port[:6]) < 65536:
        return None
    return host, int(port)


class Places:
    """Goes round the places there are: those given, and those that servers tell of.

    Tries that fail make the waits longer, doubling with every round from `retry_min_s` up to `retry_max_s`.
    """

    def __init__(self, given: int, retry_min_s: float, retry_max_s: float, *, told: bool = True) -> None:
        """Start with as many endpoints as were given, one at least; `told` says whether others can be reached."""
        self._given: list[Place] = list(range(given))
        self._told: list[Place] = []
        self._preferred: list[Place] = []
        self._round: list[Place] = []
        self._here: Place = 0
        self._failures = 0
        self._can_reach_told = told
        self._retry_min_s = retry_min_s
        self._retry_max_s = retry_max_s

    def next(self) -> Place:
        """Return where to connect now: where a redirect named places, those first, each once."""
        if self._preferred:
            self._here = self._preferred.pop(0)
        else:
            if not self._round:
                self._round = self._all()
            self._here = self._round.pop(0)
        return self._here

    def wait_s_max(self) -> float:
        """Return the longest wait before the next try, which is counted as made."""
        wait_s = self._wait_s()
        self._failures += 1
        return wait_s

    def welcomed(self, told: list[str]) -> None:
        """Hear that the last place is a good one, and of more; if it goes away, the others are tried first."""
        self._told = self._reachable(told)
        self._round = [place for place in self._all() if place != self._here]

    def lost(self, online_s: float) -> None:
        """Hear that a good place was lost after so many seconds: if it was for long, waits are short again."""
        if online_s >= self._wait_s():
            self._failures = 0

    def prefer(self, told: list[str]) -> None:
        """Hear where to go next."""
        self._preferred = self._reachable(told)

    def _reachable(self, told: list[str]) -> list[Place]:
        if not self._can_reach_told:
            return []
        return [place for place in dict.fromkeys(told) if host_and_port(place) is not None]

    def _all(self) -> list[Place]:
        return [*self._given, *self._told]

    def _wait_s(self) -> float:
        rounds = self._failures // len(self._all())
        # A float's exponent has an end, an outage has none.
        return float(min(self._retry_max_s, self._retry_min_s * 2.0 ** min(rounds, 64)))
