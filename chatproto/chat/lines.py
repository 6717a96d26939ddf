"""Lines of a room's archive: from the bytes that are stored to the bytes that a client receives. Pure."""

import re
from typing import TYPE_CHECKING

import msgspec

from chatproto.log.entry import Run

if TYPE_CHECKING:
    from chatproto.log.interface import Slice

HISTORY_LIMIT_MAX = 500
HISTORY_BYTES_MAX = 64 * 1024
SEARCH_LIMIT_MAX = 100

_encode_str = msgspec.json.Encoder().encode

# Inside a JSON string a quotation mark stands behind a backslash, so `","roomid":"` with bare ones can only be
# where the stored line has it: behind the content, where a base line ends.
_EXTENSIONS = re.compile(rb'","roomid":"[^\n]*')


def base_lines(lines: bytes) -> bytes:
    r"""Return stored lines, joined by newlines, as base clients receive them, each with its newline."""
    return _EXTENSIONS.sub(b'"}', lines) + b"\n"


def base_lines_of(run: Run) -> bytes:
    """Return a run of messages as base clients receive it, each line with its newline."""
    heads = [entry.head for entry in run.entries]
    if heads and all(heads):
        # The heads are at hand, and cutting them out of the bodies again would cost more.
        return b"}\n".join(heads) + b"}\n"
    return base_lines(run.body)


def history_line(room: str, lines: list[bytes], more: bool) -> bytes:
    """Return the `history` line of a page, from stored lines."""
    return b'{"type":"history","roomid":"%b","messages":[%b],"more":%b}\n' % (
        room.encode(),
        b",".join(lines),
        b"true" if more else b"false",
    )


def search_line(query: str, lines: list[bytes], more: bool) -> bytes:
    """Return the `search` line of what was found, from stored lines."""
    return b'{"type":"search","query":%b,"messages":[%b],"more":%b}\n' % (
        _encode_str(query),
        b",".join(lines),
        b"true" if more else b"false",
    )


def fitting(lines: list[bytes], *, from_the_end: bool, beside_bytes: int = 128) -> list[bytes]:
    """Return as many lines as fit a `history` line, one at least, from the start or from the end.

    `beside_bytes` is what that has beside them.
    """
    ordered = lines[::-1] if from_the_end else lines
    room_left = HISTORY_BYTES_MAX - beside_bytes
    count = 0
    for line in ordered:
        room_left -= len(line) + 1
        if room_left < 0 and count:
            break
        count += 1
    return lines[-count:] if from_the_end else lines[:count]


def lines_of(slices: "list[Slice]") -> list[bytes]:
    """Return the lines of slices, one by one."""
    return [line for piece in slices for line in piece.lines.split(b"\n")]
