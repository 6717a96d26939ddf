"""Logs as JSON: one object a line, for programs that collect them.

Each has `time` (ISO 8601, UTC), `level`, `namespace`, `event` (the text with its fields not filled in, so the same for
all events of a kind), `text` (filled in), `fields` (each by its name), and `failure` (`type`, `message`, `traceback`)
where something has failed.
"""

import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
from twisted.application.service import IService, MultiService
from twisted.logger import FileLogObserver, ILogObserver, LogEvent, formatEvent
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

FIELD_CHARS_MAX = 2000
"""What a field that is no number says is cut here."""
OF_OLD_LOG = frozenset({"message", "time", "isError", "system", "format", "printed"})
"""What `twisted.python.log` has in its events besides their text, and adds to all that its observers see."""
OF_OLD_FAILURES = frozenset({"failure", "why"})

_encode = msgspec.json.Encoder(order="deterministic").encode


def line_of(event: LogEvent) -> str:
    """Return an event as a line."""
    return _encode(_object(event)).decode() + "\n"


def _object(event: LogEvent) -> dict[str, Any]:
    old = "log_text" in event
    found: dict[str, Any] = {
        "time": datetime.fromtimestamp(event.get("log_time", 0.0), UTC).isoformat(timespec="milliseconds"),
        "level": getattr(event.get("log_level"), "name", "info"),
        "namespace": str(event.get("log_system" if old else "log_namespace") or "-"),
        "event": str(event.get("log_text" if old else "log_format") or ""),
        "text": formatEvent(event),
    }
    hidden = OF_OLD_LOG if old or "log_legacy" in event else frozenset()
    if "log_failure" in event:
        hidden |= OF_OLD_FAILURES
    fields = {
        name: _plain(value) for name, value in event.items() if not name.startswith("log_") and name not in hidden
    }
    if fields:
        found["fields"] = fields
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        found["failure"] = {
            "type": getattr(failure.type, "__name__", str(failure.type)),
            "message": failure.getErrorMessage(),
            "traceback": failure.getTraceback(),
        }
    return found


def _plain(value: object) -> object:
    """Return what JSON has for a value: numbers as they are, the rest as text that is not endless."""
    if value is None or isinstance(value, bool | int | float):
        return value
    try:
        return str(value)[:FIELD_CHARS_MAX]
    except Exception as error:
        return f"(cannot be shown: {type(error).__name__})"


def logged_as_json(service: IService, twistd: Mapping[str, Any] | None) -> IService:
    """Return a service that has the application which it is part of log as JSON.

    Args:
        service: what it consists of.
        twistd: the options of `twistd`, which say where the log goes, and are understood as it does.
    """
    logged = _Logged(twistd or {})
    service.setServiceParent(logged)
    return logged


class _Logged(MultiService):
    def __init__(self, twistd: Mapping[str, Any]) -> None:
        super().__init__()
        self._twistd = twistd

    def setServiceParent(self, parent: Any) -> None:
        # `twistd` asks the application for an observer of its own after this, and before anything is written.
        if isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, FileLogObserver(_file(self._twistd), line_of))
        super().setServiceParent(parent)


def _file(twistd: Mapping[str, Any]) -> TextIO:
    """Open where `twistd` would log, as it does: turned over when it is full, and by SIGUSR1."""
    path, foreground = twistd.get("logfile"), bool(twistd.get("nodaemon"))
    if foreground and path in (None, "", "-"):
        return sys.stdout
    if path == "-":
        sys.exit("Daemons cannot log to stdout, exiting!")
    file: Any = LogFile.fromFullPath(path or "twistd.log")
    if not signal.getsignal(signal.SIGUSR1):
        from twisted.internet import reactor

        rotate = reactor.callFromThread  # type: ignore[attr-defined]
        signal.signal(signal.SIGUSR1, lambda *_: rotate(file.rotate))
    return file  # type: ignore[no-any-return]
