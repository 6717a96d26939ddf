"""Whom a node keeps connections to: whoever is at its `--peer`, and others where the registry says they are."""

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from chatproto.dialler import Dialler
from chatproto.pair.link import PeerLink

RETRY_SOON_S = (0.005, 0.015)
"""A connection that is lost is dialled again almost at once: a process that is gone refuses, and that is news."""
RETRY_S = (0.05, 0.15)
RETRY_STRANGER_S = (0.5, 1.5)
"""Whoever does not greet as the other node should is dialled again at leisure."""

PEER = ""
"""Stands for the address of `--peer`, which is an endpoint's description."""


class Unreached(Protocol):
    """Hears that a node was not reached."""

    def __call__(self, name: str, reason: str, *, refused: bool) -> None:
        """Hear who, where that is known, and why; `refused` where nobody listens there."""


class Neighbours:
    """Dials the nodes that are wanted, each where it is.

    Attributes:
        addresses: `HOST:PORT` of other nodes' peer links, by name.
        at_peer: who answers at `--peer`; empty before that is known.
        wanted: the addresses that are dialled now.
    """

    def __init__(
        self,
        peer: IStreamClientEndpoint | None,
        reach: Callable[[str], IStreamClientEndpoint],
        make: Callable[[bool], PeerLink],
        unreached: Unreached,
        clock: IReactorTime,
        dice: random.Random,
        patience_s: float,
    ) -> None:
        """Dial nobody yet.

        Args:
            peer: where `--peer` is; None without one.
            reach: makes the endpoint of an address.
            make: makes the link of a connection.
            unreached: told of tries that fail.
            clock: the reactor, as far as time goes.
            dice: draws the pauses.
            patience_s: a try that takes so long is given up.
        """
        self.addresses: dict[str, str] = {}
        self.at_peer = ""
        self.wanted: set[str] = set()
        self._peer = peer
        self._reach = reach
        self._make = make
        self._unreached = unreached
        self._clock = clock
        self._dice = dice
        self._patience_s = patience_s
        self._diallers: dict[str, Dialler] = {}

    def want(self, names: Iterable[str], *, anybody: bool = False) -> None:
        """Keep connections to these nodes, as far as it is known where they are, and to no others.

        Args:
            names: of the nodes.
            anybody: whether whoever is at `--peer` is wanted, too.
        """
        self.wanted = {address for name in names for address in self._addresses_of(name)}
        if anybody and self._peer is not None:
            self.wanted.add(PEER)
        for address in [address for address in self._diallers if address not in self.wanted]:
            self._diallers.pop(address).stop()
        for address in sorted(self.wanted - self._diallers.keys()):
            # A try may fail in the call, and whoever hears of it may want others.
            if address in self.wanted and address not in self._diallers:
                dialler = self._diallers[address] = self._dialler(address)
                dialler.start()

    def stop(self) -> None:
        """Dial nobody any more; connections that are there stay."""
        self.want(())

    def _addresses_of(self, name: str) -> list[str]:
        known = [self.addresses[name]] if name in self.addresses else []
        if self._peer is None or self.at_peer not in ("", name):
            return known
        # While it is not known who is there, either may be the one.
        return [PEER] if self.at_peer else [PEER, *known]

    def _dialler(self, address: str) -> Dialler:
        def dialled(number: int) -> PeerLink:
            link = self._make(True)
            link.address = address
            link.expected = frozenset(name for name, known in self.addresses.items() if known == address)
            link.when_lost = lambda greeted: dialler.again(RETRY_SOON_S if greeted else RETRY_STRANGER_S)
            return link

        endpoint = self._peer if address == PEER and self._peer is not None else self._reach(address)
        failed = partial(self._failed, address)
        dialler = Dialler(endpoint, dialled, failed, self._clock, self._dice, self._patience_s, lambda: RETRY_S)
        return dialler

    def _failed(self, address: str, reason: str, *, refused: bool) -> None:
        if address == PEER:
            name = self.at_peer
        else:
            name = next((name for name, known in self.addresses.items() if known == address), "")
        self._unreached(name, reason, refused=refused)
