"""The seam between a node and the witness of its pair; `chatproto.registry` has the one that asks a registry."""

from typing import Protocol

from chatproto.pair.configuration import Configuration


class WitnessHeard(Protocol):
    """Who hears the witness. All calls come on the reactor's thread."""

    def witness_up(self, configuration: Configuration | None) -> None:
        """Hear that the witness is reached, and what it holds; None if it has never held anything.

        What was proposed over an earlier connection has taken effect by now, or never will.
        """

    def witness_down(self) -> None:
        """Hear that the witness cannot be reached; whether a proposal under way takes effect is not known."""

    def witness_holds(self, configuration: Configuration) -> None:
        """Hear that the configuration is another now, whoever proposed it."""

    def witness_denied(self, reason: str, configuration: Configuration | None) -> None:
        """Hear that the proposal under way is refused, and what the witness holds."""


class AskedWitness(Protocol):
    """A link to the witness, dialled again whenever it is lost.

    Attributes:
        up: whether the witness is reached now.
    """

    up: bool

    def open(self, heard: WitnessHeard, claim: Configuration | None, founder: bool) -> None:
        """Begin to dial.

        Args:
            heard: who is to hear what the witness says.
            claim: the configuration that this node has on its disk.
            founder: whether this node may make the first configuration.
        """

    def claim(self, configuration: Configuration) -> None:
        """Say that this node has another configuration on its disk now."""

    def propose(self, configuration: Configuration, *, lossy: bool = False) -> None:
        """Ask for a configuration, whose epoch is one above what the witness is known to hold.

        Answered by `witness_holds` or `witness_denied`, or with `witness_down` not at all. Not to be called while it
        is not `up`, or while a proposal is under way.

        Args:
            configuration: what should hold.
            lossy: take over although this node is not a member: the operator accepts that entries are lost.
        """

    def close(self) -> None:
        """End the link, and dial no more."""
