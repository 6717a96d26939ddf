"""The thread that writes to a database: all that was asked, in order, in as few transactions as can be.

An error of the disk is never retried: after a failed fsync nobody knows what the kernel still holds
(Rebello et al., "Can Applications Recover from fsync Failures?", 2020). The opener is told, and ends the process.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from chatproto.errors import StoreCorrupt

J = TypeVar("J")


class WriterThread(Generic[J]):
    """Does jobs on a thread of its own. What a job is, and how jobs become transactions, a subclass says.

    Attributes:
        closed: fires when all is written after `close`, or never will be.
    """

    def __init__(
        self, database: sqlite3.Connection, path: str, failed: Callable[[str], None], reactor: IReactorFromThreads
    ) -> None:
        """Start the thread; all that `write_some` needs is there already.

        Args:
            database: to be used by nobody else from now on.
            path: what to call it.
            failed: called once, on the reactor's thread, with the reason, when a write failed.
            reactor: answers come through its `callFromThread`.
        """
        self.closed: Deferred[None] = Deferred()
        self._database = database
        self._path = path
        self._failed = failed
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[J | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="chatproto-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what was asked; `closed` says when."""
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    # The writer's thread

    def write_some(self) -> bool:
        """Do what queued up while the last commit was under way; return whether to go on: not after None."""
        raise NotImplementedError

    def _write(self) -> None:
        try:
            while self.write_some():
                pass
        except (sqlite3.Error, OSError, StoreCorrupt) as error:
            self._reactor.callFromThread(self._failed, f"cannot write {self._path}: {error}")
            # What is asked later is never written and never done; `close` still gets its answer.
            while self._jobs.get() is not None:
                pass
        self._reactor.callFromThread(self.closed.callback, None)
