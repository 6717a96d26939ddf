"""`chatproto news publish` and `chatproto news source`: an item goes to the root; a line of the root's sources."""

import mimetypes
import os
import secrets
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong

from chatproto.chat.passwords import SALT_BYTES, secret_of
from chatproto.cli.news.reaching import Reach, on_reactor
from chatproto.cli.servers import Misuse
from chatproto.errors import ChatprotoError, ClientError, Rejected
from chatproto.news.items import BODY_BYTES_MAX, REASONS
from chatproto.news.source import NewsSource

ROOT = "news-root"
"""What the root is registered as."""
STANDARD_INPUT = "-"

REFUSED = {
    "bad-name": "the root has no such source",
    "bad-password": "the root has no such source, or it has another password",
    "moved": "another process publishes under this name",
    "too-many-tries": "the root refuses this source for a while: too many wrong passwords came",
    "version": "the root is of another release",
}
"""Why a source is not let in, in words of who types."""


class PublishFailed(ChatprotoError):
    """The item was not accepted, or nobody knows."""


@dataclass(frozen=True)
class Publication:
    """What is to be published.

    Attributes:
        reach: where the root is.
        source: publishes it.
        password: the source's.
        topic: one of the deployment's.
        title: a line.
        body: at most `BODY_BYTES_MAX` bytes.
        media_type: of the body.
        expires_in_s: seconds from now.
        exclusive: whether it is for paid contracts with exclusives only.
        id: the same at every try; None to draw one.
    """

    reach: Reach
    source: str
    password: str = field(repr=False)
    topic: str = ""
    title: str = ""
    body: bytes = b""
    media_type: str = "text/plain"
    expires_in_s: float = 86400.0
    exclusive: bool = False
    id: str | None = None


def media_type_of(path: str) -> str:
    """Return what a file's name says of its content; plain text for a name that says nothing, and standard input."""
    if path == STANDARD_INPUT:
        return "text/plain"
    return mimetypes.guess_type(path)[0] or ("application/octet-stream" if os.path.splitext(path)[1] else "text/plain")


def read_body(path: str) -> bytes:
    """Read what is to be published, from a file or standard input.

    Raises:
        Misuse: it cannot be read, or is larger than any item.
    """
    try:
        if path == STANDARD_INPUT:
            body = sys.stdin.buffer.read(BODY_BYTES_MAX + 1)
        else:
            with open(path, "rb") as file:
                body = file.read(BODY_BYTES_MAX + 1)
    except OSError as error:
        raise Misuse(f"cannot read {path}: {error.strerror}") from None
    if len(body) > BODY_BYTES_MAX:
        raise Misuse(f"{path}: {REASONS['too-large']}")
    return body


def publish(publication: Publication) -> int:
    """Publish an item; return its number, once it is on the root's disk.

    Raises:
        Misuse: there can be no such server.
        PublishFailed: it was refused, or not accepted in time.
    """
    return on_reactor(lambda reactor: publishing(reactor, publication))


async def publishing(reactor: Any, publication: Publication) -> int:
    """See `publish`."""
    given, troubles = publication, list[str]()
    endpoint = given.reach.endpoint(reactor, ROOT)
    source = NewsSource(endpoint, reactor, given.source, given.password, now=time.time, failed=troubles.append)
    source.startService()
    try:
        accepting: Deferred[int] = source.publish(
            given.topic,
            given.title,
            given.body,
            expires=time.time() + given.expires_in_s,
            media_type=given.media_type,
            exclusive=given.exclusive,
            id=given.id,
        )
        return await accepting.addTimeout(given.reach.timeout_s, reactor)
    except Rejected as error:
        raise PublishFailed(why_refused(error.reason)) from None
    except TookTooLong:
        why = f": {troubles[-1]}" if troubles else ""
        raise PublishFailed(f"{given.reach.place} has not accepted it in {given.reach.timeout_s:g} s{why}") from None
    except ClientError as error:
        raise PublishFailed(str(error)) from None
    finally:
        source.stopService()


def why_refused(code: str) -> str:
    """Return the root's refusal in words, with its code."""
    return f"refused, {code}: {REFUSED.get(code) or REASONS.get(code, 'the root says no')}"


def source_line(name: str, password: str, priority: int) -> str:
    """Return what the root's file of sources has to say of a source; only the salted hash of its password is in it.

    Raises:
        Misuse: the password is empty or too long.
    """
    try:
        secret = secret_of(password, secrets.token_bytes(SALT_BYTES))
    except ValueError as error:
        raise Misuse(str(error)) from None
    # A name may have dots, which would be something else without quotes.
    return f'[sources."{name}"]\nsecret = "{secret}"\npriority = {priority}'
