"""What strangers wrote, made fit to be shown: no terminal escapes, no reordering, no broken lines. Pure."""

import re
import time
from collections.abc import Sequence

_TROUBLE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # controls: escapes would move the cursor, or worse
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction controls show a text in another order than it has
    "\u2028\u2029"  # separators end a line in some terminals
    "\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"  # lone surrogates cannot be written at all
    "]"
)
_BREAKS = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
TAB_CELLS = 4


def harmless(text: str) -> str:
    """Return a text on one line, with a visible sign for each character that would do something.

    ASCII controls show as their control pictures (a newline as ␊, an escape as ␛), others as their code point.
    """
    return _TROUBLE.sub(lambda found: _sign(found.group()), text)


def harmless_lines(text: str) -> list[str]:
    """Return a text as the lines it has, each harmless; tabs become spaces."""
    lines = _BREAKS.split(text)
    return [harmless(line.expandtabs(TAB_CELLS)) for line in lines]


def _sign(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"<U+{code:04X}>"


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row, its cells each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def iso_time(seconds: float) -> str:
    """Return Unix seconds as local time with its offset: `2026-01-31T23:59:59+01:00`."""
    return _local(seconds, "%Y-%m-%dT%H:%M:%S%z", colon=True)


def clock_time(seconds: float) -> str:
    """Return Unix seconds as local hours and minutes."""
    return _local(seconds, "%H:%M")


def day(seconds: float) -> str:
    """Return the local day of Unix seconds, in words."""
    return _local(seconds, "%A, %d %B %Y")


def _local(seconds: float, form: str, colon: bool = False) -> str:
    try:
        text = time.strftime(form, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        # A time comes from the network; one that is no time must not end the program.
        return "?"
    return f"{text[:-2]}:{text[-2:]}" if colon else text
