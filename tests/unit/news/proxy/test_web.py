import re
from collections.abc import Callable
from email import message_from_bytes
from typing import Any
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.gate import Limits
from chatproto.http import REQUEST_S_MAX
from chatproto.news.proxy.answering import MobilePage, from_here
from chatproto.news.proxy.directory import Unreached
from chatproto.news.proxy.pages import PICTURE_BYTES_MAX
from chatproto.news.proxy.sessions import IDLE_S_MAX
from chatproto.news.proxy.shelf import Changes, MobileReader, Shelf
from chatproto.news.proxy.web import ANSWER_S_MAX, FORM_BYTES_MAX, MobileFactory
from chatproto.tally import Tally
from tests.unit.gateway.test_page import WebTransport
from tests.unit.news.proxy.making import NOW, item_of


class Closing(WebTransport):
    """A transport that says when it is about to end, as real ones do."""

    def loseConnection(self) -> None:
        super().loseConnection()
        self.disconnecting = True


class WebTestCase(SynchronousTestCase):
    """The page with a shelf, a disk that is a dictionary, and a contracting service that knows one password."""

    def setUp(self) -> None:
        self.clock, self.tally = Clock(), Tally()
        self.rows: dict[bytes, bytes] = {}
        self.writing: list[Callable[[], None]] | None = None
        self.reached = True
        self.code = ""
        self.newcomers = 0
        self.trouble = ""
        self.shelf = Shelf()
        self.keep(self.shelf.serve([MobileReader("anna", ("sport",)), MobileReader("bruno", ("gossip",))]), _nothing)
        page = MobilePage(
            self.shelf,
            self,
            self.keep,
            lambda key: succeed(self.rows.get(key)),
            lambda: self.trouble,
            self.clock.seconds,
            lambda: NOW + self.clock.seconds(),
            self.tally,
            self.newcomer,
        )
        self.limits = Limits()
        self.factory = MobileFactory(page, self.clock, self.tally, lambda: self.limits)
        self.cookie = ""

    def check(self, reader: str, password: str, host: str) -> "Deferred[str]":
        if not self.reached:
            return fail(Unreached("not reached"))
        return succeed(self.code if password == "right" else "login-failed")

    def newcomer(self) -> None:
        self.newcomers += 1

    def keep(self, changes: Changes, done: Callable[[], None]) -> None:
        for key, value in changes:
            self.rows[key] = value or b""
        if self.writing is None:
            done()
        else:
            self.writing.append(done)

    def add(self, number: int, body: bytes = b"It rains.", **fields: Any) -> None:
        self.keep(self.shelf.take("east", number, item_of(number, body, **fields), body, NOW), _nothing)

    # A browser

    def connect(self, host: str = "192.0.2.1") -> Any:
        self.transport = Closing()
        self.transport.peerAddr = IPv4Address("TCP", host, 5)
        channel: Any = self.factory.buildProtocol(self.transport.peerAddr)
        self.transport.protocol = channel
        channel.makeConnection(self.transport)
        return channel

    def ask(self, request: bytes, host: str = "192.0.2.1") -> tuple[int, Any, bytes]:
        self.connect(host).dataReceived(request)
        return self.answered()

    def answered(self) -> tuple[int, Any, bytes]:
        head, _, body = b"".join(self.transport.writes).partition(b"\r\n\r\n")
        status, _, headers = head.partition(b"\r\n")
        found = message_from_bytes(headers)
        if "Set-Cookie" in found:
            self.cookie = found["Set-Cookie"].partition(";")[0]
        return int(status.split()[1]), found, body

    def request(self, method: str, path: str, *headers: str, body: str = "", host: str = "192.0.2.1") -> Any:
        lines = [f"{method} {path} HTTP/1.1", "Host: here:80", *headers]
        if self.cookie:
            lines.append(f"Cookie: {self.cookie}")
        if body:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        return self.ask("\r\n".join([*lines, "", body]).encode(), host)

    def get(self, path: str = "/", *headers: str) -> tuple[int, Any, bytes]:
        return self.request("GET", path, *headers)

    def post(self, path: str, *headers: str, host: str = "192.0.2.1", **fields: str) -> tuple[int, Any, bytes]:
        return self.request("POST", path, *headers, body=urlencode(fields), host=host)

    def log_in(self, name: str = "anna", password: str = "right", host: str = "192.0.2.1") -> int:
        return int(self.post("/login", name=name, password=password, host=host)[0])

    @property
    def token(self) -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.get()[2].decode())
        assert found
        return found[1]


def _nothing() -> None:
    pass


class LoginTests(WebTestCase):
    def test_without_a_login_there_is_nothing_but_the_login(self) -> None:
        self.add(1)
        for path, expected in (("/", 200), ("/item/1", 401), ("/body/1", 401), ("/elsewhere", 401)):
            status, headers, body = self.get(path)
            self.assertEqual(status, expected)
            self.assertIn(b'action="/login"', body)
            self.assertNotIn(b"Title", body)
        self.assertEqual(self.post("/read-all", up_to="9", token="x")[0], 401)
        self.assertEqual(headers["Cache-Control"], "no-store")
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertEqual(headers["Referrer-Policy"], "same-origin")
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")

    def test_the_right_password_begins_a_session_that_no_script_and_no_other_site_has(self) -> None:
        status, headers, _ = self.post("/login", name=" anna ", password="right")
        self.assertEqual((status, headers["Location"]), (303, "/"))
        flags = headers["Set-Cookie"].partition("; ")[2]
        self.assertEqual(flags, "Path=/; HttpOnly; SameSite=Strict")
        self.assertIn(b"anna", self.get()[2])
        self.assertEqual(self.newcomers, 0)
        first, self.cookie = self.cookie, self.cookie
        self.log_in("bruno")
        self.assertNotEqual(self.cookie, first)
        self.cookie = first
        self.assertIn(b'action="/login"', self.get()[2], "the session before is over")

    def test_a_wrong_password_is_refused_counted_and_slowed(self) -> None:
        self.assertEqual(self.log_in(password="wrong"), 401)
        self.assertEqual(self.log_in(), 429)
        self.clock.advance(1)
        self.assertEqual(self.log_in(password="wrong"), 401)
        self.clock.advance(1)
        status, headers, body = self.post("/login", name="anna", password="right")
        self.assertEqual((status, headers["Retry-After"]), (429, "2"))
        self.assertIn(b"try again in 1 seconds", body)
        self.assertEqual(self.log_in(host="198.51.100.1"), 303, "nobody is locked out by others")
        self.assertEqual(self.tally.dropped, {("news-web", "login-failed"): 2, ("news-web", "slowed"): 2})

    def test_what_is_no_name_or_no_password_is_not_asked_about(self) -> None:
        self.reached = False
        for name, password in (("", "right"), ("<b>", "right"), ("anna", ""), ("anna", "x" * 1025)):
            self.assertEqual(self.log_in(name, password), 401)
            self.clock.advance(1000)

    def test_where_nobody_can_check_it_that_is_said(self) -> None:
        self.reached = False
        self.assertEqual(self.log_in(), 503)
        self.reached = True
        self.assertEqual(self.log_in(), 303, "that was no failure of the reader's")

    def test_who_is_right_and_does_not_belong_here_is_told_why(self) -> None:
        for code, status, told in (
            ("no-contract", 401, b"You have no contract."),
            ("not-mobile", 401, b"not a mobile one"),
            ("elsewhere", 401, b"on another page"),
            ("slowed", 429, b"tried too often"),
            ("not-serving", 503, b"cannot be checked at the moment"),
        ):
            self.code = code
            found, _, page = self.post("/login", name="anna", password="right")
            self.assertEqual(found, status, code)
            self.assertIn(told, page)
            self.assertEqual(self.cookie, "")

    def test_a_session_ends_when_it_is_ended_or_idle(self) -> None:
        self.log_in()
        kept = self.cookie
        status, headers, _ = self.post("/logout", token=self.token)
        self.assertEqual(status, 303)
        self.assertIn("Max-Age=0", headers["Set-Cookie"])
        self.cookie = kept
        self.assertIn(b'action="/login"', self.get()[2])
        self.log_in()
        self.clock.advance(IDLE_S_MAX)
        self.assertIn(b'action="/login"', self.get()[2])

    def test_the_page_of_another_site_does_nothing(self) -> None:
        self.log_in()
        token = self.token
        for header in (
            "Origin: http://evil",
            "Origin: null",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site",
        ):
            self.assertEqual(self.post("/logout", header, token=token)[0], 403)
            self.assertEqual(self.post("/login", header, name="anna", password="right")[0], 403)
        self.assertEqual(self.tally.dropped["news-web", "other-site"], 8)
        self.assertEqual(self.post("/read-all", token="guessed", up_to="9")[0], 403)
        self.assertEqual(self.tally.dropped["news-web", "no-token"], 1)
        good = ("Origin: http://here:80", "Sec-Fetch-Site: same-origin")
        self.assertEqual(self.post("/logout", *good, token=token)[0], 303)
        self.assertFalse(from_here("http://[", None, "here"))
        self.assertFalse(from_here("http://", None, ""))

    def test_who_is_not_served_yet_is_told_and_asked_about(self) -> None:
        self.assertEqual(self.log_in("carla"), 303)
        self.assertEqual(self.newcomers, 1)
        self.assertIn(b"nothing is kept for you yet", self.get()[2])


class ReadingTests(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.log_in()

    def titles(self, path: str = "/") -> list[str]:
        return re.findall(r"<h2>(.*?)</h2>", self.get(path)[2].decode())

    def test_what_is_new_is_listed_until_it_is_read(self) -> None:
        for number in (1, 2, 3):
            self.add(number)
        self.add(4, topic="gossip")
        self.assertEqual(self.titles(), ["Title 3", "Title 2", "Title 1"])
        self.assertEqual(self.post("/read", token=self.token, place="2")[0], 303)
        self.assertEqual(self.titles(), ["Title 3", "Title 1"])
        self.assertEqual(self.post("/read", token=self.token, place="2")[0], 303)
        self.assertEqual(self.titles("/?before=3"), ["Title 1"])
        self.post("/read-all", token=self.token, up_to="3")
        self.assertEqual(self.titles(), [])
        self.assertEqual(self.post("/read", token=self.token, place="x" * 30)[0], 303)
        self.assertEqual(self.post("/elsewhere", token=self.token)[0], 404)

    def test_nobody_is_told_before_it_is_durable(self) -> None:
        self.add(1)
        self.add(2)
        token = self.token
        self.writing = []
        self.connect().dataReceived(self.reading(1, token))
        self.assertEqual(self.transport.writes, [])
        self.writing.pop()()
        self.assertEqual(self.answered()[0], 303)
        # And whoever is gone in the meantime is not answered; it is done all the same.
        channel = self.connect()
        channel.dataReceived(self.reading(2, token))
        channel.connectionLost(Failure(ConnectionLost()))
        self.writing.pop()()
        self.assertEqual(self.transport.writes, [])
        self.assertEqual(self.shelf.unread("anna", NOW), [])

    def reading(self, place: int, token: str) -> bytes:
        """Return the request that marks an item."""
        body = urlencode({"token": token, "place": place})
        form = ("Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}")
        return "\r\n".join(["POST /read HTTP/1.1", "Host: here:80", f"Cookie: {self.cookie}", *form, "", body]).encode()

    def test_what_was_missed_and_what_is_wrong_is_said(self) -> None:
        self.add(1, expires=NOW + 5)
        self.keep(self.shelf.expire(NOW + 5), _nothing)
        self.trouble = "The delivery node is away."
        page = self.get()[2]
        self.assertIn(b"1 item expired before you read it.", page)
        self.assertIn(b"The delivery node is away.", page)
        self.post("/read-all", token=self.token, up_to="1")
        self.assertNotIn(b"expired", self.get()[2])

    def test_a_text_is_read_whole_and_nothing_in_it_is_more_than_text(self) -> None:
        self.add(1, b"<script>alert(1)</script>" * 100 + b"\xff")
        status, _, page = self.get("/item/1")
        self.assertEqual(status, 200)
        self.assertEqual(page.count(b"&lt;script&gt;alert(1)"), 100)
        self.assertNotIn(b"<script", page)

    def test_pictures_are_pictures_and_all_else_is_only_kept(self) -> None:
        self.add(1, b"\x89PNG", media_type="image/png")
        self.add(2, b"<script>", media_type="text/html")
        self.add(3, bytes(PICTURE_BYTES_MAX + 1), media_type="image/png")
        self.add(4, b"<svg>", media_type="image/svg+xml")
        status, headers, body = self.get("/body/1")
        self.assertEqual((status, headers["Content-Type"], body), (200, "image/png", b"\x89PNG"))
        self.assertNotIn("Content-Disposition", headers)
        for place, kind in ((2, "application/octet-stream"), (3, "image/png"), (4, "application/octet-stream")):
            status, headers, _ = self.get(f"/body/{place}")
            self.assertEqual((status, headers["Content-Type"]), (200, kind))
            self.assertEqual(headers["Content-Disposition"], f'attachment; filename="item-{place}"')
        self.assertIn(b"/body/2", self.get("/item/2")[2])

    def test_nobody_sees_what_is_anothers_or_gone(self) -> None:
        self.add(1, topic="gossip")
        self.add(2)
        self.rows.clear()
        for path in ("/item/1", "/body/1", "/body/9", "/body/", "/body/-1", "/other/2", "/body/2", "/item/2"):
            self.assertEqual(self.get(path)[0], 404, path)

    def test_a_failure_is_told_and_logged(self) -> None:
        self.add(1)
        self.patch(self.factory.page, "_read", lambda key: fail(OSError("disk")))
        self.assertEqual(self.get("/body/1")[0], 500)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class ConnectionTests(WebTestCase):
    def test_the_files_beside_the_page(self) -> None:
        for path, kind in (("/news.css", "text/css; charset=utf-8"), ("/news.svg", "image/svg+xml")):
            status, headers, body = self.get(path)
            self.assertEqual((status, headers["Content-Type"]), (200, kind))
            self.assertTrue(body)
            self.assertEqual(self.request("HEAD", path)[2], b"")

    def test_what_is_no_small_form_is_refused(self) -> None:
        self.assertEqual(self.request("PUT", "/")[0], 405)
        self.assertEqual(self.post("/login", name="a" * FORM_BYTES_MAX)[0], 413)
        chunked = b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nname=\r\n0\r\n\r\n"
        self.assertEqual(self.ask(chunked)[0], 413)
        many = "&".join(f"a{number}=1" for number in range(100))
        self.assertEqual(self.request("POST", "/login", body=many)[0], 401)
        self.assertEqual(self.factory.acceptableProtocols(), [b"http/1.1"])

    def test_a_connection_lasts_as_long_as_its_answer_may_take(self) -> None:
        self.connect()
        self.clock.advance(REQUEST_S_MAX)
        self.assertEqual(self.transport.calls, ["abort"])
        self.get()
        self.clock.advance(REQUEST_S_MAX)
        self.assertNotIn("abort", self.transport.calls)
        self.clock.advance(ANSWER_S_MAX)
        self.assertIn("abort", self.transport.calls)

    def test_of_many_the_first_makes_room(self) -> None:
        self.limits = Limits(connections_max=1)
        self.connect()
        first = self.transport
        self.connect()
        self.assertEqual(first.calls, ["abort"])
        self.assertEqual(self.tally.dropped, {("news-web", "full"): 1})

    @given(st.binary(max_size=300))
    def test_garbage_is_answered_or_dropped(self, data: bytes) -> None:
        form = b"POST /login HTTP/1.1\r\nContent-Length: 20\r\n\r\n"
        for begin in (b"", b"GET /", form, b"GET / HTTP/1.1\r\nCookie: news="):
            self.connect().dataReceived(begin + data + b"\r\n\r\n")
