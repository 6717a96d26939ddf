"""Three NATS servers with JetStream, and a client that speaks as much of their text protocol as failover needs."""

import json
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReactorCore
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.bench.deployment import HOST, lasting_ports
from tests.bench.servers import START_S_MAX, BenchError, Daemon

STREAM = "BENCH"
SUBJECT = "bench.said"
SERVERS = ("one", "two", "three")
CONNECT_S_MAX = 2.0
ACK_S_MAX = 0.5
API_S_MAX = 5.0
AGAIN_S = 0.02
CURRENT_S_MAX = 120.0
NOBODY = b"NATS/1.0 503"


class NobodyThere(Exception):
    """No server takes the subject just now."""


class NoAnswer(Exception):
    """The answer did not come in time, or the connection broke before it did."""


class NatsLink(Protocol):
    """One connection to a NATS server; `ready` fires when it answers."""

    def __init__(self, reactor: Any) -> None:
        self.ready: Deferred[NatsLink] = Deferred()
        self.open = False
        self._reactor = reactor
        self._inbox = f"_INBOX.{random.getrandbits(64):016x}"
        self._asked = 0
        self._waiting: dict[bytes, Deferred[bytes]] = {}
        self._data = b""

    # Asking

    def ask(self, subject: str, payload: bytes, seconds: float, headers: str = "") -> "Deferred[bytes]":
        """Publish with an inbox for the answer, which is what the Deferred is called back with."""
        self._asked += 1
        inbox = f"{self._inbox}.{self._asked}"
        if not self.open:
            raise NoAnswer("the connection is gone")
        if headers:
            head = f"NATS/1.0\r\n{headers}\r\n\r\n".encode()
            line = f"HPUB {subject} {inbox} {len(head)} {len(head) + len(payload)}\r\n".encode() + head
        else:
            line = f"PUB {subject} {inbox} {len(payload)}\r\n".encode()
        self.transport.write(line + payload + b"\r\n")
        answer: Deferred[bytes] = Deferred()
        key = inbox.encode()
        self._waiting[key] = answer
        late = self._reactor.callLater(seconds, self._fail, key, NoAnswer(f"no answer within {seconds:g} s"))

        def settled(result: Any) -> Any:
            if late.active():
                late.cancel()
            return result

        return answer.addBoth(settled)

    def _fail(self, key: bytes, why: Exception) -> None:
        answer = self._waiting.pop(key, None)
        if answer is not None:
            answer.errback(Failure(why))

    # The text protocol

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        self.transport.write(f"CONNECT {json.dumps(options)}\r\nSUB {self._inbox}.* 1\r\nPING\r\n".encode())

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while self._take_one():
            pass

    def _take_one(self) -> bool:
        line, found, rest = self._data.partition(b"\r\n")
        if not found:
            return False
        words = line.split()
        kind = words[0].upper() if words else b""
        if kind in (b"MSG", b"HMSG"):
            size = int(words[-1])
            if len(rest) < size + 2:
                return False
            head_size = int(words[-2]) if kind == b"HMSG" else 0
            self._data = rest[size + 2 :]
            self._answered(words[1], rest[:head_size], rest[head_size:size])
            return True
        self._data = rest
        if kind == b"PING":
            self.transport.write(b"PONG\r\n")
        elif kind == b"PONG" and not self.open:
            self.open = True
            self.ready.callback(self)
        return True

    def _answered(self, key: bytes, head: bytes, payload: bytes) -> None:
        if head.startswith(NOBODY):
            self._fail(key, NobodyThere())
        elif key in self._waiting:
            self._waiting.pop(key).callback(payload)

    def connectionLost(self, reason: Failure = Failure(NoAnswer("lost"))) -> None:  # noqa: B008
        was_open, self.open = self.open, False
        if not was_open and not self.ready.called:
            self.ready.errback(Failure(NoAnswer("the connection broke")))
        for key in list(self._waiting):
            self._fail(key, NoAnswer("the connection broke"))


async def connected(reactor: Any, port: int) -> NatsLink:
    """Connect to a server.

    Raises:
        NoAnswer: it is not there.
    """
    endpoint = TCP4ClientEndpoint(reactor, HOST, port, timeout=CONNECT_S_MAX)
    try:
        link: NatsLink = await endpoint.connect(Factory.forProtocol(lambda: NatsLink(reactor)))
        return await link.ready.addTimeout(CONNECT_S_MAX, reactor)
    except Exception as error:
        raise NoAnswer(str(error)) from None


class Publisher:
    """Says something and awaits that it is stored, on whichever server there is.

    Attributes:
        at: the name of the server it is connected to, or was last.
    """

    def __init__(self, reactor: IReactorCore, ports: Mapping[str, int]) -> None:
        self.at = ""
        self._reactor = reactor
        self._ports = dict(ports)
        self._link: NatsLink | None = None

    async def say(self, content: str) -> int:
        """Return the place in the stream; the same content is stored once, however often it is sent."""
        payload = content.encode()
        while True:
            try:
                link = await self._connected()
                answer = json.loads(await link.ask(SUBJECT, payload, ACK_S_MAX, f"Nats-Msg-Id: {content}"))
            except NoAnswer:
                continue
            except NobodyThere:
                answer = {}
            if "seq" in answer:
                return int(answer["seq"])
            await deferLater(self._reactor, AGAIN_S)

    async def move(self, name: str) -> None:
        """Go to one server, if it is there."""
        self.leave()
        self._link, self.at = await connected(self._reactor, self._ports[name]), name

    def leave(self) -> None:
        if self._link is not None and self._link.open:
            self._link.transport.abortConnection()

    async def _connected(self) -> NatsLink:
        """Be connected; whoever loses a server tries the others at once, then all, again and again."""
        while self._link is None or not self._link.open:
            for name in [*(other for other in self._ports if other != self.at), self.at]:
                try:
                    self._link = await connected(self._reactor, self._ports[name])
                    self.at = name
                    break
                except NoAnswer:
                    continue
            else:
                await deferLater(self._reactor, AGAIN_S)
        return self._link


class Cluster:
    """Three servers, and a stream with a copy on each, on disk.

    Attributes:
        daemons: the servers, by name.
        ports: where each takes clients, by name.
    """

    def __init__(self, reactor: Any, folder: Path) -> None:
        self.daemons: dict[str, Daemon] = {}
        ports = lasting_ports(2 * len(SERVERS))
        self.ports = dict(zip(SERVERS, ports, strict=False))
        self._reactor = reactor
        routes = dict(zip(SERVERS, ports[len(SERVERS) :], strict=True))
        for name in SERVERS:
            command = [str(shutil.which("nats-server")), "--addr", HOST, "--port", str(self.ports[name])]
            command += ["--name", name, "--jetstream", "--store_dir", str(folder / name)]
            command += ["--cluster_name", "bench", "--cluster", f"nats://{HOST}:{routes[name]}"]
            others = [f"nats://{HOST}:{routes[other]}" for other in SERVERS if other != name]
            self.daemons[name] = Daemon(name, [*command, "--routes", ",".join(others)], folder)

    @contextmanager
    def running(self) -> Iterator["Cluster"]:
        with ExitStack() as stack:
            for daemon in self.daemons.values():
                stack.callback(daemon.stop)
                daemon.start()
            yield self

    async def make_stream(self) -> None:
        config = {"name": STREAM, "subjects": [SUBJECT], "storage": "file", "num_replicas": len(SERVERS)}
        created = await self._until(
            lambda: self._api("STREAM.CREATE", config), lambda answer: "error" not in answer, START_S_MAX
        )
        if created["config"]["num_replicas"] != len(SERVERS):
            raise BenchError(f"the stream has {created['config']['num_replicas']} copies")

    async def info(self) -> dict[str, Any]:
        return await self._until(lambda: self._api("STREAM.INFO", {}), lambda answer: "state" in answer, START_S_MAX)

    async def leader(self) -> str:
        return str((await self._until_current())["cluster"]["leader"])

    async def _until_current(self) -> dict[str, Any]:
        """Wait until every copy is there and up to date."""

        def current(answer: dict[str, Any]) -> bool:
            found = answer.get("cluster", {})
            copies = found.get("replicas") or []
            whole = len(copies) == len(SERVERS) - 1
            return whole and bool(found.get("leader")) and all(c["current"] and not c.get("offline") for c in copies)

        return await self._until(lambda: self._api("STREAM.INFO", {}), current, CURRENT_S_MAX)

    async def _until(
        self, ask: Callable[[], Awaitable[dict[str, Any]]], enough: Callable[[dict[str, Any]], bool], seconds: float
    ) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while not enough(answer := await ask()):
            for daemon in self.daemons.values():
                if not daemon.alive():
                    raise BenchError(f"nats-server {daemon.name} ended: {daemon.last_words()}")
            if time.monotonic() > end:
                raise BenchError(f"not within {seconds:g} s; JetStream says {answer}")
            await deferLater(self._reactor, 0.1)
        return answer

    async def _api(self, what: str, request: dict[str, Any]) -> dict[str, Any]:
        """Ask any server; what went wrong is an answer with `error`, as JetStream's own."""
        for port in self.ports.values():
            try:
                link = await connected(self._reactor, port)
            except NoAnswer:
                continue
            try:
                raw = await link.ask(f"$JS.API.{what}.{STREAM}", json.dumps(request).encode(), API_S_MAX)
                answer: dict[str, Any] = json.loads(raw)
                return answer
            except (NoAnswer, NobodyThere) as error:
                return {"error": {"description": f"{type(error).__name__} {error}"}}
            finally:
                link.transport.loseConnection()
        return {"error": {"description": "no server is there"}}
