"""Clients that read slowly, or not at all: they are dropped with a reason, and nobody waits for them."""

import json
import random
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.integration.nodes import WAIT_S_MAX, Client, Node, fill, line, message, roomchange, settle, wait_until

HALL = "MainHall"
INTERVAL_S = 0.005
SIZE = 8000
SMALL_BUFFER_BYTES = 4096
StartNode = Callable[..., Node]


class Chatters:
    """Two clients: one speaks at a steady rate, both hear it; the delays are kept."""

    def __init__(self, node: Node, size: int = SIZE) -> None:
        self._speaker = node.extended("speaker", history="none")
        self._listener = node.extended("listener", history="none")
        self._size = size
        settle(self._speaker, self._listener)
        self.said = 0

    def chat(self, going_on: Callable[[], bool]) -> list[float]:
        """Chat for as long as something holds; return the delays in seconds."""
        delays = []
        end = time.monotonic() + WAIT_S_MAX
        due = time.monotonic()
        while going_on():
            assert time.monotonic() < end
            due = max(due + INTERVAL_S, time.monotonic() - 0.1)
            time.sleep(max(0.0, due - time.monotonic()))
            self.said += 1
            content = f"{self.said} ".ljust(self._size, "x")
            start = time.monotonic()
            self._speaker.say(content)
            for client in (self._speaker, self._listener):
                while not client.read_line().startswith(message("speaker", content)[:-2]):
                    pass
            delays.append(time.monotonic() - start)
        return delays

    def chat_for(self, seconds: float) -> list[float]:
        end = time.monotonic() + seconds
        return self.chat(lambda: time.monotonic() < end)


def percentile(delays: list[float], share: float) -> float:
    return sorted(delays)[min(len(delays) - 1, int(len(delays) * share))]


def compare(undisturbed: list[float], disturbed: list[float]) -> None:
    """Fail when somebody waited; a shared machine and its disk are noisy, a blocked server is much worse."""
    for name, delays in (("undisturbed", undisturbed), ("disturbed", disturbed)):
        p50, p99 = percentile(delays, 0.5), percentile(delays, 0.99)
        print(f"{name}: {len(delays)} messages, p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
    assert len(undisturbed) > 20
    assert len(disturbed) > 20
    assert statistics.median(disturbed) < 5 * statistics.median(undisturbed) + 0.02
    assert percentile(disturbed, 0.99) < 5 * percentile(undisturbed, 0.99) + 0.2


class SlowReader:
    """Reads 1 KB a second from a small buffer, until told to hurry; then everything up to the end."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.received = bytearray()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        self.client.socket.settimeout(WAIT_S_MAX)
        try:
            while data := self.client.socket.recv(1 << 18 if self._hurry.is_set() else 100):
                self.received += data
                self._hurry.wait(0.1)
        except OSError:
            pass

    def lines(self) -> list[dict[str, Any]]:
        """Hurry, and return all whole lines that came, from first to last."""
        self.client.widen()
        self._hurry.set()
        self._thread.join(WAIT_S_MAX)
        assert not self._thread.is_alive()
        return [json.loads(one) for one in self.received.splitlines(keepends=True) if one.endswith(b"\n")]


def dropped(node: Node) -> int:
    return node.log().count("dropped at client: backlog")


def test_who_does_not_read_is_dropped_and_nobody_waits(start_node: StartNode) -> None:
    node = start_node("--rate-limit=0", "--history=none")
    chatters = Chatters(node)
    undisturbed = chatters.chat_for(2)
    before = node.rss_mib()
    rss: list[float] = []

    never = node.connect(SMALL_BUFFER_BYTES)
    assert never.drain()
    slow = node.connect(SMALL_BUFFER_BYTES)
    slow.hello(identity="slow")
    slow.drain()
    first = chatters.said + 1
    reader = SlowReader(slow)

    def going_on() -> bool:
        rss.append(node.rss_mib())
        return dropped(node) < 2

    disturbed = chatters.chat(going_on)
    assert "backlog" in node.log()
    # The base client starts to read only now that it has been dropped.
    never.widen()
    told = never.lines_to_end()
    reason = told.pop()
    assert reason.startswith(b'{"type":"message","identity":"server","content":"backlog: ')
    said = [json.loads(one) for one in told]
    heard = [int(one["content"].split()[0]) for one in said if one["type"] == "message"]
    assert heard == list(range(first, first + len(heard)))
    assert len(heard) * SIZE > 1024 * 1024, "the backlog was sent too"

    lines = reader.lines()
    assert lines[-1]["type"] == "error"
    assert lines[-1]["code"] == "backlog"
    indexes = [one["index"] for one in lines if one["type"] == "message"]
    disturbed += chatters.chat_for(1)
    again = node.connect()
    again.hello(session=slow.token, resume=[{"roomid": HALL, "from": indexes[-1] + 1}])
    assert again.welcome["identity"] == "slow"
    indexes += [one["index"] for one in again.collect("message", index=chatters.said) if one["type"] == "message"]
    assert indexes == list(range(indexes[0], chatters.said + 1)), "no gap, nothing twice"

    compare(undisturbed, disturbed)
    print(f"RSS {before:.0f} MiB before, {max(rss):.0f} MiB at most")
    assert max(rss) < before + 20


def test_many_who_do_not_read_cost_a_bounded_amount(start_node: StartNode) -> None:
    node = start_node("--rate-limit=0", "--history=none", "--backlog-bytes-max=100000")
    chatters = Chatters(node, 15_000)
    chatters.chat_for(0.5)
    before = node.rss_mib()
    deaf = [node.connect(SMALL_BUFFER_BYTES) for _ in range(40)]
    for client in deaf:
        assert client.drain()
    rss: list[float] = []

    def going_on() -> bool:
        rss.append(node.rss_mib())
        return dropped(node) < len(deaf)

    chatters.chat(going_on)
    # The one backlog that all share, 40 times 100 kB, and what the allocator makes of it.
    assert max(rss) < before + 40
    # All at once, because nobody is waited for longer than the linger time.
    for client in deaf:
        client.widen()
    with ThreadPoolExecutor(len(deaf)) as pool:
        last = list(pool.map(lambda client: client.lines_to_end()[-1], deaf))
    reason = b'{"type":"message","identity":"server","content":"backlog: '
    assert [one for one in last if not one.startswith(reason)] == []


def test_uneven_readers_hear_the_same(start_node: StartNode) -> None:
    """Whatever way the kernel takes the bytes, in pieces and with pauses, none is lost, doubled or out of order."""
    node = start_node("--rate-limit=0", "--backlog-bytes-max=100000000")
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    count, streams = 4000, 8
    readers = [node.connect(dice.choice([20_000, 65_536, 1 << 18])) for _ in range(streams)]
    for number, client in enumerate(readers):
        client.write(line("hello", version=1) if number % 2 else line("list"))
        client.drain()
    senders = [node.extended(f"sender{number}", history="none") for number in range(3)]
    received = [bytearray() for _ in readers]

    def read_unevenly(number: int, dice: random.Random) -> None:
        connection = readers[number].socket
        connection.settimeout(WAIT_S_MAX)
        while not (b'"the end"' in received[number][-2000:] and received[number].endswith(b"\n")):
            data = connection.recv(dice.choice([100, 3000, 20_000, 1 << 17]) if dice.random() < 0.95 else 1)
            assert data
            received[number] += data
            if dice.random() < 0.05:
                time.sleep(dice.uniform(0, 0.05))

    threads = [
        threading.Thread(target=read_unevenly, args=(number, random.Random(dice.random())), daemon=True)
        for number in range(streams)
    ]
    for thread in threads:
        thread.start()
    # Each sender reads while it sends, or it would be a slow reader itself.
    for start in range(0, count, 100):
        for sender in senders:
            sender.write(
                *(
                    line(
                        "message",
                        content=f"{number} ".ljust(dice.choice([10, 300, 3000]), "x"),
                        id=f"{id(sender)}-{number}",
                    )
                    for number in range(start, start + 100)
                )
            )
        for sender in senders:
            for _ in range(100):
                sender.until("ack")
    senders[0].send("message", content="the end", id="end")
    for thread in threads:
        thread.join(2 * WAIT_S_MAX)
        assert not thread.is_alive()
    archived = node.archive()
    assert len(archived) == 3 * count + 1
    base = b"".join(message(one["identity"], one["content"]) for one in archived)
    for number, stream in enumerate(received):
        heard = stream[stream.index(b'{"type":"message"') :]
        if number % 2:
            told = [json.loads(one) for one in heard.splitlines() if b'"type":"message"' in one]
            assert [one["index"] for one in told] == list(range(1, len(archived) + 1))
            assert [one["id"] for one in told] == [one["id"] for one in archived]
        else:
            others = b"".join(one for one in heard.splitlines(keepends=True) if b'"message"' in one)
            assert others == base


def test_a_stopped_reader_does_not_hold_up_its_own_departure(start_node: StartNode) -> None:
    """Who is dropped and never reads again is gone once the linger time is over."""
    node = start_node("--rate-limit=0", "--history=none", "--backlog-bytes-max=100000")
    chatters = Chatters(node)
    watcher = node.base("watcher")
    deaf = node.connect(SMALL_BUFFER_BYTES)
    deaf.send("identitychange", identity="deaf")
    wait_until(lambda: b"deaf" in watcher.read_line(), "the deaf client has its name")
    chatters.chat(lambda: dropped(node) < 1)
    while watcher.read_line() != roomchange("deaf", HALL, ""):
        pass


def test_a_newcomer_who_reads_a_large_archive_slowly_holds_nobody_up(start_node: StartNode) -> None:
    count = 200_000
    node = start_node("--rate-limit=0", "--in-flight-max=20000")
    fill(node, count, 100)
    node.terminate()
    node.start()
    chatters = Chatters(node, 100)
    undisturbed = chatters.chat_for(2)
    before = node.rss_mib()
    readers = []
    for extended in (False, True):
        client = node.connect(SMALL_BUFFER_BYTES)
        client.write(line("hello", version=1) if extended else line("list"))
        readers.append(SlowReader(client))
    wait_until(lambda: all(len(reader.received) > 1000 for reader in readers), "they read")
    rss = [before]

    def going_on() -> bool:
        rss.append(node.rss_mib())
        return time.monotonic() < end

    end = time.monotonic() + 4
    disturbed = chatters.chat(going_on)
    compare(undisturbed, disturbed)
    print(f"RSS {before:.0f} MiB before, {max(rss):.0f} MiB at most")
    assert max(rss) < before + 20
    assert dropped(node) == 0, "who reads an archive slowly is not dropped for it"
    total = chatters.said + count
    base, extended_reader = readers
    for reader in readers:
        reader.client.half_close()
    contents = [one["content"] for one in base.lines() if one["type"] == "message"]
    heard = [int(content.split()[0]) for content in contents]
    assert heard[:count] == list(range(1, count + 1))
    assert heard[count:] == list(range(1, chatters.said + 1))
    indexes = [one["index"] for one in extended_reader.lines() if one["type"] == "message"]
    assert indexes == list(range(1, total + 1))
