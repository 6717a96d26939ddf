"""What root, router and delivery node have in common: a disk, children, and perhaps a parent."""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from chatproto.errors import StoreError
from chatproto.gate import Limits
from chatproto.keyvalue import IKeyValueStore
from chatproto.link import Turn
from chatproto.news.link import NewsDialler
from chatproto.news.messages import Taken, decoder
from chatproto.news.tree.children import Children
from chatproto.news.tree.messages import Below, ChildHello, decode_from_parent
from chatproto.news.tree.node import TreeNode
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from chatproto.news.tree.parent import Parent
from chatproto.services.measures import GAUGE, Measure
from chatproto.services.mounting import mount
from chatproto.services.news.node import NewsNode
from chatproto.services.news.settings import NewsSettings
from chatproto.trust.proof import PEER
from chatproto.world import World

CHILD_DOOR = "news-child"
CHILDREN = Limits(connections_max=256, strangers_max=32)


def build_parent(world: World, node: TreeNode, endpoint: str, turn: Turn) -> Parent:
    """Build what takes in the items of a node's parent; it dials when its dialler is started.

    Args:
        world: the outside.
        node: the child.
        endpoint: client endpoint string of the parent's guarded port.
        turn: batches what is sent.
    """
    parent = Parent(node)
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


class TreeNews(NewsNode):
    """The service tree of a node that has children in the distribution tree.

    Attributes:
        node: what it holds.
        upstream: whoever it takes items from; None for the root.
        followers: the links of its children.
    """

    def __init__(
        self, world: World, settings: NewsSettings, parent: str = "", window_bytes: int = WINDOW_BYTES_MAX
    ) -> None:
        """Begin a tree, whose disk is mounted first.

        Args:
            world: the outside.
            settings: what can be set of any node.
            parent: client endpoint string of the guarded port of its parent; empty for the root.
            window_bytes: so much is on its way to each child that is not acknowledged.
        """
        super().__init__(world, settings)
        self.node = TreeNode(settings.name, world.clock, world.now, world.dice, world.tally, keeps=False)
        self.upstream = build_parent(world, self.node, parent, self.turn) if parent else None
        self.followers = Children(self.node, window_bytes)
        self._disk = TreeService(world, settings.data, self.node, self.upstream)
        mount(self, "tree", self._disk)

    def open_to_children(self) -> None:
        """Mount the door of its children."""
        self.open_guarded(CHILD_DOOR, decoder(ChildHello, Below, Taken), {ChildHello: self.followers}, CHILDREN)

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
        return f"{above}{here} of {known} children, {self.node.holdings.whole} items"

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
            figures.append(("chatproto_news_parent_reached", "1 if the parent is reached.", self.upstream.up))
        return (Measure(GAUGE, name, meaning, [({}, value)]) for name, meaning, value in figures)
