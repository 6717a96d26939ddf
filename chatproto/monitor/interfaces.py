"""What a monitor needs of the service that it watches, whatever that is."""

from twisted.internet.defer import Deferred
from zope.interface import Interface


class IAlive(Interface):
    """Asks the master whether it lives."""

    def ask() -> "Deferred[object]":
        """Ask once: fires when the master has answered, and fails when it cannot.

        The answer has to come from what serves, not from the machine: a process that was stopped still has its
        connections accepted. There need be no answer at all; cancelling is giving up.
        """


class IStandIn(Interface):
    """Serves in the master's place, in this process or by having another one begin to."""

    def activate() -> "Deferred[object]":
        """Begin to serve: fires when newcomers can come; fails when that cannot be."""

    def stand_down() -> "Deferred[object]":
        """End: take nobody new, finish what is under way, then serve no more, and fire.

        How long that may take is the stand-in's to bound. After a failure it must not serve either.
        """


class IPlace(Interface):
    """The master's place in the registry, which whoever looks for the service is led to."""

    def take() -> "Deferred[object]":
        """Have the stand-in registered, and kept so; fires when it is, however long the registry is away."""

    def give_back() -> "Deferred[object]":
        """Have it registered no more: the master registers itself."""
