"""What can be set of every node of the news system."""

from dataclasses import dataclass

from chatproto.news.items import TOPICS

LEASE_S = 3.0


@dataclass(frozen=True, kw_only=True)
class NewsSettings:
    """What the settings of each role begin with.

    A role's own are a dataclass of its own, which extends this one. A field whose name is in what
    `chatproto.newsoptions.NewsOptions.fields` returns is filled in by `twistd newsserver`; all others keep their
    defaults.

    Attributes:
        data: the data directory.
        name: this node's, unique in the deployment.
        service: the name of the deployment in the registry.
        listen: server endpoint strings of the public links: sources, readers, clients of the contracting service.
        peer_listen: server endpoint string of the guarded links: other nodes. Empty for none.
        advertise: `HOST:PORT` of the public links, registered; empty where nobody is told.
        peer_advertise: `HOST:PORT` of the guarded links, registered; empty where nobody is told.
        registry: client endpoint string of the registry; empty for a node that nobody finds by name.
        token: protects the node's name there; empty for a secret that its data directory keeps.
        lease_s: the registration ends unless it is renewed within so many seconds.
        metrics: server endpoint string of its probes: metrics, health and readiness; empty for none.
        topics: of the deployment, the same on each node.
        control: path of the socket for operators' commands; empty for none.
    """

    data: str
    name: str
    service: str = "news"
    listen: tuple[str, ...] = ()
    peer_listen: str = ""
    advertise: str = ""
    peer_advertise: str = ""
    registry: str = ""
    token: str = ""
    lease_s: float = LEASE_S
    metrics: str = ""
    topics: tuple[str, ...] = TOPICS
    control: str = ""
