"""A simulated machine: its kernel, and one life after another of the process on it."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import CannotListenError

from chatproto.log.interface import IStore
from chatproto.testing import tcp
from chatproto.testing.disk import SimDisk
from chatproto.testing.reactor import SimReactor
from chatproto.world import World

if TYPE_CHECKING:
    from chatproto.testing.network import SimNetwork

Leaves = Literal["reset", "close", "silence"]
"""What the peers of a crashed process hear: see `SimHost.crash`."""

LOOPBACK = "127.0.0.1"
EPHEMERAL_PORTS = range(49152, 65536)


class SimHost:
    """A machine on a `SimNetwork`, and the process that runs on it. Made by `SimNetwork.host`.

    Attributes:
        name: how others find it.
        address: an IPv4 address, made up.
        reactor: `IReactorTime` and `IReactorTCP` of the process's present life; it stays dead with that life.
        lives: how many lives the process has had, the present one included.
        wall_error_s: by how much its time of day is wrong.
        disk: its disk, which outlives the process.
        last_words: the reasons given to `World.fatal`, oldest first.
    """

    def __init__(self, network: "SimNetwork", name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.lives = 1
        self.wall_error_s = 0.0
        self.last_words: list[str] = []
        self.powered = True
        self.sockets: dict[tcp.Socket, None] = {}
        self.disk = SimDisk(network.clock, random.Random(network.dice.getrandbits(64)))
        self.reactor = SimReactor(network, self)
        self._network = network
        self._listeners: dict[int, list[tcp.Listener]] = {}
        self._program: Callable[[SimHost], object] | None = None
        self._ports = EPHEMERAL_PORTS.start

    def __repr__(self) -> str:
        state = "dead" if not self.alive else "paused" if self.paused else "running"
        return f"<SimHost {self.name}, life {self.lives}, {state}>"

    @property
    def clock(self) -> SimReactor:
        """The clock of the present life, the reactor itself."""
        return self.reactor

    @property
    def alive(self) -> bool:
        """Whether the process runs or is paused, rather than dead."""
        return self.reactor.alive

    @property
    def paused(self) -> bool:
        """Whether the process is stopped, as by SIGSTOP."""
        return self.alive and self.reactor.paused

    def runs(self, program: "Callable[[SimHost], object]") -> None:
        """Start `program(host)`, now and again at every boot. What it raises goes to whoever booted."""
        self._program = program
        program(self)

    def world(
        self,
        store: "Callable[[str, Callable[[str], None]], IStore] | None" = None,
        fatal: Callable[[str], None] | None = None,
    ) -> World:
        """Make the world of the present life, to build service trees from.

        Args:
            store: opens the store of the log; on the host's disk, unless given.
            fatal: in place of the crash that follows when the program says that its process must end.
        """
        life = self.reactor

        def end(reason: str) -> None:
            self.last_words.append(reason)
            if life.alive:
                self.crash()

        return World(
            clock=life,
            now=lambda: self._network.epoch + life.seconds() + self.wall_error_s,
            dice=random.Random(self._network.dice.getrandbits(64)),
            server=lambda description: serverFromString(life, description),
            client=lambda description: clientFromString(life, description),
            store=store or (lambda directory, failed: self.disk.open(directory, failed, life)),
            keyvalue=lambda directory, failed: self.disk.open_table(directory, failed, life),
            fatal=fatal or end,
            secret=lambda directory: f"what only {self.name} has in {directory}",
        )

    # Faults

    def crash(self, leaves: Leaves = "reset") -> None:
        """End the process: nothing of it is ever called again. What its sockets held is lost,
        and what its disk had not made durable.

        Args:
            leaves: what the peers hear. `reset`: that the connection is lost. `close`: the end of the stream,
                as when a kernel closes the sockets of a process that had read everything. Either comes late
                where the path is cut, once it heals. `silence`: nothing, for the machine has no power;
                whoever sends something after the next boot is reset.
        """
        if not self.alive:
            return
        self._network.record("crash", self.name, leaves)
        self.reactor.die()
        self.disk.crash()
        self._listeners.clear()
        self.powered = leaves != "silence"
        for socket in list(self.sockets):
            if socket.state is not tcp.State.CLOSED or leaves == "silence":
                socket.die(leaves)

    def boot(self) -> None:
        """Begin a new life after a crash, with a new reactor, and start the program."""
        if self.alive:
            raise RuntimeError(f"{self.name} runs already")
        self._network.record("boot", self.name)
        self.powered = True
        self.lives += 1
        self.reactor = SimReactor(self._network, self)
        self._network.paths_changed()
        if self._program is not None:
            self._program(self)

    def pause(self) -> None:
        """Stop the process, as SIGSTOP does. Its kernel goes on and takes bytes, up to the window."""
        if self.alive and not self.paused:
            self._network.record("pause", self.name)
            self.reactor.pause()

    def resume(self) -> None:
        """Let the process go on: it is late for its calls, and finds what came meanwhile."""
        if self.alive and self.paused:
            self._network.record("resume", self.name)
            self.reactor.resume()

    # The kernel

    def listen(self, interface: str, port: int, backlog: int) -> tcp.Listener:
        """Take a port; 0 for any.

        Raises:
            CannotListenError: it is taken.
        """
        port = port or self._free_port()
        taken = self._listeners.get(port, [])
        wildcards = ("", "0.0.0.0")
        if any(
            interface in wildcards or other.interface in wildcards or other.interface == interface for other in taken
        ):
            raise CannotListenError(interface, port, OSError("Address already in use"))
        listener = tcp.Listener(self, interface, port, backlog)
        self._listeners.setdefault(port, []).append(listener)
        return listener

    def unlisten(self, listener: tcp.Listener) -> None:
        """Let a port go."""
        listeners = self._listeners.get(listener.port, [])
        if listener in listeners:
            listeners.remove(listener)

    def listener_for(self, address: tuple[str, int]) -> tcp.Listener | None:
        """Find who listens on an address and port."""
        host, port = address
        return next((listener for listener in self._listeners.get(port, []) if listener.takes(host)), None)

    def request(self, name: str, port: int, local_port: int = 0) -> tcp.Socket:
        """Begin a connection to a port of the named host.

        Raises:
            DNSLookupError: there is no such host.
        """
        target, address = self._network.find(name, self)
        local = LOOPBACK if address == LOOPBACK else self.address
        return tcp.connect(self._network, self, target, (local, local_port or self._free_port()), (address, port))

    def _free_port(self) -> int:
        port = self._ports
        self._ports = port + 1 if port + 1 in EPHEMERAL_PORTS else EPHEMERAL_PORTS.start
        return self._free_port() if port in self._listeners else port
