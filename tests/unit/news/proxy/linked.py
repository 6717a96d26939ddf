"""A link between the two sides of a proxy, in one process."""

from typing import Any

from twisted.internet.task import Clock

from chatproto.link import Turn
from chatproto.news.contracting.messages import Ask, FromPart
from chatproto.news.link import NewsLink, NewsLinkFactory
from chatproto.news.messages import Message, decoder
from chatproto.news.proxy.messages import PULLED, ProxyHello
from chatproto.tally import Tally
from tests.unit.transports import Transport


class Linked:
    """What `near` says is heard by `desk`, and the other way round, as often as `pass_on` is called.

    Attributes:
        said: all that `near` has said.
        closed: whether either side has ended it.
    """

    def __init__(self, clock: Clock, near: Any, desk: Any, decode: Any, tally: Tally | None = None) -> None:
        self.clock = clock
        self.near = near
        self.said: list[Message] = []
        turn = Turn(clock)
        self._ways: list[tuple[Transport, Any]] = []
        self.link = NewsLink(near, decode, turn, clock, dialled=True)
        hellos = {ProxyHello: desk, Ask: desk}
        heard = decoder(PULLED | FromPart)
        self.factory = NewsLinkFactory("news-proxy", heard, hellos, turn, clock, tally or Tally())
        self.far = self.factory.buildProtocol(None)
        self.here, self.there = Transport(), Transport()
        self.far.makeConnection(self.there)
        self.link.makeConnection(self.here)

    @property
    def closed(self) -> bool:
        return bool(self.here.calls or self.there.calls)

    def pass_on(self, rounds: int = 100) -> None:
        """Let what is said arrive, until nothing is said any more."""
        for _ in range(rounds):
            self.clock.advance(0)
            moved = False
            for source, target in ((self.here, self.far), (self.there, self.link)):
                data = b"".join(source.writes)
                source.writes.clear()
                if data:
                    moved = True
                    target.dataReceived(data)
            if not moved:
                return

    def lose(self) -> None:
        """Have the connection end."""
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        for side in (self.link, self.far):
            side.connectionLost(Failure(ConnectionLost()))
