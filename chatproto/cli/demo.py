"""`chatproto demo`: a registry, a primary and a secondary on this machine, until Ctrl-C.

Each is a `twistd` process of its own, as an operator would start it; so one can be killed to see what happens.
"""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import msgspec

from chatproto.chat.messages import NONSENSE, Status
from chatproto.disk.directory import in_use
from chatproto.errors import ChatprotoError

HOST = "127.0.0.1"
TWISTD = "from twisted.scripts.twistd import run; run()"
START_S_MAX = 20.0
STOP_S_MAX = 5.0
LOOK_EVERY_S = 0.05


class DemoFailed(ChatprotoError):
    """The deployment could not be started."""


class DemoOptions(msgspec.Struct, frozen=True):
    """What can be set of a demonstration.

    Attributes:
        directory: where data and logs are kept; None for a temporary place that goes with it.
        port: of the primary's client link; the ones after it are used too.
        kill_primary_after_s: when to kill the primary; None for never.
    """

    directory: str | None
    port: int
    kill_primary_after_s: float | None


ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end the deployment."""


class Child:
    """One daemon of the deployment."""

    def __init__(self, name: str, arguments: Sequence[str], directory: str) -> None:
        """Start it; what it logs goes to a file beside its data."""
        self.name = name
        self.log = os.path.join(directory, f"{name}.log")
        daemon = ["--pidfile=", "chatserver", f"--data={os.path.join(directory, name)}", *arguments]
        self.command = " ".join(["twistd", "-n", *daemon])
        self.process = subprocess.Popen(
            [sys.executable, "-c", TWISTD, "--nodaemon", f"--logfile={self.log}", *daemon],
            stdin=subprocess.DEVNULL,
            # An interrupt typed here is for this program alone, which then ends its children in order.
            start_new_session=True,
            preexec_fn=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, ENDINGS),
        )

    def end(self) -> None:
        """End it politely, or not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def why(self) -> str:
        """Return the last line of its log."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                lines = log.read().strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "it said nothing"


def demo(options: DemoOptions, say: Callable[[str], None]) -> None:
    """Run the deployment until interrupted; `say` is called with what to tell.

    Raises:
        DemoFailed: it could not be started.
    """
    with ExitStack() as stack:
        directory = options.directory
        if directory is None:
            directory = tempfile.mkdtemp(prefix="chatproto-demo-")
            stack.callback(_clear, directory, say)
        else:
            try:
                os.makedirs(directory, exist_ok=True)
            except OSError as error:
                raise DemoFailed(f"{directory} cannot be used: {error.strerror}") from None
        # Its children outlive the terminal, so that one's end is to be theirs too.
        for ending in ENDINGS:
            signal.signal(ending, signal.default_int_handler)
        try:
            _run(options, directory, stack, say)
        except KeyboardInterrupt:
            say("Ending the deployment.")


def _clear(directory: str, say: Callable[[str], None]) -> None:
    """Remove the temporary place, unless somebody has started a node there again, by hand, that still runs."""
    lock_files = Path(directory).glob("*/lock")
    running = sorted(file.parent.name for file in lock_files if in_use(str(file.parent)))
    if running:
        say(f"{', '.join(running)} was started by hand and runs on: the data stays in {directory}.")
    else:
        shutil.rmtree(directory, ignore_errors=True)


def _run(options: DemoOptions, directory: str, stack: ExitStack, say: Callable[[str], None]) -> None:
    first = options.port
    # After the two ports for clients: the peer links, the registry, the pages, and what is measured of each.
    uses = (
        *("primary", "secondary", "peer 1", "peer 2", "registry", "page 1", "page 2"),
        *("primary metrics", "secondary metrics", "registry metrics"),
    )
    ports = dict(zip(uses, range(first, first + len(uses)), strict=True))
    _check_free(ports.values())
    measured = find_spec("prometheus_client") is not None

    def start(name: str, *arguments: str) -> Child:
        metrics = [f"--metrics=tcp:{ports[f'{name} metrics']}:interface={HOST}"] if measured else []
        return _start(stack, directory, name, *arguments, *metrics)

    children = {"registry": start("registry", f"--registry-listen=tcp:{ports['registry']}:interface={HOST}")}
    peers = (("primary", "peer 1", "peer 2", "page 1"), ("secondary", "peer 2", "peer 1", "page 2"))
    for name, own, other, page in peers:
        children[name] = start(
            name,
            f"--listen=tcp:{ports[name]}:interface={HOST}",
            f"--peer-listen=tcp:{ports[own]}:interface={HOST}",
            f"--peer=tcp:{HOST}:{ports[other]}",
            f"--registry=tcp:{HOST}:{ports['registry']}",
            f"--web=tcp:{ports[page]}:interface={HOST}",
        )
    servers = [f"{HOST}:{ports['primary']}", f"{HOST}:{ports['secondary']}"]
    began = time.monotonic()
    while (state := _redundancy(servers[0])) != "paired":
        for child in children.values():
            if child.process.poll() is not None:
                raise DemoFailed(f"{child.name} ended: {child.why()}")
        if time.monotonic() - began > START_S_MAX:
            raise DemoFailed(f"the pair is still {state} after {START_S_MAX:g} s; see the logs in {directory}")
        time.sleep(LOOK_EVERY_S)
    say(f"A registry, a primary and a secondary serve on this machine; data and logs are in {directory}.")
    say(f"  join:    chatproto chat {' '.join(servers)}")
    say(f"  page:    http://{HOST}:{ports['page 1']}/ or http://{HOST}:{ports['page 2']}/")
    say(f"  look:    chatproto status {' '.join(servers)}")
    if measured:
        places = [f"http://{HOST}:{ports[f'{name} metrics']}/metrics" for name in children]
        say(f"  metrics: {' '.join(places)}")
    else:
        say("  metrics: not here: pip install chatproto[metrics]")
    say(f"  kill:    kill -9 {children['primary'].process.pid}     (the primary; nothing said is lost)")
    say(f"  move:    chatproto switchover {os.path.join(directory, 'primary')}")
    say("  end:     Ctrl-C")
    _watch(options, children, servers, say)


def _start(stack: ExitStack, directory: str, name: str, *arguments: str) -> Child:
    # An interrupt that comes before it is known whom to end waits until then.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        child = Child(name, [f"--role={name}", *arguments], directory)
        stack.callback(child.end)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    return child


def _watch(options: DemoOptions, children: dict[str, Child], servers: list[str], say: Callable[[str], None]) -> None:
    kill_at = None
    if options.kill_primary_after_s is not None:
        kill_at = time.monotonic() + options.kill_primary_after_s
    seen = {server: _redundancy(server) for server in servers}
    ended: set[str] = set()
    while len(ended) < len(children):
        if kill_at is not None and time.monotonic() >= kill_at:
            kill_at = None
            children["primary"].process.kill()
            say("Killed the primary, as kill -9 does.")
        for name, child in children.items():
            if child.process.poll() is not None and name not in ended:
                ended.add(name)
                say(f"{name} is gone. To start it again, in another terminal, and to be ended there:")
                say(f"  {child.command}")
        for server in servers:
            state = _redundancy(server)
            if state != seen[server] and state is not None:
                say(f"{server} is {state} now.")
            seen[server] = state
        time.sleep(LOOK_EVERY_S)
    raise DemoFailed("every process of the deployment is gone")


def _check_free(ports: Iterable[int]) -> None:
    for port in ports:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOST, port))
            except OSError as error:
                raise DemoFailed(f"port {port} cannot be used: {error.strerror}; choose others with --port") from None


def _redundancy(server: str) -> str | None:
    """Ask a server how it stands; None if it does not say."""
    host, _, port = server.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0) as link:
            link.sendall(b'{"type":"status"}\n')
            data = b""
            while b"\n" not in data and select.select([link], [], [], 1.0)[0]:
                piece = link.recv(65536)
                if not piece:
                    return None
                data += piece
    except OSError:
        return None
    try:
        status = msgspec.json.decode(data.partition(b"\n")[0], type=Status)
    except NONSENSE:
        return None
    return status.redundancy if status.serving else "not serving"
