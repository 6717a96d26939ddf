"""Items that the parent is to send later: there is no room for them, or they came damaged. Pure."""

HELD_BYTES_MAX = 8 * 1024 * 1024 * 1024
"""Of bodies that a node holds, unless told otherwise."""

AGAIN_S_MIN = 1.0
AGAIN_S_MAX = 60.0
"""Between two tries of an item that comes damaged, at first and at last."""


class Postponed:
    """What a node has told its parent, on the present link, to send later.

    Attributes:
        held_bytes_max: beyond so much, no further item is begun; what was begun is completed.
    """

    def __init__(self, held_bytes_max: int = HELD_BYTES_MAX) -> None:
        """Postpone nothing."""
        self.held_bytes_max = held_bytes_max
        self._sizes: dict[int, int] = {}
        self._damages: dict[int, int] = {}

    @property
    def waiting(self) -> int:
        """How many items wait for room."""
        return len(self._sizes)

    def has_room(self, held_bytes: int, size: int) -> bool:
        """Whether an item of that size may be begun where so much is held."""
        return held_bytes + size <= self.held_bytes_max

    def no_room(self, number: int, size: int) -> None:
        """Have an item wait for room."""
        self._sizes[number] = size

    def room(self, held_bytes: int) -> list[int]:
        """Return the items for which there is room where so much is held; in the order in which they have come."""
        found = []
        for number, size in self._sizes.items():
            if not self.has_room(held_bytes, size):
                # Whoever came first is not passed by all that are smaller.
                break
            held_bytes += size
            found.append(number)
        for number in found:
            del self._sizes[number]
        return found

    def damaged(self, number: int) -> float:
        """Hear that an item came damaged; return after how many seconds it may come again, longer each time."""
        tries = self._damages[number] = self._damages.get(number, 0) + 1
        return float(min(AGAIN_S_MIN * 2.0 ** min(tries - 1, 64), AGAIN_S_MAX))

    def forget(self, number: int) -> None:
        """Hear that an item is whole, or comes no more."""
        self._sizes.pop(number, None)
        self._damages.pop(number, None)

    def clear(self) -> None:
        """Forget all: on a new link everything is offered anew."""
        self._sizes.clear()
        self._damages.clear()
