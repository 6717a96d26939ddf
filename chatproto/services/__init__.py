"""One module per role: builds the service tree from parts. Never imports the reactor."""

from chatproto.services.node import NodeService, NodeSettings, Retention, build_node

__all__ = ["NodeService", "NodeSettings", "Retention", "build_node"]
