"""Nodes of the news system as real processes, and what their disks have."""

import sqlite3
from pathlib import Path

from chatproto.chat.passwords import secret_of
from chatproto.news.tree import records
from tests.integration.nodes import WAIT_S_MAX, Node

HERE = "interface=127.0.0.1"


class NewsNode(Node):
    """A `twistd -n newsserver` child."""

    plugin = "newsserver"
    always = ()

    def items(self) -> dict[int, records.Record]:
        """Return what its disk has of items, by number."""
        rows = self._rows(records.ITEM)
        return {records.number_in(key, records.ITEM)[0]: records.decode_record(value) for key, value in rows}

    def whole(self) -> set[int]:
        """Return the numbers of the items that it has had whole."""
        return {number for number, record in self.items().items() if record.phase != records.PARTIAL}

    def pieces(self) -> int:
        """Return how many pieces of bodies it has."""
        return len(self._rows(records.BODY))

    def _rows(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        path = self.data / "news.sqlite"
        if not path.exists():
            return []
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=WAIT_S_MAX)
        try:
            return database.execute(
                "SELECT key, value FROM held WHERE key >= ? AND key < ?", (prefix, prefix[:-1] + b"0")
            ).fetchall()
        finally:
            database.close()


def write_sources(path: Path, **passwords: str) -> Path:
    """Write a file for `--sources`, with cheap secrets."""
    secrets = {name: secret_of(password, b"salt" * 4, cost_log2=4) for name, password in passwords.items()}
    path.write_text("".join(f'[sources.{name}]\nsecret = "{secret}"\n' for name, secret in secrets.items()))
    return path
