"""Those who abuse a server's ports, each kind in a process of its own: loops over epoll, cheaper than what they cost.

Each is a generator: what it yields first it has set up, and then it goes on until it is thrown away. The addresses
that they come from are of the loopback network, and not the one that ordinary clients come from.
"""

import errno
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

READ_BYTES = 1 << 18
WAIT_S = 0.05
PER_ADDRESS = 500
"""Of those that come from many addresses; half of what one address may have."""
AT_ONCE = 250
GREETED_S_MAX = 120.0
FLOODER = "127.0.0.2"
FLOOD_CONNECTIONS = 200
DRIP_S = 0.5
VISIT_S = 0.2
CHUNK_LINES = 50
HELLO = b'{"type":"hello","version":1,"history":"none"}\n'
JOIN = b'{"type":"createroom","roomid":"flood"}\n{"type":"join","roomid":"flood"}\n'
SAY = b'{"type":"message","content":"%s"}\n' % (b"x" * 80)
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Ports:
    """Where the server is; 0 where it is not, and the door's name by port for those that are no client ports."""

    host: str
    client: int
    tls: int = 0
    others: dict[str, int] = field(default_factory=dict)

    @property
    def all(self) -> list[int]:
        return [port for port in (self.client, self.tls, *self.others.values()) if port]


@dataclass
class Standing:
    """What a kind of abuse tells of itself."""

    connections: int
    dropped: int = 0
    tried: int = 0


class Crowd:
    """Connections of many addresses or of one; whoever is dropped comes again."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.standing = Standing(0)
        self.links: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._targets: dict[int, tuple[int, str]] = {}
        self._buffer = bytearray(READ_BYTES)
        self._again: list[tuple[float, int, str]] = []

    def connect(self, port: int, address: str) -> int:
        """Begin to connect; return the descriptor."""
        link = socket.socket()
        link.setblocking(False)
        # The kernel chooses the port on connecting, when it knows the other end: there are enough of them then.
        link.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        link.bind((address, 0))
        with suppress(BlockingIOError):
            link.connect((self.ports.host, port))
        number = link.fileno()
        self.links[number] = link
        self._targets[number] = port, address
        self._epoll.register(number, select.EPOLLIN)
        self.standing.tried += 1
        return number

    def read(self, seconds: float = WAIT_S) -> list[int]:
        """Read what has come, for nobody; return whose it was. Whoever was dropped comes again, a little later."""
        heard = []
        for number, _ in self._epoll.poll(seconds):
            try:
                count = self.links[number].recv_into(self._buffer)
            except BlockingIOError:
                continue
            except OSError:
                count = 0
            if count:
                heard.append(number)
            else:
                self._again.append((time.monotonic() + WAIT_S, *self._targets[number]))
                self.standing.dropped += 1
                self.forget(number)
        while self._again and self._again[0][0] <= time.monotonic():
            _, port, address = self._again.pop(0)
            self.connect(port, address)
        return heard

    def write(self, number: int, data: bytes) -> None:
        """Write as much as is taken."""
        with suppress(OSError):
            self.links[number].send(data)

    def forget(self, number: int) -> None:
        link = self.links.pop(number)
        del self._targets[number]
        link.close()


IP_BIND_ADDRESS_NO_PORT = 24


def elsewhere(number: int) -> str:
    """Return the address of somebody among many."""
    return f"127.0.1.{1 + number // PER_ADDRESS}"


def idle(ports: Ports, count: int) -> Iterator[Standing]:
    """Base clients that were greeted and say nothing; they read."""
    crowd = yield from _settled(ports, count)
    while True:
        yield crowd.standing
        crowd.read()


def visited(ports: Ports, count: int) -> Iterator[Standing]:
    """The same, among whom somebody comes, and somebody goes, several times a second."""
    crowd = yield from _settled(ports, count)
    next_at = time.monotonic()
    while True:
        yield crowd.standing
        crowd.read(VISIT_S / 4)
        if time.monotonic() >= next_at:
            next_at += VISIT_S
            crowd.forget(next(iter(crowd.links)))
            crowd.connect(ports.client, elsewhere(count))


def _settled(ports: Ports, count: int) -> Generator[Standing, None, Crowd]:
    crowd = Crowd(ports)
    greeted: set[int] = set()
    end = time.monotonic() + GREETED_S_MAX
    while len(greeted) < count:
        missing = AT_ONCE - (len(crowd.links) - len(greeted))
        for _ in range(min(missing, count - len(crowd.links))):
            crowd.connect(ports.client, elsewhere(len(crowd.links)))
        greeted.update(crowd.read())
        greeted &= crowd.links.keys()
        if time.monotonic() > end:
            raise TimeoutError(f"{len(greeted)} of {count} were greeted")
    crowd.standing.connections = count
    yield crowd.standing
    return crowd


def half_open(ports: Ports, count: int) -> Iterator[Standing]:
    """TLS handshakes that are never finished: half of them never begin, the others stop in the middle."""
    crowd = Crowd(ports)
    hello = client_hello()
    for number in range(count):
        crowd.write(crowd.connect(ports.tls or ports.client, elsewhere(number)), b"")
    began: set[int] = set()
    while True:
        for number in crowd.links.keys() - began:
            if number % 2:
                crowd.write(number, hello[: len(hello) // 2])
        began = set(crowd.links)
        crowd.standing.connections = len(began)
        crowd.read()
        yield crowd.standing


def client_hello() -> bytes:
    """Return what a client of TLS says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="example.org").do_handshake()
    return outgoing.read()


def slow_loris(ports: Ports, count: int) -> Iterator[Standing]:
    """First lines, handshakes and frames that come byte by byte, at every port."""
    crowd = Crowd(ports)
    hello, frame = client_hello(), b"\0\0\x0f\xff" + bytes(4095)
    drips = dict.fromkeys(ports.all, HELLO[:-1])
    drips |= {ports.tls: hello} | dict.fromkeys(ports.others.values(), frame)
    for number in range(count):
        for port in ports.all:
            crowd.connect(port, elsewhere(number))
    at: dict[int, int] = {}
    next_at = 0.0
    while True:
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + DRIP_S
            for number in crowd.links:
                at[number] = at.get(number, -1) + 1
                data = drips[crowd._targets[number][0]]
                crowd.write(number, data[at[number] % len(data) :][:1])
        for number in at.keys() - crowd.links.keys():
            del at[number]
        crowd.standing.connections = len(crowd.links)
        crowd.read()
        yield crowd.standing


def _knocking(ports: Ports, at: list[int], said: bytes) -> Iterator[Standing]:
    standing = Standing(FLOOD_CONNECTIONS)
    links: list[socket.socket] = []
    while True:
        for number in range(FLOOD_CONNECTIONS):
            link = socket.socket()
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            link.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            link.bind((FLOODER, 0))
            link.setblocking(False)
            try:
                link.connect((ports.host, at[number % len(at)]))
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
            with suppress(OSError):
                if said:
                    link.send(said)
            links.append(link)
            standing.tried += 1
            if len(links) > FLOOD_CONNECTIONS:
                links.pop(0).close()
        yield standing
        if said:
            # What it said is to be heard before it is gone.
            time.sleep(0.001)


def connecting(ports: Ports, count: int) -> Iterator[Standing]:
    """One address connects, at every port, and is gone at once, as often as it can."""
    return _knocking(ports, ports.all, b"")


def greeting(ports: Ports, count: int) -> Iterator[Standing]:
    """One address connects, says hello, and is gone, as often as it can."""
    return _knocking(ports, [ports.client], HELLO)


def talking(ports: Ports, count: int) -> Iterator[Standing]:
    """One address has many connections, and says as much on each as is taken."""
    crowd = Crowd(ports)
    # In a room of their own: what is said in MainHall would be told to everybody who comes later.
    unsent: dict[int, bytes] = {crowd.connect(ports.client, FLOODER): JOIN for _ in range(FLOOD_CONNECTIONS)}
    crowd.standing.connections = FLOOD_CONNECTIONS
    end = time.monotonic() + 1
    while time.monotonic() < end:
        crowd.read()
    chunk = SAY * CHUNK_LINES
    while True:
        for number in list(crowd.links):
            data = unsent.get(number) or chunk
            try:
                unsent[number] = data[crowd.links[number].send(data) :]
            except BlockingIOError:
                continue
            except OSError:
                unsent.pop(number, None)
        crowd.read(0.001)
        yield crowd.standing


KINDS: dict[str, tuple[Callable[[Ports, int], Iterator[Standing]], int]] = {
    "idle": (idle, 10_000),
    "visited": (visited, 10_000),
    "half-open": (half_open, 1000),
    "slow-loris": (slow_loris, 200),
    "connecting": (connecting, FLOOD_CONNECTIONS),
    "greeting": (greeting, FLOOD_CONNECTIONS),
    "talking": (talking, FLOOD_CONNECTIONS),
}
"""What can be done to a server, and how many do it."""
FLOODS = {"connecting", "greeting", "talking"}


def attack(kind: str, ports: Ports, count: int, cores: set[int], pipe: Connection) -> None:
    """Abuse a server until something comes by the pipe; the body of a process."""
    os.sched_setaffinity(0, cores)
    os.nice(5)
    doing = KINDS[kind][0](ports, count)
    try:
        standing = next(doing)
    except (OSError, TimeoutError) as error:
        pipe.send(f"{kind}: {error}")
        return
    pipe.send(standing)
    while not pipe.poll():
        standing = next(doing)
    pipe.send(standing)
