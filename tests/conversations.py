"""Conversations in the documents, as docs/protocol.md explains how to read them: from Markdown to steps.

    ```conversation --history=none
    ada → {"type":"hello","version":1}
    ada ← {"type":"welcome", …}
    ```

What stands behind `conversation` are options of the node, after a word of `KINDS` where it is no node alone. A string
with an ellipsis in it stands for one that differs each time, but is the same wherever it stands in one conversation.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[1]
REGISTRY = "registry"
KINDS = ("pair", "standby", "direct", REGISTRY)
"""Two nodes, `primary` and `secondary`; one, and `north` that stands by; a client that takes direct connections; a
registry, whose messages are arrays, written as Python writes them."""
BEYOND_STRINGS = ("time", "after", "up_s", "until")
"""Fields whose numbers differ each time."""

_BLOCK = re.compile(r"^```conversation(?: ([^\n]*))?\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"(\w+) (→|←) (.*)")
_EVENT = re.compile(r"(?:(\w+) )?\((.*)\)")


@dataclass(frozen=True)
class Step:
    """One line of a conversation.

    Attributes:
        text: the line as it stands there.
        who: the client; empty where it is about none.
        act: `→`: it sends, `←`: it is sent; else what happens to it, in words.
        line: what is sent; `…` for any lines.
    """

    text: str
    who: str
    act: str
    line: str = ""


@dataclass(frozen=True)
class Conversation:
    """One block.

    Attributes:
        place: the page and the line where it begins.
        kind: one of `KINDS`; empty for a node alone.
        options: of each node, as for the command line.
        steps: what happens, in order.
    """

    place: str
    kind: str
    options: tuple[str, ...]
    steps: tuple[Step, ...]

    def read(self, line: str) -> Any:
        """Return what a line says, as plain values."""
        return ast.literal_eval(line) if self.kind == REGISTRY else msgspec.json.decode(line)

    def written(self, message: Any) -> str:
        """Return the line of plain values, as `read` reads it."""
        return repr(message) if self.kind == REGISTRY else msgspec.json.encode(message).decode()

    def sent(self, act: str) -> list[tuple[bool, str]]:
        """Return the lines that go one way, each with whether its client has said `hello` by then."""
        extended: set[str] = set()
        found = []
        for step in self.steps:
            if step.act == "→" and '"type":"hello"' in step.line:
                extended.add(step.who)
            if step.act == act and step.line != "…":
                found.append((step.who in extended, step.line))
            if step.act == "connects":
                extended.discard(step.who)
        return found


def step(text: str) -> Step:
    """Read a line of a block."""
    if matched := _LINE.fullmatch(text):
        return Step(text, *matched.groups())
    if matched := _EVENT.fullmatch(text):
        return Step(text, matched[1] or "", matched[2])
    raise ValueError(f"neither a line nor an event of a conversation: {text}")


def conversations(path: Path) -> list[Conversation]:
    """Return the conversations of a page."""
    text = path.read_text(encoding="utf-8")
    found = []
    for block in _BLOCK.finditer(text):
        said = (block[1] or "").split()
        kind = said.pop(0) if said and said[0] in KINDS else ""
        place = f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, block.start()) + 1}"
        steps = tuple(step(line) for line in block[2].splitlines() if line)
        found.append(Conversation(place, kind, tuple(said), steps))
    return found


def all_conversations() -> list[Conversation]:
    """Return the conversations of all pages."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [conversation for page in pages for conversation in conversations(page)]


class Placeholders:
    """What the strings with an ellipsis stand for in one conversation."""

    def __init__(self) -> None:
        self._stand_for: dict[str, str] = {}

    def filled(self, line: str) -> str:
        """Return a line with what is known put in."""
        for placeholder, value in self._stand_for.items():
            line = line.replace(placeholder, value)
        return line

    def fits(self, shown: Any, real: Any, field: str = "") -> bool:
        """Whether a value is the one shown, fields in the same order; remember what placeholders stand for."""
        if isinstance(shown, str) and "…" in shown:
            return isinstance(real, str) and self._stand_for.setdefault(shown, real) == real
        if isinstance(shown, dict) and isinstance(real, dict):
            return list(shown) == list(real) and all(self.fits(shown[name], real[name], name) for name in shown)
        if isinstance(shown, list) and isinstance(real, list):
            return len(shown) == len(real) and all(map(self.fits, shown, real))
        if field in BEYOND_STRINGS:
            return isinstance(real, int | float)
        return type(shown) is type(real) and bool(shown == real)
