"""A bot that says what it is told: in its rooms after `echo`, and to whoever speaks to it in private.

    python examples/echo_bot.py tcp:localhost:4444 Echo MainHall Tea

It stays through crashes and restarts of the servers, and answers what was said meanwhile, once. Where there are two
servers, the one named tells it of the other.
"""

import sys

from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver

from chatproto import ChatClient, ClientStopped
from chatproto.client.events import Event, PrivateSaid, Refusal, Said, StateChanged

log = Logger()


class EchoBot:
    """Answers what a client hears."""

    def __init__(self, client: ChatClient) -> None:
        self.client = client
        client.subscribe(self.heard)

    def heard(self, event: Event) -> None:
        match event:
            case Said(own=False, content=content, room=room) if content.startswith("echo "):
                self.finish(self.client.send(content.removeprefix("echo "), room))
            case PrivateSaid(identity=identity, content=content) if identity != self.client.identity:
                self.finish(self.client.private(identity, content))
            case StateChanged():
                where = f"{event.server} ({event.redundancy})" if event.server else event.reason
                log.info("{state} {where}", state=event.state, where=where)
            case Refusal():
                log.warn("refused: {code}", code=event.code)

    def finish(self, answering) -> None:
        answering.addErrback(lambda failure: failure.trap(ClientStopped))
        answering.addErrback(lambda failure: log.failure("an answer was not given", failure))


def main(server: str, name: str, *rooms: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)])
    client = ChatClient(reactor, [clientFromString(reactor, server)], identity=name, history="none", rooms=rooms)
    EchoBot(client)
    client.startService()
    reactor.addSystemEventTrigger("before", "shutdown", client.stopService)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
