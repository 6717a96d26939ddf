"""Every role of the news system, for tests of what is common to them: its own, or else one that is nothing else."""

from dataclasses import dataclass
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.newsoptions import ROLES
from chatproto.services.news import BUILT, NewsRole, NewsSettings
from chatproto.services.node import PeerSettings


@dataclass(frozen=True, kw_only=True)
class AllSettings(NewsSettings):
    """With a field for all that options can say."""

    heartbeat_s: float
    suspect_s: float
    parent: str
    sources: str
    substitute: str
    datagrams: tuple[str, int]
    datagrams_advertise: str
    send_bytes_per_s: int
    held_bytes_max: int = 0
    first_number: int | None = None
    readers_max: int
    peer: PeerSettings | None
    stands_in_for: str
    ask_every_s: float
    dead_after_s: float
    web: str
    delivery: str
    of_its_own: int = 7


def stand_in_for_roles(case: SynchronousTestCase, *roles: str) -> None:
    """Have roles, all of them unless they are named, be nothing but their options while a test runs."""
    build: Any = None
    replaced = {role: NewsRole(AllSettings, build) for role in roles or ROLES}
    before = dict(BUILT)
    case.addCleanup(BUILT.update, before)
    case.addCleanup(BUILT.clear)
    BUILT.update(replaced)
