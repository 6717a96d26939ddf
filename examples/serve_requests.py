"""The same requests to a server that takes one at a time, and to one that has several readers, or one writer, in.

    python examples/serve_requests.py

Each takes a moment. What would have to wait behind too many others is refused at once.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.task import deferLater, react

from chatproto.messaging import Access, ConcurrentServer, SequentialServer

REQUESTS = ["read 1", "read 2", "write 3", "read 4", "read 5", "read 6", "read 7"]
WORK_S = 0.02


class Shelf:
    """What is served: an object that knows nothing of who else uses it."""

    def __init__(self, reactor) -> None:
        self.reactor = reactor
        self.book = "blank"

    async def operation(self, request: str) -> str:
        print(f"  {request} begins")
        await deferLater(self.reactor, WORK_S)
        if request.startswith("write"):
            self.book = f"a book of {request}"
        return self.book


def access(request: str) -> Access:
    return Access.WRITE if request.startswith("write") else Access.READ


async def ask_all(serve: "Callable[[str], Deferred[str]]") -> None:
    """Ask for everything at once; wait for all the answers."""
    answers = []
    for request in REQUESTS:
        answer = serve(request)
        answer.addCallback(lambda book, request=request: print(f"  {request}: {book}"))
        answer.addErrback(lambda failure, request=request: print(f"  {request}: refused, {failure.getErrorMessage()}"))
        answers.append(answer)
    await DeferredList(answers)


async def run(reactor) -> None:
    print("one at a time")
    await ask_all(SequentialServer(Shelf(reactor).operation, waiting_max=5).serve)
    print("several at once")
    shelf = Shelf(reactor)
    await ask_all(ConcurrentServer(shelf.operation, at_once_max=3, waiting_max=4, access=access).serve)


if __name__ == "__main__":
    react(lambda reactor: ensureDeferred(run(reactor)))
