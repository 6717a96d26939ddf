"""What the page's port does with those who are no browsers: bare sockets that break every rule and ceiling."""

import contextlib
import json
import socket
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from chatproto.gateway.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.integration.nodes import WAIT_S_MAX, Node, wait_until
from tests.integration.pairs import HOST, lasting_ports
from tests.unit.gateway.wire import masked

MIB = 1 << 20


class Visitor:
    """A socket at the page's port."""

    def __init__(self, port: int, receive_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(WAIT_S_MAX)
        self.socket.connect((HOST, port))
        self.port = port
        self._rest = b""

    def upgrade(self, origin: str = "") -> int:
        """Ask for a WebSocket; return the status."""
        said = f"Origin: {origin}\r\n" if origin else ""
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {HOST}:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{said}\r\n".encode()
        )
        while b"\r\n\r\n" not in self._rest:
            self._rest += self.socket.recv(65536)
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return int(head.split()[1])

    def hello(self, **fields: Any) -> dict[str, Any]:
        self.send(TEXT, json.dumps({"type": "hello", "version": 1, **fields}).encode())
        return self.until("welcome")

    def send(self, opcode: int, payload: bytes = b"", **how: Any) -> None:
        self.socket.sendall(masked(opcode, payload, **how))

    def frame(self) -> tuple[int, bytes]:
        """Return the next frame: its opcode and payload."""
        first, size = self._take(2)
        if size >= 126:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        return first & 0x0F, self._take(size)

    def _take(self, count: int) -> bytes:
        while len(self._rest) < count:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self._rest)
            self._rest += data
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def until(self, type: str) -> dict[str, Any]:
        """Return the next line of a type; what came with it or before is lost."""
        while True:
            opcode, payload = self.frame()
            for line in payload.split(b"\n") if opcode == TEXT else ():
                if (found := json.loads(line))["type"] == type:
                    return found

    def close_code(self) -> int:
        """Return the code that the server ends with; whatever comes before is lost."""
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload, "big")

    def ended(self) -> bool:
        """Wait for the end of the connection, polite or not."""
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65536):
                pass
        return True


@pytest.fixture
def web(start_node: Callable[..., Node]) -> tuple[Node, int]:
    (port,) = lasting_ports(1)
    constants = {"chatproto.http.REQUEST_S_MAX": 1.0, "chatproto.link.LINGER_S_MAX": 0.5}
    options = (
        f"--web=tcp:{port}:interface={HOST}",
        "--ping-every=0.5",
        "--silence-max=1",
        "--backlog-bytes-max=200000",
        # What an index of what is said costs is not the page's.
        "--no-search",
    )
    return start_node(*options, "--rate-limit=0", constants=constants), port


def test_every_breach_is_told_its_code(web: tuple[Node, int]) -> None:
    _, port = web
    long = b"x" * 65537
    for data, code in (
        (masked(TEXT, b"\xed\xa0\x80"), 1007),
        (masked(BINARY, b"{}"), 1003),
        (b"\x81\x02{}", 1002),
        (masked(TEXT, b"{}", bits=4), 1002),
        (masked(CONTINUATION, b"{}"), 1002),
        (masked(TEXT, final=False) + masked(TEXT), 1002),
        (masked(PING, final=False), 1002),
        (masked(CLOSE, b"\x03"), 1002),
        (masked(CLOSE, b"\x03\xee"), 1002),
        (masked(CLOSE, b"\x0f\xa0bye"), 4000),
        (masked(TEXT, long), 1009),
        (masked(TEXT, long[:40000], final=False) + masked(CONTINUATION, long[:40000]), 1009),
    ):
        visitor = Visitor(port)
        assert visitor.upgrade() == 101
        visitor.socket.sendall(data)
        assert visitor.close_code() == code, data[:20]
        assert visitor.ended()


def test_origins(start_node: Callable[..., Node]) -> None:
    port, other = lasting_ports(2)
    start_node(f"--web=tcp:{port}:interface={HOST}", "--web-advertise=https://chat.example")
    start_node(f"--web=tcp:{other}:interface={HOST}", "--web-origins=https://proxy.example")
    for at, origin, status in (
        (port, "", 101),
        (port, f"http://{HOST}:{port}", 101),
        (port, "https://chat.example", 101),
        (port, f"http://{HOST}:{other}", 403),
        (port, "https://evil.example", 403),
        (port, "null", 403),
        (other, "https://proxy.example", 101),
        (other, f"http://{HOST}:{other}", 403),
    ):
        assert Visitor(at).upgrade(origin) == status, (at, origin)


def test_a_message_without_end_and_a_bomb_cost_next_to_nothing(web: tuple[Node, int]) -> None:
    node, port = web
    Visitor(port).upgrade()
    before = node.rss_mib()
    unfinished = Visitor(port)
    assert unfinished.upgrade() == 101
    with contextlib.suppress(ConnectionError):
        unfinished.socket.sendall(masked(TEXT, b"", final=False))
        for _ in range(50):
            unfinished.socket.sendall(masked(CONTINUATION, b"x" * MIB, final=False, mask=b"\0\0\0\0"))
    unfinished.ended()
    empty = Visitor(port)
    assert empty.upgrade() == 101
    empty.send(TEXT, final=False)
    for _ in range(10):
        empty.socket.sendall(masked(CONTINUATION, final=False) * 10000)
    empty.send(CONTINUATION, b"still here")
    empty.send(PING, b"yes")
    while empty.frame() != (PONG, b"yes"):
        pass
    bomb = Visitor(port)
    assert bomb.upgrade() == 101
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb.send(TEXT, (packed.compress(b"x" * 50 * MIB) + packed.flush(zlib.Z_SYNC_FLUSH))[:60000], bits=4)
    assert bomb.close_code() == 1002
    grown = node.rss_mib() - before
    print(f"{grown:.2f} MiB")
    assert grown < 2


def test_one_that_never_reads_is_dropped_before_much_piles_up(web: tuple[Node, int]) -> None:
    node, port = web
    deaf = Visitor(port, receive_bytes=4096)
    assert deaf.upgrade() == 101
    deaf.hello(identity="deaf", history="none")
    before = node.rss_mib()
    talker = node.extended("talker", history="none")
    content = "x" * 16000
    deadline = time.monotonic() + WAIT_S_MAX
    while "dropped at page: backlog" not in node.log():
        assert time.monotonic() < deadline
        talker.send("message", content=content)
        with contextlib.suppress(OSError):
            deaf.socket.sendall(masked(PING, b"?" * 125) * 100)
        talker.until("message")
    assert node.rss_mib() - before < 4
    wait_until(deaf.ended, "it is ended")


def test_one_that_does_not_answer_pings_is_dropped_and_one_that_does_is_not(web: tuple[Node, int]) -> None:
    _, port = web
    alive, dead, base = Visitor(port), Visitor(port), Visitor(port)
    for visitor in (alive, dead, base):
        assert visitor.upgrade() == 101
    alive.hello(identity="alive")
    dead.hello(identity="dead")
    base.send(TEXT, b'{"type":"list"}')
    for _ in range(5):
        while alive.frame()[0] != PING:
            pass
        alive.send(PONG)
    assert dead.ended()
    assert base.ended()
    alive.send(TEXT, b'{"type":"list"}')
    alive.until("roomlist")


def test_requests_that_trickle_in_or_are_too_large_are_ended(web: tuple[Node, int]) -> None:
    _, port = web
    idle, slow, large, body = Visitor(port), Visitor(port), Visitor(port), Visitor(port)
    large.socket.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000)
    assert large.ended()
    body.socket.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    assert b" 405 " in body.socket.recv(65536)
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < began + WAIT_S_MAX:
            slow.socket.sendall(b"G")
            slow.socket.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                if not slow.socket.recv(1):
                    break
    assert time.monotonic() - began < WAIT_S_MAX / 2
    assert idle.ended()
