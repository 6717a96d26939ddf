"""Items for tests."""

from hashlib import sha256
from typing import Any

from chatproto.news.items import Item

NOW = 1_800_000_000.0


def item_of(number: int, body: bytes = b"It rains.", topic: str = "sport", **fields: Any) -> Item:
    given = {
        "source": "ansa",
        "id": f"id-{number}",
        "title": f"Title {number}",
        "media_type": "text/plain",
        "expires": NOW + 3600,
        "injected": NOW,
        "priority": 5,
    }
    return Item(
        topic=topic,
        size=len(body),
        digest=sha256(body).digest(),
        number=number,
        **{**given, **fields},  # type: ignore[arg-type]
    )
