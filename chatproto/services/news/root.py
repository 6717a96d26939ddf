"""The root of the tree: takes items from sources, and passes them on to its children."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from twisted.application.service import Service

from chatproto.gate import Limits
from chatproto.news.items import name_allowed
from chatproto.news.messages import Announce, Chunk, decoder
from chatproto.news.tree.messages import SourceHello
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from chatproto.news.tree.postponed import HELD_BYTES_MAX
from chatproto.news.tree.sources import DOOR, Sources, SourceSettings
from chatproto.services.measures import GAUGE, Labels, Measure
from chatproto.services.mounting import mount
from chatproto.services.news.settings import NewsSettings
from chatproto.services.news.tree import TreeNews
from chatproto.world import World

SOURCES = Limits(
    connections_max=1000, per_address_max=100, strangers_max=100, link_lines_a_second=2000, link_lines_at_once=4000
)


@dataclass(frozen=True, kw_only=True)
class RootSettings(NewsSettings):
    """What can be set of the root.

    Attributes:
        sources: TOML file of the sources that are let in; see `read_sources`. Empty where `known` says who.
        known: the sources that are let in, by name.
        window_bytes: so much is on its way to each child that is not acknowledged.
        held_bytes_max: beyond so much, no item is accepted before others have expired.
        first_number: of the first item on an empty disk; None for what no root has given before.
    """

    sources: str = ""
    known: Mapping[str, SourceSettings] = field(default_factory=dict)
    window_bytes: int = WINDOW_BYTES_MAX
    held_bytes_max: int = HELD_BYTES_MAX
    first_number: int | None = None


class _SourcesFile(msgspec.Struct, forbid_unknown_fields=True):
    sources: dict[str, SourceSettings] = {}


def read_sources(path: str) -> dict[str, SourceSettings]:
    """Read who may publish: for each a table `[sources.NAME]` with `secret = "scrypt$…"` and `priority`, 0 to 9.

    Raises:
        ValueError: the file cannot be read, or says something else; the message says what, and where.
    """
    try:
        with open(path, "rb") as file:
            known = msgspec.toml.decode(file.read(), type=_SourcesFile).sources
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    for name in known:
        if not name_allowed(name):
            raise ValueError(f"{path}: no source can be called {name!r}")
    return known


def root_problems(settings: RootSettings) -> list[str]:
    """Say what would be in the way of a start with such settings."""
    try:
        read_sources(settings.sources)
    except ValueError as error:
        return [f"cannot use --sources: {error}"]
    return []


class RootService(TreeNews):
    """The service tree of the root.

    Attributes:
        sources: the links of those that publish.
    """

    role = "root"

    def __init__(self, world: World, settings: RootSettings) -> None:
        """Collect the parts; `build_root` opens the doors."""
        super().__init__(world, settings, window_bytes=settings.window_bytes)
        self.node.holdings.first_number = settings.first_number
        self.sources = Sources(self.node, settings.known, settings.topics, world.aside, settings.held_bytes_max)

    def summary(self) -> str:
        """See `NewsNode.summary`."""
        return f"{len(self.sources.connected)} of {len(self.sources.known)} sources, {super().summary()}"

    def measures(self) -> Iterator[Measure]:
        """See `NewsNode.measures`."""
        yield from super().measures()
        connected: list[tuple[Labels, float]] = [({}, len(self.sources.connected))]
        yield Measure(GAUGE, "chatproto_news_sources", "Sources that are connected.", connected)


class _SourcesFileService(Service):
    """Reads who may publish when it starts, and again when it is told."""

    def __init__(self, world: World, path: str, sources: Sources) -> None:
        self._world = world
        self._path = path
        self._sources = sources

    def startService(self) -> None:
        super().startService()
        for problem in self._read():
            self._world.fatal(f"cannot use --sources: {problem}")
        self._world.reloading.add("sources", self._read)

    def _read(self) -> list[str]:
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

    Raises:
        MissingExtra: a library for something that was asked for is not installed.
    """
    root = RootService(world, settings)
    if settings.sources:
        mount(root, "sources", _SourcesFileService(world, settings.sources, root.sources))
    root.open_to_children()
    root.open_public(DOOR, decoder(SourceHello, Announce, Chunk), {SourceHello: root.sources}, SOURCES)
    root.complete()
    return root
