"""Backups of nodes at work, and what goes on from them: a new pair, with what was acknowledged before it was taken."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from chatproto.cli.backup import backup, restore
from tests.integration.nodes import Node, agree
from tests.integration.pairs import HALL, Pair, Scene, exported, run_chatproto

_decode = msgspec.json.decode


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


async def backed_up(node: Node, file: Path) -> str:
    """Back a node up; return what is said of it."""
    said: str = await deferToThread(backup, str(node.data), str(file), "0.1.0")
    return said


async def lose(pair: Pair) -> bytes:
    """Lose both nodes and the registry, with their disks; return what the leader's had."""
    leader = await pair.paired()
    every = [pair.primary, pair.secondary, *([pair.registry] if pair.registry is not None else [])]
    for node in every:
        node.kill()
    had = exported(leader.data)
    for node in every:
        shutil.rmtree(node.data)
    return had


async def restored(file: Path, node: Node) -> None:
    await deferToThread(restore, str(file), str(node.data))


@pytest_twisted.ensureDeferred
async def test_backups_under_load_are_prefixes_and_a_new_pair_goes_on_from_one(scene: Scene, tmp_path: Path) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair, 2)
    files = [tmp_path / f"{number}.backup" for number in range(4)]
    promised: list[dict[str, tuple[int, int]]] = []
    for file, node in zip(files, [pair.primary, pair.secondary] * 2, strict=True):
        await scene.heard(*talkers)
        leads = node is await pair.paired()
        # What a follower has was acknowledged by then only as far as it has heard.
        promised.append({id: at for talker in talkers for id, at in talker.acknowledged.items()} if leads else {})
        assert " messages in 1 rooms" in await backed_up(node, file)
    await scene.heard(*talkers)
    for talker in talkers:
        talker.talking = False
    await scene.until(lambda: scene.still, "all is acknowledged")
    original = await lose(pair)
    for file, acknowledged in zip(files, promised, strict=True):
        directory = tmp_path / f"of-{file.name}"
        await deferToThread(restore, str(file), str(directory))
        prefix = exported(directory)
        assert 0 < len(prefix) < len(original) and original.startswith(prefix)
        kept = {said["id"]: (said["index"], said["epoch"]) for said in map(_decode, prefix.splitlines())}
        assert acknowledged.items() <= kept.items(), "what was acknowledged before it was taken is there"
    # The registry has a new disk, too: it knows nothing of the pair that was.
    await restored(files[-1], pair.primary)
    prefix = exported(pair.primary.data)
    last, token = prefix.count(b"\n"), talkers[0].token
    for talker in talkers:
        talker.end()
    scene.talkers.clear()
    assert pair.registry is not None
    await pair.restart(pair.registry, pair.primary, pair.secondary)
    await pair.paired()
    assert exported(pair.primary.data) == exported(pair.secondary.data) == prefix
    # Who comes with a session of the old pair, and knows more than this one, is taken back to what both know.
    client = pair.secondary.connect()
    resume = [{"roomid": HALL, "from": original.count(b"\n") + 1, "epoch": _decode(original.splitlines()[-1])["epoch"]}]
    client.send("hello", version=1, session=token, resume=resume)
    lines = client.collect("rewind", roomid=HALL)
    assert lines[-1]["index"] == last + 1
    assert any(told["type"] == "notice" and told["code"] == "session-unknown" for told in lines)
    client.send("message", content="on we go", id="on-we-go")
    said = client.until("ack", id="on-we-go")
    assert (said["index"], said["durable"]) == (last + 1, 2)
    assert said["epoch"] > resume[0]["epoch"], "so nobody takes it for a message of the old pair"
    talkers = scene.crowd(pair, 2)
    await scene.heard(*talkers)
    archived = await pair.reckon_archives(*talkers)
    assert archived.startswith(prefix)


@pytest_twisted.ensureDeferred
async def test_a_registry_that_knows_the_old_pair_has_a_restored_one_wait(scene: Scene, tmp_path: Path) -> None:
    pair = await scene.pair().start()
    client = pair.primary.extended("adel")
    client.send("message", content="kept", id="kept-1")
    client.until("ack", id="kept-1")
    await backed_up(pair.primary, tmp_path / "backup")
    client.send("message", content="late", id="late-1")
    client.until("ack", id="late-1")
    for node in pair.nodes.values():
        node.kill()
    shutil.rmtree(pair.primary.data)
    await restored(tmp_path / "backup", pair.primary)
    await pair.restart(pair.primary)
    await scene.until(lambda: "has no part in the pair" in pair.primary.log(), "it says so")
    pair.primary.kill()
    pair.primary.options.append("--allow-data-loss")
    await pair.restart(pair.primary)
    await pair.stands(pair.primary, role="leader", serving=True)
    pair.primary.kill()
    pair.primary.options.remove("--allow-data-loss")
    await pair.restart(pair.primary)
    await pair.stands(pair.primary, role="leader", serving=True)
    again = pair.primary.extended("adel")
    again.send("message", content="kept", id="kept-1")
    assert again.until("ack", id="kept-1")["index"] == 1, "a retry is recognised"
    again.send("message", content="more", id="more-1")
    assert again.until("ack", id="more-1")["index"] == 2
    # The other node turns up with its disk: what it has beyond the backup is said again.
    await pair.restart(pair.secondary)
    await pair.paired()
    assert again.until("message", content="late")["index"] == 3
    ids = [said["id"] for said in map(_decode, exported(pair.secondary.data).splitlines())]
    assert ids == ["kept-1", "more-1", "late-1"]


@pytest_twisted.ensureDeferred
async def test_a_node_alone_is_backed_up_and_restored(start_node: Callable[..., Node], tmp_path: Path) -> None:
    node = start_node("--rate-limit=0")
    client = node.extended("adel")
    client.send("createroom", roomid="jokes")
    client.send("message", content="one", id="id-1")
    client.until("ack", id="id-1")
    file = tmp_path / "backup"
    done = await run_chatproto("backup", str(node.data), str(file))
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("1 messages in 2 rooms")
    again = await run_chatproto("backup", str(node.data), str(file))
    assert (again.returncode, again.stderr) == (1, f"chatproto: {file} is there already\n")
    client.say("two")
    agree(client)
    assert "2 messages" in (await run_chatproto("backup", "--replace", str(node.data), str(file))).stdout
    verified = await run_chatproto("backup", "--verify", str(file))
    assert (verified.returncode, verified.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("backup")] == ["backup"]
    refused = await run_chatproto("restore", str(file), str(node.data))
    assert refused.returncode == 1 and "is in use by another process" in refused.stderr
    other = start_node(data=await _restored_to(file, tmp_path / "other"))
    assert other.archive() == node.archive()
    # The sessions are over; the room waits for its owner.
    back = other.connect()
    back.send("hello", version=1, session=client.token, identity="adel", resume=[{"roomid": "jokes", "from": 1}])
    assert back.read()["code"] == "session-unknown"
    back.send("who", roomid="jokes")
    assert back.until("roomcontents", roomid="jokes")["owner"] == "adel"


async def _restored_to(file: Path, directory: Path) -> Path:
    assert (await run_chatproto("restore", str(file), str(directory))).returncode == 0
    return directory


@pytest_twisted.ensureDeferred
async def test_an_archive_is_imported_and_served(start_node: Callable[..., Node], tmp_path: Path) -> None:
    node = start_node("--rate-limit=0")
    client = node.extended("adel")
    client.send("createroom", roomid="jokes")
    client.send("join", roomid="jokes", stay=True)
    for number in range(3):
        client.send("message", content=f'"{number}\u2028\n', id=f"id-{number}", roomid=("jokes", HALL)[number % 2])
        client.until("ack", id=f"id-{number}")
    lines = exported(node.data)
    (tmp_path / "lines").write_bytes(lines)
    done = await run_chatproto("import", "--owner=adel", str(tmp_path / "lines"), str(tmp_path / "imported"))
    assert (done.returncode, done.stdout) == (0, "3 messages in 2 rooms\n"), done.stderr
    other = start_node(data=tmp_path / "imported")
    assert exported(other.data) == lines
    back = other.extended("adel")
    back.send("join", roomid="jokes")
    assert [said["content"] for said in back.collect("message", index=2)[-2:]] == ['"0\u2028\n', '"2\u2028\n']
    back.send("who", roomid="jokes")
    assert back.until("roomcontents", roomid="jokes")["owner"] == "adel"
    back.send("message", content='"2\u2028\n', id="id-2", roomid="jokes")
    assert back.until("ack", id="id-2")["index"] == 2, "a retry is known"
