"""A node of the tree: what it holds, on its disk, and the links by which that comes and goes."""

import hashlib
import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.keyvalue.interface import IKeyValueStore
from chatproto.news.interface import Held, IItems
from chatproto.news.items import Item
from chatproto.news.tree import records
from chatproto.news.tree.holdings import (
    Damaged,
    Effect,
    Finished,
    Gone,
    Grew,
    Holding,
    Holdings,
    Kept,
    Moment,
    Offer,
    Save,
    Step,
    Verify,
)
from chatproto.news.tree.pieces import Pieces
from chatproto.news.tree.routes import Routes
from chatproto.tally import Tally

LOOK_S_MAX = 60.0
"""What has expired is looked for at least so often: the time of day may have been set."""

log = Logger()


class Upstream(Protocol):
    """Brings items, and is told what becomes of them, those of others included."""

    def kept(self, number: int, size: int) -> None:
        """Hear that so much of an item is on the disk, and not all of it."""

    def finished(self, item: Item) -> None:
        """Hear that an item is on the disk, whole."""

    def damaged(self, item: Item) -> None:
        """Hear that what came of an item is not what was announced."""

    def gone(self, item: Item) -> None:
        """Hear that an item is not wanted any more."""

    def reach_changed(self) -> None:
        """Hear that other delivery nodes, or topics, are below this node."""


class Downstream(Protocol):
    """Passes items on."""

    def offer(self, holding: Holding) -> None:
        """Hear of an item to pass on, as far as it is here."""

    def grew(self, number: int, available: int) -> None:
        """Hear that more of it is here."""

    def withdrawn(self, number: int) -> None:
        """Hear that it is here no longer."""


@implementer(IItems)
class TreeNode:
    """A node of the tree.

    Attributes:
        name: its name.
        born: a word for its disk, which another disk has not; empty until it is open.
        holdings: what it holds.
        routes: which way exclusive items go.
        tally: counts what is dropped.
        upstreams: whoever brings items.
        downstreams: whoever passes them on.
    """

    def __init__(
        self,
        name: str,
        clock: IReactorTime,
        now: Callable[[], float],
        dice: random.Random,
        tally: Tally,
        *,
        keeps: bool,
    ) -> None:
        """Make a node that holds nothing before it is open.

        Args:
            name: its name.
            clock: the reactor, as far as time goes.
            now: the time of day, in Unix seconds.
            dice: draws the word for its disk.
            tally: counts what is dropped.
            keeps: whether it holds items until they expire, even when all its children have them.
        """
        self.name = name
        self.born = ""
        self.tally = tally
        self.routes = Routes()
        self.holdings = Holdings(self.routes, keeps=keeps)
        self.upstreams: list[Upstream] = []
        self.downstreams: list[Downstream] = []
        self._clock = clock
        self._now = now
        self._dice = dice
        self._store: IKeyValueStore | None = None
        self._pieces: Pieces | None = None
        self._effects: deque[Effect] = deque()
        self._performing = False
        self._timer: IDelayedCall | None = None
        self._wakeup = 0.0
        self._watchers: list[tuple[Callable[[Held], None], Callable[[Held], None]]] = []

    # Its life

    def open(self, store: IKeyValueStore) -> None:
        """Take up what the disk has; from here on items may come and go."""
        self._store, self._pieces = store, Pieces(store)
        rows = [row for prefix in records.SMALL for row in store.scan(prefix)]
        moment = self.moment()
        effects = self.holdings.recover(rows, store.keys(records.BODY), moment)
        born = dict(rows).get(records.BORN)
        if born is None:
            born = records.encoded(f"{self._dice.getrandbits(64):016x}")
            effects.insert(0, Save([(records.BORN, born)]))
        self.born = records.decode_name(born)
        self.perform([*effects, *self.holdings.expire(moment)])

    def close(self) -> "Deferred[None] | None":
        """Finish what is to be written, and let the disk go."""
        self._cancel_timer()
        store, self._store = self._store, None
        return store.close() if store is not None else None

    def moment(self) -> Moment:
        """Return the time by both clocks."""
        return Moment(self._clock.seconds(), self._now())

    def perform(self, effects: Iterable[Effect]) -> None:
        """Do what is to be done, after all that is being done already."""
        self._effects.extend(effects)
        if self._performing:
            return
        self._performing = True
        try:
            while self._effects and self._store is not None:
                self._perform(self._store, self._effects.popleft())
        finally:
            self._performing = False
        self._wake_in_time()

    def _perform(self, store: IKeyValueStore, effect: Effect) -> None:
        if isinstance(effect, Save):
            step = effect.step
            store.write(effect.changes, partial(self._saved, step) if step is not None else _nothing)
        elif isinstance(effect, Verify):
            Deferred.fromCoroutine(self._verify(effect.holding)).addErrback(self._not_verified, effect.holding.item)
        elif isinstance(effect, Finished):
            item = effect.held.item
            log.info("item {number} of {source} is whole", number=item.number, source=item.source)
            self._tell_upstreams(lambda upstream: upstream.finished(item))
            for arrived, _ in self._watchers:
                arrived(effect.held)
        elif isinstance(effect, Kept):
            self._tell_upstreams(lambda upstream: upstream.kept(effect.number, effect.size))
        elif isinstance(effect, Damaged):
            item = effect.item
            log.warn(
                "item {number} of {source} came damaged: it comes again, if whoever sends it has it whole",
                number=item.number,
                source=item.source,
            )
            self._tell_upstreams(lambda upstream: upstream.damaged(item))
        elif isinstance(effect, Gone):
            self._let_go(effect)
        else:
            self._pass_on(effect)

    def _pass_on(self, effect: Offer | Grew) -> None:
        for downstream in self.downstreams:
            if isinstance(effect, Grew):
                downstream.grew(effect.number, effect.available)
            else:
                downstream.offer(effect.holding)

    def _let_go(self, gone: Gone) -> None:
        assert self._pieces is not None
        item = gone.item
        self._pieces.forget(item.number, item.size)
        for downstream in self.downstreams:
            downstream.withdrawn(item.number)
        self._tell_upstreams(lambda upstream: upstream.gone(item))
        if gone.held is not None:
            for _, went in self._watchers:
                went(gone.held)

    def _tell_upstreams(self, tell: Callable[[Upstream], None]) -> None:
        for upstream in self.upstreams:
            tell(upstream)

    def _saved(self, step: Step) -> None:
        self.perform(self.holdings.saved(step))

    async def _verify(self, holding: Holding) -> None:
        found = hashlib.sha256()
        for offset in range(0, holding.item.size, records.PIECE_BYTES):
            found.update(await self.read(holding.item.number, offset, records.PIECE_BYTES))
        self.perform(self.holdings.verified(holding, found.digest(), self.moment()))

    def _not_verified(self, failure: Failure, item: Item) -> None:
        # It went while it was read; or the disk does not answer, and then somebody else says so.
        failure.trap(KeyError)

    def _wake_in_time(self) -> None:
        wakeup = self.holdings.next_wakeup() if self._store is not None else None
        if self._timer is not None and wakeup == self._wakeup:
            return
        self._cancel_timer()
        if wakeup is not None:
            self._wakeup = wakeup
            self._timer = self._clock.callLater(min(max(0.0, wakeup - self._now()), LOOK_S_MAX), self._expire)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _expire(self) -> None:
        self._timer = None
        self.perform(self.holdings.expire(self.moment()))

    # Bodies

    def piece(self, number: int, place: int, data: bytes) -> None:
        """Take a piece of an item."""
        effects = self.holdings.piece(number, place, data)
        if effects and self._pieces is not None:
            self._pieces.put(number, place, data)
        self.perform(effects)

    def at_hand(self, number: int, offset: int, count: int) -> bytes | None:
        """Return bytes of one piece of a body, if they can be had at once."""
        return self._pieces.at_hand(number, offset, count) if self._pieces is not None else None

    # Who is below

    def serve_exclusives(self, topics: frozenset[str]) -> None:
        """Hear that this is a delivery node, on which paid contracts include exclusives on these topics."""
        if self.routes.here(self.name, topics):
            self.reach_changed()

    def reach_changed(self) -> None:
        """Have it reported upwards."""
        self._tell_upstreams(lambda upstream: upstream.reach_changed())

    def forget_child(self, name: str) -> bool:
        """Forget a child for good, and hold nothing for it; return whether it was known."""
        known = name in self.holdings.children
        self.perform(self.holdings.child_forgotten(name))
        self.reach_changed()
        return known

    # IItems

    def held(self) -> list[Held]:
        """See `IItems.held`."""
        return self.holdings.held()

    def read(self, number: int, offset: int, count: int) -> "Deferred[bytes]":
        """See `IItems.read`."""
        holding = self.holdings.find(number)
        if self._pieces is None or holding is None:
            return fail(KeyError(number))
        return self._pieces.read(number, offset, max(0, min(count, holding.item.size - offset)))

    def watch(self, arrived: Callable[[Held], None], gone: Callable[[Held], None]) -> None:
        """See `IItems.watch`."""
        self._watchers.append((arrived, gone))


def _nothing() -> None:
    """Nobody waits for it."""
