"""Who leads, and on whose disks an entry has to be before it is committed. Pure."""

import re

import msgspec

NAME_CHARS_MAX = 64
MEMBERS_MAX = 2
"""A pair is two nodes."""

EPOCH_MAX = 2**63 - 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """The configuration of a pair.

    Of two configurations, the one with the higher epoch holds. Every change raises the epoch, and no two different
    configurations ever have the same one.

    Attributes:
        epoch: 1 or more.
        leader: the name of the node that numbers entries; one of the members.
        members: the names of the nodes that hold every committed entry, sorted.
    """

    epoch: int
    leader: str
    members: tuple[str, ...]


def after(configuration: Configuration | None) -> int:
    """Return the epoch that follows, as a witness counts: one at a time."""
    return 1 if configuration is None else configuration.epoch + 1


def name_allowed(name: str) -> bool:
    """Whether a service or a node may be called so: what `--name` allows."""
    return len(name) <= NAME_CHARS_MAX and _NAME.fullmatch(name) is not None


def configuration_allowed(configuration: Configuration) -> bool:
    """Whether this can be the configuration of a pair at all."""
    members = configuration.members
    return (
        0 < configuration.epoch <= EPOCH_MAX
        and len(members) <= MEMBERS_MAX
        and members == tuple(sorted(set(members)))
        and configuration.leader in members
        and all(map(name_allowed, members))
    )


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What a node has on its disk of the configuration: its fields, and one more.

    Attributes:
        epoch: see `Configuration`; 0 marks the disk of whoever is about to make the first configuration.
        leader: see `Configuration`.
        members: see `Configuration`.
        complete: whether this disk has ever held all that was committed: a blank one may be taken for that of a member.
        required: whom the node was about to ask for as a member; empty for nobody.
    """

    epoch: int
    leader: str
    members: tuple[str, ...]
    complete: bool = True
    required: str = ""

    @property
    def configuration(self) -> Configuration:
        """The configuration alone."""
        return Configuration(self.epoch, self.leader, self.members)


def keep(configuration: Configuration, *, complete: bool = True, required: str = "") -> bytes:
    """Return what a node has on its disk of a configuration."""
    kept = Kept(configuration.epoch, configuration.leader, configuration.members, complete, required)
    return encode_configuration(kept)


def kept(data: bytes) -> Kept:
    """Read what `keep` gave.

    Raises:
        msgspec.MsgspecError: it is something else.
    """
    return _decode_kept(data)


encode_configuration = msgspec.msgpack.Encoder().encode
decode_configuration = msgspec.msgpack.Decoder(Configuration).decode
_decode_kept = msgspec.msgpack.Decoder(Kept).decode
