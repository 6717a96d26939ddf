"""Tests for chatproto.cli.archive: whose data directories it reads."""

from chatproto.cli.archive import archive
from chatproto.errors import StoreError
from chatproto.pair.configuration import Configuration, keep
from chatproto.registry.messages import encode_state
from chatproto.registry.names import KeptName, Registration
from chatproto.registry.shelf import join_state
from tests.unit.log.rig import SQLiteTestCase

HELD = Configuration(1, "one", ("one", "two"))


class WhoseTests(SQLiteTestCase):
    def read(self, kept: bytes) -> list[str]:
        done: list[None] = []
        self.open().configure(kept, lambda: done.append(None))
        self.calls.run_until(lambda: done)
        lines: list[str] = []
        archive(self.directory, None, lines.append)
        return lines

    def test_a_node_that_nobody_has_spoken_on_has_an_empty_one(self) -> None:
        self.assertEqual(self.read(keep(HELD)), [])

    def test_a_registry_has_none(self) -> None:
        """Whoever takes it for a node's is told, and does not believe that nothing was said."""
        error = self.assertRaises(StoreError, self.read, encode_state({"chat": HELD}))
        self.assertIn("is the data directory of a registry", str(error))

    def test_nor_has_one_that_knows_names(self) -> None:
        names = [KeptName(Registration("chat", "one", address="east:4444"), b"token")]
        self.assertRaises(StoreError, self.read, join_state(encode_state({"chat": HELD}), names))
