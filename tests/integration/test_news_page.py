"""The mobile page in a real browser: on a narrow screen, without scripts, by keyboard, with hostile news."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from chatproto.cli.certs import make_certificates
from chatproto.cli.news.invented import picture
from tests.integration.browsers import chromium
from tests.integration.mobile import PASSWORD, Mobile
from tests.integration.pairs import HOST, lasting_ports

PHONE = {"viewport": {"width": 360, "height": 740}}
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def mobile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mobile]:
    (web,) = lasting_ports(1)
    process = Mobile(tmp_path_factory.mktemp("mobile"), web)
    yield process
    process.end()
    assert "Traceback" not in process.log(), process.log()[-4000:]


class Reader:
    """Somebody with a phone."""

    def __init__(self, browser: Browser, mobile: Mobile, **context: object) -> None:
        self.context = browser.new_context(**{**PHONE, **context})  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.trouble: list[str] = []
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: self.trouble.append(f"a script ran: {dialog.message}"))
        self.page.on("console", lambda said: self.trouble.append(said.text) if said.type == "error" else None)
        self.home = mobile.home
        self.page.goto(self.home)

    def log_in(self, password: str = PASSWORD) -> None:
        self.page.get_by_label("Name").fill("anna")
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def titles(self) -> list[str]:
        return list(self.page.locator("article h2").all_inner_texts())

    def sees(self, *titles: str) -> None:
        """Look again until there is this, and nothing else."""
        for _ in range(100):
            if self.titles() == list(titles):
                return
            self.page.wait_for_timeout(100)
            self.page.goto(self.home)
        assert self.titles() == list(titles)

    def fits(self) -> None:
        """Nothing is wider than the screen."""
        assert self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_reader_on_a_phone(browser: Browser, mobile: Mobile) -> None:
    anna = Reader(browser, mobile, java_script_enabled=True)
    expect(anna.page.get_by_label("Name")).to_be_visible()
    anna.log_in()
    expect(anna.page.get_by_text("Nothing new")).to_be_visible()
    mobile.add(1, b"Rain all over the coast, and more of it to come in the night.", title="Rain over Genoa")
    mobile.add(2, picture(1), title="The harbour in the evening", media_type="image/png")
    mobile.add(3, HOSTILE.encode(), title=HOSTILE, topic="sport")
    mobile.add(4, b"not for sport", title="Elsewhere", topic="gossip")
    mobile.add(5, ("A" * 200 + " ").encode() * 20, title="Very long " + "words" * 30)
    mobile.add(6, b"%PDF", title="The table", media_type="application/pdf")
    long = "Very long " + "words" * 30
    anna.sees("The table", long, HOSTILE, "The harbour in the evening", "Rain over Genoa")
    anna.fits()
    assert anna.page.locator("img").evaluate("image => image.complete && image.naturalWidth") == 320

    # The whole of a long text, and back.
    anna.page.get_by_role("link", name=re.compile("Read on")).click()
    expect(anna.page.locator(".text")).to_contain_text("A" * 200)
    anna.fits()
    anna.page.get_by_role("link", name="Back to the list").click()

    # What is no picture and no text is kept, not shown.
    with anna.page.expect_download() as download:
        anna.page.get_by_role("link", name="Get application/pdf").click()
    assert Path(download.value.path()).read_bytes() == b"%PDF"

    # One is read, by keyboard alone; then all.
    anna.page.get_by_role("button", name="Mark as read: Rain over Genoa").focus()
    with anna.page.expect_navigation():
        anna.page.keyboard.press("Enter")
    expect(anna.page.locator("article h2")).to_have_text(["The table", long, HOSTILE, "The harbour in the evening"])
    anna.page.get_by_role("button", name="Mark all 4 as read").click()
    expect(anna.page.get_by_text("Nothing new")).to_be_visible()
    anna.page.get_by_role("button", name="Log out").click()
    expect(anna.page.get_by_label("Name")).to_be_visible()
    anna.page.go_back()
    anna.page.goto(anna.home)
    expect(anna.page.get_by_label("Name")).to_be_visible()
    assert anna.trouble == []
    anna.context.close()


def test_without_scripts_and_what_expired_is_told(browser: Browser, mobile: Mobile) -> None:
    anna = Reader(browser, mobile, java_script_enabled=False, color_scheme="dark")
    anna.log_in("wrong")
    expect(anna.page.get_by_role("alert")).to_contain_text("not the password")
    for _ in range(20):
        # Whoever has failed waits a while.
        if anna.page.get_by_role("button", name="Log out").count():
            break
        anna.page.wait_for_timeout(200)
        anna.log_in()
    expect(anna.page.get_by_role("button", name="Log out")).to_be_visible()
    mobile.add(10, b"Quick.", title="A flash", life_s=2)
    for _ in range(100):
        if anna.page.get_by_text("1 item expired before you read it.").count():
            break
        anna.page.wait_for_timeout(100)
        anna.page.goto(anna.home)
    expect(anna.page.get_by_text("1 item expired before you read it.")).to_be_visible()
    anna.page.get_by_role("button", name="Understood").click()
    expect(anna.page.get_by_text("Nothing new")).to_be_visible()
    assert anna.page.get_by_text("expired").count() == 0
    # The refusals are told by the browser, too; nothing else is.
    assert not [said for said in anna.trouble if "401" not in said and "429" not in said]
    anna.context.close()


def test_by_tls_what_lets_a_reader_in_goes_nowhere_else(browser: Browser, tmp_path: Path) -> None:
    make_certificates(str(tmp_path), ["proxy"], [HOST], 13, print)
    (web,) = lasting_ports(1)
    process = Mobile(tmp_path, web, tmp_path / "proxy")
    anna = Reader(browser, process, ignore_https_errors=True)
    anna.log_in()
    expect(anna.page.get_by_role("button", name="Log out")).to_be_visible()
    (cookie,) = anna.context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    assert anna.trouble == []
    anna.context.close()
    process.end()
