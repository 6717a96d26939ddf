"""The rooms that a client is in, as far as it knows, through connections that end and begin. Pure."""

from collections.abc import Collection, Container

from chatproto.wire.fields import MAIN_HALL


class Whereabouts:
    """The rooms of a session.

    After each welcome the server tells them anew. Until it has, those of before are remembered: if the connection
    breaks before that, nothing was learnt of them.
    """

    def __init__(self, wanted: tuple[str, ...]) -> None:
        """Be nowhere, and want to enter some rooms."""
        # Those it is known to be in so far, and, until it knows all, those it was in before.
        self._rooms: tuple[str, ...] = ()
        self._before: tuple[str, ...] | None = None
        self._to_enter = wanted
        self._main_hall_unwanted = False

    @property
    def rooms(self) -> tuple[str, ...]:
        """Rooms the session is in, the one entered last at the end."""
        return self._rooms or self._before or ()

    def __contains__(self, room: object) -> bool:
        """Whether the server has told so since the last welcome."""
        return room in self._rooms

    def reads(self, room: str) -> bool:
        """Whether what is said in a room is for the program."""
        return room in self._rooms and not (self._main_hall_unwanted and room == MAIN_HALL)

    # Connections

    def lost(self) -> None:
        """Hear that the connection is gone."""
        self._main_hall_unwanted = False
        if self._before is not None:
            self._rooms = tuple(dict.fromkeys((*self._before, *self._rooms)))
            self._before = None

    def welcomed(self, resumed: bool, read: Container[str]) -> tuple[tuple[str, ...], bool]:
        """Hear that a server has let us in, perhaps with the session we had; `read` are rooms with a position.

        Returns the rooms to enter, and whether MainHall is to be left: every session begins there.
        """
        before = self.rooms
        self._before, self._rooms = before, ()
        # A room in which nothing was read yet has no position that `hello` could have named.
        unread = [room for room in before if room not in read and room != MAIN_HALL]
        self._to_enter = tuple(dict.fromkeys((*self._to_enter, *unread)))
        self._main_hall_unwanted = not resumed and bool(before) and MAIN_HALL not in before
        return self._to_enter, self._main_hall_unwanted

    def surveyed(self) -> bool:
        """Hear that the server has told all; return whether it was not known before."""
        fresh = self._before is not None
        if fresh:
            self._before = None
            self._to_enter = ()
            self._main_hall_unwanted = False
        return fresh

    # Rooms

    def told(self, room: str, identities: Collection[str], me: str) -> None:
        """Hear who is in a room: the rooms of a resumed session are told in this way only."""
        if self._before is not None and me in identities:
            self.entered(room)

    def entered(self, room: str) -> None:
        """Hear that we are in a room."""
        self._rooms = tuple(dict.fromkeys((*self._rooms, room)))

    def left(self, room: str) -> None:
        """Hear that we are in a room no longer."""
        self._rooms = tuple(other for other in self._rooms if other != room)
        if self._before is not None:
            self._before = tuple(other for other in self._before if other != room)
        if room == MAIN_HALL:
            self._main_hall_unwanted = False
