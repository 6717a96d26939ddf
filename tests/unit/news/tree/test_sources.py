"""A crowd at the door of sources: whose passwords are checked, and who waits."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.passwords import SALT_BYTES, secret_of
from chatproto.news.messages import Message
from chatproto.news.tree.holdings import Moment
from chatproto.news.tree.messages import SourceHello, SourceWelcome
from chatproto.news.tree.sources import (
    CHECKS_AT_ONCE_MAX,
    CHECKS_PER_ORIGIN_MAX,
    CHECKS_WAITING_MAX,
    Sources,
    SourceSettings,
)
from chatproto.tally import Tally

KNOWN = {"agency": SourceSettings(secret_of("right", bytes(SALT_BYTES), 4))}


class Link:
    """Notes what becomes of it."""

    def __init__(self, host: str) -> None:
        self.transport = SimpleNamespace(getPeer=lambda: SimpleNamespace(host=host))
        self.refused = ""
        self.known = False
        self.said: list[Message] = []

    def refuse(self, code: str, why: str) -> None:
        self.refused = code

    def introduced(self) -> None:
        self.known = True

    def say(self, message: Message) -> None:
        self.said.append(message)


class CrowdTests(SynchronousTestCase):
    def setUp(self) -> None:
        node: Any = SimpleNamespace(upstreams=[], tally=Tally(), moment=lambda: Moment(0.0, 0.0))
        self.doing: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.sources = Sources(node, KNOWN, ("sport",), self.put_aside)

    def put_aside(self, call: Callable[[], Any]) -> "Deferred[Any]":
        doing: Deferred[Any] = Deferred()
        self.doing.append((call, doing))
        return doing

    def finish(self) -> None:
        call, doing = self.doing.pop(0)
        doing.callback(call())

    def come(self, host: str, password: str = "wrong") -> Any:
        link: Any = Link(host)
        self.sources.link_received(link, SourceHello(1, "agency", password))
        return link

    def test_a_few_passwords_at_a_time(self) -> None:
        crowd = [self.come(f"10.0.0.{number}") for number in range(10)]
        self.assertEqual(len(self.doing), CHECKS_AT_ONCE_MAX)
        self.finish()
        self.assertEqual((crowd[0].refused, len(self.doing)), ("bad-password", CHECKS_AT_ONCE_MAX))

    def test_who_waits_does_not_have_to_make_room_for_strangers(self) -> None:
        crowd = [self.come(f"10.0.0.{number}") for number in range(5)]
        source = self.come("10.0.1.1", "right")
        self.assertTrue(source.known)
        for _ in range(6):
            self.finish()
        self.assertEqual({link.refused for link in crowd}, {"bad-password"})
        self.assertEqual((source.refused, source.said), ("", [SourceWelcome(("sport",), 5)]))
        self.assertEqual(self.sources.connected, ["agency"])

    def test_for_those_who_have_gone_nobody_waits(self) -> None:
        for number in range(CHECKS_WAITING_MAX):
            self.sources.link_lost(self.come(f"10.0.0.{number}"), "gone")
        source = self.come("10.0.1.1", "right")
        for _ in range(CHECKS_AT_ONCE_MAX + 1):
            self.finish()
        self.assertEqual(source.said, [SourceWelcome(("sport",), 5)])

    def test_who_is_let_in_at_once_is_no_stranger_either(self) -> None:
        node: Any = SimpleNamespace(upstreams=[], tally=Tally(), moment=lambda: Moment(0.0, 0.0))
        self.sources = Sources(node, KNOWN, ("sport",), execute)
        source = self.come("10.0.0.1", "right")
        self.assertTrue(source.known)
        self.assertEqual(self.sources.connected, ["agency"])

    def test_one_address_has_so_many(self) -> None:
        crowd = [self.come("10.0.0.1") for _ in range(CHECKS_PER_ORIGIN_MAX + 1)]
        self.assertEqual([link.refused for link in crowd], [*[""] * CHECKS_PER_ORIGIN_MAX, "busy"])
        self.assertFalse(crowd[-1].known)

    def test_so_many_wait(self) -> None:
        for number in range(CHECKS_AT_ONCE_MAX + CHECKS_WAITING_MAX):
            self.come(f"10.0.{number}.1")
        late = self.come("10.1.0.1", "right")
        self.assertEqual((late.refused, late.known), ("busy", False))
