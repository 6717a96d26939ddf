"""Say one thing in a room, from a program that has other things to do, and know that it is kept.

    python examples/embed_client.py MainHall "disk 93 % full" tcp:chat1.example:4444 tcp:chat2.example:4444

It ends when the message is durable, however often a server dies before that, or says after a minute that it is not.
"""

import sys

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from chatproto import ChatClient, ClientError, Refused

PATIENCE_S = 60.0


async def enter(client: ChatClient, room: str) -> None:
    """Be in a room, which is made if there is none."""
    if room != "MainHall":
        try:
            await client.create_room(room)
        except Refused as refused:
            if refused.code != "room-taken":
                raise
        await client.join(room)


async def say(client: ChatClient, room: str, content: str) -> None:
    await enter(client, room)
    sent = await client.send(content, room)
    print(f"kept as number {sent.index} of {sent.room}")


async def run(reactor, room: str, content: str, *servers: str) -> None:
    endpoints = [clientFromString(reactor, server) for server in servers]
    client = ChatClient(reactor, endpoints, history="none")
    client.startService()
    try:
        saying: Deferred[None] = ensureDeferred(say(client, room, content))
        await saying.addTimeout(PATIENCE_S, reactor)
    except (ClientError, TimeoutError) as error:
        raise SystemExit(f"not kept: {error}") from None
    finally:
        await client.stopService()


if __name__ == "__main__":
    react(lambda reactor, *arguments: ensureDeferred(run(reactor, *arguments)), sys.argv[1:])
