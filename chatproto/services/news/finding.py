"""Where another process of a news deployment is, asked of the registry each time it is needed."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint

from chatproto.client.finding import FoundEndpoint
from chatproto.registry import Registration, RegistryClient
from chatproto.services.pairing import client_of
from chatproto.services.registering import PEER as PEER_PLACE
from chatproto.trust.proof import PEER
from chatproto.world import World


class NewsFinder:
    """Finds the guarded listeners of a kind in a service: the leader's first; or that of one name only."""

    def __init__(self, registry: Callable[[], RegistryClient], service: str, kind: str, name: str = "") -> None:
        """Make a finder; without a name, any of the kind will do. `registry` is asked for when it is needed."""
        self._registry = registry
        self._service = service
        self._kind = kind
        self._name = name

    async def _find(self) -> Sequence[str]:
        found: list[Registration] = await self._registry().list(service=self._service, kind=self._kind)
        found.sort(key=lambda one: (one.role != "leader", -one.epoch))
        places = [one.attributes.get(PEER_PLACE, "") for one in found if self._name in ("", one.name)]
        return [place for place in places if place]

    def find(self) -> "Deferred[Sequence[str]]":
        """See `Finder.find`."""
        return Deferred.fromCoroutine(self._find())


def guarded_endpoint(
    world: World, registry: Callable[[], RegistryClient], service: str, kind: str, name: str = ""
) -> IStreamClientEndpoint:
    """Return the endpoint of the guarded listener of whoever is registered as this at that moment."""
    finder = NewsFinder(registry, service, kind, name)
    return FoundEndpoint(world.clock, finder, lambda place: world.guarded_client(client_of(place), PEER))
