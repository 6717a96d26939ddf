"""People at browsers: Debian's chromium, driven by playwright, which downloads nothing."""

import os
import shutil
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.integration.nodes import PROJECT, WAIT_S_MAX, Node, wait_until
from tests.integration.pairs import HOST, lasting_ports

SCREENSHOTS = "CHATPROTO_SCREENSHOTS"
"""The variable that, if it is set, has the pictures in docs/ taken anew."""

expect.set_options(timeout=WAIT_S_MAX * 1000)


def chromium() -> str:
    """Return where chromium is; there is no test of the page without it."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None:
            return path
    raise AssertionError("chromium is missing: the page is tested in a real browser; on Debian, apt install chromium")


class Person:
    """Somebody at a browser, on a node's page."""

    def __init__(
        self,
        browser: Browser,
        web: int,
        identity: str = "",
        *,
        scheme: str = "http",
        waits: bool = True,
        **context: Any,
    ) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1000, "height": 640}, **context})
        self.page: Page = self.context.new_page()
        self.trouble: list[str] = []
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: self.trouble.append(f"a script ran: {dialog.message}"))
        self.page.on("console", lambda said: self._heard(said.type, said.text))
        self.page.goto(f"{scheme}://{HOST}:{web}/")
        if waits:
            self.online()
        if identity:
            self.page.click("#me")
            self.page.fill("#prompt-value", identity)
            self.page.keyboard.press("Enter")
            expect(self.page.locator("#me")).to_have_text(identity)

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error" and "WebSocket connection to" not in text and "ERR_CONNECTION_REFUSED" not in text:
            self.trouble.append(text)

    def online(self, server: str = "") -> None:
        """Wait until the page is connected, to a server if it matters which."""
        expect(self.page.locator("#state[data-phase=online]")).to_contain_text(f"Connected to {server}")

    def say(self, *contents: str) -> None:
        for content in contents:
            self.page.fill("#say", content)
            self.page.keyboard.press("Enter")

    def shown(self) -> list[str]:
        """Return the texts of the messages shown, in order."""
        return list(self.page.locator("#log > li:not(.missing) > p").all_inner_texts())

    def unconfirmed(self) -> int:
        return self.page.locator("#log .mark").count()

    def sees(self, *contents: str) -> None:
        """Wait until messages are shown, the last of them last, and nothing waits for its confirmation."""
        wait_until(lambda: set(contents) <= set(self.shown()) and not self.unconfirmed(), f"{contents} are shown")

    def picture(self, name: str) -> None:
        """Take a picture for the documents, if they are to be taken."""
        if os.environ.get(SCREENSHOTS):
            self.page.screenshot(path=PROJECT / "docs" / name)


class Pages:
    """A registry, a primary and, at once or later, a secondary, with a page each."""

    def __init__(self, make_node: Callable[..., Node], *, late: bool = False) -> None:
        one, two, peer, other, registry, *self.web = lasting_ports(7)
        self.registry = make_node(
            "--role=registry", f"--registry-listen=tcp:{registry}:interface={HOST}", name="registry", listen=None
        ).start()
        self.primary, self.secondary = (
            make_node(
                f"--role={name}",
                f"--peer-listen=tcp:{mine}:interface={HOST}",
                f"--peer=tcp:{HOST}:{its}",
                f"--registry=tcp:{HOST}:{registry}",
                f"--web=tcp:{web}:interface={HOST}",
                name=name,
                listen=f"tcp:{port}:interface={HOST}",
            )
            for name, port, mine, its, web in (
                ("primary", one, peer, other, self.web[0]),
                ("secondary", two, other, peer, self.web[1]),
            )
        )
        self.primary.start()
        if not late:
            self.secondary.start()
            self.paired()

    def paired(self) -> None:
        """Wait until both hold all."""

        def stand() -> list[str]:
            found = []
            for node in (self.primary, self.secondary):
                client = node.connect()
                client.send("status")
                found.append(client.read()["redundancy"])
                client.close()
            return found

        wait_until(lambda: stand() == ["paired", "paired"], "they are paired")


def texts_in(archive: list[dict[str, Any]]) -> list[str]:
    return [said["content"] for said in archive]
