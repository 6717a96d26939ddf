"""A `SQLiteStore` with real threads and a real disk, whose answers the test itself takes in."""

import os
import queue
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.log.sqlite import SQLiteStore

DEADLINE_S = 20.0
"""Only a broken store takes so long."""


@implementer(IReactorFromThreads)
class CallsFromThreads:
    """What other threads want called waits here until the test takes it in."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
        self._waiting: list[Callable[[], Any]] = []

    def callFromThread(self, call: Callable[..., Any], *args: Any, **named: Any) -> None:
        self._calls.put(lambda: call(*args, **named))

    def _next(self, timeout_s: float) -> Callable[[], Any]:
        try:
            return self._calls.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            raise AssertionError(f"no answer within {DEADLINE_S} s") from None

    def wait(self) -> None:
        """Wait for one call, and do not make it yet."""
        self._waiting.append(self._next(DEADLINE_S))

    def run_waiting(self) -> None:
        while self._waiting:
            self._waiting.pop(0)()

    def run_until(self, enough: Callable[[], Any]) -> None:
        end = time.monotonic() + DEADLINE_S
        self.run_waiting()
        while not enough():
            self._next(end - time.monotonic())()


class SQLiteTestCase(SynchronousTestCase):
    """Opens stores in one new data directory, and closes what a test leaves open."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = self.mktemp()
        self.calls = CallsFromThreads()
        self.failures: list[str] = []
        self.store: SQLiteStore | None = None
        self.addCleanup(self.close)

    def open(self) -> SQLiteStore:
        self.store = SQLiteStore(self.directory, self.failures.append, self.calls)
        return self.store

    def close(self) -> None:
        store, self.store = self.store, None
        if store is not None:
            closed = store._writer.closed
            if not closed.called:
                store.close()
            self.calls.run_until(lambda: closed.called)

    def settle(self) -> None:
        """Wait until both threads have done what they were asked, or will not, and saving and purging are over."""
        store = self.store
        assert store is not None
        done: list[str] = []
        writer = store._writer
        over = False
        while True:
            # Of the writer, an append of nothing; of the reader, a question. Both are taken in their turn.
            done.clear()
            store.append([], lambda: done.append("written"))
            store.run_of(0).addCallback(lambda _: done.append("read"))
            self.calls.run_until(lambda: writer.closed.called or len(done) == 2 or (self.failures and "read" in done))
            if writer.closed.called or self.failures or over:
                return
            # Once more, for the answers of what was over only now.
            over = not (writer._saving or writer.purges)

    @property
    def path(self) -> str:
        return os.path.join(self.directory, "log.sqlite")
