"""The mobile page over HTTP: one request a connection, small forms only, in bounded time."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPFactory, Request

from chatproto.gate import Gate, Limits
from chatproto.http import RequestChannel
from chatproto.news.proxy.answering import COOKIE, DOOR, Asked, MobilePage, Reply, from_here
from chatproto.news.proxy.pages import POLICY, page
from chatproto.tally import Tally

FORM_BYTES_MAX = 8 * 1024
FIELDS_MAX = 16
HEADER_BYTES_MAX = 8 * 1024
HEADERS_MAX = 64
ANSWER_S_MAX = 120.0
"""For an answer to be taken by a light terminal: 2 MiB at 20 KB/s."""
LIMITS = Limits(connections_max=512)

STATIC = {"/news.css": "text/css; charset=utf-8", "/news.svg": "image/svg+xml"}

log = Logger()


class MobileRequest(Request):
    """One request."""

    channel: "MobileChannel"

    def process(self) -> None:
        """Answer."""
        factory = self.channel.factory
        path = self.path.decode("ascii", "replace")
        if self.channel.form_refused:
            self._answer(_plain(413, "That is more than a form of this page."))
        elif self.method not in (b"GET", b"HEAD", b"POST"):
            self.setHeader("Allow", "GET, HEAD, POST")
            self._answer(_plain(405, "Only GET, HEAD and POST are answered."))
        elif path in factory.files and self.method != b"POST":
            self._answer(Reply(200, STATIC[path], factory.files[path], {"Cache-Control": "max-age=3600"}))
        else:
            answering: Deferred[Any] = maybeDeferred(factory.page.answer, self._asked(path))
            gone: Deferred[Any] = self.notifyFinish()
            gone.addErrback(lambda _: None)  # Whoever is gone hears nothing; what was begun is done all the same.
            answering.addErrback(_failed)
            answering.addCallback(self._answer_in_time)
            answering.addErrback(lambda failure: log.failure("answering a request failed", failure))

    def _asked(self, path: str) -> Asked:
        content: Any = self.content
        transport: Any = self.transport
        given = content.read() if self.method == b"POST" else self.uri.partition(b"?")[2]
        try:
            fields = dict(
                parse_qsl(given.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
            )
        except ValueError:
            fields = {}
        token = self.getCookie(COOKIE.encode()) or b""
        host = self.getHeader("host") or ""
        return Asked(
            "POST" if self.method == b"POST" else "GET",
            path,
            fields,
            token.decode("ascii", "replace"),
            getattr(transport.getPeer(), "host", ""),
            bool(self.isSecure()),
            from_here(self.getHeader("origin"), self.getHeader("sec-fetch-site"), host),
        )

    def _answer_in_time(self, reply: Reply) -> None:
        if not self._disconnected and not self.finished:
            self.channel.prolong(ANSWER_S_MAX)
            self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        self.setResponseCode(reply.status, RESPONSES.get(reply.status, b"Too Many Requests"))
        self.setHeader("Content-Security-Policy", POLICY)
        self.setHeader("Cross-Origin-Opener-Policy", "same-origin")
        self.setHeader("Cross-Origin-Resource-Policy", "same-origin")
        self.setHeader("X-Content-Type-Options", "nosniff")
        # Not none at all: with that, browsers would hide from this page that its forms are its own.
        self.setHeader("Referrer-Policy", "same-origin")
        self.setHeader("Cache-Control", "no-store")
        self.setHeader("Content-Type", reply.type)
        self.setHeader("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.setHeader(name, value)
        if self.method != b"HEAD":
            self.write(reply.body)
        self.finish()


def _plain(status: int, told: str) -> Reply:
    return Reply(status, body=page(told, ""))


def _failed(failure: Failure) -> Reply:
    log.failure("a request could not be answered", failure)
    return _plain(500, "Something went wrong here. Try again.")


class MobileChannel(RequestChannel):
    """A connection with one request."""

    factory: "MobileFactory"
    requestFactory = MobileRequest
    totalHeadersSize = HEADER_BYTES_MAX
    MAX_LENGTH = HEADER_BYTES_MAX
    maxHeaders = HEADERS_MAX
    form_refused = False

    def allHeadersReceived(self) -> None:
        """Take a form; one that is too large, or does not say how large it is, is refused before it comes."""
        super().allHeadersReceived()
        if self.length is None or self.length > FORM_BYTES_MAX:
            self.form_refused = True
            self.length = 0

    def rawDataReceived(self, data: bytes) -> None:
        """Take the form; ignore what comes after."""
        if not self.form_refused:
            super().rawDataReceived(data)


class MobileFactory(HTTPFactory):
    """Serves the mobile page.

    Attributes:
        page: answers.
        files: beside it, by path.
        gate: has the requests.
        clock: how long they last.
    """

    protocol = MobileChannel  # type: ignore[assignment]

    noisy = False

    def __init__(self, page: MobilePage, clock: IReactorTime, tally: Tally, limits: Callable[[], Limits]) -> None:
        """Serve a page."""
        super().__init__(timeout=None, reactor=clock)  # type: ignore[arg-type]
        self.page = page
        self.clock = clock
        static = files("chatproto.news.proxy").joinpath("static")
        self.files = {path: static.joinpath(path[1:]).read_bytes() for path in STATIC}
        self.gate: Gate[RequestChannel] = Gate(DOOR, tally, limits)

    def acceptableProtocols(self) -> list[bytes]:
        """Return what is spoken over TLS: browsers ask, and are not served where nothing is chosen."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """Keep no log of requests."""

    def stopFactory(self) -> None:
        """See `startFactory`."""

    def log(self, request: Request) -> None:
        """See `startFactory`."""
