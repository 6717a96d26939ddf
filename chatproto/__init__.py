"""Chat that survives the loss of a server: a Twisted protocol library and a `twistd` daemon.

Public here: what most programs need. More is in the slices: `chatproto.client.events`, `chatproto.chat` (the
protocols of the client link), `chatproto.pair` and `chatproto.registry` (those of the links between nodes and to the
registry), `chatproto.messaging` (queues, requests, servers and groups for any link), `chatproto.services`,
`chatproto.testing`.
"""

from chatproto.chat.settings import ChatSettings
from chatproto.client import ChatClient, RegistryEndpoint, SRVEndpoint
from chatproto.errors import (
    ChatprotoError,
    ClientError,
    ClientStopped,
    ContractError,
    ContractRefused,
    Refused,
    RegistryError,
    StoreError,
)
from chatproto.news.contracting import ContractClient
from chatproto.news.datagrams.reader import DatagramReader
from chatproto.news.reader import NewsReader
from chatproto.news.source import NewsSource
from chatproto.news.terms import Terms
from chatproto.registry import Registration, RegistryClient
from chatproto.release import RELEASE
from chatproto.services import (
    DNSSettings,
    MonitorSettings,
    NodeService,
    NodeSettings,
    PairSettings,
    PeerSettings,
    RegisteringSettings,
    RegistrySettings,
    Retention,
    build_monitor,
    build_node,
    build_registry,
)
from chatproto.world import World

__version__ = RELEASE

__all__ = [
    "ChatClient",
    "ChatSettings",
    "ChatprotoError",
    "ClientError",
    "ClientStopped",
    "ContractClient",
    "ContractError",
    "ContractRefused",
    "DNSSettings",
    "DatagramReader",
    "MonitorSettings",
    "NewsReader",
    "NewsSource",
    "NodeService",
    "NodeSettings",
    "PairSettings",
    "PeerSettings",
    "Refused",
    "RegisteringSettings",
    "Registration",
    "RegistryClient",
    "RegistryEndpoint",
    "RegistryError",
    "RegistrySettings",
    "Retention",
    "SRVEndpoint",
    "StoreError",
    "Terms",
    "World",
    "build_monitor",
    "build_node",
    "build_registry",
]
