"""The options of `twistd chatserver`: from the command line and a TOML file to settings."""

import os
import re
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import msgspec
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from chatproto.chat.messages import HistoryWanted
from chatproto.chat.settings import ChatSettings
from chatproto.gateway import PageSettings
from chatproto.gateway.admission import origin_of
from chatproto.monitor.service import ASK_EVERY_S, DEAD_AFTER_S
from chatproto.pair.log import PairSettings
from chatproto.registry.names import TOKEN_BYTES_MAX
from chatproto.registry.zone import name_allowed
from chatproto.services.dns import DNSSettings
from chatproto.services.monitor import MonitorSettings
from chatproto.services.node import NodeSettings, PeerSettings, Retention
from chatproto.services.registering import RegisteringSettings
from chatproto.services.registry import RegistrySettings
from chatproto.trust.endpoints import NETWORKS, dials_beyond, listens_beyond, listens_with_tls, parts_of
from chatproto.wire import address_allowed, address_of
from chatproto.wire.addresses import TLS, without_tls

ROLES = ("primary", "secondary", "standby", "registry", "monitor")
PEER_LISTEN = "tcp:4545"
HERE = ":interface=127.0.0.1"
REGISTRY_LISTEN = "tcp:4646"
ENDPOINT_ERRORS = (ValueError, TypeError, KeyError, OSError)
"""In these, Twisted's parsers of endpoints say what they do not understand."""
LOG_FORMATS = ("text", "json")
FOR_PAIRS = ("prefer-primary", "allow-data-loss")
FOR_PEERS = ("peer-listen", "peer-advertise", "migrate-every")
LINES_PER_ADDRESS = 5
"""By default, all clients of an address may say as much as so many of them."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError("must be a number") from None


def _whole(value: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise ValueError("must be a whole number")
    return int(value)


def _positive(value: str) -> int:
    number = _whole(value)
    if number < 1:
        raise ValueError("must be 1 or more")
    return number


def _count(value: str) -> int:
    number = _whole(value)
    if number < 0:
        raise ValueError("must not be negative")
    return number


def _seconds(value: str) -> float:
    number = _number(value)
    if not 0 <= number < 10**9:
        raise ValueError("must be a number of seconds")
    return number


def _some_seconds(value: str) -> float:
    if not _seconds(value):
        raise ValueError("must be more than 0 seconds")
    return float(value)


def _rate(value: str) -> float:
    number = _number(value)
    if not 0 <= number < 10**12:
        raise ValueError("must be a number of lines")
    return number


def _history(value: str) -> HistoryWanted:
    if value in ("all", "none"):
        return value
    return _count(value)


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("must be letters, digits, dots, hyphens and underscores, 64 at most")
    return value


def _watched(value: str) -> tuple[str, str]:
    service, slash, name = value.partition("/")
    return _name(service), _name(name) if slash else ""


def _interface(value: str) -> tuple[str, int]:
    """Read `HOST:PORT` to be listened on: the port may be 0, and of a name its first address is taken."""
    matched = re.fullmatch(r"(?:\[([^]]+)\]|([^:]+)):([0-9]{1,5})", value)
    if matched is None or int(matched[3]) > 65535:
        raise ValueError("must be HOST:PORT, an IPv6 address in brackets")
    try:
        found = socket.getaddrinfo(matched[1] or matched[2], int(matched[3]), type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"there is no such host: {error}") from None
    host, port = found[0][4][:2]
    return str(host), int(port)


def _address(value: str) -> str:
    if not address_allowed(value):
        raise ValueError("must be HOST:PORT, an IPv6 address in brackets")
    return value


def _place(value: str) -> str:
    if not address_allowed(without_tls(value)):
        raise ValueError("must be HOST:PORT or tls:HOST:PORT, an IPv6 address in brackets")
    return value


def _zone(value: str) -> str:
    if not name_allowed(value):
        raise ValueError("must be a name of the DNS, like chat.example")
    return value


def _token(value: str) -> str:
    if not 0 < len(value.encode()) <= TOKEN_BYTES_MAX:
        raise ValueError(f"must be from 1 to {TOKEN_BYTES_MAX} bytes")
    return value


def _page(value: str) -> str:
    if not origin_of(value):
        raise ValueError("must be an address like https://HOST:PORT")
    return value.rstrip("/")


def _origins(value: str) -> tuple[str, ...]:
    found = tuple(origin_of(part.strip()) for part in value.split(","))
    if not all(found):
        raise ValueError("must be origins like https://HOST:PORT, several with commas")
    return found


def _role(value: str) -> str:
    if value not in ROLES:
        raise ValueError(f"this release knows {', '.join(ROLES)}")
    return value


def _log_format(value: str) -> str:
    if value not in LOG_FORMATS:
        raise ValueError(f"must be {' or '.join(LOG_FORMATS)}")
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


def default_data_directory(name: str) -> str:
    """Return where a node keeps its data unless told: under `$XDG_STATE_HOME`, by its name."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "chatproto", name)


def _named(option: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader that says which option it could not read."""

    def read_or_say(value: str) -> Any:
        try:
            return read(value)
        except ValueError as error:
            raise UsageError(f"{option}={value}: {error}") from None

    return read_or_say


class Options(UsageOptions, AuthOptionMixin):
    """The options of a chat node. Each may stand in the TOML file that `--config` names; the command line wins.

    Attributes:
        arguments: what was parsed.
    """

    synopsis = "[options]"
    supportedInterfaces = (IUsernamePassword,)
    longdesc = "Serves chat rooms over line JSON, durable and ordered. Run alone, it needs no option at all."

    optParameters: ClassVar[list[list[Any]]] = [
        ["role", None, "primary", "what this is: primary, secondary, standby (ready to take a server's place), "
         "registry (the witness of their pair), or monitor (stands in for a server that is dead)", _role],
        ["name", None, None, "this node's name, unique in a deployment [default: the role]", _name],
        ["data", None, None, "data directory [default: chatproto/NAME under $XDG_STATE_HOME]"],
        ["advertise", None, None, "HOST:PORT told to clients, or tls:HOST:PORT where they have to speak TLS, as they "
         "are told anyway if the --listen of that port is ssl: [default: in a pair, from --listen, with the name of "
         "this machine]", _place],
        ["peer", None, None, "client endpoint of the other node's peer link, like tcp:HOST:4545; each node names the "
         "other [default: none, this node is alone]"],
        ["peer-listen", None, None, "server endpoint of this node's peer link; a server with --registry and without "
         "--peer can be moved to a standby if it has one [default: tcp:4545, with --peer, --migrate-every, or for a "
         "standby; for this machine alone without --tls, --secret-file or --insecure-links]"],
        ["peer-advertise", None, None, "HOST:PORT of this node's peer link, registered [default: from --peer-listen, "
         "with the name of this machine]", _address],
        ["registry", None, None, "client endpoint of the registry, like tcp:HOST:4646, where this node is registered: "
         "the witness that prevents split brain in a pair [default: none, each node goes on alone]"],
        ["migrate-every", None, 0.0, "seconds from one move to a random standby to the next, on whichever server is "
         "active; 0 for none", _seconds],
        ["registry-token", None, None, "what protects this node's name in the registry: whoever has it may register in "
         "its place [default: a secret that the data directory keeps]", _token],
        ["registry-listen", None, None, "(registry) server endpoint where it serves [default: tcp:4646; for this "
         "machine alone without --tls, --secret-file or --insecure-links]"],
        ["tls", None, None, "directory with ca.pem, node.pem and node.key, as `chatproto certs` makes it: links among "
         "nodes and to the registry are encrypted, and each side proves its name; `ssl:PORT` listens with that "
         "certificate [default: none]"],
        ["registry-name", None, "registry", "the name that the registry's certificate has to be for", _name],
        ["secret-file", None, None, "file with a secret, the same on each node: links among nodes and to the registry "
         "prove that they know it, and are not encrypted; instead of --tls [default: none]"],
        ["dns", None, None, "(registry) HOST:PORT where it answers the DNS, UDP and TCP: A, AAAA and SRV of what is "
         "registered [default: not at all]", _interface],
        ["dns-zone", None, "chat.example", "(registry) the zone that it answers for", _zone],
        ["watch", None, None, "(monitor) SERVICE or SERVICE/NAME, as registered: whose leader, or which server, is "
         "asked whether it lives", _watched],
        ["standby-for", None, None, "(monitor) the service that the stand-in is registered in [default: the one that "
         "is watched]", _name],
        ["ask-every", None, ASK_EVERY_S, "(monitor) seconds between an answer and the next question", _some_seconds],
        ["dead-after", None, DEAD_AFTER_S, "(monitor) seconds without an answer after which the stand-in serves",
         _some_seconds],
        ["service", None, "chat", "the name of this deployment, the same on each of its nodes", _name],
        ["heartbeat", None, 0.15, "seconds between beats to the other node and the registry", _some_seconds],
        ["suspect", None, 0.6, "seconds of silence after which the other node is given up", _some_seconds],
        ["lease", None, 0.9, "(registry) seconds of silence after which a leader may be replaced", _some_seconds],
        ["capacity", None, 100, "clients before newcomers are sent to the other server, or turned away", _positive],
        ["history", None, "all", "what a client receives on joining a room: all, none, or the last N", _history],
        ["retain", None, None, "what is kept: an age (30d), messages a room (100000), disk (2GB), or several "
         "with commas [default: everything]", parse_retention],
        ["min-clients", None, 0, "messages are held until so many clients were there at once; the same on each node",
         _count],
        ["held-max", None, 10000, "messages held until then", _positive],
        ["held-bytes-max", None, 4194304, "bytes of messages held until then", _positive],
        ["rate-limit", None, 200.0, "lines a second a client may send, ten times as many at once; above it, its "
         "link is read more slowly; 0 for none", _rate],
        ["rate-limit-address", None, None, "lines a second that all clients of one address may send together, as many "
         "at once as one client; 0 for any [default: five times --rate-limit]", _rate],
        ["greet-after", None, 0.1, "seconds a connection may stay silent before it is greeted as a base client",
         _seconds],
        ["session-grace", None, 15.0, "seconds an extended session outlives its connection", _seconds],
        ["ping-every", None, 15.0, "seconds between pings to extended clients", _some_seconds],
        ["silence-max", None, 45.0, "seconds of silence after which an extended client is dropped", _some_seconds],
        ["drain-max", None, 10.0, "seconds that the end of this node may take, in which clients are sent elsewhere; 0 "
         "for at once", _seconds],
        ["handshake-max", None, 10.0, "seconds a TLS handshake may take", _some_seconds],
        ["line-bytes-max", None, 65536, "bytes of a client's longest line", _positive],
        ["message-chars-max", None, 16384, "characters of the longest message", _positive],
        ["backlog-bytes-max", None, 1048576, "bytes held for a client that does not read", _positive],
        ["in-flight-max", None, 1000, "requests of a client under way before it is read no further", _positive],
        ["nonsense-max", None, 1000, "lines of nonsense in a minute before a client is dropped", _positive],
        ["connections-per-address-max", None, 1000, "connections of one address at once; 0 for any", _count],
        ["arrivals-per-address", None, 50.0, "connections a second of one address, after as many at once as it may "
         "have, and 100 more; 0 for any", _rate],
        ["handshakes-max", None, 1000, "connections at once that are not greeted yet", _positive],
        ["rooms-per-owner-max", None, 100, "rooms that one client may own; 0 for any", _count],
        ["rooms-per-session-max", None, 100, "rooms that one client may be in", _positive],
        ["ticket-for", None, 2592000.0, "seconds that an account that has logged in may come back without its "
         "password", _some_seconds],
        ["web", None, None, "server endpoint of the page and its WebSocket, like tcp:8080 [default: none]"],
        ["web-advertise", None, None, "http(s)://HOST:PORT that browsers reach the page by, and go on with at the "
         "other server [default: in a pair, from --web, with the name of this machine]", _page],
        ["web-origins", None, None, "the only origins whose pages may use the WebSocket, beside those of the two "
         "servers, with commas [default: the host that the browser asked for]", _origins],
        ["metrics", None, None, "server endpoint of /metrics (for Prometheus), /healthz and /readyz, like "
         "tcp:9464:interface=127.0.0.1 [default: none]"],
        ["log-format", None, "text", "text, or json: one object a line", _log_format],
        ["announcement", None, None, "what newcomers are told by the server itself [default: nothing; of a monitor, "
         "for whom it stands in]"],
        ["config", None, None, "TOML file with any of these options"],
    ]  # fmt: skip
    optFlags: ClassVar[list[list[Any]]] = [
        ["no-guests", None, "let nobody in without an account"],
        ["same-host", None, "(monitor) stand in also for a server on this machine, with which both would be lost"],
        ["no-search", None, "keep no index of what is said, for clients to search"],
        ["insecure-links", None, "let anybody who reaches its port be a node, or change what is registered: for a "
         "network where nobody else is"],
        ["prefer-primary", None, "a secondary that leads hands over when the primary is back and has caught up"],
        ["allow-data-loss", None, "lead although the other node may hold messages that this one has not: for when that "
         "one is lost for good; what only it held is lost"],
    ]  # fmt: skip
    for _row in optParameters:
        if len(_row) > 4:
            _row[4] = _named(_row[0], _row[4])

    def __init__(self) -> None:
        """Start with the defaults."""
        self.arguments: list[str] = []
        self._listen: list[str] = []
        self._listen_configured: list[str] = ["tcp:4444"]
        self._auth_configured: list[str] = []
        super().__init__()

    def opt_listen(self, endpoint: str) -> None:
        """Server endpoint of the client link; may be repeated [default: tcp:4444]."""
        self._listen.append(endpoint)

    def opt_auth(self, description: str) -> None:
        """Plugin of twisted.cred that knows passwords besides the accounts, like file:PATH or unix; may be repeated."""
        super().opt_auth(description)

    @property
    def listen(self) -> tuple[str, ...]:
        """The server endpoints of the client link."""
        return tuple(self._listen or self._listen_configured)

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

    def parseOptions(self, options: Any = None) -> None:
        """Parse; the file first, so that the command line wins."""
        self.arguments = arguments = sys.argv[1:] if options is None else list(options)
        look = _Look()
        UsageOptions.parseOptions(look, arguments)
        path = look["config"]
        if path is not None:
            for key, value in read_config(path).items():
                if key == "listen":
                    self._listen_configured = [value] if isinstance(value, str) else value
                elif key == "auth":
                    self._auth_configured = [value] if isinstance(value, str) else value
                elif isinstance(value, bool):
                    self[key] = int(value)
                else:
                    self[key] = self._coerced(path, key, value)
        super().parseOptions(arguments)

    def _coerced(self, path: str, key: str, value: Any) -> Any:
        (row,) = (row for row in self.optParameters if row[0] == key)
        try:
            return row[4](str(value)) if len(row) > 4 else str(value)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None

    def postOptions(self) -> None:
        """Fill in what depends on other options."""
        if "credCheckers" not in self:
            for description in self._auth_configured:
                self.opt_auth(description)
        if self["name"] is None:
            self["name"] = self["role"]
        if self["data"] is None:
            self["data"] = default_data_directory(self["name"])
        if self["log-format"] == "json" and self.parent is not None and self.parent["syslog"]:
            raise UsageError("--log-format=json is for a file or the standard output, not for --syslog")
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
        if self["tls"] and self["secret-file"]:
            raise UsageError("--tls and --secret-file are two ways to one end: give one of them")
        if self["role"] == "registry":
            self._check_guarded("registry-listen", self._registry_listen)
        elif self._has_peers:
            self._check_guarded("peer-listen", self._peer_listen)

    @property
    def _guarded(self) -> bool:
        """Whether it is said how nodes know each other, if only that they do not."""
        return bool(self["tls"] or self["secret-file"] or self["insecure-links"])

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

    def _check_guarded(self, option: str, listen: str) -> None:
        """Check that only whoever proves who it is comes in from another machine, unless that is wanted."""
        if not self._guarded and listens_beyond(listen):
            raise UsageError(
                f"--{option}={listen} may be reached from other machines, and anybody could be a node: give --tls=DIR "
                "(`chatproto certs` makes one), --secret-file=FILE, or --insecure-links to have it so; or listen for "
                f"this machine alone, with {HERE[1:]}"
            )

    def keep(self, other: "Options", names: Iterable[str]) -> None:
        """Say of some options, by name, what others say.

        Raises:
            UsageError: what this says of the rest does not go with that.
        """
        for name in names:
            if name == "listen":
                self._listen, self._listen_configured = other._listen, other._listen_configured
            else:
                self[name] = other[name]
        self.postOptions()

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
        return DNSSettings(host, port, _reached_by(host), self["dns-zone"], self["service"])

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

    def settings(self) -> NodeSettings:
        """Return what these options say of a node."""
        rate, of_address = self["rate-limit"], self["rate-limit-address"]
        listen = self.listen
        advertised = [_as_listened(self["advertise"], listen)] if self["advertise"] else []
        if (self["peer"] or self["registry"]) is not None and not advertised:
            advertised = [place for place in map(_place_of, listen) if place is not None][:1]
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


def advertised_from(listen: str) -> str | None:
    """Return the `HOST:PORT` that clients elsewhere reach a server endpoint by; None where it does not say.

    The host is the interface that it names, or else the name of this machine.
    """
    kind, bare, named = parts_of(listen)
    if kind not in NETWORKS:
        return None
    port = named.get("port", bare[0] if bare else "")
    if not port.isdecimal() or int(port) == 0:
        return None
    return address_of(_reached_by(named.get("interface", "")), int(port))


def _place_of(listen: str) -> str | None:
    """Return the same as `tls:HOST:PORT` where the endpoint speaks TLS."""
    address = advertised_from(listen)
    return f"{TLS}{address}" if address is not None and listens_with_tls(listen) else address


def _as_listened(place: str, listen: Iterable[str]) -> str:
    """Return a place as `tls:HOST:PORT`, too, if what is listened on at that port speaks TLS.

    Where nothing is listened on there, as behind a forwarded port, it is as it is with all that is.
    """
    known = [(each, advertised_from(each)) for each in listen]
    port = place.rpartition(":")[2]
    same = [each for each, address in known if address is not None and address.rpartition(":")[2] == port]
    of_network = [each for each, address in known if address is not None]
    secure = all(map(listens_with_tls, same or of_network)) and bool(of_network)
    return f"{TLS}{without_tls(place)}" if secure else place


def _reached_by(interface: str) -> str:
    """Return what others reach an interface by: the name of this machine, where it is every interface."""
    return socket.gethostname() if interface in ("", "0.0.0.0", "::") else interface


class _Look(Options):
    """A first look at the command line, for where the file is."""

    def postOptions(self) -> None:
        """Complete nothing: the file is not read yet."""


def read_config(path: str) -> dict[str, Any]:
    """Read a TOML file of options.

    Raises:
        UsageError: it cannot be read, is not TOML, or has an unknown key, which is named.
    """
    several = str | Annotated[list[str], msgspec.Meta(min_length=1)] | None
    fields: list[Any] = [("listen", several, None), ("auth", several, None)]
    for row in Options.optParameters:
        if row[0] != "config":
            fields.append((row[0].replace("-", "_"), str | int | float | None, None))
    fields += [(row[0].replace("-", "_"), bool | None, None) for row in Options.optFlags]
    shape = msgspec.defstruct("Config", fields, rename="kebab", forbid_unknown_fields=True)
    try:
        with open(path, "rb") as file:
            config = msgspec.toml.decode(file.read(), type=shape)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    return {key: value for key, value in msgspec.to_builtins(config).items() if value is not None}
