"""The socket in a node's data directory over which an operator tells the node what to do.

Whoever may write to the data directory may use it. A line with a command comes in; lines that say what happens
go out, the last of them beginning with `done` or `refused`. One command is completed before the next begins, whichever
connection it comes over.
"""

import os
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from chatproto.chat.server import ChatServer
from chatproto.errors import MigrationFailed, Rejected
from chatproto.messaging import SequentialServer
from chatproto.messaging.servers import REFUSALS
from chatproto.pair.log import PairLog
from chatproto.pair.states import Role
from chatproto.services.administration import Administration
from chatproto.services.drain import Drain, Drained
from chatproto.services.migration import MigrationService
from chatproto.world import World

LOOK_EVERY_S = 0.01
SWITCHOVER_S_MAX = 5.0
COMMANDS_WAITING_MAX = 16
TAKES_MORE = ("decree", "delete", "forget", "lost", "migrate")
"""Commands that something may follow."""

log = Logger()

Say = Callable[[str], None]
Command = Callable[..., "Deferred[None] | None"]
"""Says what comes of it to whoever asked; where that takes its time, returns what is called back then."""


class ControlLink(LineOnlyReceiver):
    """One operator's connection."""

    delimiter = b"\n"
    MAX_LENGTH = 4096
    factory: "ControlFactory"

    def lineReceived(self, line: bytes) -> None:
        """Do what a line says."""
        word, _, more = line.decode("utf-8", "replace").strip().partition(" ")
        command = self.factory.commands.get(word)
        if command is None or (more and word not in TAKES_MORE):
            self.say(f"refused: the commands are {', '.join(sorted(self.factory.commands))}")
        else:
            self.factory.serve(partial(command, self.say, *filter(None, [more.strip()]))).addErrback(self._refused)

    def _refused(self, failure: Failure) -> None:
        error = failure.value
        assert isinstance(error, Rejected)
        self.say(f"refused: {REFUSALS.get(error.reason, error.reason)}")

    def say(self, text: str) -> None:
        """Send a line, if somebody still listens."""
        if self.transport is not None and self.connected:
            self.sendLine(text.encode())


class ControlFactory(Factory):
    """Makes the connections of operators."""

    noisy = False

    def __init__(
        self, commands: dict[str, Command], serve: "Callable[[Callable[[], Deferred[None] | None]], Deferred[None]]"
    ) -> None:
        """Offer commands; each that is asked for is handed to `serve`, which calls it in its turn."""
        self.commands = commands
        self.serve = serve

    def buildProtocol(self, addr: IAddress | None) -> ControlLink:  # type: ignore[override]
        """Make the link of a connection."""
        link = ControlLink()
        link.factory = self
        return link


class ControlService(Service):
    """Listens for operators while it runs."""

    def __init__(self, world: World, path: str, commands: dict[str, Command]) -> None:
        """Take commands on a Unix socket at a path, beside `reload`, which every node has."""
        self._world = world
        self._path = path
        self._commands = {**commands, "reload": self.reload}
        self._port: IListeningPort | None = None
        self._operators: SequentialServer[Callable[[], Deferred[None] | None], None]
        self._operators = SequentialServer(lambda call: call(), waiting_max=COMMANDS_WAITING_MAX)

    def startService(self) -> None:
        """Listen. A node that cannot is not stopped by it: nobody but operators comes this way."""
        super().startService()
        try:
            # The data directory is locked by this process: whoever left that socket is gone.
            os.unlink(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:
            return self._failed(error.strerror or "")
        endpoint = self._world.server(f"unix:{quoteStringArgument(self._path)}:mode=600")
        listening = endpoint.listen(ControlFactory(self._commands, self._operators.serve))
        listening.addCallbacks(self._listening, lambda failure: self._failed(failure.getErrorMessage()))

    def _listening(self, port: IListeningPort) -> None:
        self._port = port

    def _failed(self, reason: str) -> None:
        log.warn("operators' commands cannot be taken on {path}: {reason}", path=self._path, reason=reason)

    def stopService(self) -> "Deferred[None] | None":
        """Stop listening, and wait for nothing more."""
        super().stopService()
        self._operators.stop().cancel()
        port, self._port = self._port, None
        return port.stopListening() if port is not None else None

    def reload(self, say: Say) -> None:
        """Have read again what can be, and say what could not be changed, a line for each."""
        unchanged = self._world.reloading.reload()
        for line in unchanged:
            say(f"not changed: {line}")
        say("refused: not all of it could be changed" if unchanged else "done: read again")


class ChatControl(ControlService):
    """Takes commands for a node of the chat.

    Attributes:
        migration: moves the node's place; None for a node that cannot be moved.
    """

    def __init__(self, world: World, path: str, server: ChatServer, pair: PairLog | None, drain: Drain) -> None:
        """Take commands for a node on a Unix socket at a path."""
        administration = Administration(server, world.clock)
        commands: dict[str, Command] = {
            "committed": self.committed,
            "drain": self.drain,
            "migrate": self.migrate,
            "decree": administration.decree,
            "accounts": administration.accounts,
            "bans": administration.bans,
            "switchover": self.switchover,
        }
        super().__init__(world, path, commands)
        self.migration: MigrationService | None = None
        self._server = server
        self._pair = pair
        self._drain = drain

    def committed(self, say: Say) -> None:
        """Say up to which index the log is committed, as far as this node knows."""
        if self._pair is None or self._pair.certain:
            say(f"done: {self._server.log.position}")
        else:
            say("refused: this node does not know yet what is committed: ask the other one, or this one again later")

    def drain(self, say: Say) -> None:
        """Have the node end so that nobody loses anything, and say what clients saw of it."""

        def drained(saw: Drained) -> None:
            say(f"done: {saw}")
            self._world.stop()

        self._drain.run().addCallback(drained).addErrback(lambda failure: log.failure("ending", failure))

    def migrate(self, say: Say, to: str = "") -> "Deferred[None] | None":
        """Have a node that stands by take this one's place, and say what came of it."""
        if self.migration is None:
            say("refused: this server cannot be moved: that takes --registry, and --peer-listen or --peer")
            return None
        moving = self.migration.migrate(to)

        def failed(failure: Failure) -> None:
            failure.trap(MigrationFailed)
            say(f"refused: {failure.getErrorMessage()}")

        return moving.addCallbacks(lambda moved: say(f"done: {moved}"), failed)

    def switchover(self, say: Say) -> "Deferred[None] | None":
        """Hand leadership to the other node, and say what came of it."""
        pair = self._pair
        if pair is None:
            say("refused: this node is alone; a switchover needs a pair")
        elif not pair.replica.leads:
            leader = pair.replica.configuration.leader if pair.replica.configuration is not None else "nobody"
            say(f"refused: {leader} leads, so it is there that leadership can be handed over")
        elif pair.redundancy != "paired":
            say(f"refused: the pair is {pair.redundancy}; leadership is handed over only while it is paired")
        elif not pair.hand_over():
            say("refused: another change is under way, or the registry is not reached; look at the log, or try again")
        else:
            return self._see_handed_over(pair, say)
        return None

    @inlineCallbacks
    def _see_handed_over(self, pair: PairLog, say: Say) -> Generator["Deferred[Any]", Any, None]:
        clock = self._world.clock
        begun = clock.seconds()
        while pair.replica.role is Role.HANDING and clock.seconds() - begun <= SWITCHOVER_S_MAX:
            yield deferLater(clock, LOOK_EVERY_S)
        took_s = clock.seconds() - begun
        found = pair.replica.configuration
        if found is not None and found.leader != pair.settings.name:
            clients = len(self._server.seats)
            say(
                f"done: {found.leader} leads since epoch {found.epoch}; it took {took_s * 1000:.0f} ms, in which "
                f"messages waited and none was refused; {clients} clients of this node stay connected"
            )
        else:
            say("refused: the handover was given up, and this node leads as before; look at the log of both nodes")
