"""What a node hears of the others from the registry: where their peer links are, and where clients are served."""

from collections.abc import Callable

from twisted.application.service import Service

from chatproto.chat.server import ChatServer
from chatproto.pair.log import PairLog
from chatproto.registry import Registration, RegistryClient
from chatproto.services.registering import PAGE, PEER
from chatproto.wire import address_allowed


def peer_of(registration: Registration) -> str | None:
    """Return the `HOST:PORT` of a server's peer link; None where it has none, or says what cannot be one."""
    address = registration.attributes.get(PEER, "")
    return address if address_allowed(address) else None


class Whereabouts(Service):
    """Has a node know the others of its service as the registry does."""

    def __init__(self, client: RegistryClient, pair: PairLog, server: ChatServer) -> None:
        """Tell a node's log and its chat what a client of the registry hears."""
        self._client = client
        self._pair = pair
        self._server = server
        self._found: dict[str, Registration] = {}
        self._end: Callable[[], None] | None = None

    def startService(self) -> None:
        """Begin to listen."""
        super().startService()
        self._end = self._client.watch(self, self._pair.settings.service)

    def stopService(self) -> None:
        """Listen no more."""
        super().stopService()
        if self._end is not None:
            self._end()

    # `NamesHeard`

    def names_listed(self, registrations: list[Registration]) -> None:
        """See `NamesHeard.names_listed`."""
        self._found = {registration.name: registration for registration in registrations}
        self._tell()

    def name_registered(self, registration: Registration) -> None:
        """See `NamesHeard.name_registered`."""
        self._found[registration.name] = registration
        self._tell()

    def name_gone(self, registration: Registration) -> None:
        """See `NamesHeard.name_gone`. It is remembered: a node that is away comes back to where it was."""

    def _tell(self) -> None:
        mine = self._pair.settings.name
        others = [registration for registration in self._found.values() if registration.name != mine]
        self._pair.know({other.name: address for other in others if (address := peer_of(other)) is not None})
        self._server.pages_elsewhere = [other.attributes[PAGE] for other in others if PAGE in other.attributes]
        leaders = [other for other in others if other.role == "leader" and other.address]
        if leaders:
            leader = max(leaders, key=lambda other: other.epoch)
            pages = [leader.attributes[PAGE]] if PAGE in leader.attributes else []
            self._server.exodus.found([leader.place], pages)
