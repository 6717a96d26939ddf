"""What the documents print from the code, and name of the tests, is so."""

import argparse
import re
import shlex
from itertools import chain
from pathlib import Path

import msgspec
from twisted.python.reflect import namedAny
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

import chatproto
import tests.unit
from chatproto.cli.main import command_line
from chatproto.live import LIVE
from chatproto.monitor import watch
from chatproto.news import terms
from chatproto.news.contracting import CODES, negotiation
from chatproto.news.placing.participant import describe as describe_participant
from chatproto.newsoptions import NewsOptions
from chatproto.options import Options
from chatproto.pair.states import picture
from chatproto.registry.names import REASONS
from chatproto.registry.rules import describe
from chatproto.release import RELEASE
from chatproto.services.draining import picture as picture_of_draining
from tests.unit.newsroles import stand_in_for_roles

ROOT = Path(tests.unit.__file__).parents[2]


class PlacingTests(SynchronousTestCase):
    def test_what_becomes_of_a_transaction_at_a_node_is_printed_from_the_table(self) -> None:
        text = (ROOT / "docs" / "placing.md").read_text(encoding="utf-8")
        self.assertIn(f"```text\n{describe_participant().rstrip()}\n```", text)


class OperatingTests(SynchronousTestCase):
    def test_the_picture_of_the_drain_is_printed_from_the_table(self) -> None:
        text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
        self.assertIn(f"```text\n{picture_of_draining()}```", text)

    def test_what_can_change_while_it_runs_is_listed(self) -> None:
        text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
        table = text.partition("## Changing options while it runs")[2].partition("Everything else")[0]
        rows = [line for line in table.splitlines() if line.startswith("|")]
        self.assertEqual(set(re.findall(r"`([a-z-]+)`", "".join(rows))), LIVE)

    def test_every_reason_to_drop_a_connection_is_listed(self) -> None:
        text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
        table = text.partition("| reason | why it was dropped |")[2].partition("\n\n")[0]
        listed = {reason for row in table.splitlines()[2:] for reason in re.findall("`([a-z-]+)`", row.split(" | ")[0])}
        sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "chatproto").rglob("*.py"))
        said = re.findall(r'(?<!tally)\._?(?:drop\(|drop, |fail\()"([a-z-]+)"', sources)
        written = {*said, *re.findall(r'tally\.drop\([^,]+, "([a-z-]+)"', sources)}
        self.assertGreater(len(written), 20)
        self.assertEqual(written - listed, set())


class ContractsTests(SynchronousTestCase):
    def test_the_table_and_the_codes_are_printed_from_the_code(self) -> None:
        text = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8")
        self.assertIn(f"```text\n{negotiation.describe()}```", text)
        listed = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", text.partition("## Codes")[2], re.MULTILINE)
        self.assertEqual(dict(listed), {**terms.REASONS, **CODES})


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


class CommandTests(SynchronousTestCase):
    """Whatever a page has people type is understood; `…` stands for more of the same."""

    def commands(self, program: str) -> list[tuple[str, list[str]]]:
        """Return the command lines of a program in code blocks, each with its arguments."""
        found = []
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
            text = re.sub(r"\\\n *", "", page.read_text("utf-8"))
            for line in re.findall(rf"^(?:    |\w*\$ +|.*?[|;] |until )+(?:\S+/)?{program} (.*)$", text, re.MULTILINE):
                typed = re.split(r" [|>]|;| +#", line)[0].replace(" …", "")
                found.append((f"{page.name}: {line}", shlex.split(typed)))
        return found

    def test_options_of_the_daemons(self) -> None:
        stand_in_for_roles(self)
        commands = self.commands("twistd")
        for daemon, options, count in (("chatserver", Options, 15), ("newsserver", NewsOptions, 5)):
            of_this = [(place, typed) for place, typed in commands if daemon in typed]
            self.assertGreater(len(of_this), count)
            for place, typed in of_this:
                try:
                    options().parseOptions(typed[typed.index(daemon) + 1 :])
                except UsageError as error:
                    self.fail(f"{place}: {error}")

    def test_commands(self) -> None:
        commands = self.commands("chatproto")
        self.assertGreater(len(commands), 15)
        for place, typed in commands:
            try:
                command_line().parse_args(typed)
            except SystemExit:
                self.fail(place)

    def test_options_that_are_named_are_there(self) -> None:
        known = {
            "--listen",
            "--auth",
            "--help-auth",
            *(f"--{row[0]}" for row in chain(*Options.rows(), *NewsOptions.rows())),
        }
        parsers = [command_line()]
        for parser in parsers:
            for action in parser._actions:
                known.update(action.option_strings)
                parsers += action.choices.values() if isinstance(action, argparse._SubParsersAction) else ()
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
            named = re.findall(r"`(--[a-z-]+)", re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M))
            # Those of the benchmarks are of other programs.
            self.assertTrue(page.name in ("performance.md", "testing.md") or known.issuperset(named), page.name)


class TwoMachinesTests(SynchronousTestCase):
    def test_the_options_are_those_of_the_units(self) -> None:
        text = (ROOT / "docs" / "two-machines.md").read_text("utf-8")
        shown = re.findall(r"`/etc/chatproto/(\w+)\.toml`:\n\n```toml\n(.*?)```", text, re.DOTALL)
        self.assertEqual([role for role, _ in shown], ["primary", "secondary", "registry"])
        for role, options in shown:
            example = (ROOT / "docs" / "systemd" / f"{role}.toml").read_text("utf-8")
            self.assertEqual(msgspec.toml.decode(options), msgspec.toml.decode(example))


class ReferenceTests(SynchronousTestCase):
    """The pages of the API reference leave nothing public out."""

    def setUp(self) -> None:
        super().setUp()
        self.pages = "".join(path.read_text("utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))

    def test_every_slice_with_public_names_is_there(self) -> None:
        for path in sorted((ROOT / "chatproto").glob("*/__init__.py")):
            name = f"chatproto.{path.parent.name}"
            if "__all__" in path.read_text("utf-8") and name != "chatproto.cli":
                self.assertIn(f"automodule:: {name}\n", self.pages)

    def test_every_public_name_is_there(self) -> None:
        index = (ROOT / "docs" / "api" / "index.md").read_text("utf-8")
        self.assertEqual([name for name in chatproto.__all__ if f"`{name}`" not in index], [])


class ProtocolTests(SynchronousTestCase):
    def test_every_code_of_the_registry_is_explained(self) -> None:
        text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8").partition("# The registry link")[2]
        codes = {*REASONS, "version", "crowded"}
        self.assertEqual({code for code in codes if f"`{code}`" not in text}, set())


class ReleaseTests(SynchronousTestCase):
    def test_it_is_said_in_two_places_and_they_agree(self) -> None:
        self.assertIn(f'version="{RELEASE}"', (ROOT / "setup.py").read_text("utf-8"))
        self.assertEqual(chatproto.__version__, RELEASE)
