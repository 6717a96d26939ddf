"""What is read again while a process runs: certificates, and what options may change."""

from collections.abc import Callable, Iterable

from twisted.logger import Logger

log = Logger()


class Reloading:
    """The parts of a service tree that can be told to read their files again; SIGHUP tells a daemon's.

    A part is a call that takes what is new into use, and returns a line for each thing that it could not change.
    """

    def __init__(self) -> None:
        """Know of no part."""
        self._parts: dict[str, Callable[[], Iterable[str]]] = {}

    def add(self, name: str, read_again: Callable[[], Iterable[str]]) -> None:
        """Have a part told from now on, in the order added; one of the same name is replaced."""
        self._parts[name] = read_again

    def reload(self) -> list[str]:
        """Tell every part, each whatever becomes of the others; log and return what could not be changed."""
        unchanged: list[str] = []
        whole: list[str] = []
        for name, read_again in self._parts.items():
            before = len(unchanged)
            try:
                unchanged += [f"{name}: {line}" for line in read_again()]
            except Exception as error:
                log.failure("reading {name} again failed: it goes on with what it had", name=name)
                unchanged.append(f"{name}: {error}")
            if len(unchanged) == before:
                whole.append(name)
        for line in unchanged:
            log.warn("not changed: {line}", line=line)
        if whole or not unchanged:
            log.info("read again: {names}", names=", ".join(whole) or "nothing")
        return unchanged
