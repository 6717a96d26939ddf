"""The seam between the mobile page and whoever knows the readers' passwords."""

from typing import Protocol

from twisted.internet.defer import Deferred

CODES = {
    "login-failed": "There is no such reader, or that is not the password.",
    "slowed": "That was tried too often: try again in a few seconds.",
    "no-contract": "You have no contract. Make one first: for mobile readers it is free.",
    "not-mobile": "Your contract is not a mobile one: your news come by another way than this page.",
    "elsewhere": "Your news are on another page: your contract is with another delivery node.",
}
"""Why nobody is let in at the mobile page, as the reader is told it; every other code is one that time cures."""


class Accounts(Protocol):
    """Whoever checks the passwords that are typed at the mobile page."""

    def check(self, reader: str, password: str, host: str) -> "Deferred[str]":
        """Check a mobile reader's password, as it was typed at some address.

        Returns:
            Empty if the reader is to be let in; else a code of `CODES`, or any other for a trouble that passes. Fails
            with `Unreached` where nobody can say.
        """
