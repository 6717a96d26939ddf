"""Garbage of every kind: no crash, no traceback, nobody else disturbed."""

import contextlib
import json
import os
import random
import resource
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.integration.nodes import WAIT_S_MAX, Client, Node, line, message, settle, wait_until

HALL = "MainHall"
StartNode = Callable[..., Node]

VALID = [
    line("identitychange", identity="alice"),
    line("join", roomid="attic"),
    line("join", roomid=HALL),
    line("join", roomid="attic", stay=True, **{"from": 1}),
    line("join", roomid="attic", history="all"),
    line("who", roomid="attic"),
    line("list"),
    line("createroom", roomid="attic"),
    line("delete", roomid="attic"),
    line("kick", roomid="attic", identity="alice", time=5),
    line("message", content="hello"),
    line("message", content="hello", id="id-1", roomid=HALL),
    line("leave", roomid="attic"),
    line("history", roomid=HALL, before=10, limit=10),
    line("history", roomid=HALL, **{"from": 1}),
    line("status"),
    line("private", to="alice", content="psst", id="id-2"),
    line("contact", address="127.0.0.1:1", identity="alice"),
    line("ping", n=1),
    line("pong"),
    line("hello", version=1, identity="bob", history=3, session="x", resume=[{"roomid": HALL, "from": 1, "epoch": 1}]),
]
STRANGE = [
    b"",
    b"\x00",
    b"\xff\xfe\xfd",
    b"\xed\xa0\x80",
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\u0000"',
    b"1e400",
    b"-1e400",
    b"1" * 400,
    b"-" + b"9" * 5000,
    b"0x10",
    b"NaN",
    b"-0",
    b"1.0",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551616",
    b"true",
    b"null",
    b"[" * 600,
    b'{"a":' * 600,
    b"\r",
    b"\n",
    b"\n\n",
    b"{}",
    b"//",
    b'"',
    b"\\",
    b"\\u",
    b"\xc2\xa0",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
]


class Bystanders:
    """A pair of base clients in a room of their own who chat all the while; what one says, the other hears soon."""

    def __init__(self, node: Node) -> None:
        self.delays_s: list[float] = []
        self._speaker = node.base("speaker")
        self._speaker.send("createroom", roomid="parlour")
        self._speaker.send("join", roomid="parlour")
        self._listener = node.base("listener", "parlour")
        settle(self._speaker, self._listener)
        self._stop = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Bystanders":
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                said = f"{len(self.delays_s)}"
                start = time.monotonic()
                self._speaker.say(said)
                for client in (self._speaker, self._listener):
                    assert client.read_line() == message("speaker", said)
                self.delays_s.append(time.monotonic() - start)
                self._stop.wait(0.01)
        except BaseException as problem:
            self._problem = problem

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(WAIT_S_MAX)
        assert self._problem is None, self._problem
        assert self.delays_s
        assert statistics.median(self.delays_s) < 0.25
        assert max(self.delays_s) < 3


@pytest.fixture
def tough(start_node: StartNode) -> Iterator[Node]:
    """A node that lets nobody off for nonsense, with bystanders."""
    node = start_node(
        *("--nonsense-max=1000000", "--rate-limit=0", "--capacity=1000", "--session-grace=0.2"),
        listen="tcp:0:interface=127.0.0.1:backlog=1000",
    )
    with Bystanders(node):
        yield node
    assert node.alive()


def chopped(data: bytes, dice: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = dice.choice([1, 2, 7, 50, 1000, 70000])
        yield data[at : at + size]
        at += size


def try_on(node: Node, data: bytes, dice: random.Random, *, extended: bool) -> None:
    """Send bytes, chopped anywhere; the connection must answer after them, or have been ended with a reason."""
    client = node.connect()
    answered = bytearray()
    if extended:
        client.hello()
    elif b'"status"' in data.partition(b"\n")[0]:
        # Whoever asks before anything else how the node is, is no client, and is answered nothing else.
        client.write(b"\n")
    try:
        for number, piece in enumerate(chopped(data, dice)):
            client.write(piece)
            if number % 50 == 49:
                # Read now and then, as a client that writes a lot must.
                client.socket.settimeout(0)
                with contextlib.suppress(BlockingIOError):
                    answered += client.socket.recv(1 << 20)
        client.write(b"\n", line("who", roomid="fence"))
        while b'"roomid":"fence","identities":[]' not in answered:
            client.socket.settimeout(WAIT_S_MAX)
            received = client.socket.recv(1 << 20)
            if not received:
                break
            answered += received
    except ConnectionError:
        with contextlib.suppress(ConnectionError):
            answered += client.read_to_end()
    for told in (bytes(client.unread) + bytes(answered)).splitlines():
        json.loads(told)
    if b'"roomid":"fence","identities":[]' not in answered:
        last = json.loads(answered.splitlines()[-1])
        assert (
            last["type"] == "error"
            or (last["type"] == "roomchange" and last["roomid"] == "")
            or (last["type"] == "message" and last["identity"] == "server")
        ), f"ended without a reason: {last}, after {data!r}"
    client.close()


def mutated(original: bytes, dice: random.Random) -> bytes:
    data = bytearray(original)
    for _ in range(dice.choice([1, 1, 1, 2, 3, 8])):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(7):
            case 0 if data:
                data[at % len(data)] = dice.randrange(256)
            case 1:
                data[at:at] = dice.randbytes(dice.randrange(1, 5))
            case 2:
                del data[at : at + dice.randrange(1, 20)]
            case 3:
                data[at:at] = dice.choice(STRANGE)
            case 4:
                data[at:at] = dice.choice(VALID)[dice.randrange(20) : dice.randrange(20, 60)]
            case 5:
                # A value in place of a value.
                start = data.find(b":", at) + 1
                end = min((found for found in (data.find(b",", start), data.find(b"}", start)) if found > 0), default=0)
                if 0 < start < end:
                    data[start:end] = dice.choice(STRANGE)
            case _:
                data[at:at] = data[at : at + dice.randrange(1, 40)] * dice.randrange(1, 4)
    return bytes(data)


def test_six_thousand_mutated_and_random_lines(tough: Node) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for number in range(120):
        lines = []
        for _ in range(50):
            kind = dice.randrange(10)
            if kind == 0:
                lines.append(dice.randbytes(dice.randrange(200)) + b"\n")
            elif kind == 1:
                lines.append(dice.choice(VALID))
            else:
                lines.append(mutated(dice.choice(VALID), dice))
        try_on(tough, b"".join(lines), dice, extended=bool(number % 2))


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([HALL, "attic", "alice", "all", "none", "message", "hello"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_types = sorted({json.loads(valid)["type"] for valid in VALID} | {"quit", "ack", "welcome", "roomlist", ""})
_fields = sorted({field for valid in VALID for field in json.loads(valid)} - {"type"})
_message = st.fixed_dictionaries({"type": st.sampled_from(_types)}).flatmap(
    lambda typed: st.dictionaries(st.sampled_from(_fields), _json, max_size=5).map(lambda fields: {**typed, **fields})
)
_line = (_message | _json).map(lambda value: json.dumps(value).encode() + b"\n") | st.binary(max_size=60).map(
    lambda data: data + b"\n"
)


def test_four_thousand_lines_of_the_wrong_shape(tough: Node) -> None:
    @settings(
        max_examples=160,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        lines=st.lists(_line, min_size=20, max_size=40),
        extended=st.booleans(),
        dice=st.randoms(use_true_random=False),
    )
    @example(lines=VALID, extended=True, dice=random.Random(1))
    @example(lines=VALID, extended=False, dice=random.Random(1))
    def check(lines: list[bytes], extended: bool, dice: random.Random) -> None:
        try_on(tough, b"".join(lines), dice, extended=extended)

    check()


def goes_on(client: Client) -> list[bytes]:
    """Return what came, and make sure that the client is still served."""
    told = client.drain()
    client.say("still here")
    assert any(b"still here" in one for one in client.drain())
    return told


@pytest.mark.parametrize("extended", [False, True])
def test_deep_nesting(tough: Node, extended: bool) -> None:
    client = tough.extended() if extended else tough.base()
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        for depth in (1, 10, 100, *range(900, 1020, 4), 2000, 10_000, 60_000 // len(opening)):
            closings = closing * min(depth, (65000 - depth * len(opening)) // len(closing))
            deep = opening * depth + b"1" + closings
            if len(deep) > 60_000:
                deep = opening * depth
            client.write(
                deep + b"\n",
                b'{"type":"list","x":' + deep + b"}\n",
                b'{"type":"ping","x":' + deep + b"}\n",
                b'{"type":"message","content":' + deep + b"}\n",
                b'{"type":"history","roomid":"MainHall","from":1,"limit":1,"x":' + deep + b"}\n",
            )
        goes_on(client)


@pytest.mark.parametrize("extended", [False, True])
def test_huge_numbers(tough: Node, extended: bool) -> None:
    client = tough.extended() if extended else tough.base()
    client.send("createroom", roomid="attic")
    numbers = [
        b"9" * 19,
        b"9" * 20,
        b"9" * 40,
        b"9" * 4300,
        b"9" * 30_000,
        b"1e308",
        b"1e309",
        b"1e99999",
        b"1.5",
        b"-1",
    ]
    for number in numbers:
        client.write(
            b'{"type":"kick","roomid":"attic","identity":"nobody","time":' + number + b"}\n",
            b'{"type":"join","roomid":"attic","from":' + number + b"}\n",
            b'{"type":"join","roomid":"MainHall","history":' + number + b"}\n",
            b'{"type":"history","roomid":"MainHall","from":' + number + b"}\n",
            b'{"type":"history","roomid":"MainHall","before":' + number + b',"limit":' + number + b"}\n",
            b'{"type":"ping","n":' + number + b"}\n",
            number + b"\n",
        )
        goes_on(client)
    for number in numbers:
        for fields in (
            b'"version":%b',
            b'"version":1,"history":%b',
            b'"version":1,"resume":[{"roomid":"MainHall","from":%b}]',
        ):
            newcomer = tough.connect()
            newcomer.write(b'{"type":"hello",' + fields % number + b"}\n" + line("who", roomid="fence"))
            told = b""
            while b"fence" not in told:
                try:
                    told += newcomer.read_line()
                except EOFError:
                    assert b'"error"' in told
                    break
            newcomer.close()


@pytest.mark.parametrize("extended", [False, True])
def test_strange_text_in_every_field(tough: Node, extended: bool) -> None:
    client = tough.extended() if extended else tough.base()
    texts = [
        b"\\ud800",
        b"\\udc00",
        b"\\ud800\\ud800",
        b"\\ud83e\\udd8a",
        b"\\u0000",
        b"\x00",
        b"\xed\xa0\x80",
        b"\xff",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"\\x",
        b"\\u12",
        b"\x1f",
        b"\xe2\x80\xae\xe2\x80\xa8",
        b"e\xcc\x81" * 1000,
        b"%s%n{0}$HOME`id`';--",
    ]
    for text in texts:
        client.write(
            *(
                b'{"type":"%b",%b}\n' % (type, fields % ((text,) * fields.count(b"%b")))
                for type, fields in (
                    (b"message", b'"content":"%b"'),
                    (b"message", b'"content":"x","id":"%b"'),
                    (b"message", b'"content":"x","id":"a%b","roomid":"%b"'),
                    (b"identitychange", b'"identity":"%b"'),
                    (b"identitychange", b'"identity":"abc%b"'),
                    (b"join", b'"roomid":"%b"'),
                    (b"who", b'"roomid":"%b"'),
                    (b"createroom", b'"roomid":"abc%b"'),
                    (b"delete", b'"roomid":"%b"'),
                    (b"kick", b'"roomid":"%b","identity":"%b","time":1'),
                    (b"leave", b'"roomid":"%b"'),
                    (b"history", b'"roomid":"%b","from":1'),
                    (b"private", b'"to":"%b","content":"%b","id":"p%b"'),
                    (b"contact", b'"address":"%b"'),
                    (b"contact", b'"identity":"%b"'),
                    (b"ping", b'"%b":"%b"'),
                    (b"%b" % text, b'"x":1'),
                )
            )
        )
        goes_on(client)
    for text in texts:
        newcomer = tough.connect()
        newcomer.write(
            b'{"type":"hello","version":1,"identity":"%b","session":"%b","resume":[{"roomid":"%b","from":1}]}\n'
            % (text, text, text)
        )
        goes_on(newcomer)
        newcomer.close()


def test_many_megabytes_without_a_newline(tough: Node) -> None:
    tough.base()
    before = tough.rss_mib()
    clients = [tough.connect() for _ in range(30)]
    for client in clients[::2]:
        client.hello()
    for client in clients:
        with contextlib.suppress(ConnectionError):
            client.write(b'{"type":"message","content":"' + b"x" * (2 << 20))
    for client in clients:
        assert b"line-too-long" in client.lines_to_end()[-1]
    assert tough.rss_mib() < before + 60


def test_lines_that_are_never_ended_cost_little(tough: Node) -> None:
    tough.base()
    before = tough.rss_mib()
    clients = [tough.base() for _ in range(100)]
    for client in clients:
        client.write(b"x" * 60_000)
    # 100 times 60 kB is what they may cost, and a little more.
    settle(tough.base())
    assert tough.rss_mib() < before + 30
    for client in clients:
        client.write(b"\n")
    for client in clients[:5]:
        goes_on(client)


def test_nothing_but_newlines(tough: Node) -> None:
    for extended in (False, True):
        client = tough.extended() if extended else tough.base()
        client.write(b"\n" * 20_000)
        assert len(goes_on(client)) == (20_000 if extended else 0)


# Garbage of connections


def open_files(node: Node) -> int:
    return len(list(Path(f"/proc/{node.pid}/fd").iterdir()))


def test_connections_that_come_and_go_leave_nothing(tough: Node) -> None:
    tough.base()
    before_files, before_mib = open_files(tough), tough.rss_mib()
    dice = random.Random(5)
    for _ in range(40):
        clients = [tough.connect() for _ in range(25)]
        for client in clients:
            with contextlib.suppress(ConnectionError):
                match dice.randrange(6):
                    case 0:
                        client.write(b'{"type":')
                    case 1:
                        client.write(line("list") * 10)
                    case 2:
                        client.write(line("hello", version=1))
                    case 3:
                        client.half_close()
                    case 4:
                        client.write(line("message", content="x") * 5)
            client.reset() if dice.random() < 0.7 else client.close()
            tough.clients.remove(client)
    watcher = tough.base()

    def alone() -> bool:
        watcher.send("who", roomid=HALL)
        (contents,) = (one for one in watcher.messages() if one["type"] == "roomcontents" and one["roomid"] == HALL)
        return len(contents["identities"]) == 2

    wait_until(alone, "all of them have left, the sessions in their grace too")
    wait_until(lambda: open_files(tough) <= before_files + 2, "their files are closed")
    assert tough.rss_mib() < before_mib + 30


def test_more_connections_than_files(start_node: StartNode) -> None:
    """A node without file descriptors goes on for those inside, and takes newcomers when there are some again."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))

    node = start_node(prepare=limit)
    inside = node.base("inside")
    crowd = [node.connect() for _ in range(100)]
    for number in range(20):
        inside.say(f"{number}")
        while inside.read_line() != message("inside", f"{number}"):
            pass
    for client in crowd:
        client.close()

    def served() -> bool:
        newcomer = node.connect()
        with contextlib.suppress(ConnectionError, EOFError):
            return bool(newcomer.drain())
        return False

    wait_until(served, "a newcomer is served")
    inside.drain()
    assert node.archive()[-1]["content"] == "19"


def test_a_node_that_was_stopped_for_a_while_drops_nobody_for_it(start_node: StartNode) -> None:
    """As a laptop that slept, or a machine that was paused."""
    node = start_node("--ping-every=0.2", "--silence-max=1")
    base, extended = node.base("base"), node.extended("alice")
    os.kill(node.pid, signal.SIGSTOP)
    extended.send("pong")
    base.say("while it slept")
    time.sleep(2.5)
    os.kill(node.pid, signal.SIGCONT)
    assert extended.until("message")["content"] == "while it slept"
    extended.send("message", content="awake", id="id-1")
    assert extended.until("ack")["index"] == 2
    settle(base)
