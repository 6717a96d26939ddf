"""The options of `twistd chatserver`: from the command line and a TOML file to settings."""

import os
import re
from dataclasses import replace
from typing import Any, ClassVar

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.python.usage import UsageError

from chatproto.advertised import advertised_from, as_listened, place_of, reached_by
from chatproto.chat.messages import HistoryWanted
from chatproto.chat.settings import ChatSettings
from chatproto.configured import HERE, ConfiguredOptions
from chatproto.gateway import PageSettings
from chatproto.gateway.admission import origin_of
from chatproto.monitor.service import ASK_EVERY_S, DEAD_AFTER_S
from chatproto.pair.log import PairSettings
from chatproto.readers import (
    read_address,
    read_count,
    read_interface,
    read_name,
    read_place,
    read_positive,
    read_rate,
    read_seconds,
    read_some_seconds,
)
from chatproto.registry.zone import name_allowed
from chatproto.services.dns import DNSSettings
from chatproto.services.monitor import MonitorSettings
from chatproto.services.node import NodeSettings, Retention
from chatproto.services.pairing import PeerSettings
from chatproto.services.registering import RegisteringSettings
from chatproto.services.registry import RegistrySettings
from chatproto.trust.endpoints import dials_beyond

ROLES = ("primary", "secondary", "standby", "registry", "monitor")
PEER_LISTEN = "tcp:4545"
REGISTRY_LISTEN = "tcp:4646"
FOR_PAIRS = ("prefer-primary", "allow-data-loss")
FOR_PEERS = ("peer-listen", "peer-advertise", "migrate-every")
LINES_PER_ADDRESS = 5
"""By default, all clients of an address may say as much as so many of them."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _history(value: str) -> HistoryWanted:
    if value in ("all", "none"):
        return value
    return read_count(value)


def _watched(value: str) -> tuple[str, str]:
    service, slash, name = value.partition("/")
    return read_name(service), read_name(name) if slash else ""


def _role(value: str) -> str:
    if value not in ROLES:
        raise ValueError(f"this release knows {', '.join(ROLES)}")
    return value


def parse_retention(value: str) -> Retention:
    """Read what `--retain` says: `30d` (an age), `100000` (messages a room), `2GB` (of disk), or several with commas.

    Raises:
        ValueError: it says something else, or the same thing twice.
    """
    found: dict[str, Any] = {}
    for part in value.split(","):
        matched = re.fullmatch(r"(\d+)([smhdw]|[KMGT]B)?", part.strip())
        if matched is None or int(matched[1]) == 0:
            raise ValueError(
                "must be like 30d (an age), 100000 (messages a room), 2GB (of disk), or several with commas"
            )
        number, unit = int(matched[1]), matched[2]
        key, amount = (
            ("count", number)
            if unit is None
            else ("age_s", number * _UNITS[unit])
            if unit in _UNITS
            else ("bytes_max", number * _SIZES[unit])
        )
        if key in found:
            raise ValueError("says the same thing twice")
        found[key] = amount
    return Retention(**found)


def _page(value: str) -> str:
    if not origin_of(value):
        raise ValueError("must be an address like https://HOST:PORT")
    return value.rstrip("/")


def _origins(value: str) -> tuple[str, ...]:
    found = tuple(origin_of(part.strip()) for part in value.split(","))
    if not all(found):
        raise ValueError("must be origins like https://HOST:PORT, several with commas")
    return found


def _zone(value: str) -> str:
    if not name_allowed(value):
        raise ValueError("must be a name of the DNS, like chat.example")
    return value


class Options(ConfiguredOptions, AuthOptionMixin):
    """The options of a chat node."""

    repeated: ClassVar[dict[str, tuple[str, ...]]] = {"listen": ("tcp:4444",), "auth": ()}
    supportedInterfaces = (IUsernamePassword,)
    longdesc = "Serves chat rooms over line JSON, durable and ordered. Run alone, it needs no option at all."

    optParameters: ClassVar[list[list[Any]]] = [
        ["role", None, "primary", "what this is: primary, secondary, standby (ready to take a server's place), "
         "registry (the witness of their pair), or monitor (stands in for a server that is dead)", _role],
        ["advertise", None, None, "HOST:PORT told to clients, or tls:HOST:PORT where they have to speak TLS, as they "
         "are told anyway if the --listen of that port is ssl: [default: in a pair, from --listen, with the name of "
         "this machine]", read_place],
        ["peer", None, None, "client endpoint of the other node's peer link, like tcp:HOST:4545; each node names the "
         "other [default: none, this node is alone]"],
        ["peer-listen", None, None, "server endpoint of this node's peer link; a server with --registry and without "
         "--peer can be moved to a standby if it has one [default: tcp:4545, with --peer, --migrate-every, or for a "
         "standby; for this machine alone without --tls, --secret-file or --insecure-links]"],
        ["peer-advertise", None, None, "HOST:PORT of this node's peer link, registered [default: from --peer-listen, "
         "with the name of this machine]", read_address],
        ["registry", None, None, "client endpoint of the registry, like tcp:HOST:4646, where this node is registered: "
         "the witness that prevents split brain in a pair [default: none, each node goes on alone]"],
        ["migrate-every", None, 0.0, "seconds from one move to a random standby to the next, on whichever server is "
         "active; 0 for none", read_seconds],
        ["registry-listen", None, None, "(registry) server endpoint where it serves [default: tcp:4646; for this "
         "machine alone without --tls, --secret-file or --insecure-links]"],
        ["dns", None, None, "(registry) HOST:PORT where it answers the DNS, UDP and TCP: A, AAAA and SRV of what is "
         "registered [default: not at all]", read_interface],
        ["dns-zone", None, "chat.example", "(registry) the zone that it answers for", _zone],
        ["watch", None, None, "(monitor) SERVICE or SERVICE/NAME, as registered: whose leader, or which server, is "
         "asked whether it lives", _watched],
        ["standby-for", None, None, "(monitor) the service that the stand-in is registered in [default: the one that "
         "is watched]", read_name],
        ["ask-every", None, ASK_EVERY_S, "(monitor) seconds between an answer and the next question",
         read_some_seconds],
        ["dead-after", None, DEAD_AFTER_S, "(monitor) seconds without an answer after which the stand-in serves",
         read_some_seconds],
        ["service", None, "chat", "the name of this deployment, the same on each of its nodes", read_name],
        ["heartbeat", None, 0.15, "seconds between beats to the other node and the registry", read_some_seconds],
        ["suspect", None, 0.6, "seconds of silence after which the other node is given up", read_some_seconds],
        ["lease", None, 0.9, "(registry) seconds of silence after which a leader may be replaced", read_some_seconds],
        ["capacity", None, 100, "clients before newcomers are sent to the other server, or turned away", read_positive],
        ["history", None, "all", "what a client receives on joining a room: all, none, or the last N", _history],
        ["retain", None, None, "what is kept: an age (30d), messages a room (100000), disk (2GB), or several "
         "with commas [default: everything]", parse_retention],
        ["min-clients", None, 0, "messages are held until so many clients were there at once; the same on each node",
         read_count],
        ["held-max", None, 10000, "messages held until then", read_positive],
        ["held-bytes-max", None, 4194304, "bytes of messages held until then", read_positive],
        ["rate-limit", None, 200.0, "lines a second a client may send, ten times as many at once; above it, its "
         "link is read more slowly; 0 for none", read_rate],
        ["rate-limit-address", None, None, "lines a second that all clients of one address may send together, as many "
         "at once as one client; 0 for any [default: five times --rate-limit]", read_rate],
        ["greet-after", None, 0.1, "seconds a connection may stay silent before it is greeted as a base client",
         read_seconds],
        ["session-grace", None, 15.0, "seconds an extended session outlives its connection", read_seconds],
        ["ping-every", None, 15.0, "seconds between pings to extended clients", read_some_seconds],
        ["silence-max", None, 45.0, "seconds of silence after which an extended client is dropped", read_some_seconds],
        ["drain-max", None, 10.0, "seconds that the end of this node may take, in which clients are sent elsewhere; 0 "
         "for at once", read_seconds],
        ["handshake-max", None, 10.0, "seconds a TLS handshake may take", read_some_seconds],
        ["line-bytes-max", None, 65536, "bytes of a client's longest line", read_positive],
        ["message-chars-max", None, 16384, "characters of the longest message", read_positive],
        ["backlog-bytes-max", None, 1048576, "bytes held for a client that does not read", read_positive],
        ["in-flight-max", None, 1000, "requests of a client under way before it is read no further", read_positive],
        ["nonsense-max", None, 1000, "lines of nonsense in a minute before a client is dropped", read_positive],
        ["connections-per-address-max", None, 1000, "connections of one address at once; 0 for any", read_count],
        ["arrivals-per-address", None, 50.0, "connections a second of one address, after as many at once as it may "
         "have, and 100 more; 0 for any", read_rate],
        ["handshakes-max", None, 1000, "connections at once that are not greeted yet", read_positive],
        ["rooms-per-owner-max", None, 100, "rooms that one client may own; 0 for any", read_count],
        ["rooms-per-session-max", None, 100, "rooms that one client may be in", read_positive],
        ["ticket-for", None, 2592000.0, "seconds that an account that has logged in may come back without its "
         "password", read_some_seconds],
        ["web", None, None, "server endpoint of the page and its WebSocket, like tcp:8080 [default: none]"],
        ["web-advertise", None, None, "http(s)://HOST:PORT that browsers reach the page by, and go on with at the "
         "other server [default: in a pair, from --web, with the name of this machine]", _page],
        ["web-origins", None, None, "the only origins whose pages may use the WebSocket, beside those of the two "
         "servers, with commas [default: the host that the browser asked for]", _origins],
        ["announcement", None, None, "what newcomers are told by the server itself [default: nothing; of a monitor, "
         "for whom it stands in]"],
    ]  # fmt: skip
    optFlags: ClassVar[list[list[Any]]] = [
        ["no-guests", None, "let nobody in without an account"],
        ["same-host", None, "(monitor) stand in also for a server on this machine, with which both would be lost"],
        ["no-search", None, "keep no index of what is said, for clients to search"],
        ["prefer-primary", None, "a secondary that leads hands over when the primary is back and has caught up"],
        ["allow-data-loss", None, "lead although the other node may hold messages that this one has not: for when that "
         "one is lost for good; what only it held is lost"],
    ]  # fmt: skip

    def opt_listen(self, endpoint: str) -> None:
        """Server endpoint of the client link; may be repeated [default: tcp:4444]."""
        self._said["listen"].append(endpoint)

    def opt_auth(self, description: str) -> None:
        """Plugin of twisted.cred that knows passwords besides the accounts, like file:PATH or unix; may be repeated."""
        super().opt_auth(description)

    def endpoints(self) -> list[tuple[str, str, bool]]:
        """Return each endpoint: the option that names it, its description, and whether it is a server's."""
        of_registry = self["role"] == "registry"
        served: list[tuple[str, Any]] = [("registry-listen", self._registry_listen)] if of_registry else []
        served += [("listen", each) for each in self.listen if not of_registry]
        if self._has_peers:
            served.append(("peer-listen", self._peer_listen))
        served += [(name, self[name] or None) for name in ("web", "metrics")]
        dialled = [(name, self[name]) for name in ("peer", "registry")]
        found = [(name, each, True) for name, each in served] + [(name, each, False) for name, each in dialled]
        return [(f"--{name}", description, serves) for name, description, serves in found if description is not None]

    def postOptions(self) -> None:
        """Fill in what depends on other options."""
        super().postOptions()
        if "credCheckers" not in self:
            for description in self._configured["auth"]:
                self.opt_auth(description)
        if self["silence-max"] < self["ping-every"]:
            raise UsageError("--silence-max must not be shorter than --ping-every")
        if self["heartbeat"] >= self["suspect"]:
            raise UsageError("--heartbeat must be shorter than --suspect")
        if self["role"] == "registry" and self["suspect"] >= self["lease"]:
            raise UsageError("--suspect must be shorter than --lease; give the nodes the same --suspect")
        if self["role"] == "registry":
            for name in (*FOR_PAIRS, *FOR_PEERS, "peer", "registry", "registry-token"):
                if self[name]:
                    raise UsageError(
                        f"--{name} is for a primary or a secondary; where a registry serves is in --registry-listen"
                    )
        elif self["dns"] is not None:
            raise UsageError("--dns is for a registry, which knows what to answer")
        elif self["role"] == "monitor":
            self._check_monitor()
        elif self["peer"] is None:
            if self["role"] == "secondary":
                raise UsageError("--role=secondary needs --peer: where the primary's peer link is, like tcp:HOST:4545")
            if self["role"] == "standby" and self["registry"] is None:
                raise UsageError("--role=standby needs --registry: there it is found by whoever wants to move")
            if self["prefer-primary"]:
                raise UsageError("--prefer-primary needs --peer: where the other node's peer link is")
            if self["allow-data-loss"] and not self._has_peers:
                raise UsageError("--allow-data-loss needs --peer: where the other node's peer link is")
            for name in FOR_PEERS:
                if self[name] and self["registry"] is None:
                    raise UsageError(f"--{name} needs --peer, or --registry: nobody else would know of it")
            if self["min-clients"] > self["capacity"]:
                raise UsageError("--min-clients must not be more than --capacity: the chat would never begin")
        elif self["role"] == "standby":
            raise UsageError("--peer is for a primary or a secondary: a standby is invited by whoever wants to move")
        elif self["migrate-every"] and self["registry"] is None:
            raise UsageError("--migrate-every needs --registry: it knows who stands by")
        for name in ("web-advertise", "web-origins"):
            if self[name] and not self["web"]:
                raise UsageError(f"--{name} needs --web: where the page is served")
        if self["registry-token"] is not None and self["registry"] is None:
            raise UsageError("--registry-token needs --registry: where the registry is")
        if self["role"] == "registry":
            self._check_guarded("registry-listen", self._registry_listen)
        elif self._has_peers:
            self._check_guarded("peer-listen", self._peer_listen)

    @property
    def _registry_listen(self) -> str:
        """Where a registry serves: unless told or guarded, this machine alone."""
        told: str | None = self["registry-listen"]
        return told or (REGISTRY_LISTEN if self._guarded else f"{REGISTRY_LISTEN}{HERE}")

    @property
    def _peer_listen(self) -> str:
        """Where nodes are listened for: unless told or guarded, on this machine alone, if all that are known are there.

        Who is dialled on another machine would have to dial from there, too.
        """
        advertised = self["peer-advertise"] and f"tcp:{self['peer-advertise']}"
        beyond = any(map(dials_beyond, filter(None, (self["peer"], self["registry"], advertised))))
        told: str | None = self["peer-listen"]
        return told or (PEER_LISTEN if self._guarded or beyond else f"{PEER_LISTEN}{HERE}")

    def _check_monitor(self) -> None:
        for name in (*FOR_PAIRS, *FOR_PEERS, "peer"):
            if self[name]:
                raise UsageError(f"--{name} is for a primary or a secondary: a stand-in is a server alone")
        for name in ("watch", "registry"):
            if self[name] is None:
                raise UsageError(f"--role=monitor needs --{name}: it watches what the registry knows")

    def monitor_settings(self) -> MonitorSettings:
        """Return what these options say of a monitor."""
        node = self.settings()
        service, name = self["watch"]
        watched = "/".join(filter(None, (service, name)))
        said = node.chat.announcement or f"{node.chat.name} stands in for {watched} until that is back"
        return MonitorSettings(
            registry=self["registry"],
            watch=service,
            node=replace(node, registering=None, metrics="", chat=replace(node.chat, announcement=said)),
            master=name,
            standby_for=self["standby-for"] or "",
            token=self["registry-token"] or "",
            ask_every_s=self["ask-every"],
            dead_after_s=self["dead-after"],
            same_host=bool(self["same-host"]),
            metrics=node.metrics,
        )

    def registry_settings(self) -> RegistrySettings:
        """Return what these options say of a registry."""
        return RegistrySettings(
            data=self["data"],
            listen=(self._registry_listen,),
            heartbeat_s=self["heartbeat"],
            suspect_s=self["suspect"],
            lease_s=self["lease"],
            dns=self._dns_settings(),
            metrics=self["metrics"] or "",
        )

    def _dns_settings(self) -> DNSSettings | None:
        if self["dns"] is None:
            return None
        host, port = self["dns"]
        return DNSSettings(host, port, reached_by(host), self["dns-zone"], self["service"])

    @property
    def _has_peers(self) -> bool:
        """Whether there is another node, or may be one that this one's place is moved to."""
        movable = self["peer-listen"] or self["peer-advertise"] or self["migrate-every"] or self["role"] == "standby"
        return self["peer"] is not None or bool(movable)

    @property
    def _peer_address(self) -> str:
        """The `HOST:PORT` of this node's peer link."""
        return self["peer-advertise"] or advertised_from(self._peer_listen) or ""

    def _peer_settings(self) -> PeerSettings | None:
        if not self._has_peers:
            return None
        return PeerSettings(
            dial=self["peer"] or "",
            listen=self._peer_listen,
            registry=self["registry"] or "",
            pair=PairSettings(
                name=self["name"],
                service=self["service"],
                role=self["role"],
                advertise=self._peer_address,
                heartbeat_s=self["heartbeat"],
                suspect_s=self["suspect"],
                prefer_primary=bool(self["prefer-primary"]),
                allow_data_loss=bool(self["allow-data-loss"]),
            ),
        )

    def _registering_settings(self) -> RegisteringSettings | None:
        if self["registry"] is None:
            return None
        peer = self._peer_address if self._has_peers else ""
        return RegisteringSettings(self["registry"], self["registry-token"] or "", self["service"], peer)

    def _advertised_page(self) -> list[str]:
        if self["web-advertise"] or not self["web"] or (self["peer"] or self["registry"]) is None:
            return [self["web-advertise"]] if self["web-advertise"] else []
        address = advertised_from(self["web"])
        scheme = "https" if self["web"].startswith(("ssl:", "tls:")) else "http"
        return [f"{scheme}://{address}"] if address is not None else []

    @property
    def kind(self) -> str:
        """See `ConfiguredOptions.kind`: servers of a chat take one another's places."""
        return self["role"] if self["role"] in ("registry", "monitor") else "chat"

    def settings(self) -> NodeSettings:
        """Return what these options say of a node."""
        rate, of_address = self["rate-limit"], self["rate-limit-address"]
        listen = self.listen
        advertised = [as_listened(self["advertise"], listen)] if self["advertise"] else []
        if (self["peer"] or self["registry"]) is not None and not advertised:
            advertised = [place for place in map(place_of, listen) if place is not None][:1]
        return NodeSettings(
            data=self["data"],
            listen=listen,
            retain=self["retain"] or Retention(),
            peer=self._peer_settings(),
            control=os.path.join(self["data"], "control"),
            registering=self._registering_settings(),
            drain_s_max=self["drain-max"],
            migrate_every_s=self["migrate-every"],
            checkers=tuple(self.get("credCheckers", ())),
            page=PageSettings(self["web"], self["web-origins"] or ()) if self["web"] else None,
            search=not self["no-search"],
            metrics=self["metrics"] or "",
            chat=ChatSettings(
                name=self["name"],
                servers=advertised,
                pages=self._advertised_page(),
                history=_history(str(self["history"])),
                capacity=self["capacity"],
                greet_after_s=self["greet-after"],
                session_grace_s=self["session-grace"],
                heartbeat_s=self["ping-every"],
                silence_s_max=self["silence-max"],
                handshake_s_max=self["handshake-max"],
                rate_lines=rate,
                burst_lines=rate * 10,
                rate_lines_per_address=rate * LINES_PER_ADDRESS if of_address is None else of_address,
                line_bytes_max=self["line-bytes-max"],
                message_chars_max=self["message-chars-max"],
                backlog_bytes_max=self["backlog-bytes-max"],
                in_flight_max=self["in-flight-max"],
                nonsense_max=self["nonsense-max"],
                connections_per_address_max=self["connections-per-address-max"],
                arrivals_per_address=self["arrivals-per-address"],
                handshakes_max=self["handshakes-max"],
                rooms_per_owner_max=self["rooms-per-owner-max"],
                rooms_per_session_max=self["rooms-per-session-max"],
                guests=not self["no-guests"],
                ticket_s=self["ticket-for"],
                announcement=self["announcement"] or "",
                clients_min=self["min-clients"],
                held_max=self["held-max"],
                held_bytes_max=self["held-bytes-max"],
            ),
        )
