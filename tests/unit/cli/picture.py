"""Draws docs/terminal.svg: a scene on the terminal view, without a server.

python -m tests.unit.cli.picture docs/terminal.svg
"""

import asyncio
import os
import re
import sys
import time
from unittest import mock

import msgspec

from chatproto.cli.screen import ChatApp
from chatproto.client import events
from tests.unit.cli.fake import NOON, FakeClient, said, status

CELLS = (116, 28)
CELL = 12.2
SPACE = "&#160;"
SCENE = [
    ("carol", "Morning! The server is back on its feet, I see."),
    ("bob", "It is. I pulled its plug last night, by the way."),
    ("carol", "You did WHAT?"),
    (
        "bob",
        "Nobody noticed. Not one message lost, not one twice, and nobody seemed to leave or to come. alice, did you?",
    ),
    ("alice", "Not at all. When?"),
    ("bob", "Between “You did” and “WHAT?”"),
    ("dave", "[bold red]does markup work?[/] \x1b[31mor escapes?\x1b[0m"),
    ("carol", "No, dave. Neither."),
]


async def scene() -> str:
    """Play the scene; return its picture."""
    client = FakeClient()
    app = ChatApp(client, "chat.example:4444")  # type: ignore[arg-type]
    async with app.run_test(size=CELLS) as pilot:
        client.come_online("alice", "Kitchen", members=("alice", "bob", "carol", "dave", "guest1"))
        client.tell(events.StateChanged("online", "primary", "single", ""))
        client.tell(events.Rooms({"MainHall": 5, "Kitchen": 3, "Library": 2, "Workshop": 11}))
        for index, (name, text) in enumerate(SCENE, 18):
            client.say(index, name, text, own=name == "alice")
        client.tell(events.Moved("erin", "", "MainHall"))
        client.tell(
            events.PrivateSaid("bob", "I will do it again at three. Watch the status line.", "p", NOON + 60 * 27)
        )
        await pilot.press(*"#status", "enter")
        _, answer = client.take("status")
        answer.callback(msgspec.structs.replace(status(25, 25, "single"), epoch=1, peers=[]))
        for index in (1, 2):
            client.tell(said(index, "carol", "Coffee is ready", "Kitchen"))
        app.conversation.rooms["Kitchen"].unread = 2
        await pilot.press(*"#private bob", "space", *"Deal.", "enter")
        client.take("send_direct")[1].callback(events.Delivered(False, 1))
        await pilot.press(*"Good to know that it survives a bob.", "enter")
        await pilot.press(*"#join Lib", "tab")
        await pilot.pause()
        return app.export_screenshot(title="chatproto chat")


def without_fonts(svg: str) -> str:
    """Return a picture that fetches nothing: whatever monospaced font there is will do."""
    svg = re.sub(r"@font-face\s*\{[^}]*\}|<!--.*?-->", "", svg)
    svg = svg.replace("Fira Code", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono")
    svg = re.sub(r'x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"([^>]*)>([^<]*)<', _trimmed, svg)
    return re.sub(r"[ \t]*\n(?:[ \t]*\n)*", "\n", svg)


def _trimmed(found: re.Match[str]) -> str:
    """Return a text without the spaces around it, at the same place: some viewers take them away anyhow."""
    x, y, length, rest, text = found.groups()
    left = text
    while left.startswith(SPACE):
        left = left.removeprefix(SPACE)
    inner = left
    while inner.endswith(SPACE):
        inner = inner.removesuffix(SPACE)
    before, after = (text.count(SPACE) - left.count(SPACE)), (left.count(SPACE) - inner.count(SPACE))
    x, length = f"{float(x) + before * CELL:g}", f"{float(length) - (before + after) * CELL:g}"
    return f'x="{x}" y="{y}" textLength="{length}"{rest}>{inner}<'


def main() -> None:
    os.environ["TZ"] = "UTC"
    time.tzset()
    with mock.patch("time.time", lambda: NOON + 60 * 27):
        svg = without_fonts(asyncio.run(scene()))
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(svg)


if __name__ == "__main__":
    main()
