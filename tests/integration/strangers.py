"""Somebody at a port that is for nodes."""

import contextlib
import socket
import ssl
from pathlib import Path

from chatproto.wire import FrameBuffer
from tests.integration.nodes import WAIT_S_MAX
from tests.integration.pairs import HOST

MISSED = ConnectionError, ssl.SSLError, EOFError


class Stranger:
    """A connection to a port that is for nodes, by whoever wants one, with or without TLS."""

    def __init__(self, port: int, certificate: Path | None = None, *, encrypted: bool = True) -> None:
        self._socket = socket.create_connection((HOST, port), WAIT_S_MAX)
        self._frames = FrameBuffer(1 << 24)
        self._heard: list[bytes] = []
        if encrypted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            if certificate is not None:
                context.load_cert_chain(certificate / "node.pem", certificate / "node.key")
            self._socket = context.wrap_socket(self._socket)

    def say(self, *frames: bytes) -> None:
        self._socket.sendall(b"".join(frames))

    def hear(self) -> bytes:
        """Return the next frame; an error at the end."""
        while not self._heard:
            data = self._socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._heard += self._frames.feed(data)
        return self._heard.pop(0)

    def hear_all(self) -> list[bytes]:
        """Return every frame up to the end, polite or not."""
        found = []
        with contextlib.suppress(*MISSED):
            while True:
                found.append(self.hear())
        return found

    def end(self) -> None:
        self._socket.close()
