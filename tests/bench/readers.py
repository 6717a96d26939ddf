"""One delivery node with 20,000 readers, 5 % of them paid: what does it take, and is every contract met?

Real processes: a registry, the root, and the delivery node, whose disk has been given the placements of all readers.
A few processes more are the readers: paid ones over connections, free ones by datagrams, a few of them behind each
port. A source publishes what an hour brings, 50 items, in a shorter time; the contracts want 50 an hour at least and
have all of them within 200 s. Told are the node's memory and CPU, how much came to whom, and how late; and what the
node itself says of its contracts.

    python -m tests.bench.readers
    python -m tests.bench.readers --items 12 --gap 72
    python -m tests.bench.readers --readers 2000 --processes 1 --items 20 --gap 0.5 --send-rate 3000000
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.bench.deployment import lasting_ports
from tests.bench.servers import (
    SERVER_CORES,
    BenchError,
    Daemon,
    cpu_s,
    data_directory,
    end_on_signals,
    memory_kib,
    raise_open_files_limit,
)

HOST = "127.0.0.1"
NODE, SERVICE, SOURCE, PASSWORD = "east", "news", "agency", "known to the agency"
DELAY_S_MAX = 200.0
PATIENCE_S = 180.0
SETTLE_S = 20.0
POLL_S = 0.01
BEGUN_A_SECOND = 1000
PORT_READERS = 10
"""Behind one port: a kernel keeps only so many datagrams for each that are not read yet, and readers have their own."""


def names_of(readers: int, paid_share: float) -> tuple[list[str], list[str]]:
    """Return the names of the paid readers, and of the free ones."""
    paid = round(readers * paid_share)
    return [f"paid{at}" for at in range(paid)], [f"free{at}" for at in range(readers - paid)]


def terms_of(paid: bool, items: int) -> Any:
    """Return what readers of a kind have agreed on: all topics, and for the paid ones as many items as there are."""
    from chatproto.news.items import TOPICS
    from chatproto.news.terms import Terms

    if not paid:
        return Terms(TOPICS)
    return Terms(TOPICS, paid=True, minimum=items, maximum=items, delay_s_max=DELAY_S_MAX)


def place_of(name: str, paid: bool, items: int) -> Any:
    """Return what a reader knows."""
    from chatproto.news.terms import Place

    return Place(name, terms_of(paid, items), NODE, "", f"the ticket of {name}")


# ---- the processes ------------------------------------------------------------------------


def serve(pipe: Connection, answer: Callable[[Any], Any]) -> None:
    """Answer what comes through a pipe, by a value or a Deferred, until None comes; run the reactor meanwhile."""
    from twisted.internet import reactor as installed
    from twisted.internet.defer import maybeDeferred
    from twisted.internet.task import LoopingCall
    from twisted.python.log import err

    reactor: Any = installed

    def look() -> None:
        while pipe.poll():
            asked = pipe.recv()
            if asked is None:
                reactor.stop()
                return
            maybeDeferred(answer, asked).addCallback(pipe.send).addErrback(err)

    LoopingCall(look).start(POLL_S)
    reactor.run()


def place_readers(pipe: Connection, directory: str, paid: Sequence[str], free: Sequence[str], items: int) -> None:
    """Write into the disk of a delivery node that is not started what a transaction for each reader would."""
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred

    from chatproto.chat.passwords import token_hash
    from chatproto.keyvalue.sqlite import SQLiteTable
    from chatproto.news.delivery.table import Table
    from chatproto.news.items import TOPICS
    from chatproto.news.placing.actions import Place as PlaceReader
    from chatproto.news.terms import Placement

    reactor: Any = installed

    def place(_: Any) -> "Deferred[int]":
        done: Deferred[int] = Deferred()
        store = SQLiteTable(directory, done.errback, reactor)
        table, changes = Table(frozenset(TOPICS), len(paid) + len(free)), []
        for name in (*paid, *free):
            given = place_of(name, name in known, items)
            action = PlaceReader(Placement(name, given.terms, token_hash(given.ticket)))
            assert not table.refusal(action), table.refusal(action)
            changes += table.changes(action)
        store.write(changes, lambda: store.close().addCallback(lambda _: done.callback(len(changes))))
        return done

    known = frozenset(paid)
    serve(pipe, place)


def run_readers(
    pipe: Connection, names: Sequence[str], paid: bool, items: int, datagrams: int, connections: int
) -> None:
    """Be many readers of one kind."""
    from twisted.internet import reactor as installed
    from twisted.internet.defer import succeed
    from twisted.internet.endpoints import TCP4ClientEndpoint
    from twisted.internet.task import LoopingCall

    from chatproto.link import Turn
    from chatproto.news.datagrams.reader import DatagramReader, ReaderPort
    from chatproto.news.items import Item
    from chatproto.news.reader import NewsReader

    reactor: Any = installed
    dice, turn = random.Random(os.getpid()), Turn(reactor)
    came: Counter[str] = Counter()
    delays: list[float] = []
    refused: Counter[str] = Counter()

    def refuse(code: str) -> None:
        refused[code] += 1

    def reader_of(name: str, port: ReaderPort) -> Any:
        def delivered(item: Item, body: bytes) -> None:
            came[name] += 1
            delays.append(time.time() - item.injected)

        place = place_of(name, paid, items)
        if paid:
            reach = TCP4ClientEndpoint(reactor, HOST, connections)
            return NewsReader(
                place, lambda node: reach, delivered, reactor, time.time, refused=refuse, dice=dice, turn=turn
            )
        return DatagramReader(
            place,
            lambda node: succeed((HOST, datagrams)),
            delivered,
            reactor,
            time.time,
            port,
            refused=refuse,
            dice=dice,
        )

    ports = [ReaderPort(reactor.listenUDP) for _ in names[::PORT_READERS]]
    readers = [reader_of(name, ports[at // PORT_READERS]) for at, name in enumerate(names)]
    pending = iter(readers)

    def begin() -> None:
        # As people do, not all in one moment.
        for _, reader in zip(range(BEGUN_A_SECOND // 20), pending, strict=False):
            reader.startService()

    def answer(asked: Any) -> Any:
        if asked == "here":
            return sum(bool(reader.node) for reader in readers)
        used = resource.getrusage(resource.RUSAGE_SELF)
        return dict(came), delays, dict(refused), used.ru_utime + used.ru_stime

    LoopingCall(begin).start(0.05)
    serve(pipe, answer)


def run_source(pipe: Connection, port: int) -> None:
    """Be a source."""
    from twisted.internet import reactor as installed
    from twisted.internet.endpoints import TCP4ClientEndpoint

    from chatproto.news.items import TOPICS
    from chatproto.news.source import NewsSource

    reactor: Any = installed
    source = NewsSource(TCP4ClientEndpoint(reactor, HOST, port), reactor, SOURCE, PASSWORD, now=time.time)
    source.startService()

    def answer(asked: Any) -> Any:
        number, size = asked
        body = random.Random(number).randbytes(size)
        topic = TOPICS[number % len(TOPICS)]
        return source.publish(topic, f"item {number}", body, expires=time.time() + 3600, media_type="text/plain")

    serve(pipe, answer)


# ---- the measurement ----------------------------------------------------------------------


def ask(pipe: Connection, what: Any) -> Any:
    """Ask a process, and wait for its answer."""
    pipe.send(what)
    if not pipe.poll(PATIENCE_S):
        raise BenchError(f"no answer to {what!r} within {PATIENCE_S:.0f} s")
    return pipe.recv()


@contextmanager
def beside(target: Any, *arguments: Any) -> Iterator[Connection]:
    """Run something in a process of its own, which ends in the end."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        with contextlib.suppress(OSError):
            ours.send(None)
        process.join(10)
        if process.is_alive():
            process.kill()


def daemon(stack: ExitStack, folder: Path, name: str, plugin: str, *options: str, cores: Any = None) -> Daemon:
    """Start a daemon that ends with the stack."""
    twistd = shutil.which("twistd", path=str(Path(sys.executable).parent))
    command = [str(twistd), "-n", "--pidfile=", plugin, f"--name={name}", f"--data={folder / name}", *options]
    started = Daemon(name, command, folder, cores)
    stack.callback(started.stop)
    started.start()
    return started


def sources_file(folder: Path) -> Path:
    """Write who may publish."""
    from chatproto.chat.passwords import SALT_BYTES, secret_of

    path = folder / "sources.toml"
    path.write_text(f'[sources.{SOURCE}]\nsecret = "{secret_of(PASSWORD, os.urandom(SALT_BYTES))}"\npriority = 5\n')
    return path


def wait_for(node: Daemon, loads: Sequence[Connection], count: int, what: str) -> float:
    """Wait until so many readers are let in; return how long it took."""
    began = time.monotonic()
    while (here := sum(ask(load, "here") for load in loads)) < count:
        if not node.alive():
            raise BenchError(f"the node ended: {node.last_words()}")
        if time.monotonic() - began > PATIENCE_S:
            raise BenchError(f"only {here} of {count} {what} after {PATIENCE_S:.0f} s: {node.last_words()}")
        time.sleep(0.2)
    return time.monotonic() - began


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share of all do not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def report(kind: str, loads: Sequence[Connection], names: Sequence[str], items: int) -> None:
    """Print what came to the readers of a kind."""
    came: Counter[str] = Counter()
    delays: list[float] = []
    refused: Counter[str] = Counter()
    used_s = 0.0
    for load in loads:
        some, late, no, used = ask(load, "what came")
        came.update(some)
        delays += late
        refused.update(no)
        used_s += used
    whole = sum(came[name] == items for name in names)
    more = sum(came[name] > items for name in names)
    print(
        f"{kind}: {sum(came.values()) / max(1, len(names) * items):.2%} of {len(names) * items} deliveries came; "
        f"{whole} of {len(names)} readers have all {items}, {more} have more; delay p50 "
        f"{statistics.median(delays) if delays else float('nan'):.2f} s, p99 {percentile(delays, 0.99):.2f} s, most "
        f"{max(delays, default=float('nan')):.2f} s; refused: {dict(refused) or 'none'}; {used_s:.0f} s of CPU there"
    )


def report_contracts(node: Daemon, registry: int) -> None:
    """Print what the node says of its contracts, which an operator sees."""
    chatproto = shutil.which("chatproto", path=str(Path(sys.executable).parent))
    command = [str(chatproto), "news", "status", f"--registry={HOST}:{registry}", f"--contracts={node.name}", "--json"]
    began, used_s = time.monotonic(), cpu_s(node.pid)
    said = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S).stdout
    took_s, used_s = time.monotonic() - began, cpu_s(node.pid) - used_s
    (told,) = json.loads(said)["nodes"]
    verdicts: Counter[str] = Counter()
    late = 0
    for contract in told["contracts"]:
        whole = {hour["verdict"] for hour in contract["hours"]}
        late += sum(hour["late"] for hour in contract["hours"])
        verdicts[next((verdict for verdict in ("late", "too-few", "away") if verdict in whole), "met")] += 1
    print(
        f"the node's records: {verdicts['met']} of {len(told['contracts'])} paid contracts met, {verdicts['late']} "
        f"late ({late} items), {verdicts['too-few']} with too few, {verdicts['away']} away; asked in {took_s:.1f} s, "
        f"and {used_s:.2f} s of CPU of the node"
    )


def measure(stack: ExitStack, folder: Path, arguments: argparse.Namespace) -> None:
    """Start everything, publish, and print."""
    paid, free = names_of(arguments.readers, arguments.paid)
    registry, public, guarded, delivery, delivery_guarded, datagrams = lasting_ports(6)
    an_hour = arguments.an_hour
    placing = stack.enter_context(beside(place_readers, str(folder / NODE), paid, free, an_hour))
    print(f"{ask(placing, 'place')} placements are on the node's disk")
    local = f"interface={HOST}"
    names = f"--registry=tcp:{HOST}:{registry}"
    daemon(stack, folder, "registry", "chatserver", "--role=registry", f"--registry-listen=tcp:{registry}:{local}")
    daemon(
        stack,
        folder,
        "root",
        "newsserver",
        "--role=root",
        f"--listen=tcp:{public}:{local}",
        f"--peer-listen=tcp:{guarded}:{local}",
        f"--sources={sources_file(folder)}",
        names,
    )
    node = daemon(
        stack,
        folder,
        NODE,
        "newsserver",
        "--role=delivery",
        f"--parent=tcp:{HOST}:{guarded}",
        f"--listen=tcp:{delivery}:{local}",
        f"--peer-listen=tcp:{delivery_guarded}:{local}",
        f"--datagrams={HOST}:{datagrams}",
        f"--send-rate={arguments.send_rate}",
        f"--readers-max={arguments.readers}",
        names,
        cores=SERVER_CORES,
    )
    shares = [free[at :: arguments.processes] for at in range(arguments.processes)]
    time.sleep(3.0)
    empty_kib = memory_kib(node.pid)
    whose = (an_hour, datagrams, delivery)
    paid_load = [stack.enter_context(beside(run_readers, paid, True, *whose))]
    took_s = wait_for(node, paid_load, len(paid), "paid readers")
    print(f"{len(paid)} paid readers are there after {took_s:.1f} s")
    free_loads = [stack.enter_context(beside(run_readers, share, False, *whose)) for share in shares]
    took_s = wait_for(node, free_loads, len(free), "free readers")
    kib = memory_kib(node.pid)
    print(f"{len(free)} free readers are there after {took_s:.1f} s; {cpu_s(node.pid):.1f} s of CPU since the start")
    print(f"memory of the node: {kib / 1024:.0f} MiB, {(kib - empty_kib) / arguments.readers:.2f} KiB a reader")
    used_s = cpu_s(node.pid)
    time.sleep(arguments.idle)
    print(f"nothing to send, for {arguments.idle:.0f} s: {(cpu_s(node.pid) - used_s) / arguments.idle:.1%} of a core")
    source = stack.enter_context(beside(run_source, public))
    used_s, began = cpu_s(node.pid), time.monotonic()
    for number in range(1, arguments.items + 1):
        ask(source, (number, arguments.size))
        time.sleep(max(0.0, began + number * arguments.gap - time.monotonic()))
    time.sleep(SETTLE_S)
    span_s, used_s = time.monotonic() - began, cpu_s(node.pid) - used_s
    print(
        f"{arguments.items} items of {arguments.size} bytes in {arguments.items * arguments.gap:.0f} s: "
        f"{used_s:.1f} s of CPU of the node in {span_s:.0f} s, {used_s / span_s:.0%} of a core, "
        f"{used_s / (arguments.items * arguments.readers) * 1e6:.0f} µs a delivery"
    )
    report("paid", paid_load, paid, arguments.items)
    report("free", free_loads, free, arguments.items)
    report_contracts(node, registry)
    print(f"at the end: {memory_kib(node.pid) / 1024:.0f} MiB, {memory_kib(node.pid, 'VmHWM') / 1024:.0f} MiB at most")


def main() -> None:
    """Take the arguments, and end what was begun."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--readers", type=int, default=20_000)
    parser.add_argument("--paid", type=float, default=0.05, help="their share")
    parser.add_argument("--items", type=int, default=50, help="that are published")
    parser.add_argument("--an-hour", type=int, default=50, help="that the contracts of paid readers want, and allow")
    parser.add_argument("--gap", type=float, default=2.0, help="seconds from one to the next")
    parser.add_argument("--size", type=int, default=1000, help="bytes of a body")
    parser.add_argument("--send-rate", type=int, default=0, help="of the node, bytes a second")
    parser.add_argument("--processes", type=int, default=2, help="of free readers")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds in which nothing is sent")
    arguments = parser.parse_args()
    end_on_signals()
    raise_open_files_limit()
    try:
        with data_directory() as folder, ExitStack() as stack:
            measure(stack, folder, arguments)
    except BenchError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
