"""What an SRV record names, and in which order its targets are tried (RFC 2782). Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Target:
    """Where one server of a service is.

    Attributes:
        priority: those with the lowest are tried first; 0 to 65535.
        weight: the share of a target among those with its priority; 0 to 65535.
        port: 1 to 65535.
        host: a name, without a dot at its end.
    """

    priority: int
    weight: int
    port: int
    host: str


def in_order(targets: Iterable[Target], draw: Callable[[int], int]) -> list[Target]:
    """Return targets in the order they are to be tried: by priority, and by drawn lots where that is the same.

    Args:
        targets: of one service.
        draw: returns a number from 0 to its argument, that one included.
    """
    order: list[Target] = []
    # Those without a weight first, so that they are drawn now and then, too.
    left = sorted(targets, key=lambda target: (target.priority, target.weight))
    while left:
        rivals = [target for target in left if target.priority == left[0].priority]
        shares = list(accumulate(target.weight for target in rivals))
        lot = draw(shares[-1])
        chosen = next(target for target, share in zip(rivals, shares, strict=True) if share >= lot)
        order.append(chosen)
        left.remove(chosen)
    return order
