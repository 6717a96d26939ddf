"""The page's two modules that know no document, each by itself, at moments that are hard to bring about."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.integration.browsers import chromium
from tests.integration.nodes import Node
from tests.integration.pairs import HOST, lasting_ports

Run = Callable[..., Any]

CHAT = """
const { Chat } = await import("/chat.js");
let made = 0;
const fresh = (kept) => new Chat(() => `id${++made}`, kept && JSON.parse(JSON.stringify(kept)));
const said = (index, fields = {}) => ({
    type: "message", identity: "eve", content: `m${index}`, roomid: "MainHall", index, epoch: 1, id: `e${index}`,
    time: 1, ...fields,
});
const chat = fresh();
chat.looking = false;
const welcome = { type: "welcome", identity: "ada", session: "token", server: "one", redundancy: "single" };
const hear = (...lines) => lines.flatMap((line) => chat.received(line));
const shown = () => chat.current.messages.map((one) => one.missing ?? one.content);
hear(welcome, { type: "roomchange", identity: "ada", former: "", roomid: "MainHall" });
"""

CONNECTION = """
const { Connection } = await import("/connection.js");
const timers = [], sockets = [], heard = [];
const world = {
    socket: (address) => {
        const socket = { address, sent: [], closed: false, send: (text) => socket.sent.push(JSON.parse(text)) };
        socket.close = () => (socket.closed = true);
        sockets.push(socket);
        return socket;
    },
    later: (ms, act) => timers.push({ ms, act, due: true }) - 1,
    cancel: (timer) => (timers[timer].due = false),
    random: () => 1,
};
const connection = new Connection(world, "http://one/", {
    hello: () => ({ type: "hello" }), received: (line) => heard.push(line), changed: () => {},
});
const last = () => sockets.at(-1);
const say = (...lines) => last().onmessage({ data: lines.map((line) => JSON.stringify(line)).join("\\n") });
const welcome = { type: "welcome", pages: ["http://one", "https://two/chat/"] };
const due = () => timers.filter((timer) => timer.due);
const fire = (ms) => {
    const timer = due().find((one) => one.ms === ms);
    timer.due = false;
    timer.act();
};
const come = () => { connection.start(); last().onopen(); say(welcome); connection.know(welcome.pages); };
"""


@pytest.fixture(scope="module")
def blank() -> Iterator[Page]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield launched.new_page()
        launched.close()


@pytest.fixture
def run(start_node: Callable[..., Node], blank: Page) -> Run:
    """Runs a script that ends in an expression after a beginning; returns its value."""
    (port,) = lasting_ports(1)
    start_node(f"--web=tcp:{port}:interface={HOST}")
    blank.goto(f"http://{HOST}:{port}/icon.svg")

    def run_it(beginning: str, script: str) -> Any:
        *steps, value = script.strip().rsplit("\n", 1)
        body = "\n".join([beginning, *steps, f"return JSON.stringify({value.strip()});"])
        return json.loads(blank.evaluate(f"async () => {{ {body} }}"))

    return run_it


def test_a_chat_puts_each_message_in_its_place_once(run: Run) -> None:
    script = """
    hear(said(3), said(1), said(3), said(2));
    hear({ type: "history", roomid: "MainHall", messages: [said(1), said(2)], more: false });
    [shown(), chat.unread]
    """
    assert run(CHAT, script) == [["m1", "m2", "m3"], 1], "what is older than what was heard is not news"


def test_a_chat_forgets_what_is_taken_back_and_tells_what_will_never_come(run: Run) -> None:
    script = """
    hear(said(1), said(2), said(3), { type: "rewind", roomid: "MainHall", index: 2 });
    hear({ type: "gap", roomid: "MainHall", from: 2, to: 4, reason: "retention" }, said(5, { epoch: 2 }));
    [shown(), chat.hello().resume]
    """
    assert run(CHAT, script) == [
        ["m1", "messages 2 to 4 are not kept any more", "m5"],
        [{"roomid": "MainHall", "from": 6, "epoch": 2}],
    ]


def test_a_chat_says_again_what_is_not_confirmed_and_nothing_else(run: Run) -> None:
    script = """
    for (const text of ["kept", "lost", "refused"]) chat.say(text);
    hear({ type: "ack", id: "id1", roomid: "MainHall", index: 1 });
    hear({ type: "error", code: "content-too-long", message: "too long", id: "id3" });
    const again = hear(welcome).filter((line) => line.type === "message").map((line) => line.id);
    const reloaded = fresh(chat.kept());
    const after = reloaded.received(welcome).filter((line) => line.type === "message").map((line) => line.id);
    const back = chat.takeBack("id3");
    [again, after, chat.current.draft, chat.sayAgain("id3")]
    """
    assert run(CHAT, script) == [["id2"], ["id2"], "refused", []]


def test_a_message_that_ends_the_connection_is_not_said_for_ever(run: Run) -> None:
    script = """
    chat.say("short");
    chat.say("x".repeat(100));
    hear({ type: "error", code: "line-too-long", message: "too long" });
    hear(welcome).filter((line) => line.type === "message").map((line) => line.content)
    """
    assert run(CHAT, script) == ["short"]


def test_a_chat_comes_back_to_its_rooms_with_another_session(run: Run) -> None:
    script = """
    hear({ type: "roomchange", identity: "ada", former: "", roomid: "jokes" }, said(7, { roomid: "jokes" }));
    const hello = fresh(chat.kept()).hello();
    const once = hear({ type: "error", code: "not-a-member", message: "no", id: chat.say("hi") && "id1" });
    const twice = hear({ type: "error", code: "not-a-member", message: "no", id: "id1" });
    [hello, once.map((line) => line.type), twice, chat.outbox[0].state]
    """
    hello, once, twice, state = run(CHAT, script)
    assert hello == {
        "type": "hello",
        "version": 1,
        "history": 50,
        "identity": "ada",
        "session": "token",
        "resume": [{"roomid": "jokes", "from": 1}],
    }
    assert (once, twice, state) == (["join", "message"], [], "refused")


def test_private_messages_come_once_and_follow_a_name(run: Run) -> None:
    script = """
    const one = { type: "private", identity: "eve", content: "psst", id: "p1", time: 1 };
    hear(one, one, { type: "newidentity", former: "eve", identity: "eva" });
    const talk = chat.conversation("eva", true);
    [talk.messages.length, talk.unread, chat.listed.map((each) => each.name)]
    """
    assert run(CHAT, script) == [1, 1, ["MainHall", "eva"]]


def test_a_connection_tries_every_server_before_it_waits(run: Run) -> None:
    script = """
    come();
    const waits = [];
    for (let n = 0; n < 9; n += 1) {
        last().onclose();
        waits.push(due()[0].ms);
        fire(due()[0].ms);
    }
    [sockets.map((socket) => socket.address).slice(0, 4), waits]
    """
    addresses, waits = run(CONNECTION, script)
    assert addresses == ["ws://one/ws", "wss://two/chat/ws", "ws://one/ws", "wss://two/chat/ws"]
    assert waits == [0, 0, 400, 400, 800, 800, 1600, 1600, 3000]


def test_a_connection_leaves_a_server_that_does_not_answer(run: Run) -> None:
    script = """
    come();
    connection.send({ type: "message" });
    fire(3000);
    const asked = last().sent.at(-1);
    fire(3000);
    const left = [sockets[0].closed, connection.phase];
    fire(0);
    fire(4000);
    [asked, left, sockets[1].address, sockets[1].closed, connection.send({ type: "message" })]
    """
    assert run(CONNECTION, script) == [{"type": "ping"}, [True, "waiting"], "wss://two/chat/ws", True, False]


def test_a_connection_goes_where_it_is_sent_and_when(run: Run) -> None:
    script = """
    come();
    say({ type: "redirect", after: 150, pages: ["http://three"] });
    connection.know(["http://three"]);
    const before = connection.phase;
    fire(150);
    fire(0);
    [before, last().address]
    """
    assert run(CONNECTION, script) == ["online", "ws://three/ws"]


def test_a_connection_whose_session_is_elsewhere_does_not_fight_for_it(run: Run) -> None:
    script = """
    come();
    say({ type: "error", code: "session-moved", message: "moved" }, { type: "never heard" });
    sockets[0].onclose();
    [connection.phase, connection.reason, due().length, heard.at(-1).code]
    """
    assert run(CONNECTION, script) == ["ended", "session-moved", 0, "session-moved"]
