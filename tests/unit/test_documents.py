"""What the documents print from the code, and name of the tests, is so."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import tests.unit
from chatproto.monitor import watch
from chatproto.pair.states import picture
from chatproto.registry.names import REASONS
from chatproto.registry.rules import describe

ROOT = Path(tests.unit.__file__).parents[2]


class FailureModelTests(SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.text = (ROOT / "docs" / "failure-model.md").read_text(encoding="utf-8")

    def test_the_picture_of_the_roles_is_printed_from_the_table(self) -> None:
        self.assertIn(f"```text\n{picture()}```", self.text)

    def test_what_the_witness_agrees_to_is_printed_from_the_table(self) -> None:
        self.assertIn(f"```text\n{describe().rstrip()}\n```", self.text)

    def test_every_row_names_its_test_and_that_is_there(self) -> None:
        table = self.text.partition("| what breaks |")[2].partition("\n\n")[0]
        sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
        written = "\n".join(sources)
        rows = table.splitlines()[2:]
        self.assertGreater(len(rows), 15)
        for row in rows:
            names = re.findall(r"`(test_\w+)`", row)
            files = re.findall(r"`(tests/[\w/]+\.py)`", row)
            self.assertTrue(names or files, row)
            for name in names:
                self.assertIn(f"def {name}(", written, row)
            for file in files:
                self.assertTrue((ROOT / file).exists(), row)


class MonitorTests(SynchronousTestCase):
    def test_the_table_is_printed_from_the_code(self) -> None:
        text = (ROOT / "docs" / "monitor.md").read_text(encoding="utf-8")
        self.assertIn(f"```text\n{watch.describe().rstrip()}\n```", text)


class ProtocolTests(SynchronousTestCase):
    def test_every_code_of_the_registry_is_explained(self) -> None:
        text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8").partition("# The registry link")[2]
        codes = {*REASONS, "version", "crowded"}
        self.assertEqual({code for code in codes if f"`{code}`" not in text}, set())
