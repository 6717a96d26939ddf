"""Twisted programs, as they are, on the simulated network."""

import datetime
import random
from itertools import pairwise
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.application.internet import ClientService, StreamServerEndpointService, backoffPolicy
from twisted.application.service import MultiService
from twisted.internet import endpoints, ssl
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.protocols import amp
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site

from chatproto.testing import FaultPlan, SimClock, SimHost, SimNetwork
from tests.unit.testing.rig import Recorder


class EchoLine(LineReceiver):
    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(line)


class AskingLine(LineReceiver, TimeoutMixin):
    """Counts up, one line at a time; gives a silent server up after two seconds."""

    delimiter = b"\n"
    factory: "AskingFactory"

    def connectionMade(self) -> None:
        self.setTimeout(2)
        self.ask()

    def ask(self) -> None:
        self.sendLine(b"%d" % self.factory.next)

    def lineReceived(self, line: bytes) -> None:
        self.resetTimeout()
        self.factory.heard.append(int(line))
        self.factory.next = int(line) + 1
        self.factory.clock.callLater(0.05, self.ask)

    def timeoutConnection(self) -> None:
        self.transport.abortConnection()  # type: ignore[union-attr]

    def callLater(self, period: float, func: Any) -> Any:
        return self.factory.clock.callLater(period, func)

    def connectionLost(self, reason: object = None) -> None:
        self.setTimeout(None)
        self.factory.losses += 1


class AskingFactory(Factory):
    protocol = AskingLine
    noisy = False

    def __init__(self, clock: Any, heard: list[int]) -> None:
        self.clock = clock
        self.heard = heard
        self.next = 0
        self.losses = 0


class Add(amp.Command):
    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]  # noqa: RUF012
    response = [(b"sum", amp.Integer())]  # noqa: RUF012


class Adder(amp.AMP):
    @Add.responder
    def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}


def self_signed(name: bytes) -> bytes:
    """Return a key and a certificate for a host's name, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name.decode())])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(2100, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name.decode())]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem) + private


class ProgramTests(SynchronousTestCase):
    def hosts(self, seed: int) -> tuple[SimNetwork, SimHost, SimHost]:
        network = SimNetwork(SimClock(), random.Random(seed))
        return network, network.host("server"), network.host("client")

    def test_lines(self) -> None:
        """Every line comes back whole, whatever the cutting."""
        for seed in range(20):
            network, server, client = self.hosts(seed)
            server.world().server("tcp:4444").listen(Factory.forProtocol(EchoLine))
            heard: list[bytes] = []

            class Asking(LineReceiver):
                delimiter = b"\n"
                lineReceived = heard.append  # type: ignore[assignment]

            dialing = client.world().client("tcp:server:4444").connect(Factory.forProtocol(Asking))
            network.clock.run(1)
            asking = cast(Asking, self.successResultOf(dialing))
            lines = [b"x" * (number * 37 % 1000) for number in range(100)]
            for line in lines:
                asking.sendLine(line)
            network.clock.run(5)
            self.assertEqual(heard, lines, seed)

    def test_amp(self) -> None:
        """Calls and answers, and the answers that a crash leaves open."""
        network, server, client = self.hosts(1)
        server.world().server("tcp:4444").listen(Factory.forProtocol(Adder))
        dialing = client.world().client("tcp:server:4444").connect(Factory.forProtocol(amp.AMP))
        network.clock.run(1)
        caller = cast(amp.AMP, self.successResultOf(dialing))
        answers = [caller.callRemote(Add, a=number, b=1) for number in range(50)]
        network.clock.run(1)
        self.assertEqual([self.successResultOf(answer)["sum"] for answer in answers], list(range(1, 51)))
        open_call = caller.callRemote(Add, a=1, b=1)
        server.crash()
        network.clock.run(1)
        self.failureResultOf(open_call)

    def test_service_trees_in_a_storm(self) -> None:
        """A server and a `ClientService`, both crashing, paused, cut and reset: it counts on, and settles."""
        losses = 0
        for seed in range(20):
            network, server, client = self.hosts(seed)
            heard: list[int] = []
            factories: list[AskingFactory] = []

            def serve(host: SimHost) -> None:
                endpoint = host.world().server("tcp:4444")
                StreamServerEndpointService(endpoint, Factory.forProtocol(EchoLine)).startService()

            def dial(host: SimHost, heard: list[int] = heard, factories: list[AskingFactory] = factories) -> None:
                world = host.world()
                tree = MultiService()
                policy = backoffPolicy(initialDelay=0.1, maxDelay=1, jitter=world.dice.random)
                factory = AskingFactory(world.clock, heard)
                endpoint = world.client("tcp:server:4444:timeout=2")
                ClientService(endpoint, factory, policy, world.clock).setServiceParent(tree)
                tree.startService()
                factories.append(factory)

            server.runs(serve)
            client.runs(dial)
            plan = FaultPlan(network, random.Random(seed))
            plan.rain(20)
            network.clock.run(20)
            before = len(heard)
            network.clock.run(6)
            self.assertGreater(len(heard), before + 20, plan.describe())
            losses += sum(factory.losses for factory in factories)
            for one, two in pairwise(heard):
                self.assertTrue(two in (one, one + 1, 0), plan.describe())
        self.assertGreater(losses, 50, "the storm reaches the connections")

    def test_client_service_hangs_after_a_partition(self) -> None:
        """What a real one does: `stopService` waits for ever for a peer that went silent."""
        network, server, client = self.hosts(3)
        server.world().server("tcp:4444").listen(Factory.forProtocol(EchoLine))
        world = client.world()
        service = ClientService(world.client("tcp:server:4444"), Factory.forProtocol(EchoLine), clock=world.clock)
        service.startService()
        connected = service.whenConnected()
        network.clock.run(1)
        network.isolate("server")
        stopping = service.stopService()
        network.clock.run(3600)
        self.assertNoResult(stopping)
        cast(Any, self.successResultOf(connected)).transport.abortConnection()
        network.clock.run(1)
        self.successResultOf(stopping)

    def test_tls(self) -> None:
        """TLS on top, once it is given the host's clock; and `loseConnection` says goodbye in it."""
        network, server, client = self.hosts(5)
        pem = self_signed(b"server")
        served: list[Recorder] = []

        def serve() -> Recorder:
            served.append(Recorder())
            return served[-1]

        listening = endpoints.wrapServerTLS(
            ssl.PrivateCertificate.loadPEM(pem).options(), server.world().server("tcp:443"), clock=server.clock
        )
        listening.listen(Factory.forProtocol(serve))
        dialing = endpoints.wrapClientTLS(
            ssl.optionsForClientTLS("server", ssl.Certificate.loadPEM(pem)),
            endpoints.HostnameEndpoint(client.reactor, "server", 443),
            clock=client.clock,
        ).connect(Factory.forProtocol(Recorder))
        network.clock.run(1)
        protocol = cast(Recorder, self.successResultOf(dialing))
        protocol.transport.write(b"x" * 100_000)
        protocol.transport.loseConnection()
        network.clock.run(1)
        self.assertEqual(len(served[0].received), 100_000)
        self.assertEqual((protocol.lost, served[0].lost), ([ConnectionDone], [ConnectionDone]))

    def test_web(self) -> None:
        """Twisted's web server and client, with `HostnameEndpoint` below, which resolves names and races."""
        network, server, client = self.hosts(4)

        class Hello(Resource):
            isLeaf = True

            def render_GET(self, request: object) -> bytes:
                return b"hello " * 10_000

        site = Site(Hello(), reactor=server.reactor)
        site.noisy = False
        endpoints.TCP4ServerEndpoint(server.reactor, 80).listen(site)
        answer = Agent(client.reactor).request(b"GET", b"http://server/")
        network.clock.run(5)
        body = readBody(self.successResultOf(answer))
        network.clock.run(5)
        self.assertEqual(self.successResultOf(body), b"hello " * 10_000)
        unknown = Agent(client.reactor).request(b"GET", b"http://nowhere/")
        network.clock.run(5)
        self.failureResultOf(unknown)
