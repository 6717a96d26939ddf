"""Fan-out side by side: our node, our pair, Redis pub/sub and core NATS under the same load, in the same minutes.

Only ratios of one round are worth quoting. Each server has one core, the same one, the load generator the
others; all servers are up at once and take turns within each shape, so that whatever else the machine
does hits them alike. Of the pair, the leader has that core and gets the load, and its CPU is what deliveries
are reckoned by; the follower has a core of its own, and its CPU is told apart. Idle connections are measured
on a fresh server, because memory that an earlier load has freed would hide them.

    make bench                                        five rounds (ROUNDS=3: three)
    make bench ARGS="--shapes w64,idle --servers ours,redis"
    make bench ARGS="--shapes w1,w64,n1000,p100,n10,lat10 --servers ours,pair,redis"
    make bench ARGS="--from tests/bench/results/latest.json --plot docs/performance.svg --markdown"
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.deployment import OurPair
from tests.bench.servers import (
    FANBENCH,
    FOLLOWER_CORES,
    LOAD_CORES,
    PROJECT,
    RESULTS,
    SERVER_CORES,
    BenchError,
    Nats,
    Ours,
    Redis,
    Running,
    Server,
    build_fanbench,
    end_on_signals,
    raise_open_files_limit,
)

COMPARED = [("ours", "redis"), ("ours", "nats"), ("pair", "redis"), ("pair", "ours")]
"""Which server is set against which."""
GENERATOR_THREADS_MAX = 3
ROUNDS_MAX = 100
RUN_S_MAX = 90
IDLE_S_MAX = 600
IDLE_CONNECTIONS = 10_000
# Files a server needs beside its connections.
SPARE_FILES = 500


@dataclass(frozen=True)
class Shape:
    """One kind of load; message counts keep the fastest server busy for half a second or more.

    In our protocol senders are members of the room and get their own messages back; on a peer a
    sending connection receives nothing. So with p100 and n10 ours has twice the receivers, and what
    a message costs apart from its deliveries weighs half as much. `peers`, where given, is the load
    for the others that makes receivers equal.
    """

    name: str
    says: str
    arguments: str
    peers: str = ""

    def arguments_for(self, dialect: str) -> list[str]:
        return (self.arguments if dialect == "jsonroom" else self.peers or self.arguments).split()


SHAPES = [
    Shape("w1", "1 sender to 100, one message at a time", "-n 100 -P 1 -w 1 -m 1500"),
    Shape("w64", "1 sender to 100, window 64", "-n 100 -P 1 -w 64 -m 60000"),
    Shape("p100", "100 senders to 100, window 1 each", "-n 100 -P 100 -w 1 -m 40000"),
    Shape("n1000", "10 senders to 1000, window 16 each", "-n 1000 -P 10 -w 16 -m 12000"),
    Shape("n10", "10 senders to 10, window 16 each", "-n 10 -P 10 -w 16 -m 400000"),
    Shape(
        "e20",
        "10 senders, 20 receivers on every server",
        "-n 10 -P 10 -w 16 -m 400000",
        "-n 20 -P 10 -w 16 -m 400000",
    ),
    Shape("lat10", "1000 messages/s to 10", "-n 10 -P 1 -r 1000 -m 5000"),
]
IDLE = Shape("idle", "open connections that say nothing", f"-i {IDLE_CONNECTIONS}")


@dataclass(frozen=True)
class Measure:
    """A figure that a shape is judged by."""

    key: str
    label: str
    unit: str
    shapes: tuple[str, ...]
    more_is_better: bool


MEASURES = [
    Measure(
        "deliveries_per_cpu_s",
        "deliveries per CPU-second",
        "k",
        ("w1", "w64", "p100", "n1000", "n10", "e20"),
        True,
    ),
    Measure("follower_share", "CPU of the follower : leader", "", ("w1", "w64", "p100", "n1000", "n10"), False),
    Measure("p50_us", "latency p50", "µs", ("lat10",), more_is_better=False),
    Measure("p99_us", "latency p99", "µs", ("lat10",), more_is_better=False),
    Measure("kib_per_connection", "memory per idle connection", "KiB", ("idle",), more_is_better=False),
]


@dataclass
class Run:
    """What one run of the load generator against one server gave."""

    round: int
    shape: str
    server: str
    figures: dict[str, float] = field(default_factory=dict)
    fault: str = ""


# ---- one run ------------------------------------------------------------------------------

_NUMBER = r"(-?[\d.]+)"
_LOADED = {
    "deliveries_per_s": rf":\s+{_NUMBER} deliv/s",
    "wall_s": rf"wall {_NUMBER}s",
    "p50_us": rf"p50 {_NUMBER}",
    "p99_us": rf"p99 {_NUMBER}",
    "max_us": rf"max {_NUMBER}",
    "server_cpu_s": rf"srv cpu {_NUMBER}s",
    "deliveries_per_cpu_s": rf"\({_NUMBER} deliv/cpu-s\)",
    "generator_cpu_s": rf"gen cpu {_NUMBER}s",
    "follower_cpu_s": rf"more cpu {_NUMBER}s",
    "setups_per_s": rf"setup {_NUMBER}/s",
}
_IDLE = {
    "connections_per_s": rf":\s+{_NUMBER} conn/s",
    "server_cpu_s": rf"server cpu {_NUMBER}s",
    "connections_per_cpu_s": rf"\({_NUMBER} conn/cpu-s\)",
    "kib_per_connection": rf"= {_NUMBER} KiB/conn",
}
_FAULT = re.compile(r"TIMEOUT|ORDER/GAP ERRORS \d+|LOST -?\d+ of \d+")


def parse(line: str, patterns: dict[str, str]) -> dict[str, float]:
    """Read the load generator's line of results; a figure that is not there is an error."""
    figures = {}
    for key, pattern in patterns.items():
        found = re.search(pattern, line)
        if found is None:
            raise BenchError(f"no {key} in the load generator's line: {line!r}")
        figures[key] = float(found.group(1))
    return figures


def measure(server: Running, shape: Shape, round_: int) -> Run:
    """Run one shape against one server. Whatever goes wrong stands in the run's `fault`."""
    run = Run(round_, shape.name, server.name)
    run.fault = server.fault()
    if run.fault:
        return run
    idle = shape.name == IDLE.name
    limit_s = IDLE_S_MAX if idle else RUN_S_MAX
    # A room of its own for each run: an archive of an earlier one would be replayed to all who join.
    command = [str(FANBENCH), "-d", server.dialect, "-p", str(server.port), "-x", str(server.pid)]
    command += ["-X", ",".join(map(str, server.followers))] if server.followers else []
    threads = min(GENERATOR_THREADS_MAX, len(LOAD_CORES))
    command += ["-l", shape.name, "-k", f"room{shape.name}r{round_}", "-b", "100", "-T", str(threads)]
    command += ["-t", str(limit_s), *shape.arguments_for(server.dialect)]
    try:
        load = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * limit_s + 30,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, LOAD_CORES),
        )
    except subprocess.TimeoutExpired:
        run.fault = f"the load generator did not end within {2 * limit_s + 30} s"
        return run
    faults = _FAULT.findall(load.stdout) + load.stderr.strip().splitlines()[:2]
    if load.stdout.strip():
        run.figures = parse(load.stdout, _IDLE if idle else _LOADED)
        if server.followers and run.figures["server_cpu_s"] > 0:
            run.figures["follower_share"] = run.figures["follower_cpu_s"] / run.figures["server_cpu_s"]
    elif not faults:
        faults = [f"the load generator ended with status {load.returncode} and said nothing"]
    faults.append(server.fault())
    run.fault = "; ".join(filter(None, faults))
    server.wait_until_quiet()
    return run


# ---- all of them --------------------------------------------------------------------------


def measure_all(
    servers: Sequence[Server],
    shapes: Sequence[Shape],
    rounds: int,
    idle_rounds: int,
    tell: Callable[[Run], None],
) -> list[Run]:
    runs = []
    loaded = [shape for shape in shapes if shape.name != IDLE.name]
    if loaded:
        with ExitStack() as stack:
            up = [stack.enter_context(server.running()) for server in servers]
            for round_ in range(1, rounds + 1):
                for shape in loaded:
                    # Not always the same one first: the first of a shape finds a machine that has rested.
                    turn = round_ % len(up)
                    for server in up[turn:] + up[:turn]:
                        runs.append(measure(server, shape, round_))
                        tell(runs[-1])
    if IDLE in shapes:
        for round_ in range(1, idle_rounds + 1):
            # The follower of a pair has no connections.
            for server_kind in [server for server in servers if server.name != "pair"]:
                with server_kind.running() as server:
                    runs.append(measure(server, IDLE, round_))
                    tell(runs[-1])
    return runs


def describe_run(run: Run) -> str:
    text = f"round {run.round}  {run.shape:<6} {run.server:<6}"
    figures = run.figures
    if "kib_per_connection" in figures:
        text += f" {figures['kib_per_connection']:8.2f} KiB/connection"
        text += f"  {figures['connections_per_s']:.0f} connections/s  server CPU {figures['server_cpu_s']:.2f} s"
    elif figures:
        text += (
            f" {figures['deliveries_per_cpu_s'] / 1000:8.0f} k deliveries/CPU-s"
            f"  {figures['deliveries_per_s'] / 1000:6.0f} k/s"
            f"  p50 {figures['p50_us']:.0f} µs  p99 {figures['p99_us']:.0f} µs"
            f"  server CPU {figures['server_cpu_s']:.2f} s"
        )
        if "follower_share" in figures:
            text += f"  follower CPU {figures['follower_cpu_s']:.2f} s"
    return text + (f"\n  !!!!  {run.server}, {run.shape}: {run.fault}" if run.fault else "")


# ---- what it means ------------------------------------------------------------------------


@dataclass
class Spread:
    """A median with its extremes."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Iterable[float]) -> Spread | None:
    known = list(values)
    if not known:
        return None
    return Spread(statistics.median(known), min(known), max(known), len(known))


def figures_of(runs: Sequence[dict[str, Any]], measure: Measure, shape: str, server: str) -> dict[int, float]:
    """The figure of each round in which the run was without fault."""
    return {
        run["round"]: run["figures"][measure.key]
        for run in runs
        if run["shape"] == shape
        and run["server"] == server
        and not run["fault"]
        and run["figures"].get(measure.key, 0) > 0
    }


def summarise(runs: Sequence[dict[str, Any]], servers: Sequence[str]) -> list[dict[str, Any]]:
    """Per measure and shape: each server's spread, and the spread of the ratios of `COMPARED`, round by round.

    A ratio above 1 always means that the first one is better: more deliveries, less time, less memory.
    """
    summary = []
    for measure in MEASURES:
        for shape in measure.shapes:
            figures = {server: figures_of(runs, measure, shape, server) for server in servers}
            if not any(figures.values()):
                continue
            ratios = {}
            for one, other in compared(servers):
                first, second = figures[one], figures[other]
                ratios[f"{one} : {other}"] = spread(
                    first[n] / second[n] if measure.more_is_better else second[n] / first[n]
                    for n in sorted(first.keys() & second.keys())
                )
            spreads = {server: spread(figures[server].values()) for server in servers}
            summary.append(
                {
                    "shape": shape,
                    "measure": measure.key,
                    "label": measure.label,
                    "unit": measure.unit,
                    "servers": {name: asdict(s) for name, s in spreads.items() if s},
                    "ratios": {name: asdict(s) for name, s in ratios.items() if s},
                }
            )
    return summary


def compared(servers: Sequence[str]) -> list[tuple[str, str]]:
    return [(one, other) for one, other in COMPARED if one in servers and other in servers]


def figure(value: float, unit: str) -> str:
    if unit == "k":
        return f"{value / 1000:,.0f} k"
    if not unit:
        return f"{value:.2f}"
    return f"{value:,.1f} {unit}" if value < 100 else f"{value:,.0f} {unit}"


def with_range(entry: dict[str, float], say: Callable[[float], str]) -> str:
    if entry["count"] == 1:
        return say(entry["median"])
    return f"{say(entry['median'])} ({say(entry['low'])} … {say(entry['high'])})"


def rows(results: dict[str, Any]) -> list[list[str]]:
    names: list[str] = results["servers"]
    ratios = [f"{one} : {other}" for one, other in compared(names)]
    head = ["shape", "figure", *names, *ratios]
    table = [head]
    for line in results["summary"]:
        cells = [line["shape"], line["label"]]
        for name in names:
            entry = line["servers"].get(name)
            cells.append(with_range(entry, lambda v, u=line["unit"]: figure(v, u)) if entry else "–")
        for name in ratios:
            entry = line["ratios"].get(name)
            cells.append(with_range(entry, lambda v: f"{v:.2f}") if entry else "–")
        table.append(cells)
    return table


def print_table(results: dict[str, Any]) -> None:
    table = rows(results)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("Median (lowest … highest) of the rounds; a ratio above 1 means that the first is better.")


def print_markdown(results: dict[str, Any]) -> None:
    """The table of docs/performance.md, with what a reader needs to judge it."""
    ratios = [f"{one} : {other}" for one, other in compared(results["servers"])]
    print("| shape | load | figure |" + "".join(f" {n} |" for n in results["servers"]), end="")
    print("".join(f" **{name}** |" for name in ratios))
    print("| --- " * (3 + len(results["servers"]) + len(ratios)) + "|")
    for line in results["summary"]:
        cells = [line["shape"], results["shapes"][line["shape"]], line["label"]]
        for name in results["servers"]:
            entry = line["servers"].get(name)
            cells.append(figure(entry["median"], line["unit"]) if entry else "–")
        for name in ratios:
            entry = line["ratios"].get(name)
            cells.append(f"**{entry['median']:.2f}** ({entry['low']:.2f} … {entry['high']:.2f})" if entry else "–")
        print("| " + " | ".join(cells) + " |")
    machine = results["machine"]
    print()
    print(
        f"{results['rounds']} rounds, {results['idle_rounds']} of idle connections; "
        f"median (lowest … highest); above 1 the first is better. Payload {results['payload_bytes']} bytes. "
        "With p100 and n10 senders receive too on ours and not on the peers, which helps ours; "
        "e20 has as many receivers everywhere. Ours stores every message durably, the pair on both nodes before it is "
        "delivered, the peers store none. "
        f"{', '.join(dict.fromkeys(results['versions'].values()))}; commit `{results['commit'][:12]}`, "
        f"{results['when'][:10]}, {machine['processor']}, {machine['cores']} cores, one for the server, "
        "one for the follower of the pair."
    )


def plot(results: dict[str, Any], path: Path) -> None:
    """Our ratios to each peer, one row per figure; the line at 1 is where we are even."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    matplotlib.rcParams["svg.hashsalt"] = "chatproto"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    shown = [
        ("ours : redis", "one node against Redis pub/sub", "#c6302b", "#c6302b"),
        ("ours : nats", "one node against core NATS", "#2f7fc1", "#2f7fc1"),
        ("pair : redis", "the pair's leader against Redis pub/sub", "#c6302b", "white"),
    ]
    lines = [line for line in results["summary"] if any(name in line["ratios"] for name, *_ in shown)]
    shown = [series for series in shown if any(series[0] in line["ratios"] for line in lines)]
    if not lines:
        raise BenchError("nothing to plot: no ratio was measured")
    figure_, axes = pyplot.subplots(figsize=(8.5, 1.6 + 0.62 * len(lines)))
    low, high = 0.5, 2.0
    for row, line in enumerate(lines):
        for turn, (name, _, colour, fill) in enumerate(shown):
            entry = line["ratios"].get(name)
            if entry is None:
                continue
            y = row + (turn - (len(shown) - 1) / 2) * 0.27
            axes.plot([entry["low"], entry["high"]], [y, y], color=colour, linewidth=2, alpha=0.45)
            axes.plot([entry["median"]], [y], "o", color=colour, markerfacecolor=fill, markersize=7)
            axes.annotate(
                f"{entry['median']:.2f}",
                (entry["high"], y),
                textcoords="offset points",
                xytext=(7, -3),
                fontsize=8.5,
                color=colour,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
            )
            low, high = min(low, entry["low"]), max(high, entry["high"])
    for _, label, colour, fill in shown:
        axes.plot([], [], "o-", color=colour, markerfacecolor=fill, label=label)
    axes.axvline(1.0, color="#222222", linewidth=1.2)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.25, high * 1.45)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(
        range(len(lines)),
        [f"{line['shape']}: {line['label']}\n{results['shapes'][line['shape']]}" for line in lines],
        fontsize=8.5,
    )
    axes.invert_yaxis()
    axes.grid(axis="x", which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("times as good as the peer (log scale): right of the line chatproto is better")
    axes.set_title("chatproto, durable and ordered, beside brokers that store nothing", fontsize=11, loc="left")
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.4, -0.6 / (0.62 * len(lines))),
        ncols=len(shown),
        fontsize=8.5,
        frameon=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure_.savefig(path, bbox_inches="tight", metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure_)
    print(f"plotted to {path}")


# ---- the command --------------------------------------------------------------------------


def git(*arguments: str) -> str:
    try:
        said = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= ROUNDS_MAX:
        raise argparse.ArgumentTypeError(f"must be 1 to {ROUNDS_MAX}")
    return number


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sidebyside", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=positive, default=os.environ.get("ROUNDS", "5"), help="default: $ROUNDS, or 5")
    parser.add_argument("--idle-rounds", type=positive, default=2, help="rounds of idle connections; default 2")
    parser.add_argument(
        "--servers", default="ours,pair,redis,nats", help="default: ours,pair,redis,nats, where installed"
    )
    parser.add_argument("--shapes", default="", help=f"default: all of {','.join(s.name for s in [*SHAPES, IDLE])}")
    parser.add_argument(
        "--ours",
        action="append",
        default=[],
        metavar="OPTION",
        help="one more option for our nodes, alone and in the pair; repeatable",
    )
    parser.add_argument("--results", type=Path, default=RESULTS / "latest.json", help="where the figures go")
    parser.add_argument("--from", dest="source", type=Path, help="measure nothing, read these results")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios; .svg or .png")
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/performance.md")
    return parser.parse_args(arguments)


def choose(options: argparse.Namespace) -> tuple[list[Server], list[Shape]]:
    kinds: dict[str, Server] = {
        "ours": Ours(options.ours),
        "pair": OurPair(options.ours),
        "redis": Redis(),
        "nats": Nats(),
    }
    shapes = {shape.name: shape for shape in [*SHAPES, IDLE]}
    wanted = [name for name in options.servers.split(",") if name]
    wanted_shapes = [name for name in options.shapes.split(",") if name] or list(shapes)
    for name in wanted:
        if name not in kinds:
            raise BenchError(f"no server {name!r}; there are {', '.join(kinds)}")
        if not kinds[name].available:
            print(f"without {name}: it is not installed", file=sys.stderr)
    for name in wanted_shapes:
        if name not in shapes:
            raise BenchError(f"no shape {name!r}; there are {', '.join(shapes)}")
    servers = [kinds[name] for name in wanted if kinds[name].available]
    if not servers:
        raise BenchError("no server to measure")
    return servers, [shapes[name] for name in wanted_shapes]


def take(options: argparse.Namespace) -> dict[str, Any]:
    servers, shapes = choose(options)
    files = raise_open_files_limit()
    if IDLE in shapes and files < IDLE_CONNECTIONS + SPARE_FILES:
        print(
            f"without idle: it needs {IDLE_CONNECTIONS + SPARE_FILES} open files, {files} are allowed",
            file=sys.stderr,
        )
        shapes = [shape for shape in shapes if shape != IDLE]
    if SERVER_CORES == LOAD_CORES:
        print("one core for servers and load alike: the figures mean little", file=sys.stderr)
    elif FOLLOWER_CORES == LOAD_CORES:
        print("less than four cores: the follower shares those of the load", file=sys.stderr)
    build_fanbench()
    began = time.monotonic()

    def tell(run: Run) -> None:
        print(describe_run(run), flush=True)

    runs = [asdict(run) for run in measure_all(servers, shapes, options.rounds, options.idle_rounds, tell)]
    names = [server.name for server in servers]
    return {
        "commit": git("rev-parse", "HEAD") or "unknown",
        "uncommitted_changes": bool(git("status", "--porcelain")),
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "took_s": round(time.monotonic() - began, 1),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "versions": {server.name: server.version() for server in servers},
        "servers": names,
        "shapes": {shape.name: shape.says for shape in shapes},
        "arguments": {shape.name: [shape.arguments, shape.peers or shape.arguments] for shape in shapes},
        "payload_bytes": 100,
        "rounds": options.rounds,
        "idle_rounds": options.idle_rounds,
        "summary": summarise(runs, names),
        "runs": runs,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    end_on_signals()
    try:
        if options.source:
            results = json.loads(options.source.read_text())
        else:
            results = take(options)
            options.results.parent.mkdir(parents=True, exist_ok=True)
            options.results.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
            print(f"\nfigures in {options.results}\n")
        print_table(results)
        if options.markdown:
            print()
            print_markdown(results)
        if options.plot:
            plot(results, options.plot)
    except (BenchError, OSError) as error:
        print(f"sidebyside: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    faults = [run for run in results["runs"] if run["fault"]]
    if faults:
        print(f"\n!!!! {len(faults)} of {len(results['runs'])} runs had faults; they are not in the figures:")
        for run in faults:
            print(f"!!!!   round {run['round']}, {run['shape']}, {run['server']}: {run['fault']}")
    # Being slower fails nothing; losing or reordering messages does.
    return 1 if any(run["server"] in ("ours", "pair") for run in faults) else 0


if __name__ == "__main__":
    sys.exit(main())
