from html.parser import HTMLParser
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.proxy.pages import (
    PAGE_ITEMS,
    PICTURE_BYTES_MAX,
    item_page,
    list_page,
    login_page,
    missed_in_words,
)
from chatproto.news.proxy.shelf import LEAD_CHARS_MAX, Kept, Missed
from tests.unit.news.proxy.making import NOW, item_of

TROUBLE = "<script>alert(1)</script>\"'&"
VOID = {"meta", "link", "input", "img"}


class _Reading(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def kept(number: int, lead: str = "It rains.", **fields: Any) -> Kept:
    return Kept(number, item_of(number, **fields), NOW, lead)


class PagesTestCase(SynchronousTestCase):
    def read(self, page: bytes) -> _Reading:
        reading = _Reading(page.decode())
        self.assertFalse(reading.all("script"))
        for _, attributes in reading.tags:
            self.assertFalse([name for name in attributes if name.startswith("on") or name == "style"])
        return reading

    def listed(self, *items: Kept, before: int | None = None, missed: Missed | None = None, told: str = "") -> _Reading:
        last = max((one.place for one in items), default=0)
        return self.read(list_page("anna", "form", items, before, last, missed or Missed(), told))


class LoginTests(PagesTestCase):
    def test_each_field_has_its_label_and_what_went_wrong_is_an_alert(self) -> None:
        page = self.read(login_page(TROUBLE, TROUBLE))
        self.assertEqual({label["for"] for label in page.all("label")}, {field["id"] for field in page.all("input")})
        self.assertEqual(page.all("input")[0]["value"], TROUBLE)
        self.assertEqual(page.all("form"), [{"class": "login", "method": "post", "action": "/login"}])
        self.assertIn({"class": "told bad", "role": "alert"}, page.all("p"))
        self.assertIn(TROUBLE, page.text)
        self.assertFalse(self.read(login_page()).all("p"))


class ListTests(PagesTestCase):
    def test_what_strangers_wrote_is_only_text(self) -> None:
        fields = {"title": TROUBLE, "topic": TROUBLE, "source": TROUBLE}
        page = self.listed(kept(1, TROUBLE, **fields), kept(2, media_type='x/y"><script>', **fields))
        self.assertGreaterEqual(page.text.count(TROUBLE), 5)
        self.assertIn("01 Jan, 00:00 UTC", self.listed(kept(1, injected=1.0)).text)
        self.assertIn("?", self.listed(kept(1, injected=1e300)).text)

    def test_every_form_that_does_something_brings_the_token(self) -> None:
        page = self.listed(kept(2), kept(1))
        forms = [form["action"] for form in page.all("form")]
        self.assertEqual(forms, ["/logout", "/read-all", "/read", "/read"])
        tokens = [field["value"] for field in page.all("input") if field["name"] == "token"]
        self.assertEqual(tokens, ["form"] * 4)
        others = [(field["name"], field["value"]) for field in page.all("input") if field["name"] != "token"]
        self.assertEqual(others, [("up_to", "2"), ("place", "2"), ("place", "1")])
        self.assertEqual({form["method"] for form in page.all("form")}, {"post"})

    def test_it_says_how_much_there_is_and_what_was_missed(self) -> None:
        self.assertIn("Nothing new", self.listed().text)
        self.assertIn("1 new item", self.listed(kept(1)).text)
        self.assertIn("2 new items", self.listed(kept(2), kept(1), told="Late.").text)
        page = self.listed(missed=Missed(1, 0))
        self.assertIn("1 item expired before you read it.", page.text)
        self.assertIn("Understood", page.text)
        self.assertEqual(
            missed_in_words(Missed(2, 3)),
            "2 items expired before you read them. 3 items had to make room for newer ones before you read them.",
        )

    def test_small_pictures_are_shown_and_large_ones_and_other_things_are_links(self) -> None:
        page = self.listed(
            kept(4, "", media_type="image/png"),
            kept(3, "", media_type="image/png", body=bytes(PICTURE_BYTES_MAX + 1)),
            kept(2, "", media_type="image/svg+xml"),
            kept(1, "<b>", media_type="text/html", body=bytes(2 * 1024 * 1024)),
        )
        self.assertEqual([picture["src"] for picture in page.all("img")], ["/body/4"])
        self.assertTrue(all(picture["alt"] for picture in page.all("img")))
        bodies = [str(link["href"]) for link in page.all("a") if "/body/" in str(link["href"])]
        self.assertEqual(bodies, ["/body/3", "/body/2", "/body/1"])
        for said in ("Get image/png, 256 KiB", "Get image/svg+xml, 9 bytes", "Get text/html, 2.0 MiB"):
            self.assertIn(said, page.text)

    def test_a_long_list_has_pages(self) -> None:
        items = [kept(number) for number in range(2 * PAGE_ITEMS + 1, 0, -1)]
        first = self.listed(*items)
        self.assertEqual(len(first.all("article")), PAGE_ITEMS)
        links = [link["href"] for link in first.all("a")]
        self.assertEqual(links, ["/", f"/?before={PAGE_ITEMS + 2}"])
        last = self.listed(*items, before=2)
        self.assertEqual(len(last.all("article")), 1)
        self.assertEqual([link["href"] for link in last.all("a")], ["/", "/"])
        self.assertIn(f"{len(items)} new items", last.text)

    def test_a_long_text_begins_here_and_goes_on_elsewhere(self) -> None:
        long = kept(1, "a" * LEAD_CHARS_MAX)
        self.assertIn("/item/1", [link["href"] for link in self.listed(long).all("a")])
        self.assertNotIn("/item/1", [link["href"] for link in self.listed(kept(1, "")).all("a")])
        page = self.read(item_page("anna", "form", long, "whole " * 1000))
        self.assertIn("whole " * 1000, page.text)
        self.assertIn("/", [link["href"] for link in page.all("a")])
