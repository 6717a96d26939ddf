"""What can be set of a client; each ceiling has its unit in its name. Pure."""

from dataclasses import dataclass, field

from chatproto.chat.messages import HistoryWanted


@dataclass(frozen=True)
class ClientSettings:
    """What can be set of a client.

    Attributes:
        identity: the name wanted; None for whatever the server gives.
        account: the account to log in to, whose name is the identity then; None to be a guest.
        password: the account's. Once a server has given out a ticket, that is shown instead.
        ticket: what an earlier client of the account had as `ChatClient.ticket`.
        history: what a server is asked for of a room's archive on entering it: `all`, `none`, or how many of
            the last messages; None for the server's default.
        rooms: rooms to enter besides MainHall.
        answer_s_max: how long a server may be silent while it owes an answer: to a message, a request, `hello`, or
            a try to connect. It is asked (`ping`) halfway, and left for another one at the end. Doubles with each
            round of tries that failed, for those who are far away.
        retry_min_s: the least span between two rounds of tries; in one round each server is tried once, and the
            next one at once.
        retry_max_s: what the span grows to, doubling with each round.
        connect_s_max: how long a connection may take to come about, whatever round it is.
        welcome_s_max: how long a server may take to welcome while it answers pings.
        stop_s_max: how long a polite end may take.
        heartbeat_s: a server that owes nothing gets a ping after so much silence.
        silence_s_max: it is left when it was not heard for so long.
        queue_max: what may wait to be sent or acknowledged, counted together.
        queue_bytes_max: the same, in bytes.
        in_flight_max: messages sent before the first of them is acknowledged. A server with a rate limit reads
            these in one go and then not for a while, by default half a second for so many; if that were as long
            as `answer_s_max`, it would be taken for silent.
        in_flight_bytes_max: the same, in bytes; a longer message goes alone.
        backlog_bytes_max: what is held for a server that does not read.
        line_bytes_max: the longest line that servers take, without its newline.
        server_line_bytes_max: the longest line taken from a server.
        quit_on_stop: whether stopping ends the session; otherwise a later client can go on with it.
    """

    identity: str | None = None
    account: str | None = None
    password: str | None = field(default=None, repr=False)
    ticket: str | None = field(default=None, repr=False)
    history: HistoryWanted = None
    rooms: tuple[str, ...] = ()
    answer_s_max: float = 1.0
    retry_min_s: float = 0.1
    retry_max_s: float = 5.0
    connect_s_max: float = 5.0
    welcome_s_max: float = 10.0
    stop_s_max: float = 3.0
    heartbeat_s: float = 5.0
    silence_s_max: float = 15.0
    queue_max: int = 10_000
    queue_bytes_max: int = 16 * 1024 * 1024
    in_flight_max: int = 100
    in_flight_bytes_max: int = 256 * 1024
    backlog_bytes_max: int = 1024 * 1024
    line_bytes_max: int = 64 * 1024
    server_line_bytes_max: int = 16 * 1024 * 1024
    quit_on_stop: bool = True
