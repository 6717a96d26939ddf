"""What a client wants to say, in order, and what becomes of it."""

import json

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import Contact, Error, Notice, RoomList
from chatproto.client import requests
from chatproto.client.events import ContactFound
from chatproto.client.outbox import Done, Outbox, QueueFull, Uncertain
from chatproto.client.settings import ClientSettings
from chatproto.errors import ClientError, Refused


def told(lines: bytes) -> list[str]:
    """Return what was said and asked, fences left out."""
    told = []
    for line in lines.splitlines():
        fields = json.loads(line)
        if not fields.get("roomid", "").startswith("?"):
            told.append(fields.get("id") or fields["type"])
    return told


class OutboxTests(SynchronousTestCase):
    def make(self, **settings: int) -> Outbox:
        self.outbox = Outbox(ClientSettings(**settings), "f")  # type: ignore[arg-type]
        return self.outbox

    def say(self, *keys: str, content: str = "x") -> None:
        for key in keys:
            self.outbox.add(requests.say(key, content, None))

    def due(self, requests: bool = True) -> list[str]:
        return told(self.outbox.due(requests=requests))

    def fenced(self, room: str) -> Done | None:
        self.outbox.fenced(room)
        return self.outbox.ended()

    def test_in_order(self) -> None:
        """Messages pass a request under way; a second request, and all behind it, waits."""
        self.make()
        self.say("a")
        self.outbox.add(requests.join("j", "Tea", stay=False, history=None))
        self.say("b")
        self.outbox.add(requests.list_rooms("l"))
        self.say("c")
        self.assertEqual(self.due(), ["a", "join", "b"])
        self.assertEqual(self.due(), [])
        self.assertEqual(len(self.outbox), 5)
        self.fenced("?f.1")
        self.assertEqual(self.due(), ["list", "c"])

    def test_requests_held(self) -> None:
        self.make()
        self.outbox.add(requests.list_rooms("l"))
        self.say("a")
        self.assertEqual(self.due(requests=False), [])
        self.assertEqual(self.due(), ["list", "a"])

    def test_window_of_messages(self) -> None:
        self.make(in_flight_max=2)
        self.say("a", "b", "c", "d")
        self.assertEqual(self.due(), ["a", "b"])
        self.assertTrue(self.outbox.acknowledge("b"))
        self.assertFalse(self.outbox.acknowledge("b"))
        self.assertEqual(self.due(), ["c"])

    def test_window_of_bytes(self) -> None:
        """What is longer than the window goes out alone."""
        self.make(in_flight_bytes_max=2 * len(requests.say("b", "x" * 40, None).line))
        self.say("a", content="x" * 300)
        self.say("b", "c", content="x" * 40)
        self.say("d", content="x" * 100)
        for step in (["a"], ["b", "c"], ["d"]):
            self.assertEqual(self.due(), step)
            for key in step:
                self.assertEqual(self.due(), [])
                self.outbox.acknowledge(key)

    def test_window_after_a_loss(self) -> None:
        """What was in flight is not any more."""
        line = len(requests.say("a", "x", None).line)
        self.make(in_flight_bytes_max=3 * line)
        for end in (self.outbox.lost, self.outbox.give_up):
            self.say("a", "b", "c", "d")
            self.assertEqual(self.due(), ["a", "b", "c"])
            end()
            self.outbox.give_up_queued()

    def test_withdraw(self) -> None:
        self.make()
        self.say("a", "b", "c")
        self.outbox.withdraw("b")
        self.outbox.withdraw("x")
        self.assertEqual(self.due(), ["a", "c"])
        self.outbox.withdraw("a")
        self.assertTrue(self.outbox.acknowledge("a"), "sent is sent")

    def test_count_ceiling(self) -> None:
        """What is queued, unacknowledged or under way counts; what is over does not."""
        self.make(queue_max=3)
        self.outbox.add(requests.list_rooms("l"))
        self.say("a")
        self.due()
        self.say("b")
        self.assertRaises(QueueFull, self.say, "c")
        self.outbox.acknowledge("a")
        self.say("c")
        self.assertRaises(QueueFull, self.say, "d")
        self.fenced("?f.1")
        self.say("d")
        self.assertRaises(QueueFull, self.say, "e")

    def test_byte_ceiling(self) -> None:
        """Bytes are given back on every way out, all of them."""
        line = len(requests.say("a", "x", None).line)
        request = len(requests.list_rooms("l").line)
        private = len(requests.private("p", "ada", "x").line)
        self.make(queue_bytes_max=2 * line + request + private)

        def fill() -> None:
            self.say("a", "b")
            self.outbox.add(requests.list_rooms("l"))
            self.outbox.add(requests.private("p", "ada", "x"))
            self.assertRaises(QueueFull, self.say, "c")

        fill()
        self.outbox.begin(requests.survey(b""))
        self.fenced("?f.1")
        self.due()
        self.outbox.acknowledge("a")
        self.outbox.acknowledge("p")
        self.fenced("?f.2")
        self.outbox.acknowledge("b")
        fill()
        for key in ("p", "unknown", "a", "b", "l"):
            self.outbox.withdraw(key)
        fill()
        self.due()
        self.outbox.lost()
        self.assertEqual(self.outbox.give_up_queued(), ["a", "b"])
        fill()
        self.outbox.give_up()
        self.assertEqual(self.outbox._bytes, 0)

    def test_line_ceiling(self) -> None:
        """A longer line would end the connection, again and again."""
        self.make(line_bytes_max=len(requests.say("a", "x" * 100, None).line) - 1)
        self.say("a", content="x" * 100)
        self.assertRaises(Refused, self.say, "b", content="x" * 101)
        self.assertEqual(self.due(), ["a"])

    def test_not_text(self) -> None:
        """A lone surrogate has no bytes to be sent."""
        self.assertRaises(ClientError, requests.say, "a", "\ud800", None)

    def test_lost(self) -> None:
        """Messages are said again, before what was queued; the rest may or may not have happened."""
        self.make(in_flight_max=4)
        self.say("a", "b")
        self.outbox.add(requests.private("p", "ada", "x"))
        self.outbox.add(requests.kick("k", "Tea", "ada", 5))
        self.say("c", "d")
        self.outbox.add(requests.list_rooms("l"))
        self.assertEqual(self.due(), ["a", "b", "p", "kick", "c"])
        self.outbox.acknowledge("a")
        ended = self.outbox.lost()
        self.assertEqual([done.key for done in ended], ["k", "p"])
        self.assertTrue(all(isinstance(done.error, Uncertain) for done in ended))
        self.assertIsNone(self.outbox.under_way)
        self.assertFalse(self.outbox.acknowledge("p"))
        self.assertEqual(self.due(), ["b", "c", "d", "list"])

    def test_lost_survey(self) -> None:
        """Nobody waits for a survey, and it is not made again by itself."""
        self.make()
        self.outbox.begin(requests.survey(b""))
        self.assertEqual(self.outbox.lost(), [])
        self.assertEqual(self.due(), [])
        self.outbox.begin(requests.survey(b""))
        self.assertEqual(self.outbox.give_up(), [])

    def test_give_up(self) -> None:
        self.make(in_flight_max=1)
        self.say("a")
        self.outbox.add(requests.list_rooms("l"))
        self.say("b")
        self.due()
        self.assertEqual(self.outbox.give_up(), ["a", "l", "b"])
        self.assertEqual(len(self.outbox), 0)
        self.assertFalse(self.outbox.acknowledge("a"))

    def test_longest(self) -> None:
        self.make()
        self.assertIsNone(self.outbox.longest())
        self.say("a", content="x")
        self.say("b", content="xxx")
        self.say("c", content="xx")
        self.assertIsNone(self.outbox.longest(), "not sent yet")
        self.due()
        self.assertEqual(self.outbox.longest(), "b")
        self.assertEqual(self.outbox.line_bytes_max, len(requests.say("b", "xxx", None).line))
        for key in "abc":
            self.outbox.acknowledge(key)
        self.assertEqual(self.outbox.line_bytes_max, 0)

    def test_awaits(self) -> None:
        """What was sent and not answered, be it acknowledged by its id or by its fence."""
        self.make()
        self.say("a")
        self.outbox.add(requests.list_rooms("l"))
        self.assertFalse(self.outbox.awaits, "not sent yet")
        self.due()
        self.outbox.acknowledge("a")
        self.assertTrue(self.outbox.awaits)
        self.fenced("?f.1")
        self.assertFalse(self.outbox.awaits)
        self.say("b")
        self.due()
        self.assertTrue(self.outbox.awaits)
        self.outbox.lost()
        self.assertFalse(self.outbox.awaits)

    # Requests

    def test_old_fences(self) -> None:
        """A fence of an earlier connection ends nothing."""
        self.make()
        self.outbox.add(requests.list_rooms("l"))
        self.outbox.add(requests.list_rooms("m"))
        self.due()
        self.outbox.lost()
        self.due()
        for room in ("?f.1", "?f.3", "?g.2"):
            self.assertIsNone(self.fenced(room))
        self.outbox.hear(RoomList([]), "ada")
        self.assertEqual(self.fenced("?f.2"), Done("m", {}))
        self.assertIsNone(self.fenced("?f.2"))
        self.assertTrue(self.outbox.is_fence("?f.1"))
        self.assertFalse(self.outbox.is_fence("Tea"))

    def test_no_answer(self) -> None:
        self.make()
        self.outbox.add(requests.list_rooms("l"))
        self.due()
        self.outbox.hear(Notice("x", "y"), "ada")
        done = self.fenced("?f.1")
        assert done is not None
        self.assertIs(type(done.error), ClientError)

    def test_late_answer(self) -> None:
        """Where the other node is asked, the answer comes when it comes; and the fence says nothing."""
        self.make()
        for end in ("answer", "refusal"):
            self.outbox.add(requests.contact("c", "eve"))
            self.due()
            self.assertIsNone(self.fenced(f"?f.{self.outbox._fences}"))
            self.outbox.hear(Contact("bob", "t", "b:1"), "ada")
            self.assertIsNone(self.outbox.ended())
            self.assertTrue(self.outbox.awaits)
            if end == "answer":
                self.outbox.hear(Contact("eve", "t", "e:1"), "ada")
                self.assertEqual(self.outbox.ended(), Done("c", ContactFound("eve", "e:1", "t")))
            else:
                self.assertTrue(self.outbox.refuse(Error("no-address", "y")))
                done = self.outbox.ended()
                assert done is not None and isinstance(done.error, Refused)
            self.assertIsNone(self.outbox.ended())
        self.assertEqual(self.outbox._bytes, 0)

    def test_early_answer(self) -> None:
        """One that comes before the fence is taken with it, as any."""
        self.make()
        self.outbox.add(requests.contact("c", "eve"))
        self.due()
        self.outbox.hear(Contact("eve", "t", "e:1"), "ada")
        self.assertIsNone(self.outbox.ended())
        self.assertEqual(self.fenced("?f.1"), Done("c", ContactFound("eve", "e:1", "t")))

    def test_refusal_goes_before_answer(self) -> None:
        """A refused request may see what looks like its answer."""
        self.make()
        self.outbox.add(requests.create_room("c", "Tea"))
        self.due()
        self.assertTrue(self.outbox.refuse(Error("room-taken", "there is", roomid="Tea")))
        self.outbox.hear(RoomList([]), "ada")
        done = self.fenced("?f.1")
        assert done is not None and isinstance(done.error, Refused)
        self.assertEqual(done.error.code, "room-taken")

    def test_refusal_of_another(self) -> None:
        """An error that names another room, or has nobody to refuse, is not taken."""
        self.make()
        self.assertFalse(self.outbox.refuse(Error("x", "y")))
        self.outbox.add(requests.leave("v", "Tea" + "x" * 100))
        self.outbox.add(requests.list_rooms("l"))
        self.due()
        self.assertFalse(self.outbox.refuse(Error("no-such-room", "y", roomid="Den")))
        self.assertTrue(self.outbox.refuse(Error("not-a-member", "y", roomid="Tea" + "x" * 61)), "a name is cut")
        self.fenced("?f.1")
        self.due()
        self.assertFalse(self.outbox.refuse(Error("no-such-room", "y", roomid="Den")))
        self.assertTrue(self.outbox.refuse(Error("bad-line", "y")))
