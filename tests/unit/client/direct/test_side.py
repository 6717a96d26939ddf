from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.client.direct.expected import Expected
from chatproto.client.direct.messages import (
    Accepted,
    Ack,
    Call,
    DirectMessage,
    Error,
    Nack,
    Private,
    decode_line,
    encode,
)
from chatproto.client.direct.side import TRANSITIONS, Answered, Cue, Effect, End, Heard, Opened, Send, Side, Stage
from chatproto.client.once import Once

CALL = Call(1, "ada", "eve", "t1")
EACH: dict[Cue, DirectMessage] = {
    Cue.SHOWS: CALL,
    Cue.ACCEPTED: Accepted(),
    Cue.SPEAKS: Private("p1", "hi"),
    Cue.ANSWERS: Ack("p1"),
    Cue.REFUSES: Error("version", "no"),
}


def plain(effects: list[Effect]) -> list[Any]:
    """Return effects with their lines read."""
    found: list[Any] = []
    for effect in effects:
        if isinstance(effect, Send):
            found.append(decode_line(effect.line))
        elif isinstance(effect, End):
            line = decode_line(effect.line) if effect.line else None
            found.append(("end", line.code if isinstance(line, Error) else line or effect.reason))
        else:
            found.append(effect)
    return found


class SideTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.expected = Expected(10, 30.0)
        self.once = Once(10)
        self.now = 0.0
        self.side = self.called()

    def called(self) -> Side:
        return Side(lambda: "eve", self.expected, self.once, 20)

    def calling(self) -> Side:
        return Side(lambda: "ada", self.expected, self.once, 20, to="eve")

    def hear(self, message: DirectMessage) -> list[Any]:
        return plain(self.side.received(message, self.now))

    def open(self) -> None:
        self.expected.expect("ada", "t1", self.now)
        self.assertEqual(self.hear(CALL), [Accepted(), Opened()])


class CalledTests(SideTestCase):
    def test_who_is_expected_is_let_in(self) -> None:
        self.open()
        self.assertEqual((self.side.stage, self.side.identity), (Stage.OPEN, "ada"))

    def test_who_comes_before_the_announcement_waits_for_it(self) -> None:
        self.assertEqual(self.hear(CALL), [])
        self.assertEqual(self.side.stage, Stage.SHOWN)
        self.expected.expect("ada", "another", self.now)
        self.assertEqual(self.side.announced(self.now), [])
        self.expected.expect("ada", "t1", self.now)
        self.assertEqual(plain(self.side.announced(self.now)), [Accepted(), Opened()])
        self.assertEqual(self.side.announced(self.now), [])

    def test_who_is_never_announced_is_refused(self) -> None:
        self.hear(CALL)
        self.assertEqual(plain(self.side.not_expected()), [("end", "not-expected")])
        self.assertEqual(self.side.stage, Stage.ENDED)

    def test_a_token_that_is_another_ones_or_too_old(self) -> None:
        self.expected.expect("eva", "t1", self.now)
        self.assertEqual(self.hear(CALL), [("end", "not-expected")])
        self.side = self.called()
        self.expected.expect("ada", "t1", self.now)
        self.now += 30.1
        self.assertEqual(self.hear(CALL), [("end", "not-expected")])

    def test_a_token_that_was_shown_before(self) -> None:
        self.open()
        self.side = self.called()
        self.assertEqual(self.hear(CALL), [])
        self.assertEqual(self.side.stage, Stage.SHOWN)

    def test_a_call_that_is_not_for_us(self) -> None:
        self.expected.expect("ada", "t1", self.now)
        self.assertEqual(self.hear(Call(1, "ada", "eva", "t1")), [("end", "not-me")])
        self.side = self.called()
        self.assertEqual(self.hear(Call(2, "ada", "eve", "t1")), [("end", "version")])
        self.assertTrue(self.expected.knows("t1"))


class CallingTests(SideTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.side = self.calling()
        self.assertEqual(plain(self.side.call("t1")), [CALL])

    def test_accepted(self) -> None:
        self.assertEqual(self.hear(Accepted()), [Opened()])
        self.assertEqual((self.side.stage, self.side.identity), (Stage.OPEN, "eve"))

    def test_refused(self) -> None:
        self.assertEqual(self.hear(Error("not-expected", "who?")), [("end", "not-expected")])
        self.assertEqual(self.side.stage, Stage.ENDED)

    def test_an_announcement_is_nothing_to_who_calls(self) -> None:
        self.expected.expect("ada", "t1", self.now)
        self.assertEqual(self.side.announced(self.now), [])


class OpenTests(SideTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.open()

    def test_a_message_is_acknowledged_and_heard(self) -> None:
        self.assertEqual(self.hear(Private("p1", "hi")), [Ack("p1"), Heard("hi", "p1")])
        self.assertEqual(self.hear(Private("p2", "")), [Ack("p2"), Heard("", "p2")])

    def test_a_message_that_was_heard_is_acknowledged_and_not_heard_again(self) -> None:
        self.once.relayed("p1")
        self.assertEqual(self.hear(Private("p1", "hi")), [Ack("p1")])

    def test_a_message_that_is_not_taken_is_the_last(self) -> None:
        for private, nack in (
            (Private("p1", "x" * 21), Nack("p1", "content-too-long")),
            (Private("", "hi"), Nack("", "id-invalid")),
            (Private("x" * 65, "hi"), Nack("x" * 64, "id-invalid")),
        ):
            self.setUp()
            self.assertEqual(self.hear(private), [("end", nack)])
            self.assertEqual(self.side.stage, Stage.ENDED)
        self.assertTrue(self.once.relayed("p1"), "it was not heard")

    def test_answers(self) -> None:
        self.assertEqual(self.hear(Ack("p1")), [Answered("p1")])
        self.assertEqual(self.hear(Nack("p2", "no")), [Answered("p2", "no"), ("end", "no")])
        self.assertEqual(self.side.stage, Stage.ENDED)

    def test_the_other_side_ends_it(self) -> None:
        self.assertEqual(self.hear(Error("bad-line", "")), [("end", "bad-line")])


class TableTests(SideTestCase):
    def test_what_is_not_in_the_table_ends_the_connection(self) -> None:
        for stage in (Stage.CALLED, Stage.SHOWN, Stage.CALLING, Stage.OPEN):
            for cue, message in EACH.items():
                self.setUp()
                self.side.stage = stage
                out_of_turn = self.hear(message) == [("end", "out-of-turn")]
                self.assertEqual(out_of_turn, (stage, cue) not in TRANSITIONS, (stage, cue))

    def test_every_stage_may_fail_but_the_last(self) -> None:
        for stage in Stage:
            self.assertEqual((stage, Cue.FAILS) in TRANSITIONS, stage is not Stage.ENDED)

    def test_all_lines_are_of_the_protocol(self) -> None:
        for message in (*EACH.values(), Nack("p1", "no")):
            self.assertEqual(decode_line(encode(message)), message)
