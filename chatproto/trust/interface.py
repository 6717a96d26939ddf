"""The seam between links and what says who is at their other end; `World.trust` has one."""

from typing import Any, Protocol

from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.python.failure import Failure

from chatproto.trust.proof import BELIEVED, LinkRefused, Proof
from chatproto.trust.secret import Step


class Exchange(Protocol):
    """What is said on a link before all else, until one side has proven itself to the other."""

    def begin(self) -> Step:
        """Return what is to be done first."""

    def received(self, frame: bytes) -> Step:
        """Take a frame.

        Raises:
            WireError: it does not belong there.
        """


class Trust(Protocol):
    """How links at a door (`PEER`, `REGISTRY`) are made, and know who is at their other end.

    Attributes:
        missing: the code of `REASONS` for somebody who has proven nothing.
    """

    missing: str

    def server(self, endpoint: IStreamServerEndpoint, door: str) -> IStreamServerEndpoint:
        """Return the endpoint that is listened on in place of one."""

    def client(self, endpoint: IStreamClientEndpoint, door: str) -> IStreamClientEndpoint:
        """Return the endpoint that is dialled in place of one."""

    def exchange(self, door: str, *, dialled: bool) -> Exchange | None:
        """Return what a new link, which this side has dialled or not, says first; None where that is nothing."""

    def proof(self, transport: Any) -> Proof:
        """Return what the other end of a transport has proven, of a link that said nothing first."""

    def ended(self, transport: Any, reason: Failure) -> LinkRefused | None:
        """Hear that a link is gone; return what its transport knows of a refusal, None where it is none."""


class Believing:
    """Asks nobody for a proof: for links that never leave a machine, for simulation, and for `--insecure-links`."""

    missing = ""

    def server(self, endpoint: IStreamServerEndpoint, door: str) -> IStreamServerEndpoint:
        """Return the same."""
        return endpoint

    def client(self, endpoint: IStreamClientEndpoint, door: str) -> IStreamClientEndpoint:
        """Return the same."""
        return endpoint

    def exchange(self, door: str, *, dialled: bool) -> Exchange | None:
        """Return nothing."""
        return None

    def proof(self, transport: Any) -> Proof:
        """Believe whatever it says."""
        return BELIEVED

    def ended(self, transport: Any, reason: Failure) -> LinkRefused | None:
        """Know of none: nobody is refused."""
        return None


BELIEVING = Believing()
