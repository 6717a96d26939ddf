"""A delivery node's items, and a contracting service, for those who have neither."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from chatproto.news.contracting.messages import Alive, Ask, Check, Checked, Mobile, Readers
from chatproto.news.interface import Held, IItems
from chatproto.news.items import Item
from chatproto.news.link import NewsLink
from chatproto.news.terms import Place, Terms

PAGE = 100
"""Readers in one answer of the contracting service."""

MOBILE = Terms(("sport",), mode="pull", mobile=True)


@implementer(IItems)
class Items:
    """What a delivery node holds."""

    def __init__(self) -> None:
        self.bodies: dict[int, bytes] = {}
        self.all: list[Held] = []
        self.reads: list[tuple[int, int, int]] = []
        self.broken = False

    def add(self, item: Item, body: bytes) -> None:
        self.bodies[item.number] = body
        self.all.append(Held(item, len(self.all) + 1, 0.0, 0.0))

    def held(self) -> list[Held]:
        return list(self.all)

    def read(self, number: int, offset: int, count: int) -> "Deferred[bytes]":
        self.reads.append((number, offset, count))
        if self.broken:
            return fail(OSError("the disk"))
        if number not in self.bodies:
            return fail(KeyError(number))
        return succeed(self.bodies[number][offset : offset + count])

    def watch(self, arrived: Callable[[Held], None], gone: Callable[[Held], None]) -> None:
        raise NotImplementedError


class Contracts:
    """What the contracting service answers (`NewsHeard`)."""

    def __init__(self) -> None:
        self.serving = True
        self.readers: dict[str, list[str]] = {}
        self.asked = 0
        self.checks: list[tuple[NewsLink, Check]] = []
        self.places = {
            "anna": Place("anna", MOBILE, "east", "", "ticket"),
            "paid": Place("paid", Terms(("sport",), paid=True), "east", "", "ticket"),
            "west": Place("west", MOBILE, "west", "", "ticket"),
        }

    def link_admitted(self, link: NewsLink) -> None:
        pass

    def link_lost(self, link: NewsLink, reason: str) -> None:
        pass

    def link_received(self, link: NewsLink, message: Any) -> None:
        match message:
            case Ask():
                link.introduced()
                link.say(Alive("master", self.serving))
            case Readers():
                self.asked += not message.after
                left = [name for name in sorted(self.readers.get(message.node, [])) if name > message.after]
                found = tuple((name, "hash", ("sport",)) for name in left[:PAGE])
                link.say(Mobile(found, len(left) > PAGE))
            case Check(reader="slow"):
                self.checks.append((link, message))
            case Check():
                code = "" if message.password == "right" else "login-failed"
                place = self.places.get(message.reader) if not code else None
                link.say(Checked(message.number, code, place))

    def answer(self) -> None:
        """Answer the check that waits for longest."""
        link, check = self.checks.pop(0)
        if link.open:
            link.say(Checked(check.number, "", self.places["anna"]))
