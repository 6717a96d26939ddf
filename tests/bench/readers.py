"""Free readers: how many can one node send to, and what does it cost?

One process is the free part of a delivery node, or in time a whole one; a few processes are thousands of free readers
each. Told are how long it takes until all listen, what keeping them costs while nothing happens,
and for items of some sizes how long it takes until all were sent, how many came, and what that cost.

    python -m tests.bench.readers
    python -m tests.bench.readers --readers 2000 --processes 1 --idle 10
"""

import argparse
import multiprocessing
import os
import random
import resource
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

HOST = "127.0.0.1"
PATIENCE_S = 120.0
SETTLE_S = 3.0
POLL_S = 0.01
PORT_READERS = 10
"""Behind one port: a kernel keeps only so many datagrams for each that are not read yet, and readers have their own."""

ITEMS = ((200, 5), (20_000, 1))
"""Bytes of an item's body, and how many such are sent."""


def cpu_s() -> float:
    """Return what this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory_mib() -> float:
    """Return the memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


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


# ---- the processes ------------------------------------------------------------------------


def run_node(pipe: Connection, names: Sequence[str]) -> None:
    """Be the free part of a delivery node."""
    from twisted.internet.defer import Deferred

    from chatproto.news.datagrams.outlet import FreeOutlet
    from chatproto.news.terms import Placement
    from chatproto.tap import real_world
    from tests.unit.news.datagrams.rig import parcel_of, placement_of

    world = real_world()
    known = {name: placement_of(name) for name in names}

    class Delivery:
        def __init__(self) -> None:
            self.listeners: dict[str, None] = {}

        def placement_of(self, reader: str) -> Placement | None:
            return known.get(reader)

        def listening(self, reader: str) -> None:
            self.listeners[reader] = None

        def silent(self, reader: str) -> None:
            self.listeners.pop(reader, None)

        def pulling(self, reader: str, after: int, count: int) -> None:
            outlet.pulled(reader, after, (), False)

    delivery = Delivery()
    outlet = FreeOutlet(world, "node", delivery, port=0, host=HOST)
    outlet.startService()

    def publish(number: int, size: int) -> "Deferred[tuple[float, float]]":
        done: Deferred[tuple[float, float]] = Deferred()
        began, used, left = time.monotonic(), cpu_s(), len(delivery.listeners)
        parcel = parcel_of(number, size, time.time() + 3600)

        def sent(whole: bool) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.callback((time.monotonic() - began, cpu_s() - used))

        for reader in delivery.listeners:
            outlet.send(reader, parcel, sent)
        return done

    def answer(asked: Any) -> Any:
        match asked:
            case ("port",):
                return outlet.ready
            case ("state",):
                return len(delivery.listeners), cpu_s(), memory_mib(), dict(world.tally.dropped)
            case ("publish", number, size):
                return publish(number, size)

    serve(pipe, answer)


def run_readers(pipe: Connection, names: Sequence[str], port: int) -> None:
    """Be many free readers behind one port."""
    import random
    from collections import Counter
    from dataclasses import replace

    from chatproto.news.datagrams.reader import DatagramReader, ReaderPort
    from chatproto.news.datagrams.reassembly import Arrived
    from chatproto.tap import real_world
    from tests.unit.news.datagrams.rig import place_of

    world = replace(real_world(), dice=random.Random(os.getpid()))
    ports = [ReaderPort(world) for _ in names[::PORT_READERS]]
    came: Counter[int] = Counter()

    def delivered(arrived: Arrived) -> None:
        came[arrived.item.number] += 1

    readers = [
        DatagramReader(
            place_of(name),
            lambda node: succeed((HOST, port)),
            delivered,
            reactor,
            time.time,
            ports[at // PORT_READERS],
            dice=dice,
        )
        for at, name in enumerate(names)
    ]
    pending = iter(readers)

    def begin() -> None:
        # As people do, not all in one moment: a kernel keeps what a few hundred datagrams take.
        for _, reader in zip(range(50), pending, strict=False):
            reader.startService()

    LoopingCall(begin).start(0.05)
    serve(pipe, lambda asked: (dict(came), sum(shared.nonsense for shared in ports), cpu_s(), memory_mib()))


# ---- the measurement ----------------------------------------------------------------------


def ask(pipe: Connection, what: Any) -> Any:
    """Ask a process, and wait for its answer."""
    pipe.send(what)
    if not pipe.poll(PATIENCE_S):
        raise SystemExit(f"no answer to {what} within {PATIENCE_S:.0f} s")
    return pipe.recv()


def measure(readers: int, processes: int, idle_s: float, begun: list[tuple[BaseProcess, Connection]]) -> None:
    """Measure, and print; what is begun is ended by whoever called."""
    spawning = multiprocessing.get_context("spawn")

    def begin(target: Any, *arguments: Any) -> Connection:
        ours, theirs = spawning.Pipe()
        process = spawning.Process(target=target, args=(theirs, *arguments), daemon=True)
        process.start()
        begun.append((process, ours))
        return ours

    names = [f"reader{number}" for number in range(readers)]
    node = begin(run_node, names)
    port = ask(node, ("port",))
    _, _, empty_mib, _ = ask(node, ("state",))
    began = time.monotonic()
    loads = [begin(run_readers, names[share::processes], port) for share in range(processes)]
    while (state := ask(node, ("state",)))[0] < readers:
        if time.monotonic() - began > PATIENCE_S:
            raise SystemExit(f"only {state[0]} of {readers} listen after {PATIENCE_S:.0f} s")
        time.sleep(0.1)
    _, entered_cpu_s, mib, _ = state
    print(f"{readers} listen after {time.monotonic() - began:.1f} s; {entered_cpu_s:.1f} s of CPU")
    print(f"memory of the node: {mib:.0f} MiB, {(mib - empty_mib) * 1024 / readers:.2f} KiB a reader")
    time.sleep(idle_s)
    listening, idle_cpu_s, _, _ = ask(node, ("state",))
    share = (idle_cpu_s - entered_cpu_s) / idle_s if idle_s else 0.0
    print(f"leases, for {idle_s:.0f} s: {listening} listen; {share:.1%} of a core")
    print(f"{'bytes':>8} {'sent in s':>10} {'CPU s':>7} {'µs each':>8} {'came':>8}")
    number = 0
    for size, count in ITEMS:
        for _ in range(count):
            number += 1
            took_s, used_s = ask(node, ("publish", number, size))
            time.sleep(SETTLE_S)
            came = sum(ask(load, "state")[0].get(number, 0) for load in loads)
            print(f"{size:8} {took_s:10.2f} {used_s:7.2f} {used_s / readers * 1e6:8.1f} {came / readers:8.1%}")
    for at, load in enumerate(loads):
        _, nonsense, used_s, mib = ask(load, "state")
        print(f"readers {at}: {used_s:.1f} s of CPU, {mib:.0f} MiB, {nonsense} datagrams that were none of theirs")
    listening, _, mib, dropped = ask(node, ("state",))
    print(f"at the end {listening} listen; {mib:.0f} MiB; dropped: {dropped or 'nothing'}")


def main() -> None:
    """Take the arguments, and end what was begun."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--readers", type=int, default=19_000)
    parser.add_argument("--processes", type=int, default=2, help="of readers")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds in which nothing is sent")
    arguments = parser.parse_args()
    begun: list[tuple[BaseProcess, Connection]] = []
    try:
        measure(arguments.readers, arguments.processes, arguments.idle, begun)
    finally:
        for process, pipe in begun:
            if process.is_alive():
                pipe.send(None)
            process.join(5)
            if process.is_alive():
                process.kill()


if __name__ == "__main__":
    main()
