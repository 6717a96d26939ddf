"""The two-node engine: two nodes agree on one log, and lose nothing when either is lost.

Public: `PairLog` and `PairSettings` (the engine behind `chatproto.log.interface.ILog`), `PeerLink` and
`PeerLinkFactory` (the protocol between the nodes), `Configuration` (who leads, and who counts), `AskedWitness` and
`WitnessHeard` (the seam to whoever holds that), `picture` (the table of roles, for reading).
"""

from chatproto.pair.configuration import Configuration
from chatproto.pair.link import PeerLink, PeerLinkFactory
from chatproto.pair.log import PairLog, PairSettings
from chatproto.pair.states import picture
from chatproto.pair.witness import AskedWitness, WitnessHeard

__all__ = [
    "AskedWitness",
    "Configuration",
    "PairLog",
    "PairSettings",
    "PeerLink",
    "PeerLinkFactory",
    "WitnessHeard",
    "picture",
]
