"""Links whose both sides prove that they know one secret; nothing is encrypted."""

import os
import secrets
import stat
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.python.failure import Failure

from chatproto.errors import TrustError
from chatproto.trust.interface import Exchange
from chatproto.trust.proof import NOTHING, LinkRefused, Proof
from chatproto.trust.secret import NONCE_BYTES, SECRET_BYTES_MIN, Dialled, Dialling

SECRET_BYTES_MAX = 4096


def read_secret(path: str) -> bytes:
    """Return the secret in a file, without white space around it.

    Raises:
        TrustError: it cannot be read, others may read it, or it is short enough to be guessed.
    """
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            secret = file.read(SECRET_BYTES_MAX + 1).strip()
    except OSError as error:
        raise TrustError(f"cannot read the secret in {path}: {error.strerror}") from None
    if mode & 0o077:
        raise TrustError(f"others than its owner may use {path}, which holds a secret: chmod 600 {path}")
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise TrustError(
            f"the secret in {path} has {len(secret)} bytes, not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}: "
            f"make one with openssl rand -hex 32"
        )
    return secret


class SharedSecret:
    """`Trust` in whoever knows a secret.

    At the registry's door whoever proves nothing is let in as such: it may look, and change nothing.
    """

    missing = "no-secret"

    def __init__(
        self,
        secret: bytes,
        name: str,
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Take the secret, what this side is called (empty for a program that is no node)."""
        self._secret = secret
        self._name = name
        self._draw = draw

    def server(self, endpoint: IStreamServerEndpoint, door: str) -> IStreamServerEndpoint:
        """Return the same."""
        return endpoint

    def client(self, endpoint: IStreamClientEndpoint, door: str) -> IStreamClientEndpoint:
        """Return the same."""
        return endpoint

    def exchange(self, door: str, *, dialled: bool) -> Exchange | None:
        """Return the exchange of one link."""
        side = Dialling if dialled else Dialled
        return side(self._secret, door, self._name, self._draw(NONCE_BYTES))

    def proof(self, transport: Any) -> Proof:
        """Know of none: the exchange has it."""
        return NOTHING

    def ended(self, transport: Any, reason: Failure) -> LinkRefused | None:
        """Know of none: a transport knows nothing of secrets."""
        return None
