"""`chatproto news children`: what the children of a root or router have not got; and one that is forgotten for good."""

import msgspec

from chatproto.cli.control import command
from chatproto.cli.text import in_columns
from chatproto.services.news.tree import ChildStatus

HEADS = ("CHILD", "HERE", "ITEMS", "BYTES")

_read = msgspec.json.Decoder(ChildStatus).decode


def children(directory: str, *, json_wanted: bool = False) -> str:
    """Return who is known to the node that runs on a data directory, and what it holds for each, as a table.

    Raises:
        ControlFailed: no node runs there, or it is neither a root nor a router.
    """
    lines: list[str] = []
    command(directory, "children", tell=lines.append)
    if json_wanted:
        return "\n".join(lines)
    found = [_read(line) for line in lines]
    rows = [(one.name, "yes" if one.connected else "no", f"{one.items}", f"{one.bytes}") for one in found]
    return "\n".join(in_columns([HEADS, *rows]))


def forget(directory: str, name: str) -> str:
    """Have that node forget a child, and hold nothing for it; return what it says.

    Raises:
        ControlFailed: no node runs there, or it refused: the child is connected, or not known.
    """
    return command(directory, f"forget {name}")
