"""`NewsSource`: publishes items, for Twisted programs."""

import hashlib
import random
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from chatproto.errors import BacklogFull, ClientStopped, Rejected, WireError
from chatproto.link import Turn
from chatproto.news.items import Item
from chatproto.news.link import NewsDialler, NewsLink
from chatproto.news.messages import VERSION, Announce, Chunk, Refused, Taken
from chatproto.news.tree.messages import Accepted, SourceHello, SourceWelcome, decode_to_source
from chatproto.news.tree.messages import Rejected as RejectedItem
from chatproto.news.tree.outlet import HEADER_BYTES, Outlet

BACKLOG_BYTES_MAX = 64 * 1024 * 1024
"""Of items that wait to be accepted."""

HOPELESS = frozenset({"bad-name", "bad-password", "version"})
"""Refusals that trying again does not change."""

log = Logger()


class _Publication:
    """An item that is not accepted yet."""

    def __init__(self, item: Item, body: bytes) -> None:
        self.item = item
        self.body = body
        self.accepted: Deferred[int] = Deferred()


class NewsSource(Service):
    """Publishes items under a source's name, each once, however often the connection breaks.

    What is published while the root is away waits, and is sent when it is back, with the same id.

    Attributes:
        source: its name.
        topics: that an item may have, as the root has said last; empty before.
        priority: of its items, as the root has said last.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        source: str,
        password: str,
        *,
        now: Callable[[], float],
        dice: random.Random | None = None,
        backlog_bytes_max: int = BACKLOG_BYTES_MAX,
        failed: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Make a source that dials when it is started.

        Args:
            endpoint: of the root's public port; a `RegistryEndpoint` of the service `news` and the kind `news-root`
                finds it by the registry.
            clock: the reactor.
            source: its name.
            password: its.
            now: the time of day, in Unix seconds.
            dice: draws ids, and spreads the tries; the system's, unless given.
            backlog_bytes_max: so much may wait to be accepted.
            failed: told, with the reason, of every try to connect that has failed and every connection that was lost.
        """
        self.source = source
        self.topics: tuple[str, ...] = ()
        self.priority: int | None = None
        self._password = password
        self._now = now
        self._dice = dice if dice is not None else random.SystemRandom()
        self._backlog_bytes_max = backlog_bytes_max
        self._publications: dict[int, _Publication] = {}
        self._bytes = 0
        self._keys = 0
        self._outlet: Outlet | None = None
        turn = Turn(clock)
        self._dialler = NewsDialler(
            endpoint, self, decode_to_source, turn, clock, self._dice, what="the root of the news", failed=failed
        )

    @property
    def up(self) -> bool:
        """Whether the root has let it in, by the present connection."""
        return self._outlet is not None

    @property
    def waiting(self) -> int:
        """How many items are not accepted yet."""
        return len(self._publications)

    def startService(self) -> None:
        """Dial."""
        super().startService()
        self._dialler.start()

    def stopService(self) -> None:
        """End the connection; what is not accepted fails with `ClientStopped`, though the root may have it."""
        super().stopService()
        self._dialler.stop()
        self._outlet = None
        self._fail_all(lambda: ClientStopped("the source was stopped before the root had accepted the item"))

    def publish(
        self,
        topic: str,
        title: str,
        body: bytes,
        *,
        expires: float,
        media_type: str = "text/plain",
        exclusive: bool = False,
        id: str | None = None,
    ) -> "Deferred[int]":
        """Publish an item.

        Args:
            topic: one of the deployment's.
            title: a line that says what it is about; may be empty.
            body: at most `chatproto.news.items.BODY_BYTES_MAX` bytes.
            expires: Unix seconds; from then on it is delivered to nobody.
            media_type: of the body.
            exclusive: only for paid contracts that include exclusives.
            id: the same at every try to publish this item, also by another process; drawn, unless given.

        Returns:
            Fires with the item's number once it is on the root's disk. Fails with `Rejected` if it is not taken
            (`reason` is a code of `chatproto.news.items.REASONS`, or of a hello that is refused), with `BacklogFull`
            if too much waits already, with `ClientStopped` when this is stopped.
        """
        if self._bytes + len(body) + HEADER_BYTES > self._backlog_bytes_max:
            return fail(BacklogFull(f"more than {self._backlog_bytes_max} bytes wait to be accepted"))
        item = Item(
            source=self.source,
            id=id if id is not None else f"{self._dice.getrandbits(96):024x}",
            topic=topic,
            title=title,
            media_type=media_type,
            size=len(body),
            digest=hashlib.sha256(body).digest(),
            expires=expires,
            exclusive=exclusive,
        )
        self._keys += 1
        key, publication = self._keys, _Publication(item, body)
        self._publications[key] = publication
        self._bytes += len(body) + HEADER_BYTES
        if self._outlet is not None:
            self._outlet.offer(key, 0, item.size, item.size)
            self._pump()
        return publication.accepted

    # NewsHeard

    def link_admitted(self, link: NewsLink) -> None:
        """See `NewsHeard.link_admitted`."""
        link.say(SourceHello(VERSION, self.source, self._password))

    def link_received(self, link: NewsLink, message: Any) -> None:
        """See `NewsHeard.link_received`."""
        if isinstance(message, Refused):
            self._refused(link, message)
        elif isinstance(message, SourceWelcome) == self.up:
            raise WireError("a welcome comes first, and only then")
        elif isinstance(message, SourceWelcome):
            self.topics, self.priority = message.topics, message.priority
            self._outlet = Outlet()
            for key, publication in self._publications.items():
                self._outlet.offer(key, 0, publication.item.size, publication.item.size)
        else:
            self._answered(message)
        self._pump()

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """See `NewsHeard.link_lost`."""
        self._outlet = None

    def _refused(self, link: NewsLink, refused: Refused) -> None:
        log.warn("the root refuses {source}: {code}, {why}", source=self.source, code=refused.code, why=refused.why)
        link.abort()
        if refused.code in HOPELESS:
            self._fail_all(lambda: Rejected(refused.code))

    def _answered(self, message: Any) -> None:
        assert self._outlet is not None
        if isinstance(message, Taken):
            publication = self._publications.get(message.key)
            if publication is not None and message.size < publication.item.size:
                # All of it is taken once it is accepted, or not.
                self._outlet.taken(message.key, message.size)
            return
        publication = self._publications.pop(message.key, None)
        if publication is None:
            return
        self._outlet.taken(message.key, publication.item.size)
        self._bytes -= publication.item.size + HEADER_BYTES
        if isinstance(message, Accepted):
            publication.accepted.callback(message.number)
        elif isinstance(message, RejectedItem):
            publication.accepted.errback(Rejected(message.code))

    def _pump(self) -> None:
        link, outlet = self._dialler.link, self._outlet
        while link is not None and link.open and outlet is not None and (send := outlet.next_send()) is not None:
            publication = self._publications[send.key]
            data = publication.body[send.offset : send.offset + send.size]
            if send.announces:
                link.say(Announce(send.key, publication.item, 0.0, send.offset, data))
            else:
                link.say(Chunk(send.key, send.offset, data))

    def _fail_all(self, reason: Callable[[], Exception]) -> None:
        publications, self._publications, self._bytes = list(self._publications.values()), {}, 0
        for publication in publications:
            publication.accepted.errback(reason())
