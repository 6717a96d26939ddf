"""Who may open a WebSocket, and what the page may do: decided from a request's headers. Pure."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]*:[0-9a-f:.]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}

Header = Callable[[str], str | None]
"""Returns a header of a request by its lower-case name, several of one name joined by commas; None if there is none."""


@dataclass(frozen=True)
class Refusal:
    """Why a request for a WebSocket is refused: a status of HTTP, a word for whoever counts, and what is said."""

    status: int
    word: str
    reason: str


def admit(header: Header, pages: Iterable[str], origins: Iterable[str]) -> str | Refusal:
    """Return the `Sec-WebSocket-Accept` for a request, or why it is refused.

    A browser says which page's script asks (`Origin`), so that no other site can use its visitors' network to get in
    here. What says nothing of the kind is no browser.

    Args:
        header: of the request.
        pages: addresses of this deployment's pages.
        origins: the only origins admitted beside those; empty where the host that was asked for is one too.
    """
    if not _has(header, "upgrade", "websocket") or not _has(header, "connection", "upgrade"):
        return Refusal(426, "no-websocket", "this is for a WebSocket")
    if header("sec-websocket-version") != "13":
        return Refusal(426, "no-websocket", "only version 13 of the protocol is spoken")
    key = header("sec-websocket-key") or ""
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            raise binascii.Error
    except (binascii.Error, ValueError):
        return Refusal(400, "no-websocket", "the key has to be 16 bytes in base64")
    origin = header("origin")
    if origin is not None:
        admitted = {origin_of(address) for address in (*pages, *origins)}
        if not origins and header("host"):
            admitted |= {origin_of(f"{scheme}://{header('host')}") for scheme in _DEFAULT_PORTS}
        if origin_of(origin) not in admitted - {""}:
            return Refusal(403, "origin", "this page may not use this server: its origin is not admitted")
    return base64.b64encode(hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()).decode()


def _has(header: Header, name: str, word: str) -> bool:
    return word in [part.strip().lower() for part in (header(name) or "").split(",")]


def origin_of(address: str) -> str:
    """Return the origin of a page's address, as browsers write it; empty where it has none."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return ""
    # It stands in headers, and may come from whoever registered it: a host is no more than a host.
    host = parts.hostname or ""
    if parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host):
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


def security_policy(pages: Iterable[str]) -> str:
    """Return the `Content-Security-Policy` of a page that may go on at these other pages' servers."""
    sockets = [origin.replace("http", "ws", 1) for origin in map(origin_of, pages) if origin]
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            " ".join(["connect-src 'self'", *dict.fromkeys(sockets)]),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
