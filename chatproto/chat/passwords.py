"""What the log keeps of passwords and tokens. Pure.

Passwords are salted and hashed by scrypt (RFC 7914), slowly on purpose; nobody guesses a token. The secret
of a password reads `scrypt$LN$R$P$SALT$DIGEST`: the base-2 logarithm of the cost, the block size, the parallelism, and
salt and digest in base 64. Each secret says its own cost, so that later ones may cost more.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode

COST_LOG2, BLOCK_SIZE, PARALLELISM = 15, 8, 1
SALT_BYTES = 16
DIGEST_BYTES = 32
PASSWORD_BYTES_MAX = 1024
MEMORY_BYTES_MAX = 256 * 1024 * 1024
"""A secret that wants more is no secret."""


def secret_of(password: str, salt: bytes, cost_log2: int = COST_LOG2) -> str:
    """Return the secret of a password; the salt is `SALT_BYTES` of the system's randomness.

    Raises:
        ValueError: the password is longer than `PASSWORD_BYTES_MAX`, or empty.
    """
    if not 0 < len(_bytes(password)) <= PASSWORD_BYTES_MAX:
        raise ValueError(f"a password has 1 to {PASSWORD_BYTES_MAX} bytes")
    digest = _digest(password, salt, cost_log2, BLOCK_SIZE, PARALLELISM)
    numbers = f"{cost_log2}${BLOCK_SIZE}${PARALLELISM}"
    return f"scrypt${numbers}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def matches(password: str, secret: str) -> bool:
    """Whether a secret is that of a password; one that cannot be read is of none."""
    if len(_bytes(password)) > PASSWORD_BYTES_MAX:
        return False
    try:
        scheme, cost_log2, block_size, parallelism, salt, digest = secret.split("$")
        if scheme != "scrypt":
            return False
        found = _digest(password, b64decode(salt), int(cost_log2), int(block_size), int(parallelism))
        return hmac.compare_digest(found, b64decode(digest))
    except ValueError:
        return False


def token_hash(token: str) -> str:
    """Return what the log keeps of a session's token, or of a ticket, so that reading the log lets nobody in."""
    return hashlib.sha256(_bytes(token)).hexdigest()


def _digest(password: str, salt: bytes, cost_log2: int, block_size: int, parallelism: int) -> bytes:
    return hashlib.scrypt(
        _bytes(password),
        salt=salt,
        n=1 << cost_log2,
        r=block_size,
        p=parallelism,
        maxmem=MEMORY_BYTES_MAX,
        dklen=DIGEST_BYTES,
    )


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


NOBODY = f"scrypt${COST_LOG2}${BLOCK_SIZE}${PARALLELISM}${b64encode(bytes(SALT_BYTES)).decode()}$"
"""A secret of no password, which takes as long to find out as any other."""
