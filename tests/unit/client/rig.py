"""Clients on a simulated network, with nodes that are the real ones or played by the test."""

import json
import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from chatproto.chat.settings import ChatSettings
from chatproto.client import ChatClient, Event, Said
from chatproto.services.node import NodeService, NodeSettings, build_node
from chatproto.testing import SimClock, SimHost, SimNetwork


class Deployment:
    """A network with the host `node`, which runs a node."""

    def __init__(self, seed: int = 0, chat: ChatSettings | None = None, **network: Any) -> None:
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, random.Random(seed), **network)
        self.dice = random.Random(seed + 1)
        self.chat = chat or ChatSettings()
        self.host = self.network.host("node")
        self.node: NodeService
        self.host.runs(self._serve)

    def _serve(self, host: SimHost) -> None:
        self.node = build_node(host.world(), NodeSettings("data", ("tcp:4444",), self.chat))
        self.node.startService()

    def client(self, identity: str | None = None, host: str = "", start: bool = True, **how: Any) -> "Listening":
        """Make a client on a host of its own, by default connecting to the node."""
        where = self.network.host(host or f"client{len(self.network.hosts)}")
        endpoints = [where.world().client(f"tcp:{target}:4444") for target in how.pop("targets", ["node"])]
        dice = random.Random(self.dice.getrandbits(64))
        client = Listening(where.reactor, endpoints, identity=identity, dice=dice, **how)
        client.where = where
        if start:
            client.startService()
        return client

    def online(self, identity: str | None = None, **how: Any) -> "Listening":
        client = self.client(identity, **how)
        self.until(lambda: client.state == "online" and client.room)
        self.run(0.2)
        return client

    def run(self, seconds: float) -> None:
        self.clock.run(seconds)

    def until(self, what: Callable[[], object], seconds: float = 30) -> float:
        return self.clock.run_until(what, seconds)

    def result(self, waiting: "Deferred[Any]", seconds: float = 30) -> Any:
        """Wait for a Deferred; return its result, or raise its error."""
        results: list[Any] = []
        waiting.addBoth(results.append)
        self.until(lambda: results, seconds)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


class Listening(ChatClient):
    """A client that remembers its events."""

    where: SimHost

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.events: list[Event] = []
        self.subscribe(self.events.append)

    def heard(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def view(self, room: str = "MainHall") -> list[Said]:
        return [said for said in self.heard(Said) if said.room == room]


class Played(LineOnlyReceiver):
    """A node's side of a connection, played by the test; it answers pings unless it is `silent`."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.pings = 0
        self.silent = False
        self.lost = 0

    def lineReceived(self, line: bytes) -> None:
        fields = json.loads(line)
        if fields["type"] != "ping":
            self.lines.append(fields)
            return
        self.pings += 1
        if not self.silent:
            self.say("pong")

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        self.lost += 1

    def say(self, type: str, **fields: Any) -> None:
        self.sendLine(json.dumps({"type": type, **fields}).encode())

    def welcome(self, session: str = "s1", identity: str = "ada", **fields: Any) -> None:
        told = {"epoch": 1, "role": "leader", "redundancy": "single", "servers": [], "server": "played", **fields}
        self.say("welcome", version=1, session=session, identity=identity, **told)


class PlayedNode:
    """A host that listens on port 4444; `links` are its connections, oldest first."""

    def __init__(self, network: SimNetwork, name: str) -> None:
        self.links: list[Played] = []
        factory = Factory.forProtocol(self._link)
        factory.noisy = False
        network.host(name).world().server("tcp:4444").listen(factory)

    def _link(self) -> Played:
        self.links.append(Played())
        return self.links[-1]
