"""A proxy as a process, with a delivery node and a contracting service that hold what they are told to, line by line.

Each line of standard input is an item as JSON: `number`, `body` (hexadecimal), and fields of `Item`. The password of
every reader is `right`; `anna` is the one that the delivery node has.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from chatproto.trust.certificates import CERTIFICATE, KEY
from tests.integration.nodes import PROJECT, environment, wait_until
from tests.integration.pairs import HOST

PASSWORD = "right"


class Mobile:
    """The process, from the outside."""

    def __init__(self, folder: Path, web: int, certificate: Path | None = None) -> None:
        endpoint = f"tcp:{web}:interface={HOST}"
        if certificate is not None:
            keys = f"privateKey={certificate / KEY}:certKey={certificate / CERTIFICATE}"
            endpoint = f"ssl:{web}:{keys}:interface={HOST}"
        self.home = f"{'https' if certificate else 'http'}://{HOST}:{web}/"
        self._log = folder / "mobile.log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.mobile", str(folder / "proxy"), endpoint],
            stdin=subprocess.PIPE,
            stderr=self._log.open("wb"),
            env=environment(),
            cwd=PROJECT,
        )
        wait_until(lambda: "the proxy serves" in self.log(), "the proxy serves")

    def log(self) -> str:
        return self._log.read_text()

    def add(self, number: int, body: bytes, **fields: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": number, "body": body.hex(), **fields}).encode() + b"\n")
        self._process.stdin.flush()

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait(10)


def _run(data: str, web: str) -> None:
    import time

    from twisted.internet import reactor as installed
    from twisted.logger import globalLogBeginner, textFileLogObserver

    from chatproto.cli.streams import LineInput
    from chatproto.news.contracting.messages import Ask, FromPart
    from chatproto.news.proxy.desk import ProxyDesk
    from chatproto.news.proxy.messages import PULLED, ProxyHello
    from chatproto.services.news.proxy import ProxySettings, build_proxy
    from chatproto.tap import real_world
    from tests.simulation.test_news_proxy import listening
    from tests.unit.news.proxy.fakes import Contracts, Items
    from tests.unit.news.proxy.making import item_of

    reactor: Any = installed
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)])
    world = real_world()
    items, contracts = Items(), Contracts()
    contracts.readers["east"] = ["anna"]

    def add(line: str) -> None:
        fields = json.loads(line)
        number, body = fields.pop("number"), bytes.fromhex(fields.pop("body"))
        given = {"expires": time.time() + fields.pop("life_s", 3600), "injected": time.time(), **fields}
        items.add(item_of(number, body, **given), body)

    def start() -> None:
        at = f"tcp:0:interface={HOST}"
        east = listening(world, ProxyHello, ProxyDesk("east", items, world.now), PULLED, at)
        clerk = listening(world, Ask, contracts, FromPart, at)
        east.startService()
        clerk.startService()
        where = [f"tcp:{HOST}:{tree.getServiceNamed('listener').port.getHost().port}" for tree in (east, clerk)]
        proxy = build_proxy(
            world,
            ProxySettings(
                data=data,
                name="proxy",
                web=web,
                delivery="east",
                reach_delivery=where[0],
                reach_contracts=where[1],
            ),
        )
        proxy.startService()
        reactor.addSystemEventTrigger("before", "shutdown", proxy.stopService)
        print("the proxy serves", file=sys.stderr, flush=True)

    reactor.callWhenRunning(start)
    lines = LineInput(reactor, 0, add, lambda problem: None)
    reactor.callWhenRunning(lines.startReading)
    reactor.run()


if __name__ == "__main__":
    _run(*sys.argv[1:])
