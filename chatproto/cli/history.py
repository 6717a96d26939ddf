"""The lines of a room on the terminal: wrapped, scrolled, selected, each drawn once for a width."""

from bisect import bisect_right
from collections.abc import Sequence
from zlib import crc32

from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message as TextualMessage
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from chatproto.cli.conversation import Item, Message, Note, Pending, PrivateMessage, Tone, Unread
from chatproto.cli.text import clock_time, day, harmless, harmless_lines

NAME_CELLS = 12
"""What names are filled up to, so that texts stand below each other; longer ones take what they need."""

COMPACT_BELOW_CELLS = 64
"""In less room than this, names are not filled up."""

NEAR_TOP_ROWS = 3
TIME_CELLS = 6

_NAMES = ("#6cb6ff", "#e3b341", "#7ee787", "#ff9bce", "#a5d6ff", "#ffa657", "#d2a8ff", "#56d4dd")
_OWN = Style(color="#c9d1d9", bold=True)
_TIME = Style(color="#7d8590")
_TO_US = Style(color="#f2cc60")
_PENDING = Style(dim=True, italic=True)
_PRIVATE = Style(color="#d2a8ff", italic=True)
_RULE = Style(color="#7d8590")
_UNREAD = Style(color="#f85149")
_TONES = {
    Tone.QUIET: Style(color="#7d8590"),
    Tone.ANSWER: Style(color="#a5d6ff"),
    Tone.WRONG: Style(color="#ff7b72"),
}


def name_style(name: str) -> Style:
    """Return the colour of somebody's name, the same wherever and whenever it is shown."""
    return Style(color=_NAMES[crc32(name.encode("utf-8", "replace")) % len(_NAMES)])


class History(ScrollView, can_focus=False):
    """The lines of one room."""

    ALLOW_SELECT = True

    class AtTop(TextualMessage):
        """Somebody scrolled to where older lines would be."""

    class Scrolled(TextualMessage):
        """Other lines are in sight."""

    def __init__(self, *, id: str | None = None) -> None:
        """Show nothing yet."""
        super().__init__(id=id)
        self._items: Sequence[Item] = ()
        self._header = ""
        # Of each item the day it belongs to, and its rows.
        self._drawn: dict[Item, tuple[str, list[Text]]] = {}
        self._drawn_cells = 0
        self._rows: list[Text] = []
        self._starts: list[int] = []
        self._seen: Item | None = None

    @property
    def allow_select(self) -> bool:
        """Whether text may be selected with the mouse."""
        return True

    @property
    def at_end(self) -> bool:
        """Whether the newest line is in sight."""
        return self.scroll_offset.y >= self.max_scroll_y

    @property
    def unseen(self) -> int:
        """How many messages came below what is in sight."""
        if self.at_end or self._seen not in self._drawn:
            return 0
        count = 0
        for item in reversed(self._items):
            if item is self._seen:
                break
            count += isinstance(item, Message | PrivateMessage)
        return count

    def show(self, items: Sequence[Item], header: str, *, from_the_end: bool = False) -> None:
        """Show a room's lines, below a header that stands before the oldest.

        What is in sight stays where it is, or, if that is the end, follows the end, as it does with `from_the_end`.
        """
        follow = from_the_end or self.at_end
        top, offset = self._in_sight()
        self._items, self._header = items, header
        self._lay_out()
        if follow:
            self.scroll_end(animate=False, force=True, immediate=True, x_axis=False)
            self._note_seen()
        elif top is not None and top in self._drawn:
            place = next(place for place, item in enumerate(items) if item is top)
            self.scroll_to(y=self._starts[place] + offset, animate=False, force=True)
        self.refresh()

    def _note_seen(self) -> None:
        self._seen = next((item for item in reversed(self._items) if not isinstance(item, Pending)), None)

    def _in_sight(self) -> tuple[Item | None, int]:
        """Return the line that the top row belongs to, and how many of its rows are above."""
        y = self.scroll_offset.y
        place = bisect_right(self._starts, y) - 1
        if place < 0:
            return (self._items[0], y - self._starts[0]) if self._items else (None, 0)
        return self._items[place], y - self._starts[place]

    def _lay_out(self) -> None:
        cells = max(20, self.scrollable_content_region.width)
        former = self._drawn if cells == self._drawn_cells else {}
        self._drawn, self._drawn_cells = {}, cells
        header = Text.assemble((self._header, _RULE))
        header.align("center", cells)
        rows, starts = [header], []
        today = ""
        for item in self._items:
            drawn = former.get(item)
            if drawn is None or isinstance(item, Pending):
                date = today if isinstance(item, Unread) else day(item.time)
                drawn = date, self._draw(item, cells)
            self._drawn[item] = drawn
            if drawn[0] not in (today, ""):
                today = drawn[0]
                rows.append(_rule(today, cells, _RULE))
            starts.append(len(rows))
            rows += drawn[1]
        self._rows, self._starts = rows, starts
        self.virtual_size = Size(cells, len(rows))

    def _draw(self, item: Item, cells: int) -> list[Text]:
        if isinstance(item, Unread):
            return [_rule("new", cells, _UNREAD)]
        moment = clock_time(item.time)
        match item:
            case Message():
                by = _OWN if item.own else name_style(item.identity)
                return self._spoken(moment, item.identity, by, item.content, _TO_US if item.to_us else None, cells)
            case Pending(index=None):
                return self._spoken("  ⋯", item.identity, _PENDING, item.content, _PENDING, cells)
            case Pending():
                return self._spoken(moment, item.identity, _OWN, item.content, None, cells)
            case PrivateMessage():
                name = f"to {item.identity}" if item.own else f"{item.identity} to you"
                return self._spoken(moment, name, _PRIVATE, item.content, _PRIVATE, cells)
            case Note():
                return self._spoken(moment, "∙", _TONES[item.tone], item.text, _TONES[item.tone], cells)

    def _spoken(self, moment: str, name: str, by: Style, content: str, style: Style | None, cells: int) -> list[Text]:
        """Return a text behind its head; further rows are indented, so that they cannot pass for another's."""
        compact = cells < COMPACT_BELOW_CELLS
        filled, gap = (0, " ") if compact else (NAME_CELLS, "  ")
        head = Text.assemble((f"{moment:{TIME_CELLS}}", _TIME), (f"{harmless(name):>{filled}}", by), gap)
        indent = TIME_CELLS + filled + 2
        rows: list[Text] = []
        for line in harmless_lines(content):
            text = Text(line, style=style or "", overflow="fold")
            if not rows:
                # The first row has what the head leaves, which is less where a name is long.
                first, *_ = text.wrap(self.app.console, max(8, cells - head.cell_len)) or [text]
                rows.append(head + first)
                text = text[len(first.plain) :]
                text = text[len(text.plain) - len(text.plain.lstrip()) :]
                if not text.plain:
                    continue
            rows += [Text(" " * indent) + row for row in text.wrap(self.app.console, max(8, cells - indent))]
        return rows

    # Scrolling

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Notice when the top comes in sight."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            if self.at_end:
                self._note_seen()
            self.post_message(self.Scrolled())
        if new_value < old_value and new_value <= NEAR_TOP_ROWS and self.max_scroll_y:
            self.post_message(self.AtTop())

    def scroll_pages(self, pages: float) -> None:
        """Scroll by pages, upwards where negative; at the top already, ask for what is older."""
        if pages < 0 and self.scroll_offset.y == 0:
            self.post_message(self.AtTop())
        rows = max(1, round(abs(pages) * (self.size.height - 2)))
        self.scroll_relative(y=rows if pages > 0 else -rows, animate=False, force=True)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Ask for what is older where there is nothing to scroll."""
        if self.scroll_offset.y == 0:
            self.post_message(self.AtTop())

    def on_resize(self, event: events.Resize) -> None:
        """Wrap anew."""
        if self.scrollable_content_region.width != self._drawn_cells:
            self.show(self._items, self._header)

    # Drawing and selecting

    def render_line(self, y: int) -> Strip:
        """Return a row in sight."""
        place = self.scroll_offset.y + y
        cells = self.size.width
        if place >= len(self._rows):
            return Strip.blank(cells, self.rich_style)
        text = self._rows[place].copy()
        text.stylize_before(self.rich_style)
        selection = self.text_selection
        span = selection.get_span(place) if selection is not None else None
        if span is not None:
            start, end = span
            style = self.screen.get_component_rich_style("screen--selection")
            text.stylize(style, start, len(text) if end == -1 else end)
        strip = Strip(text.render(self.app.console), text.cell_len)
        return strip.crop_extend(0, cells, self.rich_style).apply_offsets(0, place)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the text selected."""
        return selection.extract("\n".join(row.plain for row in self._rows)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Show the selection."""
        self.refresh()


def _rule(text: str, cells: int, style: Style) -> Text:
    # Not as the style of the whole, which what is drawn below would cover.
    return Text.assemble((f" {text} ".center(cells, "─")[:cells], style))
