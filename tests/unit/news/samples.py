"""Items for tests."""

import hashlib
from typing import Any

import msgspec

from chatproto.news.items import Item

NOW = 1_800_000_000.0


def item_of(body: bytes = b"one nil", **fields: Any) -> Item:
    """An item that is in order, of a source `ansa`, that expires an hour after `NOW`; changed as told."""
    item = Item(
        source="ansa",
        id="first",
        topic="sport",
        title="Derby",
        media_type="text/plain",
        size=len(body),
        digest=hashlib.sha256(body).digest(),
        expires=NOW + 3600,
    )
    return msgspec.structs.replace(item, **fields)
