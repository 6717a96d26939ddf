"""Threads for what waits for a disk, so that the reactor does not."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

T = TypeVar("T")


class Worker:
    """A thread that does one thing after another and answers on the reactor's thread."""

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        """Start the thread, under a name."""
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def run(self, work: Callable[[], T]) -> "Deferred[T]":
        """Have something done after all that was asked before; the answer is what it returns or raises."""
        result: Deferred[T] = Deferred()

        def job() -> None:
            try:
                value = work()
            except BaseException:
                self._reactor.callFromThread(result.errback, Failure())
            else:
                self._reactor.callFromThread(result.callback, value)

        self._jobs.put(job)
        return result

    def stop(self) -> None:
        """Do what was asked, and end the thread; returns when it has ended."""
        self._jobs.put(None)
        self._thread.join()
