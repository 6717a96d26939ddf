"""A token bucket: a rate that may be exceeded for a burst, and says how long to wait after that."""


class TokenBucket:
    """Allows `rate` takings a second, and `burst` of them at once.

    Time comes in as `now`, in seconds of any clock that only goes forward. A rate of 0 allows everything.
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, count: int, now: float) -> float:
        """Take `count` at once, even beyond what is there; return the seconds until the debt is paid (0: none)."""
        rate = self.rate
        if not rate:
            return 0.0
        tokens = min(self.burst, self._tokens + (now - self._at) * rate) - count
        self._tokens = tokens
        self._at = now
        return 0.0 if tokens >= 0 else -tokens / rate

    def there(self, now: float) -> int | None:
        """Return how many whole ones may be taken now without a debt; None is any number."""
        if not self.rate:
            return None
        # Also where less than one may be saved up, one is there in the end.
        return max(0, int(min(max(self.burst, 1.0), self._tokens + (now - self._at) * self.rate)))

    def holds(self, seconds: float, now: float) -> bool:
        """Return whether as many are there as come in so many seconds, or as can be saved up at most."""
        return self._tokens + (now - self._at) * self.rate >= min(self.rate * seconds, self.burst)

    def spare(self, count: int, now: float) -> bool:
        """Take `count` if so many are there, and nothing otherwise; return whether they were."""
        if self.rate and self._tokens + (now - self._at) * self.rate < count:
            return False
        self.take(count, now)
        return True
