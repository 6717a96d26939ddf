"""The other end of a proxy's link, at its delivery node.

A `NewsLinkFactory` of the guarded listener is given it as who hears links that begin with `ProxyHello`, and `PULLED` as
what may come.
"""

from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import WireError
from chatproto.news.interface import Held, IItems
from chatproto.news.link import NewsLink
from chatproto.news.messages import VERSION
from chatproto.news.proxy.messages import (
    CHUNK_BYTES_MAX,
    LISTED_MAX,
    Fetch,
    Look,
    Piece,
    ProxyHello,
    ProxyWelcome,
    Seen,
    Sight,
)

CHECKS_MAX = 50
"""Of one proxy, under way at once."""

log = Logger()


class ProxyDesk:
    """Answers proxies from what a delivery node holds, as it does any free reader: no exclusives, and no promise."""

    def __init__(
        self, name: str, items: IItems, now: Callable[[], float], suspended: Callable[[], bool] = lambda: False
    ) -> None:
        """Answer as a delivery node.

        Args:
            name: of the node.
            items: what it holds.
            now: Unix seconds.
            suspended: whether free deliveries wait now.
        """
        self._name = name
        self._items = items
        self._now = now
        self._suspended = suspended
        # By link: the items of its last look, which are no exclusives.
        self._shown: dict[NewsLink, frozenset[int]] = {}

    # `NewsHeard`

    def link_admitted(self, link: NewsLink) -> None:
        """Wait for the hello, which comes next."""

    def link_received(self, link: NewsLink, message: Any) -> None:
        """Answer."""
        match message:
            case ProxyHello() if message.version != VERSION:
                link.refuse("version", f"this is version {VERSION}")
            case ProxyHello():
                link.check_name(message.name)
                link.introduced()
                link.say(ProxyWelcome(self._name))
            case Look():
                seen = Seen((), message.after, False) if self._suspended() else self._look(message)
                self._shown[link] = frozenset(sight.item.number for sight in seen.sights)
                link.say(seen)
            case Fetch():
                if message.offset < 0 or not 0 < message.size <= CHUNK_BYTES_MAX:
                    raise WireError("no piece of an item")
                self._fetch(link, message)
            case _:
                raise WireError("no message of a proxy")

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """Forget what it was shown; what a proxy has, it knows itself."""
        self._shown.pop(link, None)

    def _look(self, look: Look) -> Seen:
        held = self._items.held()
        begin = bisect_right(held, look.after, key=lambda one: one.stamp)
        now, sights, up_to = self._now(), list[Sight](), look.after
        for one in held[begin:]:
            if len(sights) == LISTED_MAX:
                return Seen(tuple(sights), up_to, True)
            up_to = one.stamp
            if self._is_for(one, look, now):
                sights.append(Sight(one.stamp, one.item))
        return Seen(tuple(sights), up_to, False)

    def _is_for(self, one: Held, look: Look, now: float) -> bool:
        item = one.item
        return item.topic in look.topics and not item.exclusive and item.expires > now

    def _fetch(self, link: NewsLink, fetch: Fetch) -> None:
        if fetch.number not in self._shown.get(link, ()):
            _send(link, fetch, b"")
            return
        reading = self._items.read(fetch.number, fetch.offset, fetch.size)
        reading.addErrback(_nothing_where_it_is_gone)
        reading.addCallback(partial(_send, link, fetch))
        reading.addErrback(partial(_unreadable, link))


def _nothing_where_it_is_gone(failure: Failure) -> bytes:
    failure.trap(KeyError)
    return b""


def _send(link: NewsLink, fetch: Fetch, data: bytes) -> None:
    if link.open:
        link.say(Piece(fetch.number, fetch.offset, data))


def _unreadable(link: NewsLink, failure: Failure) -> None:
    log.failure("reading an item for a proxy failed", failure)
    link.close()
