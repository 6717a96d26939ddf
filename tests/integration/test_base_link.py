"""The base protocol, byte for byte, over a real socket: every message, every refusal, and not one line more."""

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.integration.nodes import (
    WAIT_S_MAX,
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
NOTHING: list[bytes] = []
StartNode = Callable[..., Node]

GOOD_NAMES = ["abc", "ABC", "a12", "z" * 16, "guest7"]
BAD_NAMES = ["", "server", "ab", "z" * 17, "1abc", "a b", "ab-c", "ab_c", "äbcd", "abc\n", "аbc", "abc٣", "\x00abc"]


# Coming


def test_a_newcomer_is_told_name_place_rooms_and_company(start_node: StartNode) -> None:
    node = start_node()
    client = node.connect()
    assert [client.read_line() for _ in range(4)] == [
        b'{"type":"newidentity","former":"","identity":"guest1"}\n',
        b'{"type":"roomchange","identity":"guest1","former":"","roomid":"MainHall"}\n',
        b'{"type":"roomlist","rooms":[{"roomid":"MainHall","count":1}]}\n',
        b'{"type":"roomcontents","roomid":"MainHall","identities":["guest1"],"owner":""}\n',
    ]
    assert client.drain() == NOTHING


def test_a_second_newcomer_is_seen_by_the_first(node: Node) -> None:
    first, second = node.base(), node.connect()
    assert second.drain() == [
        newidentity("", "guest2"),
        roomchange("guest2", "", HALL),
        roomlist((HALL, 2)),
        roomcontents(HALL, ["guest1", "guest2"]),
    ]
    assert first.drain() == [roomchange("guest2", "", HALL)]


def test_a_newcomer_is_not_seen_from_another_room(node: Node) -> None:
    node.base().send("createroom", roomid="attic")
    away = node.base(room="attic")
    assert node.base().greeting == [
        newidentity("", "guest3"),
        roomchange("guest3", "", HALL),
        roomlist((HALL, 2), ("attic", 1)),
        roomcontents(HALL, ["guest1", "guest3"]),
    ]
    assert away.drain() == NOTHING


def test_guests_get_the_lowest_free_number(node: Node) -> None:
    first, second, third = node.base(), node.base(), node.base()
    second.send("quit")
    second.read_to_end()
    assert node.base().greeting[0] == newidentity("", "guest2")
    first.send("identitychange", identity="guest4")
    assert first.drain()[-1] == newidentity("guest1", "guest4")
    assert node.base().greeting[0] == newidentity("", "guest1")
    assert node.base().greeting[0] == newidentity("", "guest5")
    third.send("identitychange", identity="guest7")
    assert third.drain()[-1] == newidentity("guest3", "guest7")


def test_a_silent_connection_is_greeted_after_a_while(start_node: StartNode) -> None:
    node = start_node("--greet-after=0.4")
    start = time.monotonic()
    client = node.connect()
    assert client.read_line() == newidentity("", "guest1")
    assert 0.35 < time.monotonic() - start < 5
    start = time.monotonic()
    talking = node.connect()
    talking.send("list")
    assert talking.read_line() == newidentity("", "guest2")
    assert time.monotonic() - start < 0.35


def test_whatever_the_first_line_says_the_greeting_comes_first(node: Node) -> None:
    for first in (line("list"), b"garbage\n", b"\n", line("hello", version="1"), b'{"type":"hello"}\n'):
        client = node.connect()
        client.write(first)
        answers = client.drain()
        greeting = [newidentity("", "guest1"), roomchange("guest1", "", HALL), roomlist((HALL, 1))]
        assert answers[:4] == [*greeting, roomcontents(HALL, ["guest1"])]
        assert answers[4:] == ([roomlist((HALL, 1))] if first == line("list") else NOTHING)
        client.send("quit")
        client.read_to_end()


# Names


def test_a_good_name_is_told_to_the_room(node: Node) -> None:
    asker, other = node.base(), node.base()
    asker.send("createroom", roomid="attic")
    away = node.base(room="attic")
    settle(asker, other, away)
    former = "guest1"
    for good in GOOD_NAMES:
        asker.send("identitychange", identity=good)
        assert asker.drain() == [newidentity(former, good)]
        assert other.drain() == [newidentity(former, good)]
        assert away.drain() == NOTHING
        other.send("who", roomid="attic")
        assert other.drain() == [roomcontents("attic", ["guest3"], good)], "rooms keep their owner under the new name"
        former = good


def test_a_refused_name_is_told_to_the_asker_alone(node: Node) -> None:
    asker, other = node.base(), node.base("taken")
    settle(asker, other)
    for bad in [*BAD_NAMES, "taken", "guest1"]:
        asker.send("identitychange", identity=bad)
        assert asker.drain() == [newidentity("guest1", "guest1")], bad
    assert other.drain() == NOTHING
    other.send("identitychange", identity="Taken")
    assert other.drain() == [newidentity("taken", "Taken")], "names are case-sensitive"


# Rooms


def test_a_room_is_made_for_an_owner_who_stays_where_he_is(node: Node) -> None:
    owner, other = node.base("owner"), node.base()
    settle(owner, other)
    owner.send("createroom", roomid="attic")
    assert owner.drain() == [roomlist((HALL, 2), ("attic", 0))]
    owner.send("who", roomid="attic")
    assert owner.drain() == [roomcontents("attic", [], "owner")]
    assert other.drain() == NOTHING
    other.send("list")
    assert other.drain() == [roomlist((HALL, 2), ("attic", 0))]


def test_a_room_that_is_taken_or_badly_named_is_missing_from_the_answer(node: Node) -> None:
    owner, other = node.base("owner"), node.base("other")
    owner.send("createroom", roomid="attic")
    owner.send("createroom", roomid="z" * 32)
    settle(owner, other)
    for bad in [*(name for name in BAD_NAMES if name not in ("z" * 17, "server")), "z" * 33, "no way"]:
        other.send("createroom", roomid=bad)
        assert other.drain() == [roomlist((HALL, 2), ("attic", 0), ("z" * 32, 0))], bad
    other.send("createroom", roomid="attic")
    assert other.drain() == [roomlist((HALL, 2), ("z" * 32, 0))]
    other.send("createroom", roomid=HALL)
    assert other.drain() == [roomlist(("attic", 0), ("z" * 32, 0))]
    other.send("createroom", roomid="Attic")
    assert other.drain() == [roomlist((HALL, 2), ("attic", 0), ("z" * 32, 0), ("Attic", 0))]
    assert owner.drain() == NOTHING
    owner.send("who", roomid="attic")
    assert owner.drain() == [roomcontents("attic", [], "owner")], "a refusal changes no owner"


def test_a_move_is_told_to_both_rooms(node: Node) -> None:
    owner, in_hall = node.base("owner"), node.base("inhall")
    owner.send("createroom", roomid="attic")
    owner.send("createroom", roomid="cellar")
    in_attic, in_cellar = node.base("inattic", "attic"), node.base("incellar", "cellar")
    settle(owner, in_hall, in_attic, in_cellar)
    owner.send("join", roomid="attic")
    change = roomchange("owner", HALL, "attic")
    assert [owner.drain(), in_hall.drain(), in_attic.drain(), in_cellar.drain()] == [[change]] * 3 + [NOTHING]
    owner.send("join", roomid="cellar")
    change = roomchange("owner", "attic", "cellar")
    assert [owner.drain(), in_attic.drain(), in_cellar.drain(), in_hall.drain()] == [[change]] * 3 + [NOTHING]
    owner.send("join", roomid=HALL)
    change = roomchange("owner", "cellar", HALL)
    assert owner.drain() == [
        change,
        roomlist((HALL, 2), ("attic", 1), ("cellar", 1)),
        roomcontents(HALL, ["inhall", "owner"]),
    ]
    assert [in_hall.drain(), in_cellar.drain(), in_attic.drain()] == [[change], [change], NOTHING]


def test_a_refused_join_is_told_to_the_asker_alone(node: Node) -> None:
    asker, other = node.base("asker"), node.base("other")
    other.send("createroom", roomid="attic")
    settle(asker, other)
    for bad in (HALL, "mainhall", "nowhere", "Attic", "", "a", "ä", "x" * 5000, "fence one"):
        asker.send("join", roomid=bad)
        assert asker.drain() == [roomchange("asker", HALL, HALL)], bad
    asker.send("join", roomid="attic")
    settle(asker)
    asker.send("join", roomid="attic")
    assert asker.drain() == [roomchange("asker", "attic", "attic")]
    assert other.drain() == [roomchange("asker", HALL, "attic")]


def test_who_tells_members_in_the_order_they_came_and_the_owner(node: Node) -> None:
    owner = node.base("owner")
    owner.send("createroom", roomid="attic")
    one, two = node.base("one", "attic"), node.base("two", "attic")
    owner.send("join", roomid="attic")
    settle(owner, one, two)
    one.send("who", roomid="attic")
    one.send("who", roomid=HALL)
    one.send("who", roomid="nowhere")
    one.send("who", roomid="")
    one.send("who", roomid='nö"t')
    assert one.drain() == [
        roomcontents("attic", ["one", "two", "owner"], "owner"),
        roomcontents(HALL, []),
        roomcontents("nowhere", []),
        roomcontents("", []),
        '{"type":"roomcontents","roomid":"nö\\"t","identities":[],"owner":""}\n'.encode(),
    ]
    assert two.drain() == NOTHING


def test_a_deleted_room_sends_everybody_home(node: Node) -> None:
    owner, in_hall = node.base("owner"), node.base("inhall")
    owner.send("createroom", roomid="attic")
    one, two = node.base("one", "attic"), node.base("two", "attic")
    owner.send("join", roomid="attic")
    settle(owner, one, two, in_hall)
    owner.send("delete", roomid="attic")
    of_one, of_two, of_owner = (roomchange(name, "attic", HALL) for name in ("one", "two", "owner"))
    assert owner.drain() == [
        of_one,
        of_two,
        of_owner,
        roomlist((HALL, 4)),
        roomcontents(HALL, ["inhall", "one", "two", "owner"]),
        roomlist((HALL, 4)),
    ]
    assert one.drain() == [
        of_one,
        roomlist((HALL, 2)),
        roomcontents(HALL, ["inhall", "one"]),
        of_two,
        of_owner,
    ]
    assert two.drain() == [
        of_one,
        of_two,
        roomlist((HALL, 3)),
        roomcontents(HALL, ["inhall", "one", "two"]),
        of_owner,
    ]
    assert in_hall.drain() == [of_one, of_two, of_owner]
    in_hall.send("who", roomid="attic")
    in_hall.send("join", roomid="attic")
    assert in_hall.drain() == [roomcontents("attic", []), roomchange("inhall", HALL, HALL)]


def test_a_deletion_from_outside_tells_the_asker_the_list(node: Node) -> None:
    owner = node.base("owner")
    owner.send("createroom", roomid="attic")
    member = node.base("member", "attic")
    settle(owner, member)
    owner.send("delete", roomid="attic")
    assert owner.drain() == [roomchange("member", "attic", HALL), roomlist((HALL, 2))]
    assert member.drain() == [
        roomchange("member", "attic", HALL),
        roomlist((HALL, 2)),
        roomcontents(HALL, ["owner", "member"]),
    ]
    owner.send("createroom", roomid="attic")
    settle(owner)
    owner.send("delete", roomid="attic")
    assert owner.drain() == [roomlist((HALL, 2))], "an empty one"
    assert member.drain() == NOTHING


def test_a_refused_deletion_is_the_list_alone(node: Node) -> None:
    owner = node.base("owner")
    owner.send("createroom", roomid="attic")
    member = node.base("member", "attic")
    settle(owner, member)
    for room in ("attic", HALL, "nowhere", "", "ä"):
        member.send("delete", roomid=room)
        assert member.drain() == [roomlist((HALL, 1), ("attic", 1))], room
    owner.send("delete", roomid=HALL)
    assert owner.drain() == [roomlist((HALL, 1), ("attic", 1))]
    assert member.drain() == NOTHING


def test_a_deleted_rooms_archive_goes_and_its_numbers_do_not_come_back(node: Node) -> None:
    owner, witness = node.base("owner"), node.extended("witness")
    for first_index in (1, 3):
        owner.send("createroom", roomid="attic")
        owner.send("join", roomid="attic")
        settle(owner)
        witness.send("join", roomid="attic", stay=True)
        assert numbered(witness.messages()) == [], "nothing of the old archive"
        settle(owner)
        owner.say("one", "two")
        assert owner.drain() == [message("owner", "one"), message("owner", "two")]
        assert numbered(witness.messages()) == [first_index, first_index + 1]
        owner.send("delete", roomid="attic")
        settle(owner, witness)
    owner.send("createroom", roomid="attic")
    owner.send("join", roomid="attic")
    assert [found for found in owner.drain() if b'"message"' in found] == NOTHING
    assert [found["content"] for found in node.archive()] == []


# Owners


def test_an_owner_who_goes_leaves_a_room_without_one(node: Node) -> None:
    owner = node.base("owner")
    owner.send("createroom", roomid="attic")
    owner.send("createroom", roomid="empty")
    member = node.base("member", "attic")
    settle(owner, member)
    owner.send("quit")
    assert owner.read_to_end() == roomchange("owner", HALL, "")
    assert member.drain() == NOTHING
    member.send("who", roomid="attic")
    member.send("list")
    assert member.drain() == [roomcontents("attic", ["member"], ""), roomlist((HALL, 0), ("attic", 1))]
    member.send("delete", roomid="attic")
    assert member.drain() == [roomlist((HALL, 0), ("attic", 1))], "nobody owns it"
    member.send("join", roomid=HALL)
    assert member.drain() == [
        roomchange("member", "attic", HALL),
        roomlist((HALL, 1)),
        roomcontents(HALL, ["member"]),
    ], "it went with its last member"


def test_an_owned_room_outlives_its_last_member(node: Node) -> None:
    owner, member = node.base("owner"), node.base("member")
    owner.send("createroom", roomid="attic")
    settle(owner)
    member.send("join", roomid="attic")
    member.send("join", roomid=HALL)
    settle(member)
    owner.drain()
    owner.send("list")
    assert owner.drain() == [roomlist((HALL, 2), ("attic", 0))]


def test_an_ownerless_room_ends_when_its_last_member_breaks_off(node: Node) -> None:
    watcher, owner = node.base("watcher"), node.base("owner")
    owner.send("createroom", roomid="attic")
    member = node.base("member", "attic")
    owner.send("quit")
    owner.read_to_end()
    member.reset()

    def gone() -> bool:
        watcher.send("list")
        return roomlist((HALL, 1)) in watcher.drain()

    wait_until(gone, "the room is gone")


# Messages


CONTENTS = [
    "hello",
    "",
    " ",
    "0",
    'quote " and \\ backslash',
    "tab\tnewline\nreturn\r",
    "control \x00\x01\x1f\x7f end",
    "ü 漢字 🦊 \u2028\u2029",
    '","roomid":"MainHall","index":1',
    '\\","roomid":"x"}',
    '{"type":"quit"}',
    "x" * 16384,
    "🦊" * 16000,
]


def test_a_message_reaches_the_room_and_its_sender(node: Node) -> None:
    sender, other = node.base("sender"), node.base("other")
    sender.send("createroom", roomid="attic")
    away = node.base(room="attic")
    settle(sender, other, away)
    for content in CONTENTS:
        sender.send("message", content=content)
        for client in (sender, other):
            (told,) = client.drain()
            assert _content(told) == content
            # Control characters have more than one spelling in JSON; all else is compared byte for byte.
            if not any(ord(character) < 32 for character in content):
                assert told == message("sender", content)
        assert away.drain() == NOTHING
    newcomer = node.connect()
    told = [newcomer.read_line() for _ in range(4 + len(CONTENTS))]
    assert [_content(one) for one in told[4:]] == CONTENTS, "and from the archive"


def _content(told: bytes) -> str:
    decoded = json.loads(told)
    assert list(decoded) == ["type", "identity", "content"]
    return str(decoded["content"])


def test_a_message_that_is_too_long_is_refused_by_the_server(start_node: StartNode) -> None:
    node = start_node("--message-chars-max=10")
    sender, other = node.base("sender"), node.base()
    settle(sender, other)
    sender.say("0123456789", "0123456789x", "after")
    assert sender.drain() == [
        # The refusal needs no disk, so it may come before what was said before.
        *sorted(
            [
                message("sender", "0123456789"),
                message("server", "your message was not sent: it has more than 10 characters"),
                message("sender", "after"),
            ],
            key=lambda told: b"server" not in told,
        )
    ]
    assert other.drain() == [message("sender", "0123456789"), message("sender", "after")]


def test_order_is_the_same_for_everybody(node: Node) -> None:
    clients = [node.base(f"client{number}") for number in range(4)]
    settle(*clients)
    for number in range(200):
        for client in clients:
            client.say(f"{number}")
    heard = []
    for client in clients:
        heard.append([client.read_line() for _ in range(800)])
        assert client.drain() == NOTHING
    assert heard[0] == heard[1] == heard[2] == heard[3]
    for name in range(4):
        ours = [told for told in heard[0] if f'"client{name}"'.encode() in told]
        assert ours == [message(f"client{name}", f"{number}") for number in range(200)]


def test_requests_are_answered_in_the_order_asked(node: Node) -> None:
    client = node.base("client")
    client.write(
        line("message", content="one"),
        line("createroom", roomid="attic"),
        line("message", content="two"),
        line("join", roomid="attic"),
        line("message", content="three"),
        line("who", roomid="attic"),
        line("identitychange", identity="other"),
        line("message", content="four"),
        line("delete", roomid="attic"),
        line("list"),
        line("message", content="five"),
    )
    assert client.drain() == [
        message("client", "one"),
        roomlist((HALL, 1), ("attic", 0)),
        message("client", "two"),
        roomchange("client", HALL, "attic"),
        message("client", "three"),
        roomcontents("attic", ["client"], "client"),
        newidentity("client", "other"),
        message("other", "four"),
        roomchange("other", "attic", HALL),
        roomlist((HALL, 1)),
        roomcontents(HALL, ["other"]),
        message("client", "one"),
        message("client", "two"),
        roomlist((HALL, 1)),
        roomlist((HALL, 1)),
        message("other", "five"),
    ]


# Archives


@pytest.mark.parametrize(("history", "heard"), [("all", 5), ("none", 0), ("2", 2), ("0", 0), ("99", 5)])
def test_the_archive_comes_after_the_greeting(start_node: StartNode, history: str, heard: int) -> None:
    node = start_node(f"--history={history}")
    sender = node.base("sender")
    sender.send("createroom", roomid="attic")
    sender.say(*(f"hall {number}" for number in range(5)))
    sender.send("join", roomid="attic")
    sender.say(*(f"attic {number}" for number in range(5)))
    settle(sender)
    hall = [message("sender", f"hall {number}") for number in range(5 - heard, 5)]
    attic = [message("sender", f"attic {number}") for number in range(5 - heard, 5)]
    newcomer = node.base()
    assert newcomer.greeting == [
        newidentity("", "guest1"),
        roomchange("guest1", "", HALL),
        roomlist((HALL, 1), ("attic", 1)),
        roomcontents(HALL, ["guest1"]),
        *hall,
    ]
    newcomer.send("join", roomid="attic")
    assert newcomer.drain() == [roomchange("guest1", HALL, "attic"), *attic]
    newcomer.send("join", roomid=HALL)
    assert newcomer.drain() == [
        roomchange("guest1", "attic", HALL),
        roomlist((HALL, 1), ("attic", 1)),
        roomcontents(HALL, ["guest1"]),
        *hall,
    ]


# Kicks


def test_a_kicked_member_goes_home_and_stays_out_for_a_while(node: Node) -> None:
    owner = node.base("owner")
    owner.send("createroom", roomid="attic")
    owner.send("join", roomid="attic")
    member, other = node.base("member", "attic"), node.base("other", "attic")
    in_hall = node.base("inhall")
    settle(owner, member, other, in_hall)
    started = time.monotonic()
    owner.send("kick", roomid="attic", identity="member", time=2)
    change = roomchange("member", "attic", HALL)
    assert owner.drain() == [change]
    assert other.drain() == [change]
    assert in_hall.drain() == [change]
    assert member.drain() == [
        change,
        roomlist((HALL, 2), ("attic", 2)),
        roomcontents(HALL, ["inhall", "member"]),
    ]
    # The ban survives another name, and holds nobody else under the old one.
    member.send("join", roomid="attic")
    assert member.drain() == [roomchange("member", HALL, HALL)]
    member.send("identitychange", identity="renamed")
    settle(member)
    member.send("join", roomid="attic")
    assert member.drain() == [roomchange("renamed", HALL, HALL)]
    in_hall.send("identitychange", identity="member")
    in_hall.send("join", roomid="attic")
    assert in_hall.drain()[-1] == roomchange("member", HALL, "attic")
    settle(member, owner, other)
    refusals = 0
    while True:
        member.send("join", roomid="attic")
        (answer,) = member.drain()
        if answer == roomchange("renamed", HALL, "attic"):
            break
        assert answer == roomchange("renamed", HALL, HALL)
        assert time.monotonic() - started < WAIT_S_MAX
        refusals += 1
    assert refusals
    assert 1.9 < time.monotonic() - started < 4
    assert other.drain() == [roomchange("renamed", HALL, "attic")]


def test_a_ban_is_of_one_room_and_one_room_only(node: Node) -> None:
    owner = node.base("owner")
    owner.send("createroom", roomid="attic")
    owner.send("createroom", roomid="cellar")
    member = node.base("member", "attic")
    owner.send("kick", roomid="attic", identity="member", time=1000)
    settle(owner, member)
    member.send("join", roomid="cellar")
    assert member.drain() == [roomchange("member", HALL, "cellar")]


def test_a_refused_kick_is_answered_with_nothing(node: Node) -> None:
    owner = node.base("owner")
    owner.send("createroom", roomid="attic")
    owner.send("join", roomid="attic")
    member, in_hall = node.base("member", "attic"), node.base("inhall")
    settle(owner, member, in_hall)
    for fields in (
        {"roomid": "attic", "identity": "owner", "time": 10},
        {"roomid": "attic", "identity": "nobody", "time": 10},
        {"roomid": "attic", "identity": "inhall", "time": 10},
        {"roomid": "nowhere", "identity": "member", "time": 10},
        {"roomid": "MainHall", "identity": "inhall", "time": 10},
        {"roomid": "attic", "identity": "member", "time": 0},
        {"roomid": "attic", "identity": "member", "time": -1},
        {"roomid": "attic", "identity": "member", "time": -(10**40)},
        {"roomid": "attic", "identity": "member", "time": 2**63},
        {"roomid": "attic", "identity": "member", "time": 1.5},
        {"roomid": "attic", "identity": "member", "time": "10"},
        {"roomid": "attic", "identity": "member", "time": None},
        {"roomid": "attic", "identity": "member"},
    ):
        owner.send("kick", **fields)
        assert [owner.drain(), member.drain(), in_hall.drain()] == [NOTHING] * 3, fields
    member.send("kick", roomid="attic", identity="owner", time=10)
    assert [member.drain(), owner.drain(), in_hall.drain()] == [NOTHING] * 3, "nor may a member"
    owner.send("kick", roomid="attic", identity="member", time=2**63 - 1)
    assert owner.drain() == [roomchange("member", "attic", HALL)], "long is long"


# Going


def test_a_quitter_is_seen_off_and_let_go(node: Node) -> None:
    owner = node.base("owner")
    owner.send("createroom", roomid="attic")
    quitter, other = node.base("quitter", "attic"), node.base("other", "attic")
    settle(owner, quitter, other)
    quitter.write(line("quit"), line("message", content="too late"))
    assert quitter.read_to_end() == roomchange("quitter", "attic", "")
    assert other.drain() == [roomchange("quitter", "attic", "")]
    assert owner.drain() == NOTHING
    owner.send("identitychange", identity="quitter")
    assert owner.drain() == [newidentity("owner", "quitter")], "the name is free"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_broken_connection_is_a_quit(node: Node, how: str) -> None:
    other, broken = node.base("other"), node.base("broken")
    settle(other)
    getattr(broken, how)()
    assert other.read_line() == roomchange("broken", HALL, "")
    assert other.drain() == NOTHING


def test_a_client_that_sends_no_more_gets_all_its_answers(node: Node) -> None:
    other, client = node.base("other"), node.base("client")
    settle(other)
    client.write(
        line("message", content="one"),
        line("createroom", roomid="attic"),
        line("join", roomid="attic"),
        line("message", content="two"),
        line("who", roomid="attic"),
    )
    client.half_close()
    assert client.lines_to_end() == [
        message("client", "one"),
        roomlist((HALL, 2), ("attic", 0)),
        roomchange("client", HALL, "attic"),
        message("client", "two"),
        roomcontents("attic", ["client"], "client"),
        roomchange("client", "attic", ""),
    ]
    assert other.drain() == [message("client", "one"), roomchange("client", HALL, "attic")]
    other.send("list")
    assert other.drain() == [roomlist((HALL, 1))], "the room went with its owner and last member"


@pytest.mark.skipif(shutil.which("nc") is None, reason="nc is not installed")
def test_netcat_is_a_client(node: Node) -> None:
    other = node.base("other")
    typed = line("list") + line("message", content="from a shell")
    done = subprocess.run(
        ["nc", "-N", "127.0.0.1", str(node.port)], input=typed, capture_output=True, timeout=WAIT_S_MAX, check=True
    )
    assert done.stdout.splitlines(keepends=True) == [
        newidentity("", "guest1"),
        roomchange("guest1", "", HALL),
        roomlist((HALL, 2)),
        roomcontents(HALL, ["other", "guest1"]),
        roomlist((HALL, 2)),
        message("guest1", "from a shell"),
        roomchange("guest1", HALL, ""),
    ]
    assert other.drain() == [
        roomchange("guest1", "", HALL),
        message("guest1", "from a shell"),
        roomchange("guest1", HALL, ""),
    ]


@pytest.mark.parametrize(("options", "count"), [(["--rate-limit=100"], 1100), (["--rate-limit=0"], 5000)])
def test_a_burst_from_a_pipe_is_answered_whole(start_node: StartNode, options: list[str], count: int) -> None:
    """The end of what a client sends waits for its turn, where reading is held for a while."""
    node = start_node("--in-flight-max=100", *options)
    client = node.connect()
    said = [f"{number}" for number in range(count)]
    client.say(*said)
    client.half_close()
    told = client.lines_to_end()
    assert told[4:-1] == [message("guest1", content) for content in said]
    assert told[-1] == roomchange("guest1", HALL, "")
    assert [one["content"] for one in node.archive()] == said


@pytest.mark.parametrize("messages", [20, 5000])
def test_a_client_that_sends_no_more_gets_the_whole_archive(start_node: StartNode, messages: int) -> None:
    node = start_node("--rate-limit=0")
    sender = node.base("sender")
    sender.send("createroom", roomid="attic")
    sender.send("join", roomid="attic")
    said = [f"{number} {'x' * 100}" for number in range(messages)]
    sender.say(*said)
    for _ in range(messages):
        sender.read_line()
    sender.drain()
    client = node.base("client")
    client.send("join", roomid="attic")
    client.half_close()
    told = client.lines_to_end()
    assert told[0] == roomchange("client", HALL, "attic")
    assert told[-1] == roomchange("client", "attic", "")
    assert told[1:-1] == [message("sender", content) for content in said]


def test_a_full_server_says_so_and_closes(start_node: StartNode) -> None:
    node = start_node("--capacity=2")
    first, second = node.base(), node.base()
    for _ in range(3):
        third = node.connect()
        third.send("list")
        (reason,) = third.lines_to_end()
        assert reason.startswith(b'{"type":"message","identity":"server","content":"')
        assert b"full" in reason
    assert node.connect().read_to_end() == reason, "also when it says nothing"
    assert [second.drain(), first.drain()] == [NOTHING, [roomchange("guest2", "", HALL)]]
    second.send("quit")
    second.read_to_end()
    assert node.base().greeting[0] == newidentity("", "guest2")


def test_too_many_connections_of_one_address_are_refused(start_node: StartNode) -> None:
    node = start_node("--connections-per-address-max=2")
    first, second = node.base(), node.base()
    (reason,) = node.connect().lines_to_end()
    assert reason.startswith(b'{"type":"message","identity":"server","content":"too many connections')
    second.send("quit")
    second.read_to_end()
    node.base()
    first.drain()


def test_of_too_many_silent_connections_the_first_makes_room(start_node: StartNode) -> None:
    node = start_node("--handshakes-max=5", "--greet-after=2")
    first, *silent = [node.connect() for _ in range(6)]
    (reason,) = first.lines_to_end()
    assert reason.startswith(b'{"type":"message","identity":"server","content":"too many connections at once')
    for client in silent:
        assert client.drain(), "they were waited for"
    assert node.connect().drain(), "there is place again"


# Manners


NONSENSE = [
    b"\n",
    b"garbage\n",
    b"null\n",
    b"4444\n",
    b'"message"\n',
    b"[]\n",
    b"{}\n",
    b"[" * 5000 + b"\n",
    b'{"type":null}\n',
    b'{"type":"nonsense"}\n',
    b'{"type":"message"}\n',
    b'{"type":"message","content":null}\n',
    b'{"type":"message","content":4444}\n',
    b'{"type":"message","content":{"type":"quit"}}\n',
    b'{"type":"join","roomid":["MainHall"]}\n',
    b'{"type":"identitychange","identity":1}\n',
    b'{"type":"message","content":"\xff\xfe"}\n',
    b'{"type":"message","content":"unended\n',
    b'{"type":"list"}{"type":"list"}\n',
    b'{"type":"list"} trailing\n',
    # Extensions are nothing to a base client.
    line("ping"),
    line("pong"),
    line("status"),
    line("leave", roomid="MainHall"),
    line("history", roomid="MainHall", before=1, limit=1),
    line("private", to="client", content="x", id="x"),
    line("contact", address="127.0.0.1:1"),
    # What a server says is not what a client says.
    newidentity("", "boss"),
    roomlist((HALL, 1)),
]


def test_nonsense_is_ignored(node: Node) -> None:
    client, other = node.base("client"), node.base()
    settle(client, other)
    for nonsense in NONSENSE:
        client.write(nonsense)
        assert client.drain() == NOTHING, nonsense
        client.write(nonsense, nonsense, line("message", content="after"), nonsense)
        assert client.drain() == [message("client", "after")], nonsense
        assert other.drain() == [message("client", "after")], nonsense


def test_two_values_on_one_line_are_nonsense_whatever_comes_with_them(node: Node) -> None:
    """A blank line that arrives together with them must not even the count out."""
    client = node.base("client")
    client.write(b'{"type":"list"}{"type":"list"}\n\n')
    assert client.drain() == NOTHING
    client.write(b'\n{"type":"message","content":"a"} {"type":"message","content":"b"}\n')
    assert client.drain() == NOTHING


def test_a_value_on_two_lines_is_nonsense_whatever_comes_with_it(node: Node) -> None:
    client = node.base("client")
    client.write(b'{"type":\n"list"}\n{"type":"list"}{"type":"list"}\n')
    assert client.drain() == NOTHING


def test_unknown_fields_carriage_returns_and_spaces_are_tolerated(node: Node) -> None:
    client = node.base("client")
    client.write(
        b'{"type":"message","content":"one"}\r\n',
        b'  { "content" : "two" , "type" : "message" }  \n',
        b'{"type":"message","content":"three","id":7,"roomid":["x"],"more":{"a":[null,1e5]}}\n',
        b'{"type":"join","roomid":"nowhere","stay":"yes","from":"x","history":[]}\n',
        b'{"type":"list","type2":"list"}\r\n',
    )
    assert client.drain() == [
        message("client", "one"),
        message("client", "two"),
        message("client", "three"),
        roomchange("client", HALL, HALL),
        roomlist((HALL, 1)),
    ]


def test_extension_fields_mean_nothing_to_a_base_client(node: Node) -> None:
    """The same id twice is two messages, and `stay` is not heard."""
    client = node.base("client")
    client.send("createroom", roomid="attic")
    settle(client)
    client.send("message", content="a", id="same")
    client.send("message", content="b", id="same", roomid="attic")
    client.send("join", roomid="attic", stay=True)
    assert client.drain() == [
        message("client", "a"),
        message("client", "b"),
        roomchange("client", HALL, "attic"),
    ]
    client.send("who", roomid=HALL)
    assert client.drain() == [roomcontents(HALL, [])]


def test_bytes_may_come_one_by_one(node: Node) -> None:
    client = node.base("client")
    for byte in line("message", content="ü 🦊") + line("list"):
        client.write(bytes([byte]))
    assert client.drain() == [message("client", "ü 🦊"), roomlist((HALL, 1))]


def test_too_much_nonsense_ends_a_connection(start_node: StartNode) -> None:
    node = start_node("--nonsense-max=10")
    client, other = node.base("client"), node.base()
    settle(other)
    client.write(b"x\n" * 10)
    assert client.drain()[1:] == NOTHING
    client.write(b"x\n" * 10)
    (reason,) = client.lines_to_end()
    assert reason.startswith(b'{"type":"message","identity":"server","content":"too-much-nonsense')
    assert other.read_line() == roomchange("client", HALL, "")


def test_a_line_of_64_kib_is_the_longest(start_node: StartNode) -> None:
    node = start_node("--message-chars-max=100000")
    client, other = node.base("client"), node.base()
    settle(client, other)
    longest = 65536 - len(line("message", content="")) + 1
    for _ in range(2):
        client.say("x" * longest)
    assert client.drain() == [message("client", "x" * longest)] * 2
    client.say("x" * (longest + 1), "after")
    (reason,) = client.lines_to_end()
    assert reason.startswith(b'{"type":"message","identity":"server","content":"line-too-long')
    assert [other.read_line() for _ in range(3)][-1] == roomchange("client", HALL, "")


@pytest.mark.parametrize("ended", [b"", b"\n"])
def test_a_megabyte_is_too_long_ended_or_not(node: Node, ended: bytes) -> None:
    client = node.base("client")
    client.write(line("message", content="before"))
    assert client.drain() == [message("client", "before")]
    with contextlib.suppress(ConnectionError):
        client.write(b'{"type":"message","content":"' + b"x" * (1 << 20) + ended)
    (reason,) = client.lines_to_end()
    assert reason.startswith(b'{"type":"message","identity":"server","content":"line-too-long')


def test_too_fast_is_read_more_slowly_and_loses_nothing(start_node: StartNode) -> None:
    node = start_node("--rate-limit=100")
    hasty, calm = node.base("hasty"), node.base("calm")
    settle(hasty, calm)
    started = time.monotonic()
    hasty.say(*(f"{number}" for number in range(1200)))
    slowest = 0.0
    for number in range(20):
        asked = time.monotonic()
        calm.send("who", roomid=f"calm{number}")
        while calm.read_line() != roomcontents(f"calm{number}", []):
            pass
        slowest = max(slowest, time.monotonic() - asked)
    assert slowest < 1, "nobody else waits"
    assert hasty.drain() == [message("hasty", f"{number}") for number in range(1200)]
    assert time.monotonic() - started > 1.5, "1,000 at once, then 100 a second"
