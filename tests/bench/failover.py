"""Failover: the leader is killed with `kill -9` while clients talk; how long until they hear an acknowledgement again?

A registry, a primary and a secondary run as they would anywhere. A few clients are on the leader, each says
something every few milliseconds and awaits the acknowledgement each time. Told are, from the kill on, how long
it takes until the first of them hears an acknowledgement from the other node, and until the last one does; and,
from the surviving node's log and a client that was on it all the time, what the time is spent on. Then the killed
node is started again, and when the two are a pair, the next run kills whoever leads. In the end both archives have
to be the same, with every acknowledged message where it was acknowledged.

    make failover                                            a pair with a witness, 30 runs
    make failover ARGS="--static --jetstream"                also one without, and JetStream with three copies, in turns
    make failover ARGS="--runs 3 --json failover.json"
"""

import argparse
import datetime
import json
import random
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread

from chatproto.client import ChatClient
from tests.bench.deployment import HOST, NODES, Pair
from tests.bench.jetstream import Cluster, Publisher
from tests.bench.servers import BenchError, Daemon, data_directory, end_on_signals

RUNS_MAX = 1000
EVERY_S = 0.005
SETTLE_S = (1.0, 2.0)
"""How long all talk before the kill, which thereby comes at any time between two heartbeats."""
RESUME_S_MAX = 60.0
QUIET_S_MAX = 30.0
STEP_S = 0.01


@dataclass
class Outcome:
    """What one kill came to, in seconds from it.

    Attributes:
        first_s: until the first client of the leader heard an acknowledgement again.
        last_s: until every one of them had.
        phases: by name, until something was so that has to be before.
    """

    run: int
    deployment: str
    killed: str
    first_s: float
    last_s: float
    phases: dict[str, float] = field(default_factory=dict)


class Talker:
    """Says something, awaits the acknowledgement, and says the next thing a little later."""

    def __init__(self, name: str, say: Callable[[str], Any], heard: Callable[["Talker", Any], None]) -> None:
        self.name = name
        self.talking = False
        self.waiting = False
        self.count = 0
        self.acknowledged: dict[str, Any] = {}
        self._say = say
        self._heard = heard
        self._ended = False

    async def talk(self, reactor: Any) -> None:
        while not self._ended:
            if self.talking:
                self.count += 1
                content = f"{self.name}-{self.count:07d}"
                self.waiting = True
                self.acknowledged[content] = place = await self._say(content)
                self.waiting = False
                self._heard(self, place)
            await deferLater(reactor, EVERY_S)

    def end(self) -> None:
        self._ended = True


class Deployment:
    """What is killed: `leader` names whoever leads, `on` the talkers that are on a server."""

    name: str
    aims_s: tuple[float, float | None] | None
    """What is aimed for: the median and the worst until the last client hears an acknowledgement."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.talkers: list[Talker] = []
        self.killed = ""
        # When, after the kill, each talker that had been on the killed server heard an acknowledgement.
        self.heard: dict[str, float] = {}

    @contextmanager
    def running(self) -> Iterator["Deployment"]:
        raise NotImplementedError

    async def begin(self, clients: int) -> None:
        """Make the talkers."""
        raise NotImplementedError

    async def leader(self) -> str:
        raise NotImplementedError

    def daemon(self, name: str) -> Daemon:
        raise NotImplementedError

    async def bring_to(self, name: str) -> None:
        """Have the talkers on a server."""
        raise NotImplementedError

    def server_of(self, talker: Talker) -> str:
        raise NotImplementedError

    async def whole_again(self) -> None:
        """Wait until the loss of the leader costs nothing again."""
        raise NotImplementedError

    def phases(self, killed: str, at: float) -> dict[str, float]:
        """Look up what was when, after the kill at a Unix time."""
        return {}

    async def check(self) -> int:
        """Return how many messages there are; raise `BenchError` if an acknowledged one is not."""
        raise NotImplementedError

    async def end(self) -> None:
        """Take leave."""

    # One run

    def heard_by(self, talker: Talker, place: Any) -> None:
        if self.killed and talker.name not in self.heard and self.server_of(talker) != self.killed:
            self.heard[talker.name] = time.monotonic()

    async def kill_leader(self, run: int) -> Outcome:
        """Kill whoever leads, and bring it back."""
        reactor = self.reactor
        self.heard = {}
        leader = await self.leader()
        await self.bring_to(leader)
        self.talk(True)
        await deferLater(reactor, random.uniform(*SETTLE_S))
        on_it = [talker for talker in self.talkers if self.server_of(talker) == leader]
        if not on_it:
            raise BenchError(f"nobody is on {leader}, who leads {self.name}")
        daemon = self.daemon(leader)
        unix, began = time.time(), time.monotonic()
        self.killed = leader
        daemon.kill()
        while not all(talker.name in self.heard for talker in on_it):
            if time.monotonic() - began > RESUME_S_MAX:
                raise BenchError(f"{self.name}: {len(self.heard)} of {len(on_it)} clients heard an acknowledgement")
            await deferLater(reactor, STEP_S)
        times = [self.heard[talker.name] - began for talker in on_it]
        # What is logged may lag a little.
        await deferLater(reactor, 0.1)
        outcome = Outcome(run, self.name, leader, min(times), max(times), self.phases(leader, unix))
        self.killed = ""
        await self.hush()
        daemon.wait()
        daemon.start()
        await self.whole_again()
        return outcome

    def talk(self, talking: bool) -> None:
        for talker in self.talkers:
            talker.talking = talking

    async def hush(self) -> None:
        """Have nobody talk, so that another deployment has the machine to itself."""
        self.talk(False)
        await self._acknowledged(self.talkers)

    async def _acknowledged(self, talkers: Iterable[Talker]) -> None:
        """Wait until none of them waits."""
        end = time.monotonic() + QUIET_S_MAX
        while any(talker.waiting for talker in talkers):
            if time.monotonic() > end:
                raise BenchError(f"{self.name}: an acknowledgement did not come within {QUIET_S_MAX:g} s")
            await deferLater(self.reactor, STEP_S)


# ---- ours ---------------------------------------------------------------------------------


class OurDeployment(Deployment):
    """A pair, with a registry as its witness or without."""

    def __init__(self, reactor: Any, *, witness: bool, extra: Sequence[str]) -> None:
        super().__init__(reactor)
        self.name = "witness" if witness else "static"
        self.aims_s = (1.0, 2.0) if witness else (0.5, None)
        self._witness = witness
        self._extra = ["--rate-limit=0", *extra]
        self._clients: dict[str, ChatClient] = {}
        # One on each node, whatever happens: what it hears after the kill does not depend on connecting again.
        self._staying: dict[str, Talker] = {}
        self._epoch = 0
        self._resumed = 0.0
        self._pair: Pair

    @contextmanager
    def running(self) -> Iterator[Deployment]:
        with data_directory() as folder, Pair(folder, self._extra, witness=self._witness).running() as self._pair:
            yield self

    async def begin(self, clients: int) -> None:
        ends = {name: TCP4ClientEndpoint(self.reactor, HOST, port) for name, port in self._pair.ports.items()}
        for number in range(clients):
            talker = self._talker(f"client{number}", list(ends.values()), self.heard_by)
            self.talkers.append(talker)
        for node, end in ends.items():
            self._staying[node] = self._talker(
                f"on-{node}", [end], self._survivor_heard, connector=lambda _, end=end: end, retry_max_s=0.5
            )
        for talker in self._everybody:
            self._clients[talker.name].startService()
            ensureDeferred(talker.talk(self.reactor)).addErrback(_dies)
        self._pair.wait_until_paired()

    def _talker(self, name: str, ends: list[Any], heard: Callable[[Talker, Any], None], **settings: Any) -> Talker:
        client = self._clients[name] = ChatClient(self.reactor, ends, identity=name, history="none", **settings)
        return Talker(name, client.send, heard)

    @property
    def _everybody(self) -> list[Talker]:
        return [*self.talkers, *self._staying.values()]

    def _survivor_heard(self, talker: Talker, place: Any) -> None:
        if self.killed and talker is not self._staying[self.killed]:
            if place.epoch > self._epoch and not self._resumed:
                self._resumed = time.time()
        else:
            self._epoch = max(self._epoch, place.epoch)

    async def leader(self) -> str:
        found: str = await deferToThread(self._pair.leader)
        return found

    def daemon(self, name: str) -> Daemon:
        return self._pair.nodes[name]

    async def bring_to(self, name: str) -> None:
        """After a failover all of them are there anyway; before the first, they were the first endpoint's."""
        self._resumed = 0.0
        end = time.monotonic() + QUIET_S_MAX
        while any(client.state != "online" for client in self._clients.values()):
            if time.monotonic() > end:
                raise BenchError("a client is not online")
            await deferLater(self.reactor, STEP_S)

    def server_of(self, talker: Talker) -> str:
        return self._clients[talker.name].server

    def talk(self, talking: bool) -> None:
        for talker in self._everybody:
            talker.talking = talking

    async def whole_again(self) -> None:
        await deferToThread(self._pair.wait_until_paired)
        await self._acknowledged(self._staying.values())

    def phases(self, killed: str, at: float) -> dict[str, float]:
        (survivor,) = (name for name in NODES if name != killed)
        found = {}
        log = self._pair.nodes[survivor].log.read_text(errors="replace")
        asked, denied = _when(log, "asking the witness", at), _when(log, "the witness denies", at)
        led = _when(log, " → leader-solo", at) or _when(log, " → leader", at)
        if asked:
            found["asks the witness"] = asked[0]
        if denied:
            found["is denied"] = denied[0]
        if led:
            found["leads"] = led[0]
        if self._resumed:
            found["acknowledges to its own clients"] = self._resumed - at
        return found

    async def check(self) -> int:
        acknowledged = {
            content: (place.room, place.index)
            for talker in self._everybody
            for content, place in talker.acknowledged.items()
        }
        found: int = await deferToThread(self._pair.check_archives, acknowledged)
        return found

    async def end(self) -> None:
        for talker in self._everybody:
            talker.end()
        ends: list[Deferred[None]] = [client.stopService() for client in self._clients.values()]
        await gatherResults(ends)


def _when(log: str, what: str, after: float) -> list[float]:
    """When something was logged, in seconds after a Unix time."""
    stamped = re.compile(r"^(\S+[+-]\d{4}) .*" + re.escape(what), re.MULTILINE)
    times = [datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z") for stamp in stamped.findall(log)]
    return [time.timestamp() - after for time in times if time.timestamp() >= after]


# ---- JetStream ----------------------------------------------------------------------------


class JetStream(Deployment):
    """Three servers with a stream on each; its publishers go to the leader's server before each run."""

    name = "jetstream"
    aims_s = None

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self._publishers: dict[str, Publisher] = {}
        self._cluster: Cluster

    @contextmanager
    def running(self) -> Iterator[Deployment]:
        with data_directory() as folder, Cluster(self.reactor, folder).running() as self._cluster:
            yield self

    async def begin(self, clients: int) -> None:
        await self._cluster.make_stream()
        for number in range(clients):
            name = f"client{number}"
            publisher = self._publishers[name] = Publisher(self.reactor, self._cluster.ports)
            self.talkers.append(Talker(name, publisher.say, self.heard_by))
            ensureDeferred(self.talkers[-1].talk(self.reactor)).addErrback(_dies)

    async def leader(self) -> str:
        return await self._cluster.leader()

    def daemon(self, name: str) -> Daemon:
        return self._cluster.daemons[name]

    async def bring_to(self, name: str) -> None:
        for publisher in self._publishers.values():
            await publisher.move(name)

    def server_of(self, talker: Talker) -> str:
        return self._publishers[talker.name].at

    async def whole_again(self) -> None:
        await self._cluster.leader()

    async def check(self) -> int:
        state = (await self._cluster.info())["state"]
        places = [place for talker in self.talkers for place in talker.acknowledged.values()]
        if len(places) != len(set(places)) or not len(places) <= state["messages"]:
            raise BenchError(f"LOST: {state['messages']} messages, {len(places)} acknowledged at {len(set(places))}")
        return int(state["messages"])

    async def end(self) -> None:
        for talker in self.talkers:
            talker.end()
        for publisher in self._publishers.values():
            publisher.leave()


def _dies(failure: Any) -> None:
    print(f"a client has died: {failure.getErrorMessage()}", file=sys.stderr)


# ---- all of it ----------------------------------------------------------------------------


def describe(outcome: Outcome) -> str:
    phases = ", ".join(f"{name} {seconds:.3f}" for name, seconds in outcome.phases.items())
    return (
        f"run {outcome.run:3}  {outcome.deployment:<10} killed {outcome.killed:<10}"
        f" acknowledged again: first client {outcome.first_s:.3f} s, last {outcome.last_s:.3f} s"
        + (f"   ({phases})" if phases else "")
    )


def summarise(outcomes: Sequence[Outcome], deployments: Sequence[Deployment]) -> list[dict[str, Any]]:
    summary = []
    for deployment in deployments:
        mine = [outcome for outcome in outcomes if outcome.deployment == deployment.name]
        phases = list(dict.fromkeys(name for outcome in mine for name in outcome.phases))
        line: dict[str, Any] = {
            "deployment": deployment.name,
            "runs": len(mine),
            "first": _spread([outcome.first_s for outcome in mine]),
            "last": _spread([outcome.last_s for outcome in mine]),
            "phases": {name: _spread([o.phases[name] for o in mine if name in o.phases]) for name in phases},
            "aims_s": deployment.aims_s,
        }
        if deployment.aims_s is not None:
            median, worst = deployment.aims_s
            line["met"] = line["last"]["p50"] < median and (worst is None or line["last"]["worst"] < worst)
        summary.append(line)
    return summary


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"p50": statistics.median(values), "worst": max(values), "count": len(values)}


def print_table(summary: Sequence[dict[str, Any]]) -> None:
    print("\nseconds from the kill to the next acknowledgement, of clients that were on the leader")
    print(f"{'':<11} runs   first: p50  worst    last: p50  worst    aim for the last")
    for line in summary:
        first, last, aims = line["first"], line["last"], line["aims_s"]
        judged = ""
        if aims is not None:
            judged = ", ".join(f"{what} < {aim:g}" for what, aim in zip(("p50", "worst"), aims, strict=True) if aim)
            judged += ": met" if line["met"] else ": MISSED"
        print(
            f"{line['deployment']:<11} {line['runs']:4} {first['p50']:12.3f} {first['worst']:6.3f}"
            f" {last['p50']:12.3f} {last['worst']:6.3f}    {judged}".rstrip()
        )
    print("\nuntil the surviving node …")
    for line in summary:
        for name, found in line["phases"].items():
            times = f"p50 {found['p50']:.3f}  worst {found['worst']:.3f}  (in {found['count']} of {line['runs']} runs)"
            print(f"{line['deployment']:<11} {name:<34} {times}")


async def measure(deployments: Sequence[Deployment], options: argparse.Namespace, outcomes: list[Outcome]) -> None:
    for deployment in deployments:
        await deployment.begin(options.clients)
    for run in range(1, options.runs + 1):
        for deployment in deployments:
            outcomes.append(await deployment.kill_leader(run))
            print(describe(outcomes[-1]), flush=True)
    for deployment in deployments:
        count = await deployment.check()
        acknowledged = sum(len(talker.acknowledged) for talker in deployment.talkers)
        print(f"{deployment.name}: {count:,} messages, {acknowledged:,} of them acknowledged to clients, none missing")
        await deployment.end()


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    from twisted.internet import reactor

    deployments: list[Deployment] = [OurDeployment(reactor, witness=True, extra=options.ours)]
    if options.static:
        deployments.append(OurDeployment(reactor, witness=False, extra=options.ours))
    if options.jetstream and shutil.which("nats-server"):
        deployments.append(JetStream(reactor))
    elif options.jetstream:
        print("without JetStream: nats-server is not installed", file=sys.stderr)
    outcomes: list[Outcome] = []
    faults: list[BaseException] = []

    async def measured(_reactor: Any) -> None:
        try:
            await measure(deployments, options, outcomes)
        except BaseException as error:
            faults.append(error)

    with ExitStack() as stack:
        for deployment in deployments:
            stack.enter_context(deployment.running())
        try:
            react(lambda r: ensureDeferred(measured(r)))
        except SystemExit as ended:
            if ended.code:
                raise
    if faults:
        raise faults[0]
    if len(outcomes) < options.runs * len(deployments):
        raise KeyboardInterrupt
    summary = summarise(outcomes, deployments)
    if options.json:
        results = {"summary": summary, "runs": [asdict(outcome) for outcome in outcomes]}
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return summary


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="failover", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=30, help="how often the leader is killed; default 30")
    parser.add_argument("--static", action="store_true", help="in turns with a pair without a registry")
    parser.add_argument("--jetstream", action="store_true", help="in turns with JetStream, three copies, if installed")
    parser.add_argument("--clients", type=int, default=4, help="on the leader; default 4")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go, too")
    parser.add_argument(
        "--ours", action="append", default=[], metavar="OPTION", help="one more option for our nodes; repeatable"
    )
    options = parser.parse_args(arguments)
    if not 1 <= options.runs <= RUNS_MAX or not 1 <= options.clients <= 50:
        parser.error(f"--runs must be 1 to {RUNS_MAX}, --clients 1 to 50")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    end_on_signals()
    try:
        print_table(run(options))
    except (BenchError, OSError) as error:
        print(f"failover: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    # Being slow fails nothing; losing messages does.
    return 0


if __name__ == "__main__":
    sys.exit(main())
