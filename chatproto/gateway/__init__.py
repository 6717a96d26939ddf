"""Other front doors onto the same sessions: the page that a browser loads, and its WebSocket.

A WebSocket (RFC 6455) carries the lines of the client link, and a session does not know by which door its client
came: to `PageLink`, which is a client link like any other, a WebSocket is one more stream.

`chatproto.gateway.page` serves it. That needs the library `websockets`, which is loaded by those who have a page only.
"""

from chatproto.gateway.settings import PageSettings

__all__ = ["PageSettings"]
