"""Trust without certificates, for tests."""

from typing import Any

from twisted.python.failure import Failure

from chatproto.trust.interface import Believing
from chatproto.trust.proof import Proof


class Certified(Believing):
    """Trust in what the test says that certificates prove."""

    missing = "no-certificate"

    def __init__(self, proof: Proof) -> None:
        self.shown = proof
        self.refused: list[tuple[str, str]] = []
        self.over: list[Failure] = []

    def proof(self, transport: Any) -> Proof:
        return self.shown

    def refuse(self, door: str, transport: Any, reason: str, why: str, *, told: bool = False) -> None:
        self.refused.append((door, reason))

    def ended(self, door: str, transport: Any, reason: Failure) -> None:
        self.over.append(reason)
