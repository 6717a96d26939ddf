"""What the integration tests share: a `twistd -n chatserver` child, and clients that are nothing but a socket.

Everything is on 127.0.0.1; ports are chosen by the kernel and read from the child's log; a child is ended by
its process id alone; every wait has a deadline.
"""

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from chatproto.cli.archive import archive

PROJECT = Path(__file__).resolve().parents[2]
WAIT_S_MAX = 30.0
"""How long anything may take that is expected to happen; a loaded machine is slow, a hung one is caught."""

TROUBLE = ("Traceback", "Unhandled")
GREET_AFTER_S = 1.0
"""Not so soon as nodes do it unless told: a test's client on a loaded machine says hello late."""

_fences = count(1)


def environment() -> dict[str, str]:
    """Return an environment in which a child finds this checkout, from whatever folder."""
    return {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}


def twistd(constants: Mapping[str, Any] | None = None) -> list[str]:
    """Return the command of the `twistd` that belongs to this Python.

    Constants of modules, by their full names, can be made small, where waiting for the real ones would take hours.
    """
    if constants:
        setting = [
            f"import {module}; assert {full}; {full} = {value!r}"
            for full, value in constants.items()
            for module in (full.rpartition(".")[0],)
        ]
        return [sys.executable, "-c", "\n".join([*setting, "from twisted.scripts.twistd import run", "run()"])]
    script = Path(sys.executable).with_name("twistd")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = WAIT_S_MAX) -> Any:
    """Return what `condition` gives as soon as that is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)
    return value


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def line(type: str, **fields: Any) -> bytes:
    """Return a line as a client may write it."""
    return json.dumps({"type": type, **fields}, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


# The base protocol's lines, byte for byte


def newidentity(former: str, identity: str) -> bytes:
    return b'{"type":"newidentity","former":"%b","identity":"%b"}\n' % (former.encode(), identity.encode())


def roomchange(identity: str, former: str, roomid: str) -> bytes:
    return b'{"type":"roomchange","identity":"%b","former":"%b","roomid":"%b"}\n' % (
        identity.encode(),
        former.encode(),
        roomid.encode(),
    )


def roomlist(*rooms: tuple[str, int]) -> bytes:
    return b'{"type":"roomlist","rooms":[%b]}\n' % b",".join(
        b'{"roomid":"%b","count":%d}' % (name.encode(), many) for name, many in rooms
    )


def roomcontents(roomid: str, identities: Iterable[str], owner: str = "") -> bytes:
    return b'{"type":"roomcontents","roomid":"%b","identities":[%b],"owner":"%b"}\n' % (
        roomid.encode(),
        b",".join(b'"%b"' % name.encode() for name in identities),
        owner.encode(),
    )


def message(identity: str, content: str) -> bytes:
    return b'{"type":"message","identity":"%b","content":%b}\n' % (
        identity.encode(),
        json.dumps(content, ensure_ascii=False).encode(),
    )


class Client:
    """One connection that writes bytes and reads lines."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.greeting: list[bytes] = []
        self.welcome: dict[str, Any] = {}
        self._rest = bytearray()
        self._at = 0

    # Out

    def write(self, *data: bytes) -> None:
        self.socket.settimeout(WAIT_S_MAX)
        self.socket.sendall(b"".join(data))

    def send(self, type: str, **fields: Any) -> None:
        self.write(line(type, **fields))

    def say(self, *contents: str) -> None:
        self.write(*(line("message", content=content) for content in contents))

    # In

    def read_line(self, seconds: float = WAIT_S_MAX) -> bytes:
        """Return the next line with its newline; `EOFError` at the end, `ConnectionResetError` at a reset."""
        end = time.monotonic() + seconds
        while (stop := self._rest.find(b"\n", self._at)) < 0:
            self._read(end)
        found = bytes(self._rest[self._at : stop + 1])
        self._at = stop + 1
        return found

    def _read(self, end: float) -> None:
        del self._rest[: self._at]
        self._at = 0
        left = end - time.monotonic()
        if left <= 0:
            raise AssertionError(f"no line came; unfinished: {bytes(self._rest[:200])!r}")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            raise AssertionError(f"no line came; unfinished: {bytes(self._rest[:200])!r}") from None
        if not data:
            raise EOFError(bytes(self._rest))
        self._rest += data

    @property
    def unread(self) -> bytes:
        """Return what has been received and not been read."""
        return bytes(self._rest[self._at :])

    def read(self, seconds: float = WAIT_S_MAX) -> dict[str, Any]:
        """Return the next line, decoded."""
        return json.loads(self.read_line(seconds))

    def drain(self) -> list[bytes]:
        """Return every line that came because of what happened until now, for this client's own acts too.

        The answer to a harmless question, which a node answers in its turn, marks the end.
        """
        fence = f"fence{next(_fences)}"
        self.send("who", roomid=fence)
        last = roomcontents(fence, [])
        return list(iter(self.read_line, last))

    def messages(self) -> list[dict[str, Any]]:
        """Return what `drain` does, decoded."""
        return [json.loads(found) for found in self.drain()]

    def until(self, type: str, **fields: Any) -> dict[str, Any]:
        """Return the next line of a type with these fields; what comes before is lost."""
        return self.collect(type, **fields)[-1]

    def collect(self, type: str, **fields: Any) -> list[dict[str, Any]]:
        """Return all lines up to the next one of a type with these fields, that one included."""
        found = []
        end = time.monotonic() + WAIT_S_MAX
        while time.monotonic() < end:
            found.append(self.read())
            if found[-1]["type"] == type and fields.items() <= found[-1].items():
                return found
        raise AssertionError(f"no {type} {fields} among {found[-20:]}")

    def read_to_end(self) -> bytes:
        """Return everything up to the end of the connection, polite or not."""
        end = time.monotonic() + WAIT_S_MAX
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                self._read(end)
        return bytes(self._rest[self._at :])

    def widen(self) -> None:
        """Read as fast as others from here on, if the buffer was made small."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def lines_to_end(self) -> list[bytes]:
        return self.read_to_end().splitlines(keepends=True)

    # Manners

    def hello(self, **fields: Any) -> dict[str, Any]:
        """Say hello; return the welcome, which must be the first line."""
        self.send("hello", **{"version": 1, **fields})
        answer = self.read()
        while answer["type"] == "notice":
            self.greeting.append(json.dumps(answer).encode())
            answer = self.read()
        assert answer["type"] == "welcome", answer
        self.welcome = answer
        return answer

    @property
    def token(self) -> str:
        return str(self.welcome["session"])

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """End as a broken connection does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


class Node:
    """A `twistd -n chatserver` child. It may be started again after it ended, on the same data directory.

    Attributes:
        daemon: what `twistd` runs, and what that is always told.
    """

    daemon: tuple[str, ...] = ("chatserver", f"--greet-after={GREET_AFTER_S}")

    def __init__(
        self,
        folder: Path,
        *options: str,
        data: Path | None = None,
        listen: str | None = "tcp:0:interface=127.0.0.1",
        wrapper: Iterable[str] = (),
        prepare: Callable[[], None] | None = None,
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data" if data is None else data
        self.log_path = folder / "node.log"
        self.options = list(options)
        self.listen = listen
        self.port = 0
        self.clients: list[Client] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._wrapper = list(wrapper)
        self._prepare = prepare
        self._constants = constants
        self._log_start = 0

    # Life

    def launch(self) -> None:
        """Start the child; return at once."""
        assert self.process is None or self.process.poll() is not None
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *self._wrapper,
                    *twistd(self._constants),
                    "-n",
                    "--pidfile=",
                    *self.daemon,
                    f"--data={self.data}",
                    *([] if self.listen is None else [f"--listen={self.listen}"]),
                    *self.options,
                ],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=self._prepare,
            )

    def start(self) -> "Node":
        """Start the child; return when it listens."""
        self.launch()
        wait_until(self.listens, "the node listens")
        return self

    def listens(self) -> bool:
        """Whether the child listens, for clients where there are any; then `port` is known. It must not have ended."""
        where = "" if self.listen is None else re.escape(self.listen)
        found = re.search(rf"listening on {where}[^\n]*Address\((?:[^\n]*port=(\d+))?", self.log())
        if found is not None:
            self.port = int(found[1] or 0)
        elif self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode} while starting:\n{self.log()}")
        return found is not None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait(self, seconds: float = WAIT_S_MAX) -> int:
        """Return the exit status, once it ended by itself."""
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(WAIT_S_MAX)

    def terminate(self) -> int:
        """SIGTERM, and what comes of it."""
        assert self.process is not None
        self.process.terminate()
        return self.wait()

    def end(self) -> None:
        """Leave nothing behind."""
        for client in self.clients:
            client.close()
        if self.alive():
            self.kill()

    # Looking inside

    def log(self) -> str:
        """Return what the present child has said so far."""
        with contextlib.suppress(FileNotFoundError), self.log_path.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")
        return ""

    def whole_log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.log(), f"the log says {text!r}")

    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]

    def archive(self, room: str | None = None) -> list[dict[str, Any]]:
        """Return the committed archive, as `chatproto archive` exports it."""
        lines: list[str] = []
        archive(str(self.data), room, lines.append)
        return [json.loads(found) for found in lines]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the database, read only."""
        database = sqlite3.connect(f"file:{self.data / 'log.sqlite'}?mode=ro", uri=True, timeout=WAIT_S_MAX)
        try:
            return database.execute(sql).fetchall()
        finally:
            database.close()

    # Clients

    def connect(self, receive_bytes: int | None = None) -> Client:
        """Return a connection that has said nothing; `receive_bytes` is what its kernel holds unread."""
        connection = socket.socket()
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(WAIT_S_MAX)
        connection.connect(("127.0.0.1", self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.take(connection)

    def take(self, connection: "socket.socket | ssl.SSLSocket") -> Client:
        client = Client(connection)
        self.clients.append(client)
        return client

    def base(self, identity: str | None = None, room: str | None = None) -> Client:
        """Return a base client, under a name and in a room, with nothing unread but its greeting in `greeting`."""
        client = self.connect()
        client.greeting = client.drain()
        if identity is not None:
            client.send("identitychange", identity=identity)
        if room is not None:
            client.send("join", roomid=room)
        client.drain()
        return client

    def extended(self, identity: str | None = None, **fields: Any) -> Client:
        """Return an extended client with nothing unread but its greeting in `greeting`."""
        client = self.connect()
        client.hello(**({} if identity is None else {"identity": identity}), **fields)
        client.greeting += client.drain()
        return client


def fill(node: Node, count: int, size: int) -> list[str]:
    """Have a base client say a lot in MainHall, quickly; return what it said. Needs `--rate-limit=0`."""
    client = node.base("filler")
    said = [f"{number} ".ljust(size, "x") for number in range(1, count + 1)]

    def hear() -> None:
        heard = 0
        while heard < count:
            heard += client.socket.recv(1 << 20).count(b"\n")

    client.socket.settimeout(WAIT_S_MAX)
    hearing = threading.Thread(target=hear, daemon=True)
    hearing.start()
    for start in range(0, count, 1000):
        client.socket.sendall(b"".join(line("message", content=content) for content in said[start : start + 1000]))
    hearing.join(WAIT_S_MAX)
    assert not hearing.is_alive()
    client.send("quit")
    client.read_to_end()
    return said


def settle(*clients: Client) -> None:
    """Read all that is there."""
    for client in clients:
        client.drain()


def agree(client: Client) -> None:
    """Have an extended client cause an entry of the log that changes nothing: what was submitted before is applied."""
    client.send("leave", roomid="nowhere")
    client.drain()


def numbered(messages: Iterable[dict[str, Any]]) -> list[int]:
    """Return the indexes of the messages among some lines."""
    return [found["index"] for found in messages if found["type"] == "message"]


def stop_process(process: "subprocess.Popen[Any]") -> None:
    """End a process that a test started, by its id."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT_S_MAX)


@contextlib.contextmanager
def soon(seconds: float) -> Iterator[None]:
    """Fail when what is inside takes longer."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    assert took < seconds, f"took {took:.2f} s, not {seconds}"
