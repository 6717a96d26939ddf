"""What the documents print from the code, and name of the tests, is so."""

import re
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

import tests.unit
from chatproto.live import LIVE
from chatproto.monitor import watch
from chatproto.pair.states import picture
from chatproto.registry.names import REASONS
from chatproto.registry.rules import describe
from chatproto.services.draining import picture as picture_of_draining

ROOT = Path(tests.unit.__file__).parents[2]


class OperatingTests(SynchronousTestCase):
    def test_the_picture_of_the_drain_is_printed_from_the_table(self) -> None:
        text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
        self.assertIn(f"```text\n{picture_of_draining()}```", text)

    def test_what_can_change_while_it_runs_is_listed(self) -> None:
        text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
        table = text.partition("## Changing options while it runs")[2].partition("Everything else")[0]
        rows = [line for line in table.splitlines() if line.startswith("|")]
        self.assertEqual(set(re.findall(r"`([a-z-]+)`", "".join(rows))), LIVE)


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


class PatternsTests(SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        text = (ROOT / "docs" / "patterns.md").read_text(encoding="utf-8")
        table = text.partition("| way |")[2].partition("\n\n")[0]
        self.rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()[2:]]
        self.text = text

    def test_every_way_has_a_piece_that_can_be_imported(self) -> None:
        self.assertGreater(len(self.rows), 8)
        for way, _, piece, _, _ in self.rows:
            named = re.findall(r"`(chatproto[\w.]+)`", piece)
            self.assertTrue(named, way)
            for name in named:
                self.assertTrue(callable(namedAny(name)), name)

    def test_every_way_has_an_example_that_a_test_runs(self) -> None:
        tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests" / "integration").glob("test_examples_*.py"))
        for way, *_, example in self.rows:
            named = re.findall(r"`examples/(\w+\.py)`", example)
            self.assertTrue(named, way)
            for name in named:
                lines = (ROOT / "examples" / name).read_text("utf-8").splitlines()
                self.assertLess(len(lines), 60, name)
                self.assertIn(f'"{name}"', tests)

    def test_who_is_said_to_use_it_is_there_and_does(self) -> None:
        for way, _, piece, use, _ in self.rows:
            sources = [(ROOT / path).read_text("utf-8") for path in re.findall(r"`(chatproto/[\w/]+\.py)`", use)]
            names = "|".join(re.findall(r"`chatproto\.messaging\.(\w+)`", piece))
            if names:
                self.assertTrue(any(re.search(rf"import .*\b({names})\b", source) for source in sources), way)

    def test_all_that_is_linked_to_is_there(self) -> None:
        headings = {line.lstrip("# ").lower().replace(" ", "-") for line in self.text.splitlines() if line[:1] == "#"}
        for anchor in re.findall(r"\(#([\w-]+)\)", self.text):
            self.assertIn(anchor, headings)


class MonitorTests(SynchronousTestCase):
    def test_the_table_is_printed_from_the_code(self) -> None:
        text = (ROOT / "docs" / "monitor.md").read_text(encoding="utf-8")
        self.assertIn(f"```text\n{watch.describe().rstrip()}\n```", text)


class ProtocolTests(SynchronousTestCase):
    def test_every_code_of_the_registry_is_explained(self) -> None:
        text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8").partition("# The registry link")[2]
        codes = {*REASONS, "version", "crowded"}
        self.assertEqual({code for code in codes if f"`{code}`" not in text}, set())
