"""What can be set of direct connections; each ceiling has its unit in its name. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DirectSettings:
    """What can be set of direct connections between two clients.

    Attributes:
        answer_s_max: how long a message may take to be acknowledged, finding and calling the other one included; then
            it is relayed.
        retry_s: after a failure, how long messages to that one are relayed before a direct way is looked for again.
        half_open_s_max: how long a connection may take until the caller has proved who it is.
        half_open_max: connections at once that have not; whoever came first goes for more.
        links_max: connections at once, those included; more are closed at once.
        link_s_max: how long one is kept; the next message makes another, with a new proof.
        expected_s_max: how long a token is good for after the server has announced it.
        expected_max: tokens announced and not shown yet; beyond it the oldest are good no longer.
        queue_max: messages to one identity that may wait to be acknowledged; more are relayed.
        queue_bytes_max: the same, in bytes.
        line_bytes_max: the longest line taken, without its newline.
        content_chars_max: the longest message taken.
        rate_lines: lines a second that one connection may bring, ten times as many at once; above it, it is read more
            slowly.
        backlog_bytes_max: what is held for one that does not read.
        port_min: the lowest port that is called: below are services of machines, which nobody is to be sent to.
    """

    answer_s_max: float = 3.0
    retry_s: float = 30.0
    half_open_s_max: float = 5.0
    half_open_max: int = 20
    links_max: int = 100
    link_s_max: float = 600.0
    expected_s_max: float = 30.0
    expected_max: int = 100
    queue_max: int = 1000
    queue_bytes_max: int = 1024 * 1024
    line_bytes_max: int = 64 * 1024
    content_chars_max: int = 16384
    rate_lines: float = 200.0
    backlog_bytes_max: int = 1024 * 1024
    port_min: int = 1024
