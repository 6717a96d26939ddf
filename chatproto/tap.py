"""`twistd chatserver`: the one place that picks the real reactor, clock, dice and disk."""

import gc
import os
import random
import resource
import secrets
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, NoReturn

from OpenSSL import SSL
from twisted.application.service import IService, MultiService, Service
from twisted.internet.endpoints import SSL4ServerEndpoint, clientFromString, serverFromString
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from chatproto.configured import ConfiguredOptions
from chatproto.errors import MissingExtra, TrustError
from chatproto.files import write_whole
from chatproto.jsonlog import logged_as_json
from chatproto.keyvalue.sqlite import SQLiteTable
from chatproto.live import LiveOptions
from chatproto.log.search import SearchIndex
from chatproto.log.sqlite import SQLiteStore
from chatproto.options import Options
from chatproto.readers import ENDPOINT_ERRORS
from chatproto.services import build_monitor, build_node, build_registry
from chatproto.services.systemd import supervisor_of
from chatproto.tally import Tally
from chatproto.trust.certificates import Certificates
from chatproto.trust.certified import Certified
from chatproto.trust.endpoints import host_for_tls, plain
from chatproto.trust.sharing import SharedSecret, read_secret
from chatproto.trust.watch import CertificateWatch
from chatproto.udp import listening_by
from chatproto.world import FILES_BESIDE_CONNECTIONS, World

BACKLOG = 1024
SWITCH_INTERVAL_S = 0.0005
"""How long the reactor may wait for a thread that reads the archive; Python's 5 ms is ten commits."""

SECRET_FILE = "secret"
SECRET_CHARS_MAX = 256

log = Logger()


def real_world(files_max: int = 0, kind: str = "") -> World:
    """Return the real outside of a daemon; `fatal` ends the process at once, with status 1.

    It may have `files_max` files open; 0 for any number. A data directory is taken by nodes of its `kind` alone.
    """
    from twisted.internet import reactor

    return World(
        clock=reactor,
        now=time.time,
        dice=random.SystemRandom(),
        server=lambda description: without_negotiation(serverFromString(reactor, with_backlog(description))),
        client=lambda description: clientFromString(reactor, description),
        store=lambda directory, failed: SQLiteStore(directory, failed, reactor, kind),  # type: ignore[arg-type]
        keyvalue=lambda directory, failed: SQLiteTable(directory, failed, reactor, kind),  # type: ignore[arg-type]
        search=lambda directory: SearchIndex(directory, reactor),  # type: ignore[arg-type]
        fatal=_die,
        udp=listening_by(reactor),
        aside=deferToThread,
        secret=secret_in,
        stop=_stop,
        supervisor=supervisor_of(os.environ, os.getpid()),
        files_max=files_max,
    )


def secret_in(directory: str) -> str:
    """Return the secret that a data directory keeps; one is drawn where it has none.

    Raises:
        OSError: it can be neither read nor kept.
    """
    path = os.path.join(directory, SECRET_FILE)
    try:
        with open(path) as file:
            secret = file.read(SECRET_CHARS_MAX).strip()
    except FileNotFoundError:
        secret = ""
    if not secret:
        secret = secrets.token_hex()
        # A process may be killed anywhere. After a power cut there may be none, and another one is drawn.
        write_whole(path, secret.encode(), 0o600)
    return secret


def with_backlog(description: str) -> str:
    """Return a server endpoint's description with a backlog for a herd that returns at once, unless it says its own.

    Twisted's 50 make the rest of a herd wait for retransmissions, of 1 s, 3 s and longer.
    """
    if description.partition(":")[0] in ("tcp", "tcp6", "ssl", "unix") and "backlog=" not in description:
        return f"{description}:backlog={BACKLOG}"
    return description


def without_negotiation(endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
    """Return a server endpoint that ignores which protocols clients offer (ALPN), if it is Twisted's `ssl:`.

    Twisted ends the handshake of whoever offers any, unless what is served chooses one of them.
    """
    if isinstance(endpoint, SSL4ServerEndpoint):
        # Nothing public leads from a description to its context.
        context = endpoint._sslContextFactory.getContext()
        context.set_alpn_select_callback(lambda connection, offered: SSL.NO_OVERLAPPING_PROTOCOLS)
    return endpoint


class CannotStart(Exception):
    """The node cannot start; `twistd` tells whoever started it, in the foreground or as a daemon, and ends."""


def _die(reason: str) -> NoReturn:
    """End as a crash would, which everything here is built to survive: no more is written, said or promised."""
    from twisted.internet import reactor

    log.critical("{reason}: this process ends", reason=reason)
    if not reactor.running:
        # `twistd` hands an exception to the process that waits for the daemon's start; a plain exit would leave
        # that one waiting for ever.
        sys.excepthook = _leave_out_what_was_said
        raise CannotStart(reason)
    sys.stdout.flush()
    os._exit(1)


def _stop() -> None:
    """End as SIGTERM has it end, unless it ends already."""
    from twisted.internet import reactor

    with suppress(ReactorNotRunning):
        reactor.stop()


def _hurry_when_told_again(hurry: Callable[[], None]) -> None:
    """Have SIGTERM and SIGINT hurry an end that is under way; Twisted takes the second one for a mistake."""
    from twisted.internet import reactor as installed

    reactor: Any = installed

    def take_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: reactor.callFromThread(hurry))

    reactor.addSystemEventTrigger("before", "shutdown", take_signals)


def _reload_when_told(reload: Callable[[], object]) -> None:
    """Have SIGHUP, which would end the process, read again what can be changed while it runs."""
    from twisted.internet import reactor as installed

    reactor: Any = installed

    def take_signal() -> None:
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reload))

    reactor.callWhenRunning(take_signal)


def _tell_at_the_end(tally: Tally) -> None:
    """Log, when all is over, which connections were dropped."""
    from twisted.internet import reactor as installed

    reactor: Any = installed

    def tell() -> None:
        if dropped := tally.summary():
            log.info("dropped since the start: {dropped}", dropped=dropped)

    reactor.addSystemEventTrigger("after", "shutdown", tell)


def _leave_out_what_was_said(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Show no traceback for what the log has in one line."""
    if not isinstance(error, CannotStart):
        sys.__excepthook__(kind, error, where)


def _raise_open_files() -> int:
    """Raise the limit of open files to what is allowed, and return it; 0 where there is none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    log.info("{files} open files are allowed", files=hard)
    return 0 if hard == resource.RLIM_INFINITY else hard


def _check_open_files(files_max: int, capacity: int) -> None:
    wanted = capacity + FILES_BESIDE_CONNECTIONS
    if files_max and files_max < wanted:
        log.warn(
            "{files} open files are allowed, {wanted} are needed for a capacity of {capacity}: raise `ulimit -n`",
            files=files_max,
            wanted=wanted,
            capacity=capacity,
        )


def makeService(options: Options) -> IService:
    """Build the service tree that the options ask for."""
    capacity = 0 if options["role"] == "registry" else options["capacity"]
    return make_tree(options, lambda world: _make_role(world, options), capacity)


def make_tree(options: ConfiguredOptions, make: Callable[[World], MultiService], capacity: int) -> IService:
    """Build a daemon's service tree in the real world, as the options want that to be.

    Args:
        options: parsed.
        make: builds the tree of the role, and puts it under signals.
        capacity: how many connections it wants to have; 0 where that does not matter.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        world, watches = guard(real_world(_raise_open_files(), options.kind), options)
    except TrustError as error:
        _die(str(error))
    _reload_when_told(world.reloading.reload)
    _tell_at_the_end(world.tally)
    if capacity:
        _check_open_files(world.files_max, capacity)
    try:
        tree = make(world)
    except MissingExtra as error:
        _die(str(error))
    except ENDPOINT_ERRORS as error:
        _die(f"cannot use {_wrong_endpoint(world, options)}: {error}")
    for watch in watches:
        watch.setServiceParent(tree)
    # What was imported stays: to look through it again and again for garbage holds everybody up for 20 ms.
    gc.collect()
    gc.freeze()
    return logged_as_json(tree, options.parent) if options["log-format"] == "json" else tree


def guard(world: World, options: ConfiguredOptions) -> tuple[World, list[Service]]:
    """Return the world with links as the options want them guarded, and the services that keep that up to date.

    Raises:
        TrustError: certificates, or the secret, cannot be used.
    """
    if options["secret-file"]:
        secret = read_secret(options["secret-file"])
        return replace(world, trust=SharedSecret(secret, options["name"])), []
    if not options["tls"]:
        return world, []
    certificates = Certificates(options["tls"], options["name"], world.now)
    trust = Certified(certificates, options["registry-name"])
    watch = CertificateWatch(certificates, world.clock)
    watch.setName("certificates")
    world.reloading.add("certificates", watch.read_again)

    def server(description: str) -> IStreamServerEndpoint:
        beneath = plain(description)
        return world.server(description) if beneath is None else trust.for_clients(world.server(beneath))

    def client(description: str) -> IStreamClientEndpoint:
        host = host_for_tls(description)
        if host is None:
            return world.client(description)
        return trust.as_client(world.client("tcp" + description.removeprefix("tls")), host)

    return replace(world, trust=trust, server=server, client=client), [watch]


def _make_role(world: World, options: Options) -> MultiService:
    if options["role"] == "registry":
        registry = build_registry(world, options.registry_settings())
        return under_signals(world, registry, registry.hurry, LiveOptions(options, None))
    if options["role"] == "monitor":
        monitor = build_monitor(world, options.monitor_settings())
        live = LiveOptions(options, lambda fresh: monitor.change(fresh.monitor_settings()))
        return under_signals(world, monitor, monitor.hurry, live)
    node = build_node(world, options.settings())

    def change(fresh: Options) -> None:
        _check_open_files(world.files_max, fresh["capacity"])
        node.change(fresh.settings())

    return under_signals(world, node, node.drain.hurry, LiveOptions(options, change))


def under_signals(world: World, tree: MultiService, hurry: Callable[[], None], live: LiveOptions[Any]) -> MultiService:
    """Have a second SIGTERM hurry the end of a tree, and SIGHUP read its options again."""
    _hurry_when_told_again(hurry)
    world.reloading.add("options", live.read_again)
    return tree


def _wrong_endpoint(world: World, options: ConfiguredOptions) -> str:
    """Return the option whose endpoint cannot be parsed."""
    for option, description, serves in options.endpoints():
        try:
            (world.server if serves else world.client)(description)
        except ENDPOINT_ERRORS:
            return f"{option} {description}"
    return "an endpoint"
