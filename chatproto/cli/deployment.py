"""A deployment of daemons on this machine, to look at: each is a `twistd` process of its own; all end together."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from chatproto.disk.directory import in_use
from chatproto.errors import ChatprotoError

HOST = "127.0.0.1"
TWISTD = "from twisted.scripts.twistd import run; run()"
STOP_S_MAX = 5.0
LOOK_EVERY_S = 0.05
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end the deployment."""
CHAT = "chatserver"
NEWS = "newsserver"

Say = Callable[[str], None]


class DemoFailed(ChatprotoError):
    """The deployment could not be started."""


class Child:
    """One daemon of the deployment."""

    def __init__(self, name: str, daemon: str, arguments: Sequence[str], directory: str) -> None:
        """Start it; what it logs goes to a file beside its data."""
        self.name = name
        self.log = os.path.join(directory, f"{name}.log")
        words = ["--pidfile=", daemon, f"--data={os.path.join(directory, name)}", *arguments]
        self.command = " ".join(["twistd", "-n", *words])
        self.process = subprocess.Popen(
            [sys.executable, "-c", TWISTD, "--nodaemon", f"--logfile={self.log}", *words],
            stdin=subprocess.DEVNULL,
            # An interrupt typed here is for this program alone, which then ends its children in order.
            start_new_session=True,
            preexec_fn=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, ENDINGS),
        )

    def ended(self) -> bool:
        """Whether it has."""
        return self.process.poll() is not None

    def end(self) -> None:
        """End it politely, or not."""
        if not self.ended():
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


class Deployment:
    """Daemons that run, and end with this.

    Attributes:
        directory: where their data and logs are.
        children: by name.
        measured: whether they can be asked for metrics.
    """

    def __init__(self, directory: str, stack: ExitStack, say: Say) -> None:
        """Make one that has none yet; they are ended by `stack`, the last first."""
        self.directory = directory
        self.children: dict[str, Child] = {}
        self.measured = find_spec("prometheus_client") is not None
        self._stack = stack
        self._say = say
        self._metrics: list[str] = []
        self._told: set[str] = set()

    def start(self, name: str, *arguments: str, daemon: str = CHAT, metrics: int) -> Child:
        """Start a daemon; its metrics are at that port, if there can be any."""
        if self.measured:
            arguments = (*arguments, f"--metrics={listening(metrics)}")
            self._metrics.append(f"http://{HOST}:{metrics}/metrics")
        # An interrupt that comes before it is known whom to end waits until then.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
        try:
            child = self.children[name] = Child(name, daemon, arguments, self.directory)
            self._stack.callback(child.end)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
        return child

    @property
    def metrics(self) -> str:
        """Where the metrics are, in words."""
        return " ".join(self._metrics) if self.measured else "not here: pip install chatproto[metrics]"

    def check(self) -> None:
        """Look whether all have stayed while others start.

        Raises:
            DemoFailed: one has not.
        """
        for child in self.children.values():
            if child.ended():
                raise DemoFailed(f"{child.name} ended: {child.why()}")

    def look(self) -> list[str]:
        """Tell of those that have ended since the last look; return their names.

        Raises:
            DemoFailed: there is none left.
        """
        if len(self._told) == len(self.children):
            raise DemoFailed("every process of the deployment is gone")
        gone = [name for name, child in self.children.items() if child.ended() and name not in self._told]
        for name in gone:
            self._say(f"{name} is gone. To start it again, in another terminal, and to be ended there:")
            self._say(f"  {self.children[name].command}")
        self._told.update(gone)
        return gone


@contextmanager
def deployment(directory: str | None, say: Say) -> Iterator[Deployment]:
    """Have a deployment until this is left, or interrupted; `say` is called with what to tell.

    Args:
        directory: where data and logs are kept; None for a temporary place that goes with it.
        say: is called with each line to tell.

    Raises:
        DemoFailed: the directory cannot be used.
    """
    with ExitStack() as stack:
        if directory is None:
            directory = tempfile.mkdtemp(prefix="chatproto-demo-")
            stack.callback(clear, directory, say)
        else:
            try:
                os.makedirs(directory, exist_ok=True)
            except OSError as error:
                raise DemoFailed(f"{directory} cannot be used: {error.strerror}") from None
        # Its children outlive the terminal, so that one's end is to be theirs too.
        for ending in ENDINGS:
            signal.signal(ending, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            yield Deployment(directory, stack, say)
        say("Ending the deployment.")


def clear(directory: str, say: Say) -> None:
    """Remove the temporary place, unless somebody has started a node there again, by hand, that still runs."""
    lock_files = Path(directory).glob("*/lock")
    running = sorted(file.parent.name for file in lock_files if in_use(str(file.parent)))
    if running:
        say(f"{', '.join(running)} was started by hand and runs on: the data stays in {directory}.")
    else:
        shutil.rmtree(directory, ignore_errors=True)


def listening(port: int) -> str:
    """Return the server endpoint of a port of this machine."""
    return f"tcp:{port}:interface={HOST}"


def dialling(port: int) -> str:
    """Return the client endpoint of it."""
    return f"tcp:{HOST}:{port}"


def check_free(ports: Iterable[int], kind: int = socket.SOCK_STREAM) -> None:
    """Look whether ports can be listened on: TCP ones, or of another kind of socket.

    Raises:
        DemoFailed: one cannot.
    """
    for port in ports:
        with socket.socket(type=kind) as trial:
            if kind == socket.SOCK_STREAM:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOST, port))
            except OSError as error:
                raise DemoFailed(f"port {port} cannot be used: {error.strerror}; choose others with --port") from None
