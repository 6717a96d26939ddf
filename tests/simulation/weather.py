"""What all storms share: faults drawn from a seed that rain on production service trees, and then the calm after it.

*Safety*: clients do whatever their dice say while faults rain; everything is checked after every event.
*Liveness*: the faults end; within `SETTLE_S_MAX` simulated seconds everything is acknowledged and everybody is online,
and within `CALM_S_MAX` more everybody is current, and knows who is where.
"""

import argparse
import multiprocessing
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from chatproto.chat import hearing
from chatproto.chat.acts import Announce, AnyDecree, Enroll, Forbid, Revoke
from chatproto.services import NodeSettings, Retention
from chatproto.services import node as node_services
from chatproto.testing import Fault, FaultPlan, NeverHappened, SimDeployment, Struck, node_settings
from chatproto.testing.checkers import Forks, Violation
from chatproto.testing.transport import SimTransport
from tests.simulation.base import BaseClient
from tests.simulation.embedded import SECRET, EmbeddedClient
from tests.simulation.extended import ExtendedClient
from tests.simulation.talking import SimClient

ACCOUNT = "gwen"
"""What several clients are devices of: a name that no other one wants."""
SEEDS_PER_PROCESS = 10
SETTLE_S_MAX = 20.0
"""Within this span after the last fault everybody is online, with everything acknowledged."""
CALM_S_MAX = 5.0
"""Within this span after the last request everybody is current."""


class StormFailed(AssertionError):
    """A seed that failed, with what is needed to look into it."""


def polite_stop(plan: FaultPlan, deployment: SimDeployment) -> Struck | None:
    """Stop a node as an operator does, patient or not, and boot it after a while; if it is still there, kill it."""
    host = plan.draw_living()
    if host is None or host.paused:
        return None
    node = deployment.nodes[host.name]
    node.stop()
    if hurried := plan.dice.random() < 0.5:
        node.tree.drain.hurry()

    def boot() -> None:
        host.crash("close")
        host.boot()

    return Struck(f"{'hurried' if hurried else 'polite'} stop of {host.name}", boot)


class Weather:
    """One storm, of whatever kind.

    Attributes:
        seed: what everything comes from.
        dice: of what is chosen before it begins.
        deployment: what it strikes.
        clients: those in it.
        plans: the faults.
    """

    command = ""
    """What runs one seed of this kind."""
    storm_s = (6.0, 15.0)

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(f"{seed} storm")
        self._orders = random.Random(f"{seed} orders")
        dice = self.dice
        self.history = dice.choice(("all", "all", "all", 3, "none"))
        self.constants: dict[tuple[Any, str], Any] = {
            (hearing, "PEEK_BYTES"): dice.choice((300, 2000, 32 * 1024)),
            (hearing, "FEED_BYTES"): dice.choice((300, 3000, 128 * 1024)),
            (node_services, "RETENTION_INTERVAL_S"): dice.uniform(0.3, 2.0),
            # What a transport takes before it pauses its producer.
            (SimTransport, "bufferSize"): dice.choice((1500, 65536)),
        }
        self.deployment: SimDeployment
        self.clients: list[SimClient] = []
        self.plans: list[FaultPlan]

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Boot everything, with the constants that the dice say."""
        with ExitStack() as patches:
            for (module, name), value in self.constants.items():
                patches.enter_context(patch.object(module, name, value))
            self.boot()
            yield

    def boot(self) -> None:
        """Make the deployment, the clients and the plans."""
        raise NotImplementedError

    def network_options(self) -> dict[str, Any]:
        """Draw what the network is like."""
        dice = self.dice
        return {
            "delay_s": dice.choice(((0.0002, 0.002), (0.001, 0.02))),
            "window_bytes": dice.choice((4000, 65536, 65536)),
            "send_buffer_bytes": dice.choice(((0, 0), (0, 30_000))),
            "piece_bytes_max": dice.choice((None, None, None, None, 40)),
        }

    def slow_disks(self) -> None:
        """Perhaps make all disks slow until a fault is mended: batches grow, and much happens while one is written."""
        if self.dice.random() < 0.4:
            for node in self.deployment.nodes.values():
                node.host.disk.slow((0.02, 0.3))

    def settings(self, name: str) -> NodeSettings:
        """Return the settings of a node, which are the same for all but for the name."""
        dice = random.Random(f"{self.seed} settings")
        # A backlog that holds less than is sent in one go lets nobody in whose network is slow.
        roomy = self.constants[hearing, "PEEK_BYTES"] > 2000
        settings = node_settings(
            name,
            history=self.history,
            session_grace_s=dice.choice((0.5, 3.0, 15.0)),
            backlog_bytes_max=1024 * 1024 if roomy else dice.choice((4000, 1024 * 1024)),
            in_flight_max=dice.choice((4, 1000)),
            rate_lines=dice.choice((60.0, 200.0)),
            burst_lines=dice.choice((60.0, 2000.0)),
        )
        retain = dice.choice((Retention(), Retention(count=3), Retention(age_s=1), Retention(bytes_max=4000)))
        # Never more than are sure to be there at once in the end.
        chat = replace(settings.chat, clients_min=dice.choice((0, 0, 2)))
        return NodeSettings(settings.data, settings.listen, chat, retain)

    def boot_clients(self, base: int, extended: int, every_s: float) -> None:
        """Boot so many clients of each kind, and one that embeds `ChatClient`."""
        histories = ("all", "all", 3, "none")
        for number in range(base):
            self.clients.append(BaseClient(self.deployment, f"base{number}", self.history, every_s))
        for number in range(extended):
            history = self.dice.choice(histories)
            self.clients.append(ExtendedClient(self.deployment, f"extended{number}", history, every_s))
        self.clients.append(EmbeddedClient(self.deployment, "embedded", self.dice.choice(histories), every_s))
        # On two sides of a fork there would be two accounts of one name.
        if self._orders.random() < 0.5 and not isinstance(self.deployment.chronicle, Forks):
            for number in range(self._orders.randint(2, 3)):
                history = self._orders.choice(histories)
                self.clients.append(EmbeddedClient(self.deployment, f"device{number}", history, every_s, ACCOUNT))
            self.order()

    def order(self) -> None:
        """Have operators see to the account that the devices share: make it, and trouble it while faults rain."""
        dice, clock = self._orders, self.deployment.network.clock
        clock.schedule(dice.uniform(0.2, 1.5), self.order, ())
        nodes = [node for node in self.deployment.nodes.values() if node.host.alive and not node.host.paused]
        serving = [node.server for node in nodes if node.server.log.serving]
        if not serving:
            return
        server = dice.choice(serving)
        decree: AnyDecree = Enroll(name=ACCOUNT, secret=SECRET, new=True)
        if ACCOUNT in self.deployment.chronicle.hall.accounts:
            now = server.time()
            troubles = (
                Revoke(name=ACCOUNT),
                Forbid(subject=ACCOUNT, until=now + 0.5, time=now),
                Enroll(name=ACCOUNT, secret=SECRET),
                Announce(content="hello"),
            )
            if not self.clients[0].acting or dice.random() < 0.4:
                return
            decree = dice.choice(troubles)
        server.decree(decree)

    def plan(self, name: str, faults: tuple[Fault, ...] | None = None, **options: Any) -> FaultPlan:
        """Return a plan with dice of its own."""
        return FaultPlan(self.deployment.network, random.Random(f"{self.seed} {name}"), faults=faults, **options)

    def run(self) -> None:
        """Run both acts.

        Raises:
            StormFailed: something was not as it must be.
        """
        with self.ready():
            try:
                self.safety()
                self.liveness()
            except (Violation, NeverHappened) as failure:
                raise StormFailed(self.describe(str(failure))) from failure
            except Exception as failure:
                raise StormFailed(self.describe(traceback.format_exc())) from failure

    def safety(self) -> None:
        """Let faults rain."""
        seconds = self.dice.uniform(*self.storm_s)
        for plan in self.plans:
            plan.rain(seconds)
        self.deployment.run(seconds)
        self.deployment.check_archives()

    def liveness(self) -> None:
        """See everything settle."""
        for client in self.clients:
            client.acting = False
        self.deployment.settle(self.unsettled, SETTLE_S_MAX)
        for client in self.clients:
            client.finishing = True
        self.deployment.settle(self.unfinished, CALM_S_MAX)
        self.deployment.check_archives()
        self.deployment.check_deferreds()

    def unsettled(self) -> list[str]:
        """Return why not all is well; nothing if it is."""
        return [why for client in self.clients for why in client.unsettled()]

    def unfinished(self) -> list[str]:
        """Return why not everybody is current; nothing if they are."""
        return [why for client in self.clients for why in client.unfinished()]

    def faults(self) -> str:
        """Return what struck and what ended, a line each, in order."""
        return "\n".join(sorted(line for plan in self.plans for line in plan.done))

    def again(self) -> str:
        """Return the command that runs this storm again."""
        return f"{self.command} --seeds {self.seed} {self.seed + 1}"

    def describe(self, failure: str) -> str:
        """Say what is needed to look into it."""
        at = self.deployment.network.clock.seconds()
        constants = {name: value for (_, name), value in self.constants.items()}
        settings = "\n".join(str(node.settings) for node in self.deployment.nodes.values())
        return (
            f"seed {self.seed}, at {at:.6f} s: {failure}\n"
            f"again: {self.again()}\n"
            f"constants: {constants}\nsettings: {settings}\n"
            f"faults:\n{self.faults()}\n"
            f"last events:\n{self.deployment.network.describe_trace(25)}"
        )


def complaint(storm: Weather) -> str:
    """Run a storm; return what failed, nothing if all went well."""
    try:
        storm.run()
    except StormFailed as failure:
        return str(failure)
    return ""


def arguments(command: str) -> argparse.ArgumentParser:
    """Return a parser of what every kind of storm takes."""
    processors = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog=command, description="Run storms.")
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FROM", "TO"), default=(0, 100))
    parser.add_argument("--jobs", type=int, metavar="N", default=processors, help="processes at once [%(default)s]")
    return parser


def run_all(storm: Callable[[int], str], seeds: range, jobs: int) -> int:
    """Run a storm for each seed, print what failed, and return the exit code."""
    begun = time.monotonic()
    failed = 0
    # Entries are hidden from the garbage collector, so a node that crashed with some under way is never freed.
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=SEEDS_PER_PROCESS) as pool:
        for failure in pool.imap_unordered(storm, seeds):
            if failure:
                failed += 1
                print(failure, flush=True)
    print(f"{len(seeds)} seeds, {failed} failed, {time.monotonic() - begun:.1f} s")
    return 1 if failed else 0
