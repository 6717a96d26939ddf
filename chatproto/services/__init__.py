"""One module per role: builds the service tree from parts. Never imports the reactor."""

from chatproto.pair.log import PairSettings
from chatproto.services.dns import DNSSettings
from chatproto.services.drain import Drain, Drained
from chatproto.services.monitor import MonitorSettings, build_monitor
from chatproto.services.node import NodeService, NodeSettings, Retention, build_node
from chatproto.services.pairing import PeerSettings
from chatproto.services.registering import RegisteringSettings
from chatproto.services.registry import RegistrySettings, build_registry

__all__ = [
    "DNSSettings",
    "Drain",
    "Drained",
    "MonitorSettings",
    "NodeService",
    "NodeSettings",
    "PairSettings",
    "PeerSettings",
    "RegisteringSettings",
    "RegistrySettings",
    "Retention",
    "build_monitor",
    "build_node",
    "build_registry",
]
