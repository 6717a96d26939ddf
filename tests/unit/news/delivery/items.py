"""Items to deliver, and what holds them."""

import hashlib
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from chatproto.chat.passwords import token_hash
from chatproto.news.interface import IItems
from chatproto.news.items import Held, Item
from chatproto.news.terms import Placement, Terms

READ_S = 0.003
FAR = 4e9
"""Expires when no test runs any more."""


def item(
    number: int,
    size: int = 10,
    *,
    topic: str = "sport",
    priority: int = 5,
    expires: float = FAR,
    exclusive: bool = False,
) -> Item:
    digest = hashlib.sha256(body_of(number, size)).digest()
    title = f"news {number}"
    return Item("ansa", f"id-{number}", topic, title, "text/plain", size, digest, expires, exclusive, number, priority)


def body_of(number: int, size: int) -> bytes:
    return (b"%d " % number * (size // 2 + 1))[:size]


def held(stamp: int, size: int = 10, *, delay_s: float = 0.0, since: float = 0.0, **fields: object) -> Held:
    number = fields.pop("number", 1000 + stamp)
    assert isinstance(number, int)
    return Held(item(number, size, **fields), stamp, delay_s, since)  # type: ignore[arg-type]


def paid(reader: str = "rita", *, version: int = 1, home: str = "", **terms: object) -> Placement:
    agreed = Terms(**{"topics": ("sport",), "paid": True, **terms})  # type: ignore[arg-type]
    return Placement(reader, agreed, token_hash(f"ticket of {reader}"), version, home)


def free(reader: str = "fred", **terms: object) -> Placement:
    return Placement(reader, Terms(**{"topics": ("sport",), **terms}), token_hash(f"ticket of {reader}"))  # type: ignore[arg-type]


@implementer(IItems)
class Items:
    """Holds what it is given."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        self.all: dict[int, Held] = {}
        self.reads = 0
        self._now = now
        self._clock: IReactorTime | None = None
        self._watching: list[tuple[Callable[[Held], None], Callable[[Held], None]]] = []

    def life(self, clock: IReactorTime) -> None:
        """Begin anew: nobody watches, and the clock is another; from now on reading takes a while."""
        self._watching.clear()
        self._now, self._clock = clock.seconds, clock
        now = clock.seconds()
        self.all = {stamp: Held(each.item, each.stamp, each.delay_s, now) for stamp, each in self.all.items()}

    def put(self, item: Item, delay_s: float = 0.0) -> Held:
        new = Held(item, len(self.all) + 1, delay_s, self._now())
        self.all[new.stamp] = new
        for arrived, _ in self._watching:
            arrived(new)
        return new

    def expire(self, stamp: int) -> None:
        gone = self.all[stamp]
        self.all[stamp] = Held(gone.item, -stamp, 0, 0)
        for _, told in self._watching:
            told(gone)

    def held(self) -> list[Held]:
        return [each for each in self.all.values() if each.stamp > 0]

    def read(self, number: int, offset: int, count: int) -> "Deferred[bytes]":
        self.reads += 1
        for each in self.held():
            if each.item.number == number:
                data = body_of(number, each.item.size)[offset : offset + count]
                return succeed(data) if self._clock is None else deferLater(self._clock, READ_S, bytes, data)
        return fail(KeyError(number))

    def watch(self, arrived: Callable[[Held], None], gone: Callable[[Held], None]) -> None:
        self._watching.append((arrived, gone))
