"""What an operator or a stranger can do wrong to a pair: a clear line, no crash, and clients are served if possible."""

import random
import re
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import pytest_twisted

from tests.integration.nodes import WAIT_S_MAX, Node
from tests.integration.pairs import HOST, Pair, Scene, lasting_ports, moment
from tests.integration.test_daemon import mistakes


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


# Options

PEER = f"--peer=tcp:{HOST}:4545"
MISTAKES = [
    (["--role=secondary"], "--peer"),
    (["--registry-token=ours"], "--registry"),
    ([PEER, "--heartbeat=0.6", "--suspect=0.6"], "--heartbeat"),
    (["--role=registry", "--suspect=0.9"], "--lease"),
    (["--peer=nonsense", f"--peer-listen=tcp:0:interface={HOST}"], "cannot use --peer nonsense"),
    ([PEER, "--peer-listen=nonsense", "--insecure-links"], "cannot use --peer-listen nonsense"),
    ([PEER, f"--peer-listen=tcp:0:interface={HOST}", "--registry=nonsense"], "cannot use --registry nonsense"),
    (["--role=registry", "--registry-listen=nonsense", "--insecure-links"], "cannot use --registry-listen nonsense"),
    ([PEER, "--peer-listen=tcp:0"], "--insecure-links"),
    (["--role=registry", "--registry-listen=tcp:0"], "--insecure-links"),
]


def test_a_mistake_is_named_in_one_line(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda row: mistakes(tmp_path, *row[0]), MISTAKES))
    answers = zip(MISTAKES, said, strict=True)
    assert {" ".join(options): last for (options, named), last in answers if named not in last} == {}


# Nodes that do not fit


async def misfits(scene: Scene, *wrong: str, secondary: bool = True) -> Pair:
    """Start two nodes without a registry, the second with options that are wrong; return when they have met."""
    pair = scene.pair(registry=False)
    await pair.prepare()
    pair.secondary.options += wrong
    await pair.restart(pair.primary, pair.secondary)
    await pair.stands(pair.primary, redundancy="alone", serving=True)
    return pair


async def complain(scene: Scene, pair: Pair, text: str) -> None:
    """Wait until both say what is wrong; they must not fill the disk with it."""
    nodes = list(pair.nodes.values())
    await scene.until(lambda: all(re.search(text, node.log()) for node in nodes), f"both say {text!r}")
    before = [node.log().count("\n") for node in nodes]
    await moment(1.0)
    assert all(node.log().count("\n") - lines < 30 for node, lines in zip(nodes, before, strict=True))
    assert all(node.alive() for node in nodes)


@pytest_twisted.ensureDeferred
async def test_both_are_primary(scene: Scene) -> None:
    pair = await misfits(scene, "--role=primary", "--name=secondary")
    await complain(scene, pair, "both nodes are started with --role=primary")
    for node in pair.nodes.values():
        await pair.stands(node, redundancy="alone", serving=True)
        talker = scene.talker(node.folder.name, node.port)
        await scene.heard(talker)


@pytest_twisted.ensureDeferred
async def test_both_have_one_name(scene: Scene) -> None:
    pair = await misfits(scene, "--name=primary")
    await complain(scene, pair, "it is called 'primary' too")
    await scene.heard(scene.talker("talker", *pair.ports))


@pytest_twisted.ensureDeferred
async def test_they_are_of_different_services(scene: Scene) -> None:
    pair = await misfits(scene, "--service=other")
    await complain(scene, pair, "it serves '(other|chat)', this is '(other|chat)'")
    talker = scene.talker("talker", *pair.ports[::-1])
    await scene.heard(talker)
    assert talker.welcomes == ["primary"], "the other cannot serve, and says so"


def another_like(scene: Scene, node: Node, name: str, *options: str) -> Node:
    """Start a node with the options of one that is there, but ports and data of its own; it knows the same peer."""
    another = scene.make_node(name=name)
    another.options = [
        *(re.sub(r"(--peer-listen=tcp):\d+", rf"\1:{lasting_ports(1)[0]}", option) for option in node.options),
        *options,
    ]
    another.launch()
    return another


@pytest_twisted.ensureDeferred
async def test_a_third_node_does_not_get_between_two(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    epoch = (await pair.stands(pair.primary))["epoch"]
    third = another_like(scene, pair.secondary, "third", "--name=third")
    await scene.until(third.listens, "it listens")
    await moment(1.5)
    assert not (await pair.stands(third))["serving"]
    assert pair.primary.log().count("third has connected, but the pair is") == 1
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    assert (await pair.stands(pair.primary, redundancy="paired"))["epoch"] == epoch
    assert [len(talker.welcomes) for talker in talkers] == [1] * 4


@pytest_twisted.ensureDeferred
async def test_two_processes_of_one_name_at_one_registry(scene: Scene) -> None:
    """An operator who copies a node's options to a second machine: the pair that was there may falter, and recovers."""
    pair = await scene.pair().start()
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    impostor = another_like(scene, pair.primary, "impostor")
    await moment(2.0)
    assert pair.registry is not None
    assert "two processes have its name" in pair.registry.log()
    impostor.kill()
    await pair.paired()
    await scene.heard(*talkers)
    await pair.reckon(*talkers)


# Ports and data


@pytest_twisted.ensureDeferred
async def test_a_busy_peer_port(scene: Scene) -> None:
    pair = scene.pair(registry=False)
    await pair.prepare()
    with socket.socket() as taken:
        found = re.search(r"--peer-listen=tcp:(\d+)", " ".join(pair.primary.options))
        assert found is not None
        taken.bind((HOST, int(found[1])))
        taken.listen()
        pair.primary.launch()
        await scene.until(lambda: not pair.primary.alive(), "it ends")
    assert pair.primary.wait() == 1
    assert f"cannot listen on tcp:{found[1]}" in pair.primary.log()


@pytest_twisted.ensureDeferred
async def test_a_busy_registry_port(scene: Scene) -> None:
    registry = scene.make_node(name="registry", listen=None)
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        registry.options = ["--role=registry", f"--registry-listen=tcp:{port}:interface={HOST}"]
        registry.launch()
        await scene.until(lambda: not registry.alive(), "it ends")
    assert registry.wait() == 1
    assert f"cannot listen on tcp:{port}" in registry.log()


async def refused(scene: Scene, node: Node, *why: str) -> None:
    """Start a node that must not run; it says why, and ends."""
    node.launch()
    await scene.until(lambda: not node.alive(), "it ends")
    assert node.wait() == 1
    *_, last = [found for found in node.log().splitlines() if found.strip()]
    assert all(word in node.log() for word in why), last


@pytest_twisted.ensureDeferred
async def test_a_data_directory_is_used_for_something_else(scene: Scene) -> None:
    pair = await scene.pair().start()
    assert pair.registry is not None
    talkers = scene.crowd(pair, 2)
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    for node in (pair.secondary, pair.primary, pair.registry):
        await pair.terminate(node)
    # A node of a pair, alone: its messages may be newer on the other one.
    usual, pair.primary.options = pair.primary.options, ["--role=primary"]
    await refused(scene, pair.primary, "a node of a pair", "--peer")
    pair.primary.options = usual
    # A registry on a node's data, and a node on a registry's.
    registry = scene.make_node(name="registry2", listen=None, data=pair.primary.data)
    registry.options = ["--role=registry", f"--registry-listen=tcp:0:interface={HOST}"]
    await refused(scene, registry, str(pair.primary.data), "has what chat keeps, not registry")
    node = scene.make_node(name="node2", data=pair.registry.data)
    await refused(scene, node, "this process ends")
    node.options = pair.primary.options
    await refused(scene, node, "this process ends")
    # All is as it was.
    await pair.restart(pair.registry, pair.primary, pair.secondary)
    await pair.paired()
    for talker in talkers:
        talker.talking = True
    await scene.heard(*talkers)
    await pair.reckon(*talkers)


# Strangers


def frame(*fields: object) -> bytes:
    body = msgspec.msgpack.encode(list(fields))
    return struct.pack(">I", len(body)) + body


def rubbish(dice: random.Random) -> list[bytes]:
    """Return what strangers may say on a port that is not for them; none of it is a hello that fits."""
    peer_hello = frame("hello", 1, "chat", "stranger", True, None)
    return [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b'{"type":"hello","version":1}\n',
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(500),
        b"\xff\xff\xff\xff" + b"x" * 1000,
        b"\x7f\xff\xff\xff",
        struct.pack(">I", 256 * 1024 * 1024) + b"x" * 100_000,
        struct.pack(">I", 100) + b"x" * 50,
        struct.pack(">I", 0) * 1000,
        struct.pack(">I", 1),
        frame(),
        frame("hello"),
        frame("hello", 1),
        frame("hello", 2, "chat", "stranger", False, None),
        frame("hello", -1, "chat", "stranger", False, None),
        frame("hello", 1, "else", "stranger", False, None),
        frame("hello", 1, "chat", "primary", False, None)[:-3],
        frame("hello", 1, "chat", "x" * 100_000, True, None),
        frame("hello", 1, ["chat"], {}, None, 5),
        frame("hello", 1, "chat", "stranger", False, [2**63, "", []]),
        frame("append", 9, 9, []),
        frame("state", [99, "stranger", ["stranger"]]),
        frame("propose", [99, "stranger", ["stranger"]], False),
        frame("claim", [99, "stranger", ["stranger"]]),
        frame("beat", 99),
        peer_hello[:2],
        peer_hello[:-1],
        b"".join(frame(*[[]] * depth) for depth in range(50)),
        struct.pack(">I", 5000) + b"\x91" * 5000,
        *(dice.randbytes(dice.randrange(1, 2000)) for _ in range(20)),
        *(struct.pack(">I", size) + dice.randbytes(size) for size in (1, 10, 100, 1000, 10_000)),
    ]


@pytest_twisted.ensureDeferred
async def test_strangers_on_the_peer_and_registry_ports_do_no_harm(scene: Scene) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    pair = await scene.pair("--heartbeat=0.3", "--suspect=2", "--lease=2.1").start()
    assert pair.registry is not None
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    epoch = (await pair.stands(pair.primary))["epoch"]
    ports = [
        int(found)
        for node in (pair.registry, pair.primary, pair.secondary)
        for found in re.findall(r"--(?:peer|registry)-listen=tcp:(\d+)", " ".join(node.options))
    ]
    assert len(ports) == 3
    strangers = []
    try:
        for number, said in enumerate(rubbish(random.Random(seed))):
            for port in ports:
                stranger = socket.create_connection((HOST, port), WAIT_S_MAX)
                strangers.append(stranger)
                stranger.setblocking(False)
                try:
                    stranger.send(said)
                    if number % 3 == 0:
                        stranger.shutdown(socket.SHUT_WR)
                    elif number % 3 == 1:
                        stranger.close()
                except OSError:
                    pass
            await moment()
        await scene.heard(*talkers, count=100)
    finally:
        for stranger in strangers:
            stranger.close()
    await pair.reckon(*talkers)
    assert (await pair.stands(pair.primary, redundancy="paired"))["epoch"] == epoch
    assert [len(talker.welcomes) for talker in talkers] == [1] * 4
    assert not any(talker.notices for talker in talkers)
    for node in (pair.registry, pair.primary, pair.secondary):
        assert node.alive()
        assert node.rss_mib() < 200
        assert node.log().count("\n") < 500
