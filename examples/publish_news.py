"""Publish an item of news, once, and know that it is kept: the root is found by the registry, wherever it runs.

    NEWS_PASSWORD=… python examples/publish_news.py tcp:localhost:4646 agency sport "Derby" "one nil"

Its id is made of what it says, so that trying again, after whatever has failed, does not publish it twice.
"""

import hashlib
import os
import sys
import time

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from chatproto import NewsSource, RegistryEndpoint
from chatproto.errors import Rejected

LIFE_S = 86400
PATIENCE_S = 60.0


async def publish(agency: NewsSource, topic: str, title: str, text: str) -> None:
    body = text.encode()
    id = hashlib.sha256(f"{topic} {title} {text}".encode()).hexdigest()
    number = await agency.publish(topic, title, body, expires=time.time() + LIFE_S, id=id)
    print(f"published as item {number}")


async def run(reactor, registry: str, source: str, topic: str, title: str, text: str) -> None:
    root = RegistryEndpoint(clientFromString(reactor, registry), reactor, service="news", kind="news-root")
    agency = NewsSource(root, reactor, source, os.environ.get("NEWS_PASSWORD", ""), now=time.time)
    agency.startService()
    try:
        publishing: Deferred[None] = ensureDeferred(publish(agency, topic, title, text))
        await publishing.addTimeout(PATIENCE_S, reactor)
    except Rejected as rejected:
        raise SystemExit(f"not published: {rejected.reason}") from None
    except TimeoutError:
        raise SystemExit(f"not published within {PATIENCE_S:g} s") from None
    finally:
        agency.stopService()


if __name__ == "__main__":
    react(lambda reactor, *arguments: ensureDeferred(run(reactor, *arguments)), sys.argv[1:])
