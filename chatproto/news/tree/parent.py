"""A node's link to its parent in the tree, from which all items come."""

from typing import Any

from twisted.logger import Logger

from chatproto.errors import WireError
from chatproto.news.items import Item
from chatproto.news.link import NewsDialler, NewsLink
from chatproto.news.messages import VERSION, Announce, Chunk, Refused, Taken, Withdrawn
from chatproto.news.tree.intake import Intake
from chatproto.news.tree.messages import UNFINISHED_MAX, Below, ChildHello, Reach, check_announced
from chatproto.news.tree.node import TreeNode

DOOR = "news-parent"
"""Where what is passed over is counted."""

log = Logger()


class Parent:
    """Takes in what the parent of a node sends.

    Attributes:
        dialler: keeps the link; to be set before it is started.
    """

    dialler: NewsDialler

    def __init__(self, node: TreeNode) -> None:
        """Take it in for a node."""
        self._node = node
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
        self._intake.begin(number, number, item.size, holding.arrived if holding is not None else 0)
        if holding is None:
            self._node.perform(holdings.announced(item, announce.delay_s, moment))
        elif announce.offset < holding.kept < item.size:
            link.say(Taken(number, holding.kept))
        self._data(number, announce.offset, announce.data)

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

    def damaged(self, item: Item) -> None:
        """See `Upstream.damaged`."""
        self.kept(item.number, 0)
        self._intake.end(item.number)

    def gone(self, item: Item) -> None:
        """See `Upstream.gone`."""
        # Not wanted is as good as there.
        self.finished(item)

    def reach_changed(self) -> None:
        """See `Upstream.reach_changed`."""
        reach = self._node.routes.reach()
        if self.up and reach != self._reported:
            self._reported = reach
            self._say(Below(reach))

    def _say(self, message: Taken | Below) -> None:
        link = self.dialler.link
        if link is not None:
            link.say(message)
