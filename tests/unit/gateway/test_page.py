from email import message_from_bytes
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from chatproto.chat.protocol import ClientLinkFactory
from chatproto.chat.settings import ChatSettings
from chatproto.gateway import PageSettings
from chatproto.gateway.frames import TEXT
from chatproto.gateway.page import HEADER_BYTES_MAX, PageFactory, packaged
from chatproto.gateway.websocket import WebSocket
from chatproto.http import REQUEST_S_MAX
from chatproto.tally import Tally
from tests.unit.chat.fakes import ChatTestCase
from tests.unit.gateway.wire import masked, unframed
from tests.unit.transports import Transport

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: here:80\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class WebTransport(Transport):
    """A transport that a web server writes to."""

    protocol: Any = None

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        self.calls.append("lose")


class PageTestCase(ChatTestCase):
    settings = ChatSettings(name="primary", handshakes_max=3, pages=["http://here:80"])

    def start(self) -> None:
        super().start()
        self.tally = Tally()
        clients = ClientLinkFactory(self.server, self.turn, self.clock, self.tally)
        self.pages = ["http://here:80"]
        self.factory = PageFactory(
            PageSettings("tcp:80"), clients, lambda: self.pages, self.turn, self.clock, self.tally
        )
        self.factory.doStart()
        self.addCleanup(self.factory.doStop)

    def connect(self) -> Any:
        self.transport = WebTransport()
        self.transport.peerAddr = IPv4Address("TCP", "127.0.0.1", 5)
        channel: Any = self.factory.buildProtocol(self.transport.peerAddr)
        self.transport.protocol = channel
        channel.makeConnection(self.transport)
        return channel

    def ask(self, request: bytes) -> tuple[int, Any, bytes]:
        """Send a request; return status, headers and body."""
        self.connect().dataReceived(request)
        head, _, body = b"".join(self.transport.writes).partition(b"\r\n\r\n")
        status, _, headers = head.partition(b"\r\n")
        return int(status.split()[1]), message_from_bytes(headers), body

    def get(self, path: str, *headers: str, method: str = "GET") -> tuple[int, Any, bytes]:
        lines = [f"{method} {path} HTTP/1.1", "Host: here:80", *headers, "", ""]
        return self.ask("\r\n".join(lines).encode())


class FileTests(PageTestCase):
    def test_the_page_and_its_files_come_with_the_library(self) -> None:
        self.assertEqual(
            set(packaged()),
            {"/", "/page.css", "/icon.svg"}
            | {
                f"/{name}.js"
                for name in ("page", "chat", "connection", "conversation", "dialogs", "login", "search", "view")
            },
        )
        for path, file in packaged().items():
            status, headers, body = self.get(path)
            self.assertEqual((status, headers["Content-Type"]), (200, file.type))
            self.assertEqual(int(headers["Content-Length"]), len(body))
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(headers["Referrer-Policy"], "no-referrer")
            self.assertEqual(headers["Connection"], "close")
            self.assertIn("script-src 'self'", headers["Content-Security-Policy"])
            self.assertEqual(self.transport.calls[-1], "lose")

    def test_nothing_of_it_is_in_need_of_the_outside_or_of_what_the_policy_forbids(self) -> None:
        for path, file in packaged().items():
            text = file.content.decode()
            if path != "/icon.svg":
                self.assertNotIn("://", text.replace("http://www.w3.org", ""), path)
            for word in ("innerHTML", "insertAdjacentHTML", "eval(", "document.write", " style=", " onclick="):
                self.assertNotIn(word, text, path)

    def test_the_page_is_told_whom_it_may_go_on_with(self) -> None:
        self.pages.append("https://there/chat")
        _, headers, body = self.get("/")
        self.assertIn("connect-src 'self' ws://here wss://there;", headers["Content-Security-Policy"])
        self.assertIn(b'<meta name="pages" content="http://here https://there">', body)

    def test_what_has_not_changed_is_not_sent_again(self) -> None:
        _, headers, _ = self.get("/page.js")
        status, again, body = self.get("/page.js", f"If-None-Match: {headers['ETag']}")
        self.assertEqual((status, body), (304, b""))
        self.assertEqual(again["Cache-Control"], "no-cache")
        _, before, _ = self.get("/")
        self.pages.append("https://there")
        self.assertEqual(self.get("/", f"If-None-Match: {before['ETag']}")[0], 200)

    def test_head_is_get_without_the_body(self) -> None:
        status, headers, body = self.get("/?whatever", method="HEAD")
        self.assertEqual((status, body), (200, b""))
        self.assertGreater(int(headers["Content-Length"]), 1000)

    def test_what_is_not_there_and_what_is_not_done(self) -> None:
        for path in ("/nothing", "/../pyproject.toml", "/%2e%2e/secret", "//etc/passwd", "/static"):
            self.assertEqual(self.get(path)[0], 404, path)
        status, headers, _ = self.get("/", method="POST")
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))
        self.assertEqual(self.get("/", "Content-Length: 1000000000")[0], 413)
        self.assertEqual(self.get("/", "Transfer-Encoding: chunked")[0], 413)
        self.assertEqual(self.get("/", "Content-Length: x")[0], 400)


class CeilingTests(PageTestCase):
    def test_one_request_is_answered_and_no_more(self) -> None:
        _, _, once = self.get("/page.js")
        self.connect().dataReceived(b"GET /page.js HTTP/1.1\r\nHost: here\r\n\r\n" * 500)
        self.assertLess(sum(map(len, self.transport.writes)), len(once) + 2000)

    def test_headers_are_bounded(self) -> None:
        self.connect().dataReceived(b"GET / HTTP/1.1\r\nX: " + b"x" * HEADER_BYTES_MAX)
        self.assertIn("lose", self.transport.calls)
        self.assertEqual(self.get("/", *["X: y"] * 100)[0], 400)

    def test_a_request_that_trickles_in_is_cut_off_and_so_is_an_answer_that_is_not_taken(self) -> None:
        channel = self.connect()
        for _ in range(9):
            self.clock.advance(1)
            channel.dataReceived(b"G")
        self.assertEqual(self.transport.calls, [])
        self.clock.advance(REQUEST_S_MAX - 9)
        self.assertEqual(self.transport.calls, ["abort"])
        self.assertEqual(self.tally.dropped, {("page", "too-slow"): 1})
        channel.connectionLost(Failure(ConnectionDone()))
        self.get("/")
        self.clock.advance(REQUEST_S_MAX)
        self.assertEqual(self.transport.calls[-1], "abort")

    def test_so_many_at_once_and_no_more(self) -> None:
        first = self.connect().transport
        for _ in range(3):
            self.connect()
        self.assertEqual((first.calls, self.transport.calls), (["abort"], []), "who comes last asks sooner")
        self.assertEqual(self.tally.dropped, {("page", "crowded-out"): 1})
        first.protocol.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(REQUEST_S_MAX)
        self.assertEqual(self.tally.dropped["page", "too-slow"], 3)


class WebSocketTests(PageTestCase):
    def test_the_connection_becomes_a_websocket_and_is_no_page_any_more(self) -> None:
        status, headers, _ = self.ask(UPGRADE + b"Origin: http://here\r\n\r\n")
        self.assertEqual((status, headers["Upgrade"]), (101, "websocket"))
        self.assertEqual(headers["Sec-WebSocket-Accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        self.clock.advance(REQUEST_S_MAX - 1)
        self.transport.writes.clear()
        socket = self.transport.protocol
        self.assertIsInstance(socket, WebSocket)
        socket.dataReceived(masked(TEXT, b'{"type":"list"}'))
        self.commit()
        self.assertEqual(unframed(b"".join(self.transport.writes))[0][0], TEXT)
        self.clock.advance(2)
        self.assertEqual(self.transport.calls, [])
        socket.connectionLost(Failure(ConnectionDone()))

    def test_below_tls_it_is_the_wrapper_that_is_told(self) -> None:
        channel = self.connect()
        wrapper = ProtocolWrapper(WrappingFactory(self.factory), channel)
        self.transport.protocol = wrapper
        channel.dataReceived(UPGRADE + b"\r\n")
        self.assertIsInstance(wrapper.wrappedProtocol, WebSocket)

    def test_what_is_refused_is_told_why_and_counted(self) -> None:
        for request, expected in (
            (UPGRADE + b"Origin: http://evil.example\r\n\r\n", 403),
            (b"GET /ws HTTP/1.1\r\nHost: here\r\n\r\n", 426),
            (UPGRADE.replace(b"GET", b"HEAD") + b"\r\n", 405),
        ):
            status, headers, _ = self.ask(request)
            self.assertEqual(status, expected)
            if status == 426:
                self.assertEqual(headers["Sec-WebSocket-Version"], "13")
        self.assertEqual(self.tally.dropped, {("page", "origin"): 1, ("page", "no-websocket"): 2})
