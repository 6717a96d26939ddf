"""The log of a node that is alone, or one of two: on its store, with its links to the other node and to the witness."""

from dataclasses import dataclass

from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.interfaces import IStreamClientEndpoint

from chatproto.link import Turn
from chatproto.log.interface import IStore
from chatproto.log.single import SingleLog
from chatproto.pair.link import LIMITS as PEERS
from chatproto.pair.log import PairLog, PairSettings
from chatproto.registry import RegistryWitness
from chatproto.services.listener import Listener
from chatproto.trust.proof import PEER, REGISTRY
from chatproto.wire import host_and_port
from chatproto.wire.addresses import speaks_tls, without_tls
from chatproto.world import World


@dataclass(frozen=True)
class PeerSettings:
    """What can be set of a node's place in a pair, or among servers of which one can take another's place.

    Attributes:
        dial: client endpoint string of the other node's peer link; empty for a node that is not one of a pair.
        listen: server endpoint string of this node's peer link.
        registry: client endpoint string of the registry, which is the witness; empty for a pair without one.
        pair: what can be set of the pair.
    """

    dial: str
    pair: PairSettings
    listen: str = "tcp:4545"
    registry: str = ""


def build_log(world: World, data: str, peer: PeerSettings | None, turn: Turn) -> PairLog | SingleLog:
    """Build the log of a node, which is not open yet.

    Args:
        world: the outside.
        data: the data directory.
        peer: the node's place in a pair; None for a node alone.
        turn: batches what is submitted, and what is sent.
    """

    def open_store() -> IStore:
        return world.store(data, world.fatal)

    if peer is None:
        return SingleLog(open_store, turn)
    witness = None
    if peer.registry:
        witness = RegistryWitness(
            world.guarded_client(peer.registry, REGISTRY),
            world.clock,
            world.dice,
            turn,
            service=peer.pair.service,
            node=peer.pair.name,
            heartbeat_s=peer.pair.heartbeat_s,
            suspect_s=peer.pair.suspect_s,
            trust=world.trust,
            tally=world.tally,
        )
    dial = world.guarded_client(peer.dial, PEER) if peer.dial else None

    def reach(address: str) -> IStreamClientEndpoint:
        return world.guarded_client(client_of(address), PEER)

    outside = turn, world.clock, world.dice, dial, witness, world.fatal, reach, world.tally
    return PairLog(peer.pair, open_store, *outside, PEERS.within(world.connections_max() // 2), world.trust)


def build_peer_listener(world: World, settings: PeerSettings, pair: PairLog) -> Listener:
    """Build what listens for the other node of a pair."""
    endpoint = world.guarded_server(settings.listen, PEER)
    return Listener(settings.listen, endpoint, pair.factory, world.fatal, pair.factory.gate)


def client_of(place: str) -> str:
    """Return the client endpoint string of `HOST:PORT`, or of `tls:HOST:PORT`.

    Of anything else it is one that nobody can be reached by.
    """
    host, port = host_and_port(without_tls(place)) or ("", 0)
    return f"{'tls' if speaks_tls(place) else 'tcp'}:{quoteStringArgument(host)}:{port}"
