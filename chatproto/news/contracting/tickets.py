"""What a reader shows to be let in at its delivery node, made of its password. Pure.

A ticket is nowhere: the log has its hash and a salt, a delivery node its hash. Whoever knows the password can have it
made again, at whichever server, so that what is repeated has the same answer.
"""

from chatproto.chat.passwords import NOBODY, SALT_BYTES, matches, secret_of, token_hash
from chatproto.news.contracting.acts import Opened


def ticket_of(password: str, salt: bytes, secret: str) -> str:
    """Return the ticket of a reader with this password, as costly to find out as the password is from its secret."""
    cost_log2 = int(secret.split("$")[1])
    return secret_of(password, salt, cost_log2).rpartition("$")[2]


def opening(reader: str, password: str, salts: bytes, cost_log2: int) -> tuple[Opened, str]:
    """Return what makes somebody a reader, and the ticket.

    Args:
        reader: the name.
        password: what proves it from now on.
        salts: twice `SALT_BYTES` of the system's randomness.
        cost_log2: of the secret, see `chatproto.chat.passwords`.

    Raises:
        ValueError: that is no password.
    """
    secret = secret_of(password, salts[:SALT_BYTES], cost_log2)
    salt = salts[SALT_BYTES:]
    ticket = ticket_of(password, salt, secret)
    return Opened(reader, secret, salt, token_hash(ticket)), ticket


def ticket_if_right(password: str, secret: str, salt: bytes) -> str:
    """Return the ticket of whoever has a secret, if this is its password; else nothing, and as late as that.

    Without a secret it is nobody's.
    """
    return ticket_of(password, salt, secret) if matches(password, secret or NOBODY) and secret else ""
