"""Two programs that talk directly: one opens a port, the other asks the server where that is, and proves who it is.

    python examples/direct_message.py tcp:localhost:4444 listen Eve 127.0.0.1
    python examples/direct_message.py tcp:localhost:4444 tell Ada Eve "over our own connection" "and again"

The server introduces them and sees nothing of what they say. Where they cannot reach each other, it relays.
"""

import sys

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import react

from chatproto import ChatClient, ClientError
from chatproto.client.events import Event, PrivateSaid


async def listen(reactor, client: ChatClient, host: str) -> None:
    """Take direct connections, and print what is said, until `bye`."""
    over: Deferred[None] = Deferred()

    def heard(event: Event) -> None:
        if isinstance(event, PrivateSaid):
            print(f"{event.identity}: {event.content} ({'direct' if event.direct else 'relayed'})", flush=True)
            if event.content == "bye" and not over.called:
                over.callback(None)

    client.subscribe(heard)
    address = await client.accept_direct(serverFromString(reactor, "tcp:0"), host)
    print(f"others may call {address}", flush=True)
    await over


async def tell(client: ChatClient, to: str, *contents: str) -> None:
    for content in contents:
        try:
            delivered = await client.send_direct(to, content)
        except ClientError as error:
            raise SystemExit(f"not delivered: {error}") from None
        print(f"{content}: {'direct' if delivered.direct else f'relayed to {delivered.sessions}'}")


async def run(reactor, server: str, what: str, name: str, *arguments: str) -> None:
    client = ChatClient(reactor, [clientFromString(reactor, server)], identity=name, history="none")
    client.startService()
    try:
        await (listen(reactor, client, *arguments) if what == "listen" else tell(client, *arguments))
    finally:
        await client.stopService()


if __name__ == "__main__":
    react(lambda reactor, *arguments: ensureDeferred(run(reactor, *arguments)), sys.argv[1:])
