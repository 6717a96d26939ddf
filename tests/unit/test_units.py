"""The units for systemd in the documentation are such as the daemon, its options and its drain are."""

import os
import re
import shlex
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import tests.unit
from chatproto.newsoptions import NewsOptions
from chatproto.options import Options
from chatproto.services.news.doors import STOP_S_MAX
from chatproto.services.registering import WITHDRAW_S_MAX
from tests.unit.newsroles import stand_in_for_roles

FOLDER = Path(tests.unit.__file__).parents[2] / "docs" / "systemd"
ROLES = ("primary", "secondary", "standby", "registry", "monitor")
NEWS = "news@"
NEWS_NODES = ("root", "north", "south", "east", "west", "contracts", "deputy", "proxy")
UNITS = (*ROLES, NEWS)
STATE, CONFIGURATION = "/var/lib", str(FOLDER)
HARDENED = {
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProtectHome": "yes",
    "ProtectSystem": "strict",
    "RestrictSUIDSGID": "yes",
    "SystemCallFilter": "@system-service",
    "CapabilityBoundingSet": "",
}


def unit(role: str) -> RawConfigParser:
    """Read a unit; one that says something twice is refused."""
    parser = RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((FOLDER / f"chatproto-{role}.service").read_text(encoding="utf-8"))
    return parser


def options(role: str) -> Options:
    """Parse what a unit runs, with the example of its configuration."""
    command = unit(role)["Service"]["ExecStart"].replace("%S", STATE).replace("%E/chatproto", CONFIGURATION)
    arguments = shlex.split(command)
    parsed = Options()
    parsed.parseOptions(arguments[arguments.index("chatserver") + 1 :])
    return parsed


class UnitTests(SynchronousTestCase):
    def test_there_is_one_for_each_role(self) -> None:
        names = sorted(path.name for path in FOLDER.iterdir())
        wanted = [*(f"chatproto-{unit}.service" for unit in UNITS), *(f"{role}.toml" for role in ROLES), "news"]
        self.assertEqual(names, sorted(wanted))
        news = sorted(path.name for path in (FOLDER / "news").iterdir())
        self.assertEqual(news, sorted(f"{name}.toml" for name in (*NEWS_NODES, "sources")))

    def test_its_command_is_one_that_the_daemon_understands(self) -> None:
        for role in ROLES:
            self.assertEqual(options(role)["role"], role)
            (program, *flags), _ = _split(unit(role)["Service"]["ExecStart"])
            self.assertTrue(program.startswith("/") and program.endswith("/twistd"), program)
            self.assertEqual(flags, ["-n", "--pidfile="], "systemd keeps it in the foreground, and knows its id")

    def test_the_data_are_in_the_directory_that_systemd_makes(self) -> None:
        for role in ROLES:
            self.assertEqual(options(role)["data"], f"{STATE}/{unit(role)['Service']['StateDirectory']}")
            self.assertEqual(unit(role)["Service"]["StateDirectoryMode"], "0700")

    def test_the_three_are_one_deployment(self) -> None:
        primary, secondary = (options(role).settings().peer for role in ROLES[:2])
        assert primary is not None and secondary is not None
        self.assertEqual(primary.registry, secondary.registry)
        port = options("registry").registry_settings().listen[0].rpartition(":")[2]
        self.assertEqual(primary.registry.rpartition(":")[2], port)
        for peer in (primary, secondary):
            self.assertEqual(peer.dial.rpartition(":")[2], peer.listen.rpartition(":")[2])

    def test_its_options_are_checked_first_and_read_again_when_told(self) -> None:
        for role in UNITS:
            service = unit(role)["Service"]
            _, started = _split(service["ExecStart"])
            started = ["newsserver", *started] if role == NEWS else started
            program, command, *checked = shlex.split(service["ExecStartPre"])
            self.assertTrue(program.endswith("/chatproto"), program)
            self.assertEqual((command, checked), ("check", started))
            self.assertEqual(service["ExecReload"], "kill -HUP $MAINPID")

    def test_a_drain_is_over_before_systemd_kills(self) -> None:
        self.assertGreater(int(unit(NEWS)["Service"]["TimeoutStopSec"]), WITHDRAW_S_MAX + STOP_S_MAX)
        for role in ROLES:
            service = unit(role)["Service"]
            self.assertEqual((service["KillSignal"], service["KillMode"]), ("SIGTERM", "mixed"))
            self.assertGreater(int(service["TimeoutStopSec"]), options(role)["drain-max"] * (role != "registry"))

    def test_systemd_is_told_and_tells(self) -> None:
        for role in UNITS:
            service = unit(role)["Service"]
            self.assertEqual((service["Type"], service["NotifyAccess"]), ("notify", "main"))
            self.assertEqual(service["Restart"], "on-failure", "a drained node stays down")
            self.assertGreaterEqual(int(service["WatchdogSec"]), 10)

    def test_it_may_do_little(self) -> None:
        for role in UNITS:
            service = unit(role)["Service"]
            self.assertEqual({key: service[key] for key in HARDENED}, HARDENED)
            self.assertEqual(service["DynamicUser"], "yes")
            self.assertEqual(set(service["RestrictAddressFamilies"].split()), {"AF_INET", "AF_INET6", "AF_UNIX"})

    def test_systemd_understands_them(self) -> None:
        verify = shutil.which("systemd-analyze")
        if verify is None:
            return  # All that is of this project is checked above.
        for role in UNITS:
            text = (FOLDER / f"chatproto-{role}.service").read_text(encoding="utf-8")
            folder = Path(self.mktemp())
            folder.mkdir()
            path = folder / f"chatproto-{role}.service"
            path.write_text(re.sub(r"^(ExecStart|ExecStartPre)=\S+", r"\1=/bin/true", text, flags=re.MULTILINE))
            done = subprocess.run([verify, "verify", path], capture_output=True, text=True, timeout=60, env=os.environ)
            about = [line for line in done.stderr.splitlines() if path.name in line]
            self.assertEqual(about, [])


class NewsTests(SynchronousTestCase):
    """One unit for every node of the news system, and the options of a whole deployment."""

    def setUp(self) -> None:
        stand_in_for_roles(self)

    def options(self, name: str) -> NewsOptions:
        command = unit(NEWS)["Service"]["ExecStart"].replace("%S", STATE).replace("%E/chatproto", CONFIGURATION)
        parsed = NewsOptions()
        parsed.parseOptions(_split(command.replace("%i", name))[1])
        return parsed

    def test_its_command_is_one_that_the_daemon_understands(self) -> None:
        for name in NEWS_NODES:
            options = self.options(name)
            self.assertEqual(options["name"], name)
            self.assertEqual(options["data"], f"{STATE}/{unit(NEWS)['Service']['StateDirectory'].replace('%i', name)}")
        (program, *flags), _ = _split(unit(NEWS)["Service"]["ExecStart"])
        self.assertTrue(program.startswith("/") and program.endswith("/twistd"), program)
        self.assertEqual(flags, ["-n", "--pidfile="])

    def test_they_are_one_deployment(self) -> None:
        nodes: dict[str, Any] = {name: self.options(name).settings() for name in NEWS_NODES}
        places = {f"tcp:{node.peer_advertise}": node for node in nodes.values()}
        for node in nodes.values():
            self.assertEqual(node.registry, nodes["root"].registry)
            if node.parent:
                self.assertIn(node.parent, places, node.name)
            if node.substitute:
                self.assertEqual(nodes[node.substitute].substitute, node.name)
        master, deputy = nodes["contracts"].peer, nodes["deputy"].peer
        self.assertEqual((master.dial, deputy.dial), (f"tcp:{deputy.pair.advertise}", f"tcp:{master.pair.advertise}"))
        self.assertEqual(nodes["deputy"].stands_in_for, "contracts")
        self.assertIn(nodes["proxy"].delivery, nodes)


def _split(command: str) -> tuple[list[str], list[str]]:
    """Return the command of twistd itself, and what it hands on."""
    arguments = shlex.split(command)
    at = next(at for at, argument in enumerate(arguments) if argument in ("chatserver", "newsserver"))
    return arguments[:at], arguments[at + 1 :]
