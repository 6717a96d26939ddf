"""`chatproto chat`: makes the client of what was asked for, and lets it speak on the terminal or in lines."""

import asyncio
import importlib.util
import io
import os
import random
import signal
import sys
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure

from chatproto.chat.messages import HistoryWanted
from chatproto.cli.plain import PlainChat
from chatproto.cli.servers import DEFAULT_SERVER, endpoint, registry_endpoint
from chatproto.cli.streams import LineInput, LineOutput
from chatproto.client import ChatClient, RegistryEndpoint
from chatproto.errors import ClientError

LEAVE_S_MAX = 10
"""How long leaving may take when the terminal has gone."""

NEEDS_TEXTUAL = "The terminal view needs Textual: pip install 'chatproto[terminal]'. Going on in lines."


@dataclass(frozen=True)
class ChatOptions:
    """What was asked for on the command line.

    Attributes:
        servers: where to connect, as typed; may be empty where there is a registry.
        name: the identity wanted; that of the account, where there is one.
        account: the account to log in to; None for none.
        password: the account's.
        rooms: rooms to enter.
        history: what to receive of a room's archive on entering.
        tls: whether `HOST:PORT` means TLS.
        ca: a PEM file of the authorities to trust instead of the system's.
        plain: lines even on a terminal.
        connect_timeout_s: how long to wait for a server, in lines.
        dns: address and port of the DNS server that knows where `srv:` is; None for the system's.
        registry: which registry to find servers by, as typed; None for none.
        service: the name of the deployment to find.
        direct: the host that others are told, and the port, where direct connections are taken; None for not at all.
    """

    servers: tuple[str, ...] = (DEFAULT_SERVER,)
    name: str | None = None
    rooms: tuple[str, ...] = ()
    history: HistoryWanted = 100
    tls: bool = False
    ca: str | None = None
    plain: bool = False
    connect_timeout_s: float = 10.0
    dns: tuple[str, int] | None = None
    registry: str | None = None
    service: str = "chat"
    direct: tuple[str, int] | None = None
    account: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """Where that is, in words."""
        found = () if self.registry is None else (f"{self.service} at {self.registry}",)
        return " or ".join((*self.servers, *found))


def make_client(reactor: Any, options: ChatOptions) -> ChatClient:
    """Return a client that is not started yet.

    Raises:
        Misuse: an option cannot be used.
        ClientError: the port for direct connections cannot be had.
    """

    def connector(server: str) -> IStreamClientEndpoint:
        return endpoint(reactor, server, tls=options.tls, ca=options.ca, dns=options.dns)

    def tls_connector(server: str) -> IStreamClientEndpoint:
        return endpoint(reactor, server, tls=True, ca=options.ca)

    endpoints = [connector(server) for server in options.servers]
    if options.registry is not None:
        registry = registry_endpoint(reactor, options.registry, options.ca)
        found = RegistryEndpoint(registry, reactor, connector, tls_connector=tls_connector, service=options.service)
        endpoints.append(found)
    client = ChatClient(
        reactor,
        endpoints,
        identity=options.name if options.account is None else None,
        account=options.account,
        password=options.password,
        history=options.history,
        rooms=options.rooms,
        dice=random.SystemRandom(),
        connector=connector,
        tls_connector=tls_connector,
    )
    if options.direct is not None:
        _accept_direct(reactor, client, *options.direct)
    return client


def _accept_direct(reactor: Any, client: ChatClient, host: str, port: int) -> None:
    """Take direct connections: on this machine's own address alone where that is what others are told."""
    interface = host if host in ("127.0.0.1", "::1") else ""
    ending = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
    failures: list[Failure] = []
    # Endpoints of TCP know at once.
    client.accept_direct(ending(reactor, port, interface=interface), host).addErrback(failures.append)
    if failures:
        raise ClientError(f"cannot take direct connections: {failures[0].getErrorMessage()}")


def chat(options: ChatOptions) -> str:
    """Chat; return one line on what went wrong, an empty one if nothing did.

    Raises:
        Misuse: an option cannot be used.
    """
    for standard in (0, 1, 2):
        try:
            os.fstat(standard)
        except OSError:
            # Closed by whoever started us: what is opened next would be taken for it.
            os.open(os.devnull, os.O_RDWR)
    # The terminal view reads standard input and draws on standard error.
    terminal = not options.plain and all(map(os.isatty, (0, 1, 2)))
    if terminal and importlib.util.find_spec("textual") is None:
        print(NEEDS_TEXTUAL, file=sys.stderr)
        terminal = False
    # Twisted would write what it logs over the picture; what is worth an operator's look is shown afterwards.
    troubles = io.StringIO()
    level = LogLevelFilterPredicate(LogLevel.critical)
    observer = FilteringLogObserver(textFileLogObserver(troubles), [level])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
    try:
        return _on_the_terminal(options) if terminal else _in_lines(options)
    finally:
        print(troubles.getvalue(), end="", file=sys.stderr)


def _in_lines(options: ChatOptions) -> str:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    problems: list[str] = []
    client = make_client(reactor, options)
    output = LineOutput(1, lambda problem: plain.leave(problem))
    plain = PlainChat(
        client,
        reactor,
        output.write,
        name=options.name,
        rooms=options.rooms,
        connect_timeout_s=options.connect_timeout_s,
        hold=lambda held: lines.hold(held),
    )

    def ended(problem: str) -> None:
        if problem:
            plain.leave(problem)
        plain.end()

    lines = LineInput(reactor, 0, plain.line, ended)

    def finished(problem: str) -> None:
        problems.append(problem)
        if reactor.running:
            reactor.stop()

    plain.finished.addCallback(finished)

    def before_shutdown() -> Deferred[str] | None:
        plain.leave()
        return None if problems else plain.finished

    reactor.addSystemEventTrigger("before", "shutdown", before_shutdown)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(plain.leave))
    reactor.callWhenRunning(plain.start)
    reactor.callWhenRunning(lines.startReading)
    reactor.run()
    return "; ".join(filter(None, problems))


def _on_the_terminal(options: ChatOptions) -> str:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    from twisted.internet import asyncioreactor

    asyncioreactor.install(loop)
    from twisted.internet import reactor as installed

    from chatproto.cli.screen import ChatApp

    reactor: Any = installed
    client = make_client(reactor, options)
    app = ChatApp(client, options.place)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.leave)

    def terminal_is_gone(number: int, frame: object) -> None:
        # Textual's writing thread ends when it cannot write, and then whoever gives it work waits forever: what
        # is still drawn goes nowhere, and if that came too late, the alarm ends the process.
        signal.alarm(LEAVE_S_MAX)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)
        loop.call_soon_threadsafe(app.leave)

    signal.signal(signal.SIGHUP, terminal_is_gone)
    reactor.startRunning(installSignalHandlers=False)
    try:
        problem = loop.run_until_complete(app.run_async())
        if app.return_code:
            problem = "the terminal view has failed"
        loop.run_until_complete(maybeDeferred(client.stopService).asFuture(loop))
    finally:
        reactor.fireSystemEvent("shutdown")
    return problem or ""
