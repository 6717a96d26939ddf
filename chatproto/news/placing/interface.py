"""The seam between the participant in transactions and the table of readers that they change."""

from collections.abc import Sequence

from zope.interface import Interface

from chatproto.keyvalue.interface import Change
from chatproto.news.placing.actions import Action


class ITable(Interface):
    """The readers of a delivery node, as it keeps them among its keys and values.

    Of one reader there is one action at a time; all is called on the reactor's thread.
    """

    def refusal(action: Action) -> str:
        """Return why an action cannot be done, as a code; empty if it can, and that holds once it is reserved."""

    def reserve(action: Action) -> None:
        """Hear that an action is promised, and wants its room; also, after a restart, of each that was."""

    def release(action: Action) -> None:
        """Hear that an action that was reserved is not done, or is done just now: before `done`."""

    def changes(action: Action) -> Sequence[Change]:
        """Return what doing it makes of the keys and values.

        They are the table's own keys, and this reader's. Done a second time it changes nothing.
        """

    def done(action: Action) -> None:
        """Hear that these changes are durable."""
