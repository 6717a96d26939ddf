"""Options that are read again while a process runs: which can change then, and what becomes of the others."""

from collections.abc import Callable, Collection
from typing import Any, Generic, TypeVar

from twisted.python.usage import UsageError

from chatproto.configured import ConfiguredOptions

Said = TypeVar("Said", bound=ConfiguredOptions)

LIVE = frozenset(
    {
        "announcement",
        "backlog-bytes-max",
        "capacity",
        "connections-per-address-max",
        "drain-max",
        "greet-after",
        "handshake-max",
        "handshakes-max",
        "history",
        "in-flight-max",
        "line-bytes-max",
        "message-chars-max",
        "migrate-every",
        "nonsense-max",
        "ping-every",
        "rate-limit",
        "retain",
        "rooms-per-owner-max",
        "rooms-per-session-max",
        "session-grace",
        "silence-max",
    }
)
"""What can change, of the chat. All else has been told to others, is open, or has to be the same on each node."""

PARTS = frozenset({"config"})
"""What is no setting of its own."""


class LiveOptions(Generic[Said]):
    """The options that a process runs with."""

    def __init__(self, options: Said, change: Callable[[Said], object] | None, live: Collection[str] = LIVE) -> None:
        """Begin with those it was started with.

        Args:
            options: parsed.
            change: takes others into use, that differ in those only that can change; None where nothing can.
            live: which can.
        """
        self._live = live
        self._options = options
        self._change = change

    def read_again(self) -> list[str]:
        """Read the file and the command line again, and take into use what can change.

        Returns:
            what could not be changed, a line for each; a file with a mistake changes nothing.
        """
        fresh = type(self._options)()
        fresh.parent = self._options.parent
        try:
            fresh.parseOptions(self._options.arguments)
            changed = [name for name in fresh if name not in PARTS and fresh[name] != self._options[name]]
            fixed = [name for name in changed if self._change is None or name not in self._live]
            if fresh.listen != self._options.listen:
                fixed.append("listen")
            lines = [_fixed(name, self._options) for name in sorted(fixed)]
            fresh.keep(self._options, fixed)
        except UsageError as error:
            return [f"nothing was changed: {error}"]
        if self._change is not None and len(changed) > len(set(fixed) - {"listen"}):
            self._change(fresh)
        self._options = fresh
        return lines


def _fixed(name: str, running: ConfiguredOptions) -> str:
    value: Any = " ".join(running.listen) if name == "listen" else running[name]
    return f"--{name} takes a restart; until then it is {value or 'not set'}"
