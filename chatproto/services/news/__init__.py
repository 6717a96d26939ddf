"""One module per role of the news system: builds the service tree from parts. Never imports the reactor."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from twisted.application.service import MultiService

from chatproto.services.news.contracts import ContractsSettings, build_contracts
from chatproto.services.news.delivery import DeliverySettings, build_delivery
from chatproto.services.news.node import NewsNode
from chatproto.services.news.proxy import ProxySettings, build_proxy
from chatproto.services.news.root import RootSettings, build_root, root_problems
from chatproto.services.news.router import RouterSettings, build_router
from chatproto.services.news.settings import NewsSettings
from chatproto.services.news.status import NewsStatus
from chatproto.world import World

__all__ = [
    "BUILT",
    "ContractsSettings",
    "DeliverySettings",
    "NewsNode",
    "NewsRole",
    "NewsSettings",
    "NewsStatus",
    "ProxySettings",
    "RootSettings",
    "RouterSettings",
    "build_contracts",
    "build_delivery",
    "build_proxy",
    "build_root",
    "build_router",
]


class NewsRole(NamedTuple):
    """A role that this release knows.

    Attributes:
        settings: what can be set of it: extends `NewsSettings`.
        build: builds its service tree, which has a `health()`, as `NewsNode` has.
        problems: says, a line for each, what would be in the way of a start with such settings; opens no port, and
            changes nothing.
    """

    settings: type[NewsSettings]
    build: Callable[[World, Any], MultiService]
    problems: Callable[[Any], Sequence[str]] = lambda settings: ()


BUILT: dict[str, NewsRole] = {
    "root": NewsRole(RootSettings, build_root, root_problems),
    "router": NewsRole(RouterSettings, build_router),
    "delivery": NewsRole(DeliverySettings, build_delivery),
    "contracts": NewsRole(ContractsSettings, build_contracts),
    "proxy": NewsRole(ProxySettings, build_proxy),
}
"""By what `--role` calls them."""
