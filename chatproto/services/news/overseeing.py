"""What an operator has a contracting server do, over the socket in its data directory."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chatproto.news.contracting.acts import CLOSE
from chatproto.news.contracting.server import ContractingServer, Looks
from chatproto.news.placing import Lost
from chatproto.services.control import Command, Say

SAYS_NO_AFTER_S = 10.0
"""What is not committed after so long may come to be so, and nobody waits for it."""


Holds = Callable[[], bool]
Done = Callable[[], str]


class Overseeing:
    """Takes the commands of operators, each said to whoever asked when it is committed."""

    def __init__(self, clock: IReactorTime, server: ContractingServer) -> None:
        """Take commands for a server; `clock` is the reactor, as far as time goes."""
        self._clock = clock
        self._server = server

    @property
    def commands(self) -> dict[str, Command]:
        """What can be said."""
        return {"delete": self.delete, "lost": self.lost}

    def lost(self, say: Say, node: str = "") -> "Deferred[None] | None":
        """Give a delivery node up: its readers are given another one, and nothing waits for it any more."""
        server = self._server
        if not server.serving:
            say("refused: this server cannot commit anything now: ask the other one, or this one again later")
        elif node in server.nodes:
            say(f"refused: {node} is registered, so it is there; end it first, for good")
        elif not server.book.names(node):
            say(f"refused: no contract is fulfilled at {node!r}, and nothing waits for it")
        else:
            before = server.book.losses
            server.submit(Lost(node))
            return self._until(lambda: server.book.losses > before, say, lambda: self._given_up(node))
        return None

    def _given_up(self, node: str) -> str:
        adrift = len(self._server.book.adrift)
        return f"done: {node} is given up; {adrift} readers without a delivery node are being given another one"

    def delete(self, say: Say, reader: str = "") -> "Deferred[None] | None":
        """Delete a reader's account, and its contract."""
        server = self._server
        if not server.serving:
            say("refused: this server cannot commit anything now: ask the other one, or this one again later")
        elif not server.book.knows(reader):
            say(f"refused: there is no reader {reader!r}")
        elif server.book.accounts[reader].pending:
            say(f"refused: another change of {reader} is under way: try again")
        else:
            server.change(reader, CLOSE)
            return self._until(lambda: not server.book.knows(reader), say, lambda: f"done: {reader} is deleted")
        return None

    def _until(self, holds: Holds, say: Say, done: Done) -> "Deferred[None]":
        server = self._server
        waiting: Deferred[None] = Deferred()

        class Sees(Looks):
            def look(self) -> None:
                if holds():
                    end(done())

        sees = Sees()

        def end(said: str) -> None:
            server.looking.pop(sees, None)
            if late.active():
                late.cancel()
            say(said)
            waiting.callback(None)

        why = "refused: not yet: a delivery node has said no, or nothing can be committed now; look, and try again"
        late = self._clock.callLater(SAYS_NO_AFTER_S, end, why)
        server.looking[sees] = None
        return waiting
