"""The links of a node's children in the tree: each is sent what it is still to have."""

from functools import partial
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import WireError
from chatproto.news.link import NewsLink
from chatproto.news.messages import Announce, Chunk, Taken, Withdrawn
from chatproto.news.tree.holdings import Holding
from chatproto.news.tree.messages import REFUSALS, Again, Below, ChildHello, Later, check_reach, hello_refusal
from chatproto.news.tree.node import TreeNode
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX, Outlet, Send, window_for
from chatproto.news.tree.records import Child

log = Logger()


class Follower:
    """A child that is connected.

    Attributes:
        name: its name.
        link: to it.
        outlet: what it is still to be sent.
    """

    def __init__(self, node: TreeNode, hello: ChildHello, link: NewsLink, window_bytes: int) -> None:
        """Begin with what it is still to have, and what it has of that."""
        self.name = hello.name
        self.link = link
        self.outlet = Outlet(window_bytes)
        self._born = hello.born
        self._node = node
        self._has = dict(hello.has)
        # What it has said to be `Later`.
        self._later: set[int] = set()
        self._reading = False
        self._window_bytes = window_bytes
        self._way_s = 0.0

    def begin(self) -> None:
        """Offer it all that is there for it, and tell it what never comes."""
        for number in self._has:
            if self._node.holdings.find(number) is None:
                self.link.say(Withdrawn(number))
        self.offer_pending()

    def offer_pending(self) -> None:
        """Offer it what is there for it and was not offered."""
        for holding in self._node.holdings.pending(self.name):
            self._offer(holding)
        self.pump()

    def offer(self, holding: Holding) -> None:
        """Offer it an item, if that is for it."""
        if self._node.holdings.is_for(self.name, holding):
            self._offer(holding)
            self.pump()

    def _offer(self, holding: Holding) -> None:
        item = holding.item
        if item.number in self.outlet or item.number in self._later:
            return
        taken = min(max(0, self._has.pop(item.number, 0)), item.size)
        self.outlet.offer(item.number, item.priority, item.size, holding.arrived, taken)

    def received(self, message: Any) -> None:
        """Hear what it says.

        Raises:
            WireError: it does not belong there.
        """
        if isinstance(message, Taken):
            if self.outlet.taken(message.key, message.size):
                self._node.perform(self._node.holdings.child_has(self.name, message.key))
            self.pump()
        elif isinstance(message, Later):
            if message.key in self.outlet:
                self.outlet.withdrawn(message.key)
                self._later.add(message.key)
            self.pump()
        elif isinstance(message, Again):
            self._again(message.key)
        elif isinstance(message, Below):
            self.reported(Child(self._born, check_reach(message.reach)))
        else:
            raise WireError(f"no {type(message).__name__} comes from a child")

    def _again(self, number: int) -> None:
        holding = self._node.holdings.find(number)
        if number in self._later and holding is not None:
            self._later.discard(number)
            self.offer(holding)

    def withdrawn(self, number: int) -> None:
        """Send it nothing more of an item, and tell it, if it has heard of that."""
        later = number in self._later
        self._later.discard(number)
        if self.outlet.withdrawn(number) or later:
            self.link.say(Withdrawn(number))
        self.pump()

    def reported(self, child: Child) -> None:
        """Hear what is below it."""
        effects = self._node.holdings.child_reported(self.name, child)
        if effects:
            self._node.perform(effects)
            self._node.reach_changed()
            self.offer_pending()

    def pump(self) -> None:
        """Send what may be sent now."""
        self._measure()
        while self.link.open and not self._reading:
            send = self.outlet.next_send()
            if send is None:
                return
            data = self._node.at_hand(send.key, send.offset, send.size) if send.size else b""
            if data is not None:
                self._say(send, data)
                continue
            self._reading = True
            reading = self._node.read(send.key, send.offset, send.size)
            reading.addCallbacks(partial(self._say, send), self._gone)
            reading.addBoth(self._read)
            reading.addErrback(lambda failure: log.failure("sending to a child failed", failure))

    def _measure(self) -> None:
        # The shortest: what is measured while the link is full has what was sent before on its way, too.
        way_s = self.link.way_s
        if way_s and (not self._way_s or way_s < self._way_s):
            self._way_s = way_s
            self.outlet.window_bytes = window_for(way_s, self._window_bytes)

    def _gone(self, failure: Failure) -> None:
        # It went while it was read, and is withdrawn.
        failure.trap(KeyError)

    def _read(self, result: object) -> object:
        self._reading = False
        if not isinstance(result, Failure):
            self.link.turn.at_end(self.pump)
        return result

    def _say(self, send: Send, data: bytes) -> None:
        holding = self._node.holdings.find(send.key)
        if holding is None or send.key not in self.outlet:
            return
        if send.announces:
            # What waits before it on the way is added by whoever hears it.
            now = self._node.moment().clock_s
            delay_s = max(0.0, now - holding.began_s) + self._way_s
            self.link.say(Announce(send.key, holding.item, delay_s, send.offset, data, now))
        else:
            self.link.say(Chunk(send.key, send.offset, data))


class Children:
    """Hears the links of a node's children.

    Attributes:
        by_name: those that are connected.
    """

    def __init__(self, node: TreeNode, window_bytes: int = WINDOW_BYTES_MAX) -> None:
        """Pass on what a node has; at most so many bytes to each child that it has not acknowledged."""
        self.by_name: dict[str, Follower] = {}
        self._node = node
        self._window_bytes = window_bytes
        self._by_link: dict[NewsLink, Follower] = {}
        node.downstreams.append(self)

    # NewsHeard

    def link_admitted(self, link: NewsLink) -> None:
        """See `NewsHeard.link_admitted`."""

    def link_received(self, link: NewsLink, message: Any) -> None:
        """See `NewsHeard.link_received`."""
        follower = self._by_link.get(link)
        if follower is not None:
            follower.received(message)
        elif isinstance(message, ChildHello):
            self._hello(link, message)
        else:
            raise WireError("a child says hello first")

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """See `NewsHeard.link_lost`."""
        follower = self._by_link.pop(link, None)
        if follower is not None and self.by_name.get(follower.name) is follower:
            del self.by_name[follower.name]
            log.info("child {name} is gone: {reason}", name=follower.name, reason=reason)

    def _hello(self, link: NewsLink, hello: ChildHello) -> None:
        code = hello_refusal(hello)
        if code:
            link.refuse(code, REFUSALS[code])
            return
        link.check_name(hello.name)
        link.introduced()
        before = self.by_name.get(hello.name)
        if before is not None:
            del self._by_link[before.link]
            before.link.refuse("moved", REFUSALS["moved"])
        log.info("child {name} is here", name=hello.name)
        self._node.perform(self._node.holdings.child_came(hello.name, hello.born))
        follower = Follower(self._node, hello, link, self._window_bytes)
        self._by_link[link] = self.by_name[hello.name] = follower
        follower.begin()

    # Downstream

    def offer(self, holding: Holding) -> None:
        """See `Downstream.offer`."""
        for follower in list(self.by_name.values()):
            follower.offer(holding)

    def grew(self, number: int, available: int) -> None:
        """See `Downstream.grew`."""
        for follower in list(self.by_name.values()):
            follower.outlet.grow(number, available)
            follower.pump()

    def withdrawn(self, number: int) -> None:
        """See `Downstream.withdrawn`."""
        for follower in list(self.by_name.values()):
            follower.withdrawn(number)
