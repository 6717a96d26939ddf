from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.lines import (
    HISTORY_BYTES_MAX,
    base_lines,
    base_lines_of,
    fitting,
    history_line,
    lines_of,
)
from chatproto.chat.messages import History, Said, SaidExtended, decode_server_line, encode
from chatproto.chat.session import EntryMaker
from chatproto.log.entry import Entry, Numbering
from chatproto.log.interface import Slice

contents = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.lists(
    st.sampled_from(['"', "\\", ",", ":", "{", "}", "\n", "roomid", '","roomid":"', "content", "x"]), max_size=9
).map("".join)


def entries(contents: list[str], identity: str = "adel") -> list[Entry]:
    """Return messages as a session makes them."""
    make = EntryMaker("p.")
    return [
        make.message("jokes", encode(Said(identity, content))[:-2], f"id{at}" if at % 2 else None, 1700000000.25, None)
        for at, content in enumerate(contents)
    ]


class BaseLinesTests(SynchronousTestCase):
    @given(st.lists(contents, min_size=1, max_size=5))
    def test_a_stored_line_becomes_what_a_base_client_receives(self, said: list[str]) -> None:
        (run,) = Numbering(0, {}, 1).seal(entries(said))
        wanted = b"".join(encode(Said("adel", content)) for content in said)
        self.assertEqual(base_lines(run.body), wanted)
        self.assertEqual(base_lines_of(run), wanted)
        # A follower has only its own entries at hand.
        run.entries[0] = Entry("", "", "", 0.0, b"")
        self.assertEqual(base_lines_of(run), wanted)
        run.entries = []
        self.assertEqual(base_lines_of(run), wanted)

    @given(st.lists(contents, min_size=1, max_size=5))
    def test_a_stored_line_is_what_an_extended_client_receives(self, said: list[str]) -> None:
        (run,) = Numbering(0, {"jokes": 6}, 2).seal(entries(said))
        for at, (line, content) in enumerate(zip(run.lines(), said, strict=True)):
            id = f"id{at}" if at % 2 else f"p.{at // 2 + 1}"
            message = SaidExtended("adel", content, "jokes", 7 + at, 2, id, 1700000000.25)
            self.assertEqual(decode_server_line(line), message)
            self.assertEqual(line, encode(message)[:-1].replace(b"1700000000.25}", b"1700000000.250}"))


class PageTests(SynchronousTestCase):
    def test_a_page_is_one_line_of_the_stored_ones(self) -> None:
        (run,) = Numbering(0, {}, 1).seal(entries(["one", "two"]))
        line = history_line("jokes", run.lines(), True)
        page = decode_server_line(line)
        assert isinstance(page, History)
        self.assertEqual([message.content for message in page.messages], ["one", "two"])
        self.assertEqual((page.roomid, page.more, line.endswith(b"}\n")), ("jokes", True, True))
        self.assertEqual(decode_server_line(history_line("jokes", [], False)), History("jokes", [], False))

    @given(st.lists(st.integers(1, 30_000), max_size=12), st.booleans())
    def test_a_page_holds_what_fits_a_line_of_64_kib(self, sizes: list[int], from_the_end: bool) -> None:
        lines = [b"x" * size for size in sizes]
        page = fitting(lines, from_the_end=from_the_end)
        count = len(page)
        self.assertEqual(page, lines[len(lines) - count :] if from_the_end else lines[:count])
        if count > 1:
            self.assertLessEqual(len(history_line("r" * 32, page, False)), HISTORY_BYTES_MAX + 1)
        if count < len(lines):
            one_more = lines[len(lines) - count - 1 :] if from_the_end else lines[: count + 1]
            self.assertGreater(len(history_line("r" * 32, one_more, False)), HISTORY_BYTES_MAX - 128)

    def test_a_message_longer_than_a_line_is_a_page_of_its_own(self) -> None:
        lines = [b"short", b"x" * HISTORY_BYTES_MAX, b"short too"]
        self.assertEqual(fitting(lines[1:], from_the_end=False), lines[1:2])
        self.assertEqual(fitting(lines[:2], from_the_end=True), lines[1:2])
        self.assertEqual(fitting(lines, from_the_end=False), lines[:1])
        self.assertEqual(fitting(lines, from_the_end=True), lines[2:])

    def test_a_page_is_filled_from_the_end_that_was_asked_for(self) -> None:
        lines = [b"x" * size for size in (60_000, 10_000, 20_000)]
        self.assertEqual(fitting(lines, from_the_end=False), lines[:1])
        self.assertEqual(fitting(lines, from_the_end=True), lines[1:])

    def test_nothing_fits_anywhere(self) -> None:
        self.assertEqual(fitting([], from_the_end=False), [])
        self.assertEqual(fitting([], from_the_end=True), [])

    def test_slices_are_taken_apart(self) -> None:
        self.assertEqual(lines_of([Slice(1, 2, b"a\nb"), Slice(7, 1, b"c")]), [b"a", b"b", b"c"])
        self.assertEqual(lines_of([]), [])
