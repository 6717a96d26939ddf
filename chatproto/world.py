"""What a service tree needs of the outside, handed in, so that the same tree runs in simulation.

Only `chatproto.tap` makes a `World` of the real reactor, clock and dice; `chatproto.testing` makes simulated ones.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import DatagramProtocol

from chatproto.errors import StoreError
from chatproto.keyvalue import IKeyValueStore
from chatproto.log.interface import ISearch, IStore
from chatproto.reloading import Reloading
from chatproto.tally import Tally
from chatproto.trust.interface import BELIEVING, Trust

FILES_BESIDE_CONNECTIONS = 64
"""A process needs them itself: the store, the log, connections that it dials."""


def _no_datagrams(port: int, protocol: DatagramProtocol, host: str) -> IListeningPort:
    raise CannotListenError(host, port, OSError("this world has no datagrams"))


def _no_table(directory: str, failed: Callable[[str], None]) -> IKeyValueStore:
    raise StoreError(f"this world keeps no tables, in {directory} or elsewhere")


@dataclass(frozen=True)
class Supervisor:
    """The service manager that started this process and watches it, as systemd does.

    Attributes:
        tell: sends it one datagram of `sd_notify(3)`, or loses it; never raises, never blocks.
        watchdog_s: it ends a process that it has not been told of for so many seconds; 0 if it waits for ever.
    """

    tell: Callable[[bytes], None]
    watchdog_s: float = 0.0


def _go_on() -> None:
    """Stop nothing: the process is not the service tree's own."""


@dataclass(frozen=True)
class World:
    """The outside of a service tree.

    Attributes:
        clock: timers; its `seconds()` only ever measures spans.
        now: the time of day, in Unix seconds.
        dice: every random choice; seeded in simulation, the system's source otherwise.
        server: makes a listening endpoint from a Twisted server endpoint string.
        client: makes a connecting endpoint from a Twisted client endpoint string.
        store: opens the store in a data directory; raises `StoreError`. Called with the path and
            the call to make, with a reason, when a write fails.
        keyvalue: opens the table of keys and values in a data directory, as `store` opens the store; a directory has
            one of the two, and one process has it. Always raises where a world has none.
        fatal: ends the process at once, telling the operator the reason. May return in simulation.
        secret: returns what a data directory keeps that nobody else knows, the same in every life; raises `OSError`.
            The directory is there.
        stop: ends the process as an operator's SIGTERM does, the service tree first. Returns before it has.
        supervisor: the service manager that wants to be told how the process is; None where there is none.
        udp: listens for datagrams: on a port, with a protocol, at an address of this machine. Raises
            `CannotListenError`, always so in simulation, which has none.
        search: opens what finds messages of the log in a data directory, whose store is open already; raises
            `StoreError`. None where there is no such thing.
        reloading: what is read again when an operator says so.
        tally: what is counted for whoever measures.
        aside: runs a call that takes its time where it holds nobody up, and calls back with what it returns; in
            simulation here and now.
        trust: how links between nodes, and to the registry, know who is at their other end; by default they believe.
        files_max: how many files, connections among them, the process may have open; 0 for any number.
    """

    clock: IReactorTime
    now: Callable[[], float]
    dice: random.Random
    server: Callable[[str], IStreamServerEndpoint]
    client: Callable[[str], IStreamClientEndpoint]
    store: Callable[[str, Callable[[str], None]], IStore]
    fatal: Callable[[str], None]
    secret: Callable[[str], str]
    keyvalue: Callable[[str, Callable[[str], None]], IKeyValueStore] = _no_table
    stop: Callable[[], object] = _go_on
    supervisor: Supervisor | None = None
    udp: Callable[[int, DatagramProtocol, str], IListeningPort] = _no_datagrams
    search: Callable[[str], ISearch] | None = None
    reloading: Reloading = field(default_factory=Reloading)
    tally: Tally = field(default_factory=Tally)
    aside: Callable[[Callable[[], Any]], "Deferred[Any]"] = execute
    files_max: int = 0
    trust: Trust = BELIEVING

    def guarded_server(self, description: str, door: str) -> IStreamServerEndpoint:
        """Make a listening endpoint for links at a door: `PEER` or `REGISTRY` of `chatproto.trust.proof`."""
        return self.trust.server(self.server(description), door)

    def guarded_client(self, description: str, door: str) -> IStreamClientEndpoint:
        """Make a connecting endpoint to others' links at a door."""
        return self.trust.client(self.client(description), door)

    def connections_max(self, elsewhere: int = 0) -> int:
        """Return how many connections one door may have, so that those of other doors, and files, still can be had.

        Args:
            elsewhere: how many connections the other doors may have together.

        Returns:
            At least half of what the process may have; 0 where that is any number.
        """
        return max(self.files_max - elsewhere - FILES_BESIDE_CONNECTIONS, self.files_max // 2)
