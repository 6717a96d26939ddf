"""The links of sources, at the root: who they are, and what they publish."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.attempts import Attempts
from chatproto.chat.passwords import NOBODY, matches
from chatproto.errors import Rejected as NotServed
from chatproto.errors import WireError
from chatproto.messaging import ConcurrentServer
from chatproto.news.items import PRIORITIES, Item, refusal_of
from chatproto.news.link import NewsLink
from chatproto.news.messages import Announce, Chunk, Message, Taken
from chatproto.news.tree.holdings import Effect
from chatproto.news.tree.intake import Intake
from chatproto.news.tree.messages import REFUSALS, Accepted, Rejected, SourceHello, SourceWelcome, hello_refusal
from chatproto.news.tree.node import TreeNode
from chatproto.news.tree.postponed import HELD_BYTES_MAX
from chatproto.wire.addresses import origin_of

DOOR = "news-source"
RECORDS_MAX = 250_000
"""Items that have not expired, though their bodies may be gone: beyond it, none is accepted before some expire.

Each takes about 1 KB of memory in every node; 300 an hour for the thirty days that one may live are 216,000.
"""

CHECKS_AT_ONCE_MAX = 2
"""Passwords that are checked at the same time: each takes a tenth of a second of one core, and 32 MiB."""
CHECKS_WAITING_MAX = 64
CHECKS_PER_ORIGIN_MAX = 4
"""Of one address, under way or waiting."""

Aside = Callable[[Callable[[], Any]], "Deferred[Any]"]

log = Logger()


class SourceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator says of a source.

    Attributes:
        secret: of its password; see `chatproto.chat.passwords`.
        priority: of its items; one of `PRIORITIES`.
    """

    secret: str
    priority: int = 5

    def __post_init__(self) -> None:
        """Check the priority, and that the secret is one."""
        if self.priority not in PRIORITIES:
            raise ValueError(f"a priority is from {PRIORITIES.start} to {PRIORITIES.stop - 1}, not {self.priority}")
        if not self.secret.startswith("scrypt$"):
            raise ValueError("a secret reads scrypt$…; never the password itself")


class _Check(NamedTuple):
    """A password that a link has shown."""

    link: NewsLink
    matches: Callable[[], bool]


class _Publisher:
    """A source that is connected."""

    def __init__(self, name: str, priority: int) -> None:
        self.name = name
        self.priority = priority
        self.intake = Intake()


class Sources:
    """Hears the links of sources.

    Attributes:
        known: who may publish, by name; may be replaced at any time, for those who come from then on.
        topics: that items may have.
        held_bytes_max: so much is held at most.
        records_max: so many items that have not expired are known at most, with a body or without.
    """

    def __init__(
        self,
        node: TreeNode,
        known: Mapping[str, SourceSettings],
        topics: tuple[str, ...],
        aside: Aside,
        held_bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        """Let sources publish.

        Args:
            node: the root.
            known: who may publish, by name.
            topics: that items may have.
            aside: runs what takes its time.
            held_bytes_max: so much is held at most.
        """
        self.known = known
        self.topics = topics
        self.held_bytes_max = held_bytes_max
        self.records_max = RECORDS_MAX
        self._node = node
        self._aside = aside
        self._attempts = Attempts()
        self._by_link: dict[NewsLink, _Publisher] = {}
        # Those whose passwords are checked, and the addresses that they come from.
        self._asking: dict[NewsLink, str] = {}
        self._checks: ConcurrentServer[_Check, bool]
        self._checks = ConcurrentServer(self._check, at_once_max=CHECKS_AT_ONCE_MAX, waiting_max=CHECKS_WAITING_MAX)
        node.upstreams.append(self)

    @property
    def connected(self) -> list[str]:
        """The names of those that are connected."""
        return [publisher.name for publisher in self._by_link.values()]

    # NewsHeard

    def link_admitted(self, link: NewsLink) -> None:
        """See `NewsHeard.link_admitted`."""

    def link_received(self, link: NewsLink, message: Any) -> None:
        """See `NewsHeard.link_received`."""
        publisher = self._by_link.get(link)
        if publisher is None:
            if not isinstance(message, SourceHello) or link in self._asking:
                raise WireError("a source says hello first, and waits for the answer")
            self._hello(link, message)
        elif isinstance(message, Announce):
            self._announced(link, publisher, message)
        elif isinstance(message, Chunk):
            self._data(publisher, message.key, message.offset, message.data)
        else:
            raise WireError(f"no {type(message).__name__} comes from a source")

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """See `NewsHeard.link_lost`."""
        self._asking.pop(link, None)
        publisher = self._by_link.pop(link, None)
        if publisher is not None:
            log.info("source {name} is gone: {reason}", name=publisher.name, reason=reason)

    # Who it is

    def _hello(self, link: NewsLink, hello: SourceHello) -> None:
        code = hello_refusal(hello)
        if code:
            link.refuse(code, REFUSALS[code])
            return
        host = getattr(link.transport.getPeer(), "host", None)
        origin = origin_of(host) if host is not None else ""
        if self._attempts.wait_s(origin, hello.name, self._node.moment().clock_s):
            link.refuse("too-many-tries", REFUSALS["too-many-tries"])
            return
        if list(self._asking.values()).count(origin) >= CHECKS_PER_ORIGIN_MAX:
            link.refuse("busy", REFUSALS["busy"])
            return
        settings = self.known.get(hello.name)
        self._asking[link] = origin
        # A name that nobody has takes as long to find out.
        secret = settings.secret if settings is not None else NOBODY
        checking = self._checks.serve(_Check(link, partial(matches, hello.password, secret)))
        checking.addCallbacks(self._checked, self._not_checked, (link, hello.name, origin), {}, (link,))
        checking.addErrback(lambda failure: log.failure("letting a source in failed", failure))
        if link in self._asking:
            # There are few of those: they do not have to make room for a crowd of strangers until it is their turn.
            link.introduced()

    def _check(self, check: _Check) -> "Deferred[bool]":
        # For whoever has gone meanwhile nobody has to wait.
        return self._aside(check.matches) if check.link in self._asking else succeed(False)

    def _not_checked(self, failure: Failure, link: NewsLink) -> None:
        failure.trap(NotServed)
        if self._asking.pop(link, None) is not None:
            link.refuse("busy", REFUSALS["busy"])

    def _checked(self, good: bool, link: NewsLink, name: str, origin: str) -> None:
        if link not in self._asking:
            return
        del self._asking[link]
        settings = self.known.get(name)
        if not good or settings is None:
            self._attempts.failed(origin, name, self._node.moment().clock_s)
            link.refuse("bad-password", REFUSALS["bad-password"])
            return
        self._attempts.passed(origin, name)
        for other in [other for other, publisher in self._by_link.items() if publisher.name == name]:
            del self._by_link[other]
            other.refuse("moved", REFUSALS["moved"])
        link.introduced()
        self._by_link[link] = _Publisher(name, settings.priority)
        log.info("source {name} is here", name=name)
        link.say(SourceWelcome(self.topics, settings.priority))

    # What it publishes

    def _announced(self, link: NewsLink, publisher: _Publisher, announce: Announce) -> None:
        item, holdings, moment = announce.item, self._node.holdings, self._node.moment()
        number = holdings.number_of(publisher.name, item.id)
        effects: list[Effect] = []
        if number is None:
            code = self._refusal(item, publisher)
            if code:
                self._reject(link, announce.key, code)
                return
            number, effects = holdings.accept(item, publisher.priority, moment)
        holding = holdings.find(number)
        assert holding is not None
        if (holding.item.digest, holding.item.size) != (item.digest, item.size):
            self._reject(link, announce.key, "id-reused")
            return
        if holding.stamped:
            link.say(Accepted(announce.key, number))
            return
        publisher.intake.begin(announce.key, number, item.size, holding.arrived)
        self._node.perform(effects)
        if announce.offset < holding.kept < item.size:
            link.say(Taken(announce.key, holding.kept))
        self._data(publisher, announce.key, announce.offset, announce.data)

    def _refusal(self, item: Item, publisher: _Publisher) -> str:
        code = refusal_of(item, publisher.name, frozenset(self.topics), self._node.moment().unix_s)
        if not code and len(item.digest) != hashlib.sha256().digest_size:
            return "bad-digest"
        holdings = self._node.holdings
        if not code and (holdings.bytes + item.size > self.held_bytes_max or len(holdings) >= self.records_max):
            return "no-room"
        return code

    def _reject(self, link: NewsLink, key: int, code: str) -> None:
        self._node.tally.drop(DOOR, code)
        link.say(Rejected(key, code))

    def _data(self, publisher: _Publisher, key: int, offset: int, data: bytes) -> None:
        for piece in publisher.intake.data(key, offset, data):
            self._node.piece(*piece)

    # Upstream

    def kept(self, number: int, size: int) -> None:
        """See `Upstream.kept`."""
        self._say(number, lambda key: Taken(key, size), end=False)

    def finished(self, item: Item) -> None:
        """See `Upstream.finished`."""
        self._say(item.number, lambda key: Accepted(key, item.number), end=True)

    def damaged(self, item: Item) -> None:
        """See `Upstream.damaged`."""
        self._node.tally.drop(DOOR, "bad-digest")
        self._say(item.number, lambda key: Rejected(key, "bad-digest"), end=True)

    def gone(self, item: Item) -> None:
        """See `Upstream.gone`."""
        self._say(item.number, lambda key: Rejected(key, "bad-expiry"), end=True)

    def reach_changed(self) -> None:
        """See `Upstream.reach_changed`: the root has nobody to report to."""

    def _say(self, number: int, answer: Callable[[int], Message], *, end: bool) -> None:
        for link, publisher in list(self._by_link.items()):
            for key in publisher.intake.keys_of(number):
                link.say(answer(key))
            if end:
                publisher.intake.end(number)
