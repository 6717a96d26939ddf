"""Servers of requests: one at a time, or several; what is too much is told so, and none is left without an answer."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import Rejected
from chatproto.messaging.admission import Access, Admission

Q = TypeVar("Q")
A = TypeVar("A")
Operation = Callable[[Q], Deferred[A] | Coroutine[Deferred[Any], Any, A] | A]
"""Does what a request says, at once or not."""

REFUSALS = {
    "busy": "as many requests wait as may: ask again later",
    "failed": "the server could not do it; its log says why",
    "stopping": "the server takes no more requests",
}
"""Why a server refuses, by the codes that are answered."""

log = Logger()


class _Job(Generic[Q, A]):
    def __init__(self, request: Q, answer: "Deferred[A]") -> None:
        self.request = request
        self.answer = answer
        self.doing: Deferred[A] | None = None
        self.abandoned = False


class ConcurrentServer(Generic[Q, A]):
    """Has several requests of type `Q` under way at once, each of which is answered with an `A`.

    Those that read are so together, those that write alone, all in the order in which they came; see `Admission`.
    """

    def __init__(
        self,
        operation: Operation[Q, A],
        *,
        at_once_max: int,
        waiting_max: int,
        access: Callable[[Q], Access] = lambda request: Access.READ,
    ) -> None:
        """Serve by an operation.

        Args:
            operation: does what a request says. It raises, or its Deferred fails with, `Rejected` for a reason that
                whoever asked is to hear; all else that it fails with is logged.
            at_once_max: requests under way together.
            waiting_max: requests that may wait besides.
            access: what a request is; by default a reader.
        """
        self._operation: Callable[[Q], Any] = operation
        self._access = access
        self._admission: Admission[_Job[Q, A]] = Admission(at_once_max, waiting_max)
        self._beginning = False
        self._stopping = False
        self._stopped: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._admission)

    def serve(self, request: Q) -> "Deferred[A]":
        """Do what a request says, in its turn.

        It may be cancelled: a request that waits is forgotten, and of one under way the operation is cancelled.

        Fails with `Rejected`: for a reason of the operation's, or one of `REFUSALS`.
        """
        if self._stopping:
            return fail(Rejected("stopping"))
        answer: Deferred[A] = Deferred(lambda _: self._abandon(job))
        job = _Job(request, answer)
        try:
            self._admission.ask(job, self._access(request))
        except Rejected:
            return fail()
        self._begin()
        return answer

    def stop(self) -> "Deferred[None]":
        """Refuse what comes and what waits; called back when what is under way has ended.

        Once it is cancelled, as `addTimeout` does, it waits no more: what is under way is cancelled and refused, and
        it is called back at once.
        """
        self._stopping = True
        for job in self._admission.waiting:
            self._refuse(job)
        stopped: Deferred[None] = Deferred(lambda _: self._cut_short())
        self._stopped.append(stopped)
        if not self._admission.under_way:
            self._tell_stopped()
        return stopped

    # One request

    def _begin(self) -> None:
        # An operation may be done at once, and may ask in turn: that begins here, too, not one frame further down.
        if self._beginning or self._stopping:
            return
        self._beginning = True
        while (job := self._admission.begin()) is not None:
            job.doing = maybeDeferred(self._operation, job.request)
            if job.abandoned:
                job.doing.cancel()
            job.doing.addBoth(self._ended, job)
            job.doing.addErrback(lambda failure: log.failure("hearing of the end of a request failed", failure))
        self._beginning = False

    def _ended(self, result: "A | Failure", job: _Job[Q, A]) -> None:
        self._admission.ended(job)
        if isinstance(result, Failure):
            self._failed(result, job)
        elif not job.abandoned:
            job.answer.callback(result)
        # Told first, begun then: whoever is served one at a time is answered in order, too.
        self._begin()
        if self._stopping and not self._admission.under_way:
            self._tell_stopped()

    def _failed(self, failure: Failure, job: _Job[Q, A]) -> None:
        if job.abandoned and failure.check(CancelledError):
            return
        if not failure.check(Rejected):
            log.failure("a request failed; those after it are served all the same", failure)
            failure = Failure(Rejected("failed"))
        if not job.abandoned:
            job.answer.errback(failure)

    def _abandon(self, job: _Job[Q, A]) -> None:
        job.abandoned = True
        if self._admission.withdraw(job):
            # A writer may have been what the readers after it waited for.
            self._begin()
        elif job.doing is not None:
            job.doing.cancel()

    # The end

    def _refuse(self, job: _Job[Q, A]) -> None:
        if not job.abandoned:
            # Told before it ends: that may be what the stop waits for.
            job.abandoned = True
            job.answer.errback(Rejected("stopping"))
            self._abandon(job)

    def _cut_short(self) -> None:
        for job in self._admission.under_way:
            self._refuse(job)
        self._tell_stopped()

    def _tell_stopped(self) -> None:
        stopped, self._stopped = self._stopped, []
        for waiting in stopped:
            waiting.callback(None)


class SequentialServer(ConcurrentServer[Q, A]):
    """Completes a request before it begins the next, in the order in which they came."""

    def __init__(self, operation: Operation[Q, A], *, waiting_max: int) -> None:
        """Serve by an operation; see `ConcurrentServer`."""
        super().__init__(operation, at_once_max=1, waiting_max=waiting_max)
