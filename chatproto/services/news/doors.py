"""The ports of a node of the news system, and the links that came in by them."""

from collections.abc import Generator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from chatproto.gate import Limits
from chatproto.link import Turn
from chatproto.news.link import Decode, NewsHeard, NewsLinkFactory
from chatproto.news.messages import Message
from chatproto.services.news.settings import NewsSettings
from chatproto.services.probes import LIMITS as PROBES
from chatproto.trust.interface import BELIEVING, Trust
from chatproto.world import World

STOP_S_MAX = 1.0
"""How long a link may take to end politely."""
LOOK_S = 0.05


class Links(Service):
    """Ends the links that came in by a door when it stops: politely, for a while."""

    def __init__(self, factory: NewsLinkFactory, clock: IReactorTime) -> None:
        """End what a factory has made."""
        self.factory = factory
        self._clock = clock

    @inlineCallbacks
    def stopService(self) -> Generator["Deferred[Any]", Any, None]:
        """End every link; fires when none is left."""
        super().stopService()
        self.factory.stop()
        end = self._clock.seconds() + STOP_S_MAX
        while self.factory.links and self._clock.seconds() < end:
            yield deferLater(self._clock, LOOK_S)
        for link in list(self.factory.links):
            link.abort()


def build_links(
    world: World,
    settings: NewsSettings,
    turn: Turn,
    door: str,
    decode: Decode,
    hellos: dict[type[Message], NewsHeard],
    limits: Limits,
    trust: Trust = BELIEVING,
) -> NewsLinkFactory:
    """Build what makes the links of a door; the arguments are those of `NewsLinkFactory`.

    The other doors are left their share of what the process may have open.
    """
    within = limits.within(room_of_each(world, settings))
    return NewsLinkFactory(door, decode, hellos, turn, world.clock, world.tally, limits=within, trust=trust)


def room_of_each(world: World, settings: NewsSettings) -> int:
    """Return how many connections one of a node's doors may have; 0 for any number."""
    room = world.connections_max(PROBES.connections_max if settings.metrics else 0)
    return max(1, room // 2) if room and settings.listen and settings.peer_listen else room
