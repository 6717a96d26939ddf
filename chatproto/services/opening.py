"""The part of a service tree that has a log open while it runs."""

from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from chatproto.errors import StoreError
from chatproto.log.interface import ILog
from chatproto.world import World


class Opener(Protocol):
    """What stands on a log.

    Attributes:
        log: the log.
    """

    log: ILog

    def start(self) -> None:
        """Open the log.

        Raises:
            StoreError: it cannot be opened.
        """


class LogService(Service):
    """Opens the log when it starts, and closes it when it stops.

    Attributes:
        open: whether the log is open.
    """

    def __init__(self, world: World, opener: Opener) -> None:
        """Take what stands on the log; `world.fatal` is called when that cannot be opened."""
        self.open = False
        self._world = world
        self._opener = opener
        self._opened = 0.0

    def startService(self) -> None:
        """Bring what stands on the log to where that is."""
        super().startService()
        try:
            self._opener.start()
        except StoreError as error:
            self._world.fatal(str(error))
        else:
            self.open = True
            self._opened = self._world.clock.seconds()

    @property
    def open_s(self) -> float:
        """For how many seconds the log has been open."""
        return self._world.clock.seconds() - self._opened

    def stopService(self) -> "Deferred[None] | None":
        """Finish the log, if it is open; whoever uses it has been let go before."""
        super().stopService()
        was_open, self.open = self.open, False
        return self._opener.log.close() if was_open else None
