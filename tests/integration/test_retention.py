"""Retention and snapshots: what is dropped is told, stays dropped, and frees its place; what is kept stays."""

import random
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest

from chatproto.log.single import SNAPSHOT_ENTRIES
from tests.integration.nodes import (
    Client,
    Node,
    agree,
    fill,
    line,
    message,
    numbered,
    roomcontents,
    roomlist,
    settle,
    wait_until,
)

HALL = "MainHall"
StartNode = Callable[..., Node]
SOON = {"chatproto.services.node.RETENTION_INTERVAL_S": 0.1}


def say(client: Client, count: int, size: int = 10, prefix: str = "id", room: str = HALL) -> None:
    """Say messages one by one, so that each is a row of its own."""
    for number in range(1, count + 1):
        client.send("message", content=f"{number} ".ljust(size, "x"), id=f"{prefix}-{number}", roomid=room)
        client.until("ack")


def say_at_once(
    client: Client, count: int, size: int = 10, prefix: str = "id", rooms: tuple[str, ...] = (HALL,)
) -> None:
    """Say messages as fast as they are acknowledged; in several rooms by turns, each is a row of its own."""
    for start in range(1, count + 1, 500):
        numbers = range(start, min(start + 500, count + 1))
        client.write(
            *(
                line(
                    "message",
                    content=f"{number} ".ljust(size, "x"),
                    id=f"{prefix}-{number}",
                    roomid=rooms[number % len(rooms)],
                )
                for number in numbers
            )
        )
        for _ in numbers:
            client.until("ack")


def used_bytes(node: Node) -> int:
    (pages,), (free,), (size,) = (
        node.query(f"PRAGMA {name}")[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def stored(node: Node, room: str = HALL) -> int:
    """Return how many messages of a room are on the disk, whether or not they are still told."""
    return int(node.query(f"SELECT coalesce(sum(count), 0) FROM log WHERE position > 0 AND room = '{room}'")[0][0])


def indexes(node: Node, room: str = HALL) -> list[int]:
    return [said["index"] for said in node.archive(room)]


def gaps(told: list[dict[str, Any]]) -> list[tuple[int, int, str]]:
    return [(one["from"], one["to"], one["reason"]) for one in told if one["type"] == "gap"]


def test_a_count_is_kept_of_each_room_and_the_gap_is_told(make_node: StartNode) -> None:
    node = make_node()
    node.start()
    client = node.extended("alice")
    client.send("createroom", roomid="attic")
    client.send("join", roomid="attic", stay=True)
    settle(client)
    say(client, 50, prefix="hall")
    say(client, 30, prefix="attic", room="attic")
    token = client.token
    node.terminate()

    node.options = ["--retain=10"]
    node.start()
    wait_until(lambda: indexes(node) == [*range(41, 51)], "ten are told")
    wait_until(lambda: indexes(node, "attic") == [*range(21, 31)], "ten are told of the other room")
    wait_until(lambda: stored(node) == stored(node, "attic") == 10, "the others are gone from the disk")

    again = node.connect()
    again.hello(session=token, resume=[{"roomid": HALL, "from": 5}, {"roomid": "attic", "from": 25}])
    told = again.messages()
    assert gaps(told) == [(5, 40, "retention")]
    assert numbered(one for one in told if one.get("roomid") == HALL) == [*range(41, 51)]
    assert numbered(one for one in told if one.get("roomid") == "attic") == [*range(25, 31)]
    again.send("history", roomid=HALL, limit=5, **{"from": 1})
    told = again.messages()
    assert gaps(told) == [(1, 40, "retention")]
    assert [(numbered(one["messages"]), one["more"]) for one in told if one["type"] == "history"] == [
        ([*range(41, 46)], True)
    ]
    again.send("history", roomid=HALL, limit=100, before=45)
    (page,) = again.messages()
    assert (numbered(page["messages"]), page["more"]) == ([*range(41, 45)], False)
    again.send("status")
    (status,) = again.messages()
    assert (status["archived"], status["transferred"]) == (80, 80)
    assert node.base().greeting[4:] == [message("alice", f"{number} ".ljust(10, "x")) for number in range(41, 51)]

    # Said once already, and dropped since; the id is not free again.
    again.send("message", content="1 ".ljust(10, "x"), id="hall-1", roomid=HALL)
    answer = again.until("error")
    assert (answer["code"], answer["id"]) == ("forgotten", "hall-1")
    again.send("message", content="41 ".ljust(10, "x"), id="hall-41", roomid=HALL)
    assert again.until("ack")["index"] == 41
    say(again, 1, prefix="after")
    assert indexes(node)[-1] == 51

    # Afterwards, without retention, what was dropped stays dropped and the numbers go on.
    for how in ("kill", "terminate"):
        node.options = []
        getattr(node, how)()
        node.start()
        assert indexes(node) == [*range(41, 52)]
        assert indexes(node, "attic") == [*range(21, 31)]
        client = node.connect()
        client.hello(session=token, resume=[{"roomid": HALL, "from": 1}])
        told = client.messages()
        assert gaps(told) == [(1, 40, "retention")]
        assert numbered(one for one in told if one.get("roomid") == HALL) == [*range(41, 52)]


def test_rooms_of_base_clients_are_purged_too(make_node: StartNode) -> None:
    """No client chose an id here, and several rooms are dropped from at once."""
    node = make_node("--session-grace=0")
    node.start()
    client = node.base("base")
    rooms = [HALL, "attic", "cellar"]
    for room in rooms:
        client.send("createroom", roomid=room)
        client.send("join", roomid=room)
        for number in range(40):
            client.say(f"{number}")
            client.drain()
    node.terminate()
    node.options = ["--retain=10"]
    node.start()
    for room in rooms:
        wait_until(lambda room=room: len(indexes(node, room)) == 10, f"ten of {room} are told")
    wait_until(lambda: [stored(node, room) for room in rooms] == [10] * 3, "the others are gone from the disk", 5)


def test_an_age_is_kept(make_node: StartNode) -> None:
    node = make_node()
    node.start()
    client = node.extended("alice")
    say(client, 5, prefix="old")
    said_at = time.time()
    node.terminate()
    wait_until(lambda: time.time() > said_at + 2.2, "they are old")
    node.start()
    client = node.extended("bob")
    say(client, 5, prefix="new")
    node.kill()
    node.options = ["--retain=2s"]
    node.start()
    wait_until(lambda: indexes(node)[:1] != [1], "the old ones are dropped")
    # On a machine that takes seconds to start a process, the new ones are old as well by now.
    assert indexes(node) == [6, 7, 8, 9, 10] or time.time() > said_at + 4


def test_bytes_are_kept_and_the_disk_is_used_again(make_node: StartNode) -> None:
    node = make_node("--rate-limit=0")
    node.start()
    client = node.extended("alice")
    sizes = []
    for round in range(4):
        say_at_once(client, 400, 5000, prefix=f"round{round}")
        client.send("createroom", roomid="attic")
        client.send("join", roomid="attic", stay=True)
        settle(client)
        say_at_once(client, 100, 5000, prefix=f"attic{round}", rooms=("attic",))
        assert used_bytes(node) > 2_000_000
        client.close()
        node.terminate()
        node.options = ["--rate-limit=0", "--retain=1MB"]
        node.start()
        wait_until(lambda: used_bytes(node) <= 1_000_000, "the oldest ones are gone from the disk")
        assert used_bytes(node) > 700_000, "and no more than need be"
        assert indexes(node)[-1:] in ([], [400 * (round + 1)])
        assert indexes(node, "attic")[-1] == 100 * (round + 1), "the newest are kept"
        node.terminate()
        sizes.append((node.data / "log.sqlite").stat().st_size)
        node.start()
        client = node.extended("alice", history="none")
    assert sizes[-1] < 1.5 * sizes[0], "the place is used again"


def test_retention_while_people_chat(make_node: StartNode) -> None:
    node = make_node("--retain=50", "--rate-limit=0", constants=SOON)
    node.start()
    client, listener = node.extended("alice"), node.extended("bob")
    heard: list[int] = []
    for round in range(8):
        say(client, 100, prefix=f"round{round}")
        heard += numbered(listener.messages())
        wait_until(lambda: stored(node) <= 50, "the disk holds fifty")
    assert heard == [*range(1, 801)], "who is there misses nothing"
    newcomer = node.connect()
    newcomer.hello(resume=[{"roomid": HALL, "from": 1}])
    told = newcomer.messages()
    assert gaps(told) == [(1, 750, "retention")]
    assert numbered(told) == [*range(751, 801)]


def test_a_long_purge_goes_on_after_the_next_snapshot(make_node: StartNode) -> None:
    node = make_node("--rate-limit=0", constants={**SOON, "chatproto.log.single.SNAPSHOT_ENTRIES": 50})
    node.start()
    client = node.extended("alice")
    for room in ("attic", "cellar"):
        client.send("createroom", roomid=room)
        client.send("join", roomid=room, stay=True)
    settle(client)
    say_at_once(client, 20_000, rooms=("attic", "cellar"))
    assert node.query("SELECT count(*) FROM log WHERE position > 0")[0][0] > 10_000, "many rows"
    token = client.token
    node.terminate()
    node.options += ["--retain=10"]
    node.start()
    client = node.connect()
    client.hello(session=token, history="none")
    # Snapshots come thick and fast, for another room.
    for number in range(20):
        say_at_once(client, 60, prefix=f"more{number}")
    for room in ("attic", "cellar"):
        wait_until(lambda room=room: stored(node, room) == 10, f"the others of {room} are gone from the disk", 10)


def test_a_deleted_rooms_archive_frees_its_place(make_node: StartNode) -> None:
    node = make_node("--retain=100000", "--rate-limit=0", constants=SOON)
    node.start()
    client = node.extended("alice")
    client.send("createroom", roomid="attic")
    client.send("join", roomid="attic", stay=True)
    settle(client)
    say_at_once(client, 200, 5000, rooms=("attic",))
    client.send("delete", roomid="attic")
    settle(client)
    assert indexes(node, "attic") == []
    # What is gone is purged with the next snapshot, which comes at the latest after so many entries.
    fill(node, SNAPSHOT_ENTRIES + 1000, 20)
    wait_until(lambda: stored(node, "attic") == 0, "it is gone from the disk")


@pytest.mark.parametrize("absurd", [2**64, 10**40])
def test_an_absurd_wish_does_not_stop_snapshots(make_node: StartNode, absurd: int) -> None:
    node = make_node("--retain=50", constants=SOON)
    node.start()
    client = node.connect()
    client.send("hello", version=1, history=absurd, resume=[{"roomid": HALL, "from": absurd}])
    if client.read()["type"] != "welcome":
        client = node.extended()
    settle(client)
    client.send("createroom", roomid="attic")
    client.send("join", roomid="attic", history=absurd, **{"from": absurd})
    settle(client)
    client.send("kick", roomid="attic", identity="nobody", time=absurd)
    speaker = node.extended("speaker")
    say(speaker, 100)
    wait_until(lambda: stored(node) <= 50, "snapshots are made, and purge")
    node.kill()
    node.start()
    assert len(indexes(node)) == 50


# Snapshots


def test_a_restart_reads_only_the_tail(make_node: StartNode) -> None:
    node = make_node("--rate-limit=0", "--in-flight-max=20000")
    node.start()
    owner = node.extended("owner", history="none")
    for room in ("attic", "cellar"):
        owner.send("createroom", roomid=room)
    owner.send("join", roomid="attic")
    settle(owner)
    say(owner, 3, prefix="before", room="attic")
    fill(node, SNAPSHOT_ENTRIES + 5000, 20)
    wait_until(lambda: node.query("SELECT idx FROM snapshot"), "there is a snapshot")
    ((index,),) = node.query("SELECT idx FROM snapshot")
    assert index >= SNAPSHOT_ENTRIES
    wait_until(
        lambda: node.query(f"SELECT count(*) FROM log WHERE position = 0 AND idx <= {index}") == [(0,)],
        "acts before it are purged",
    )
    owner.send("createroom", roomid="later")
    owner.send("identitychange", identity="boss")
    settle(owner)
    watcher = node.base("watcher", "attic")
    before = [watcher, owner]
    states = []
    for client in before:
        client.drain()
        client.send("list")
        client.send("who", roomid="attic")
        client.send("who", roomid="cellar")
        states.append(client.drain())
    archived = node.archive("attic")
    node.kill()
    # A row that a start from the tail never looks at: reading it would be refused as damage.
    database = sqlite3.connect(node.data / "log.sqlite")
    with database:
        rows = database.execute("UPDATE log SET count = count + 7 WHERE room = 'MainHall' AND idx < 20000").rowcount
    database.close()
    assert rows > 0
    node.start()
    client = node.connect()
    client.hello(session=owner.token, resume=[{"roomid": "attic", "from": 1}], history="none")
    assert numbered(one for one in client.messages() if one.get("roomid") == "attic") == [1, 2, 3]
    # Base clients, whose sessions ended with the node, have left after that.
    agree(client)
    client.send("list")
    client.send("who", roomid="attic")
    client.send("who", roomid="cellar")
    rooms = [(HALL, 0), ("attic", 1), ("cellar", 0), ("later", 0)]
    assert client.drain() == [
        roomlist(*rooms),
        roomcontents("attic", ["boss"], "boss"),
        roomcontents("cellar", [], "boss"),
    ]
    assert states[1][1] == roomcontents("attic", ["boss", "watcher"], "boss")
    assert node.archive("attic") == archived
    # Ids from before the snapshot are known still.
    client.send("message", content="2 ".ljust(10, "x"), id="before-2", roomid="attic")
    assert client.until("ack")["index"] == 2
    client.send("message", content="other", id="before-3", roomid="attic")
    assert client.until("error")["code"] == "id-reused"


def test_many_snapshots_many_restarts(make_node: StartNode) -> None:
    """With a snapshot every few entries and retention all the time, ids, numbers and rooms hold over restarts."""
    dice = random.Random(7)
    node = make_node(
        "--retain=30",
        "--rate-limit=0",
        constants={**SOON, "chatproto.log.single.SNAPSHOT_ENTRIES": 7},
    )
    places: dict[str, tuple[str, int]] = {}
    last = {HALL: 0, "attic": 0}
    token = ""
    for round in range(12):
        node.start()
        client = node.connect()
        if token:
            client.hello(session=token, history="none")
        else:
            token = client.hello(identity="alice", history="none")["session"]
            client.send("createroom", roomid="attic")
            client.send("join", roomid="attic", stay=True)
        settle(client)
        for number in range(40):
            room = dice.choice([HALL, "attic"])
            id = f"{round}-{number}"
            client.send("message", content=id, id=id, roomid=room)
            ack = client.until("ack")
            last[room] += 1
            assert (ack["roomid"], ack["index"]) == (room, last[room])
            places[id] = (room, last[room])
            if dice.random() < 0.2:
                client.send("createroom", roomid=f"room{dice.randrange(3)}")
                client.send("delete", roomid=f"room{dice.randrange(3)}")
            if dice.random() < 0.3:
                again = dice.choice(list(places))
                client.send("message", content=again, id=again, roomid=HALL)
                answer = client.read()
                while answer.get("id") != again or answer["type"] == "message":
                    answer = client.read()
                in_room, index = places[again]
                if answer["type"] == "ack":
                    assert (answer["roomid"], answer["index"]) == (in_room, index)
                else:
                    assert answer["code"] == "forgotten"
                    assert index <= last[in_room] - 30, "it is among those kept"
        settle(client)
        client.close()
        node.kill() if dice.random() < 0.7 else node.terminate()
    for room, end in last.items():
        found = indexes(node, room)
        assert found == [*range(found[0], end + 1)]
        assert len(found) >= 30
    assert stored(node) < 500
