"""The root of the tree: takes items from sources, and passes them on to its children."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from twisted.application.service import MultiService, Service

from chatproto.gate import Limits
from chatproto.link import Turn
from chatproto.news.link import NewsLinkFactory
from chatproto.news.messages import Announce, Chunk, decoder
from chatproto.news.tree.children import Children
from chatproto.news.tree.messages import SourceHello
from chatproto.news.tree.node import TreeNode
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from chatproto.news.tree.sources import DOOR, HELD_BYTES_MAX, Sources, SourceSettings
from chatproto.services.listener import Listener
from chatproto.services.measures import of_process
from chatproto.services.mounting import mount
from chatproto.services.news.settings import NewsSettings
from chatproto.services.news.tree import TreeService, build_children, listener, mount_links
from chatproto.services.probes import build_probes
from chatproto.services.systemd import Health, Supervision
from chatproto.world import World

SOURCES = Limits(connections_max=1000, per_address_max=100, strangers_max=100)


@dataclass(frozen=True, kw_only=True)
class RootSettings(NewsSettings):
    """What can be set of the root.

    Attributes:
        sources: TOML file of the sources that are let in; see `read_sources`. Empty for none but `known`.
        known: sources that are let in, by name, where there is no file.
        window_bytes: so much is on its way to each child that is not acknowledged.
        held_bytes_max: beyond so much, no item is accepted before others have expired.
    """

    sources: str = ""
    known: Mapping[str, SourceSettings] = field(default_factory=dict)
    window_bytes: int = WINDOW_BYTES_MAX
    held_bytes_max: int = HELD_BYTES_MAX


class _SourcesFile(msgspec.Struct, forbid_unknown_fields=True):
    sources: dict[str, SourceSettings] = {}


def read_sources(path: str) -> dict[str, SourceSettings]:
    """Read who may publish: `[sources.NAME]` with `secret = "scrypt$…"` and, from 0 to 9, `priority = 5`.

    Raises:
        ValueError: the file cannot be read, or says something else; the message says what, and where.
    """
    try:
        with open(path, "rb") as file:
            return msgspec.toml.decode(file.read(), type=_SourcesFile).sources
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


class RootService(MultiService):
    """The service tree of the root.

    Attributes:
        node: what it holds.
        children: the links of those below it.
        sources: the links of those that publish.
        listeners: for sources, in the order given, then for children; `ready` fires with the port.
    """

    def __init__(self, tree: TreeService, children: Children, sources: Sources, listeners: list[Listener]) -> None:
        """Collect the parts; `build_root` makes them."""
        super().__init__()
        self.node: TreeNode = tree.node
        self.children = children
        self.sources = sources
        self.listeners = listeners
        self._tree = tree

    def health(self) -> Health:
        """Return how it is, for a service manager."""
        ready = self._tree.open and all(each.port is not None for each in self.listeners)
        sources, items = len(self.sources.connected), len(self.node.held())
        children, known = len(self.children.followers), len(self.node.holdings.children)
        status = f"{sources} sources, {children} of {known} children, {items} items"
        return Health(ready, lambda: True, not self.running, status, ready and bool(self.running))


class _SourcesService(Service):
    """Reads who may publish when it starts, and again when it is told."""

    def __init__(self, world: World, path: str, sources: Sources) -> None:
        self._world = world
        self._path = path
        self._sources = sources

    def startService(self) -> None:
        super().startService()
        try:
            self._sources.known = read_sources(self._path)
        except ValueError as error:
            self._world.fatal(f"cannot read the sources: {error}")
            return
        self._world.reloading.add("sources", self._again)

    def _again(self) -> list[str]:
        try:
            self._sources.known = read_sources(self._path)
        except ValueError as error:
            return [str(error)]
        return []


def build_root(world: World, settings: RootSettings) -> RootService:
    """Build the service tree of the root.

    Args:
        world: the outside. `world.fatal` is called when the disk cannot be opened or written, the sources cannot be
            read, or an endpoint is busy.
        settings: what can be set.
    """
    turn = Turn(world.clock)
    node = TreeNode(settings.name, world.clock, world.now, world.dice, world.tally, keeps=False)
    tree = TreeService(world, settings, node, None)
    children, child_links = build_children(world, node, turn, settings.window_bytes)
    sources = Sources(node, settings.known, settings.topics, world.aside, settings.held_bytes_max)
    source_links = NewsLinkFactory(
        DOOR,
        decoder(SourceHello, Announce, Chunk),
        {SourceHello: sources},
        turn,
        world.clock,
        world.tally,
        limits=SOURCES.within(world.connections_max() // 2),
    )
    public = [listener(world, description, source_links, guarded=False) for description in settings.listen]
    guarded = [listener(world, settings.peer_listen, child_links, guarded=True)] if settings.peer_listen else []
    root = RootService(tree, children, sources, [*public, *guarded])
    if settings.metrics:
        measures = of_process("root", root.health, world.tally)
        mount(root, "probes", build_probes(world, settings.metrics, root.health, measures))
    mount(root, "tree", tree)
    if settings.sources:
        mount(root, "sources", _SourcesService(world, settings.sources, sources))
    mount_links(root, "child", child_links, guarded)
    mount_links(root, "source", source_links, public)
    if world.supervisor is not None:
        mount(root, "supervision", Supervision(world.clock, turn, world.supervisor, root.health))
    return root
