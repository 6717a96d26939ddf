"""A web site with a chat in it: both in one service tree, on one reactor, in one process.

    python examples/embed_server.py tcp:4444 tcp:8080 DATA-DIRECTORY

The page says who is in which room, read from the chat's own state without asking over a network.
"""

import sys

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from chatproto import ChatSettings, NodeService, NodeSettings, build_node
from chatproto.tap import real_world


class WhoIsThere(Resource):
    """Shows the rooms of a node."""

    isLeaf = True

    def __init__(self, chat: NodeService) -> None:
        super().__init__()
        self.chat = chat

    def render_GET(self, request):
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        rooms = self.chat.server.hall.rooms.values()
        lines = [f"{room.name}: {', '.join(m.identity for m in room.members.values())}" for room in rooms]
        return "\n".join(lines).encode() + b"\n"


def build(chat_endpoint: str, web_endpoint: str, data: str) -> MultiService:
    """Return a service tree of both."""
    site = MultiService()
    settings = NodeSettings(data, listen=(chat_endpoint,), chat=ChatSettings(name="site", capacity=500))
    chat = build_node(real_world(), settings)
    chat.setServiceParent(site)
    web = serverFromString(reactor, web_endpoint)
    StreamServerEndpointService(web, Site(WhoIsThere(chat))).setServiceParent(site)
    return site


if __name__ == "__main__":
    service = build(*sys.argv[1:])
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
