"""What root, router and delivery node have in common: a disk, children, and perhaps a parent."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred

from chatproto.errors import StoreError
from chatproto.gate import Limits
from chatproto.keyvalue import IKeyValueStore
from chatproto.link import Turn
from chatproto.news.link import HEARTBEAT_S, SUSPECT_S, NewsDialler, NewsLinkFactory
from chatproto.news.messages import Taken, decoder
from chatproto.news.tree.children import Children
from chatproto.news.tree.messages import Below, ChildHello, decode_from_parent
from chatproto.news.tree.node import TreeNode
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from chatproto.news.tree.parent import Parent
from chatproto.services.listener import Listener
from chatproto.services.mounting import mount
from chatproto.services.news.settings import NewsSettings
from chatproto.trust.proof import PEER
from chatproto.world import World

CHILD_DOOR = "news-child"
CHILDREN = Limits(connections_max=256, strangers_max=32)


def build_children(
    world: World, node: TreeNode, turn: Turn, window_bytes: int = WINDOW_BYTES_MAX
) -> tuple[Children, NewsLinkFactory]:
    """Build what passes items on to the children of a node, and what makes the links of these."""
    children = Children(node, window_bytes)
    factory = NewsLinkFactory(
        CHILD_DOOR,
        decoder(ChildHello, Below, Taken),
        {ChildHello: children},
        turn,
        world.clock,
        world.tally,
        limits=CHILDREN.within(world.connections_max() // 2),
        trust=world.trust,
        heartbeat_s=HEARTBEAT_S,
        suspect_s=SUSPECT_S,
    )
    return children, factory


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


def listener(world: World, description: str, factory: NewsLinkFactory, *, guarded: bool) -> Listener:
    """Build what listens on an endpoint, for other nodes if it is guarded."""
    endpoint = world.guarded_server(description, PEER) if guarded else world.server(description)
    return Listener(description, endpoint, factory, world.fatal, factory.gate)


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
        settings: NewsSettings,
        node: TreeNode,
        parent: Parent | None,
        opened: Callable[[IKeyValueStore], None] = lambda table: None,
    ) -> None:
        """Run a node.

        Args:
            world: the outside. `world.fatal` is called when the disk cannot be opened or written.
            settings: of the node.
            node: which is not open yet.
            parent: whoever it takes items from; None for the root.
            opened: called with the table once it is open, before items come: others keep things in it, too, under
                keys of their own.
        """
        self.node = node
        self.upstream = parent
        self.open = False
        self._world = world
        self._data = settings.data
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


class LinksService(Service):
    """Ends the links of a factory when it stops."""

    def __init__(self, factory: NewsLinkFactory) -> None:
        """End its links, politely."""
        self._factory = factory

    def stopService(self) -> None:
        """End every link."""
        super().stopService()
        self._factory.stop()


def mount_links(tree: MultiService, name: str, factory: NewsLinkFactory, listeners: list[Listener]) -> None:
    """Mount what listens, and what ends links after that."""
    mount(tree, f"{name}-links", LinksService(factory))
    for number, each in enumerate(listeners, 1):
        mount(tree, f"{name}-listener-{number}", each)
