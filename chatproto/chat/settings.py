"""What can be set of the chat that a node serves; each ceiling has its unit in its name."""

from dataclasses import dataclass, field, fields

from chatproto.chat.messages import HistoryWanted


@dataclass
class ChatSettings:
    """What can be set; `--help` of the daemon says the same to operators.

    All parts of a node's chat share one of these and read it when they need it, so that `become` changes it for all.

    Attributes:
        name: the node's name, unique in a deployment.
        servers: addresses of this node, `HOST:PORT` or `tls:HOST:PORT` each, told to clients of either node.
        pages: addresses of this node's page, `http(s)://HOST:PORT` each, told to clients of either node.
        history: what a client receives of a room's archive on joining, unless it says otherwise.
        capacity: sessions before newcomers are turned away.
        greet_after_s: how long a connection may stay silent before it is taken for a base client.
        session_grace_s: how long a session outlives its connection.
        heartbeat_s: between the pings that extended clients get.
        silence_s_max: an extended client that was not heard for so long is dropped.
        handshake_s_max: how long a TLS handshake may take.
        rate_lines: lines a second that a client may send; above it, its link is read more slowly. 0: any.
        burst_lines: lines that a client may send at once, and all of one address together.
        rate_lines_per_address: lines a second that all clients of one address may send together. 0: any.
        line_bytes_max: the longest line of a client, without its newline.
        message_chars_max: the longest content of a message.
        backlog_bytes_max: what is held for a client that does not read.
        in_flight_max: requests of one client that are under way before its link is read no further.
        nonsense_max: lines of nonsense within a minute before a client is dropped.
        connections_per_address_max: connections of one address at once. 0: any.
        arrivals_per_address: connections a second of one address, after as many at once as it may have. 0: any.
        handshakes_max: connections at once that are not greeted yet.
        rooms_per_owner_max: rooms that one session may own. 0: any.
        rooms_per_session_max: rooms that one session may be in.
        guests: whether clients may come without an account.
        ticket_s: how long a ticket lets an account in without its password.
        announcement: what newcomers are told by the server itself; empty for nothing.
        clients_min: clients of all nodes that have to be there at once before the chat begins; the same on each node.
        held_max: messages held until then.
        held_bytes_max: the same, in bytes.
    """

    name: str = "primary"
    servers: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    history: HistoryWanted = "all"
    capacity: int = 100
    greet_after_s: float = 0.1
    session_grace_s: float = 15.0
    heartbeat_s: float = 15.0
    silence_s_max: float = 45.0
    handshake_s_max: float = 10.0
    rate_lines: float = 200.0
    burst_lines: float = 2000.0
    rate_lines_per_address: float = 1000.0
    line_bytes_max: int = 64 * 1024
    message_chars_max: int = 16384
    backlog_bytes_max: int = 1024 * 1024
    in_flight_max: int = 1000
    nonsense_max: int = 1000
    connections_per_address_max: int = 1000
    arrivals_per_address: float = 50.0
    handshakes_max: int = 1000
    rooms_per_owner_max: int = 100
    rooms_per_session_max: int = 100
    guests: bool = True
    ticket_s: float = 30 * 86400.0
    announcement: str = ""
    clients_min: int = 0
    held_max: int = 10_000
    held_bytes_max: int = 4 * 1024 * 1024

    def become(self, other: "ChatSettings") -> None:
        """Say from here on what another one says."""
        for each in fields(self):
            setattr(self, each.name, getattr(other, each.name))
