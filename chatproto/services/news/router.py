"""A router: takes items from its parent in the tree, and passes them on to its children."""

from dataclasses import dataclass

from twisted.application.service import MultiService

from chatproto.link import Turn
from chatproto.news.tree.children import Children
from chatproto.news.tree.node import TreeNode
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from chatproto.services.listener import Listener
from chatproto.services.measures import of_process
from chatproto.services.mounting import mount
from chatproto.services.news.settings import NewsSettings
from chatproto.services.news.tree import TreeService, build_children, build_parent, listener, mount_links
from chatproto.services.probes import build_probes
from chatproto.services.systemd import Health, Supervision
from chatproto.world import World


@dataclass(frozen=True, kw_only=True)
class RouterSettings(NewsSettings):
    """What can be set of a router.

    Attributes:
        parent: client endpoint string of the guarded port of its parent.
        window_bytes: so much is on its way to each child that is not acknowledged.
    """

    parent: str
    window_bytes: int = WINDOW_BYTES_MAX


class RouterService(MultiService):
    """The service tree of a router.

    Attributes:
        node: what it holds.
        children: the links of those below it.
        listeners: for those; `ready` fires with the port.
    """

    def __init__(self, tree: TreeService, children: Children, listeners: list[Listener]) -> None:
        """Collect the parts; `build_router` makes them."""
        super().__init__()
        self.node: TreeNode = tree.node
        self.children = children
        self.listeners = listeners
        self._tree = tree

    def health(self) -> Health:
        """Return how it is, for a service manager."""
        parent = self._tree.upstream
        listening = self._tree.open and all(each.port is not None for each in self.listeners)
        serving = listening and (parent is None or parent.up) and bool(self.running)
        above = "" if parent is None else f"parent {'here' if parent.up else 'gone'}, "
        items, children = len(self.node.held()), len(self.children.followers)
        known = len(self.node.holdings.children)
        status = f"{above}{children} of {known} children, {items} items"
        return Health(listening, lambda: True, not self.running, status, serving)


def build_router(world: World, settings: RouterSettings) -> RouterService:
    """Build the service tree of a router.

    Args:
        world: the outside. `world.fatal` is called when the disk cannot be opened or written, or an endpoint is busy.
        settings: what can be set.
    """
    turn = Turn(world.clock)
    node = TreeNode(settings.name, world.clock, world.now, world.dice, world.tally, keeps=False)
    tree = TreeService(world, settings, node, build_parent(world, node, settings.parent, turn))
    children, factory = build_children(world, node, turn, settings.window_bytes)
    listeners = [listener(world, settings.peer_listen, factory, guarded=True)] if settings.peer_listen else []
    router = RouterService(tree, children, listeners)
    if settings.metrics:
        measures = of_process("router", router.health, world.tally)
        mount(router, "probes", build_probes(world, settings.metrics, router.health, measures))
    mount(router, "tree", tree)
    mount_links(router, "child", factory, listeners)
    if world.supervisor is not None:
        mount(router, "supervision", Supervision(world.clock, turn, world.supervisor, router.health))
    return router
