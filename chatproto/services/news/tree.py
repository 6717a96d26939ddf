"""What root, router and delivery node have in common: a disk, children, and perhaps a parent."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred

from chatproto.errors import StoreError
from chatproto.gate import Limits
from chatproto.keyvalue import IKeyValueStore
from chatproto.link import Turn
from chatproto.news.link import NewsDialler
from chatproto.news.tree.children import Children
from chatproto.news.tree.messages import ChildHello, decode_from_child, decode_from_parent
from chatproto.news.tree.node import TreeNode
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from chatproto.news.tree.parent import Parent
from chatproto.news.tree.postponed import HELD_BYTES_MAX
from chatproto.services.control import Command, Say
from chatproto.services.measures import GAUGE, Measure
from chatproto.services.mounting import mount
from chatproto.services.news.node import NewsNode
from chatproto.services.news.settings import NewsSettings
from chatproto.trust.proof import PEER
from chatproto.world import World

CHILD_DOOR = "news-child"
CHILDREN = Limits(connections_max=256, strangers_max=32)


def build_parent(
    world: World, node: TreeNode, endpoint: str, turn: Turn, held_bytes_max: int = HELD_BYTES_MAX
) -> Parent:
    """Build what takes in the items of a node's parent; it dials when its dialler is started.

    Args:
        world: the outside.
        node: the child.
        endpoint: client endpoint string of the parent's guarded port.
        turn: batches what is sent.
        held_bytes_max: beyond so much, the node begins no other item before some of that goes.
    """
    parent = Parent(node, world.clock, held_bytes_max)
    parent.dialler = NewsDialler(
        world.guarded_client(endpoint, PEER),
        parent,
        decode_from_parent,
        turn,
        world.clock,
        world.dice,
        what=f"the parent at {endpoint}",
        trust=world.trust,
        tally=world.tally,
    )
    return parent


class TreeService(Service):
    """Opens a node's disk when it starts, and dials its parent; finishes both when it stops.

    Attributes:
        node: the node.
        upstream: whoever it takes items from; None for the root.
        open: whether its disk is.
    """

    def __init__(
        self,
        world: World,
        data: str,
        node: TreeNode,
        upstream: Parent | None,
        opened: Callable[[IKeyValueStore], None] = lambda table: None,
    ) -> None:
        """Run a node.

        Args:
            world: the outside. `world.fatal` is called when the disk cannot be opened or written.
            data: the data directory.
            node: which is not open yet.
            upstream: whoever it takes items from; None for the root.
            opened: called with the table once it is open, before items come: others keep things in it, too, under
                keys of their own.
        """
        self.node = node
        self.upstream = upstream
        self.open = False
        self._world = world
        self._data = data
        self._opened = opened

    def startService(self) -> None:
        """Take up what the disk has, and dial."""
        super().startService()
        try:
            table = self._world.keyvalue(self._data, self._world.fatal)
        except StoreError as error:
            self._world.fatal(str(error))
            return
        self.node.open(table)
        self._opened(table)
        self.open = True
        if self.upstream is not None:
            self.upstream.dialler.start()

    def stopService(self) -> "Deferred[Any] | None":
        """End the link to the parent; finish the disk."""
        super().stopService()
        self.open = False
        if self.upstream is not None:
            self.upstream.dialler.stop()
        return self.node.close()


class ChildStatus(msgspec.Struct, frozen=True):
    """What the command `children` answers of each child, as a line of JSON.

    Attributes:
        name: of the child.
        connected: whether it is here now.
        items: that it is still to have.
        bytes: of their bodies.
    """

    name: str
    connected: bool
    items: int
    bytes: int


class TreeNews(NewsNode):
    """The service tree of a node that has children in the distribution tree.

    Attributes:
        node: what it holds.
        upstream: whoever it takes items from; None for the root.
        followers: the links of its children.
    """

    def __init__(
        self,
        world: World,
        settings: NewsSettings,
        parent: str = "",
        window_bytes: int = WINDOW_BYTES_MAX,
        held_bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        """Begin a tree, whose disk is mounted first.

        Args:
            world: the outside.
            settings: what can be set of any node.
            parent: client endpoint string of the guarded port of its parent; empty for the root.
            window_bytes: so much is on its way to each child that is not acknowledged.
            held_bytes_max: beyond so much, no other item is begun before some of that goes.
        """
        super().__init__(world, settings)
        self.node = TreeNode(settings.name, world.clock, world.now, world.dice, world.tally, keeps=False)
        self.upstream = build_parent(world, self.node, parent, self.turn, held_bytes_max) if parent else None
        self.followers = Children(self.node, window_bytes)
        self._disk = TreeService(world, settings.data, self.node, self.upstream)
        mount(self, "tree", self._disk)

    def open_to_children(self) -> None:
        """Mount the door of its children."""
        self.open_guarded(CHILD_DOOR, decode_from_child, {ChildHello: self.followers}, CHILDREN)

    def opened(self) -> bool:
        """See `NewsNode.opened`."""
        return self._disk.open

    def serves(self) -> bool:
        """See `NewsNode.serves`."""
        return self.upstream is None or self.upstream.up

    def summary(self) -> str:
        """See `NewsNode.summary`."""
        above = "" if self.upstream is None else f"parent {'here' if self.upstream.up else 'gone'}, "
        here, known = len(self.followers.by_name), len(self.node.holdings.children)
        full = ", no room for more" if self.upstream is not None and self.upstream.postponed.waiting else ""
        return f"{above}{here} of {known} children, {self.node.holdings.whole} items{full}"

    def commands(self) -> dict[str, Command]:
        """See `NewsNode.commands`: `children` says who is known, `forget NAME` has one forgotten for good."""
        return {"children": self._children, "forget": self._forget}

    def _children(self, say: Say) -> None:
        holdings = self.node.holdings
        for name in sorted(holdings.children):
            missing = holdings.pending(name)
            held_bytes = sum(holding.item.size for holding in missing)
            child = ChildStatus(name, name in self.followers.by_name, len(missing), held_bytes)
            say(msgspec.json.encode(child).decode())
        say(f"done: {len(holdings.children)} known")

    def _forget(self, say: Say, name: str = "") -> None:
        if name in self.followers.by_name:
            say(f"refused: {name} is connected; stop it first, or it would be known again")
        elif self.node.forget_child(name):
            say(f"done: {name} is forgotten, and nothing is held for it")
        else:
            known = ", ".join(sorted(self.node.holdings.children)) or "nobody"
            say(f"refused: no child is called {name or 'nothing'}; known are {known}")

    def measures(self) -> Iterator[Measure]:
        """See `NewsNode.measures`."""
        holdings = self.node.holdings
        figures = [
            ("chatproto_news_items", "Items that are held, whole.", holdings.whole),
            ("chatproto_news_items_unfinished", "Items of which a part has come.", len(holdings.unfinished())),
            ("chatproto_news_body_bytes", "Of bodies that are held, or come.", holdings.bytes),
            ("chatproto_news_children", "Children in the tree that are connected.", len(self.followers.by_name)),
            ("chatproto_news_children_known", "Children in the tree that items wait for.", len(holdings.children)),
        ]
        if self.upstream is not None:
            waiting = self.upstream.postponed.waiting
            figures.append(("chatproto_news_parent_reached", "1 if the parent is reached.", self.upstream.up))
            figures.append(("chatproto_news_items_postponed", "Items for which there is no room now.", waiting))
        return (Measure(GAUGE, name, meaning, [({}, value)]) for name, meaning, value in figures)
