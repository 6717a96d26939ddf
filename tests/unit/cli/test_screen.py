"""Tests for chatproto.cli.screen: the terminal view without a terminal, and a client without a server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

from textual.events import Key
from textual.pilot import Pilot
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.screen import ChatApp
from chatproto.client import events
from chatproto.client.events import Delivered, HistoryPage, SearchResults
from tests.unit.cli.fake import FakeClient, said, status

WIDE = (120, 30)
NARROW = (60, 20)
Play = Callable[["Scene"], Awaitable[None]]


class Scene:
    """A chat on a terminal, seen as a user sees it."""

    def __init__(self, client: FakeClient, app: ChatApp, pilot: Pilot[Any]) -> None:
        self.client, self.app, self.pilot = client, app, pilot

    async def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys, in one burst."""
        for key in (*text, *keys):
            self.app.post_message(Key(key, key if len(key) == 1 else None))
        await self.settled()

    async def settled(self) -> "Scene":
        """Wait until every widget has done what it was told, and what came of that."""
        for _ in range(6):
            await self.pilot.pause(0)
        return self

    def rows(self, selector: str = "Screen") -> list[str]:
        """What stands on the screen, or in a part of it, without what surrounds it."""
        widget = self.app.query_one(selector) if selector != "Screen" else self.app.screen
        region = widget.content_region
        right = region.x + widget.scrollable_content_region.width
        strips = self.app.screen._compositor.render_strips()[region.y : region.bottom]
        return [strip.crop(region.x, right).text.rstrip() for strip in strips]

    def lines(self) -> list[str]:
        """The lines of the room shown, each without its time."""
        rows = [row.strip() for row in self.rows("History") if row.strip()]
        return [" ".join(row.split()[1:]) if row[:2].isdigit() or row[:1] == "⋯" else row for row in rows]

    def place(self, text: str) -> tuple[int, int]:
        """Where a text stands on the screen: column and row."""
        for row, line in enumerate(self.rows()):
            if text in line:
                return line.index(text), row
        raise AssertionError(f"{text!r} is not on the screen")

    @property
    def status(self) -> str:
        return self.rows("StatusLine")[0].strip()

    @property
    def typed(self) -> str:
        return self.app.query_one("Prompt").text  # type: ignore[attr-defined, no-any-return]


class ScreenTestCase(SynchronousTestCase):
    def play(self, play: Play, size: tuple[int, int] = WIDE) -> tuple[FakeClient, ChatApp]:
        """Play a scene, which must come to its end in time."""
        client = FakeClient()
        app = ChatApp(client, "east:4444")  # type: ignore[arg-type]

        async def scene() -> None:
            async with app.run_test(size=size) as pilot:
                await play(await Scene(client, app, pilot).settled())

        asyncio.run(asyncio.wait_for(scene(), 30))
        return client, app


class Shown(ScreenTestCase):
    def test_before_there_is_a_server(self) -> None:
        async def play(scene: Scene) -> None:
            self.assertIn("Connecting to east:4444 …", "\n".join(scene.rows("History")))
            scene.client.tell(events.StateChanged("waiting", "", "", "Connection refused"))
            await scene.settled()
            self.assertEqual(scene.status, "◌ waiting: Connection refused")

        self.play(play)

    def test_what_is_said_stands_in_the_middle(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.say(1, "bob", "hello alice")
            scene.client.say(2, "alice", "hello bob", own=True)
            await scene.settled()
            self.assertEqual(scene.lines()[-2:], ["bob hello alice", "alice hello bob"])
            self.assertEqual(scene.status, "● online at east │ paired │ alice in MainHall")

        self.play(play)

    def test_markup_and_escapes_are_shown_as_they_are(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online(members=("alice", "[red]x[/]"))
            scene.client.say(1, "bob", "[bold]b[/bold] [@click=app.quit]c[/] \x1b[31md\x07")
            scene.client.tell(events.Rooms({"MainHall": 1, "[i]Den[/i]": 1}))
            scene.client.tell(events.StateChanged("waiting", "", "", "[red]why[/red]\n\x1b[2J"))
            await scene.settled()
            self.assertEqual(scene.lines()[-1], "bob [bold]b[/bold] [@click=app.quit]c[/] ␛[31md␇")
            self.assertIn("[red]x[/]", "\n".join(scene.rows("Members")))
            self.assertIn("[i]Den[/i] 1", "\n".join(scene.rows("Rooms")))
            self.assertIn("[red]why[/red]␊␛[2J", scene.status)

        self.play(play)

    def test_further_lines_of_a_message_cannot_pass_for_another_s(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.say(1, "bob", "hi\n12:00 alice  I owe bob money\n\n" + "word " * 30)
            await scene.settled()
            rows = scene.rows("History")
            first = next(place for place, row in enumerate(rows) if " bob " in row)
            indent = rows[first + 1].index("12:00")
            self.assertGreater(indent, 5)
            for row in rows[first + 1 :]:
                self.assertEqual(row[:indent].strip(), "")

        for size in (WIDE, NARROW):
            self.play(play, size)

    def test_nothing_of_a_long_message_is_cut_off(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            for index in range(1, 40):
                scene.client.say(index, "bob", str(index))
            said = "漢字" * 3 + " word" * 30 + " " + "x" * 50 + " end"
            scene.client.say(40, "sixteenlettersab", said)
            await scene.settled()
            shown = "".join("".join(scene.rows("History")[-20:]).split())
            self.assertIn("".join(said.split()), shown)

        for size in (WIDE, NARROW, (40, 24)):
            self.play(play, size)

    def test_the_lists_beside_hide_where_there_is_little_room(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            for width, rooms, members in ((120, True, True), (80, True, False), (60, False, False)):
                await scene.pilot.resize_terminal(width, 24)
                await scene.settled()
                shown = (scene.app.query_one("Rooms").display, scene.app.query_one("Members").display)
                self.assertEqual(shown, (rooms, members), width)
            await scene.type("", "f2")
            self.assertIn("bob", "\n".join(scene.rows("Members")))
            await scene.type("", "f2")
            self.assertFalse(scene.app.query_one("Members").display)

        self.play(play)

    def test_members_and_rooms_stand_beside(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.tell(
                events.Members("MainHall", ("alice", "bob"), "bob"), events.Rooms({"MainHall": 2, "Den": 0})
            )
            await scene.settled()
            self.assertIn("bob owner", "\n".join(scene.rows("Members")))
            self.assertIn("Den 0", "\n".join(scene.rows("Rooms")))

        self.play(play)

    def test_what_is_unread_elsewhere_is_counted(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online("alice", "Den")
            later = mock.patch.object(scene.app.conversation.rooms["Den"], "entered", 0.0)
            with later:
                scene.client.say(1, "bob", "psst", "Den")
            await scene.settled()
            where = scene.status if scene.app.size.width < 70 else "\n".join(scene.rows("Rooms"))
            self.assertIn("Den 1 new", where)
            await scene.type("", "ctrl+n")
            self.assertEqual(scene.lines()[-1], "bob psst")
            self.assertIn(" new ", "\n".join(scene.lines()))
            self.assertNotIn("1 new", "\n".join(scene.rows()))

        for size in (WIDE, NARROW):
            self.play(play, size)


class Typing(ScreenTestCase):
    def test_a_message_is_pending_until_it_is_acknowledged(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("hello", "enter")
            self.assertEqual(scene.lines()[-1], "alice hello")
            self.assertIn("⋯", "\n".join(scene.rows("History")))
            self.assertIn("1 not acknowledged yet", scene.status)
            self.assertEqual(scene.client.acknowledge(1), ("hello", "MainHall"))
            await scene.settled()
            self.assertNotIn("⋯", "\n".join(scene.rows("History")))
            self.assertNotIn("acknowledged", scene.status)
            scene.client.say(1, "alice", "hello", own=True)
            await scene.settled()
            self.assertEqual([line for line in scene.lines() if "hello" in line], ["alice hello"])

        self.play(play)

    def test_what_others_say_does_not_disturb_the_line(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("half a li")
            scene.client.say(1, "bob", "interrupting")
            await scene.settled()
            await scene.type("ne", "enter")
            self.assertEqual(scene.client.take("send")[0], ("half a line", "MainHall"))

        self.play(play)

    def test_keys_do_not_overtake_each_other(self) -> None:
        """Keys that come in one burst mean what they mean one by one."""

        async def play(scene: Scene) -> None:
            scene.client.come_online("alice", "Den")
            await scene.settled()
            for key in (
                "h",
                "e",
                "y",
                "backspace",
                "x",
                "left",
                "z",
                "enter",
                "ctrl+n",
                "o",
                "enter",
                "up",
                "p",
                "enter",
            ):
                scene.app.post_message(Key(key, key if len(key) == 1 else None))
            await scene.settled()
            sent = [arguments for what, arguments, _ in scene.client.asked if what == "send"]
            self.assertEqual(sent, [("hezx", "MainHall"), ("o", "Den"), ("op", "Den")])

        self.play(play)

    def test_up_and_down_bring_back_what_was_typed(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("one", "enter")
            await scene.type("two", "enter")
            await scene.type("thr", "up")
            self.assertEqual(scene.typed, "two")
            await scene.type("", "up", "up")
            self.assertEqual(scene.typed, "one")
            await scene.type("", "down", "down")
            self.assertEqual(scene.typed, "thr")

        self.play(play)

    def test_tab_completes_commands_rooms_and_names(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.tell(events.Rooms({"MainHall": 2, "Den": 0, "Deck": 0}))
            await scene.settled()
            await scene.type("#jo", "tab")
            await scene.type("d", "tab")
            self.assertEqual(scene.typed, "#join Deck ")
            await scene.type("", "tab")
            self.assertEqual(scene.typed, "#join Den ")
            await scene.type("", "ctrl+u")
            await scene.type("bo", "tab")
            self.assertEqual(scene.typed, "bob: ")
            await scene.type("xyz", "tab")
            self.assertEqual(scene.typed, "bob: xyz")

        self.play(play)

    def test_several_lines(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("one", "ctrl+j")
            await scene.type("two", "up")
            self.assertEqual(scene.typed, "one\ntwo")
            await scene.type("", "enter")
            self.assertEqual(scene.client.take("send")[0], ("one\ntwo", "MainHall"))

        self.play(play)

    def test_a_mistake_is_explained(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("#jion Den", "enter")
            self.assertIn("did you mean #join?", " ".join(scene.lines()))
            self.assertEqual([what for what, *_ in scene.client.asked if what == "join"], [])

        self.play(play)

    def test_help(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("#help", "enter")
            self.assertIn("PageUp", " ".join(scene.lines()))
            await scene.type("#help kick", "enter")
            self.assertIn("#kick ROOM NAME SECONDS", " ".join(scene.lines()[-3:]))

        self.play(play, (120, 50))

    def test_before_there_is_a_room_nothing_can_be_said(self) -> None:
        async def play(scene: Scene) -> None:
            await scene.type("hello", "enter")
            self.assertEqual([what for what, *_ in scene.client.asked], [])
            scene.client.come_online()
            await scene.settled()
            self.assertIn("∙ There is no room to say that in yet.", scene.lines())

        self.play(play)


class Asking(ScreenTestCase):
    def test_answers_are_shown(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.take("who")
            scene.client.take("list_rooms")
            for typed, what, answer, shown in (
                (
                    "#who",
                    "who",
                    events.Members("MainHall", ("bob", "alice"), "bob"),
                    "In MainHall (owned by bob): alice bob",
                ),
                ("#who Den", "who", events.Members("Den", (), ""), "In Den: nobody"),
                ("#list", "list_rooms", {"MainHall": 2, "Den": 0}, "Rooms: Den 0 MainHall 2"),
                ("#createroom Den", "create_room", None, "Den is there, and yours. To go there: #join Den"),
                ("#delete Den", "delete_room", None, "Den is deleted."),
                ("#kick Den bob 5", "kick", None, "bob is put out of Den for 5 seconds."),
                ("#private bob psst", "send_direct", Delivered(True, 1), "to bob psst"),
                (
                    "#search tea",
                    "search",
                    SearchResults("tea", (), False),
                    "Nothing that was said in your rooms has tea.",
                ),
                ("#search tea", "search", SearchResults("tea", (said(7, "bob", "tea"),), False), "tea"),
                ("#status", "status", status(), "west (follower) is 0 entries behind."),
            ):
                await scene.type(typed, "enter")
                scene.client.take(what)[1].callback(answer)
                await scene.settled()
                self.assertIn(shown, scene.lines()[-1].removeprefix("∙ "))

        self.play(play)

    def test_refusals_are_shown(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("#join Nowhere", "enter")
            scene.client.refuse("join", "no-such-room", "there is no room Nowhere")
            await scene.type("hello", "enter")
            scene.client.refuse("send", "content-too-long", "it is too long")
            await scene.settled()
            self.assertEqual(scene.lines()[-2:], ["∙ there is no room Nowhere", "∙ Not said: 'hello' (it is too long)"])

        self.play(play)

    def test_nobody_was_reached(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("#private bob psst", "enter")
            scene.client.take("send_direct")[1].callback(Delivered(False, 0))
            await scene.settled()
            self.assertEqual(scene.lines()[-2:], ["to bob psst", "∙ bob was not reached."])

        self.play(play)

    def test_joining_shows_the_room_and_asks_who_is_in_it(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("#join Den stay", "enter")
            arguments, answer = scene.client.take("join")
            self.assertEqual(arguments, ("Den", True))
            scene.client.tell(events.Moved("alice", "", "Den"))
            answer.callback(None)
            await scene.settled()
            self.assertIn("alice in Den", scene.status)
            self.assertEqual([arguments for what, arguments, _ in scene.client.asked if what == "who"][-1], ("Den",))

        self.play(play)

    def test_joining_a_room_that_we_are_in_only_shows_it(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online("alice", "Den")
            await scene.type("#join Den", "enter")
            self.assertIn("alice in Den", scene.status)
            self.assertNotIn("join", [what for what, *_ in scene.client.asked])

        self.play(play)

    def test_a_room_that_is_clicked_is_entered(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.tell(events.Rooms({"MainHall": 2, "Den": 0}))
            await scene.settled()
            await scene.pilot.click(offset=scene.place("Den"))
            await scene.settled()
            self.assertEqual(scene.client.take("join")[0], ("Den", True))
            await scene.type("still typing")
            self.assertEqual(scene.typed, "still typing")

        self.play(play)


class Scrolling(ScreenTestCase):
    def test_older_pages_are_fetched_at_the_top(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            for index in range(101, 141):
                scene.client.say(index, "bob", f"number {index}")
            await scene.settled()
            self.assertEqual(scene.lines()[-1], "bob number 140")
            self.assertNotIn("history_page", [what for what, *_ in scene.client.asked])
            await scene.type("", "pageup", "pageup", "pageup")
            arguments, answer = scene.client.take("history_page")
            self.assertEqual(arguments, ("MainHall", 101, None, 100))
            self.assertIn("fetching older messages …", scene.lines())
            top = scene.lines()[3]
            answer.callback(
                HistoryPage("MainHall", tuple(said(index, "bob", f"number {index}") for index in range(1, 101)), False)
            )
            await scene.settled()
            self.assertIn(top, scene.lines(), "what was in sight has moved away")
            for _ in range(10):
                await scene.type("", "pageup")
            self.assertEqual(scene.lines()[0], "the beginning of MainHall")
            self.assertIn("bob number 1", scene.lines())
            self.assertNotIn("history_page", [what for what, *_ in scene.client.asked])

        self.play(play)

    def test_a_page_that_cannot_be_had_can_be_asked_for_again(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("", "pageup")
            scene.client.refuse("history_page", "no-such-room", "it was deleted")
            await scene.type("", "pageup")
            scene.client.take("history_page")

        self.play(play)

    def test_whoever_reads_what_is_older_is_not_taken_away_from_it(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            for index in range(1, 101):
                scene.client.say(index, "bob", f"number {index}")
            await scene.type("", "pageup")
            before = scene.lines()
            scene.client.say(101, "bob", "number 101")
            scene.client.say(102, "bob", "number 102")
            await scene.settled()
            self.assertEqual(scene.lines(), before)
            self.assertIn("↓ 2 new", scene.status)
            await scene.type("", "escape")
            self.assertEqual(scene.lines()[-1], "bob number 102")
            self.assertNotIn("new", scene.status)

        self.play(play)

    def test_saying_something_goes_to_the_end(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            for index in range(1, 101):
                scene.client.say(index, "bob", f"number {index}")
            await scene.type("", "pageup")
            await scene.type("hello", "enter")
            self.assertEqual(scene.lines()[-1], "alice hello")

        self.play(play)

    def test_help_can_be_scrolled_at_once(self) -> None:
        """Regression: as long as Textual had not drawn its scroll bar, keys in the same burst scrolled nothing."""

        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.settled()
            await scene.type("", "f1", "pageup")
            self.assertNotIn("Ctrl-D", " ".join(scene.lines()))

        self.play(play, NARROW)

    def test_failover(self) -> None:
        """Where we are and how many servers hold what is said is always there, however narrow the terminal."""

        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.tell(events.StateChanged("waiting", "", "", "no answer within 1.0 s"))
            scene.client.tell(events.StateChanged("connecting", "", "", ""))
            await scene.settled()
            self.assertTrue(scene.status.startswith("◌ connecting: no answer"), scene.status)
            scene.client.tell(events.StateChanged("online", "west", "alone", ""))
            await scene.settled()
            self.assertIn("east is gone (no answer within 1.0 s); on west within 0.1 s.", " ".join(scene.lines()))
            for redundancy in ("alone", "paired", "single", "isolated"):
                scene.client.tell(events.StateChanged("online", "west", redundancy, "the server says so"))
                await scene.settled()
                self.assertTrue(scene.status.startswith(f"● online at west │ {redundancy}"), scene.status)

        for size in (WIDE, NARROW, (36, 20)):
            self.play(play, size)

    def test_another_width_wraps_anew(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.say(1, "bob", "word " * 40 + "end")
            await scene.settled()
            rows = len(scene.lines())
            await scene.pilot.resize_terminal(40, 30)
            await scene.settled()
            self.assertGreater(len(scene.lines()), rows)
            self.assertEqual(scene.lines()[-1].split()[-1], "end")

        self.play(play)


class Leaving(ScreenTestCase):
    def test_politely(self) -> None:
        for typed, key in (("", "ctrl+c"), ("", "ctrl+q"), ("", "ctrl+d"), ("#quit", "enter")):

            async def play(scene: Scene, typed: str = typed, key: str = key) -> None:
                scene.client.come_online()
                await scene.type(typed, key)

            client, app = self.play(play)
            self.assertFalse(client.running, key)
            self.assertEqual(app.return_value, "", key)

    def test_what_is_not_acknowledged_is_warned_of_once(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            await scene.type("hello", "enter")
            await scene.type("", "ctrl+c")
            self.assertIn("One message is not acknowledged yet", " ".join(scene.lines()))
            self.assertTrue(scene.client.running)
            await scene.type("", "ctrl+c")

        client, app = self.play(play)
        self.assertFalse(client.running)
        self.assertEqual(app.return_value, "1 of your messages were not acknowledged")

    def test_a_server_that_takes_long_is_left_without_a_word(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.stopping = Deferred()
            await scene.type("", "ctrl+c")
            self.assertIsNone(scene.app.return_value)
            await scene.type("", "ctrl+c")

        _, app = self.play(play)
        self.assertEqual(app.return_value, "left without waiting for the server")

    def test_another_connection_took_the_session(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.tell(events.StateChanged("stopped", "", "", "session-moved"))
            await scene.settled()

        _, app = self.play(play)
        self.assertEqual(app.return_value, "the connection has ended: session-moved")

    def test_ctrl_c_copies_what_is_selected(self) -> None:
        async def play(scene: Scene) -> None:
            scene.client.come_online()
            scene.client.say(1, "bob", "copy this")
            await scene.settled()
            column, row = scene.place("copy this")
            await scene.pilot.mouse_down(offset=(column, row))
            await scene.pilot.hover(offset=(column + 3, row))
            await scene.pilot.mouse_up(offset=(column + 3, row))
            await scene.settled()
            await scene.type("", "ctrl+c")
            self.assertEqual(scene.app.clipboard, "copy")
            self.assertTrue(scene.client.running)
            await scene.type("", "ctrl+c")

        client, _ = self.play(play)
        self.assertFalse(client.running)
