"""The same protocol over TLS and over a Unix socket."""

import contextlib
import datetime
import ipaddress
import json
import re
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.nodes import (
    WAIT_S_MAX,
    Client,
    Node,
    fill,
    line,
    message,
    numbered,
    roomchange,
    settle,
    wait_until,
)

HALL = "MainHall"
NOTHING: list[bytes] = []
StartNode = Callable[..., Node]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and the certificate that it signed for itself, for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "chatproto test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "node.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def tls(certificate: Path) -> str:
    return f"ssl:0:interface=127.0.0.1:privateKey={certificate}:certKey={certificate}"


def tls_client(node: Node, certificate: Path, receive_bytes: int | None = None, offers: tuple[str, ...] = ()) -> Client:
    context = ssl.create_default_context(cafile=str(certificate))
    if offers:
        context.set_alpn_protocols(list(offers))
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(WAIT_S_MAX)
    connection.connect(("127.0.0.1", node.port))
    return node.take(context.wrap_socket(connection, server_hostname="127.0.0.1"))


def unix_client(node: Node, path: Path) -> Client:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(WAIT_S_MAX)
    connection.connect(str(path))
    return node.take(connection)


def chat(base: Client, extended: Client) -> None:
    """Chat both ways, and see the greetings, acks and resuming that any link has."""
    assert json.loads(base.drain()[0])["type"] == "newidentity"
    extended.hello(identity="alice")
    settle(extended, base)
    base.say("from a base client 🦊")
    assert base.drain() == [message("guest1", "from a base client 🦊")]
    assert numbered(extended.messages()) == [1]
    extended.send("message", content="from an extended one", id="id-1")
    assert extended.until("ack")["index"] == 2
    assert base.drain() == [message("alice", "from an extended one")]
    extended.send("ping", n=1)
    assert extended.until("pong")["n"] == 1


# TLS


def test_what_clients_offer_to_speak_is_ignored(start_node: StartNode, certificate: Path) -> None:
    """Some libraries always offer something (ALPN); a server that negotiates nothing serves them as if they had not."""
    node = start_node(listen=tls(certificate))
    client = tls_client(node, certificate, offers=("h2", "irc"))
    assert isinstance(client.socket, ssl.SSLSocket)
    assert client.socket.selected_alpn_protocol() is None
    client.hello(identity="ada")
    assert client.welcome["identity"] == "ada"


def test_chat_over_tls(start_node: StartNode, certificate: Path) -> None:
    node = start_node(listen=tls(certificate))
    base, extended = tls_client(node, certificate), tls_client(node, certificate)
    chat(base, extended)
    extended.reset()
    again = tls_client(node, certificate)
    again.hello(session=extended.token, resume=[{"roomid": HALL, "from": 1}])
    assert numbered(again.messages()) == [1, 2]
    assert base.drain() == NOTHING, "nobody noticed"
    base.send("quit")
    assert base.read_to_end() == roomchange("guest1", HALL, "")
    again.write(b"x" * 70_000)
    assert b"line-too-long" in again.read_to_end(), "the reason arrives, and then the end"


def test_bytes_over_tls_may_come_one_by_one(start_node: StartNode, certificate: Path) -> None:
    node = start_node(listen=tls(certificate))
    client = tls_client(node, certificate)
    client.drain()
    for byte in line("message", content="slowly"):
        client.write(bytes([byte]))
    assert client.drain() == [message("guest1", "slowly")]


def test_a_large_archive_over_tls(start_node: StartNode, certificate: Path) -> None:
    node = start_node(
        "--listen=tcp:0:interface=127.0.0.1", "--rate-limit=0", "--in-flight-max=20000", listen=tls(certificate)
    )
    tls_port = int(re.search(r"listening on ssl:[^\n]*port=(\d+)", node.log())[1])  # type: ignore[index]
    wait_until(lambda: "listening on tcp:" in node.log(), "both listen")
    node.port = int(re.search(r"listening on tcp:[^\n]*port=(\d+)", node.log())[1])  # type: ignore[index]
    said = fill(node, 50_000, 200)
    node.port = tls_port
    before = node.rss_mib()
    client = tls_client(node, certificate, receive_bytes=4096)
    client.hello()
    wait_until(lambda: client.read()["type"] == "message", "the archive begins")
    # It is not read for a while; the node must not pile it all up.
    other = tls_client(node, certificate)
    other.hello(history="none")
    for number in range(20):
        other.send("message", content=f"live {number}", id=f"live-{number}")
        other.until("ack")
    assert node.rss_mib() < before + 15
    told = client.collect("message", content="live 19")
    assert numbered(told) == list(range(2, 50_000 + 21))
    assert [one["content"] for one in told if one["type"] == "message"][: len(said) - 1] == said[1:]


def test_who_does_not_read_over_tls_is_dropped_with_a_reason(start_node: StartNode, certificate: Path) -> None:
    node = start_node("--rate-limit=0", "--backlog-bytes-max=200000", listen=tls(certificate))
    speaker, deaf = tls_client(node, certificate), tls_client(node, certificate, receive_bytes=4096)
    speaker.hello(identity="speaker")
    deaf.hello(identity="deaf")
    settle(deaf, speaker)
    number = 0
    while "dropped at client: backlog" not in node.log():
        number += 1
        assert number < 5000
        speaker.send("message", content="x" * 10_000, id=f"id-{number}")
        speaker.until("ack")
    deaf.widen()
    told = [json.loads(one) for one in deaf.lines_to_end()]
    assert told[-1]["code"] == "backlog"
    heard = numbered(told)
    assert heard == list(range(1, len(heard) + 1))
    speaker.send("message", content="one more", id="one-more")
    last = speaker.until("ack")["index"]
    again = tls_client(node, certificate)
    again.hello(session=deaf.token, resume=[{"roomid": HALL, "from": len(heard) + 1}])
    assert numbered(again.collect("message", index=last)) == list(range(len(heard) + 1, last + 1))


def test_a_handshake_that_is_never_finished_is_dropped(start_node: StartNode, certificate: Path) -> None:
    node = start_node("--handshake-max=0.5", listen=tls(certificate))
    chatting = tls_client(node, certificate)
    settle(chatting)
    started = time.monotonic()
    silent, halfway = node.connect(), node.connect()
    # A ClientHello, but for its last bytes.
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="chat.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    halfway.write(outgoing.read()[:-5])
    for client in (silent, halfway):
        client.read_to_end()
    assert 0.4 < time.monotonic() - started < 5
    chatting.say("still here")
    assert chatting.drain() == [message("guest1", "still here")]


def test_no_tls_on_a_tls_port(start_node: StartNode, certificate: Path) -> None:
    node = start_node(listen=tls(certificate))
    chatting = tls_client(node, certificate)
    settle(chatting)
    for nonsense in (line("list"), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 300, b"\x00" * 70_000):
        client = node.connect()
        with contextlib.suppress(ConnectionError):
            client.write(nonsense)
        assert b'"type"' not in client.read_to_end()
    assert chatting.drain() == NOTHING, "none of them was greeted"
    hasty = tls_client(node, certificate)
    hasty.reset()
    chatting.say("still here")
    assert message("guest1", "still here") in chatting.drain()


# Unix sockets


def test_chat_over_a_unix_socket(start_node: StartNode, tmp_path: Path) -> None:
    path = tmp_path / "s"
    node = start_node(listen=f"unix:{path}")
    base, extended = unix_client(node, path), unix_client(node, path)
    chat(base, extended)
    base.half_close()
    assert base.read_to_end() == roomchange("guest1", HALL, "")
    extended.reset()
    again = unix_client(node, path)
    again.hello(session=extended.token)
    again.write(b"x" * 70_000)
    assert b"line-too-long" in again.read_to_end()


def test_a_unix_socket_left_by_a_killed_node_is_taken_over(start_node: StartNode, tmp_path: Path) -> None:
    path = tmp_path / "s"
    node = start_node(listen=f"unix:{path}")
    node.kill()
    assert path.exists()
    node.start()
    unix_client(node, path).drain()
    node.terminate()
    assert not path.exists(), "a clean end leaves none"


def test_several_endpoints_lead_to_one_chat(make_node: StartNode, certificate: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    node = make_node(f"--listen=unix:{path}", f"--listen={tls(certificate)}")
    node.start()
    wait_until(lambda: node.log().count("listening on ") == 3, "all listen")
    plain, local = node.base("plain"), unix_client(node, path)
    node.port = int(re.search(r"listening on ssl:[^\n]*port=(\d+)", node.log())[1])  # type: ignore[index]
    secure = tls_client(node, certificate)
    settle(local, secure, plain)
    settle(local)
    plain.say("hello")
    assert [client.drain() for client in (plain, local, secure)] == [[message("plain", "hello")]] * 3
