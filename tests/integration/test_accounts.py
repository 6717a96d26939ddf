"""Accounts: several devices of one person, on either node; what operators and admins do; what a dead leader leaves."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.integration.nodes import Client, Node, environment, wait_until
from tests.integration.pairs import CHATPROTO, Pair, Scene


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


def operate(*arguments: str, password: str = "", status: int = 0) -> str:
    """Run `chatproto` with a password on its standard input; return what it says."""
    done = subprocess.run(
        [sys.executable, "-c", CHATPROTO, *arguments],
        env=environment(),
        input=f"{password}\n",
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == status, done
    return done.stderr if status else done.stdout


def add(node: Node, name: str, *options: str, password: str = "open sesame") -> None:
    operate("account", str(node.data), "add", name, "--password-stdin", *options, password=password)


def login(node: Node, name: str, password: str = "open sesame", **fields: Any) -> Client:
    client = node.connect()
    client.hello(account=name, password=password, **fields)
    return client


def refused(node: Node, **fields: Any) -> dict[str, Any]:
    """Return the error that a hello earns, which is the last line of the connection."""
    client = node.connect()
    client.send("hello", version=1, **fields)
    answer = client.until("error")
    assert client.read_to_end() == b""
    return answer


def test_one_account_on_two_devices(node: Node) -> None:
    add(node, "adel")
    watch = node.connect()
    watch.hello(identity="beth")
    watch.drain()
    one = login(node, "adel")
    assert (one.welcome["account"], one.welcome["identity"], "roles" in one.welcome) == ("adel", "adel", False)
    watch.until("roomchange", identity="adel", former="", roomid="MainHall")
    two = login(node, "adel")
    (listed,) = (line for line in two.messages() if line["type"] == "roomcontents")
    assert listed["identities"] == ["beth", "adel"]
    two.send("createroom", roomid="Den")
    two.send("join", roomid="Den")
    two.until("roomchange", identity="adel", former="MainHall", roomid="Den")
    two.send("message", content="from one of them", roomid="Den", id="m1")
    two.until("ack", id="m1")
    watch.send("private", to="adel", content="both", id="p1")
    assert watch.until("ack", id="p1")["delivered"] == 2
    for device in (one, two):
        device.until("private", content="both")
    one.send("quit")
    assert not [line for line in watch.messages() if line["type"] == "roomchange"]
    two.send("quit")
    watch.until("roomchange", identity="adel", roomid="")
    other = node.connect()
    other.hello(identity="adel")
    assert other.welcome["identity"].startswith("guest"), "the name is the account's while it is away"


def test_what_lets_somebody_in(node: Node) -> None:
    add(node, "adel")
    wrong = refused(node, account="adel", password="wrong")
    assert wrong["code"] == "login-failed"
    slowed = refused(node, account="adel", password="open sesame")
    assert (slowed["code"], 0 < slowed["after"] <= 1001) == ("login-slowed", True)
    # After that, what says nothing of which of the two was wrong.
    unknown = wait_until(
        lambda: (found := refused(node, account="nobody", password="x"))["code"] != "login-slowed" and found, "a try"
    )
    assert unknown == wrong
    wait_until(lambda: _try(node, account="adel", password="open sesame"), "let in, in time")
    ticket = _try(node, account="adel", password="open sesame")["ticket"]
    assert _try(node, account="adel", ticket=ticket)["identity"] == "adel"
    operate("account", str(node.data), "password", "adel", "--password-stdin", password="another")
    assert refused(node, account="adel", ticket=ticket)["code"] == "login-failed"


def _try(node: Node, **fields: Any) -> dict[str, Any]:
    client = node.connect()
    client.send("hello", version=1, **fields)
    answer = client.read()
    client.close()
    return answer if answer["type"] == "welcome" else {}


def test_without_guests(start_node: Callable[..., Node], tmp_path: Path) -> None:
    known = tmp_path / "passwords"
    known.write_text("zoe:moon\nad-el:x\n")
    server = start_node("--no-guests", f"--auth=file:{known}", "--ticket-for=60")
    add(server, "adel")
    base = server.connect()
    base.say("hello?")
    assert b"without an account" in base.read_to_end()
    assert refused(server, identity="beth")["code"] == "login-required"
    assert login(server, "adel").welcome["identity"] == "adel"
    assert login(server, "zoe", "moon").welcome["account"] == "zoe"
    assert "elsewhere" in operate("account", str(server.data), "list")
    client = server.connect()
    client.send("hello", version=1, account="ad-el", password="x")
    assert client.until("error")["code"] == "login-failed", "that can be no name here"


def test_an_operators_mistakes(node: Node) -> None:
    add(node, "adel")
    data = str(node.data)
    again = operate("account", data, "add", "adel", "--password-stdin", password="x", status=1)
    assert again == "chatproto: there is an account adel already\n"
    assert "no account" in operate("account", data, "remove", "nobody", status=1)
    assert "guest" in operate("account", data, "add", "guest7", "--password-stdin", password="x", status=2)
    assert "1 to 1024 bytes" in operate("account", data, "add", "beth", "--password-stdin", status=2)
    assert "not banned" in operate("unban", data, "adel", status=1)
    assert "nobody is called" in operate("ban", data, "nobody", status=1)
    assert "neither a name" in operate("ban", data, "192.0.2.0/40", status=2)
    assert "no node runs" in operate("bans", data + "x", status=1)


def test_an_admin_keeps_order(node: Node) -> None:
    add(node, "zoe", "--admin")
    add(node, "adel")
    zoe, adel, base = login(node, "zoe"), login(node, "adel"), node.connect()
    assert zoe.welcome["roles"] == ["admin"]
    assert base.until("newidentity")["identity"] == "guest1"
    adel.send("ban", identity="zoe", time=60)
    assert adel.until("error")["code"] == "not-allowed"
    zoe.send("announce", content="Maintenance at noon.")
    assert base.until("message", identity="server")["content"] == "Maintenance at noon."
    assert adel.until("notice", code="announcement")["content"] == "Maintenance at noon."
    zoe.send("silence", identity="adel", time=60)
    assert adel.until("error")["code"] == "silenced"
    adel.send("message", content="nobody hears", id="s1")
    assert adel.until("error", id="s1")["code"] == "silenced"
    zoe.send("unsilence", identity="adel")
    zoe.drain()
    wait_until(lambda: _says(adel), "adel speaks again")
    adel.send("createroom", roomid="Den")
    adel.send("join", roomid="Den")
    adel.until("roomchange", roomid="Den")
    zoe.send("close", roomid="Den")
    adel.until("roomchange", identity="adel", former="Den", roomid="MainHall")
    zoe.send("ban", identity="adel", time=60, reason="noise")
    assert adel.until("error")["message"] == "you are banned: noise"
    adel.read_to_end()
    assert refused(node, account="adel", password="open sesame")["code"] == "banned"
    zoe.send("bans")
    (entry,) = zoe.until("bans")["bans"]
    assert (entry["identity"], entry["reason"], entry["by"]) == ("adel", "noise", "zoe")
    zoe.send("unban", identity="adel")
    zoe.drain()
    wait_until(lambda: _try(node, account="adel", password="open sesame"), "adel is back")


def _says(client: Client) -> bool:
    client.send("message", content="I speak", id=os.urandom(8).hex())
    while (answer := client.read())["type"] not in ("ack", "error"):
        pass
    return bool(answer["type"] == "ack")


def test_an_address_is_kept_out(node: Node) -> None:
    add(node, "adel")
    inside = login(node, "adel")
    operate("ban", str(node.data), "127.0.0.0/8", "--for", "1h", "--reason", "flood")
    assert b"you are banned: flood" in node.connect().read_to_end()
    assert refused(node, identity="beth")["code"] == "banned"
    inside.send("ping")
    inside.until("pong")
    assert "127.0.0.0/8" in operate("bans", str(node.data))
    operate("unban", str(node.data), "127.0.0.0/8")
    guest = node.connect()
    name = guest.until("newidentity")["identity"]
    operate("ban", str(node.data), name, "--for", "1h")
    assert guest.until("message", identity="server")["content"] == "you are banned"
    wait_until(lambda: "127.0.0.1" in operate("bans", str(node.data)), "the guest's address is banned")
    assert refused(node, identity="beth")["code"] == "banned"


@pytest_twisted.ensureDeferred
async def test_a_dead_leader_keeps_nothing_to_itself(scene: Scene) -> None:
    pair = await scene.pair().start()
    await deferToThread(_on_a_pair, pair)
    pair.primary.kill()
    await pair.stands(pair.secondary, role="leader", redundancy="alone", serving=True)
    await deferToThread(_after_the_leaders_death, pair)


def _on_a_pair(pair: Pair) -> None:
    # Either node takes what an operator says.
    add(pair.secondary, "adel")
    add(pair.primary, "beth")
    add(pair.secondary, "zoe", "--admin")
    watch = pair.secondary.connect()
    watch.hello(identity="watch")
    watch.drain()
    here, there = login(pair.primary, "adel"), login(pair.secondary, "adel")
    assert watch.until("roomchange", identity="adel")["former"] == ""
    watch.send("who", roomid="MainHall")
    assert watch.until("roomcontents", roomid="MainHall")["identities"] == ["watch", "adel"]
    watch.send("private", to="adel", content="on both nodes", id="p1")
    assert watch.until("ack", id="p1")["delivered"] == 2
    for device in (here, there):
        device.until("private", content="on both nodes")
    beth = login(pair.secondary, "beth")
    zoe = login(pair.primary, "zoe")
    zoe.send("ban", identity="beth", time=3600)
    assert beth.until("error")["code"] == "banned"
    pair.kept = (here, there, watch)


def _after_the_leaders_death(pair: Pair) -> None:
    here, there, watch = pair.kept
    assert refused(pair.secondary, account="beth", password="open sesame")["code"] == "banned"
    assert _try(pair.secondary, account="adel", ticket=there.welcome["ticket"])["identity"] == "adel"
    # The session of the device whose node died goes on at the other, and nobody sees anything.
    back = pair.secondary.connect()
    back.hello(session=here.token)
    assert (back.welcome["identity"], back.welcome["account"]) == ("adel", "adel")
    assert refused(pair.secondary, account="adel", password="wrong")["code"] == "login-failed"
    gone = [line for line in watch.messages() if line["type"] == "roomchange" and line["identity"] == "adel"]
    assert gone == []
