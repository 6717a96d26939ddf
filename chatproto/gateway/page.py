"""What a browser loads: one page, its few files, and the WebSocket that these speak with the server by."""

import hashlib
import html
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import files

from twisted.internet.interfaces import IProtocolNegotiationFactory, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import RESPONSES, HTTPFactory, Request
from zope.interface import implementer

from chatproto.chat.protocol import ClientLinkFactory
from chatproto.gate import Gate
from chatproto.gateway.admission import Refusal, admit, origin_of, security_policy
from chatproto.gateway.settings import PageSettings
from chatproto.gateway.websocket import PageLink, WebSocket
from chatproto.http import RequestChannel
from chatproto.link import Turn
from chatproto.tally import Tally

DOOR = "page"
"""What is dropped here is counted under this name."""
HEADER_BYTES_MAX = 8192
HEADERS_MAX = 64

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_PAGES = b'<meta name="pages" content="">'

log = Logger()


@dataclass(frozen=True)
class File:
    """A file of the page, in memory: they are few and small."""

    type: str
    content: bytes

    @property
    def tag(self) -> str:
        """Its `ETag`."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def packaged() -> dict[str, File]:
    """Return the files of the page by their paths, as they come with the library."""
    found = {}
    for entry in files("chatproto.gateway").joinpath("static").iterdir():
        kind = _TYPES.get(entry.name.rpartition(".")[2])
        if kind is not None:
            found[f"/{entry.name}"] = File(f"{kind}; charset=utf-8", entry.read_bytes())
    found["/"] = found.pop("/index.html")
    return found


class PageRequest(Request):
    """One request, which is answered at once."""

    channel: "PageChannel"

    def process(self) -> None:
        """Answer with a file, or take a WebSocket; everything else is refused."""
        factory = self.channel.factory
        path = self.path.decode("ascii", "replace").partition("?")[0]
        if self.method not in (b"GET", b"HEAD"):
            self.setHeader("Allow", "GET, HEAD")
            self._refuse(405, "only GET and HEAD are answered")
        elif self.channel.length_given:
            self._refuse(413, "nothing is to be sent along")
        elif path == "/ws":
            self._upgrade()
        elif path in factory.files:
            self._send(path)
        else:
            self._refuse(404, "there is nothing here")

    def _header(self, name: str) -> str | None:
        values = self.requestHeaders.getRawHeaders(name)
        return None if values is None else ", ".join(values)

    def _upgrade(self) -> None:
        factory = self.channel.factory
        accepted = admit(self._header, factory.pages(), factory.settings.origins)
        if isinstance(accepted, str) and self.method == b"GET":
            self.channel.become_websocket(accepted)
            return
        refusal = accepted if isinstance(accepted, Refusal) else Refusal(405, "no-websocket", "a WebSocket is got")
        factory.tally.drop(DOOR, refusal.word)
        log.info("refusing a WebSocket: {reason}", reason=refusal.reason, origin=self._header("origin"))
        if refusal.status == 426:
            self.setHeader("Upgrade", "websocket")
            self.setHeader("Sec-WebSocket-Version", "13")
        self._refuse(refusal.status, refusal.reason)

    def _send(self, path: str) -> None:
        factory = self.channel.factory
        file = factory.files[path]
        if path == "/":
            file = factory.with_pages(file)
        self.setHeader("Content-Security-Policy", security_policy(factory.pages()))
        self.setHeader("Cross-Origin-Opener-Policy", "same-origin")
        self.setHeader("Cross-Origin-Resource-Policy", "same-origin")
        # Asked for anew each time, and not sent anew: the files of two releases never meet in one page.
        self.setHeader("Cache-Control", "no-cache")
        if self.setETag(file.tag.encode()) is None:
            self._finish(file.type, file.content)
        else:
            self._finish(file.type, b"")

    def _refuse(self, status: int, text: str) -> None:
        self.setResponseCode(status, RESPONSES.get(status, b"Upgrade Required"))
        self._finish("text/plain; charset=utf-8", text.encode() + b"\n")

    def _finish(self, kind: str, content: bytes) -> None:
        self.setHeader("X-Content-Type-Options", "nosniff")
        self.setHeader("Referrer-Policy", "no-referrer")
        if self.code != 304:
            self.setHeader("Content-Type", kind)
            self.setHeader("Content-Length", str(len(content)))
        if self.method != b"HEAD":
            self.write(content)
        self.finish()


class PageChannel(RequestChannel):
    """A connection: one request and its answer, or a WebSocket."""

    factory: "PageFactory"
    requestFactory = PageRequest
    totalHeadersSize = HEADER_BYTES_MAX
    MAX_LENGTH = HEADER_BYTES_MAX
    maxHeaders = HEADERS_MAX
    length_given = False

    def allHeadersReceived(self) -> None:
        """Answer at once: a body is not waited for, it is refused."""
        super().allHeadersReceived()
        self.length_given = self.length != 0
        self.length = 0

    def rawDataReceived(self, data: bytes) -> None:
        """Ignore what comes after the request."""

    def become_websocket(self, accept: str) -> None:
        """Hand the connection over to a WebSocket."""
        transport = self.transport
        socket = self.factory.make_websocket()
        self.leave()
        transport.unregisterProducer()
        # Twisted's web server has no public way out of it: this is how its own WebSockets, and others', leave it.
        wrapper = transport if isinstance(transport, ProtocolWrapper) else transport.protocol
        if isinstance(wrapper, ProtocolWrapper):
            wrapper.wrappedProtocol = socket
        else:
            transport.protocol = socket
        self.transport = None
        transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
        )
        socket.makeConnection(transport)


@implementer(IProtocolNegotiationFactory)
class PageFactory(HTTPFactory):
    """Serves the page of a node, and the WebSockets that its clients come by.

    Attributes:
        settings: what can be set.
        files: of the page, by path.
        pages: returns the addresses of this deployment's pages, as far as they are known.
        gate: has the requests; the WebSockets that they become have one of their own.
        clock: how long connections last.
        tally: counts what is dropped.
    """

    protocol = PageChannel  # type: ignore[assignment]

    noisy = False

    def __init__(
        self,
        settings: PageSettings,
        clients: ClientLinkFactory,
        pages: Callable[[], list[str]],
        turn: Turn,
        clock: IReactorTime,
        tally: Tally,
    ) -> None:
        """Serve the page.

        Args:
            settings: what can be set.
            clients: counts the links of this node's clients.
            pages: returns the addresses of this deployment's pages, as far as they are known.
            turn: of the reactor.
            clock: how long connections last.
            tally: counts what is dropped.
        """
        super().__init__(timeout=None, reactor=clock)  # type: ignore[arg-type]
        self.settings = settings
        self.files = packaged()
        self.pages = pages
        self.clock = clock
        self.tally = tally
        self._clients = clients
        self._make_link = partial(PageLink, clients.server, turn, clock, clients.open_gate(DOOR))
        self.gate: Gate[RequestChannel] = Gate(DOOR, tally, clients.limits)

    def acceptableProtocols(self) -> list[bytes]:
        """Return what is spoken over TLS: browsers ask, and are not served where nothing is chosen."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """Keep no log of requests."""

    def stopFactory(self) -> None:
        """See `startFactory`."""

    def log(self, request: Request) -> None:
        """See `startFactory`."""

    def with_pages(self, file: File) -> File:
        """Return the page, telling its script where else it may go: what its security policy says too."""
        origins = " ".join(filter(None, map(origin_of, self.pages())))
        return File(file.type, file.content.replace(_PAGES, _PAGES[:-2] + html.escape(origins).encode() + b'">', 1))

    def make_websocket(self) -> WebSocket:
        """Return the WebSocket of a client."""
        link = self._make_link()
        link.factory = self._clients
        return WebSocket(link, self.clock)
