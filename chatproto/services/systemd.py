"""Tells the service manager how a process is, as `sd_notify(3)` and `sd_watchdog_enabled(3)` of systemd have it."""

import socket
from collections.abc import Callable, Mapping

import msgspec
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatproto.link import Turn
from chatproto.world import Supervisor

LOOK_EVERY_S = 0.1
STATUS_INTERVAL_S = 1.0
"""A change of the status alone is told no more often."""
PINGS_IN_WATCHDOG = 3
"""So that one that is late does not count."""

log = Logger()


def supervisor_of(environment: Mapping[str, str], pid: int) -> Supervisor | None:
    """Return the service manager that an environment tells of; None where it tells of none.

    Args:
        environment: variables: `NOTIFY_SOCKET`, an absolute path or an abstract name that begins with `@`;
            `WATCHDOG_USEC`, which concerns the process that `WATCHDOG_PID` names, or any.
        pid: of this process.
    """
    named = environment.get("NOTIFY_SOCKET", "")
    if named[:1] not in ("/", "@") or len(named) < 2:
        return None
    address = "\0" + named[1:] if named[0] == "@" else named
    microseconds = environment.get("WATCHDOG_USEC", "")
    watched = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    known = microseconds.isascii() and microseconds.isdecimal() and len(microseconds) <= 18
    return Supervisor(_Notices(address).tell, int(microseconds) / 1e6 if known and watched else 0.0)


class _Notices:
    """Sends datagrams to a socket; one that cannot be sent is lost, and the first of these is logged."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._complained = False

    def tell(self, notice: bytes) -> None:
        try:
            self._socket.sendto(notice, self._address)
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warn("the service manager is not reached: {error}; look at NOTIFY_SOCKET", error=str(error))


class Health(msgspec.Struct, frozen=True):
    """How a process is.

    Attributes:
        ready: whether it has come to serve; once is enough.
        sane: whether it gets on with what it does: asked for whenever somebody is to hear of it.
        stopping: whether it is about to end.
        status: what an operator is to read, in one line.
        serving: whether it does now what it is there for.
    """

    ready: bool
    sane: Callable[[], bool]
    stopping: bool
    status: str
    serving: bool = True


class Supervision(Service):
    """Looks how the process is, and tells its service manager what has changed; and that it lives, if it is watched."""

    def __init__(self, clock: IReactorTime, turn: Turn, supervisor: Supervisor, health: Callable[[], Health]) -> None:
        """Tell a supervisor.

        Args:
            clock: for the looks.
            turn: at whose end a look is taken, as all that links send is sent: where that fails, nothing is told.
            supervisor: is told.
            health: says how the process is.
        """
        self._clock = clock
        self._turn = turn
        self._supervisor = supervisor
        self._health = health
        self._ready = self._stopping = False
        self._status = ""
        self._status_at = self._pinged_at = float("-inf")
        self._looking: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        self._due()

    def stopService(self) -> None:
        """Look once more, and no more after that."""
        super().stopService()
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        self._say(Health(False, lambda: False, True, self._status))

    def _due(self) -> None:
        self._looking = self._clock.callLater(LOOK_EVERY_S, self._due)
        self._turn.at_end(self.look)

    def look(self) -> None:
        """Look now."""
        if self.running:
            self._say(self._health())

    def _say(self, health: Health) -> None:
        now = self._clock.seconds()
        lines = []
        if health.ready and not self._ready:
            self._ready = True
            lines.append("READY=1")
        if health.stopping and not self._stopping:
            self._stopping = True
            lines.append("STOPPING=1")
        if health.status != self._status and (lines or now >= self._status_at + STATUS_INTERVAL_S):
            self._status, self._status_at = health.status, now
            lines.append(f"STATUS={health.status}")
        watchdog_s = self._supervisor.watchdog_s
        if watchdog_s and now >= self._pinged_at + watchdog_s / PINGS_IN_WATCHDOG and health.sane():
            self._pinged_at = now
            lines.append("WATCHDOG=1")
        if lines:
            self._supervisor.tell("\n".join(lines).encode())
