"""Where a client stands, and what moves it on. Pure."""

import enum


class Phase(enum.Enum):
    """Where a client stands."""

    FRESH = enum.auto()
    STOPPED = enum.auto()
    STOPPING = enum.auto()
    WAITING = enum.auto()
    CONNECTING = enum.auto()
    GREETING = enum.auto()
    ONLINE = enum.auto()


STATES = {
    Phase.FRESH: "stopped",
    Phase.STOPPED: "stopped",
    Phase.STOPPING: "stopped",
    Phase.WAITING: "waiting",
    Phase.CONNECTING: "connecting",
    Phase.GREETING: "connecting",
    Phase.ONLINE: "online",
}
"""What a program is told of each phase."""


class Cue(enum.Enum):
    """What moves a client from one phase to another."""

    START = enum.auto()
    CONNECTED = enum.auto()
    FAILED = enum.auto()
    WELCOMED = enum.auto()
    LOST = enum.auto()
    DUE = enum.auto()
    DISMISSED = enum.auto()
    STOP = enum.auto()


TRANSITIONS: dict[tuple[Phase, Cue], tuple[Phase, str]] = {
    (Phase.FRESH, Cue.START): (Phase.CONNECTING, "nothing speaks against trying at once"),
    (Phase.FRESH, Cue.STOP): (Phase.STOPPED, "there is nobody to take leave of"),
    (Phase.STOPPED, Cue.START): (Phase.CONNECTING, "as at first, but with the rooms and positions of before"),
    (Phase.STOPPED, Cue.STOP): (Phase.STOPPED, "it is"),
    (Phase.STOPPING, Cue.LOST): (Phase.STOPPED, "the server has closed, or was hung up on"),
    (Phase.STOPPING, Cue.DUE): (Phase.STOPPING, "hung up on: the server took too long to close; LOST follows"),
    (Phase.STOPPING, Cue.STOP): (Phase.STOPPING, "the end is under way"),
    (Phase.WAITING, Cue.DUE): (Phase.CONNECTING, "waited long enough"),
    (Phase.WAITING, Cue.STOP): (Phase.STOPPED, "there is nobody to take leave of"),
    (Phase.CONNECTING, Cue.CONNECTED): (Phase.GREETING, "hello is the first line"),
    (Phase.CONNECTING, Cue.FAILED): (
        Phase.WAITING,
        "another place may be better, at once or, if all have failed, later",
    ),
    (Phase.CONNECTING, Cue.DUE): (Phase.WAITING, "given up: a server that is there answers sooner"),
    (Phase.CONNECTING, Cue.STOP): (Phase.STOPPED, "given up: there is nobody to take leave of"),
    (Phase.GREETING, Cue.WELCOMED): (Phase.ONLINE, "the session is ours"),
    (Phase.GREETING, Cue.LOST): (Phase.WAITING, "turned away, or the server has died"),
    (Phase.GREETING, Cue.DUE): (Phase.GREETING, "asked whether it lives; or hung up on, and LOST follows"),
    (Phase.GREETING, Cue.DISMISSED): (Phase.STOPPING, "two that take one session from each other never end"),
    (Phase.GREETING, Cue.STOP): (Phase.STOPPING, "the session may have begun, so it is ended"),
    (Phase.ONLINE, Cue.LOST): (Phase.WAITING, "the session goes on for its grace, here or elsewhere"),
    (Phase.ONLINE, Cue.DUE): (Phase.ONLINE, "asked whether it lives; or hung up on, and LOST follows"),
    (Phase.ONLINE, Cue.DISMISSED): (Phase.STOPPING, "two that take one session from each other never end"),
    (Phase.ONLINE, Cue.STOP): (Phase.STOPPING, "what was said is acknowledged before the server closes"),
}
"""Every transition there is, each with its reason; any other raises `KeyError`."""
