"""A node's link to its parent in the tree, from which all items come."""

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatproto.errors import WireError
from chatproto.news.items import Item
from chatproto.news.link import NewsDialler, NewsLink
from chatproto.news.messages import VERSION, Announce, Chunk, Refused, Taken, Withdrawn
from chatproto.news.tree.intake import Intake
from chatproto.news.tree.messages import (
    UNFINISHED_MAX,
    Again,
    Below,
    ChildHello,
    Later,
    Reach,
    check_announced,
)
from chatproto.news.tree.node import TreeNode
from chatproto.news.tree.postponed import HELD_BYTES_MAX, Postponed

DOOR = "news-parent"
"""Where what is passed over is counted."""

log = Logger()


class Parent:
    """Takes in what the parent of a node sends.

    Attributes:
        dialler: keeps the link; to be set before it is started.
        postponed: what it is to send later.
    """

    dialler: NewsDialler

    def __init__(self, node: TreeNode, clock: IReactorTime, held_bytes_max: int = HELD_BYTES_MAX) -> None:
        """Take it in for a node, which begins no further item while it holds so much."""
        self.postponed = Postponed(held_bytes_max)
        self._node = node
        self._clock = clock
        self._full = False
        self._intake = Intake()
        self._reported: Reach = ()
        self._refused = ""
        node.upstreams.append(self)

    @property
    def up(self) -> bool:
        """Whether there is a link that may be spoken on."""
        return self.dialler.link is not None

    # NewsHeard

    def link_admitted(self, link: NewsLink) -> None:
        """Say hello, and what is here already."""
        node = self._node
        self._intake = Intake()
        self.postponed.clear()
        self._reported = node.routes.reach()
        link.say(ChildHello(VERSION, node.name, node.born, tuple(node.holdings.unfinished()[:UNFINISHED_MAX])))
        link.say(Below(self._reported))

    def link_received(self, link: NewsLink, message: Any) -> None:
        """See `NewsHeard.link_received`."""
        if isinstance(message, Announce):
            self._announced(link, message)
        elif isinstance(message, Chunk):
            self._data(message.key, message.offset, message.data)
        elif isinstance(message, Withdrawn):
            self._intake.end(message.key)
            self.postponed.forget(message.key)
            self._node.perform(self._node.holdings.withdrawn(message.key))
        elif isinstance(message, Refused):
            if message.code != self._refused:
                self._refused = message.code
                log.warn("the parent refuses this node: {code}, {why}", code=message.code, why=message.why)
            link.abort()
        else:
            raise WireError(f"no {type(message).__name__} comes from a parent")

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """See `NewsHeard.link_lost`."""

    def _announced(self, link: NewsLink, announce: Announce) -> None:
        item = check_announced(announce)
        holdings, number, moment = self._node.holdings, item.number, self._node.moment()
        holding = holdings.find(number)
        if holding is None and item.expires <= moment.unix_s:
            self._node.tally.drop(DOOR, "expired")
            link.say(Taken(number, item.size))
            return
        if holding is not None and (holding.item.source, holding.item.digest) != (item.source, item.digest):
            raise WireError(f"item {number} is another one here: has the root begun anew? Look at its data directory")
        if holding is not None and holding.stamped:
            link.say(Taken(number, item.size))
            return
        if holding is None and not self.postponed.has_room(holdings.bytes, item.size):
            self._no_room(link, item)
            return
        self._intake.begin(number, number, item.size, holding.arrived if holding is not None else 0)
        if holding is None:
            waited_s = link.lateness.heard(announce.at, moment.clock_s) if announce.at else 0.0
            self._node.perform(holdings.announced(item, announce.delay_s + waited_s, moment))
        elif announce.offset < holding.kept < item.size:
            link.say(Taken(number, holding.kept))
        self._data(number, announce.offset, announce.data)

    def _no_room(self, link: NewsLink, item: Item) -> None:
        self._node.tally.drop(DOOR, "no-room")
        if not self._full:
            self._full = True
            log.warn(
                "this node holds {held} bytes of news, and begins no other item before some of that goes: see what its "
                "children have not got (`chatproto news children`), or give it more room",
                held=self._node.holdings.bytes,
            )
        self.postponed.no_room(item.number, item.size)
        link.say(Later(item.number))

    def _again(self, link: NewsLink, number: int) -> None:
        if link is self.dialler.link:
            link.say(Again(number))

    def _data(self, key: int, offset: int, data: bytes) -> None:
        for piece in self._intake.data(key, offset, data):
            self._node.piece(*piece)

    # Upstream

    def kept(self, number: int, size: int) -> None:
        """See `Upstream.kept`."""
        for key in self._intake.keys_of(number):
            self._say(Taken(key, size))

    def finished(self, item: Item) -> None:
        """See `Upstream.finished`."""
        self.kept(item.number, item.size)
        self._intake.end(item.number)
        self.postponed.forget(item.number)

    def damaged(self, item: Item) -> None:
        """See `Upstream.damaged`: it comes again, after a while."""
        number, link = item.number, self.dialler.link
        self._node.tally.drop(DOOR, "damaged")
        if link is not None and self._intake.keys_of(number):
            link.say(Later(number))
            self._clock.callLater(self.postponed.damaged(number), self._again, link, number)
        self._intake.end(number)

    def gone(self, item: Item) -> None:
        """See `Upstream.gone`."""
        # Not wanted is as good as there.
        self.kept(item.number, item.size)
        self._intake.end(item.number)
        link = self.dialler.link
        again = self.postponed.room(self._node.holdings.bytes) if link is not None else []
        if again:
            self._full = False
        for number in again:
            self._say(Again(number))

    def reach_changed(self) -> None:
        """See `Upstream.reach_changed`."""
        reach = self._node.routes.reach()
        if self.up and reach != self._reported:
            self._reported = reach
            self._say(Below(reach))

    def _say(self, message: Taken | Below | Again) -> None:
        link = self.dialler.link
        if link is not None:
            link.say(message)
