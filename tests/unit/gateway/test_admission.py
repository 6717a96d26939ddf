from twisted.trial.unittest import SynchronousTestCase

from chatproto.gateway.admission import Refusal, admit, origin_of, security_policy

GOOD = {
    "host": "chat.example:8080",
    "upgrade": "WebSocket",
    "connection": "keep-alive, Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
PAGES = ["http://east.example:8080", "https://west.example/chat"]


def asked(origins: tuple[str, ...] = (), **headers: str | None) -> str | Refusal:
    given = {**GOOD, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return admit(given.get, PAGES, origins)


class AdmissionTests(SynchronousTestCase):
    def refused(self, answer: str | Refusal, status: int, word: str) -> None:
        assert isinstance(answer, Refusal)
        self.assertEqual((answer.status, answer.word), (status, word))

    def test_the_answer_is_that_of_the_rfc(self) -> None:
        self.assertEqual(asked(), ACCEPT)

    def test_what_is_no_request_for_a_websocket(self) -> None:
        for status, headers in (
            (426, {"upgrade": None}),
            (426, {"upgrade": "h2c"}),
            (426, {"connection": "close"}),
            (426, {"sec_websocket_version": "8"}),
            (400, {"sec_websocket_key": None}),
            (400, {"sec_websocket_key": "dGhl"}),
            (400, {"sec_websocket_key": "not base64, but 24 chars"}),
            (400, {"sec_websocket_key": "ümlaut=="}),
        ):
            self.refused(asked(**headers), status, "no-websocket")

    def test_pages_of_the_same_host_and_of_the_deployment_are_admitted(self) -> None:
        for origin in (
            "http://chat.example:8080",
            "https://chat.example:8080",
            "http://east.example:8080",
            "https://west.example",
        ):
            self.assertEqual(asked(origin=origin), ACCEPT, origin)

    def test_other_pages_are_not(self) -> None:
        for origin in (
            "http://chat.example",
            "https://west.example:444",
            "http://evil.example",
            "null",
            "",
            "http://[",
        ):
            self.refused(asked(origin=origin), 403, "origin")
        self.refused(asked(origin="null", host=None), 403, "origin")

    def test_where_origins_are_named_the_host_asked_for_proves_nothing(self) -> None:
        """A name that an attacker owns may be made to lead here."""
        only = ("https://public.example",)
        self.assertEqual(asked(only, origin="https://public.example"), ACCEPT)
        self.assertEqual(asked(only, origin="https://west.example"), ACCEPT)
        self.refused(asked(only, origin="http://chat.example:8080"), 403, "origin")


class OriginTests(SynchronousTestCase):
    def test_origins_are_as_browsers_write_them(self) -> None:
        for address, origin in (
            ("http://Chat.Example:80/page?x", "http://chat.example"),
            ("https://chat.example:443", "https://chat.example"),
            ("https://chat.example:80", "https://chat.example:80"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
        ):
            self.assertEqual(origin_of(address), origin)
        for nothing in ("http://x; script-src *", "http://x y", "http://ümlaut", "http://[::1;]", "http://x'y"):
            self.assertEqual(origin_of(nothing), "", nothing)
        for nothing in ("", "null", "ftp://x", "http://", "chat.example:80", "http://x:99999"):
            self.assertEqual(origin_of(nothing), "", nothing)


class PolicyTests(SynchronousTestCase):
    def test_the_page_may_reach_its_own_server_and_the_others_and_nobody_else(self) -> None:
        policy = security_policy([*PAGES, "", "http://east.example:8080/again"])
        self.assertIn("connect-src 'self' ws://east.example:8080 wss://west.example;", policy)
        self.assertTrue(policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"))
        self.assertNotIn("unsafe", policy)
