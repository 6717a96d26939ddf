"""Questions to the zone, and what is registered."""

from ipaddress import ip_address
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.registry.names import Registration
from chatproto.registry.targets import Target
from chatproto.registry.zone import (
    ANY_CLASS,
    FOLLOWS,
    INTERNET,
    LEADS,
    UNBOUNDED_WEIGHT,
    Answer,
    Authority,
    Code,
    Kind,
    Question,
    Record,
    Start,
    Zone,
)

ORIGIN = "chat.example"
SRV = "_chat._tcp.chat.example"
START = Record(ORIGIN, Start("ns.chat.example", "hostmaster.chat.example"))


def server(name: str, address: str, role: str = "leader", epoch: int = 3, **more: Any) -> Registration:
    return Registration(more.pop("service", "chat"), name, "chat", address, role, epoch, more.pop("capacity", 100))


ONE = server("one", "10.0.0.1:4444")
TWO = server("two", "[2001:db8::2]:4445", "follower")
PAIR = (ONE, TWO)


class ZoneTestCase(SynchronousTestCase):
    zone = Zone(ORIGIN, "10.0.0.9")

    def ask(self, name: str, kind: int, *registered: Registration, cls: int = INTERNET) -> Answer:
        return self.zone.answer(Question(name, kind, cls), registered)

    def data(self, name: str, kind: int, *registered: Registration) -> list[Any]:
        answer = self.ask(name, kind, *registered)
        self.assertEqual(answer.code, Code.DONE)
        return [record.data for record in answer.records]

    def nothing(self, name: str, kind: int, *registered: Registration) -> Code:
        """Ask for what is not there; the start of the zone says for how long."""
        answer = self.ask(name, kind, *registered)
        self.assertEqual((answer.records, answer.authority, answer.additional), ((), (START,), ()))
        self.assertTrue(answer.authoritative)
        return answer.code


class ServiceTests(ZoneTestCase):
    def test_every_server_that_serves_the_leader_first(self) -> None:
        answer = self.ask(SRV, Kind.SRV, *PAIR)
        self.assertEqual(
            [record.data for record in answer.records],
            [Target(LEADS, 100, 4444, "one.chat.example"), Target(FOLLOWS, 100, 4445, "two.chat.example")],
        )
        self.assertLess(LEADS, FOLLOWS)
        self.assertEqual(
            answer.additional,
            (
                Record("one.chat.example", ip_address("10.0.0.1")),
                Record("two.chat.example", ip_address("2001:db8::2")),
            ),
        )
        self.assertTrue(answer.authoritative)

    def test_a_standby_serves_nobody(self) -> None:
        standby = server("three", "10.0.0.3:4444", "standby")
        self.assertEqual(len(self.data(SRV, Kind.SRV, *PAIR, standby)), 2)
        self.assertEqual(self.data("three.chat.example", Kind.A, standby), [ip_address("10.0.0.3")])

    def test_a_host_name_is_the_target_itself(self) -> None:
        answer = self.ask(SRV, Kind.SRV, server("one", "one.example.org.:4444"))
        self.assertEqual([record.data for record in answer.records], [Target(LEADS, 100, 4444, "one.example.org")])
        self.assertEqual(answer.additional, ())

    def test_capacity_is_weight(self) -> None:
        for capacity, weight in ((7, 7), (0, UNBOUNDED_WEIGHT), (10**6, UNBOUNDED_WEIGHT)):
            (target,) = self.data(SRV, Kind.SRV, server("one", "10.0.0.1:1", capacity=capacity))
            self.assertEqual(target.weight, weight)

    def test_who_led_before_is_a_follower(self) -> None:
        """The lease of one that is dead is not over when the other has taken over."""
        taken_over = server("two", "10.0.0.2:4444", epoch=4)
        targets = self.data(SRV, Kind.SRV, ONE, taken_over)
        self.assertEqual({target.host[:3]: target.priority for target in targets}, {"one": FOLLOWS, "two": LEADS})
        self.assertEqual(self.data(ORIGIN, Kind.A, ONE, taken_over), [ip_address("10.0.0.2")])

    def test_without_roles_all_are_as_good(self) -> None:
        mirrors = [server(name, f"10.0.0.{name}:80", role="", epoch=0) for name in ("1", "2")]
        self.assertEqual({target.priority for target in self.data(SRV, Kind.SRV, *mirrors)}, {LEADS})
        self.assertEqual(len(self.data(ORIGIN, Kind.A, *mirrors)), 2)

    def test_other_services_have_names_of_their_own(self) -> None:
        """Server names are unique in a service only."""
        news = server("one", "10.0.1.1:5555", service="News")
        (target,) = self.data("_news._tcp.chat.example", Kind.SRV, *PAIR, news)
        self.assertEqual(target, Target(LEADS, 100, 5555, "one.news.chat.example"))
        self.assertEqual(self.data("one.news.chat.example", Kind.A, *PAIR, news), [ip_address("10.0.1.1")])
        self.assertEqual(self.data("one.chat.example", Kind.A, *PAIR, news), [ip_address("10.0.0.1")])
        self.assertEqual(self.data(ORIGIN, Kind.A, *PAIR, news), [ip_address("10.0.0.1")])

    def test_names_that_cannot_be_in_the_dns_are_left_out(self) -> None:
        for wrong in (
            server("a" * 64, "10.0.0.3:1"),
            server("a..b", "10.0.0.3:1"),
            server("ü", "10.0.0.3:1"),
            server("ns", "10.0.0.3:1"),
            server("three", "no-port"),
            server("three", ""),
            server("three", "a..b:1"),
        ):
            self.assertEqual(len(self.data(SRV, Kind.SRV, *PAIR, wrong)), 2, wrong)
        self.assertEqual(self.nothing("_x..y._tcp.chat.example", Kind.SRV), Code.NO_SUCH_NAME)
        odd = server("one", "10.0.0.1:1", service="x..y")
        self.assertEqual(self.nothing("_x..y._tcp.chat.example", Kind.SRV, odd), Code.NO_SUCH_NAME)


class AddressTests(ZoneTestCase):
    def test_the_zone_itself_is_the_leader(self) -> None:
        self.assertEqual(self.data(ORIGIN, Kind.A, *PAIR), [ip_address("10.0.0.1")])
        self.assertEqual(self.nothing(ORIGIN, Kind.AAAA, *PAIR), Code.DONE)
        other = server("two", "[::2]:1", epoch=4)
        self.assertEqual(self.data(ORIGIN, Kind.AAAA, *PAIR, other), [ip_address("::2")])

    def test_case_does_not_matter_and_is_kept(self) -> None:
        answer = self.ask("ONE.Chat.Example", Kind.A, *PAIR)
        self.assertEqual(answer.records, (Record("ONE.Chat.Example", ip_address("10.0.0.1")),))
        upper = Zone("CHAT.example", "10.0.0.9").answer(Question("one.chat.EXAMPLE", Kind.A), PAIR)
        self.assertEqual(len(upper.records), 1)
        east = server("East", "10.0.0.1:1")
        self.assertEqual(len(self.data("east.chat.example", Kind.A, east)), 1)

    def test_everything(self) -> None:
        kinds = [type(data) for data in self.data(ORIGIN, Kind.ANY, *PAIR)]
        self.assertEqual(kinds, [Start, Authority, type(ip_address("10.0.0.1"))])
        answer = self.ask("one.chat.example", Kind.A, *PAIR, cls=ANY_CLASS)
        self.assertEqual(len(answer.records), 1)


class NothingTests(ZoneTestCase):
    def test_no_such_name(self) -> None:
        for name in ("nobody.chat.example", "_irc._tcp.chat.example", "x.one.chat.example", SRV.replace("tcp", "udp")):
            self.assertEqual(self.nothing(name, Kind.A, *PAIR), Code.NO_SUCH_NAME, name)
        self.assertEqual(self.nothing(SRV, Kind.SRV), Code.NO_SUCH_NAME)

    def test_a_name_with_nothing_of_the_kind(self) -> None:
        self.assertEqual(self.nothing(SRV, Kind.A, *PAIR), Code.DONE)
        self.assertEqual(self.nothing("one.chat.example", Kind.AAAA, *PAIR), Code.DONE)
        self.assertEqual(self.nothing("one.chat.example", 65280, *PAIR), Code.DONE)

    def test_a_name_that_others_are_below(self) -> None:
        """It is there (RFC 8020): whoever hears that it is not may take everything below it for gone."""
        self.assertEqual(self.nothing("_tcp.chat.example", Kind.A, *PAIR), Code.DONE)
        self.assertEqual(self.nothing("_TCP.chat.example", Kind.ANY, *PAIR), Code.DONE)
        self.assertEqual(self.nothing("_tcp.chat.example", Kind.A), Code.NO_SUCH_NAME)

    def test_what_is_refused(self) -> None:
        for question in (
            Question("example", Kind.A),
            Question("", Kind.NS),
            Question("badchat.example", Kind.A),
            Question("chat.example.org", Kind.A),
            Question(ORIGIN, Kind.AXFR),
            Question(ORIGIN, Kind.IXFR),
            Question(ORIGIN, Kind.A, 3),
        ):
            answer = self.zone.answer(question, PAIR)
            self.assertEqual(answer, Answer(Code.REFUSED), question)
            self.assertFalse(answer.authoritative)


class OwnTests(ZoneTestCase):
    def test_who_answers_for_the_zone(self) -> None:
        self.assertEqual(self.data(ORIGIN, Kind.SOA), [START.data])
        answer = self.ask(ORIGIN, Kind.NS)
        self.assertEqual(answer.records, (Record(ORIGIN, Authority("ns.chat.example")),))
        self.assertEqual(answer.additional, (Record("ns.chat.example", ip_address("10.0.0.9")),))
        self.assertEqual(self.data("ns.chat.example", Kind.A), [ip_address("10.0.0.9")])

    def test_a_host_name_answers_for_it(self) -> None:
        self.zone = Zone(ORIGIN, "third.example.org")
        answer = self.ask(ORIGIN, Kind.NS)
        self.assertEqual(answer.records, (Record(ORIGIN, Authority("third.example.org")),))
        self.assertEqual(answer.additional, ())
        self.assertEqual(self.ask("ns.chat.example", Kind.A).code, Code.NO_SUCH_NAME)
        self.assertEqual(len(self.data("ns.chat.example", Kind.A, server("ns", "10.0.0.1:1"))), 1)

    def test_what_can_be_no_zone(self) -> None:
        for origin in ("", "a..b", ".", "chat.example.", "ü.example", "a" * 64, "a." * 126 + "aa"):
            self.assertRaises(ValueError, Zone, origin, "10.0.0.9")
        self.assertRaises(ValueError, Zone, ORIGIN, "ü.example")
