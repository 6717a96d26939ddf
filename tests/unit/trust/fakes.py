"""Trust without certificates, for tests."""

from typing import Any

from twisted.python.failure import Failure

from chatproto.trust.interface import Believing
from chatproto.trust.proof import LinkRefused, Proof


class Certified(Believing):
    """Trust in what the test says that certificates prove."""

    missing = "no-certificate"

    def __init__(self, proof: Proof) -> None:
        self.shown = proof
        self.over: list[Failure] = []
        self.refusal: LinkRefused | None = None

    def proof(self, transport: Any) -> Proof:
        return self.shown

    def ended(self, transport: Any, reason: Failure) -> LinkRefused | None:
        self.over.append(reason)
        return self.refusal
