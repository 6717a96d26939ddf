"""What a service tree needs of the outside, handed in, so that the same tree runs in simulation.

Only `chatproto.tap` makes a `World` of the real reactor, clock and dice; `chatproto.testing` makes simulated ones.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import DatagramProtocol

from chatproto.log.interface import IStore


def _no_datagrams(port: int, protocol: DatagramProtocol, host: str) -> IListeningPort:
    raise CannotListenError(host, port, OSError("this world has no datagrams"))


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
        fatal: ends the process at once, telling the operator the reason. May return in simulation.
        secret: returns what a data directory keeps that nobody else knows, the same in every life; raises `OSError`.
            The directory is there.
        udp: listens for datagrams: on a port, with a protocol, at an address of this machine. Raises
            `CannotListenError`, always so in simulation, which has none.
    """

    clock: IReactorTime
    now: Callable[[], float]
    dice: random.Random
    server: Callable[[str], IStreamServerEndpoint]
    client: Callable[[str], IStreamClientEndpoint]
    store: Callable[[str, Callable[[str], None]], IStore]
    fatal: Callable[[str], None]
    secret: Callable[[str], str]
    udp: Callable[[int, DatagramProtocol, str], IListeningPort] = _no_datagrams
