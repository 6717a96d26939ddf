"""`chatproto news read`: delivers to standard output what a reader's contract is about."""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

from chatproto.cli.news.contracting import CONTRACTS, place_in_words
from chatproto.cli.news.reaching import Reach, on_reactor
from chatproto.cli.servers import Misuse, endpoint
from chatproto.cli.text import harmless, harmless_lines, iso_time
from chatproto.errors import ChatprotoError, ContractError
from chatproto.news.contracting.client import ContractClient
from chatproto.news.datagrams.messages import PULL_ITEMS_MAX
from chatproto.news.datagrams.reader import DatagramReader, finding
from chatproto.news.items import Item
from chatproto.news.reader import NewsReader, registered
from chatproto.news.terms import PULL, Place
from chatproto.registry import RegistryClient

PULL_ITEMS = 100
"""Asked for at once."""
UNKNOWN_S_MAX = 10.0
"""For so long a node may not know the reader: it hears of a contract a little later than the reader does."""
UNKNOWN = "unknown-reader"
PAUSE_S = 1.0
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class ReadingFailed(ChatprotoError):
    """There is nothing to read, or no more."""


@dataclass(frozen=True)
class Reading:
    """What is to be read, and how it is written.

    Attributes:
        reach: the registry, which knows the delivery nodes; and, if it is not to be found there, the contracting
            service.
        reader: the name.
        password: which proves it.
        count: so many items, and no more; 0 for no bound.
        for_s: so many seconds, and no longer; 0 for no bound. Of a pull contract, 0 ends with what is there.
        directory: bodies are kept there; None for none.
        as_json: an item is a line of JSON.
    """

    reach: Reach
    reader: str
    password: str = field(repr=False)
    count: int = 0
    for_s: float = 0.0
    directory: str | None = None
    as_json: bool = False


def read(reading: Reading, say: Callable[[str], None], tell: Callable[[str], None]) -> None:
    """Read until there is an end; `say` is called with each line of an item, `tell` with what happens besides.

    Raises:
        Misuse: there can be no such server, or bodies cannot be kept there.
        ReadingFailed: the reader has no contract to read by, or was refused.
    """
    if reading.directory is not None:
        try:
            os.makedirs(reading.directory, exist_ok=True)
        except OSError as error:
            raise Misuse(f"cannot use {reading.directory}: {error.strerror}") from None
    on_reactor(lambda reactor: _reading(reactor, reading, say, tell))


async def _reading(reactor: Any, reading: Reading, say: Callable[[str], None], tell: Callable[[str], None]) -> None:
    reach = reading.reach
    registry = RegistryClient(reach.registry_endpoint(reactor), reactor, who=f"the reader {reading.reader}")
    contracts = ContractClient(reach.endpoint(reactor, CONTRACTS), reactor, reading.reader, reading.password)
    registry.startService()
    contracts.startService()
    try:
        asking: Deferred[Place] = contracts.where()
        place = await asking.addTimeout(reach.timeout_s, reactor)
        if place.terms.mobile:
            raise ReadingFailed(f"{reading.reader} reads the mobile page: its news are kept by the proxy")
        show = Showing(reading, say, reactor)
        tell(place_in_words(place)[1])
        if place.terms.paid:
            await _paid(reactor, reading, place, registry, contracts, show)
        else:
            await _free(reactor, reading, place, registry, show)
    except TookTooLong:
        raise ReadingFailed(f"{reach.place} does not answer in {reach.timeout_s:g} s") from None
    except ContractError as error:
        raise ReadingFailed(str(error)) from None
    finally:
        contracts.stopService()
        await registry.stopService()


class Showing:
    """Writes items, and knows when it is enough.

    Attributes:
        enough: fires when as many were shown as are wanted, or fails when no more will come.
        reader: has them delivered; None before there is one.
    """

    def __init__(self, reading: Reading, say: Callable[[str], None], clock: IReactorTime) -> None:
        """Write as is wanted."""
        self.enough: Deferred[None] = Deferred()
        self.reader: NewsReader | DatagramReader | None = None
        self._clock = clock
        self._looking: IDelayedCall | None = None
        self._reading = reading
        self._say = say
        self._shown = 0

    @property
    def left(self) -> int:
        """How many may still be asked for at once."""
        count = self._reading.count
        return min(PULL_ITEMS, count - self._shown) if count else PULL_ITEMS

    def show(self, item: Item, body: bytes) -> None:
        """Write an item; what is raised has it delivered again."""
        if self.enough.called:
            raise ReadingFailed("that was enough")
        path = self._keep(item, body)
        for line in [as_json(item, body, path)] if self._reading.as_json else in_words(item, body, path):
            self._say(line)
        self._shown += 1
        if self._reading.count and self._shown >= self._reading.count:
            self.enough.callback(None)

    def refused(self, code: str) -> None:
        """Hear that a node does not let the reader in."""
        if code in ("moved", "version", "free"):
            self._refused_for_good(code)
        elif code == UNKNOWN and self._looking is None:
            self._looking = self._clock.callLater(UNKNOWN_S_MAX, self._look)

    def _look(self) -> None:
        self._looking = None
        if self.reader is not None and self.reader.last_refusal == UNKNOWN:
            self._refused_for_good(UNKNOWN)

    def _refused_for_good(self, code: str) -> None:
        if not self.enough.called:
            self.enough.errback(ReadingFailed(f"refused by the delivery node: {code}"))

    def _keep(self, item: Item, body: bytes) -> str:
        if self._reading.directory is None:
            return ""
        name = _UNSAFE.sub("_", f"{item.number}-{item.source}-{item.id}")
        path = os.path.join(self._reading.directory, name)
        with open(f"{path}.part", "wb") as file:
            file.write(body)
        os.replace(f"{path}.part", path)
        return path


def in_words(item: Item, body: bytes, path: str = "") -> list[str]:
    """Return an item as lines that do nothing on a terminal."""
    exclusive = ", exclusive" if item.exclusive else ""
    lines = [
        f"{item.number}  {iso_time(item.injected)}  {harmless(item.topic)}, {harmless(item.source)}{exclusive}",
        f"   {harmless(item.title)}",
    ]
    if path:
        lines.append(f"   {path}")
    elif item.media_type.startswith("text/"):
        lines += [f"   {line}" for line in harmless_lines(body.decode("utf-8", "replace").rstrip("\n"))]
    else:
        lines.append(f"   {harmless(item.media_type)}, {item.size} bytes; --save DIR keeps it")
    return lines


def as_json(item: Item, body: bytes, path: str = "") -> str:
    """Return an item as one JSON object; its text is in it, and where anything else was kept."""
    names = ("number", "source", "id", "topic", "title", "media_type", "size", "expires", "exclusive", "injected")
    found: dict[str, Any] = {name: getattr(item, name) for name in names}
    if path:
        found["file"] = path
    elif item.media_type.startswith("text/"):
        found["text"] = body.decode("utf-8", "replace")
    return json.dumps(found)


async def _paid(
    reactor: Any, reading: Reading, place: Place, registry: RegistryClient, contracts: ContractClient, show: Showing
) -> None:
    reach = reading.reach

    def client(described: str) -> Any:
        return endpoint(reactor, described, ca=reach.ca) if described.startswith("tls:") else _plain(described)

    def _plain(described: str) -> Any:
        return clientFromString(reactor, described)

    reader = NewsReader(
        place,
        registered(registry, client, reach.service),
        show.show,
        reactor,
        time.time,
        substitute=contracts.substitute,
        refused=show.refused,
    )
    show.reader = reader
    reader.startService()
    try:
        await _until_the_end(reactor, reading, place, show, reader.pull)
    finally:
        reader.stopService()


async def _free(reactor: Any, reading: Reading, place: Place, registry: RegistryClient, show: Showing) -> None:
    reader = DatagramReader(
        place,
        finding(registry, reading.reach.service, reactor),
        show.show,
        reactor,
        time.time,
        lambda port, protocol, host: reactor.listenUDP(port, protocol, interface=host),
        refused=show.refused,
    )
    show.reader = reader

    async def pull(count: int) -> bool:
        ended = await reader.pull(min(count, PULL_ITEMS_MAX))
        while ended.failure == UNKNOWN and not show.enough.called:
            await deferLater(reactor, PAUSE_S)
            ended = await reader.pull(min(count, PULL_ITEMS_MAX))
        if ended.failure:
            raise ReadingFailed(f"the delivery node does not deliver: {ended.failure}")
        return bool(ended.more)

    reader.startService()
    try:
        await _until_the_end(reactor, reading, place, show, pull)
    finally:
        await reader.stopService()


async def _until_the_end(
    reactor: Any, reading: Reading, place: Place, show: Showing, pull: Callable[[int], Any]
) -> None:
    if place.terms.mode == PULL:
        doing: Deferred[Any] = Deferred.fromCoroutine(_pulling(reactor, reading, show, pull))
        doing.addCallbacks(lambda _: _ended(show), lambda failure: _ended(show, failure))
    elif reading.for_s:
        reactor.callLater(reading.for_s, _ended, show)
    try:
        await show.enough
        # What was shown last is acknowledged only when this has returned.
        await deferLater(reactor, 0)
    except CancelledError:
        # Ctrl-C, where nothing else ends it.
        return


async def _pulling(reactor: Any, reading: Reading, show: Showing, pull: Callable[[int], Any]) -> None:
    began = reactor.seconds()
    while not show.enough.called:
        more = await pull(show.left)
        if not more and reactor.seconds() - began >= reading.for_s:
            return
        if not more:
            await deferLater(reactor, PAUSE_S)


def _ended(show: Showing, failure: Any = None) -> None:
    if show.enough.called:
        return
    if failure is None:
        show.enough.callback(None)
    else:
        show.enough.errback(failure)
