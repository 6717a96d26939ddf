"""`chatproto certs`: makes a deployment's certificates, and tells what is in one."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from chatproto.trust.authority import AUTHORITY_KEY, Authority
from chatproto.trust.certificates import AUTHORITY, CERTIFICATE, KEY, date, names_of, read_certificates

Say = Callable[[str], None]


def make_certificates(directory: str, names: Sequence[str], hosts: Sequence[str], days: int, say: Say) -> None:
    """Make a certificate for each of some nodes, in a directory of its own, and tell what to do with it.

    The authority in the directory signs them; one is made where there is none. A node's certificate that is there
    already is replaced: that is how one is renewed. Without hosts it stays one for those that it was for.

    Args:
        directory: of the authority.
        names: of the nodes.
        hosts: names and addresses by which clients reach each of them.
        days: how long the certificates are good.
        say: is called with each line to tell.

    Raises:
        TrustError: a file cannot be read or written, or there is no authority to sign with.
    """
    authority = Authority(directory)
    if authority.made:
        key = os.path.join(directory, AUTHORITY_KEY)
        say(
            f"Made an authority, {os.path.join(directory, AUTHORITY)}. Whoever has {key} can be any node: keep it here."
        )
    for name in names:
        made = authority.sign(name, hosts or _hosts_so_far(os.path.join(directory, name, CERTIFICATE)), days)
        (certificate,) = read_certificates(os.path.join(made, CERTIFICATE))
        say(f"{name}: good until {date(certificate.not_valid_after_utc.timestamp())}.")
        say(f"  Copy {made}/ ({AUTHORITY}, {CERTIFICATE}, {KEY}) to its machine, for its user alone to read; then")
        say(
            f"  twistd chatserver --name={name} --tls={os.path.basename(made)} …, or SIGHUP if it runs with it already."
        )


def _hosts_so_far(path: str) -> list[str]:
    """Return the names and addresses that a certificate is for; none where there is none."""
    if not os.path.exists(path):
        return []
    names, addresses = names_of(read_certificates(path)[0])
    return names + addresses


def show(path: str, say: Say) -> None:
    """Tell what the certificates in a file are for, and until when.

    Raises:
        TrustError: it cannot be read, or holds none.
    """
    for certificate in read_certificates(path):
        names, addresses = names_of(certificate)
        end = certificate.not_valid_after_utc
        days = (end - datetime.now(UTC)).days
        say(f"subject    {certificate.subject.rfc4514_string()}")
        say(f"issuer     {certificate.issuer.rfc4514_string()}")
        say(f"names      {', '.join(names) or '-'}")
        say(f"addresses  {', '.join(addresses) or '-'}")
        say(f"begins     {date(certificate.not_valid_before_utc.timestamp())}")
        say(f"ends       {date(end.timestamp())}, {f'in {days} days' if days >= 0 else 'which is over'}")
