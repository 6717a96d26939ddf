from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.datagrams import door
from chatproto.news.datagrams.door import (
    REQUESTS_AT_ONCE,
    Answer,
    Door,
    Dropped,
    Effect,
    Listens,
    Pulls,
    Silent,
)
from chatproto.news.datagrams.messages import (
    NO_COOKIE,
    PULL_ITEMS_MAX,
    REASONS,
    Challenge,
    Denied,
    Granted,
    Leave,
    Listen,
    Pull,
    Pulled,
    Request,
    datagram,
    from_node,
    from_reader,
)
from chatproto.news.datagrams.proof import COOKIE_S_MAX, Address, signed
from chatproto.news.terms import PULL, Placement
from tests.unit.news.datagrams.rig import CONVERSATION, KEY, placement_of

HERE, THERE = ("10.0.0.1", 5000), ("10.0.0.2", 5000)
OTHER = b"87654321"


class Asker:
    """A reader at an address, that does as it is told."""

    def __init__(
        self, door: Door, reader: str, address: Address = HERE, conversation: bytes = CONVERSATION, key: str = KEY
    ) -> None:
        self.door, self.reader, self.address, self.conversation, self.key = door, reader, address, conversation, key
        self.cookie = NO_COOKIE
        self.serial = 0
        self.sent = b""

    def ask(self, make: Callable[..., Request], *more: int, now: float = 0.0, serial: int | None = None) -> list[Any]:
        """Ask; return what is to be done, answers as what they say."""
        self.serial = self.serial + 1 if serial is None else serial
        request = make(self.reader, self.cookie, self.serial, b"", *more)
        self.sent = datagram(signed(request, self.key, self.conversation), self.conversation)
        return self.send(self.sent, now)

    def send(self, data: bytes, now: float = 0.0) -> list[Any]:
        said = [self.said(effect) for effect in self.door.received(data, self.address, now)]
        for message in said:
            if isinstance(message, Challenge):
                self.cookie = message.cookie
        return said

    def said(self, effect: Effect) -> Any:
        if not isinstance(effect, Answer):
            return effect
        read = from_node(effect.data)
        assert (effect.address, read.conversation) == (self.address, self.conversation)
        return read.message

    def enter(self, now: float = 0.0) -> "Asker":
        assert isinstance(self.ask(Leave, now=now)[0], Challenge)
        return self


class DoorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.placements: dict[str, Placement] = {
            "push": placement_of("push"),
            "pull": placement_of("pull", PULL),
            "paid": placement_of("paid", paid=True),
            "phone": placement_of("phone", PULL, mobile=True),
        }
        self.door = Door("east", b"secret", self.placements.get, lease_s=90.0)

    def asker(self, reader: str, *where: Any, **who: Any) -> Asker:
        return Asker(self.door, reader, *where, **who).enter()

    def denied(self, code: str, effects: list[Any]) -> None:
        self.assertIn(code, REASONS)
        self.assertEqual([type(effect) for effect in effects], [Dropped, Denied])
        self.assertEqual((effects[0].reason, effects[1].code), (code, code))

    def test_it_listens_once_it_has_shown_that_it_hears(self) -> None:
        asker = Asker(self.door, "push")
        (challenge,) = asker.ask(Listen)
        self.assertIsInstance(challenge, Challenge)
        self.assertEqual(self.door.correspondents, {}, "nothing is kept of who has shown nothing")
        self.assertEqual(asker.ask(Listen), [Listens("push"), Granted(2, "east", 90.0)])
        self.assertEqual((self.door.listening, self.door.next_wakeup()), (1, 90.0))

    def test_a_lease_is_renewed_or_ends(self) -> None:
        push, pull = self.asker("push"), self.asker("pull")
        push.ask(Listen)
        pull.ask(Pull, 0, 5, now=10.0)
        self.assertEqual(push.ask(Listen, now=30.0), [Granted(3, "east", 90.0)])
        self.assertEqual(self.door.wake(99.0), [])
        self.assertEqual(self.door.wake(100.0), [], "who pulls is forgotten without a word")
        self.assertEqual(list(self.door.correspondents), ["push"])
        self.assertEqual(self.door.wake(120.0), [Silent("push")])
        self.assertIsNone(self.door.next_wakeup())

    def test_it_takes_leave(self) -> None:
        asker = self.asker("push")
        self.assertEqual(asker.ask(Leave), [], "it was not there")
        asker.ask(Listen)
        self.assertEqual(asker.ask(Leave), [Silent("push")])
        self.assertEqual(self.door.correspondents, {})

    def test_a_pull_and_its_answer(self) -> None:
        asker = self.asker("pull")
        self.assertEqual(asker.ask(Pull, 7, 20), [Pulls("pull", 7, 20)])
        (answer,) = self.door.pulled("pull", 12, (3, 4), True, "maximum")
        self.assertEqual(asker.said(answer), Pulled(2, "east", 12, (3, 4), True, "maximum"))
        self.assertEqual(self.door.pulled("pull", 12, (), False), [], "once")
        self.assertEqual(self.door.pulled("nobody", 12, (), False), [])

    def test_who_loses_patience_is_answered_once(self) -> None:
        """To the last that it has asked, for that it waits for."""
        asker = self.asker("pull")
        asker.ask(Pull, 0, 5)
        self.assertEqual(asker.ask(Pull, 0, 5), [Dropped("impatient")])
        (answer,) = self.door.pulled("pull", 1, (1,), False)
        self.assertEqual(asker.said(answer).serial, 3)

    def test_another_life_of_a_reader_asks_for_itself(self) -> None:
        self.asker("pull").ask(Pull, 0, 5)
        again = Asker(self.door, "pull", conversation=OTHER).enter(now=1.0)
        self.assertEqual(again.ask(Pull, 3, 5, now=1.0), [Pulls("pull", 3, 5)])

    def test_who_is_not_served(self) -> None:
        self.denied("unknown-reader", self.asker("nobody").ask(Listen))
        self.denied("unknown-reader", self.asker("no name").ask(Listen))
        self.denied("unknown-reader", Asker(self.door, "push", key="0" * 64).enter().ask(Listen))
        self.denied("paid", self.asker("paid").ask(Listen))
        self.denied("mobile", self.asker("phone").ask(Pull, 0, 1))
        self.denied("wrong-mode", self.asker("push").ask(Pull, 0, 1))
        self.denied("wrong-mode", self.asker("pull").ask(Listen))
        for after, count in ((-1, 1), (0, 0), (0, PULL_ITEMS_MAX + 1)):
            self.denied("bad-pull", self.asker("pull").ask(Pull, after, count))
        self.assertEqual(self.door.correspondents, {})

    def test_the_last_place_it_has_asked_from_has_it(self) -> None:
        here = self.asker("push")
        here.ask(Listen)
        there = Asker(self.door, "push", THERE, OTHER).enter(now=1.0)
        self.assertEqual(there.ask(Listen, now=1.0), [Granted(2, "east", 90.0)])
        self.assertEqual(self.door.correspondents["push"].address, THERE)
        self.denied("moved", here.ask(Listen, now=2.0))
        self.assertEqual(self.door.correspondents["push"].address, THERE)

    def test_what_the_network_repeats_is_not_answered(self) -> None:
        asker = self.asker("push")
        asker.ask(Listen)
        self.assertEqual(asker.send(asker.sent), [Dropped("repeated")])
        self.assertEqual(asker.ask(Listen, serial=1), [Dropped("repeated")])

    def test_what_was_under_way_while_the_cookie_changed_is_not_answered(self) -> None:
        asker = self.asker("push")
        asker.ask(Listen)
        late = datagram(signed(Listen("push", asker.cookie, 9, b""), KEY, CONVERSATION), CONVERSATION)
        asker.cookie = NO_COOKIE
        asker.enter(now=5.0).ask(Listen, now=5.0)
        self.assertEqual(asker.send(late, 6.0), [Dropped("repeated")])

    def test_a_cookie_is_for_one_address(self) -> None:
        """Who has heard another's datagrams, and sends them again from elsewhere, has to show that it hears."""
        asker = self.asker("push")
        asker.ask(Listen)
        thief = Asker(self.door, "push", THERE)
        self.assertIsInstance(thief.send(asker.sent)[0], Challenge)
        self.denied("unknown-reader", Asker(self.door, "push", THERE, OTHER, "0" * 64).enter().ask(Listen))
        self.assertEqual(self.door.correspondents["push"].address, HERE)

    def test_a_cookie_does_not_last_for_ever(self) -> None:
        asker = self.asker("push")
        self.assertIsInstance(asker.ask(Listen, now=COOKIE_S_MAX + 1)[0], Challenge)
        self.assertIsInstance(asker.ask(Listen, now=COOKIE_S_MAX + 1)[1], Granted)

    def test_a_challenge_is_no_longer_than_what_it_answers(self) -> None:
        asker = Asker(self.door, "p")
        asker.cookie = b""
        self.assertEqual(asker.ask(Listen), [Dropped("too-short")])

    @given(st.text("abc", min_size=1, max_size=64), st.sampled_from([Listen, Leave]), st.binary(max_size=30))
    def test_who_has_shown_nothing_gets_less_than_it_sends(
        self, reader: str, make: Callable[..., Request], cookie: bytes
    ) -> None:
        """Whatever it says: a forged address is not worth the trouble."""
        data = datagram(make(reader, cookie, 1, b""), CONVERSATION)
        answers = [effect.data for effect in self.door.received(data, HERE, 0.0) if isinstance(effect, Answer)]
        self.assertLessEqual(sum(map(len, answers)), len(data))

    def test_a_flood_is_not_answered(self) -> None:
        self.patch(door, "STRANGERS_AT_ONCE", 3)
        self.door = Door("east", b"secret", self.placements.get)
        asker = self.asker("push")
        asker.ask(Listen)
        strangers = [Asker(self.door, "x").ask(Listen)[0] for _ in range(3)]
        self.assertEqual([type(effect) for effect in strangers], [Challenge, Dropped, Dropped])
        self.assertEqual(strangers[-1], Dropped("flood"))
        self.assertEqual(asker.ask(Listen), [Granted(3, "east", 90.0)], "who is known is heard all the same")
        asker.cookie = NO_COOKIE
        self.assertEqual(asker.ask(Listen), [Dropped("flood")], "but not whoever writes its address")
        self.assertIsInstance(asker.ask(Listen, now=1.0)[0], Challenge, "a flood ends")

    def test_who_asks_too_often_is_not_answered(self) -> None:
        asker = self.asker("push")
        effects = [asker.ask(Listen)[-1] for _ in range(int(REQUESTS_AT_ONCE) + 1)]
        self.assertEqual(effects[-1], Dropped("too-often"))
        self.assertNotIn(Dropped("too-often"), effects[:-1])
        self.assertIsInstance(asker.ask(Listen, now=2.0)[-1], Granted)

    def test_a_contract_that_is_gone(self) -> None:
        asker = self.asker("push")
        asker.ask(Listen)
        silent, answer = self.door.gone("push")
        self.assertEqual((silent, asker.said(answer)), (Silent("push"), Denied(0, "gone")))
        self.assertEqual(self.door.gone("push"), [])

    def test_another_ticket_is_asked_for_at_once(self) -> None:
        asker = self.asker("push")
        asker.ask(Listen)
        self.placements["push"] = Placement("push", self.placements["push"].terms, "0" * 64, 2)
        self.denied("unknown-reader", asker.ask(Listen))

    @given(st.binary(max_size=1300))
    def test_garbage_is_counted(self, garbage: bytes) -> None:
        self.assertEqual(self.door.received(garbage, HERE, 0.0), [Dropped("nonsense")])

    def test_what_a_node_says_is_nonsense_here(self) -> None:
        self.assertRaises(WireError, from_reader, datagram(Denied(0, "gone"), CONVERSATION))
        self.assertEqual(
            self.door.received(datagram(Denied(0, "gone"), CONVERSATION), HERE, 0.0), [Dropped("nonsense")]
        )
