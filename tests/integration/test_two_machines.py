"""docs/two-machines.md, walked through with its files on machines of their own: network namespaces with one switch.

That needs root, as it has in `.ci/run`. All of it is gone with the processes that hold the namespaces.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatproto.cli.certs import make_certificates
from tests.integration.nodes import PROJECT, TROUBLE, WAIT_S_MAX, Node, environment, wait_until
from tests.integration.pairs import CHATPROTO

PAGE = (PROJECT / "docs" / "two-machines.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`/etc/chatproto/(\w+)\.toml`:\n\n```toml\n(.*?)```", PAGE, re.DOTALL))
SERVERS = ("one.example", "two.example")
ADDRESS = "10.77.0.{}"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_S_MAX)


def held() -> "subprocess.Popen[bytes]":
    """Return a process that holds a network and the files of a machine of its own."""
    holder = subprocess.Popen(
        ["unshare", "--net", "--mount", sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    return holder


class Machine:
    """A machine on the switch, with an address, and the names of all in its /etc/hosts."""

    def __init__(self, switch: int, number: int, hosts: Path) -> None:
        self.holder = held()
        self.port = f"port{number}"
        self.inside = ["nsenter", f"--target={self.holder.pid}", "--net", "--mount"]
        self.at_switch = ["nsenter", f"--target={switch}", "--net", "ip", "link"]
        own = f"netns {self.holder.pid}".split()
        run(*self.at_switch, "add", self.port, "type", "veth", "peer", "name", "eth0", *own)
        run(*self.at_switch, "set", self.port, "master", "switch", "up")
        run(*self.inside, "ip", "address", "add", f"{ADDRESS.format(number)}/24", "dev", "eth0")
        run(*self.inside, "ip", "link", "set", "eth0", "up")
        run(*self.inside, "ip", "link", "set", "lo", "up")
        run(*self.inside, "mount", "--bind", str(hosts), "/etc/hosts")

    def plug(self, state: str) -> None:
        """Have its cable `up` or `down`."""
        run(*self.at_switch, "set", self.port, state)

    def goes(self) -> None:
        self.holder.kill()
        self.holder.wait(WAIT_S_MAX)


class Site:
    """All machines, and what runs on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[Node] = []
        self.hosts = folder / "hosts"
        self.certificates = folder / "deployment"
        make_certificates(str(self.certificates), ["primary", "secondary", "registry"], [], 30, print)
        self.name(one=1)
        self.switch = held()
        inside = ["nsenter", f"--target={self.switch.pid}", "--net", "ip", "link"]
        run(*inside, "add", "switch", "type", "bridge")
        run(*inside, "set", "switch", "up")
        self.machines = {
            name: Machine(self.switch.pid, number, self.hosts)
            for number, name in enumerate(("one", "two", "third", "new"), 1)
        }

    def name(self, one: int) -> None:
        """Say which machine has the first one's name."""
        numbers = {"one": one, "two": 2, "third": 3}
        names = [f"{ADDRESS.format(number)} {name}.example\n" for name, number in numbers.items()]
        self.hosts.write_text("".join(["127.0.0.1 localhost\n", *names]))

    def starts(self, machine: str, role: str, disk: str = "") -> Node:
        """Start what the unit of a role starts."""
        folder = self.folder / (disk or role)
        folder.mkdir(exist_ok=True)
        config = folder / f"{role}.toml"
        config.write_text(FILES[role].replace("/etc/chatproto/tls", str(self.certificates / role)))
        options = (f"--role={role}", f"--config={config}")
        self.nodes.append(Node(folder, *options, listen=None, wrapper=self.machines[machine].inside))
        return self.nodes[-1].start()

    def chatproto(self, *arguments: str, said: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command on the third machine."""
        return subprocess.run(
            [*self.machines["third"].inside, sys.executable, "-c", CHATPROTO, *arguments],
            env=environment(),
            input=said,
            capture_output=True,
            text=True,
            timeout=2 * WAIT_S_MAX,
        )

    def settles(self) -> None:
        """Wait until a server can be lost."""
        wait_until(lambda: self.chatproto("status", "--check", *SERVERS).returncode == 0, "a server can be lost")

    def says(self, content: str) -> int:
        """Have somebody come in and say something; return its place."""
        output = self.chatproto("chat", "--plain", "--name", "adel", *SERVERS, said=f"{content}\n").stdout
        (place,) = re.findall(r"^sent MainHall (\d+)$", output, re.MULTILINE)
        return int(place)

    def goes(self) -> None:
        for node in self.nodes:
            node.end()
        for machine in self.machines.values():
            machine.goes()
        self.switch.kill()
        self.switch.wait(WAIT_S_MAX)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if os.getuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("machines of their own need root, and iproute2")
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine has no namespaces to give")
    site = Site(tmp_path)
    yield site
    site.goes()
    for node in site.nodes:
        assert not any(word in node.whole_log() for word in TROUBLE), node.whole_log()[-4000:]


def test_every_step(site: Site) -> None:
    # 4. Start, in any order, and check
    primary = site.starts("one", "primary")
    secondary = site.starts("two", "secondary")
    site.starts("third", "registry")
    site.settles()
    assert site.says("hello") == 1

    # 6. Kill one; systemd starts it again
    primary.kill()
    assert site.says("who is there?") == 2
    primary.start()
    site.settles()
    # Pull the plug of whoever leads
    site.machines["two"].plug("down")
    assert site.says("and now?") == 3
    site.machines["two"].plug("up")
    site.settles()

    # 7. Upgrade, one machine after the other
    for node in (primary, secondary):
        node.terminate()
        node.start()
        site.settles()
    assert site.says("the new release") == 4

    # 8. Replace a broken machine: gone with its disk, and a new one has its name
    primary.kill()
    site.machines["one"].plug("down")
    site.name(one=4)
    replaced = site.starts("new", "primary", "primary-again")
    site.settles()
    assert site.says("a new machine") == 5
    contents = ["hello", "who is there?", "and now?", "the new release", "a new machine"]
    assert [message["content"] for message in replaced.archive()] == contents
    assert secondary.archive() == replaced.archive()
