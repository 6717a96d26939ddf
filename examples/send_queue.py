"""Jobs for a printer that acknowledges, refuses or forgets them: each ends once, and whoever sent it hears how.

    python examples/send_queue.py

Whoever sends goes on at once. Jobs go out one at a time, first in, first out, but for the urgent one.
"""

from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from chatproto.messaging import QueueLimits, Sender

# Each with its seconds and its priority.
JOBS = [("letter", 9.0, 0), ("poster", 9.0, 0), ("lost page", 0.3, 0), ("photo", 9.0, 0), ("fire alarm", 9.0, 1)]


class Printer(LineOnlyReceiver):
    """Takes `NUMBER JOB`; answers `ack NUMBER`, `nack NUMBER REASON`, or nothing."""

    def lineReceived(self, line):
        number, _, job = line.partition(b" ")
        if job != b"lost page":
            self.sendLine(b"nack " + number + b" too-large" if job == b"poster" else b"ack " + number)


class PrinterLink(LineOnlyReceiver):
    def __init__(self, sender):
        self.sender = sender

    def connectionMade(self):
        self.sender.opened(self.sendLine)

    def connectionLost(self, reason):
        self.sender.closed()

    def lineReceived(self, line):
        match line.decode().split():
            case ["ack", number]:
                self.sender.acknowledged(int(number), None)
            case ["nack", number, reason]:
                self.sender.rejected(int(number), reason)


async def run(reactor):
    sender = Sender(reactor, QueueLimits(in_flight_max=1))
    ends = []
    for number, (job, seconds, priority) in enumerate(JOBS):
        sent = sender.send(number, f"{number} {job}".encode(), seconds, priority=priority)
        ends.append(sent.addBoth(lambda end, job=job: print(f"{job}: {end.getErrorMessage() if end else 'printed'}")))
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Printer))
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), PrinterLink(sender))
    await DeferredList(ends)


if __name__ == "__main__":
    react(lambda reactor: ensureDeferred(run(reactor)))
