"""`kill -9`, again and again, on one data directory: nothing acknowledged is lost, doubled or moved."""

import contextlib
import json
import random
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.integration.nodes import (
    WAIT_S_MAX,
    Client,
    Node,
    agree,
    free_port,
    line,
    roomchange,
    roomcontents,
    roomlist,
    settle,
)

HALL = "MainHall"
KILLS = 50
LOAD_S = (0.005, 0.2)
WINDOW = 60
StartNode = Callable[..., Node]


class Talker:
    """An extended client that keeps losing its connection: it resumes, retries what was not acknowledged, goes on.

    What it hears of its room must be the archive, from the first message on, without a repetition, and without
    a gap but those that it is told of.
    """

    def __init__(self, name: str, room: str) -> None:
        self.name = name
        self.room = room
        self.token = ""
        self.client: Client | None = None
        self.welcomed = False
        self.said = 0
        self.unacknowledged: dict[str, str] = {}
        self.acknowledged: dict[str, tuple[str, int, str]] = {}
        self.heard: dict[int, str] = {}
        self.next = 1
        self.forgotten: set[str] = set()

    def come(self, node: Node) -> None:
        self.client = node.connect()
        self.welcomed = False
        self.client.send("hello", version=1, session=self.token, resume=[{"roomid": self.room, "from": self.next}])

    def take(self, told: dict[str, Any]) -> None:
        match told["type"]:
            case "welcome":
                assert (told["session"], told["identity"]) == (self.token, self.name), "the session goes on"
                self.welcomed = True
                assert self.client is not None
                with contextlib.suppress(ConnectionError):
                    self.client.write(*(self._line(id, said) for id, said in self.unacknowledged.items()))
            case "message" if told["roomid"] == self.room:
                assert told["index"] == self.next, "neither a gap nor a repetition"
                self.heard[self.next] = told["id"]
                self.next += 1
            case "gap" if told["roomid"] == self.room:
                assert (told["from"], told["reason"]) == (self.next, "retention")
                self.next = told["to"] + 1
            case "ack":
                content = self.unacknowledged.pop(told["id"])
                self.acknowledged[told["id"]] = (told["roomid"], told["index"], content)
            case "error" if told["code"] == "forgotten":
                # Kept, then dropped by retention, before it was acknowledged.
                self.forgotten.add(told["id"])
                del self.unacknowledged[told["id"]]
            case "error" | "notice" | "gap" | "rewind":
                raise AssertionError(told)

    def talk(self) -> None:
        lines = []
        while self.welcomed and len(self.unacknowledged) < WINDOW:
            self.said += 1
            id, content = f"{self.name}-{self.said}", f"{self.said} {'x' * (self.said % 200)}"
            self.unacknowledged[id] = content
            lines.append(self._line(id, content))
        if lines and self.client is not None:
            with contextlib.suppress(ConnectionError):
                self.client.write(*lines)

    def _line(self, id: str, content: str) -> bytes:
        return line("message", content=content, id=id, roomid=self.room)


def restless_base_client(node: Node, dice: random.Random) -> Client:
    """Return a base client that has asked for a lot of acts, so that they mix with the messages."""
    client = node.connect()
    lines = []
    for _ in range(60):
        room = f"room{dice.randrange(5)}"
        lines.append(
            dice.choice(
                [
                    line("createroom", roomid=room),
                    line("join", roomid=room),
                    line("join", roomid=HALL),
                    line("delete", roomid=room),
                    line("identitychange", identity=f"base{dice.randrange(3)}"),
                    line("message", content="from a base client"),
                ]
            )
        )
    client.write(*lines)
    return client


def live(node: Node, talkers: list[Talker], dice: random.Random, load_s: float) -> None:
    """Load a node for a while, then kill it, and read what it had said by then."""
    for talker in talkers:
        talker.come(node)
    restless = restless_base_client(node, dice)
    end = time.monotonic() + load_s
    with selectors.DefaultSelector() as selector:
        for talker in talkers:
            assert talker.client is not None
            selector.register(talker.client.socket, selectors.EVENT_READ, talker)
        while (left := end - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                key.data.take(key.data.client.read())
                while b"\n" in key.data.client.unread:
                    key.data.take(key.data.client.read())
                key.data.talk()
    node.kill()
    for talker in talkers:
        assert talker.client is not None
        for told in talker.client.read_to_end().splitlines(keepends=True):
            if told.endswith(b"\n"):
                talker.take(json.loads(told))
        talker.client.close()
    restless.close()


def check_archive(node: Node, talkers: list[Talker]) -> int:
    archived = node.archive()
    by_room: dict[str, list[dict[str, Any]]] = {}
    for said in archived:
        by_room.setdefault(said["room"], []).append(said)
    for talker in talkers:
        room = by_room[talker.room]
        first, end = room[0]["index"], room[-1]["index"]
        assert [said["index"] for said in room] == list(range(first, end + 1)), "no gap"
        assert talker.next <= end + 1
        ids = {said["index"]: said["id"] for said in room}
        assert {at: id for at, id in talker.heard.items() if at >= first and ids[at] != id} == {}
        ours = [int(said["id"].rpartition("-")[2]) for said in room if said["identity"] == talker.name]
        assert ours == list(range(ours[0], ours[0] + len(ours))), "each in the order said"
    assert not [id for id, times in Counter(said["id"] for said in archived).items() if times > 1], "each once"
    places = {said["id"]: (said["room"], said["index"], said["content"]) for said in archived}
    for talker in talkers:
        first = by_room[talker.room][0]["index"]
        for id, place in talker.acknowledged.items():
            if place[1] >= first:
                assert places.get(id) == place, f"{id} was acknowledged"
    return len(archived)


def storm(node: Node, kills: int) -> list[Talker]:
    """Kill a node under load, again and again; return the clients, whose messages are all acknowledged in the end."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    node.start()
    talkers = [Talker("alice", "attic"), Talker("bob", "attic"), Talker("carol", "cellar"), Talker("dave", HALL)]
    owner = node.extended("owner")
    for room in ("attic", "cellar"):
        owner.send("createroom", roomid=room)
    settle(owner)
    for talker in talkers:
        talker.token = node.extended(talker.name, resume=[{"roomid": talker.room, "from": 1}]).token
    settle(owner)
    node.kill()
    for number in range(kills):
        if number % 10 == 9:
            # Killed while it starts; there is nobody to tell.
            node.launch()
            time.sleep(dice.uniform(0, 0.3))
            node.kill()
        node.start()
        live(node, talkers, dice, dice.uniform(*LOAD_S))
        if number % 10 == 0:
            check_archive(node, talkers)
    node.start()
    for talker in talkers:
        talker.come(node)
        assert talker.client is not None
        while not talker.welcomed or talker.unacknowledged:
            talker.take(talker.client.read())
    archived = check_archive(node, talkers)
    acknowledged = sum(len(talker.acknowledged) for talker in talkers)
    forgotten = sum(len(talker.forgotten) for talker in talkers)
    assert acknowledged + forgotten == sum(talker.said for talker in talkers), "in the end everything said was kept"
    assert acknowledged > kills * 10, "there was load"
    print(f"{kills} kills, {acknowledged} acknowledged, {forgotten} forgotten, {archived} archived")
    return talkers


SNAPSHOTS = {"chatproto.log.single.SNAPSHOT_ENTRIES": 500}


def test_fifty_kills_under_load_lose_and_double_nothing(make_node: StartNode) -> None:
    node = make_node("--rate-limit=0", constants=SNAPSHOTS)
    talkers = storm(node, KILLS)
    assert node.query("SELECT count(*) FROM snapshot") == [(1,)]
    assert all(talker.heard.keys() == {*range(1, talker.next)} for talker in talkers)
    assert {said["index"] for said in node.archive("attic")} >= talkers[0].heard.keys()
    assert not any(talker.forgotten for talker in talkers)


def test_kills_while_retention_drops_and_purges(make_node: StartNode) -> None:
    node = make_node(
        "--rate-limit=0",
        "--retain=300",
        constants={**SNAPSHOTS, "chatproto.services.node.RETENTION_INTERVAL_S": 0.05},
    )
    talkers = storm(node, KILLS // 4)
    for talker in talkers:
        assert len(node.archive(talker.room)) >= 300
    assert node.archive(HALL)[0]["index"] > 1, "some were dropped"


def state(client: Client, rooms: list[str]) -> list[bytes]:
    settle(client)
    client.send("list")
    for room in rooms:
        client.send("who", roomid=room)
    return client.drain()


def test_rooms_owners_and_archives_are_back_exactly(start_node: StartNode) -> None:
    node = start_node()
    owner, member, base = node.extended("owner"), node.extended("member"), node.base("base")
    rooms = ["attic", "cellar", "emptied", "basement", "gone"]
    for room in [*rooms[:3], "gone"]:
        owner.send("createroom", roomid=room)
    base.send("createroom", roomid="basement")
    settle(owner, base)
    for room in ("attic", "cellar"):
        member.send("join", roomid=room, stay=True)
    owner.send("join", roomid="attic")
    settle(owner, member)
    for number in range(50):
        owner.send("message", content=f"one {number} 🦊", id=f"owner-{number}")
        member.send("message", content=f"two {number} \x00", id=f"member-{number}", roomid="cellar")
        base.say(f"three {number}")
    settle(owner, member, base)
    owner.send("join", roomid="gone")
    settle(owner)
    owner.send("message", content="x", id="gone-1")
    owner.send("delete", roomid="gone")
    owner.send("join", roomid="attic")
    owner.send("identitychange", identity="boss")
    settle(owner)
    owner.send("kick", roomid="cellar", identity="member", time=1000)
    base.send("quit")
    base.read_to_end()
    settle(owner, member)
    base = node.base("base2")
    base.send("createroom", roomid="basement")
    settle(base)
    base.send("join", roomid="basement")
    settle(base)
    before_state, before_archive = state(member, rooms), node.archive()
    assert before_state[0] == roomlist((HALL, 1), ("attic", 2), ("cellar", 0), ("emptied", 0), ("basement", 1))
    assert before_state[1] == roomcontents("attic", ["member", "boss"], "boss")
    assert before_state[4] == roomcontents("basement", ["base2"], "base2")
    for _ in range(2):
        node.kill()
        assert node.archive() == before_archive
        node.start()
        again = [node.connect(), node.connect()]
        for client, before in zip(again, (owner, member), strict=True):
            client.hello(session=before.token)
            settle(client)
        owner, member = again
        # Base clients, whose sessions ended with the node, have left after that.
        agree(member)
        now = state(member, rooms)
        # The base client's session ended with its connection; its room keeps the name of its owner.
        assert now[0] == roomlist((HALL, 1), ("attic", 2), ("cellar", 0), ("emptied", 0), ("basement", 0))
        assert now[1:4] == before_state[1:4]
        assert now[4] == roomcontents("basement", [], "base2")
        assert now[5] == before_state[5]
        assert node.archive() == before_archive
    member.send("join", roomid="cellar")
    assert b'"banned"' in member.drain()[-1], "a ban holds across restarts"
    base = node.base("base2")
    base.send("delete", roomid="basement")
    assert base.drain() == [roomlist((HALL, 2), ("attic", 2), ("cellar", 0), ("emptied", 0))], "the owner is back"
    owner.send("createroom", roomid="gone")
    owner.send("join", roomid="gone")
    settle(owner)
    owner.send("message", content="y", id="gone-2")
    assert owner.until("ack")["index"] == 2, "numbers go on after a deleted room's"
    settle(owner)
    assert member.drain()[-1] == roomchange("boss", "attic", "gone")


def test_who_comes_back_at_once_finds_no_ghosts(make_node: StartNode) -> None:
    """Sessions that ended with the node do not fill it up; the very first bytes after a restart are served."""
    capacity = 20
    port = free_port()
    node = make_node(f"--capacity={capacity}", listen=f"tcp:{port}:interface=127.0.0.1:backlog=100")
    node.start()
    for _ in range(capacity):
        node.base()
    node.kill()
    node.launch()
    back: list[Client] = []
    end = time.monotonic() + WAIT_S_MAX
    while len(back) < capacity:
        assert time.monotonic() < end
        with contextlib.suppress(ConnectionError):
            back.append(node.take(socket.create_connection(("127.0.0.1", port), WAIT_S_MAX)))
            back[-1].send("list")
    told = [client.read_line() for client in back]
    assert [one for one in told if b'"newidentity"' not in one] == []
