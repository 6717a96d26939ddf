"""One module per role of the news system: builds the service tree from parts. Never imports the reactor."""

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.application.service import MultiService

from chatproto.services.news.settings import NewsSettings
from chatproto.world import World

__all__ = ["BUILT", "NewsRole", "NewsSettings"]


class NewsRole(NamedTuple):
    """A role that this release knows.

    Attributes:
        settings: what can be set of it: extends `NewsSettings`.
        build: builds its service tree, whose `health()` returns `chatproto.services.systemd.Health`.
    """

    settings: type[NewsSettings]
    build: Callable[[World, Any], MultiService]


BUILT: dict[str, NewsRole] = {}
"""By what `--role` calls them."""
