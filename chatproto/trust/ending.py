"""Why a connection has ended, in words, where TLS has ended it."""

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.python.failure import Failure


def said_by_tls(reason: Failure) -> str | None:
    """Return what OpenSSL says of the end of a connection; None if it has not ended it."""
    error = reason.value
    if not isinstance(error, SSL.Error):
        return None
    return "; ".join(each[-1] for each in error.args[0]) if error.args else "nothing"


def tls_trouble(reason: Failure) -> str | None:
    """Return why TLS has ended a connection, as whoever dialled it is told; None if it has not."""
    if isinstance(reason.value, VerificationError):
        return "the certificate shown there is for another name"
    said = said_by_tls(reason)
    if said is not None and "certificate verify failed" in said:
        return "the certificate shown there is of nobody who is believed, or its time is over"
    return said and f"TLS failed: {said}"
