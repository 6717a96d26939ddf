"""The extensions over a real socket: hello, acks, retries, resuming, histories, several rooms, heartbeats."""

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.nodes import (
    Client,
    Node,
    line,
    message,
    newidentity,
    numbered,
    roomchange,
    roomcontents,
    roomlist,
    settle,
    wait_until,
)

HALL = "MainHall"
NOTHING: list[Any] = []
StartNode = Callable[..., Node]
PAGE_BYTES_MAX = 64 * 1024


def without(told: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in names}


def errors(lines: list[dict[str, Any]]) -> list[str]:
    return [told["code"] for told in lines if told["type"] == "error"]


def acks(lines: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(told["id"], told["roomid"], told["index"]) for told in lines if told["type"] == "ack"]


def say(client: Client, content: str, id: str, **fields: Any) -> dict[str, Any]:
    """Say something and return its ack."""
    client.send("message", content=content, id=id, **fields)
    return client.until("ack", id=id)


# Hello


def test_hello_is_welcomed_before_the_greeting(node: Node) -> None:
    sender = node.base("sender")
    sender.say("one")
    settle(sender)
    client = node.connect()
    client.send("hello", version=1, identity="alice")
    welcome, *greeting = client.messages()
    assert list(welcome) == [
        "type",
        "version",
        "server",
        "session",
        "identity",
        "epoch",
        "role",
        "redundancy",
        "servers",
    ]
    assert len(welcome["session"]) >= 22, "a token that nobody guesses"
    assert without(welcome, "session") == {
        "type": "welcome",
        "version": 1,
        "server": "primary",
        "identity": "alice",
        "epoch": 1,
        "role": "leader",
        "redundancy": "single",
        "servers": [],
    }
    *greeting, archived = greeting
    assert greeting == [
        {"type": "newidentity", "former": "", "identity": "alice"},
        {"type": "roomchange", "identity": "alice", "former": "", "roomid": HALL},
        {"type": "roomlist", "rooms": [{"roomid": HALL, "count": 2}]},
        {"type": "roomcontents", "roomid": HALL, "identities": ["sender", "alice"], "owner": ""},
    ]
    assert list(archived) == ["type", "identity", "content", "roomid", "index", "epoch", "id", "time"]
    assert (archived["content"], archived["index"], archived["epoch"]) == ("one", 1, 1)
    assert 1 <= len(archived["id"]) <= 64
    assert abs(archived["time"] - time.time()) < 60
    assert sender.drain() == [roomchange("alice", "", HALL)], "base clients see nothing but base lines"


def test_welcome_tells_name_and_servers(start_node: StartNode) -> None:
    node = start_node("--name=east", "--advertise=chat.example:4444")
    welcome = node.extended().welcome
    assert (welcome["server"], welcome["servers"]) == ("east", ["chat.example:4444"])


def test_a_hello_within_the_silence_causes_no_guest_noise(start_node: StartNode) -> None:
    node = start_node("--greet-after=5")
    client = node.connect()
    client.hello(identity="alice")
    assert [told["type"] for told in client.messages()] == ["newidentity", "roomchange", "roomlist", "roomcontents"]


def test_a_late_hello_makes_another_session(node: Node) -> None:
    other = node.base("other")
    client = node.base()
    settle(other)
    client.hello(identity="alice")
    kinds = [told["type"] for told in client.messages()]
    assert kinds[:4] == ["newidentity", "roomchange", "roomlist", "roomcontents"]
    assert other.drain() == [roomchange("guest1", HALL, ""), roomchange("alice", "", HALL)]
    assert say(client, "hi", "id-1")["index"] == 1
    assert other.drain() == [message("alice", "hi")]
    other.send("who", roomid=HALL)
    assert other.drain() == [roomcontents(HALL, ["other", "alice"])]


def test_a_second_hello_is_refused(node: Node) -> None:
    client = node.extended("alice")
    client.send("hello", version=1)
    assert errors(client.messages()) == ["already-welcome"]


@pytest.mark.parametrize("version", [0, 2, -1, 10**12])
def test_another_version_is_refused(node: Node, version: int) -> None:
    client = node.connect()
    client.send("hello", version=version)
    (told,) = client.lines_to_end()
    assert json.loads(told)["code"] == "version"


@pytest.mark.parametrize(
    ("wanted", "code"), [("other", "identity-taken"), ("x", "identity-invalid"), ("ä" * 5, "identity-invalid")]
)
def test_a_name_that_cannot_be_had_makes_a_guest(node: Node, wanted: str, code: str) -> None:
    node.base("other")
    client = node.connect()
    welcome = client.hello(identity=wanted)
    assert welcome["identity"] == "guest1"
    told = client.messages()
    assert errors(told) == [code]
    assert [one["type"] for one in told if one["type"] != "error"] == [
        "newidentity",
        "roomchange",
        "roomlist",
        "roomcontents",
    ]
    client.send("identitychange", identity=wanted)
    assert [one.get("code", one["type"]) for one in client.messages()] == ["newidentity", code]


@pytest.mark.parametrize(("history", "heard"), [("all", 5), ("none", 0), (2, 2), (0, 0), (10**6, 5), (None, 3)])
def test_hello_says_how_much_history_now_and_later(start_node: StartNode, history: Any, heard: int) -> None:
    node = start_node("--history=3")
    sender = node.base("sender")
    sender.send("createroom", roomid="attic")
    for _ in (HALL, "attic"):
        sender.say(*"abcde")
        sender.send("join", roomid="attic")
    settle(sender)
    client = node.extended(**({} if history is None else {"history": history}))
    indexes = list(range(6 - heard, 6))
    assert numbered(json.loads(told) for told in client.greeting) == indexes
    client.send("join", roomid="attic")
    assert numbered(client.messages()) == indexes
    client.send("join", roomid=HALL, history=1)
    assert numbered(client.messages()) == [5]
    client.send("join", roomid="attic", **{"from": 4})
    assert numbered(client.messages()) == [4, 5]


def test_a_full_server_tells_an_extended_client_so(start_node: StartNode) -> None:
    node = start_node("--capacity=1")
    node.base()
    client = node.connect()
    client.send("hello", version=1)
    (told,) = client.lines_to_end()
    assert json.loads(told)["type"] in ("error", "redirect")
    assert "full" in (json.loads(told).get("code"), json.loads(told).get("reason"))


# Acks


def test_an_ack_tells_the_place(node: Node) -> None:
    client, other = node.extended("alice"), node.extended("bob")
    settle(client)
    client.send("message", content="hi", id="id-1")
    told = client.messages()
    assert sorted(one["type"] for one in told) == ["ack", "message"]
    (ack,) = (one for one in told if one["type"] == "ack")
    assert ack == {"type": "ack", "id": "id-1", "roomid": HALL, "index": 1, "epoch": 1, "durable": 1}
    (said,) = other.messages()
    assert without(said, "time") == {
        "type": "message",
        "identity": "alice",
        "content": "hi",
        "roomid": HALL,
        "index": 1,
        "epoch": 1,
        "id": "id-1",
    }
    client.send("message", content="no id")
    assert [one["type"] for one in client.messages()] == ["message"], "nothing to acknowledge"


def test_what_is_acknowledged_survives_kill_9_at_that_moment(node: Node) -> None:
    for number in range(5):
        client = node.extended()
        ack = say(client, f"{number}", f"id-{number}")
        node.kill()
        archived = node.archive()[-1]
        assert (archived["id"], archived["index"]) == (f"id-{number}", ack["index"])
        node.start()


def test_a_retry_adds_nothing_over_whatever_connection(node: Node) -> None:
    client, other = node.extended("alice"), node.extended("bob")
    settle(client)
    client.send("message", content="one", id="id-1")
    client.send("message", content="one", id="id-1")
    told = client.messages()
    assert acks(told) == [("id-1", HALL, 1)] * 2
    assert numbered(told) == [1]
    first = say(client, "one", "id-1")
    assert say(other, "one", "id-1") == first, "whoever asks"
    settle(client)
    assert say(client, "two", "id-2")["index"] == 2
    node.kill()
    node.start()
    again = node.extended()
    assert say(again, "one", "id-1") == first
    assert say(again, "two", "id-2")["index"] == 2
    again.drain()
    assert [(one["index"], one["content"]) for one in node.archive()] == [(1, "one"), (2, "two")]


def test_an_id_used_for_something_else_is_refused(node: Node) -> None:
    client = node.extended("alice")
    say(client, "one", "id-1")
    client.drain()
    client.send("message", content="other", id="id-1")
    assert client.until("error")["code"] == "id-reused"
    client.write(line("message", content="a", id="id-2"), line("message", content="b", id="id-2"))
    told = client.collect("error")
    assert (told[-1]["code"], told[-1]["id"]) == ("id-reused", "id-2")
    client.drain()
    assert [one["content"] for one in node.archive()] == ["one", "a"]


@pytest.mark.parametrize("id", ["", "x" * 65])
def test_an_id_has_1_to_64_characters(node: Node, id: str) -> None:
    client = node.extended()
    client.send("message", content="x", id=id)
    client.send("private", to="guest1", content="x", id=id)
    assert errors(client.messages()) == ["id-invalid"] * 2
    for good in ("x" * 64, "ü" * 64, '"\\\n\x00', "🦊"):
        assert say(client, "x", good)["id"] == good
        assert say(client, "x", good)["id"] == good


def test_a_message_that_is_too_long_is_refused_by_its_id(start_node: StartNode) -> None:
    client = start_node("--message-chars-max=10").extended()
    client.send("message", content="x" * 11, id="id-1")
    (told,) = client.messages()
    assert (told["code"], told["id"]) == ("content-too-long", "id-1")


# Resuming


def test_a_session_is_resumed_on_a_new_connection_and_nobody_notices(node: Node) -> None:
    other = node.base("other")
    other.send("createroom", roomid="attic")
    client = node.extended("alice")
    client.send("join", roomid="attic", stay=True)
    say(client, "one", "id-1")
    settle(client, other)
    client.reset()
    other.say("missed in the hall")
    other.send("join", roomid="attic")
    other.say("missed in the attic")
    settle(other)
    again = node.connect()
    again.send(
        "hello",
        version=1,
        session=client.token,
        identity="ignored",
        resume=[{"roomid": HALL, "from": 1}, {"roomid": "attic", "from": 2, "epoch": 1}],
    )
    welcome, *told = again.messages()
    assert (welcome["type"], welcome["identity"], welcome["session"]) == ("welcome", "alice", client.token)
    assert told[:2] == [
        {"type": "roomcontents", "roomid": HALL, "identities": ["alice"], "owner": ""},
        {"type": "roomcontents", "roomid": "attic", "identities": ["alice", "other"], "owner": "other"},
    ]
    assert [(one["type"], one["roomid"], one["index"], one["content"]) for one in told[2:]] == [
        ("message", HALL, 1, "missed in the hall"),
        ("message", "attic", 2, "missed in the attic"),
    ]
    assert other.drain() == NOTHING
    assert say(again, "two", "id-2")["roomid"] == "attic", "still the room joined last"
    assert other.drain() == [message("alice", "two")]


def test_what_was_sent_into_a_broken_connection_is_retried_once_each(node: Node) -> None:
    client = node.extended("alice")
    told: list[dict[str, Any]] = []
    for attempt in range(5):
        for number in range(300):
            client.send("message", content=f"{number}", id=f"id-{number}")
        if attempt < 4:
            for _ in range(attempt * 40):
                told.append(client.read())
            client.reset()
            client, before = node.connect(), client
            client.hello(session=before.welcome["session"], resume=[{"roomid": HALL, "from": len(numbered(told)) + 1}])
    while len(numbered(told)) < 300:
        told.append(client.read())
    told += client.messages()
    assert numbered(told) == list(range(1, 301)), "neither twice nor a gap"
    assert [one["content"] for one in node.archive()] == [f"{number}" for number in range(300)]
    places = {id: index for id, _, index in acks(told)}
    assert places == {f"id-{number}": number + 1 for number in range(300)}


def test_nothing_to_resume_is_nothing_to_hear(node: Node) -> None:
    client = node.extended("alice")
    say(client, "one", "id-1")
    client.drain()
    client.reset()
    again = node.connect()
    again.hello(session=client.token, resume=[{"roomid": HALL, "from": 2}])
    assert [told["type"] for told in again.messages()] == ["roomcontents"]


def test_a_session_is_over_after_the_grace(start_node: StartNode) -> None:
    node = start_node("--session-grace=0.3")
    other, client = node.base("other"), node.extended("alice")
    settle(other)
    broken = time.monotonic()
    client.reset()
    assert other.read_line() == roomchange("alice", HALL, "")
    assert 0.25 < time.monotonic() - broken < 5
    again = node.connect()
    again.send("hello", version=1, session=client.token, identity="alice")
    told = again.messages()
    assert [one["code"] for one in told if one["type"] == "notice"] == ["session-unknown"]
    (welcome,) = (one for one in told if one["type"] == "welcome")
    assert welcome["identity"] == "alice", "a new session under the name asked for"
    assert welcome["session"] != client.token


def test_a_token_that_nobody_got_is_unknown(node: Node) -> None:
    for token in ("", "x", "0" * 32, "\u0000", "ü" * 3000):
        client = node.connect()
        client.send("hello", version=1, session=token)
        told = client.messages()
        assert [one["type"] for one in told if one["type"] == "welcome"] == ["welcome"]
        if token:
            assert [one["code"] for one in told if one["type"] == "notice"] == ["session-unknown"], token
        client.close()


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_session_survives_a_restart(node: Node, how: str) -> None:
    owner, member = node.extended("owner"), node.extended("member")
    owner.send("createroom", roomid="attic")
    settle(owner)
    for client in (owner, member):
        client.send("join", roomid="attic")
        settle(client)
    say(owner, "one", "id-1")
    settle(owner, member)
    getattr(node, how)()
    node.start()
    back = [node.connect(), node.connect()]
    for client, before, name in zip(back, (owner, member), ("owner", "member"), strict=True):
        assert client.hello(session=before.token, resume=[{"roomid": "attic", "from": 1}])["identity"] == name
    for client in back:
        contents, said = client.messages()
        assert contents == {
            "type": "roomcontents",
            "roomid": "attic",
            "identities": ["owner", "member"],
            "owner": "owner",
        }
        assert (said["index"], said["content"]) == (1, "one")
    assert say(back[1], "two", "id-2")["index"] == 2
    assert [one["type"] for one in back[0].messages()] == ["message"], "nobody left and nobody came"
    back[0].send("delete", roomid="attic")
    assert "error" not in [one["type"] for one in back[0].messages()], "it is still the owner"


def test_who_does_not_come_back_after_a_restart_has_left(start_node: StartNode) -> None:
    node = start_node("--session-grace=0.5")
    node.extended("alice")
    node.base("bob")
    node.kill()
    node.start()
    watcher = node.base("watcher")
    assert b'"bob"' not in b"".join(watcher.greeting), "a base client's departure is announced at once"
    assert roomcontents(HALL, ["alice", "guest1"]) in watcher.greeting
    assert watcher.read_line() == roomchange("alice", HALL, "")


def test_the_newer_connection_has_the_session(node: Node) -> None:
    older, other = node.extended("alice"), node.base("other")
    settle(older, other)
    newer = node.connect()
    assert newer.hello(session=older.token, resume=[{"roomid": HALL, "from": 1}])["identity"] == "alice"
    (told,) = older.lines_to_end()
    assert json.loads(told)["code"] == "session-moved"
    settle(newer)
    other.say("hi")
    settle(other)
    assert numbered(newer.messages()) == [1]
    say(newer, "still here", "id-1")
    assert other.drain() == [message("alice", "still here")], "and no word of a departure"


def test_rooms_named_in_a_resume_are_joined_and_gone_ones_told(node: Node) -> None:
    owner = node.base("owner")
    owner.send("createroom", roomid="attic")
    owner.send("createroom", roomid="gone")
    owner.send("join", roomid="attic")
    owner.say("one", "two", "three")
    owner.send("delete", roomid="gone")
    settle(owner)
    wanted = [{"roomid": "attic", "from": 2}, {"roomid": "gone", "from": 1}, {"roomid": HALL, "from": 1}]
    client = node.connect()
    client.hello(identity="alice", resume=wanted)
    told = client.messages()
    assert [(one["roomid"], one["index"]) for one in told if one["type"] == "message"] == [("attic", 2), ("attic", 3)]
    assert [(one["code"], one["roomid"]) for one in told if one["type"] == "error"] == [("no-such-room", "gone")]
    assert owner.drain() == [roomchange("alice", "", "attic")]
    client.send("leave", roomid="attic")
    settle(client, owner)
    client.reset()
    again = node.connect()
    again.hello(session=client.token, resume=wanted)
    told = again.messages()
    assert [(one["roomid"], one["index"]) for one in told if one["type"] == "message"] == [("attic", 2), ("attic", 3)]
    assert [(one["code"], one["roomid"]) for one in told if one["type"] == "error"] == [("no-such-room", "gone")]
    assert owner.drain() == [roomchange("alice", "", "attic")]


def test_what_a_deleted_room_held_is_a_gap(node: Node) -> None:
    owner = node.base("owner")
    for _ in range(2):
        owner.send("createroom", roomid="attic")
        owner.send("join", roomid="attic")
        owner.say("one", "two", "three")
        settle(owner)
        owner.send("delete", roomid="attic")
    owner.send("createroom", roomid="attic")
    owner.send("join", roomid="attic")
    owner.say("seven")
    settle(owner)
    client = node.connect()
    client.hello(resume=[{"roomid": "attic", "from": 3}])
    told = client.messages()
    assert [one for one in told if one["type"] == "gap"] == [
        {"type": "gap", "roomid": "attic", "from": 3, "to": 6, "reason": "deleted"}
    ]
    assert numbered(told) == [7]
    client.send("history", roomid="attic", **{"from": 1})
    told = client.messages()
    assert [(one["from"], one["to"]) for one in told if one["type"] == "gap"] == [(1, 6)]
    assert [numbered(one["messages"]) for one in told if one["type"] == "history"] == [[7]]


def test_who_asks_beyond_the_end_is_told_to_rewind(node: Node) -> None:
    client = node.extended()
    say(client, "one", "id-1")
    client.reset()
    again = node.connect()
    again.hello(session=client.token, resume=[{"roomid": HALL, "from": 10}])
    told = again.messages()
    assert [one for one in told if one["type"] == "rewind"] == [{"type": "rewind", "roomid": HALL, "index": 2}]
    assert say(again, "two", "id-2")["index"] == 2
    assert numbered(again.messages()) in ([2], [])


def test_an_extended_client_that_sends_no_more_is_answered_and_may_come_back(node: Node) -> None:
    other, client = node.base("other"), node.extended("alice")
    settle(other)
    client.write(
        line("message", content="one", id="id-1"),
        line("history", roomid=HALL, **{"from": 1}),
        line("who", roomid=HALL),
    )
    client.half_close()
    told = [json.loads(one) for one in client.lines_to_end()]
    assert sorted(one["type"] for one in told[:2]) == ["ack", "message"]
    assert [one["type"] for one in told[2:]] == ["history", "roomcontents"]
    again = node.connect()
    assert again.hello(session=client.token)["identity"] == "alice"
    assert other.drain() == [message("alice", "one")]


# Histories


def fill(node: Node, contents: list[str]) -> Client:
    """Return an extended client in MainHall, whose archive holds just these."""
    client = node.extended("alice", history="none")
    for number, content in enumerate(contents):
        client.send("message", content=content, id=f"id-{number}")
    for _ in range(2 * len(contents)):
        client.read_line()
    assert client.drain() == NOTHING
    return client


def page(client: Client, **asked: Any) -> tuple[list[int], bool]:
    client.send("history", roomid=HALL, **asked)
    told = client.read_line()
    decoded = json.loads(told)
    assert list(decoded) == ["type", "roomid", "messages", "more"]
    assert decoded["type"] == "history"
    assert len(told) <= PAGE_BYTES_MAX or len(decoded["messages"]) == 1
    return numbered(decoded["messages"]), decoded["more"]


def test_pages_go_both_ways(node: Node) -> None:
    client = fill(node, [f"{number}" for number in range(1, 26)])
    assert page(client, **{"from": 1}, limit=10) == ([*range(1, 11)], True)
    assert page(client, **{"from": 11}, limit=10) == ([*range(11, 21)], True)
    assert page(client, **{"from": 21}, limit=10) == ([*range(21, 26)], False)
    assert page(client, **{"from": 16}, limit=10) == ([*range(16, 26)], False)
    assert page(client, **{"from": 26}, limit=10) == ([], False)
    assert page(client, **{"from": 1000}, limit=10) == ([], False)
    assert page(client, before=26, limit=10) == ([*range(16, 26)], True)
    assert page(client, before=16, limit=10) == ([*range(6, 16)], True)
    assert page(client, before=6, limit=10) == ([*range(1, 6)], False)
    assert page(client, before=11, limit=10) == ([*range(1, 11)], False)
    assert page(client, before=1, limit=10) == ([], False)
    assert page(client, before=1000, limit=1) == ([25], True)
    assert page(client, **{"from": 1}) == ([*range(1, 26)], False)


def test_a_page_holds_what_the_archive_does(node: Node) -> None:
    client = fill(node, ["one", '","roomid":"x"}', "ü \x00 \\ 🦊"])
    client.send("history", roomid=HALL, before=10**9)
    history = client.until("history")
    assert [without(one, "type") for one in history["messages"]] == [
        {**without(one, "room"), "roomid": one["room"]} for one in node.archive()
    ]


def test_a_limit_is_at_most_500(node: Node) -> None:
    client = fill(node, ["x"] * 510)
    for asked in ({"from": 1, "limit": 10**6}, {"before": 1000, "limit": 10**6}):
        indexes, more = page(client, **asked)
        assert more
        assert 0 < len(indexes) <= 500


def test_pages_stay_within_64_kib_and_lead_through_the_whole_archive(node: Node) -> None:
    sizes = [10, 16000, 16384, 3000, 1, 2000, 2000, 2000] * 12
    client = fill(node, ["🦊" * (size // 2) if number % 5 == 0 else "x" * size for number, size in enumerate(sizes)])
    found: list[int] = []
    more = True
    while more:
        indexes, more = page(client, **{"from": len(found) + 1}, limit=500)
        assert indexes, "one message at least"
        found += indexes
    assert found == list(range(1, len(sizes) + 1))
    backwards: list[int] = []
    more = True
    while more:
        indexes, more = page(client, before=len(sizes) + 1 - len(backwards), limit=500)
        assert indexes, "one message at least"
        backwards = indexes + backwards
    assert backwards == found


def test_pages_of_the_longest_messages_hold_one_each(start_node: StartNode) -> None:
    node = start_node("--message-chars-max=65000")
    client = fill(node, ["x" * 65000] * 80)
    assert page(client, **{"from": 1}, limit=500) == ([1], True)
    assert page(client, before=81, limit=500) == ([80], True)
    assert page(client, before=2, limit=500) == ([1], False)


def test_a_history_that_cannot_be_had(node: Node) -> None:
    client = node.extended()
    client.send("createroom", roomid="attic")
    settle(client)
    for asked, code in (
        ({"roomid": HALL}, "bad-request"),
        ({"roomid": HALL, "from": 1, "before": 2}, "bad-request"),
        ({"roomid": HALL, "from": 1, "limit": 0}, "bad-request"),
        ({"roomid": HALL, "from": 1, "limit": -1}, "bad-request"),
        ({"roomid": "nowhere", "from": 1}, "no-such-room"),
        ({"roomid": "attic", "from": 1}, "not-a-member"),
        ({"roomid": HALL, "from": "1"}, "bad-line"),
    ):
        client.send("history", **asked)
        assert errors(client.messages()) == [code], asked


def test_absurd_places_of_a_history_are_answered(node: Node) -> None:
    client = fill(node, ["one", "two"])
    for key in ("from", "before"):
        for place in (0, -1, -(2**63), -(10**30), 2**31, 2**63 - 1, 2**63, 2**64, 10**30, 10**4000):
            client.send("history", roomid=HALL, **{key: place})
            (answer,) = client.messages()
            assert answer["type"] in ("history", "error"), place
            client.send("history", roomid=HALL, **{key: 1}, limit=abs(place) + 1)
            (answer,) = client.messages()
            assert answer["type"] in ("history", "error"), place
    assert say(client, "after", "id-after")["index"] == 3, "and the session goes on"


def test_history_is_answered_in_its_turn(node: Node) -> None:
    client = fill(node, ["one"])
    client.write(
        line("message", content="two", id="two"),
        line("history", roomid=HALL, **{"from": 1}),
        line("message", content="three", id="three"),
        line("list"),
    )
    told = [one for one in client.messages() if one["type"] in ("ack", "history", "roomlist")]
    assert [one["type"] for one in told] == ["ack", "history", "ack", "roomlist"]
    assert numbered(told[1]["messages"]) == [1, 2]


# Status


def test_status_tells_how_far_a_client_was_brought(node: Node) -> None:
    sender = node.base("sender")
    sender.send("createroom", roomid="attic")
    sender.say("one", "two")
    sender.send("join", roomid="attic")
    sender.say("three")
    settle(sender)
    client = node.extended(history="none")
    client.send("join", roomid="attic", stay=True)
    settle(client)
    client.send("status")
    (status,) = client.messages()
    assert status == {
        "type": "status",
        "rooms": [
            {"roomid": HALL, "archived": 2, "transferred": 2},
            {"roomid": "attic", "archived": 1, "transferred": 1},
        ],
        "archived": 3,
        "transferred": 3,
        "epoch": 1,
        "role": "leader",
        "redundancy": "single",
        "peers": [],
        "server": "primary",
        "clients": 2,
        "capacity": 100,
        "serving": True,
        "witness": "",
        "waits_for": "",
        "pages": [],
    }


def test_status_tells_a_client_that_it_is_behind(start_node: StartNode) -> None:
    node = start_node("--rate-limit=0")
    sender = node.base("sender")
    for _ in range(20):
        sender.say(*["x" * 10_000] * 50)
        for _ in range(50):
            sender.read_line()
    client = node.connect(receive_bytes=4096)
    client.hello()
    client.until("roomcontents")
    client.send("status")
    told = client.collect("status")
    behind = told[-1]
    assert behind["archived"] == 1000
    assert 0 < behind["transferred"] < 1000
    client.until("message", index=1000)
    client.send("status")
    status = client.until("status")
    assert (status["archived"], status["transferred"]) == (1000, 1000)


# Private


def test_private_is_relayed_and_not_archived(node: Node) -> None:
    alice, bob, other = node.extended("alice"), node.extended("bob"), node.extended("other")
    settle(alice, bob, other)
    alice.send("private", to="bob", content="psst 🦊", id="id-1")
    assert alice.messages() == [{"type": "ack", "id": "id-1", "to": "bob", "delivered": 1}]
    (told,) = bob.messages()
    assert list(told) == ["type", "identity", "content", "id", "time"]
    assert without(told, "time") == {"type": "private", "identity": "alice", "content": "psst 🦊", "id": "id-1"}
    assert abs(told["time"] - time.time()) < 60
    assert other.drain() == NOTHING
    assert node.archive() == NOTHING


def test_private_to_nobody_to_oneself_to_a_base_client_and_to_the_absent(node: Node) -> None:
    alice, bob, base = node.extended("alice"), node.extended("bob"), node.base("base")
    settle(alice)
    alice.send("private", to="nobody", content="x", id="id-1")
    (told,) = alice.messages()
    assert (told["type"], told["code"], told["id"]) == ("error", "no-such-identity", "id-1")
    alice.send("private", to="base", content="x", id="id-2")
    assert alice.messages() == [{"type": "ack", "id": "id-2", "to": "base", "delivered": 0}]
    assert base.drain() == NOTHING, "base clients see nothing but base lines"
    alice.send("private", to="alice", content="x", id="id-3")
    assert sorted(one["type"] for one in alice.messages()) == ["ack", "private"]
    bob.reset()

    def undelivered() -> bool:
        alice.send("private", to="bob", content="x", id="id-4")
        return bool(alice.until("ack")["delivered"] == 0)

    wait_until(undelivered, "the node noticed that bob is away")


# Several rooms


def test_staying_and_leaving(node: Node) -> None:
    owner, hall = node.base("owner"), node.base("hall")
    for room in ("attic", "cellar"):
        owner.send("createroom", roomid=room)
    owner.send("join", roomid="attic")
    settle(owner, hall)
    client = node.extended("alice")
    settle(hall)
    client.send("join", roomid="attic", stay=True)
    assert client.messages() == [{"type": "roomchange", "identity": "alice", "former": "", "roomid": "attic"}]
    assert owner.drain() == [roomchange("alice", "", "attic")]
    assert hall.drain() == NOTHING
    say(client, "by default the last", "id-1")
    say(client, "or where it says", "id-2", roomid=HALL)
    settle(client)
    assert owner.drain() == [message("alice", "by default the last")]
    assert hall.drain() == [message("alice", "or where it says")]
    client.send("message", content="x", id="id-3", roomid="cellar")
    (told,) = client.messages()
    assert (told["code"], told["id"], told["roomid"]) == ("not-a-member", "id-3", "cellar")
    client.send("leave", roomid="attic")
    assert [one["type"] for one in client.messages()] == ["roomchange"]
    assert owner.drain() == [roomchange("alice", "attic", "")]
    assert say(client, "back in the hall", "id-4")["roomid"] == HALL
    settle(client, hall)
    client.send("leave", roomid="attic")
    client.send("leave", roomid="nowhere")
    client.send("leave", roomid=HALL)
    assert errors(client.messages()) == ["not-a-member", "not-a-member", "last-room"]
    client.send("join", roomid="cellar")
    settle(client, hall)
    client.send("leave", roomid="cellar")
    told = client.messages()
    assert told[0] == {"type": "roomchange", "identity": "alice", "former": "cellar", "roomid": HALL}
    assert [one["type"] for one in told[1:3]] == ["roomlist", "roomcontents"]
    assert hall.drain() == [roomchange("alice", "cellar", HALL)]


def test_who_shares_two_rooms_hears_a_rename_once(node: Node) -> None:
    alice, bob, carol = node.extended("alice"), node.extended("bob"), node.base("carol")
    alice.send("createroom", roomid="attic")
    for client in (alice, bob):
        client.send("join", roomid="attic", stay=True)
        settle(client)
    settle(alice, bob, carol)
    alice.send("identitychange", identity="alicia")
    for client in (alice, bob, carol):
        assert client.drain() == [newidentity("alice", "alicia")]
    bob.send("who", roomid="attic")
    assert bob.drain() == [roomcontents("attic", ["alicia", "bob"], "alicia")]


def test_who_is_in_two_rooms_leaves_both_at_once(start_node: StartNode) -> None:
    node = start_node("--session-grace=0")
    alice, hall, attic = node.extended("alice"), node.base("hall"), node.base("attic")
    alice.send("createroom", roomid="attic")
    settle(alice)
    attic.send("join", roomid="attic")
    settle(attic, hall)
    alice.send("join", roomid="attic", stay=True)
    settle(alice, attic, hall)
    alice.send("quit")
    told = [json.loads(one) for one in alice.lines_to_end()]
    assert told == [
        {"type": "roomchange", "identity": "alice", "former": room, "roomid": ""} for room in (HALL, "attic")
    ]
    assert hall.drain() == [roomchange("alice", HALL, "")]
    assert attic.drain() == [roomchange("alice", "attic", "")]


def test_a_deleted_room_only_ends_where_the_member_is_elsewhere_too(node: Node) -> None:
    owner, alice = node.base("owner"), node.extended("alice")
    owner.send("createroom", roomid="attic")
    settle(owner)
    alice.send("join", roomid="attic", stay=True)
    settle(alice, owner)
    owner.send("delete", roomid="attic")
    assert owner.drain() == [roomlist((HALL, 2))]
    assert alice.messages() == [{"type": "roomchange", "identity": "alice", "former": "attic", "roomid": ""}]


def test_refusals_have_codes(start_node: StartNode) -> None:
    node = start_node("--rooms-per-owner-max=1", "--rooms-per-session-max=2")
    owner, client = node.extended("owner"), node.extended("alice")
    owner.send("createroom", roomid="attic")
    settle(owner)
    client.send("join", roomid="attic", stay=True)
    settle(client)
    for type, fields, code in (
        ("join", {"roomid": "nowhere"}, "no-such-room"),
        ("join", {"roomid": "attic"}, "already-there"),
        ("join", {"roomid": "cellar", "stay": True}, "too-many-rooms"),
        ("join", {"roomid": "attic", "from": 0}, "bad-request"),
        ("join", {"roomid": "attic", "history": "some"}, "bad-request"),
        ("join", {"roomid": "attic", "history": -1}, "bad-request"),
        ("createroom", {"roomid": "attic"}, "room-taken"),
        ("createroom", {"roomid": "x"}, "room-invalid"),
        ("delete", {"roomid": "attic"}, "not-the-owner"),
        ("delete", {"roomid": "nowhere"}, "no-such-room"),
        ("kick", {"roomid": "attic", "identity": "owner", "time": 1}, "not-the-owner"),
        ("kick", {"roomid": "nowhere", "identity": "owner", "time": 1}, "no-such-room"),
        ("identitychange", {"identity": "owner"}, "identity-taken"),
        ("identitychange", {"identity": "x"}, "identity-invalid"),
        ("leave", {"roomid": "nowhere"}, "not-a-member"),
    ):
        client.send(type, **fields)
        told = client.messages()
        assert errors(told) == [code], (type, fields)
        assert all(one["message"] for one in told if one["type"] == "error")
    for type, fields, code in (
        ("createroom", {"roomid": "cellar"}, "too-many-rooms"),
        ("kick", {"roomid": "attic", "identity": "owner", "time": 1}, "not-oneself"),
        ("kick", {"roomid": "attic", "identity": "nobody", "time": 1}, "not-a-member"),
        ("kick", {"roomid": "attic", "identity": "alice", "time": 0}, "bad-request"),
    ):
        owner.send(type, **fields)
        assert errors(owner.messages()) == [code], (type, fields)
    owner.send("kick", roomid="attic", identity="alice", time=2**63 - 1)
    assert errors(owner.messages()) == []
    settle(client)
    client.send("join", roomid="attic", stay=True)
    assert errors(client.messages()) == ["banned"]


# Contact


def test_contact_introduces_two_clients(node: Node) -> None:
    alice, bob, base = node.extended("alice"), node.extended("bob"), node.base("base")
    settle(alice, bob)
    alice.send("contact", identity="bob")
    alice.send("contact", identity="nobody")
    alice.send("contact", identity="base")
    told = alice.messages()
    assert errors(told) == ["no-address", "no-such-identity", "no-address"]
    bob.send("contact", address="127.0.0.1:9")
    assert bob.messages() == NOTHING
    alice.send("contact", identity="bob")
    (told_alice,) = alice.messages()
    (told_bob,) = bob.messages()
    assert without(told_alice, "token") == {"type": "contact", "identity": "bob", "address": "127.0.0.1:9"}
    assert without(told_bob, "token") == {"type": "contact", "identity": "alice"}
    assert told_alice["token"] == told_bob["token"]
    alice.send("contact", identity="bob")
    (again,) = alice.messages()
    assert again["token"] != told_alice["token"], "one-time"
    assert base.drain() == NOTHING


# Heartbeats


def test_a_ping_is_echoed(node: Node) -> None:
    client = node.extended()
    client.write(
        b'{"type":"ping"}\n{"type":"ping","n":1,"deep":{"a":[null,true,1.5,"\xc3\xbc"]},"s":""}\n{"n":2,"type":"ping"}\n'
    )
    assert client.messages() == [
        {"type": "pong"},
        {"type": "pong", "n": 1, "deep": {"a": [None, True, 1.5, "ü"]}, "s": ""},
        {"type": "pong", "n": 2},
    ]
    client.send("pong", whatever=1)
    assert client.messages() == NOTHING


def test_a_ping_with_absurd_fields_is_answered_or_refused(node: Node) -> None:
    client = node.extended()
    for value in (
        b"123456789012345678901234567890",
        b"-123456789012345678901234567890",
        b"1e400",
        b"1" * 5000,
        b'"\xff\xfe"',
        b'"\\ud800"',
        b'"\\u0000"',
        b"[" * 5000 + b"]" * 5000,
        b"[" * 990 + b"]" * 990,
        b"[" * 970 + b"]" * 970,
        b"[" * 900 + b"]" * 900,
    ):
        client.write(b'{"type":"ping","x":' + value + b"}\n")
        (told,) = client.drain()
        assert told.startswith((b'{"type":"pong","x":', b'{"type":"error","code":"bad-line"')), value


def test_the_node_pings_and_drops_who_is_silent(start_node: StartNode) -> None:
    node = start_node("--ping-every=0.1", "--silence-max=0.5", "--session-grace=0.5")
    base, alive, silent = node.base("base"), node.extended("alive"), node.extended("silent")
    started = time.monotonic()
    silent_told = b""
    gone = False
    while not gone:
        alive.until("ping")
        alive.send("pong")
        assert time.monotonic() - started < 20
        with contextlib.suppress(TimeoutError, BlockingIOError):
            silent.socket.settimeout(0)
            try:
                data = silent.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            silent_told += data
            gone = not data
    assert time.monotonic() - started >= 0.4
    assert b'{"type":"ping"}' in silent_told
    while base.read_line() != roomchange("silent", HALL, ""):
        pass
    assert alive.until("roomchange", identity="silent")["roomid"] == ""
    base.send("list")
    assert base.drain()[-1] == roomlist((HALL, 2)), "who answers stays, and so does a base client"


# Manners


def test_nonsense_is_answered_with_an_error(node: Node) -> None:
    client, other = node.extended(), node.base()
    settle(client)
    for nonsense in (
        b"\n",
        b"garbage\n",
        b"null\n",
        b"4444\n",
        b"[]\n",
        b"{}\n",
        b"[" * 5000 + b"\n",
        b'{"type":"nonsense"}\n',
        b'{"type":"message","content":null}\n',
        b'{"type":"message","content":"x","id":7}\n',
        b'{"type":"message","content":"\xff"}\n',
        b'{"type":"join","roomid":"MainHall","stay":"yes"}\n',
        b'{"type":"list"}{"type":"list"}\n',
    ):
        client.write(nonsense)
        assert errors(client.messages()) == ["bad-line"], nonsense
        client.write(nonsense, line("message", content="after"), nonsense)
        told = client.messages()
        assert errors(told) == ["bad-line"] * 2, nonsense
        assert len(numbered(told)) == 1, nonsense
        assert other.drain() == [message("guest1", "after")], nonsense


@pytest.mark.parametrize("ended", [b"", b"\n"])
def test_a_line_that_is_too_long_ends_the_connection_not_the_session(node: Node, ended: bytes) -> None:
    client, other = node.extended("alice"), node.base("other")
    settle(client, other)
    client.write(line("message", content="before", id="id-1"))
    client.until("ack")
    settle(client, other)
    client.write(b"x" * 65537 + ended)
    (told,) = client.lines_to_end()
    assert json.loads(told)["code"] == "line-too-long"
    again = node.connect()
    assert again.hello(session=client.token)["identity"] == "alice"
    assert other.drain() == NOTHING


def test_too_much_nonsense_ends_the_connection(start_node: StartNode) -> None:
    node = start_node("--nonsense-max=5")
    client = node.extended()
    client.write(b"x\n" * 50)
    told = [json.loads(one) for one in client.lines_to_end()]
    assert errors(told) == ["bad-line"] * 5 + ["too-much-nonsense"]


@pytest.mark.parametrize(
    "fields",
    [
        {"resume": [{"roomid": HALL, "from": 0}]},
        {"history": "some"},
        {"history": -1},
        {"resume": [{"roomid": HALL, "from": 1}] * 101},
    ],
)
def test_a_hello_that_makes_no_sense_is_refused(node: Node, fields: dict[str, Any]) -> None:
    client = node.connect()
    client.send("hello", version=1, **fields)
    (told,) = client.lines_to_end()
    assert json.loads(told)["code"] in ("bad-request", "too-many-rooms")


def test_a_hello_with_absurd_numbers_is_served(node: Node) -> None:
    client = node.connect()
    client.hello(history=2**63 - 1, resume=[{"roomid": HALL, "from": 2**63 - 1}])
    told = client.messages()
    assert say(client, "one", "id-1")["index"] == 1
    assert [one["type"] for one in told if one["type"] == "rewind"] == ["rewind"]


@pytest.mark.parametrize("place", [2**63, 2**64, 10**30])
def test_a_hello_with_numbers_beyond_64_bits_is_nonsense(node: Node, place: int) -> None:
    for fields in ({"history": place}, {"resume": [{"roomid": HALL, "from": place}]}):
        client = node.connect()
        client.send("hello", version=1, **fields)
        assert client.messages()[0]["type"] == "newidentity", "the first line was none of ours: a base client"
        client.hello(identity="alice")
        client.send("quit")
        client.read_to_end()
