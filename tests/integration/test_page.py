"""The page in a real browser: through the loss of a server, by keyboard alone, on a phone, and with hostile people."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from chatproto.cli.certs import make_certificates
from chatproto.cli.control import command
from chatproto.trust.certificates import CERTIFICATE, KEY
from tests.integration.browsers import Pages, Person, chromium, texts_in
from tests.integration.nodes import Node, fill, wait_until
from tests.integration.pairs import HOST, lasting_ports
from tests.integration.test_accounts import add, operate

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def meet(browser: Browser) -> Iterator[Callable[..., Person]]:
    """Has people come; nothing may go wrong in their browsers."""
    people: list[Person] = []

    def come(*arguments: object, **context: object) -> Person:
        people.append(Person(browser, *arguments, **context))  # type: ignore[arg-type]
        return people[-1]

    yield come
    for person in people:
        person.context.close()
    assert [person.trouble for person in people] == [[]] * len(people)


Meet = Callable[..., Person]


@pytest.fixture
def web(start_node: Callable[..., Node]) -> tuple[Node, int]:
    """A node alone, and the port of its page."""
    (port,) = lasting_ports(1)
    return start_node(f"--web=tcp:{port}:interface={HOST}", "--rate-limit=0"), port


def test_two_people_chat_on_when_the_primary_is_killed(make_node: Callable[..., Node], meet: Meet) -> None:
    pages = Pages(make_node)
    ada = meet(pages.web[0], "ada")
    eve = meet(pages.web[0], "eve", color_scheme="dark")
    for person in (ada, eve):
        person.online("primary: two servers hold every message")
        person.page.evaluate("window.notReloaded = true")
    ada.say("Shall we meet at the station?", "At nine, I mean.")
    eve.say("Nine is fine. ☂ or ☀?")
    ada.sees("Nine is fine. ☂ or ☀?")
    ada.picture("page-light.png")
    # What is said at that very moment is on its way, unconfirmed, or not sent yet.
    for number in range(20):
        ada.say(f"a{number}")
        eve.say(f"e{number}")
        if number == 10:
            pages.primary.kill()
    eve.page.fill("#say", "not sent yet")
    expected = {f"{who}{number}" for who in "ae" for number in range(20)}
    for person in (ada, eve):
        person.sees(*expected)
        person.online("secondary: the other server is away")
        assert person.page.evaluate("window.notReloaded")
    shown = ada.shown()
    assert shown == eve.shown(), "both see the same"
    assert len(shown) == len(set(shown)) == 43, "nothing is lost or doubled"
    assert shown == texts_in(pages.secondary.archive("MainHall")), "and it is what is kept"
    assert [text for text in shown if text in expected and text[0] == "a"] == [f"a{number}" for number in range(20)]
    assert eve.page.input_value("#say") == "not sent yet"
    eve.picture("page-failover-dark.png")
    pages.primary.launch()
    ada.online("secondary: two servers hold every message")
    wait_until(pages.primary.listens, "it listens again")
    pages.paired()
    # Sent away politely, they go as well, and nobody sees them go.
    assert pages.secondary.terminate() in (0, -15)
    for person in (ada, eve):
        person.online("primary")
        person.say(f"{person.page.inner_text('#me')} is back")
    for person in (ada, eve):
        person.sees("ada is back", "eve is back")
        assert person.page.evaluate("window.notReloaded")
        assert len(person.shown()) == 45


def test_a_server_that_comes_later_is_gone_on_with_as_well(make_node: Callable[..., Node], meet: Meet) -> None:
    """The page's security policy did not name it when the page was loaded."""
    pages = Pages(make_node, late=True)
    ada = meet(pages.web[0], "ada")
    ada.say("Is anybody there?")
    ada.sees("Is anybody there?")
    ada.page.fill("#say", "a draft")
    pages.secondary.start()
    pages.paired()
    # As when the window is looked at again; it looks by itself, too, but not so soon.
    with ada.page.expect_navigation():
        ada.page.evaluate("dispatchEvent(new Event('focus'))")
    ada.online("primary: two servers hold every message")
    pages.primary.kill()
    ada.online("secondary")
    assert ada.page.input_value("#say") == "a draft"
    ada.say("There is.")
    ada.sees("Is anybody there?", "There is.")


def test_nothing_typed_is_lost_while_no_server_is_there(web: tuple[Node, int], meet: Meet) -> None:
    node, port = web
    ada = meet(port, "ada")
    ada.say("before")
    ada.sees("before")
    node.kill()
    expect(ada.page.locator("#state")).to_contain_text("Reconnecting")
    ada.say("while away 1", "while away 2")
    ada.page.fill("#say", "a draft")
    assert ada.unconfirmed() == 2
    node.start()
    ada.sees("before", "while away 1", "while away 2")
    ada.page.reload()
    ada.online()
    ada.sees("before", "while away 1", "while away 2")
    expect(ada.page.locator("#me")).to_have_text("ada")
    assert ada.page.input_value("#say") == "a draft"
    assert texts_in(node.archive("MainHall")) == ["before", "while away 1", "while away 2"]


def test_one_conversation_is_in_one_tab(web: tuple[Node, int], meet: Meet) -> None:
    _, port = web
    ada = meet(port, "ada")
    with ada.context.expect_page() as opened:
        ada.page.evaluate("window.open(location.href)")
    other = opened.value
    expect(other.locator("#me")).to_have_text("ada")
    expect(ada.page.locator("#banner")).to_contain_text("another tab")
    ada.page.click("text=Talk here")
    ada.online()
    expect(other.locator("#banner")).to_contain_text("another tab")


def test_keyboard_alone(web: tuple[Node, int], meet: Meet) -> None:
    node, port = web
    ada = meet(port)
    keys = ada.page.keyboard

    def reach(selector: str) -> None:
        for _ in range(40):
            if ada.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
            keys.press("Tab")
        raise AssertionError(f"{selector} is not reached by Tab")

    reach("#me")
    keys.press("Enter")
    keys.type("ada")
    keys.press("Enter")
    expect(ada.page.locator("#me")).to_have_text("ada")
    expect(ada.page.locator("#say")).to_be_focused()
    keys.type("one")
    keys.press("Shift+Enter")
    keys.type("two")
    keys.press("Enter")
    ada.sees("one\ntwo")
    reach("#new-room")
    keys.press("Enter")
    keys.type("jokes")
    keys.press("Enter")
    expect(ada.page.locator("#title")).to_have_text("jokes")
    keys.type("in here")
    keys.press("Enter")
    ada.sees("in here")
    keys.press("Alt+ArrowUp")
    expect(ada.page.locator("#title")).to_have_text("MainHall")
    bob = node.extended("bob", history="none")
    bob.send("join", roomid="jokes", stay=True)
    bob.send("message", content="unread", roomid="jokes", id="unread-1")
    ada.page.locator("#mine .badge").wait_for()
    keys.press("Alt+u")
    ada.sees("in here", "unread")
    expect(ada.page.locator("#mine .badge")).to_have_count(0)
    for _ in range(4):
        keys.press("F6")
        if ada.page.evaluate("document.activeElement.closest('#members') !== null"):
            break
    keys.press("Tab")
    keys.press("Shift+Tab")
    keys.press("Enter")
    expect(ada.page.locator("#title")).to_have_text(re.compile("bob"))
    keys.type("psst")
    keys.press("Enter")
    assert bob.until("private")["content"] == "psst"
    ada.sees("psst")
    keys.press("F1")
    expect(ada.page.locator("#help")).to_be_visible()
    keys.press("Escape")
    expect(ada.page.locator("#help")).to_be_hidden()


def test_a_phone_and_hostile_text(web: tuple[Node, int], meet: Meet) -> None:
    node, port = web
    eve = node.extended("eve", history="none")
    eve.send("message", content=HOSTILE, id="hostile-1")
    eve.send("message", content="ש" * 40 + "wide" * 400, id="hostile-2")
    ada = meet(port, "ada", viewport={"width": 360, "height": 640}, has_touch=True, color_scheme="dark")
    ada.sees(HOSTILE)
    assert ada.page.locator("#log img, #log script").count() == 0
    width = "document.documentElement.scrollWidth"
    assert ada.page.evaluate(width) == 360, "nothing is wider than the screen"
    box = ada.page.locator("#composer button").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 360 and box["y"] + box["height"] <= 640
    assert box["height"] >= 40, "a thumb finds it"
    ada.page.evaluate("document.getElementById('log-frame').scrollTop = 0")
    ada.picture("page-phone.png")
    ada.page.tap("#show-members")
    expect(ada.page.locator("#people")).to_contain_text("eve")
    ada.page.tap("#people >> text=eve")
    expect(ada.page.locator("#title")).to_contain_text("eve")
    ada.page.tap("#show-rooms")
    ada.page.tap("#mine >> text=MainHall")
    ada.sees(HOSTILE)
    before = ada.page.evaluate("getComputedStyle(document.body).backgroundColor")
    ada.page.tap("#theme")
    assert ada.page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    # Had a script come in by some other way, it would not run.
    ran = ada.page.evaluate(
        """() => new Promise((done) => {
            document.addEventListener("securitypolicyviolation", () => done("blocked"), {once: true});
            const element = document.createElement("div");
            element.setAttribute("onclick", "document.title = 'ran'");
            document.body.append(element);
            element.click();
        })"""
    )
    assert ran == "blocked"
    ada.trouble = [said for said in ada.trouble if "Content Security Policy" not in said]


def test_what_was_said_is_found_and_gone_to(web: tuple[Node, int], meet: Meet) -> None:
    node, port = web
    bob = node.extended("bob", history="none")
    bob.send("message", content="The needle: first of all.", id="needle-1")
    said = fill(node, 120, 20)
    for number in range(25):
        bob.send("message", content=f"hay {number}", id=f"hay-{number}")
    bob.send("createroom", roomid="jokes")
    bob.send("join", roomid="jokes", stay=True)
    bob.send("message", content="A needle in a room of its own.", roomid="jokes", id="needle-2")
    ada = meet(port, "ada")
    keys, page = ada.page.keyboard, ada.page

    def search(query: str, told: str) -> None:
        """Search until it is told: what was said just now is found a little later."""
        page.fill("#search-query", query)

        def asked() -> bool:
            keys.press("Enter")
            expect(page.locator("#search-told")).not_to_have_text("Searching …")
            return told in page.inner_text("#search-told")

        wait_until(asked, told)

    keys.press("Control+k")
    expect(page.locator("#search-query")).to_be_focused()
    search("?!", "a query has words")
    search("nothing-like-it", "Nothing was found.")
    search("hay", "the newest 20")
    assert page.locator("#found .text").first.inner_text() == "hay 24"
    page.click("#search-more")
    expect(page.locator("#search-told")).to_have_text("25 in all")
    assert page.locator("#found .text").last.inner_text() == "hay 0"
    page.focus("#search-query")
    search("needle", "1 in all")
    ada.picture("page-search.png")
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(page.locator("#log li:focus")).to_contain_text("The needle: first of all.")
    # What lies between is not fetched unasked, and then one page at a time.
    between = page.locator("#log .missing button")
    expect(between).to_have_count(1)

    def filled() -> bool:
        if between.count():
            between.click()
        return len(ada.shown()) == 146

    wait_until(filled, "there is nothing between any more")
    expect(between).to_have_count(0)
    assert ada.shown()[1:121] == [text.strip() for text in said]
    ada.say("I am here")
    ada.sees("I am here")
    page.click("#others >> text=jokes")
    keys.press("Control+k")
    page.select_option("#search-where", "all")
    page.focus("#search-query")
    search("needle", "2 in all")
    page.click("#found >> text=of its own")
    expect(page.locator("#title")).to_have_text("jokes")
    expect(page.locator("#log li:focus")).to_contain_text("of its own")


def test_history_comes_page_by_page(web: tuple[Node, int], meet: Meet) -> None:
    node, port = web
    said = fill(node, 230, 20)
    ada = meet(port, "ada")
    ada.sees(said[-1])
    assert len(ada.shown()) < 130, "not all of it at once"
    top = "document.getElementById('log-frame').scrollTop = 0"

    def all_there() -> bool:
        ada.page.evaluate(top)
        return len(ada.shown()) == len(said)

    wait_until(all_there, "the first one is reached")
    assert ada.shown() == [text.strip() for text in said]


def test_over_tls(start_node: Callable[..., Node], meet: Meet, tmp_path: Path) -> None:
    (port,) = lasting_ports(1)
    made = tmp_path / "deployment"
    make_certificates(str(made), ["primary"], [HOST], 30, lambda said: None)
    key, certificate = made / "primary" / KEY, made / "primary" / CERTIFICATE
    start_node(f"--web=ssl:{port}:privateKey={key}:certKey={certificate}:interface={HOST}")
    ada, eve = (meet(port, name, scheme="https", ignore_https_errors=True) for name in ("ada", "eve"))
    ada.say("Nobody reads along.")
    eve.sees("Nobody reads along.")
    assert ada.page.evaluate(
        "isSecureContext && performance.getEntriesByType('navigation')[0].name.startsWith('https')"
    )


def read_page(port: int) -> str:
    with urlopen(f"http://{HOST}:{port}/") as response:
        return str(response.read().decode())


def test_a_server_moves_and_takes_the_page_along(make_node: Callable[..., Node], meet: Meet) -> None:
    one, two, peer, other, registry, *web = lasting_ports(7)
    make_node(
        "--role=registry", f"--registry-listen=tcp:{registry}:interface={HOST}", name="registry", listen=None
    ).start()
    here, there = (
        make_node(
            f"--role={role}",
            f"--name={name}",
            f"--peer-listen=tcp:{mine}:interface={HOST}",
            f"--registry=tcp:{HOST}:{registry}",
            f"--advertise={HOST}:{port}",
            f"--web=tcp:{page}:interface={HOST}",
            f"--web-advertise=http://{HOST}:{page}",
            name=name,
            listen=f"tcp:{port}:interface={HOST}",
        ).start()
        for role, name, port, mine, page in (
            ("primary", "one", one, peer, web[0]),
            ("standby", "two", two, other, web[1]),
        )
    )
    # What a page may do is said when it is loaded.
    wait_until(lambda: str(web[1]) in read_page(web[0]), "the one that stands by is known")
    ada = meet(web[0], "ada")
    ada.online("one")
    ada.page.evaluate("window.notReloaded = true")
    ada.say("before")
    ada.sees("before")
    ada.page.fill("#say", "a draft")
    assert "two" in command(str(here.data), "migrate")
    ada.online("two")
    ada.say("after")
    ada.sees("before", "after")
    assert ada.page.evaluate("window.notReloaded")
    assert texts_in(there.archive("MainHall")) == ["before", "after"]


def test_logging_in(make_node: Callable[..., Node], meet: Meet) -> None:
    """With an account, through the loss of its server and a reload; wrong passwords, and logging out."""
    pages = Pages(make_node)
    add(pages.primary, "ada", password="correct horse")
    ada = meet(pages.web[0])
    page = ada.page
    page.evaluate("window.notReloaded = true")

    def log_in(password: str) -> None:
        page.fill("#login-account", "ada")
        page.fill("#login-password", password)
        page.keyboard.press("Enter")

    page.click("#log-in")
    page.check("#login-stay")
    log_in("wrong")
    expect(page.locator("#login-told")).to_contain_text("no such account")
    ada.picture("page-login.png")
    # The next try is slowed; it is waited for.
    log_in("correct horse")
    expect(page.locator("#state")).to_contain_text("Logging in")
    expect(page.locator("#me")).to_have_text("ada")
    expect(page.locator("#log-in")).to_have_text("Log out")
    expect(page.locator("#people")).to_have_text(re.compile("^adayou$"))
    ada.say("I am who I am")
    ada.sees("I am who I am")
    assert "horse" not in page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    pages.primary.kill()
    ada.online("secondary")
    ada.say("still me")
    ada.sees("still me")
    assert page.evaluate("window.notReloaded")
    assert {said["identity"] for said in pages.secondary.archive("MainHall")} == {"ada"}
    pages.primary.start()
    pages.paired()
    # Another tab has no session of its own, and comes with what the browser keeps.
    again = ada.context.new_page()
    again.goto(page.url)
    expect(again.locator("#me")).to_have_text("ada")
    expect(again.locator("#log")).to_contain_text("still me")
    # What an operator takes back is gone, and is asked for.
    operate("account", str(pages.primary.data), "logout", "ada")
    for tab in (page, again):
        expect(tab.locator("#login-told")).to_contain_text("logged out everywhere")
    log_in("correct horse")
    expect(page.locator("#me")).to_have_text("ada")
    again.click("#login-cancel")
    expect(again.locator("#me")).to_have_text(re.compile("guest"))
    expect(again.locator("#log-in")).to_have_text("Log in …")
    page.click("#log-in")
    expect(page.locator("#me")).to_have_text(re.compile("guest"))
    assert page.evaluate("localStorage.length") == 0


def test_a_server_that_lets_no_guests_in_asks(start_node: Callable[..., Node], meet: Meet) -> None:
    (port,) = lasting_ports(1)
    node = start_node(f"--web=tcp:{port}:interface={HOST}", "--no-guests")
    add(node, "ada", password="correct horse")
    ada = meet(port, waits=False)
    expect(ada.page.locator("#login-told")).to_contain_text("without an account")
    ada.page.keyboard.press("Escape")
    ada.page.click("#banner-act")
    ada.page.fill("#login-account", "ada")
    ada.page.keyboard.press("Tab")
    ada.page.keyboard.type("correct horse")
    ada.page.keyboard.press("Enter")
    expect(ada.page.locator("#me")).to_have_text("ada")
    ada.page.reload()
    expect(ada.page.locator("#me")).to_have_text("ada")
    operate("ban", str(node.data), "ada", "--reason", "noise")
    expect(ada.page.locator("#banner")).to_contain_text("banned")
    expect(ada.page.locator("#banner-act")).to_have_text("Try again")
