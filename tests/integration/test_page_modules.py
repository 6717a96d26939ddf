"""The page's modules that know no document, by themselves, at moments that are hard to bring about."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from chatproto.gateway.page import packaged
from tests.integration.browsers import chromium

Run = Callable[..., Any]

CHAT = """
const { Chat } = await import("/chat.js");
const { Login } = await import("/login.js");
let made = 0;
const keeping = { stored: null, read: () => keeping.stored, write: (login) => (keeping.stored = login) };
const fresh = (kept) => {
    const copy = kept && JSON.parse(JSON.stringify(kept));
    return new Chat(() => `id${++made}`, new Login(keeping, copy?.login), copy);
};
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


def serve(route: Route) -> None:
    """Answer with a file of the page, without a server."""
    file = packaged()[urlsplit(route.request.url).path]
    route.fulfill(content_type=file.type, body=file.content)


@pytest.fixture(scope="module")
def blank() -> Iterator[Page]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = launched.new_page()
        page.route("**/*", serve)
        page.goto("http://page.example/icon.svg")
        yield page
        launched.close()


@pytest.fixture
def run(blank: Page) -> Run:
    """Runs a script that ends in an expression after a beginning; returns its value."""

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


def test_what_is_not_held_between_messages_is_asked_for_a_page_at_a_time(run: Run) -> None:
    script = """
    hear(said(200), said(201));
    const places = () => chat.current.items.map((one) => (one.hole ? `before ${one.index}` : one.missing ?? one.index));
    const page = (more, ...messages) => hear({ type: "history", roomid: "MainHall", messages, more });
    const sought = chat.seek(said(40));
    page(true, said(39), said(40), said(41));
    const around = places();
    const asked = chat.between(200);
    page(true, said(198), said(199));
    const nearer = places();
    chat.between(198);
    page(false, said(196), said(197));
    [sought, around, asked, nearer, places(), chat.current.more, chat.current.sought.id]
    """
    sought, around, asked, nearer, at_last, more, found = run(CHAT, script)
    assert sought == [{"type": "history", "roomid": "MainHall", "from": 15, "limit": 50}]
    assert around == [39, 40, 41, "before 200", 200, 201]
    assert asked == [{"type": "history", "roomid": "MainHall", "before": 200, "limit": 50}]
    assert nearer == [39, 40, 41, "before 198", 198, 199, 200, 201]
    assert at_last == [39, 40, 41, 196, 197, 198, 199, 200, 201], "there is nothing more between them"
    assert (more, found) == (True, "e40")


def test_only_the_last_search_counts_and_it_survives_a_connection(run: Run) -> None:
    script = """
    const first = chat.search.begin("hay");
    const second = chat.search.begin(" needle ", "MainHall");
    const found = (query, more, ...messages) => ({ type: "search", query, messages, more });
    hear(found("hay", false, said(1)));
    const passed = chat.search.found.length;
    const again = hear(welcome).filter((line) => line.type === "search");
    hear(found("needle", true, said(9), said(7)));
    const older = chat.search.older();
    hear({ type: "error", code: "busy", message: "too many search now" });
    const { asking, trouble } = chat.search;
    hear({ type: "error", code: "busy", message: "of something else" });
    [first, second, passed, again, older, chat.search.found.length, asking, trouble, chat.trouble]
    """
    first, second, passed, again, older, found, asking, trouble, other = run(CHAT, script)
    assert first == [{"type": "search", "query": "hay", "limit": 100}]
    assert second == again == [{"type": "search", "query": "needle", "roomid": "MainHall", "limit": 20}]
    assert older == [{"type": "search", "query": "needle", "roomid": "MainHall", "limit": 20, "before": 7}]
    assert (passed, found, asking, trouble) == (0, 2, False, "too many search now")
    assert other == "of something else"


def test_a_login_is_a_password_once_and_a_ticket_from_then_on(run: Run) -> None:
    script = """
    chat.login.begin("ada", "secret", true);
    const hello = chat.hello();
    hear({ ...welcome, account: "ada", ticket: "t1", roles: ["admin"] });
    const next = chat.hello();
    const stored = keeping.stored;
    hear({ ...welcome, account: "ada" });
    const reloaded = fresh({ ...chat.kept(), session: "" }).hello();
    const elsewhere = fresh().hello();
    chat.login.forget();
    [hello, next, stored, reloaded, elsewhere, chat.login.credentials, keeping.stored, JSON.stringify(chat.kept())]
    """
    hello, after, stored, reloaded, elsewhere, credentials, forgotten, kept = run(CHAT, script)
    plain = {"type": "hello", "version": 1, "history": 50}
    ticket = {"account": "ada", "ticket": "t1"}
    assert hello == {**plain, "account": "ada", "password": "secret"}, "the guest's session is not gone on with"
    assert after == {**plain, **ticket, "session": "token"}
    assert stored == ticket
    assert reloaded == elsewhere == {**plain, **ticket}
    assert (credentials, forgotten) == ({}, None)
    assert "secret" not in kept


def test_a_login_that_is_refused_is_not_tried_for_ever(run: Run) -> None:
    script = """
    const told = [];
    for (const code of ["login-failed", "logged-out", "account-gone", "login-required", "login-slowed"]) {
        const one = fresh({ login: { account: "ada", ticket: "t1" } });
        one.received({ type: "error", code, message: code });
        told.push([one.login.wanted, one.login.credentials.ticket ?? "", one.login.tried, one.login.trouble]);
    }
    told
    """
    assert run(CHAT, script) == [
        *([True, "", "ada", code] for code in ("login-failed", "logged-out", "account-gone")),
        [True, "t1", "", "login-required"],
        [False, "t1", "", "login-slowed"],
    ]


def test_a_connection_comes_again_where_logins_are_slowed_and_ends_where_they_fail(run: Run) -> None:
    script = """
    come();
    last().onclose();
    fire(0);
    last().onopen();
    say({ type: "error", code: "login-slowed", message: "later", after: 701 });
    const waits = [connection.phase, connection.reason, sockets.length];
    fire(701);
    last().onopen();
    say({ type: "error", code: "banned", roomid: "jokes", message: "not there" });
    const here = connection.phase;
    say({ type: "error", code: "banned", message: "noise" });
    [waits, last().address, here, connection.phase, connection.reason, due().length]
    """
    waits, address, here, phase, reason, due = run(CONNECTION, script)
    assert waits == ["waiting", "login-slowed", 2]
    assert address == "wss://two/chat/ws", "the same server looks at it then"
    assert (here, phase, reason, due) == ("connecting", "ended", "banned", 0)
