"""The delivery nodes that are there, as the registry tells."""

from collections.abc import Callable
from math import ceil

from msgspec.structs import replace

from chatproto.news.contracting.policy import PAID_SHARE, Node
from chatproto.news.placing.coordinating import DELIVERY as KIND
from chatproto.registry import Registration

PROXY = "news-proxy"
READS_FROM = "delivery"
"""Attribute of a proxy's registration: the name of the delivery node that it reads from."""
SUBSTITUTE, PAID_MAX = "substitute", "paid-max"
"""Attributes of a delivery node's registration: the name of its substitute, and how many readers may be paid ones."""


class DeliveryNodes:
    """Hears what is registered (`NamesHeard`).

    Attributes:
        there: the nodes, by name. Those that were there when the registry was lost are taken to be so still.
    """

    def __init__(self, changed: Callable[[], object] = lambda: None) -> None:
        """Know of none; `changed` is told of every change."""
        self.there: dict[str, Node] = {}
        self._changed = changed
        # From which node each proxy reads.
        self._proxies: dict[str, str] = {}

    def names_listed(self, registrations: list[Registration]) -> None:
        """See `NamesHeard.names_listed`."""
        self.there = {one.name: node_of(one) for one in registrations if one.kind == KIND}
        self._proxies = {one.name: one.attributes.get(READS_FROM, "") for one in registrations if one.kind == PROXY}
        self._settle()

    def name_registered(self, registration: Registration) -> None:
        """See `NamesHeard.name_registered`."""
        if registration.kind == KIND:
            self.there[registration.name] = node_of(registration)
        elif registration.kind == PROXY:
            self._proxies[registration.name] = registration.attributes.get(READS_FROM, "")
        else:
            return
        self._settle()

    def name_gone(self, registration: Registration) -> None:
        """See `NamesHeard.name_gone`."""
        name = registration.name
        if self.there.pop(name, None) is not None or self._proxies.pop(name, None) is not None:
            self._settle()

    def _settle(self) -> None:
        read = set(self._proxies.values())
        self.there = {name: replace(node, has_proxy=name in read) for name, node in self.there.items()}
        self._changed()


def node_of(registration: Registration) -> Node:
    """Return what a delivery node says of itself; without `PAID_MAX`, one in twenty of its readers may be paid."""
    said = registration.attributes.get(PAID_MAX, "")
    readers_max = registration.capacity
    paid_max = int(said) if said.isascii() and said.isdecimal() else ceil(readers_max * PAID_SHARE)
    return Node(registration.name, readers_max, paid_max, registration.attributes.get(SUBSTITUTE, ""))
