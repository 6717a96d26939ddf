"""A large archive, replayed to newcomers: complete, in order, while others chat."""

import json
import threading
import time
from collections.abc import Callable

from tests.integration.nodes import WAIT_S_MAX, Client, Node, fill, message, numbered, settle, wait_until

HALL = "MainHall"
COUNT = 100_000
StartNode = Callable[..., Node]


class Chatting:
    """Somebody who chats all the while, a line every few milliseconds."""

    def __init__(self, node: Node) -> None:
        self.said: list[str] = []
        self.slowest_s = 0.0
        self._client = node.extended("chatter", history="none")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._chat, daemon=True)
        self._thread.start()

    def _chat(self) -> None:
        while not self._stop.wait(0.003):
            content = f"live {len(self.said) + 1}"
            start = time.monotonic()
            self._client.say(content)
            while not self._client.read_line().startswith(message("chatter", content)[:-2]):
                pass
            self.slowest_s = max(self.slowest_s, time.monotonic() - start)
            self.said.append(content)

    def stop(self) -> list[str]:
        self._stop.set()
        self._thread.join(WAIT_S_MAX)
        assert not self._thread.is_alive()
        return self.said


def hear(client: Client, last: bytes) -> tuple[bytearray, float]:
    """Return everything up to a piece of a line, as fast as it comes, and how long the archive took, in seconds."""
    received = bytearray()
    client.socket.settimeout(WAIT_S_MAX)
    start = time.monotonic()
    while received.find(last, max(0, len(received) - (1 << 20))) < 0:
        data = client.socket.recv(1 << 18)
        assert data, "it ended"
        received += data
    return received, time.monotonic() - start


def test_a_hundred_thousand_messages_are_replayed(start_node: StartNode) -> None:
    node = start_node("--rate-limit=0", "--in-flight-max=20000", "--backlog-bytes-max=100000000")
    said = fill(node, COUNT, 100)
    chatting = Chatting(node)
    wait_until(lambda: len(chatting.said) > 10, "others chat")
    last = f'"{said[-1]}"'.encode()

    base = node.connect()
    base.send("list")
    base_received, base_s = hear(base, last)
    extended = node.connect()
    extended.send("hello", version=1)
    extended_received, extended_s = hear(extended, last)
    paged = node.extended(history="none")
    start = time.monotonic()
    paged_indexes: list[int] = []
    while len(paged_indexes) < COUNT:
        paged.send("history", roomid=HALL, limit=500, **{"from": len(paged_indexes) + 1})
        paged_indexes += numbered(paged.until("history")["messages"])
    paged_s = time.monotonic() - start

    live = chatting.stop()
    for name, seconds in (("base", base_s), ("extended", extended_s), ("history pages", paged_s)):
        print(f"{name}: {COUNT / seconds:,.0f} messages a second")
        assert seconds < 20
    print(f"{len(live)} said meanwhile, the slowest heard after {chatting.slowest_s * 1000:.1f} ms")
    assert chatting.slowest_s < 2
    everything = said + live
    for client, received in ((base, base_received), (extended, extended_received)):
        last = f'"{live[-1]}"'.encode()
        if last not in received:
            received += hear(client, last)[0]
        told = [json.loads(one) for one in received.splitlines(keepends=True) if one.endswith(b"\n")]
        heard = [one for one in told if one["type"] == "message"]
        assert [one["content"] for one in heard] == everything
        if client is extended:
            assert numbered(heard) == list(range(1, len(everything) + 1))
    assert paged_indexes[:COUNT] == list(range(1, COUNT + 1))


def test_a_resume_in_the_middle_of_a_large_archive(start_node: StartNode) -> None:
    node = start_node("--rate-limit=0", "--in-flight-max=20000", "--backlog-bytes-max=100000000")
    fill(node, COUNT, 100)
    for start in (1, 2, 31_337, 65_536, COUNT - 1, COUNT, COUNT + 1):
        client = node.connect()
        client.hello(resume=[{"roomid": HALL, "from": start}])
        expected = list(range(start, COUNT + 1))
        told = client.collect("message", index=COUNT) if expected else client.messages()
        assert numbered(told) == expected
        client.close()


def test_moving_about_during_a_replay(start_node: StartNode) -> None:
    """Each joining brings the archive from its start; a replay left behind brings nothing any more."""
    node = start_node("--rate-limit=0", "--in-flight-max=20000", "--backlog-bytes-max=100000000")
    count = 20_000
    fill(node, count, 300)
    owner = node.extended("owner", history="none")
    for room in ("attic", "cellar"):
        owner.send("createroom", roomid=room)
    settle(owner)
    chatting = Chatting(node)
    for extended in (False, True):
        client = node.connect()
        if extended:
            client.hello(identity="mover")
        else:
            client.send("identitychange", identity="mover")
        for _ in range(5):
            for room in ("attic", "cellar", HALL):
                client.send("join", roomid=room)
        heard: list[str] = []
        arrivals = 0
        while arrivals < 5 or not heard or not heard[-1].startswith("live"):
            told = client.read()
            if told["type"] == "roomchange" and told["identity"] == "mover":
                arrivals += told["roomid"] == HALL and told["former"] == "cellar"
                assert heard == archive_so_far(heard)
                heard = []
            elif told["type"] == "message":
                heard.append(told["content"])
        assert heard[:count] == [f"{number} ".ljust(300, "x") for number in range(1, count + 1)]
        assert heard[count:] == [f"live {number}" for number in range(1, len(heard) - count + 1)]
        client.send("quit")
        client.read_to_end()
    chatting.stop()


def archive_so_far(heard: list[str]) -> list[str]:
    """Return what a replay that got so far must have brought."""
    filled = [one for one in heard if not one.startswith("live")]
    return [f"{number} ".ljust(300, "x") for number in range(1, len(filled) + 1)] + [
        f"live {number}" for number in range(1, len(heard) - len(filled) + 1)
    ]
