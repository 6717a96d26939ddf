"""Logging in to a node: what is checked, who is let in, and what becomes of the others."""

from dataclasses import replace
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface, implementer
from zope.interface.verify import verifyObject

from chatproto.chat import logins
from chatproto.chat.acts import Announce, Enroll, Forbid, Revoke, Silence, Strike
from chatproto.chat.hall import Hall
from chatproto.chat.messages import AnnounceAsked, Error, PrivateAsked, Say, SayExtended
from chatproto.chat.passwords import secret_of
from chatproto.chat.portal import AccountRealm, Avatar, IAvatar, ITicket, PasswordChecker, Ticket, TicketChecker
from tests.unit.chat.fakes import NOW, ChatTestCase, FakeDoor

SECRET = secret_of("sesame", bytes(16), 4)


@implementer(ICredentialsChecker)
class FurtherChecker:
    """Knows one name and password, as a plugin may."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, name: bytes = b"zoe", password: bytes = b"moon") -> None:
        self.known = (name, password)

    def requestAvatarId(self, credentials: Any) -> "Deferred[bytes]":
        if (credentials.username, credentials.password) != self.known:
            raise UnauthorizedLogin
        return succeed(credentials.username)


class PortalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.hall = Hall()
        self.hall.apply(Enroll(name="adel", secret=SECRET, roles=["admin"]), 1)
        self.hall.apply(Enroll(name="out"), 1)
        self.asides = 0

    def aside(self, call: Any) -> "Deferred[Any]":
        self.asides += 1
        return succeed(call())

    def check(self, name: bytes, password: bytes, *further: Any) -> Any:
        checker = PasswordChecker(self.hall, self.aside, further)
        return checker.requestAvatarId(UsernamePassword(name, password))

    def test_interfaces(self) -> None:
        for interface, provider in (
            (ICredentialsChecker, PasswordChecker(self.hall, self.aside)),
            (ICredentialsChecker, TicketChecker(self.hall, lambda: NOW)),
            (IRealm, AccountRealm(self.hall)),
            (IAvatar, Avatar("adel", [])),
            (ITicket, Ticket(b"adel", "x")),
        ):
            self.assertTrue(verifyObject(interface, provider))

    def test_a_password(self) -> None:
        self.assertEqual(self.successResultOf(self.check(b"adel", b"sesame")), "adel")
        self.failureResultOf(self.check(b"adel", b"open"), UnauthorizedLogin)

    def test_a_name_that_nobody_has_costs_as_much(self) -> None:
        for name in (b"adel", b"nobody", b"out", b"\xff"):
            self.failureResultOf(self.check(name, b"wrong"), UnauthorizedLogin)
        self.assertEqual(self.asides, 4)

    def test_further_checkers_know_other_names(self) -> None:
        for known in (b"zoe", b"out"):
            further = (FurtherChecker(b"x", b"x"), FurtherChecker(known))
            self.assertEqual(self.successResultOf(self.check(known, b"moon", *further)), known.decode())
            self.failureResultOf(self.check(known, b"sun", *further), UnauthorizedLogin)

    def test_they_know_no_name_that_has_a_password_here_or_can_be_none(self) -> None:
        for name in (b"adel", b"guest7", b"ad-el"):
            self.failureResultOf(self.check(name, b"moon", FurtherChecker(name)), UnauthorizedLogin)

    def test_a_realm_has_avatars_of_one_kind(self) -> None:
        realm = AccountRealm(self.hall)
        kind, avatar, logout = realm.requestAvatar("adel", None, IAvatar)
        self.assertEqual((kind, avatar.account, avatar.roles, logout()), (IAvatar, "adel", ("admin",), None))
        self.assertEqual(realm.requestAvatar(b"zoe", None, IAvatar)[1].roles, ())
        self.assertRaises(NotImplementedError, realm.requestAvatar, "adel", None, Interface)


class LoginTestCase(ChatTestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ("adel", "beth"):
            self.server.decree(Enroll(name=name, secret=SECRET))
        self.server.decree(Enroll(name="zoe", secret=SECRET, roles=["admin"]))
        self.commit()

    def login(self, name: str = "adel", password: str = "sesame", **fields: Any) -> tuple[FakeDoor, Any]:
        return self.hello(account=name, password=password, **fields)


class WelcomeTests(LoginTestCase):
    def test_a_password_earns_a_ticket(self) -> None:
        door, _ = self.login("zoe")
        welcome = door.lines()[0]
        self.assertEqual((welcome["account"], welcome["identity"], welcome["roles"]), ("zoe", "zoe", ["admin"]))
        again, _ = self.hello(account="zoe", ticket=welcome["ticket"])
        self.assertNotIn("ticket", again.lines()[0], "it keeps the one it has")
        body = b"".join(run.body for run in self.log.runs)
        self.assertNotIn(welcome["ticket"].encode(), body)

    def test_a_ticket_ends(self) -> None:
        door, _ = self.login()
        ticket = door.lines()[0]["ticket"]
        self.now += self.settings.ticket_s
        again, _ = self.hello(account="adel", ticket=ticket)
        self.assertEqual((again.brief(), again.closed), (["error login-failed"], True))

    def test_a_guest_is_told_of_no_account(self) -> None:
        door, _ = self.hello()
        self.assertFalse({"account", "ticket", "roles"} & door.lines()[0].keys())

    def test_a_session_is_come_back_to_without_credentials(self) -> None:
        door, seat = self.login()
        token = door.lines()[0]["session"]
        self.lose(seat, door)
        again, _ = self.hello(session=token)
        welcome = again.lines()[0]
        self.assertEqual((welcome["account"], welcome["session"], "ticket" in welcome), ("adel", token, False))

    def test_with_a_session_that_is_over_the_credentials_count(self) -> None:
        door, _ = self.login(session="unknown")
        self.assertEqual(door.brief()[:3], ["notice session-unknown", "welcome", "=adel"])

    def test_what_is_asked_meanwhile_waits(self) -> None:
        door = FakeDoor()
        checking: Deferred[Any] = Deferred()
        self.patch(self.server._arrivals._logins, "_check", lambda shown: checking)
        _, seat = self.hello(account="adel", ticket="x", door=door)
        self.ask(seat, SayExtended("hello"))
        self.assertEqual((door.lines(), self.server.seats), ([], {}))
        checking.callback(Avatar("adel", ()))
        self.commit()
        self.assertEqual(door.lines()[-1]["content"], "hello")


class RefusedTests(LoginTestCase):
    def test_a_wrong_password_and_an_unknown_name_are_told_the_same(self) -> None:
        told = []
        for number, name in enumerate(("adel", "nobody")):
            door = FakeDoor()
            door.host = f"192.0.2.{number}"
            self.login(name, "wrong", door=door)
            told.append(door.data)
            self.assertEqual((door.closed, door.dropped), (True, "login-failed"))
        self.assertEqual(told[0], told[1])

    def test_failures_slow(self) -> None:
        self.login(password="wrong")
        door, _ = self.login()
        (line,) = door.lines()
        self.assertEqual((line["code"], line["after"]), ("login-slowed", 1001))
        elsewhere = FakeDoor()
        elsewhere.host = "192.0.2.9"
        self.login(door=elsewhere)
        self.assertEqual(elsewhere.brief()[0], "welcome")
        self.clock.advance(1.0)
        self.assertEqual(self.login()[0].brief()[0], "welcome")

    def test_those_of_one_address_are_so_many_at_once(self) -> None:
        self.patch(logins, "AT_ONCE_PER_ORIGIN_MAX", 1)
        checking: Deferred[Any] = Deferred()
        self.patch(self.server._arrivals._logins, "_check", lambda shown: checking)
        self.hello(account="adel", ticket="x")
        door, _ = self.login()
        self.assertEqual(door.brief(), ["error login-slowed"])
        checking.callback(Avatar("adel", ()))
        self.commit()
        self.assertEqual(len(self.server.seats), 1)

    def test_a_check_that_breaks_is_told_to_come_later(self) -> None:
        def broken(credentials: Any) -> None:
            raise ValueError("it broke")

        self.patch(self.server.portal.checkers[IUsernamePassword], "requestAvatarId", broken)
        door, _ = self.login()
        self.assertEqual(door.brief(), ["error login-slowed"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_who_hangs_up_meanwhile_is_nobody(self) -> None:
        for outcome in (Avatar("adel", ()), UnauthorizedLogin()):
            checking: Deferred[Any] = Deferred()
            self.patch(self.server._arrivals._logins, "_check", lambda shown, checking=checking: checking)
            door, seat = self.hello(account="adel", ticket="x")
            self.lose(seat, door)
            if isinstance(outcome, Exception):
                checking.errback(outcome)
            else:
                checking.callback(outcome)
            self.commit()
            self.assertEqual((self.server.seats, door.dropped), ({}, ""))

    def test_a_node_that_stops_tells_those_who_are_about_to_log_in(self) -> None:
        checking: Deferred[Any] = Deferred()
        self.patch(self.server._arrivals._logins, "_check", lambda shown: checking)
        door, _ = self.hello(account="adel", ticket="x")
        self.server.stop()
        self.assertEqual((door.brief(), door.closed), (["notice shutting-down"], True))
        checking.callback(Avatar("adel", ()))
        self.assertEqual(self.server.seats, {})

    def test_the_room_that_there_was_may_be_another_s_by_then(self) -> None:
        checking: Deferred[Any] = Deferred()
        self.patch(self.server._arrivals._logins, "_check", lambda shown: checking)
        door, _ = self.hello(account="adel", ticket="x")
        for _ in range(self.settings.capacity):
            self.come()
        checking.callback(Avatar("adel", ()))
        self.commit()
        self.assertEqual((door.brief(), door.closed), (["error full"], True))

    def test_an_account_that_is_removed_before_the_log_says_so(self) -> None:
        door = FakeDoor()
        self.server.decree(Strike(name="adel"))
        self.login(door=door)
        self.assertEqual((door.brief(), door.closed, self.server.seats), (["error login-failed"], True, {}))


class GuestlessTests(LoginTestCase):
    settings = replace(ChatTestCase.settings, guests=False)

    def test_base_clients_are_told_and_closed(self) -> None:
        door = FakeDoor()
        self.assertIsNone(self.server.greet(door))
        (line,) = door.lines()
        self.assertEqual((line["identity"], door.closed), ("server", True))
        self.assertIn("account", line["content"])

    def test_extended_ones_get_an_error(self) -> None:
        for fields in ({}, {"session": "unknown"}):
            door, _ = self.hello(**fields)
            self.assertEqual((door.brief()[-1], door.closed), ("error login-required", True))
            self.assertEqual(door.dropped, "login-required")
        self.assertEqual(self.login()[0].brief()[0], "welcome")


class KeptOutTests(LoginTestCase):
    def forbid(self, subject: str, reason: str = "") -> None:
        decree = Forbid(subject=subject, until=self.now + 60, time=self.now, reason=reason)
        deciding = self.server.decree(decree)
        self.commit()
        self.assertIsNone(self.successResultOf(deciding))

    def test_an_address(self) -> None:
        self.forbid("192.0.2.0/24", "flood")
        base = FakeDoor()
        self.assertIsNone(self.server.greet(base))
        self.assertEqual(base.lines()[0]["content"], "you are banned: flood")
        door, seat = self.login()
        self.assertEqual((door.brief(), door.closed, seat), (["error banned"], True, None))
        local = FakeDoor()
        local.host = None
        self.login(door=local)
        self.assertEqual(local.brief()[0], "welcome")
        self.now += 60
        self.assertEqual(self.login()[0].brief()[0], "welcome")
        self.assertEqual((base.dropped, door.dropped, local.dropped), ("banned", "banned", ""))

    def test_an_account(self) -> None:
        first, _ = self.login()
        second, seat = self.login()
        self.lose(seat, second)
        first.lines()
        self.forbid("adel")
        self.assertEqual((first.brief()[0], first.closed), ("error banned", True))
        self.assertEqual((self.server.seats, first.dropped), ({}, "banned"))
        door, _ = self.login()
        self.assertEqual(door.brief(), ["error banned"])

    def test_of_a_guest_the_address(self) -> None:
        door, _ = self.come()
        door.lines()
        self.forbid("guest1")
        self.assertEqual((door.lines()[0]["content"], door.closed), ("you are banned", True))
        self.assertEqual([ban.subject for ban in self.hall.bans.listed(self.now)], ["192.0.2.1"])

    def test_of_a_guest_of_this_machine_nothing_is_known(self) -> None:
        door = FakeDoor()
        door.host = None
        self.hello(door=door)
        self.forbid("guest1")
        self.assertEqual((door.closed, self.hall.bans.all()), (True, []))


class OrderTests(LoginTestCase):
    def test_an_operator_hears_what_became_of_it(self) -> None:
        done = [self.server.decree(Announce(content="x")), self.server.decree(Revoke(name="nobody"))]
        self.commit()
        self.assertIsNone(self.successResultOf(done[0]))
        self.assertEqual(self.successResultOf(done[1]), Error("no-such-account", "there is no account nobody"))

    def test_an_announcement_is_for_everybody(self) -> None:
        base, _ = self.come()
        zoe, seat = self.login("zoe")
        base.lines(), zoe.lines()
        self.ask(seat, AnnounceAsked("at noon"))
        self.assertEqual([line["content"] for line in (*base.lines(), *zoe.lines())], ["at noon", "at noon"])

    def test_who_is_silenced_is_told(self) -> None:
        base, base_seat = self.come()
        door, _ = self.login()
        base.lines(), door.lines()
        for name in ("guest1", "adel"):
            self.server.decree(Silence(identity=name, until=self.now + 60))
        self.commit()
        self.assertEqual((base.lines()[0]["identity"], door.brief()), ("server", ["error silenced"]))
        self.ask(base_seat, Say("hello"))
        self.assertEqual(([line["identity"] for line in base.lines()], door.lines()), (["server"], []))

    def test_private_is_for_every_device(self) -> None:
        doors = [self.login()[0] for _ in range(2)]
        door, seat = self.login("zoe")
        self.ask(seat, PrivateAsked("adel", "hi", "p"))
        self.assertEqual([line["delivered"] for line in door.lines() if line["type"] == "ack"], [2])
        self.assertEqual([found.lines()[-1]["type"] for found in doors], ["private", "private"])
        self.ask(seat, PrivateAsked("beth", "hi", "p"))
        self.assertEqual(door.brief(), ["error no-such-identity"], "who has an account, but is away")
