"""What is registered: names with their addresses, each for as long as its lease is renewed. Pure.

Times are `now` in seconds of any clock that only goes forward. What is refused changes nothing, and is told by a code
of `REASONS`.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence

import msgspec

from chatproto.pair.configuration import EPOCH_MAX, name_allowed
from chatproto.wire import host_and_port
from chatproto.wire.addresses import TLS

REGISTRATIONS_MAX = 256
ADDRESS_CHARS_MAX = 256
ATTRIBUTES_MAX = 16
ATTRIBUTES_BYTES_MAX = 2048
"""Keys and values together, in UTF-8."""

TOKEN_BYTES_MAX = 256
LEASE_S_MAX = 3600.0
CAPACITY_MAX = 2**31 - 1
PAYLOAD_BYTES_MAX = 64 * 1024
"""Of a call, an answer, or what a group is told."""

OURS = b"!"
"""A call whose payload begins so is passed on only for somebody who has proven to be of the deployment."""

LATE_S_MAX = 0.5
"""A `tick` that comes later by more than this tells that the registry itself stood still."""

REASONS = {
    "bad-name": "a service, a name, a kind, a role, a group or a key of an attribute is made of letters, digits, dots, "
    "hyphens and underscores, 64 at most, and begins with a letter or a digit",
    "bad-address": f"an address is HOST:PORT in ASCII, {ADDRESS_CHARS_MAX} characters at most",
    "bad-number": f"an epoch is from 0 to 2**63 - 1, a capacity from 0 to {CAPACITY_MAX}, a lease more than 0 and at "
    f"most {LEASE_S_MAX:g} seconds",
    "bad-attributes": f"there are more than {ATTRIBUTES_MAX} attributes, or more than {ATTRIBUTES_BYTES_MAX} bytes of "
    "them",
    "bad-token": f"a token has from 1 to {TOKEN_BYTES_MAX} bytes",
    "taken": "the name is registered under another token; it is free when that one's lease is over",
    "wrong-token": "the name is registered under another token",
    "superseded": "a later connection of the same program has registered the name: if it always does, two processes "
    "are told to be one",
    "lease-over": "nothing is registered under that name, or not any more: register it again",
    "full": f"the registry holds {REGISTRATIONS_MAX} registrations, as many as it may",
    "no-such-name": "nothing is registered under that name",
    "no-leader": "none of the service's registrations is its leader",
    "not-there": "no server is registered under that name, or none that takes calls now",
    "rejected": "the server does not take this call, or failed with it",
    "gone": "the server was lost before it answered; what it did of it is not known",
    "no-answer": "the server has not answered in time; what it does of it is not known",
    "busy": "too many calls, or changes that are not durable yet, are under way; ask again",
    "too-large": f"a payload holds at most {PAYLOAD_BYTES_MAX} bytes",
    "unproven": "whoever registers a name, tells a group something, or asks what only the deployment's own are told, "
    "has to prove who it is: with the name's certificate, or the secret",
    "too-many": "too many watches and groups on one connection",
}
"""What a refusal means, by its code: of what concerns the table, and of what concerns calls and groups."""


TLS_SPOKEN = "tls"
"""The attribute of whoever speaks TLS with its clients at `address`; what it says does not matter."""


class Registration(msgspec.Struct, frozen=True, array_like=True):
    """What a server says of itself.

    Attributes:
        service: the name of the deployment, such as `chat`.
        name: of the server, unique in its service.
        kind: what it serves, such as `chat`: whoever looks for any server of a kind asks by this.
        address: `HOST:PORT` where its clients reach it; empty for one that has none.
        role: what it is to its service now: `leader`, `follower`, `standby`; empty where that means nothing.
        epoch: the one in which it has this role; 0 where that means nothing.
        capacity: how many clients it takes; 0 for no bound.
        attributes: whatever else others should know, such as `peer`: `HOST:PORT` of its peer link.
        lease_s: the registration ends unless it is renewed within so many seconds.
    """

    service: str
    name: str
    kind: str = "chat"
    address: str = ""
    role: str = ""
    epoch: int = 0
    capacity: int = 0
    attributes: dict[str, str] = {}
    lease_s: float = 3.0

    @property
    def place(self) -> str:
        """Where its clients reach it; empty where they do not.

        That is the address, after `tls:` where they have to speak TLS.
        """
        return f"{TLS}{self.address}" if self.address and TLS_SPOKEN in self.attributes else self.address


class KeptName(msgspec.Struct, frozen=True, array_like=True):
    """What the disk has of a registration: itself, and the hash of the token that protects it."""

    registration: Registration
    token: bytes


class Refusal(Exception):
    """What was asked for is refused, and nothing is changed.

    Attributes:
        code: one of `REASONS`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"{code}: {REASONS[code]}")
        self.code = code


class _Held:
    def __init__(self, registration: Registration, token: bytes, now: float) -> None:
        self.registration = registration
        self.token = token
        self.until = now + registration.lease_s


class Names:
    """The table of registrations: who may change one, and when it ends."""

    def __init__(self) -> None:
        """Begin with nothing registered."""
        self._held: dict[tuple[str, str], _Held] = {}

    def restore(self, kept: Iterable[KeptName], now: float) -> None:
        """Hold what was durable; every lease counts anew from now, for nobody could renew it meanwhile."""
        self._held = {
            (one.registration.service, one.registration.name): _Held(one.registration, one.token, now) for one in kept
        }

    # Questions

    def resolve(self, service: str, name: str = "") -> Registration:
        """Return one registration of a service: by its name, or, without one, the leader's.

        Of several that say they lead, the one with the highest epoch does.

        Raises:
            Refusal: there is none.
        """
        if name:
            held = self._held.get((service, name))
            if held is None:
                raise Refusal("no-such-name")
            return held.registration
        leader = max(self.list(service=service, role="leader"), key=lambda found: found.epoch, default=None)
        if leader is None:
            raise Refusal("no-leader" if self.list(service=service) else "no-such-name")
        return leader

    def list(self, *, service: str = "", kind: str = "", role: str = "") -> list[Registration]:
        """Return the registrations of a service, a kind and a role, each of which may be left open; sorted by name."""
        return sorted(
            (
                found
                for held in self._held.values()
                for found in (held.registration,)
                if service in ("", found.service) and kind in ("", found.kind) and role in ("", found.role)
            ),
            key=lambda found: (found.service, found.name),
        )

    def kept(self) -> "Sequence[KeptName]":
        """Return what has to be durable, to begin with after a restart."""
        return [KeptName(held.registration, held.token) for _, held in sorted(self._held.items())]

    # Changes

    def register(self, registration: Registration, token: bytes, now: float) -> bool:
        """Hold a registration until its lease is over, in place of an earlier one of the same name and token.

        Returns:
            Whether it is another one than before; otherwise its lease is renewed, and that is all.

        Raises:
            Refusal: it is not allowed, or its name is registered under another token.
        """
        check(registration)
        if not 0 < len(token) <= TOKEN_BYTES_MAX:
            raise Refusal("bad-token")
        key, hashed = (registration.service, registration.name), _hash(token)
        held = self._live(*key, now)
        if held is None and len(self._held) >= REGISTRATIONS_MAX:
            raise Refusal("full")
        if held is not None and not hmac.compare_digest(held.token, hashed):
            raise Refusal("taken")
        self._held[key] = _Held(registration, hashed, now)
        return held is None or held.registration != registration

    def renew(self, service: str, name: str, token: bytes, now: float) -> None:
        """Begin the lease of a registration anew.

        Raises:
            Refusal: the lease is over, or the token is another.
        """
        held = self._own(self._live(service, name, now), token, "lease-over")
        held.until = now + held.registration.lease_s

    def withdraw(self, service: str, name: str, token: bytes) -> Registration:
        """Drop a registration, and return it.

        Raises:
            Refusal: there is none, or the token is another.
        """
        self._own(self._held.get((service, name)), token, "no-such-name")
        return self._held.pop((service, name)).registration

    # Time

    def next_wakeup(self) -> float | None:
        """Return when a lease is over next; None while nothing is registered."""
        return min((held.until for held in self._held.values()), default=None)

    def tick(self, now: float) -> "Sequence[Registration]":
        """Drop what was not renewed in time, and return it.

        To be called when `next_wakeup` says. If it comes late, the registry stood still and heard nobody, which says
        nothing about anybody: then every lease lasts longer by as much, and a moment for what waits to be read.
        """
        due = self.next_wakeup()
        if due is not None and now - due > LATE_S_MAX:
            for held in self._held.values():
                held.until += now - due + LATE_S_MAX
        over = [key for key, held in self._held.items() if held.until <= now]
        return [self._held.pop(key).registration for key in over]

    def _live(self, service: str, name: str, now: float) -> _Held | None:
        held = self._held.get((service, name))
        return held if held is not None and held.until > now else None

    def _own(self, held: _Held | None, token: bytes, missing: str) -> _Held:
        if held is None:
            raise Refusal(missing)
        if not hmac.compare_digest(held.token, _hash(token)):
            raise Refusal("wrong-token")
        return held


def check(registration: Registration) -> None:
    """Check that something may be registered.

    Raises:
        Refusal: it may not.
    """
    attributes = registration.attributes
    named = (registration.service, registration.name, registration.kind, *attributes)
    if not all(map(name_allowed, named)) or (registration.role and not name_allowed(registration.role)):
        raise Refusal("bad-name")
    address = registration.address
    readable = address.isascii() and address.isprintable() and " " not in address
    if address and not (readable and len(address) <= ADDRESS_CHARS_MAX and host_and_port(address) is not None):
        raise Refusal("bad-address")
    if not (
        0 <= registration.epoch <= EPOCH_MAX
        and 0 <= registration.capacity <= CAPACITY_MAX
        and 0 < registration.lease_s <= LEASE_S_MAX
    ):
        raise Refusal("bad-number")
    if len(attributes) > ATTRIBUTES_MAX or _bytes(attributes) > ATTRIBUTES_BYTES_MAX:
        raise Refusal("bad-attributes")


def _bytes(attributes: dict[str, str]) -> int:
    return sum(len(text.encode()) for attribute in attributes.items() for text in attribute)


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
