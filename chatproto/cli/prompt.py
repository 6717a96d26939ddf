"""The line being typed: what Tab makes of it, and the lines typed before. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from chatproto.cli.commands import FORMS, SIGN

RECALL_LINES_MAX = 1000


class Recall:
    """The lines typed before, walked with up and down; what was being typed is kept at the near end."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._lines: list[str] = []
        self._at = 0
        self._draft = ""

    def add(self, line: str) -> None:
        """Remember a line that was entered, and go back to the near end."""
        if line and self._lines[-1:] != [line]:
            self._lines.append(line)
            del self._lines[:-RECALL_LINES_MAX]
        self._at = len(self._lines)
        self._draft = ""

    def older(self, typed: str) -> str | None:
        """Return the line before, given what stands in the prompt; None at the far end."""
        if self._at == 0:
            return None
        self._keep(typed)
        self._at -= 1
        return self._lines[self._at]

    def newer(self, typed: str) -> str | None:
        """Return the line after, at last the one that was being typed; None at the near end."""
        if self._at == len(self._lines):
            return None
        self._keep(typed)
        self._at += 1
        return self._draft if self._at == len(self._lines) else self._lines[self._at]

    def _keep(self, typed: str) -> None:
        if self._at == len(self._lines):
            self._draft = typed


@dataclass
class Completion:
    """One or more ways to go on, tried in turn by pressing Tab again.

    Attributes:
        before: what stands before the word.
        words: the words that would fit, in order.
        after: what stands behind the cursor.
        at: which word is tried.
    """

    before: str
    words: list[str]
    after: str
    at: int = field(default=-1)

    def next(self) -> tuple[str, int]:
        """Return the line with the next word in it, and where the cursor then stands."""
        self.at = (self.at + 1) % len(self.words)
        typed = self.before + self.words[self.at]
        return typed + self.after, len(typed)


def complete(line: str, cursor: int, rooms: Iterable[str], names: Iterable[str]) -> Completion | None:
    """Return how the word before the cursor may go on: a command, a room or somebody's name.

    A name that begins a message gets `: ` behind it, anything else a space, unless one is there.
    """
    head, after = line[:cursor], line[cursor:]
    words = head.split()
    beginning = "" if not words or head[-1].isspace() else words[-1]
    before = head[: len(head) - len(beginning)]
    place = len(words) - bool(beginning)
    ending = "" if after[:1].isspace() else " "
    if not line.startswith(SIGN):
        if not beginning:
            return None
        candidates = list(names)
        if not before.strip():
            ending = ":" + (ending or "")
    elif line.startswith(SIGN * 2):
        return None
    elif place == 0:
        candidates = [SIGN + command for command in FORMS]
    else:
        kind = _kind(words[0][1:].casefold(), place - 1)
        if kind == "ROOM":
            candidates = list(rooms)
        elif kind in ("NAME", "TEXT"):
            candidates = list(names)
        elif kind == "COMMAND":
            candidates = list(FORMS)
        elif kind.islower():
            candidates = [kind]
        else:
            return None
        if kind == "TEXT" and not beginning:
            return None
    fitting = [word for word in candidates if word.casefold().startswith(beginning.casefold())]
    fitting.sort(key=str.casefold)
    return Completion(before, [word + ending for word in fitting], after) if fitting else None


def _kind(command: str, place: int) -> str:
    """Return the kind of a command's argument, without brackets; empty where it has none there."""
    form = FORMS.get(command)
    if form is None:
        return ""
    if place >= len(form.arguments):
        return "TEXT" if form.arguments[-1:] == ("TEXT",) else ""
    return form.arguments[place].strip("[]")
