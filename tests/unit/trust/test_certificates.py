"""Certificates as files: made, read, renewed; and TLS between two of them, without a network."""

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import TrustError
from chatproto.gate import Gate
from chatproto.link import Turn
from chatproto.tally import Tally
from chatproto.trust.authority import Authority
from chatproto.trust.certificates import ENDING_S, Certificates, date, names_of, read_certificates, reason_of
from chatproto.trust.certified import Certified
from chatproto.trust.ending import tls_trouble
from chatproto.trust.link import GuardedLink
from chatproto.trust.proof import PEER, REASONS, REGISTRY, Proof
from chatproto.trust.watch import LOOK_EVERY_S, CertificateWatch
from tests.unit.registry.rig import Events


class FolderTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.authority = Authority(str(self.folder))

    def now(self) -> float:
        return datetime.now(UTC).timestamp()

    def sign(self, name: str = "east", hosts: tuple[str, ...] = (), days: int = 30) -> Path:
        return Path(self.authority.sign(name, hosts, days))

    def certificates(self, name: str = "east") -> Certificates:
        return Certificates(str(self.folder / name), name, self.now)

    def refused(self, directory: Path, name: str = "east") -> str:
        return str(self.assertRaises(TrustError, Certificates, str(directory), name, self.now))


class AuthorityTests(FolderTestCase):
    def test_its_key_is_its_own_alone(self) -> None:
        self.assertTrue(self.authority.made)
        self.assertEqual(stat.S_IMODE((self.folder / "ca.key").stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE((self.sign() / "node.key").stat().st_mode), 0o600)

    def test_it_is_never_replaced(self) -> None:
        before = (self.folder / "ca.key").read_bytes(), (self.folder / "ca.pem").read_bytes()
        self.assertFalse(Authority(str(self.folder)).made)
        self.assertEqual(((self.folder / "ca.key").read_bytes(), (self.folder / "ca.pem").read_bytes()), before)
        for lost in ("ca.key", "ca.pem"):
            kept = (self.folder / lost).read_bytes()
            (self.folder / lost).unlink()
            error = self.assertRaises(TrustError, Authority, str(self.folder))
            self.assertIn(f"{lost} is not there", str(error))
            (self.folder / lost).write_bytes(kept)

    def test_a_certificate_is_for_its_name_and_hosts(self) -> None:
        for name in ("east", "one.example", "we_st-2", "7", "10.0.0.1", "x" * 64):
            made = self.sign(name, ("chat.example", "10.0.0.9", "::1"))
            (certificate,) = read_certificates(str(made / "node.pem"))
            self.assertEqual(names_of(certificate), ([name, "chat.example"], ["10.0.0.9", "::1"]))
            self.assertTrue(self.certificates(name).held.proof.covers(name))

    def test_one_made_again_is_another_one_of_the_same_authority(self) -> None:
        first = (self.sign() / "node.pem").read_bytes()
        self.assertNotEqual((self.sign() / "node.pem").read_bytes(), first)
        self.certificates()

    def test_it_is_not_good_for_longer_than_its_authority(self) -> None:
        (certificate,) = read_certificates(str(self.sign(days=36500) / "node.pem"))
        self.assertEqual(certificate.not_valid_after_utc, self.authority.certificate.not_valid_after_utc)

    def test_what_is_no_key(self) -> None:
        (self.folder / "ca.key").write_text("nonsense")
        self.assertIn("ca.key", str(self.assertRaises(TrustError, Authority, str(self.folder))))

    def test_the_key_of_another(self) -> None:
        other = Path(self.mktemp())
        Authority(str(other))
        (self.folder / "ca.key").write_bytes((other / "ca.key").read_bytes())
        self.assertIn("is not the key", str(self.assertRaises(TrustError, Authority, str(self.folder))))

    def test_where_nothing_can_be_written(self) -> None:
        (self.folder / "file").write_text("")
        self.assertIn("file", str(self.assertRaises(TrustError, Authority, str(self.folder / "file" / "below"))))
        self.assertIn("file", str(self.assertRaises(TrustError, self.authority.sign, "file")))


class CertificatesTests(FolderTestCase):
    def test_what_cannot_be_used_is_said(self) -> None:
        made = self.sign()
        self.assertIn("this node is called west", self.refused(made, "west"))
        other = Path(self.mktemp())
        foreign = Path(Authority(str(other)).sign("east"))
        kept = (made / "node.key").read_bytes()
        (made / "node.key").write_bytes((foreign / "node.key").read_bytes())
        self.assertIn("is not the key of the certificate", self.refused(made))
        (made / "node.key").write_text("nonsense")
        self.assertIn("node.key holds no key", self.refused(made))
        (made / "node.key").write_bytes(kept)
        (made / "ca.pem").write_bytes((foreign / "ca.pem").read_bytes())
        self.assertIn("cannot be used with ca.pem", self.refused(made))
        (made / "ca.pem").write_text("nonsense")
        self.assertIn("ca.pem holds no certificate", self.refused(made))
        (made / "ca.pem").unlink()
        self.assertIn("cannot read", self.refused(made))

    def test_read_again_it_is_another_one(self) -> None:
        self.sign()
        certificates = self.certificates()
        first = certificates.held
        self.sign()
        self.assertEqual(certificates.read_again(), [])
        self.assertNotEqual(certificates.held.chain, first.chain)

    def test_what_cannot_be_used_changes_nothing(self) -> None:
        made = self.sign()
        certificates = self.certificates()
        first = certificates.held
        (made / "node.pem").write_text("nonsense")
        (line,) = certificates.read_again()
        self.assertIn("node.pem holds no certificate", line)
        self.assertIn(f"stays in use, until {date(first.ends['node.pem'])}", line)
        self.assertIs(certificates.held, first)

    def test_it_is_warned_of_one_that_ends_soon(self) -> None:
        self.sign(days=30)
        self.assertEqual(self.certificates().endings(), [])
        self.sign(days=13)
        (line,) = self.certificates().endings()
        self.assertIn("node.pem ends on", line)

    def test_every_day_and_when_it_is_read_again(self) -> None:
        events = Events()
        globalLogPublisher.addObserver(events)
        self.addCleanup(globalLogPublisher.removeObserver, events)
        clock = Clock()
        self.sign(days=13)
        watch = CertificateWatch(self.certificates(), clock)
        watch.startService()
        self.assertEqual(events.count("node.pem ends on"), 1)
        clock.advance(LOOK_EVERY_S)
        self.assertEqual(events.count("node.pem ends on"), 2)
        watch.read_again()
        self.assertEqual(events.count("node.pem ends on"), 3)
        self.sign(days=int(ENDING_S / 86400) + 1)
        self.assertEqual(watch.read_again(), [])
        self.assertEqual(events.count("node.pem ends on"), 3)
        watch.stopService()

    def test_it_is_warned_of_authorities_that_are_all_new(self) -> None:
        """One at a time is how they are changed; all at once, a node is on its own."""
        events = Events()
        globalLogPublisher.addObserver(events)
        self.addCleanup(globalLogPublisher.removeObserver, events)
        made = self.sign()
        watch = CertificateWatch(self.certificates(), Clock())
        old = (made / "ca.pem").read_bytes()
        foreign = Path(Authority(self.mktemp()).sign("east"))
        new = (foreign / "ca.pem").read_bytes()
        for authorities, of in ((old + new, made), (old + new, foreign), (new, foreign)):
            for name in ("node.pem", "node.key"):
                (made / name).write_bytes((of / name).read_bytes())
            (made / "ca.pem").write_bytes(authorities)
            self.assertEqual(watch.read_again(), [])
        self.assertEqual(events.count("no authority is believed"), 0)
        other = Path(Authority(self.mktemp()).sign("east"))
        for name in ("node.pem", "node.key", "ca.pem"):
            (made / name).write_bytes((other / name).read_bytes())
        self.assertEqual(watch.read_again(), [])
        self.assertEqual(events.count("no authority is believed"), 1)

    def test_what_openssl_finds_has_a_code(self) -> None:
        codes = {9: "not-yet-valid", 10: "expired", 19: "wrong-authority", 20: "wrong-authority", 26: "bad-certificate"}
        for error, code in codes.items():
            self.assertEqual(reason_of(error), code)
            self.assertIn(code, REASONS)


class Wire:
    """An endpoint, for both sides: what is listened for and dialled is kept, to be connected by hand."""

    def __init__(self) -> None:
        self.factory: Any = None

    def listen(self, factory: Any) -> None:
        self.factory = factory

    def connect(self, factory: Any) -> Any:
        self.factory = factory
        return self

    def addCallback(self, call: Any) -> Any:
        return self


class WireTransport(StringTransport):
    disconnecting = False

    def abortConnection(self) -> None:
        self.disconnecting = True


class HandshakeTests(FolderTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.tally = Tally()
        for name in ("east", "west", "registry"):
            self.sign(name)

    def trust(self, name: str) -> Certified:
        return Certified(self.certificates(name))

    def meet(self, dialler: str, dialled: str, door: str = PEER) -> tuple[GuardedLink, GuardedLink]:
        """Connect two, and carry bytes until both are silent; connections that one side ends are lost."""
        ends = []
        for name, dials in ((dialler, True), (dialled, False)):
            trust, wire = self.trust(name), Wire()
            link = GuardedLink(door, dials, trust, Turn(self.clock), self.clock, 1000, 1000, Gate(door, self.tally))
            link_factory = Factory(link)
            if dials:
                trust.client(wire, door).connect(link_factory)  # type: ignore[arg-type]
            else:
                trust.server(wire, door).listen(link_factory)  # type: ignore[arg-type]
            protocol, transport = wire.factory.buildProtocol(None), WireTransport()
            ends.append((link, protocol, transport))
        for _, protocol, transport in ends:
            protocol.makeConnection(transport)
        for _ in range(10):
            for (_, _, transport), (_, far, _) in (ends, ends[::-1]):
                data = transport.value()
                transport.clear()
                if data:
                    far.dataReceived(data)
        for _, protocol, transport in ends:
            if transport.disconnecting:
                protocol.connectionLost(Failure(ConnectionLost()))
        return ends[0][0], ends[1][0]

    def test_each_knows_the_others_name(self) -> None:
        east, west = self.meet("east", "west")
        self.assertEqual((east.proof, west.proof), (Proof(("west",)), Proof(("east",))))
        self.assertEqual(self.tally.dropped, {})

    def test_who_answers_for_the_registry_has_to_be_it(self) -> None:
        east, registry = self.meet("east", "registry", REGISTRY)
        self.assertEqual((east.proof, registry.proof), (Proof(("registry",)), Proof(("east",))))
        self.meet("east", "west", REGISTRY)
        self.assertEqual(self.tally.dropped["registry", "wrong-name"], 1)

    def ask(self, host: str) -> str | None:
        """Connect as a client to `east`, which is at some hosts; return why that has failed, if it has."""
        trust, ends = self.trust("west"), []
        self.sign("east", ("east.example", "10.0.0.1"))
        for dials in (True, False):
            wire, link = Wire(), Noting()
            if dials:
                trust.as_client(wire, host).connect(Factory(link))  # type: ignore[arg-type]
            else:
                self.trust("east").for_clients(wire).listen(Factory(link))  # type: ignore[arg-type]
            transport = WireTransport()
            protocol = wire.factory.buildProtocol(None)
            ends.append((link, protocol, transport))
        for _, protocol, transport in ends:
            protocol.makeConnection(transport)
        for _ in range(10):
            for (_, _, transport), (_, far, _) in (ends, ends[::-1]):
                data = transport.value()
                transport.clear()
                if data:
                    far.dataReceived(data)
        if ends[0][2].disconnecting:
            ends[0][1].connectionLost(Failure(ConnectionLost()))
        reason = ends[0][0].reason
        if reason is not None:
            return tls_trouble(reason)
        self.assertIsNotNone(ends[0][0].transport.getPeerCertificate())  # type: ignore[union-attr]
        return None

    def test_a_server_is_believed_for_its_hosts_by_those_of_its_deployment(self) -> None:
        for host in ("east", "east.example", "10.0.0.1"):
            self.assertIsNone(self.ask(host), host)
        for host in ("west.example", "10.0.0.2"):
            self.assertIn("of nobody who is believed", self.ask(host) or "", host)

    def test_contexts_are_made_anew_for_what_is_read_anew(self) -> None:
        trust, wire = self.trust("east"), Wire()
        trust.for_clients(wire).listen(Factory(GuardedLink(PEER, False, trust, Turn(self.clock), self.clock, 9, 9)))  # type: ignore[arg-type]
        made = [wire.factory._creatorCallable(None).get_context() for _ in range(2)]
        self.assertIs(made[0], made[1])
        self.sign("east")
        trust._certificates.read_again()
        self.assertIsNot(wire.factory._creatorCallable(None).get_context(), made[0])
        self.assertIsInstance(made[0], SSL.Context)


class Noting(Protocol):
    """Notes why it is over."""

    reason: Failure | None = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason


class Factory:
    """Builds one link."""

    def __init__(self, link: Protocol) -> None:
        self._link = link

    def buildProtocol(self, address: object) -> Protocol:
        return self._link

    def doStart(self) -> None:
        pass

    doStop = doStart
