"""Ask a server what time it is somewhere: an answer, a refusal, or at once that there is nobody to ask.

python examples/request_reply.py Rome Atlantis Delphi Rome      # the server dies when asked for Delphi
"""

import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from chatproto.errors import DeliveryError
from chatproto.messaging import Requests


class TimeServer(LineOnlyReceiver):
    """Takes `NUMBER CITY`; answers `NUMBER is TIME` or `NUMBER no REASON`."""

    def lineReceived(self, line):
        number, city = line.split(b" ")
        if city == b"Delphi":
            self.transport.abortConnection()
        else:
            self.sendLine(number + (b" is 12:30" if city == b"Rome" else b" no no-such-city"))


class TimeLink(LineOnlyReceiver):
    """The other end, where each answer finds its question by its number."""

    def __init__(self, requests):
        self.requests = requests

    def connectionMade(self):
        self.requests.opened(self.sendLine)

    def connectionLost(self, reason):
        self.requests.closed()

    def lineReceived(self, line):
        number, verdict, what = line.decode().split(" ")
        (self.requests.answered if verdict == "is" else self.requests.rejected)(int(number), what)


async def run(reactor, *cities):
    requests = Requests(reactor)
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(TimeServer))
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), TimeLink(requests))
    for city in cities:
        try:
            print(f"{city}: {await requests.ask(lambda number, c=city: f'{number} {c}'.encode(), timeout_s=5.0)}")
        except DeliveryError as error:
            print(f"{city}: no answer ({error})")


if __name__ == "__main__":
    react(lambda reactor, *cities: ensureDeferred(run(reactor, *cities)), sys.argv[1:])
