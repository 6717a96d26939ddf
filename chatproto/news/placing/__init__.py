"""Placing readers at delivery nodes, or moving them from one to another: all or nothing, by a two-phase commit.

Public: `Place`, `Remove` (what is done at a node), `ITable` (the readers of a node, which are changed), `Ledger` (what
the log says of transactions; pure), `Coordinator`, `Participant` (both sides; pure), `Placing` (coordinates, over links
to delivery nodes), `Participating` (a delivery node's side of them).
"""

from chatproto.news.placing.actions import REFUSALS, Action, Place, Remove, Steps
from chatproto.news.placing.coordinating import Placing
from chatproto.news.placing.coordinator import Coordinator, Settled
from chatproto.news.placing.interface import ITable
from chatproto.news.placing.ledger import Act, Ledger, Lost
from chatproto.news.placing.participant import Participant
from chatproto.news.placing.participating import Participating

__all__ = [
    "REFUSALS",
    "Act",
    "Action",
    "Coordinator",
    "ITable",
    "Ledger",
    "Lost",
    "Participant",
    "Participating",
    "Place",
    "Placing",
    "Remove",
    "Settled",
    "Steps",
]
