"""`twistd newsserver`: a node of the news system in the real world, which `chatproto.tap` has."""

from twisted.application.service import IService, MultiService

from chatproto.live import LiveOptions
from chatproto.newsoptions import LIVE
from chatproto.newsoptions import NewsOptions as Options
from chatproto.services.news import BUILT
from chatproto.services.news.contracts import ContractsService
from chatproto.tap import make_tree, under_signals
from chatproto.world import World

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Build the service tree that the options ask for."""
    return make_tree(options, lambda world: _make_role(world, options), 0)


def _make_role(world: World, options: Options) -> MultiService:
    tree = BUILT[options["role"]].build(world, options.settings())
    # Nothing to hurry: the end of each part has its ceiling.
    change = (lambda fresh: tree.change(fresh.settings())) if isinstance(tree, ContractsService) else None
    return under_signals(world, tree, lambda: None, LiveOptions(options, change, LIVE))
