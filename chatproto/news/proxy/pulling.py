"""A proxy's link to its delivery node: pulls what mobile readers want, item by item, as a free reader does."""

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatproto.errors import WireError
from chatproto.news.items import BODY_BYTES_MAX
from chatproto.news.link import NewsLink
from chatproto.news.proxy.messages import (
    CHUNK_BYTES_MAX,
    Fetch,
    Look,
    Piece,
    ProxyHello,
    ProxyWelcome,
    Seen,
    Sight,
)
from chatproto.news.proxy.shelf import Changes, Shelf
from chatproto.tally import Tally

DOOR = "news-proxy"
LOOK_EVERY_S = 1.0
"""So often a proxy that has all asks whether there is more."""
PIECES_MAX = 4
"""Under way at once: 64 KiB."""

log = Logger()


class Pulling:
    """Hears the link to a delivery node, and fills the shelf.

    One item is fetched at a time; the next one when it is durable. What is there of it when the link breaks stays.

    Attributes:
        node: the name of the delivery node; empty before it was reached for the first time.
        up: whether it is reached now.
        fetched: items that have come whole.
    """

    def __init__(
        self,
        shelf: Shelf,
        name: str,
        clock: IReactorTime,
        now: Callable[[], float],
        keep: Callable[[Changes, Callable[[], None]], None],
        tally: Tally,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Pull for a shelf.

        Args:
            shelf: knows what is wanted, and takes it.
            name: of this proxy.
            clock: for the looks.
            now: Unix seconds.
            keep: makes what a shelf has changed durable, then calls back.
            tally: counts items that came damaged.
            look_every_s: the pause before the next look, when all is there.
        """
        self.node = ""
        self.up = False
        self.fetched = 0
        self._shelf = shelf
        self._name = name
        self._clock = clock
        self._now = now
        self._keep = keep
        self._tally = tally
        self._look_every_s = look_every_s
        self._link: NewsLink | None = None
        self._timer: IDelayedCall | None = None
        self._seen: Seen | None = None
        self._sights: deque[Sight] = deque()
        # Of the first of them: what has come, in order, and up to where it was asked for.
        self._body = bytearray()
        self._number = 0
        self._asked = 0
        self._storing = False

    # `NewsHeard`

    def link_admitted(self, link: NewsLink) -> None:
        """Say who this is."""
        self._link = link
        link.say(ProxyHello(self._name))

    def link_received(self, link: NewsLink, message: Any) -> None:
        """Take what the node has answered."""
        match message:
            case ProxyWelcome():
                self.node, self.up = message.name, True
                # An item that was being written is looked for again, and is there by then.
                self._sights.clear()
                if not self._storing:
                    self._look()
            case Seen():
                self._see(message)
            case Piece():
                self._take(message)
            case _:
                raise WireError("no message of a delivery node")

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """Wait for the next link."""
        self._link, self.up = None, False
        self._seen = None
        self.stop()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # What is there

    def _look(self) -> None:
        self._timer = None
        if self._link is None:
            return
        topics = self._shelf.topics()
        if topics:
            self._link.say(Look(self._shelf.position(self.node), topics))
        else:
            self._look_later()

    def _look_later(self) -> None:
        self.stop()
        self._timer = self._clock.callLater(self._look_every_s, self._look)

    def _see(self, seen: Seen) -> None:
        if self._seen is not None:
            raise WireError("an answer that nobody has asked for")
        if any(sight.item.size > BODY_BYTES_MAX or sight.item.size < 0 for sight in seen.sights):
            raise WireError("an item that is larger than any")
        self._seen = seen
        self._sights.extend(seen.sights)
        self._next()

    def _next(self) -> None:
        """Fetch the next item; when there is none left, look again, at once if there may be more."""
        while self._sights:
            sight = self._sights[0]
            if sight.item.number not in self._shelf and sight.item.expires > self._now():
                self._begin(sight)
                return
            self._sights.popleft()
        if self._seen is None:
            return
        seen, self._seen = self._seen, None
        if seen.up_to > self._shelf.position(self.node):
            self._shelf.passed(self.node, seen.up_to)
        if seen.more:
            self._look()
        else:
            self._look_later()

    # An item's body

    def _begin(self, sight: Sight) -> None:
        if self._number != sight.item.number:
            self._number = sight.item.number
            self._body.clear()
        self._asked = len(self._body)
        if not sight.item.size:
            self._whole(sight)
        else:
            self._fetch(sight)

    def _fetch(self, sight: Sight) -> None:
        while self._asked < sight.item.size and self._asked - len(self._body) < PIECES_MAX * CHUNK_BYTES_MAX:
            size = min(CHUNK_BYTES_MAX, sight.item.size - self._asked)
            assert self._link is not None
            self._link.say(Fetch(sight.item.number, self._asked, size))
            self._asked += size

    def _take(self, piece: Piece) -> None:
        sight = self._sights[0] if self._sights and not self._storing else None
        if sight is None or piece.number != sight.item.number:
            return  # The rest of an item that was given up.
        if not piece.data:
            log.info("item {number} was gone before it was here whole", number=piece.number)
            self._done_with(sight)
            return
        if piece.offset != len(self._body) or len(self._body) + len(piece.data) > self._asked:
            raise WireError("a piece that was not asked for")
        self._body += piece.data
        if len(self._body) == sight.item.size:
            self._whole(sight)
        else:
            self._fetch(sight)

    def _whole(self, sight: Sight) -> None:
        body = bytes(self._body)
        if sha256(body).digest() != sight.item.digest:
            self._tally.drop(DOOR, "damaged-item")
            log.warn("item {number} is damaged and left out; look at the delivery node's disk", number=self._number)
            self._done_with(sight)
            return
        self._storing = True
        self.fetched += 1
        self._keep(self._shelf.take(self.node, sight.stamp, sight.item, body, self._now()), self._stored)
        self._forget()

    def _stored(self) -> None:
        self._storing = False
        if self._seen is not None:
            self._next()
        elif self.up:
            self._look()

    def _done_with(self, sight: Sight) -> None:
        self._forget()
        self._sights.popleft()
        self._next()

    def _forget(self) -> None:
        self._number = 0
        self._body.clear()
