"""Other front doors onto the same sessions: the page that a browser loads, and its WebSocket.

A WebSocket (RFC 6455) carries the lines of the client link, and a session does not know by which door its client
came: to `PageLink`, which is a client link like any other, a WebSocket is one more stream.
"""

from chatproto.gateway.page import PageFactory, PageSettings

__all__ = ["PageFactory", "PageSettings"]
