"""`chatproto demo`: a registry, a primary and a secondary on this machine, until Ctrl-C.

Each is a `twistd` process of its own, as an operator would start it; so one can be killed to see what happens.
"""

import os
import select
import socket
import time

import msgspec

from chatproto.chat.messages import NONSENSE, Status
from chatproto.cli.deployment import (
    HOST,
    LOOK_EVERY_S,
    DemoFailed,
    Deployment,
    Say,
    check_free,
    deployment,
    dialling,
    listening,
)

START_S_MAX = 20.0


class DemoOptions(msgspec.Struct, frozen=True):
    """What can be set of a demonstration.

    Attributes:
        directory: where data and logs are kept; None for a temporary place that goes with it.
        port: of the primary's client link; the ones after it are used too.
        kill_primary_after_s: when to kill the primary; None for never.
        for_s: when to end; None for Ctrl-C alone.
    """

    directory: str | None
    port: int
    kill_primary_after_s: float | None = None
    for_s: float | None = None


def demo(options: DemoOptions, say: Say) -> None:
    """Run the deployment until interrupted; `say` is called with what to tell.

    Raises:
        DemoFailed: it could not be started.
    """
    with deployment(options.directory, say) as running:
        _run(options, running, say)


def _run(options: DemoOptions, running: Deployment, say: Say) -> None:
    first = options.port
    # After the two ports for clients: the peer links, the registry, the pages, and what is measured of each.
    uses = (
        *("primary", "secondary", "peer 1", "peer 2", "registry", "page 1", "page 2"),
        *("primary metrics", "secondary metrics", "registry metrics"),
    )
    ports = dict(zip(uses, range(first, first + len(uses)), strict=True))
    check_free(ports.values())
    running.start(
        "registry",
        "--role=registry",
        f"--registry-listen={listening(ports['registry'])}",
        metrics=ports["registry metrics"],
    )
    peers = (("primary", "peer 1", "peer 2", "page 1"), ("secondary", "peer 2", "peer 1", "page 2"))
    for name, own, other, page in peers:
        running.start(
            name,
            f"--role={name}",
            f"--listen={listening(ports[name])}",
            f"--peer-listen={listening(ports[own])}",
            f"--peer={dialling(ports[other])}",
            f"--registry={dialling(ports['registry'])}",
            f"--web={listening(ports[page])}",
            metrics=ports[f"{name} metrics"],
        )
    servers = [f"{HOST}:{ports['primary']}", f"{HOST}:{ports['secondary']}"]
    began = time.monotonic()
    while (state := _redundancy(servers[0])) != "paired":
        running.check()
        if time.monotonic() - began > START_S_MAX:
            raise DemoFailed(f"the pair is still {state} after {START_S_MAX:g} s; see the logs in {running.directory}")
        time.sleep(LOOK_EVERY_S)
    say(f"A registry, a primary and a secondary serve on this machine; data and logs are in {running.directory}.")
    say(f"  join:    chatproto chat {' '.join(servers)}")
    say(f"  page:    http://{HOST}:{ports['page 1']}/ or http://{HOST}:{ports['page 2']}/")
    say(f"  look:    chatproto status {' '.join(servers)}")
    say(f"  metrics: {running.metrics}")
    say(f"  kill:    kill -9 {running.children['primary'].process.pid}     (the primary; nothing said is lost)")
    say(f"  move:    chatproto switchover {os.path.join(running.directory, 'primary')}")
    say("  end:     Ctrl-C")
    _watch(options, running, servers, say)


def _watch(options: DemoOptions, running: Deployment, servers: list[str], say: Say) -> None:
    began, killed = time.monotonic(), False
    seen = {server: _redundancy(server) for server in servers}
    while options.for_s is None or time.monotonic() - began < options.for_s:
        after_s = options.kill_primary_after_s
        if after_s is not None and not killed and time.monotonic() - began >= after_s:
            killed = True
            running.children["primary"].process.kill()
            say("Killed the primary, as kill -9 does.")
        running.look()
        for server in servers:
            state = _redundancy(server)
            if state != seen[server] and state is not None:
                say(f"{server} is {state} now.")
            seen[server] = state
        time.sleep(LOOK_EVERY_S)


def _redundancy(server: str) -> str | None:
    """Ask a server how it stands; None if it does not say."""
    host, _, port = server.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0) as link:
            link.sendall(b'{"type":"status"}\n')
            data = b""
            while b"\n" not in data and select.select([link], [], [], 1.0)[0]:
                piece = link.recv(65536)
                if not piece:
                    return None
                data += piece
    except OSError:
        return None
    try:
        status = msgspec.json.decode(data.partition(b"\n")[0], type=Status)
    except NONSENSE:
        return None
    return status.redundancy if status.serving else "not serving"
