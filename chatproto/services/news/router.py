"""A router: takes items from its parent in the tree, and passes them on to its children."""

from dataclasses import dataclass

from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from chatproto.news.tree.postponed import HELD_BYTES_MAX
from chatproto.services.news.settings import NewsSettings
from chatproto.services.news.tree import TreeNews
from chatproto.world import World


@dataclass(frozen=True, kw_only=True)
class RouterSettings(NewsSettings):
    """What can be set of a router.

    Attributes:
        parent: client endpoint string of the guarded port of its parent.
        window_bytes: so much is on its way to each child that is not acknowledged.
        held_bytes_max: beyond so much, no other item is begun before some of that goes.
    """

    parent: str
    window_bytes: int = WINDOW_BYTES_MAX
    held_bytes_max: int = HELD_BYTES_MAX


class RouterService(TreeNews):
    """The service tree of a router."""

    role = "router"


def build_router(world: World, settings: RouterSettings) -> RouterService:
    """Build the service tree of a router.

    Args:
        world: the outside. `world.fatal` is called when the disk cannot be opened or written, or an endpoint is busy.
        settings: what can be set.

    Raises:
        MissingExtra: a library for something that was asked for is not installed.
    """
    router = RouterService(world, settings, settings.parent, settings.window_bytes, settings.held_bytes_max)
    router.open_to_children()
    router.complete()
    return router
