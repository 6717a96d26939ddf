"""Failed attempts to log in, and how long the next one has to wait. Pure.

Whoever fails waits before they may try again, twice as long each time: by their address, and by the account that they
tried. An address that has not failed lately never waits, whatever others do to an account: nobody can lock its owner
out.
"""

from collections.abc import Hashable

WAIT_S_MIN = 1.0
"""After the first failure."""
WAIT_S_MAX = 300.0
FORGOTTEN_AFTER_S = 3600.0
"""So long after its last failure, an address or an account has not failed."""
KNOWN_MAX = 10_000
"""Addresses, and accounts, whose failures are known; of more, those that failed longest ago are forgotten."""


class _Failures:
    """How often each of some has failed, and when last."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[int, float]] = {}

    def add(self, whose: Hashable, now: float) -> None:
        count = self.count(whose, now) + 1
        self._known.pop(whose, None)
        self._known[whose] = count, now
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def forget(self, whose: Hashable) -> None:
        self._known.pop(whose, None)

    def count(self, whose: Hashable, now: float) -> int:
        count, last = self._known.get(whose, (0, now))
        return count if now - last < FORGOTTEN_AFTER_S else 0

    def wait_s(self, whose: Hashable, now: float) -> float:
        count = self.count(whose, now)
        if not count:
            return 0.0
        _, last = self._known[whose]
        return max(0.0, last + min(WAIT_S_MIN * 2.0 ** min(count - 1, 64), WAIT_S_MAX) - now)


class Attempts:
    """The failures of a node's clients; `now` is in seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        """Know of none."""
        self._addresses = _Failures()
        self._accounts = _Failures()

    def wait_s(self, address: Hashable, account: str, now: float) -> float:
        """Return how many seconds an address has to wait before it may try an account; 0 if it need not."""
        if not self._addresses.count(address, now):
            return 0.0
        return max(self._addresses.wait_s(address, now), self._accounts.wait_s(account, now))

    def failed(self, address: Hashable, account: str, now: float) -> None:
        """Note a failure."""
        self._addresses.add(address, now)
        self._accounts.add(account, now)

    def passed(self, address: Hashable, account: str) -> None:
        """Note that whoever is at an address has proved to be the account's owner."""
        self._addresses.forget(address)
        self._accounts.forget(account)
