"""What must always hold of a chat deployment, as checkers. Pure: they are fed, and raise `Violation`.

`Chronicle` is fed with what was committed, in order, and forgets nothing; the others compare with it what nodes hold
and what clients heard. A simulated deployment runs them after every event (`chatproto.testing.SimDeployment`).
A program with a log of its own can use them as well: all they need are runs of entries and wire messages.

* `Chronicle`: entries are numbered without gaps, in each room too; an id is there once; nothing committed changes
* `Acknowledgements`: acknowledged: kept once, at the place and with the content acknowledged, for ever
* `RoomView`, `BaseView`: what a client is told of a room is an interval of the committed order, no hole, no repeat
* `Presence`: who is where, as a client was told, is what the hall says
* `check_hall`, `Replay`: the hall is sound, and what replaying the log from scratch gives
* `behind`: a client has been brought to the end of each of its rooms
* `Logs`, `Agreement`: two nodes: what is durable where, and that what is committed is durable wherever it has to be
* `Forks`: two nodes without a witness: nobody is told of two sides of a partition as if they were one
"""

from chatproto.testing.checkers.chronicle import Acknowledgements, Chronicle, Record, Violation
from chatproto.testing.checkers.forks import Forks
from chatproto.testing.checkers.halls import Replay, check_hall
from chatproto.testing.checkers.pair import WITNESS, Agreement, Copy, Logs
from chatproto.testing.checkers.presence import Presence
from chatproto.testing.checkers.views import BaseView, RoomView, behind

__all__ = [
    "WITNESS",
    "Acknowledgements",
    "Agreement",
    "BaseView",
    "Chronicle",
    "Copy",
    "Forks",
    "Logs",
    "Presence",
    "Record",
    "Replay",
    "RoomView",
    "Violation",
    "behind",
    "check_hall",
]
