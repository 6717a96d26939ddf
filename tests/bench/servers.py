"""The servers that the benchmarks start: on one core each, on 127.0.0.1, ended by their process id."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent
PROJECT = BENCH.parent.parent
RESULTS = BENCH / "results"
FANBENCH = BENCH / "fanbench" / "build" / "fanbench"

# Every limit of ours that would slow a load generator.
UNLIMITED = (
    "--capacity=1000000",
    "--rate-limit=10000000",
    "--connections-per-address-max=1000000",
    "--greet-after=0.02",
)

START_S_MAX = 30.0
STOP_S_MAX = 15.0
QUIET_S_MAX = 10.0


class BenchError(Exception):
    """The measurement cannot go on; the text says why in one line."""


def _cores() -> tuple[set[int], set[int], set[int]]:
    """Return (cores of the servers, of a leader's follower, of the load)."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 4:
        load = set(allowed[1:]) or set(allowed)
        return set(allowed[:1]), load, load
    return set(allowed[:1]), set(allowed[1:2]), set(allowed[2:])


SERVER_CORES, FOLLOWER_CORES, LOAD_CORES = _cores()


def raise_open_files_limit() -> int:
    """Raise our limit of open files, which children inherit, as far as allowed; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def end_on_signals() -> None:
    """Make SIGTERM and SIGHUP unwind the stack, so that what we started is ended."""

    def unwind(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, unwind)
    signal.signal(signal.SIGHUP, unwind)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def data_directory() -> Iterator[Path]:
    """A directory beside the results, on disk: where such usually go is often memory, and syncing free."""
    RESULTS.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="data-", dir=RESULTS))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid: int, what: str = "VmRSS") -> int:
    """A figure of /proc/PID/status: VmRSS now, VmHWM at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1])
    raise BenchError(f"no {what} for process {pid}")


def forget_memory_peak(pid: int) -> None:
    """Let VmHWM begin again at the present VmRSS."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class Daemon:
    """A process that may be killed and started again, on the same data and the same ports."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, cores: set[int] | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = list(command)
        self._folder = folder
        self._cores = cores
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        assert not self.alive()
        cores = self._cores
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                # So that a daemon of ours finds `finelog`.
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=None if cores is None else lambda: os.sched_setaffinity(0, cores),
            )

    def kill(self) -> None:
        """`kill -9`; returns at once."""
        assert self._process is not None
        self._process.kill()

    def wait(self) -> None:
        """Wait until it is gone."""
        assert self._process is not None
        self._process.wait(STOP_S_MAX)

    def stop(self) -> None:
        if self._process is None or not self.alive():
            return
        self._process.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return " / ".join(lines[-3:]) or "it said nothing"


@dataclass
class Running:
    """A server that answers."""

    name: str
    dialect: str
    port: int
    daemon: Daemon

    @property
    def pid(self) -> int:
        return self.daemon.pid

    @property
    def followers(self) -> list[int]:
        """Processes that work for this one, whose CPU is told apart."""
        return []

    def alive(self) -> bool:
        return self.daemon.alive()

    def fault(self) -> str:
        """What makes figures of it worthless; empty if nothing does."""
        return "" if self.alive() else f"the server ended: {self.last_words()}"

    def wait_until_quiet(self) -> None:
        """Return when it has used no CPU for a fifth of a second: its goodbyes are said."""
        end = time.monotonic() + QUIET_S_MAX
        before = cpu_s(self.pid) if self.alive() else 0.0
        while self.alive() and time.monotonic() < end:
            time.sleep(0.2)
            after = cpu_s(self.pid)
            if after - before < 0.015:  # one tick of 10 ms is anybody's timer
                return
            before = after

    def last_words(self) -> str:
        return self.daemon.last_words()


class Server:
    """How to start one kind of server. `ours` is the one that the ratios are about."""

    def __init__(self, name: str, dialect: str, program: str) -> None:
        self.name, self.dialect = name, dialect
        self._found = shutil.which(program)

    def command(self, program: str, port: int, data: Path) -> list[str]:
        raise NotImplementedError

    def version(self) -> str:
        raise NotImplementedError

    @property
    def available(self) -> bool:
        return self._found is not None

    @contextmanager
    def running(self) -> Iterator[Running]:
        """Start it with an empty data directory; end it and remove the directory in the end."""
        if self._found is None:
            raise BenchError(f"{self.name} is not installed")
        with data_directory() as data:
            port = free_port()
            daemon = Daemon(self.name, self.command(self._found, port, data), data, SERVER_CORES)
            server = Running(self.name, self.dialect, port, daemon)
            daemon.start()
            try:
                self._wait_for_port(server)
                server.wait_until_quiet()
                yield server
            finally:
                daemon.stop()

    def _wait_for_port(self, server: Running) -> None:
        end = time.monotonic() + START_S_MAX
        while time.monotonic() < end:
            if not server.alive():
                raise BenchError(f"{self.name} ended while starting: {server.last_words()}")
            try:
                with socket.create_connection(("127.0.0.1", server.port), 1):
                    return
            except OSError:
                time.sleep(0.05)
        raise BenchError(f"{self.name} did not open its port within {START_S_MAX:g} s: {server.last_words()}")


class Ours(Server):
    """A single node with its archive on disk, every limit that would slow a load generator lifted."""

    def __init__(self, extra: Sequence[str] = ()) -> None:
        super().__init__("ours", "jsonroom", str(Path(sys.executable).with_name("twistd")))
        self.extra = list(extra)

    def command(self, program: str, port: int, data: Path) -> list[str]:
        return [
            program,
            "-n",
            "--pidfile=",
            "chatserver",
            "--role=primary",
            f"--data={data / 'node'}",
            f"--listen=tcp:{port}:interface=127.0.0.1:backlog=1024",
            *UNLIMITED,
            *self.extra,
        ]

    def version(self) -> str:
        import twisted

        return f"chatproto on Twisted {twisted.__version__}, Python {sys.version.split()[0]}"


class Redis(Server):
    """Pub/sub, nothing stored."""

    def __init__(self) -> None:
        super().__init__("redis", "resp", "redis-server")

    def command(self, program: str, port: int, data: Path) -> list[str]:
        return [program, str(BENCH / "fanbench" / "redis.conf"), "--port", str(port), "--dir", str(data)]

    def version(self) -> str:
        words = _first_line([str(self._found), "--version"]).split()
        return "Redis " + next((w[2:] for w in words if w.startswith("v=")), "of unknown version")


class Nats(Server):
    """Core NATS, nothing stored."""

    def __init__(self) -> None:
        super().__init__("nats", "nats", "nats-server")

    def command(self, program: str, port: int, data: Path) -> list[str]:
        return [program, "-c", str(BENCH / "fanbench" / "nats.conf"), "-a", "127.0.0.1", "-p", str(port)]

    def version(self) -> str:
        return "NATS " + _first_line([str(self._found), "--version"]).split()[-1].lstrip("v")


def _first_line(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.split("\n")[0]


def build_fanbench() -> None:
    """Compile the load generator if its source is newer than the program."""
    if shutil.which("make") is None or (shutil.which("cc") or shutil.which("gcc")) is None:
        raise BenchError("the load generator is C: install gcc and make")
    built = subprocess.run(
        ["make", "--no-print-directory", "-s", "-C", str(BENCH / "fanbench")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if built.returncode:
        raise BenchError(f"the load generator does not compile: {built.stderr.strip()}")
