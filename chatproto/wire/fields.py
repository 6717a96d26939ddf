"""The protocol's names: what an identity and a room may be called (`client-link`, table "names")."""

MAIN_HALL = "MainHall"
"""The room that everybody starts in; nobody owns it and nothing deletes it."""

SERVER_IDENTITY = "server"
"""Whoever speaks to base clients for the node itself; nobody else may be called so."""

IDENTITY_CHARS_MIN = 3
IDENTITY_CHARS_MAX = 16
ROOM_CHARS_MIN = 3
ROOM_CHARS_MAX = 32
ID_CHARS_MAX = 64


def identity_allowed(name: str) -> bool:
    """Whether an identity may be called so: an ASCII letter, then letters and digits, 3 to 16 in all."""
    return _allowed(name, IDENTITY_CHARS_MIN, IDENTITY_CHARS_MAX) and name != SERVER_IDENTITY


def room_allowed(name: str) -> bool:
    """Whether a room may be called so: an ASCII letter, then letters and digits, 3 to 32 in all."""
    return _allowed(name, ROOM_CHARS_MIN, ROOM_CHARS_MAX)


def _allowed(name: str, least: int, most: int) -> bool:
    # `isalnum` alone would let other scripts' letters and digits in: two names that look the same.
    return least <= len(name) <= most and name.isascii() and name.isalnum() and name[0].isalpha()
