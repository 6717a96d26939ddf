"""The tokens that callers are to show, as the server announced them. Pure."""


class Expected:
    """Tokens announced, each for one name, once, and for a while."""

    def __init__(self, count_max: int, s_max: float) -> None:
        """Expect nobody; never more than so many tokens, each for so many seconds."""
        self._count_max = count_max
        self._s_max = s_max
        # By token, the oldest first: whose it is, and until when.
        self._tokens: dict[str, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def expect(self, identity: str, token: str, now: float) -> None:
        """Expect somebody with a token; where there are too many, the oldest is good no longer."""
        self._tokens.pop(token, None)
        self._tokens[token] = identity, now + self._s_max
        if len(self._tokens) > self._count_max:
            del self._tokens[next(iter(self._tokens))]

    def knows(self, token: str) -> bool:
        """Whether a token was announced and not shown since, be it good or not."""
        return token in self._tokens

    def shown(self, identity: str, token: str, now: float) -> bool:
        """Take that somebody shows a token that is known; return whether it is good. Shown, it is good no longer."""
        expected, until = self._tokens.pop(token)
        return expected == identity and now <= until

    def clear(self) -> None:
        """Expect nobody."""
        self._tokens.clear()
