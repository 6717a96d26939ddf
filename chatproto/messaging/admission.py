"""Which requests a server has under way, and which wait: readers together, writers alone, nobody overtakes. Pure."""

import enum
from collections.abc import Hashable
from typing import Generic, TypeVar

from chatproto.errors import Rejected

R = TypeVar("R", bound=Hashable)


class Access(enum.Enum):
    """What a request does with what the server holds."""

    READ = "looks at it: beside other readers"
    WRITE = "changes it: alone"


class Admission(Generic[R]):
    """Lets requests begin in the order in which they came.

    Readers are under way together, up to a number; a writer begins when nothing else is, and nothing else begins until
    it has ended (multiple readers and writers). A reader that comes after a writer waits for it, too, or writers would
    wait for ever where readers never end.
    """

    def __init__(self, at_once_max: int, waiting_max: int) -> None:
        """Start with none.

        Args:
            at_once_max: requests under way together, one at least.
            waiting_max: requests that may wait besides; beyond it they are refused.
        """
        assert at_once_max >= 1
        self.at_once_max = at_once_max
        self._waiting_max = waiting_max
        self._waiting: dict[R, Access] = {}
        self._under_way: dict[R, Access] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    def ask(self, request: R, access: Access) -> None:
        """Take a request; no other that is here equals it.

        Raises:
            Rejected: `busy`, as many wait as may.
        """
        has_to_wait = self._waiting or not self._has_place(access)
        if has_to_wait and len(self._waiting) >= self._waiting_max:
            raise Rejected("busy")
        self._waiting[request] = access

    def begin(self) -> R | None:
        """Return the request that begins now; to be asked again until it is None."""
        for request, access in self._waiting.items():
            if self._has_place(access):
                del self._waiting[request]
                self._under_way[request] = access
                return request
            break
        return None

    def _has_place(self, access: Access) -> bool:
        if access is Access.WRITE:
            return not self._under_way
        return len(self._under_way) < self.at_once_max and Access.WRITE not in self._under_way.values()

    def withdraw(self, request: R) -> bool:
        """Forget a request that waits; return whether it did."""
        return self._waiting.pop(request, None) is not None

    def ended(self, request: R) -> None:
        """Hear that a request that was under way is no longer."""
        del self._under_way[request]

    @property
    def waiting(self) -> list[R]:
        """The requests that wait, in order."""
        return list(self._waiting)

    @property
    def under_way(self) -> list[R]:
        """The requests that have begun and not ended."""
        return list(self._under_way)
