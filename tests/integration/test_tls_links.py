"""Links among nodes and to the registry that prove who is at their other end, with real certificates and secrets."""

import contextlib
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chatproto.cli.certs import make_certificates
from chatproto.log.entry import MESSAGE
from chatproto.pair import messages as peer
from chatproto.registry.messages import VERSION, Hello, Message, encode
from chatproto.registry.names import Registration
from chatproto.registry.requests import Enter, Entered, Failed, Found, Notify, Register, Resolve, decode_to_visitor
from chatproto.trust.proof import PEER
from chatproto.trust.secret import NONCE_BYTES, Dialling
from chatproto.wire import framed
from tests.integration.nodes import WAIT_S_MAX, Node, numbered
from tests.integration.pairs import HOST, Scene, exported, lasting_ports, run_chatproto
from tests.integration.strangers import MISSED, Stranger

StartNode = Callable[..., Node]
BYTE_EVERY_S = 0.05
SAID = "nobody else may read this"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and the certificates of a deployment."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(str(folder), ["registry", "primary", "secondary", "one", "two"], [HOST], 30, print)
    return folder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another authority, and certificates of the same names."""
    folder = tmp_path_factory.mktemp("elsewhere")
    make_certificates(str(folder), ["registry", "primary", "secondary"], [HOST], 30, print)
    return folder


@pytest.fixture(scope="module")
def expired(deployment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `secondary` that the deployment's authority has signed, and whose time is over."""
    folder = tmp_path_factory.mktemp("expired")
    authority = x509.load_pem_x509_certificate((deployment / "ca.pem").read_bytes())
    signer: Any = serialization.load_pem_private_key((deployment / "ca.key").read_bytes(), None)
    good = x509.load_pem_x509_certificate((deployment / "secondary" / "node.pem").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(good.subject)
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now - timedelta(days=1))
        .add_extension(good.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, critical=False)
        .sign(signer, hashes.SHA256())
    )
    (folder / "node.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pkcs8, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "node.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, bare))
    return folder


@pytest.fixture
def scene(make_node: StartNode) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


def listening(node: Node, option: str) -> int:
    """Return the port of an option of a node, which has to say it."""
    (described,) = (each for each in node.options if each.startswith(f"--{option}="))
    return int(described.split(":")[1])


# At the peer link


@pytest.fixture
def alone(start_node: StartNode, deployment: Path) -> Node:
    """A server whose partner is away, and which has something to keep."""
    port, nobody = lasting_ports(2)
    node = start_node(
        f"--tls={deployment / 'primary'}",
        f"--peer-listen=tcp:{port}:interface={HOST}",
        f"--peer=tcp:{HOST}:{nobody}",
    )
    client = node.connect()
    client.hello(identity="alice")
    client.send("message", content=SAID, id="id-1")
    client.until("ack", id="id-1")
    return node


def attack(node: Node, certificate: Path | None, *, encrypted: bool = True) -> list[bytes]:
    """Say all that another node may say, to be given the log or to have it changed; return what is answered."""
    hello = peer.Hello(peer.VERSION, "chat", "secondary", "secondary", True, None)
    entry = peer.SentEntry(MESSAGE, "MainHall", "id-2", 0.0, b'{"type":"message","identity":"alice"', b"}", True)
    # It leads in one of the first epochs, and answers what is asked of it in that one.
    epochs = range(1, 6)
    asked = [each for epoch in epochs for each in (peer.Follow(epoch, epoch, 0, [], 0), peer.Forward(epoch, [entry]))]
    answers: list[bytes] = []
    with contextlib.suppress(*MISSED):
        stranger = Stranger(listening(node, "peer-listen"), certificate, encrypted=encrypted)
        try:
            with contextlib.suppress(*MISSED):
                stranger.say(framed(peer.encode(hello)), *(framed(peer.encode(each)) for each in asked))
            answers = stranger.hear_all()
        finally:
            stranger.end()
    return answers


def test_strangers_at_the_peer_link(alone: Node, deployment: Path, elsewhere: Path, expired: Path) -> None:
    before = exported(alone.data)
    tried: list[tuple[str, Path | None, bool]] = [
        ("no-certificate", None, True),
        ("wrong-authority", elsewhere / "secondary", True),
        ("expired", expired, True),
        ("no-tls", None, False),
    ]
    for reason, certificate, encrypted in tried:
        assert attack(alone, certificate, encrypted=encrypted) == [], reason
        alone.wait_for_log(f"dropped at peer: {reason}, ")
    # One of ours, but not the one that it says it is: it hears who is there, and no more.
    answers = [peer.decode(frame) for frame in attack(alone, deployment / "registry")]
    alone.wait_for_log("dropped at peer: wrong-name, ")
    alone.wait_for_log(": it says that it is secondary, and has proven to be registry")
    assert all(isinstance(answer, peer.Hello) for answer in answers), answers
    assert exported(alone.data) == before
    # The rightful one gets all of it, so the others were refused for what they are.
    assert SAID.encode() in b"".join(attack(alone, deployment / "secondary"))


# At the registry


class Visitor(Stranger):
    """A stranger that has been let in by a registry."""

    def __init__(self, port: int, certificate: Path | None = None) -> None:
        super().__init__(port, certificate)
        self.say(encode(Enter(VERSION, "a visitor")))
        self.hears(Entered)

    def asks(self, request: Message) -> Any:
        self.say(encode(request))
        return self.hears(object)

    def hears(self, kind: type[object]) -> Any:
        while True:
            message = decode_to_visitor(self.hear())
            if type(message).__name__ != "Beat":
                assert isinstance(message, kind)
                return message


def test_whoever_proves_no_name_at_the_registry_may_look(start_node: StartNode, deployment: Path) -> None:
    spans = "--suspect=5", "--lease=6"
    listen = f"--registry-listen=tcp:0:interface={HOST}"
    registry = start_node("--role=registry", f"--tls={deployment / 'registry'}", listen, *spans, listen=None)
    port = registry.port
    one, two, nobody = (
        Visitor(port, deployment / "one"),
        Visitor(port, deployment / "two"),
        Visitor(port),
    )
    register = Register(1, Registration("chat", "one", address="one:4444", role="leader", epoch=1), b"token", False)
    for visitor in (two, nobody):
        assert visitor.asks(register) == Failed(1, "unproven")
    assert not isinstance(one.asks(register), Failed)
    assert isinstance(nobody.asks(Resolve(2, "chat", "one")), Found), "whoever has no certificate may look"
    assert nobody.asks(Notify(3, "", b"hear me")) == Failed(3, "unproven")
    assert not isinstance(two.asks(Notify(3, "nobody", b"hear me")), Failed), "one of ours may tell a group something"
    # Nor may anybody be a witness's node in another's name.
    for certificate, reason in ((deployment / "two", "wrong-name"), (None, "no-certificate")):
        claimer = Stranger(port, certificate)
        claimer.say(encode(Hello(VERSION, "chat", "one", True, None, 1, 1)))
        assert b"unproven" in b"".join(claimer.hear_all())
        registry.wait_for_log(f"dropped at registry: {reason}, ")
        claimer.end()
    for visitor in (one, two, nobody):
        visitor.end()


# Whoever never gets as far


def dribble(port: int) -> None:
    """Begin TLS byte by byte, until the other side has enough of it: long before all is said."""
    context = ssl.create_default_context()
    context.check_hostname = False
    beginning = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), beginning).do_handshake()
    connection = socket.create_connection((HOST, port), WAIT_S_MAX)
    connection.settimeout(BYTE_EVERY_S)
    try:
        for byte in beginning.read()[:-1]:
            try:
                connection.sendall(bytes([byte]))
                assert connection.recv(1) == b"", "nothing is answered to half a greeting"
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            return
        raise AssertionError("it was heard out")
    finally:
        connection.close()


def test_a_handshake_that_dribbles_is_dropped(alone: Node, start_node: StartNode, deployment: Path) -> None:
    """Bytes that are no message yet are no sign of life: there is as much time as for silence."""
    listen = f"--registry-listen=tcp:0:interface={HOST}"
    registry = start_node("--role=registry", f"--tls={deployment / 'registry'}", listen, listen=None, name="registry")
    dribble(registry.port)
    registry.wait_for_log("dropped at registry: silent, ")
    dribble(listening(alone, "peer-listen"))
    alone.wait_for_log("dropped at peer: silent, ")


# Whole deployments


@pytest_twisted.ensureDeferred
async def test_a_pair_over_tls_survives_its_leader(scene: Scene, deployment: Path) -> None:
    pair = await scene.pair(certificates=deployment).start()
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    leader = await pair.paired()
    leader.kill()
    await scene.heard(*talkers)
    await pair.restart(leader)
    await scene.heard(*talkers)
    await pair.reckon(*talkers)


@pytest_twisted.ensureDeferred
async def test_a_pair_that_shares_a_secret(scene: Scene, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery staple\n")
    secret.chmod(0o600)
    pair = await scene.pair(f"--secret-file={secret}").start()
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    (await pair.paired()).kill()
    await scene.heard(*talkers)
    survivor = next(node for node in pair.nodes.values() if node.alive())
    port = listening(survivor, "peer-listen")
    stranger = Stranger(port, encrypted=False)
    stranger.say(framed(peer.encode(peer.Hello(peer.VERSION, "chat", "third", "secondary", True, None))))
    assert stranger.hear_all() == []
    survivor.wait_for_log("dropped at peer: no-secret, ")
    guessing = Stranger(port, encrypted=False)
    guess = Dialling(b"correct horse battery steeple", PEER, "third", os.urandom(NONCE_BYTES))
    guessing.say(framed(guess.begin().send))
    guessing.say(framed(guess.received(guessing.hear()).send))
    assert guess.received(guessing.hear()).refusal == "wrong-secret"
    assert guessing.hear_all() == []
    survivor.wait_for_log("dropped at peer: wrong-secret, ")
    # Whoever has no secret may look at the registry.
    asked = await run_chatproto("status", f"--registry={HOST}:{listening(pair.registry, 'registry-listen')}")
    assert asked.returncode == 0, asked.stderr
    await pair.restart(*(node for node in pair.nodes.values() if not node.alive()))
    await pair.reckon(*talkers)


@pytest_twisted.ensureDeferred
async def test_a_server_moves_over_tls(scene: Scene, deployment: Path) -> None:
    registry = scene.make_node(name="registry", listen=None)
    one, two = (scene.make_node(name=name) for name in ("one", "two"))
    third, *ports = lasting_ports(5)
    registry.options = [
        "--role=registry",
        f"--registry-listen=tcp:{third}:interface={HOST}",
        f"--tls={deployment / 'registry'}",
    ]
    for node, role, port, peers in ((one, "primary", *ports[:2]), (two, "standby", *ports[2:])):
        name = node.folder.name
        node.port, node.listen = port, f"ssl:{port}:interface={HOST}"
        node.options = [
            f"--role={role}",
            f"--name={name}",
            f"--tls={deployment / name}",
            f"--peer-listen=tcp:{peers}:interface={HOST}",
            f"--registry=tcp:{HOST}:{third}",
            f"--advertise={HOST}:{port}",
        ]
    for node in (registry, one, two):
        node.launch()
    await scene.until(lambda: all(node.listens() for node in (registry, one, two)), "all listen")
    secure = ("--tls", f"--ca={deployment / 'ca.pem'}")
    for _ in range(10):
        status = await run_chatproto("status", *secure, f"--registry=tls:{HOST}:{third}")
        if "1 stand by" in status.stdout:
            break
    else:
        raise AssertionError(status)
    moved = await run_chatproto("migrate", str(one.data))
    assert moved.returncode == 0, moved.stderr
    assert moved.stdout.startswith("two leads"), moved.stdout


# Renewal


def client_certificate(node: Node, deployment: Path) -> tuple[ssl.SSLSocket, int]:
    """Connect as a client does that knows the authority alone; return the connection, and the certificate's number."""
    context = ssl.create_default_context(cafile=str(deployment / "ca.pem"))
    connection = socket.create_connection((HOST, node.port), WAIT_S_MAX)
    secure = context.wrap_socket(connection, server_hostname=HOST)
    shown = secure.getpeercert()
    assert shown is not None
    return secure, int(str(shown["serialNumber"]), 16)


def test_certificates_are_renewed_while_clients_chat(start_node: StartNode, tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    make_certificates(str(folder), ["primary"], [HOST], 13, print)
    node = start_node(f"--tls={folder / 'primary'}", listen=f"ssl:0:interface={HOST}")
    node.wait_for_log("renew it with `chatproto certs`")
    secure, first = client_certificate(node, folder)
    chatting = node.take(secure)
    chatting.hello(identity="alice")
    make_certificates(str(folder), ["primary"], [HOST], 30, print)
    os.kill(node.pid, signal.SIGHUP)
    node.wait_for_log("read again: certificates")
    renewed, second = client_certificate(node, folder)
    assert second != first
    chatting.send("message", content="still here", id="id-1")
    assert numbered([chatting.until("message", id="id-1")]) == [1]
    # A file that is none changes nothing.
    (folder / "primary" / "node.pem").write_text("nonsense")
    os.kill(node.pid, signal.SIGHUP)
    node.wait_for_log("the certificate read before stays in use")
    again, third = client_certificate(node, folder)
    assert third == second
    for connection in (renewed, again):
        connection.close()


# What is refused at the start


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--role=registry", "--registry-listen=tcp:0"], "--insecure-links"),
        (["--role=primary", "--peer=tcp:two.example:4545"], "--secret-file"),
        (["--role=registry", "--tls=missing"], "cannot read missing/ca.pem"),
        (["--role=registry", "--name=other", "--tls={deployment}/registry"], "is for registry, and"),
    ],
)
def test_mistakes(make_node: StartNode, deployment: Path, options: list[str], said: str) -> None:
    node = make_node(*(option.format(deployment=deployment) for option in options), listen=None)
    node.launch()
    assert node.wait() == 1
    assert said in node.log()
