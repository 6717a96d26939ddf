"""What the dashboard and the alerts ask for is measured, by the production service trees of every role."""

import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import tests.unit
from chatproto.services.measures import Measure, of_chat, of_monitor, of_news, of_process, of_registry, together
from chatproto.services.news import (
    DeliverySettings,
    RootSettings,
    RouterSettings,
    build_delivery,
    build_root,
    build_router,
)
from chatproto.services.node import NodeService
from chatproto.services.systemd import Health
from chatproto.testing import SimClock, SimDeployment, SimNetwork, node_settings
from tests.exposition import LABELS

DOCS = Path(tests.unit.__file__).parents[2] / "docs"
OF_THE_LIBRARY = {
    *("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds", "up"),
}
NAME = re.compile(r"\b(?:chatproto|process)_[a-z_]+\b|\bup\b")
WORDS = {"job", "instance"}
"""Labels that Prometheus itself adds."""


def everything() -> Iterator[Measure]:
    """Measure a pair that has talked, its registry, and a monitor."""
    deployment = SimDeployment.pair(0, settings=node_settings)
    deployment.run_until_paired()
    searched: Any = type("Searched", (), {"behind": 0})
    for node in deployment.nodes.values():
        tree = node.tree
        assert isinstance(tree, NodeService)
        yield from of_chat(tree.server, tree.factory, tree.pair, searched, str(DOCS))()
    assert deployment.registry is not None
    registry: Any = deployment.registry
    yield from of_registry(registry.tree.factory, registry.tree.names, str(DOCS))()


def of_news_roles() -> Iterator[Measure]:
    """Measure a root, a router and a delivery node of the news."""
    network = SimNetwork(SimClock(), random.Random(0))
    common = {"data": "data", "peer_listen": "tcp:4747"}
    parent = "tcp:root:4747"
    for tree in (
        build_root(network.host("root").world(), RootSettings(name="root", **common)),
        build_router(network.host("router").world(), RouterSettings(name="router", parent=parent, **common)),
        build_delivery(network.host("east").world(), DeliverySettings(name="east", parent=parent, **common)),
    ):
        tree.startService()
        yield from tree.measures()
    reached: Any = type("Client", (), {"up": True})
    yield from of_news(list, lambda: reached, str(DOCS))()


class MeasuredTests(SynchronousTestCase):
    """What is measured, and what the documents use."""

    names: dict[str, set[str]]

    def setUp(self) -> None:
        health = Health(True, lambda: True, False, "", True)
        watching: Any = type("Watching", (), {"watch": type("Watch", (), {"state": _state()})})
        client: Any = type("Client", (), {"up": True})
        tally = _tally()
        process = of_process("primary", lambda: health, tally)
        monitor = of_monitor(watching, client, lambda: None)
        self.names = {}
        for measure in together(process, monitor, everything)():
            labels = {label for values, _ in measure.values for label in values}
            names = [measure.name]
            if measure.histogram is not None:
                names, labels = [f"{measure.name}_{part}" for part in ("bucket", "count", "sum")], {"le"}
            for name in names:
                self.names.setdefault(name, set()).update(labels)

    def check(self, expression: str) -> None:
        """Check that an expression asks for what there is, by labels that it has."""
        used = set(NAME.findall(expression))
        self.assertTrue(used, expression)
        self.assertEqual(used - set(self.names) - OF_THE_LIBRARY, set(), expression)
        of_these = set().union(*(self.names.get(name, set()) for name in used)) | WORDS
        for group in re.findall(r"(?:by|on) \(([^)]*)\)|\{([^}]*)\}", expression):
            named = re.findall(r"(\w+)(?==|,|$|\s*,)", re.sub(r'"[^"]*"', "", "".join(group)))
            self.assertEqual(set(named) - of_these, set(), expression)

    def test_labels_have_few_values(self) -> None:
        found = set().union(*self.names.values())
        self.assertEqual(found - LABELS, set())

    def test_the_dashboard_asks_for_what_there_is(self) -> None:
        self._check_dashboard("chatproto.json")

    def test_so_does_that_of_the_news(self) -> None:
        self._add_news()
        self._check_dashboard("chatproto-news.json")
        text = (DOCS / "grafana" / "chatproto-news.json").read_text("utf-8")
        self.assertEqual({name for name in self.names if "_news_" in name and name not in text}, set())

    def _add_news(self) -> None:
        for measure in of_news_roles():
            self.names.setdefault(measure.name, set()).update(*(labels for labels, _ in measure.values))

    def _check_dashboard(self, name: str) -> None:
        dashboard = json.loads((DOCS / "grafana" / name).read_text("utf-8"))
        panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
        self.assertGreater(len(panels), 12)
        identities = [panel["id"] for panel in dashboard["panels"]]
        self.assertEqual(len(set(identities)), len(identities))
        for panel in panels:
            self.assertTrue(panel["description"], panel["title"])
            for target in panel["targets"]:
                self.assertIn('job=~"$job", instance=~"$instance"', target["expr"])
                self.check(target["expr"])
                for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                    self.assertIn(label, set().union(*self.names.values()) | WORDS)
        self._check_no_overlap(dashboard["panels"])

    def _check_no_overlap(self, panels: Iterable[dict[str, Any]]) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(max(x for x, _ in cells), 23)
            taken |= cells

    def test_every_measure_of_ours_is_somewhere_on_the_dashboard(self) -> None:
        text = (DOCS / "grafana" / "chatproto.json").read_text("utf-8")
        rules = (DOCS / "alerts" / "chatproto.rules.yml").read_text("utf-8")
        parts = {name for name in self.names if name.endswith(("_sum", "_count"))}
        unused = {name for name in self.names if name not in text + rules and name not in parts}
        self.assertEqual(unused, {"chatproto_copies", "chatproto_log_position_entries", "chatproto_peers"})

    def test_the_alerts_ask_for_what_there_is(self) -> None:
        self._add_news()
        for name, expression in alerts():
            with self.subTest(name):
                self.check(expression)

    def test_the_list_of_metrics_in_the_documents_is_whole(self) -> None:
        text = (DOCS / "operating.md").read_text("utf-8").partition("### Metrics")[2].partition("\n## ")[0]
        named = set(re.findall(r"`(chatproto_[a-z_]+)`", text))
        ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in self.names}
        self.assertEqual(named, ours)


class AlertPagesTests(SynchronousTestCase):
    HEADINGS = ("## What it means", "## What clients notice", "## What to look at", "## What to do")

    def test_each_alert_has_its_page_and_each_page_its_alert(self) -> None:
        named = [name for name, _ in alerts()]
        self.assertGreater(len(named), 10)
        self.assertEqual(len(set(named)), len(named))
        self.assertEqual(sorted(path.stem for path in (DOCS / "alerts").glob("*.md")), sorted(named))
        text = (DOCS / "alerts" / "chatproto.rules.yml").read_text("utf-8")
        index = (DOCS / "alerts.md").read_text("utf-8")
        for name in named:
            self.assertIn(f"| [{name}](alerts/{name}.md) |", index)
            self.assertIn(f"runbook: docs/alerts/{name}.md", text)
            page = (DOCS / "alerts" / f"{name}.md").read_text("utf-8")
            self.assertTrue(page.startswith(f"# {name}\n"))
            self.assertEqual([line for line in page.splitlines() if line.startswith("## ")], list(self.HEADINGS))

    def test_what_the_pages_link_to_is_there(self) -> None:
        for page in (DOCS / "alerts").glob("*.md"):
            for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text("utf-8")):
                target = (page.parent / path).resolve()
                self.assertTrue(target.exists(), f"{page.name}: {path}")
                headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                self.assertTrue(not anchor or anchor in slugs, f"{page.name}: {path}#{anchor}")

    def test_what_the_pages_say_is_measured_is_in_the_documents(self) -> None:
        listed = "".join((DOCS / name).read_text("utf-8") for name in ("operating.md", "news.md"))
        for page in (DOCS / "alerts").glob("*.md"):
            for name in re.findall(r"`(chatproto_[a-z_]+)`", page.read_text("utf-8")):
                self.assertIn(f"`{name}`", listed, page.name)

    def test_prometheus_understands_the_rules(self) -> None:
        promtool = shutil.which("promtool")
        if promtool is None:
            return  # Names and labels are checked above.
        rules = DOCS / "alerts" / "chatproto.rules.yml"
        done = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)


def alerts() -> list[tuple[str, str]]:
    """Return the name and the expression of each alert."""
    text = (DOCS / "alerts" / "chatproto.rules.yml").read_text("utf-8")
    return re.findall(r"- alert: (\w+)\n +expr: (.*)\n", text)


def _state() -> Any:
    from chatproto.monitor.watch import State

    return State.WATCHING


def _tally() -> Any:
    from chatproto.tally import Tally

    tally = Tally()
    tally.drop("client", "silent")
    return tally
