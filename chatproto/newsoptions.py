"""The options of `twistd newsserver`: from the command line and a TOML file to settings."""

import dataclasses
import os
from typing import Any, ClassVar

from twisted.python.usage import UsageError

from chatproto.advertised import advertised_from, as_listened, place_of, reached_by
from chatproto.configured import HERE, ConfiguredOptions
from chatproto.monitor.service import ASK_EVERY_S, DEAD_AFTER_S
from chatproto.news.contracting.policy import Policy
from chatproto.news.contracting.server import NEGOTIATIONS_MAX
from chatproto.news.items import TOPICS
from chatproto.pair.log import PairSettings
from chatproto.readers import (
    read_address,
    read_count,
    read_interface,
    read_name,
    read_place,
    read_positive,
    read_some_seconds,
)
from chatproto.services.news import BUILT, NewsSettings
from chatproto.services.news.settings import LEASE_S
from chatproto.services.pairing import PeerSettings
from chatproto.wire import address_of

LIVE = frozenset({"delay-min", "maximum-max", "minimum-max", "negotiations-max"})
"""What can change while a node runs."""
ROOT, ROUTER, DELIVERY, CONTRACTS, PROXY = ROLES = ("root", "router", "delivery", "contracts", "proxy")
LISTEN = "tcp:4848"
PEER_LISTEN = "tcp:4747"
PAIR_LISTEN = "tcp:4949"
HELD_BYTES_LEAST = 16 * 1024 * 1024
SERVES = frozenset({ROOT, DELIVERY, CONTRACTS})
"""Roles that have public links."""
HAS_PEERS = frozenset({ROOT, ROUTER, DELIVERY, CONTRACTS})
"""Roles that other nodes dial."""
NEEDS = {
    "parent": (ROUTER, DELIVERY),
    "sources": (ROOT,),
    "registry": (DELIVERY, CONTRACTS, PROXY),
    "web": (PROXY,),
    "delivery": (PROXY,),
}
"""Without which option a role makes no sense."""
FOR = {
    **{name: roles for name, roles in NEEDS.items() if name != "registry"},
    "substitute": (DELIVERY,),
    "datagrams": (DELIVERY,),
    "datagrams-advertise": (DELIVERY,),
    "send-rate": (DELIVERY,),
    "first-number": (ROOT,),
    "held-max": (ROOT, ROUTER, DELIVERY),
    "readers-max": (DELIVERY,),
    "peer": (CONTRACTS,),
    "pair-listen": (CONTRACTS,),
    "pair-advertise": (CONTRACTS,),
    "stands-in-for": (CONTRACTS,),
    "minimum-max": (CONTRACTS,),
    "maximum-max": (CONTRACTS,),
    "delay-min": (CONTRACTS,),
    "negotiations-max": (CONTRACTS,),
}
"""Options that say nothing to other roles than these."""


def _role(value: str) -> str:
    if value not in ROLES:
        raise ValueError(f"there are {', '.join(ROLES)}")
    if value not in BUILT:
        raise ValueError(f"this release cannot be one yet; it has {', '.join(BUILT) or 'none of the roles'}")
    return value


def _topics(value: str) -> tuple[str, ...]:
    found = tuple(read_name(part.strip()) for part in value.split(","))
    if len(set(found)) < len(found):
        raise ValueError("says the same topic twice")
    return found


def _held_bytes(value: str) -> int:
    held_bytes = read_positive(value)
    if held_bytes < HELD_BYTES_LEAST:
        raise ValueError(f"at least {HELD_BYTES_LEAST}, for items are large")
    return held_bytes


class NewsOptions(ConfiguredOptions):
    """The options of a node of the news system."""

    longdesc = "Takes news from agencies, hands it down a tree of nodes, and delivers it to readers under contract."

    optParameters: ClassVar[list[list[Any]]] = [
        ["role", None, None, "what this is: root (takes items from sources), router (hands them on), delivery "
         "(delivers to readers), contracts (negotiates), or proxy (reads for mobile readers)", _role],
        ["service", None, "news", "the name of this deployment, the same on each of its nodes", read_name],
        ["advertise", None, None, "HOST:PORT of the public links, registered, or tls:HOST:PORT where they have to "
         "speak TLS, as is registered anyway if the --listen of that port is ssl: [default: from --listen, with "
         "the name of this machine]", read_place],
        ["peer-listen", None, None, "server endpoint where other nodes are listened for [default: tcp:4747, of all but "
         "a proxy; for this machine alone without --tls, --secret-file or --insecure-links]"],
        ["peer-advertise", None, None, "HOST:PORT of that, registered [default: from --peer-listen, with the name of "
         "this machine]", read_address],
        ["registry", None, None, "client endpoint of the registry, like tcp:HOST:4646, where this node is registered "
         "[default: none; a delivery node, the contracts and a proxy need it]"],
        ["lease", None, LEASE_S, "seconds after which the registration of this node ends, unless it is renewed",
         read_some_seconds],
        ["topics", None, None, "what there is news about, with commas, the same on each node "
         f"[default: {','.join(TOPICS)}]", _topics],
        ["parent", None, None, "(router, delivery) client endpoint where the parent listens for other nodes, like "
         "tcp:HOST:4747"],
        ["sources", None, None, "(root) TOML file of the sources that are let in"],
        ["substitute", None, None, "(delivery) the name of the delivery node that stands in for this one [default: "
         "none]", read_name],
        ["datagrams", None, None, "(delivery) HOST:PORT where free readers are answered, by UDP [default: "
         "0.0.0.0:4848]", read_interface],
        ["datagrams-advertise", None, None, "(delivery) HOST:PORT of that, registered [default: from --datagrams, with "
         "the name of this machine]", read_address],
        ["send-rate", None, 0, "(delivery) bytes a second that all readers are sent together; 0 for any", read_count],
        ["first-number", None, None, "(root) number of the first item on an empty disk, above all that were ever "
         "given in this deployment [default: the time of day, in milliseconds]", read_positive],
        ["held-max", None, None, "(root, router, delivery) bytes of items that are held at most; beyond it nothing "
         "more is taken in before some of that goes [default: 8 GiB, of a delivery node 64 GiB]", _held_bytes],
        ["readers-max", None, 20000, "(delivery) readers that may be placed here", read_positive],
        ["peer", None, None, "(contracts) client endpoint of the pair link of the other process that has the "
         "contracts, like tcp:HOST:4949; each names the other [default: none, this one is alone]"],
        ["pair-listen", None, None, "(contracts) server endpoint of the pair link [default: tcp:4949, with --peer; for "
         "this machine alone without --tls, --secret-file or --insecure-links]"],
        ["pair-advertise", None, None, "(contracts) HOST:PORT of that [default: from --pair-listen, with the name of "
         "this machine]", read_address],
        ["heartbeat", None, 0.15, "seconds between beats to other nodes", read_some_seconds],
        ["suspect", None, 0.6, "seconds of silence after which another node is given up", read_some_seconds],
        ["stands-in-for", None, None, "(contracts) the name of the master: this one serves while that is dead "
         "[default: none, this is the master]", read_name],
        ["ask-every", None, ASK_EVERY_S, "(contracts) seconds between an answer of the master and the next question",
         read_some_seconds],
        ["dead-after", None, DEAD_AFTER_S, "(contracts) seconds without an answer after which this one serves",
         read_some_seconds],
        ["minimum-max", None, Policy().minimum_max, "(contracts) items an hour that are guaranteed at most",
         read_count],
        ["maximum-max", None, Policy().maximum_max, "(contracts) items an hour that a paid contract has at most",
         read_positive],
        ["delay-min", None, Policy().delay_s_min, "(contracts) no shorter delay than so many seconds is guaranteed",
         read_some_seconds],
        ["negotiations-max", None, NEGOTIATIONS_MAX, "(contracts) negotiations at once; further ones wait",
         read_positive],
        ["web", None, None, "(proxy) server endpoint of the page of mobile readers, like tcp:8080"],
        ["delivery", None, None, "(proxy) the name of the delivery node that it reads from", read_name],
    ]  # fmt: skip

    def opt_listen(self, endpoint: str) -> None:
        """Server endpoint of the public links; may be repeated [default: tcp:4848, of root, delivery and contracts]."""
        self._said["listen"].append(endpoint)

    @property
    def listen(self) -> tuple[str, ...]:
        """The server endpoints of the public links."""
        return super().listen or ((LISTEN,) if self["role"] in SERVES else ())

    @property
    def _peer_listen(self) -> str:
        """Where other nodes are listened for: unless told or guarded, on this machine alone."""
        default = self._guarded_default(PEER_LISTEN) if self["role"] in HAS_PEERS else ""
        return self["peer-listen"] or default

    @property
    def _pair_listen(self) -> str:
        """Where the other of the two that have the contracts is listened for."""
        default = self._guarded_default(PAIR_LISTEN) if self["peer"] else ""
        return self["pair-listen"] or default

    def _guarded_default(self, listen: str) -> str:
        return listen if self._guarded else f"{listen}{HERE}"

    def endpoints(self) -> list[tuple[str, str, bool]]:
        """Return each endpoint: the option that names it, its description, and whether it is a server's."""
        served = [("listen", each) for each in self.listen]
        served += [("peer-listen", self._peer_listen), ("pair-listen", self._pair_listen)]
        served += [(name, self[name]) for name in ("web", "metrics")]
        dialled = [(name, self[name]) for name in ("parent", "peer", "registry")]
        found = [(name, each, True) for name, each in served] + [(name, each, False) for name, each in dialled]
        return [(f"--{name}", description, serves) for name, description, serves in found if description]

    def postOptions(self) -> None:
        """Fill in what depends on other options."""
        role = self["role"]
        if role is None:
            raise UsageError(f"say what this is, with --role=ROLE: {', '.join(ROLES)}")
        super().postOptions()
        defaults = {row[0]: row[2] for row in self.optParameters}
        for name, roles in FOR.items():
            if role not in roles and self[name] != defaults[name]:
                raise UsageError(f"--{name} is for {' or '.join(f'--role={each}' for each in roles)}")
        for name, roles in NEEDS.items():
            if role in roles and not self[name]:
                raise UsageError(f"--role={role} needs --{name}")
        if self["heartbeat"] >= self["suspect"]:
            raise UsageError("--heartbeat must be shorter than --suspect")
        if self["stands-in-for"] and not self["peer"]:
            raise UsageError("--stands-in-for needs --peer: where the master's pair link is")
        if self["stands-in-for"] == self["name"]:
            raise UsageError("--stands-in-for names the other of the two, not this one: give this one another --name")
        if self["substitute"] == self["name"]:
            raise UsageError("--substitute names another delivery node than this one")
        if self["registry-token"] is not None and self["registry"] is None:
            raise UsageError("--registry-token needs --registry: where the registry is")
        for name, listen in (("peer-listen", self._peer_listen), ("pair-listen", self._pair_listen)):
            if listen:
                self._check_guarded(name, listen)

    @property
    def kind(self) -> str:
        """See `ConfiguredOptions.kind`."""
        return f"news-{self['role']}"

    def settings(self) -> NewsSettings:
        """Return what these options say of the role."""
        wanted, values = BUILT[self["role"]].settings, self.fields()
        return wanted(**{each.name: values[each.name] for each in dataclasses.fields(wanted) if each.name in values})

    def fields(self) -> dict[str, Any]:
        """Return what these options say, by the names of the fields of settings."""
        datagrams = self["datagrams"] or ("0.0.0.0", 4848)
        return {
            "data": self["data"],
            "name": self["name"],
            "service": self["service"],
            "listen": self.listen,
            "peer_listen": self._peer_listen,
            "advertise": self._advertised(),
            "peer_advertise": self["peer-advertise"] or advertised_from(self._peer_listen) or "",
            "registry": self["registry"] or "",
            "token": self["registry-token"] or "",
            "lease_s": self["lease"],
            "metrics": self["metrics"] or "",
            "topics": self["topics"] or TOPICS,
            "control": os.path.join(self["data"], "control"),
            "heartbeat_s": self["heartbeat"],
            "suspect_s": self["suspect"],
            "parent": self["parent"] or "",
            "sources": self["sources"] or "",
            "substitute": self["substitute"] or "",
            "datagrams": datagrams,
            "datagrams_advertise": self["datagrams-advertise"] or _reached(*datagrams),
            "send_bytes_per_s": self["send-rate"],
            "readers_max": self["readers-max"],
            "first_number": self["first-number"],
            **({"held_bytes_max": self["held-max"]} if self["held-max"] else {}),
            "peer": self._peer_settings(),
            "stands_in_for": self["stands-in-for"] or "",
            "ask_every_s": self["ask-every"],
            "dead_after_s": self["dead-after"],
            "minimum_max": self["minimum-max"],
            "maximum_max": self["maximum-max"],
            "delay_s_min": self["delay-min"],
            "negotiations_max": self["negotiations-max"],
            "web": self["web"] or "",
            "delivery": self["delivery"] or "",
        }

    def _advertised(self) -> str:
        if self["advertise"]:
            return as_listened(self["advertise"], self.listen)
        return next((place for place in map(place_of, self.listen) if place is not None), "")

    def _peer_settings(self) -> PeerSettings | None:
        if not self["peer"]:
            return None
        pair = PairSettings(
            name=self["name"],
            service=self["service"],
            role="secondary" if self["stands-in-for"] else "primary",
            advertise=self["pair-advertise"] or advertised_from(self._pair_listen) or "",
            heartbeat_s=self["heartbeat"],
            suspect_s=self["suspect"],
        )
        return PeerSettings(self["peer"], pair, self._pair_listen, self["registry"] or "")


def _reached(host: str, port: int) -> str:
    """Return the `HOST:PORT` that others reach datagrams by; empty for a port that is not known yet."""
    return address_of(reached_by(host), port) if port else ""
