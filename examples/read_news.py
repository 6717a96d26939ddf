"""Agree on a contract, and print what is delivered under it: nothing twice, and nothing lost while a node is away.

    NEWS_PASSWORD=… python examples/read_news.py tcp:localhost:4646 Anna sport,politics [COUNT]

All that it needs is the registry, which knows the contracting service and the delivery nodes. It ends after so many
items, or with Ctrl-C; the next one that reads under this name goes on from there.
"""

import os
import sys
import time
from functools import partial

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from chatproto import ContractClient, ContractError, NewsReader, RegistryClient, RegistryEndpoint, Terms
from chatproto.news.reader import registered
from chatproto.news.terms import Place


async def agree(contracts: ContractClient, topics: list[str]) -> Place:
    """Ask for a paid contract, and take the first that is offered instead, if that cannot be had."""
    answer = await contracts.propose(Terms(tuple(sorted(topics)), paid=True, maximum=50, delay_s_max=200.0))
    while not isinstance(answer, Place):
        answer = await contracts.propose(answer[0])
    return answer


async def run(reactor, registry: str, name: str, topics: str, count: str = "0") -> None:
    names = RegistryClient(clientFromString(reactor, registry), reactor, who=name)
    service = RegistryEndpoint(clientFromString(reactor, registry), reactor, service="news", kind="news-contracts")
    contracts = ContractClient(service, reactor, name, os.environ.get("NEWS_PASSWORD", ""), opens=True)
    names.startService()
    contracts.startService()
    enough: Deferred[None] = Deferred()
    left = [int(count)]

    def delivered(item, body: bytes) -> None:
        # When this has returned, the item is acknowledged, and does not come again.
        print(f"{item.topic}: {item.title}: {body.decode('utf-8', 'replace')}", flush=True)
        left[0] -= 1
        if left[0] == 0:
            # In the next turn of the reactor, when it is acknowledged.
            reactor.callLater(0, enough.callback, None)

    try:
        place = await agree(contracts, topics.split(","))
        print(f"delivered by {place.node}", flush=True)
        nodes = registered(names, partial(clientFromString, reactor), "news")
        reader = NewsReader(place, nodes, delivered, reactor, time.time, substitute=contracts.substitute)
        reader.startService()
        await enough
        reader.stopService()
    except ContractError as error:
        raise SystemExit(f"no contract: {error}") from None
    finally:
        contracts.stopService()
        await names.stopService()


if __name__ == "__main__":
    react(lambda reactor, *arguments: ensureDeferred(run(reactor, *arguments)), sys.argv[1:])
