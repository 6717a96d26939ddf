"""Replay: how fast a newcomer gets an archive of a million messages, and what that costs the server.

One node is filled through its own front door; then a client on another core joins and counts. Told
are messages/s from connecting to the last message, the server's memory before and at its peak, and
the latency that somebody else, talking in another room, sees before and meanwhile. In the end some
clients join and read nothing: a server that buffered the archive for them would show it in its peak.

    make replay                                   base client and extended client, a million messages
    make replay ARGS="--messages 100000"
"""

import argparse
import json
import os
import re
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.bench.servers import (
    LOAD_CORES,
    PROJECT,
    BenchError,
    Ours,
    Running,
    cpu_s,
    end_on_signals,
    forget_memory_peak,
    memory_kib,
    raise_open_files_limit,
)

FILL_S_MAX = 600.0
RECEIVE_S_MAX = 300.0
WINDOW_MESSAGES = 8_000
CHUNK_MESSAGES = 500
PAYLOAD_BYTES = 100
STALLED_CLIENTS = 20
STALLED_S = 3.0
SETTLE_S = 1.0
READ_BYTES = 1 << 20
# Greeting, and the comings and goings of the other clients here.
OTHER_LINES_MAX = 200

HELLO = b'{"type":"hello","version":1,"history":"all"}\n'


def connect(port: int, hello: bytes = b"") -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), 10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hello:
        link.sendall(hello)
    return link


def content(number: int) -> str:
    return f"|@{number:010d}".ljust(PAYLOAD_BYTES, "x")


# ---- filling ------------------------------------------------------------------------------


def wait_for(link: socket.socket, what: bytes, seconds: float = 10.0) -> None:
    """Read until `what` has been seen."""
    link.settimeout(seconds)
    seen = b""
    end = time.monotonic() + seconds
    while what not in seen:
        got = link.recv(65536)
        if not got or time.monotonic() > end:
            raise BenchError(f"the server did not say {what.decode()}")
        seen = seen[-200:] + got


def fill(link: socket.socket, messages: int) -> float:
    """Send so many messages, a window at a time, until the last came back; return the seconds it took."""
    began = time.monotonic()
    last = content(messages - 1).encode()
    link.setblocking(False)
    sent = received = 0
    unsent = memoryview(b"")
    tail = b""
    while True:
        if time.monotonic() - began > FILL_S_MAX:
            raise BenchError(f"{received} of {messages} messages were stored within {FILL_S_MAX:g} s")
        if not unsent and sent < messages and sent - received < WINDOW_MESSAGES:
            upto = min(sent + CHUNK_MESSAGES, messages)
            lines = (f'{{"type":"message","content":"{content(n)}"}}\n' for n in range(sent, upto))
            unsent = memoryview("".join(lines).encode())
            sent = upto
        readable, writable, _ = select.select([link], [link] if unsent else [], [], 1.0)
        if writable:
            with suppress(BlockingIOError):
                unsent = unsent[link.send(unsent) :]
        if readable:
            got = link.recv(READ_BYTES)
            if not got:
                raise BenchError(f"the server hung up after {received} messages")
            received += got.count(b"\n")
            if last in tail + got:
                return time.monotonic() - began
            tail = got[-400:]


# ---- receiving, in a process of its own ---------------------------------------------------


def receive(port: int, messages: int, extended: bool, verify: bool) -> dict[str, Any]:
    """Join and read until the last message; with `verify` also look at each number."""
    last = content(messages - 1).encode()
    buffer = bytearray(READ_BYTES)
    lines = total = 0
    tail = b""
    numbers: list[int] = []
    began = time.monotonic()
    first = 0.0
    with connect(port, HELLO if extended else b"") as link:
        link.settimeout(20)
        while time.monotonic() - began < RECEIVE_S_MAX:
            count = link.recv_into(buffer)
            if not count:
                raise BenchError(f"the server hung up after {lines} lines")
            first = first or time.monotonic()
            total += count
            lines += buffer.count(b"\n", 0, count)
            if verify:
                text = tail + buffer[:count]
                whole = text.rpartition(b"\n")
                numbers += [int(n) for n in re.findall(rb"\|@(\d{10})", whole[0])]
                tail = whole[2]
                done = bool(numbers) and numbers[-1] == messages - 1
            else:
                # Only the end of a read can hold the end of the archive; look no further back.
                tail = (
                    tail + buffer[max(0, count - 1000) : count] if count < 1000 else bytes(buffer[count - 1000 : count])
                )
                tail = tail[-2000:]
                done = last in tail
            if done:
                break
        else:
            raise BenchError(f"{lines} lines within {RECEIVE_S_MAX:g} s")
    ended = time.monotonic()
    if verify and numbers != list(range(messages)):
        raise BenchError(f"LOST OR REORDERED: {len(numbers)} messages came, {messages} were expected in order")
    if not messages <= lines <= messages + OTHER_LINES_MAX:
        raise BenchError(f"LOST OR REPEATED: {lines} lines came for {messages} messages")
    return {"wall_s": ended - began, "first_byte_s": first - began, "lines": lines, "bytes": total}


def receive_elsewhere(port: int, messages: int, extended: bool, verify: bool) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "tests.bench.replay",
        "--receive",
        str(port),
        "--messages",
        str(messages),
    ]
    command += ["--extended"] * extended + ["--verify"] * verify
    ended = subprocess.run(
        command,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RECEIVE_S_MAX + 60,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {max(LOAD_CORES)}),
    )
    if ended.returncode:
        raise BenchError(ended.stderr.strip() or f"the receiver ended with status {ended.returncode}")
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


# ---- somebody else, talking meanwhile -----------------------------------------------------


@dataclass
class Bystander:
    """Sends a message every few milliseconds in a room of its own and times its return."""

    port: int
    every_s: float = 0.005
    latencies_s: list[float] = field(default_factory=list)
    fault: str = ""

    def __post_init__(self) -> None:
        self._link = connect(self.port)
        wait_for(self._link, b'"roomcontents"')
        self._link.sendall(b'{"type":"createroom","roomid":"bystander"}\n')
        self._link.sendall(b'{"type":"join","roomid":"bystander"}\n')
        time.sleep(0.3)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        number = 0
        self._link.settimeout(30)
        try:
            while not self._ending.wait(self.every_s):
                number += 1
                mark = f"probe{number:08d}".encode()
                began = time.monotonic()
                self._link.sendall(b'{"type":"message","content":"%s"}\n' % mark)
                seen = b""
                while mark not in seen:
                    got = self._link.recv(65536)
                    if not got:
                        raise BenchError("the server hung up on the bystander")
                    seen += got
                self.latencies_s.append(time.monotonic() - began)
        except (OSError, BenchError) as error:
            self.fault = str(error)

    def since(self, mark: int) -> str:
        """The latencies after the first `mark`, in words."""
        taken = sorted(self.latencies_s[mark:])
        if len(taken) < 2:
            return "no sample"
        p99 = taken[min(len(taken) - 1, int(len(taken) * 0.99))]
        return (
            f"p50 {statistics.median(taken) * 1e3:.2f} ms, p99 {p99 * 1e3:.1f} ms,"
            f" most {taken[-1] * 1e3:.1f} ms ({len(taken)} samples)"
        )

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(35)
        self._link.close()


# ---- the measurement ----------------------------------------------------------------------


def mib(kib: int) -> str:
    return f"{kib / 1024:.0f} MiB"


def one_newcomer(server: Running, bystander: Bystander, messages: int, extended: bool) -> None:
    server_before, cpu_before = memory_kib(server.pid), cpu_s(server.pid)
    forget_memory_peak(server.pid)
    mark = len(bystander.latencies_s)
    got = receive_elsewhere(server.port, messages, extended, verify=False)
    cpu = cpu_s(server.pid) - cpu_before
    print(
        f"{'extended' if extended else 'base':<9} {messages / got['wall_s'] / 1000:8,.0f} k messages/s"
        f"  {got['bytes'] / got['wall_s'] / 1e6:.0f} MB/s  first byte {got['first_byte_s'] * 1e3:.0f} ms"
        f"  server CPU {cpu:.2f} s"
        f"  RSS {mib(server_before)} -> peak {mib(memory_kib(server.pid, 'VmHWM'))}"
    )
    print(f"          bystander meanwhile: {bystander.since(mark)}", flush=True)


def stalled(server: Running, messages: int) -> None:
    before = memory_kib(server.pid)
    forget_memory_peak(server.pid)
    links = [connect(server.port) for _ in range(STALLED_CLIENTS)]
    time.sleep(STALLED_S)
    print(
        f"{STALLED_CLIENTS} newcomers who read nothing for {STALLED_S:g} s:"
        f" RSS {mib(before)} -> peak {mib(memory_kib(server.pid, 'VmHWM'))}"
    )
    for link in links:
        link.close()


def run(messages: int, rounds: int, extra: Sequence[str]) -> None:
    with Ours(extra).running() as server:
        try:
            with connect(server.port) as filler:
                wait_for(filler, b'"roomcontents"')
                bystander = Bystander(server.port)
                empty = memory_kib(server.pid)
                seconds = fill(filler, messages)
                print(
                    f"stored    {messages / seconds / 1000:8,.0f} k messages/s, durable and echoed,"
                    f" {messages:,} of {PAYLOAD_BYTES} bytes;"
                    f" RSS {mib(empty)} -> {mib(memory_kib(server.pid))}",
                    flush=True,
                )
            time.sleep(SETTLE_S)
            mark = len(bystander.latencies_s)
            time.sleep(2)
            print(f"          bystander alone: {bystander.since(mark)}")
            receive_elsewhere(server.port, messages, extended=False, verify=True)
            print("          every message came, in order", flush=True)
            for _ in range(rounds):
                for extended in (False, True):
                    one_newcomer(server, bystander, messages, extended)
                    time.sleep(SETTLE_S)
            stalled(server, messages)
            bystander.stop()
            if bystander.fault:
                raise BenchError(f"bystander: {bystander.fault}")
        except BenchError as error:
            if server.alive():
                raise
            raise BenchError(f"{error}; the server ended: {server.last_words()}") from error


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="replay", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000_000, help="size of the archive; default 1000000")
    parser.add_argument("--rounds", type=int, default=3, help="newcomers of each kind; default 3")
    parser.add_argument(
        "--ours",
        action="append",
        default=[],
        metavar="OPTION",
        help="one more option for our server; repeatable",
    )
    # How this program calls itself, to receive in a process and on a core of its own.
    parser.add_argument("--receive", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--extended", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--verify", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not 1 <= options.messages <= 10**9 or not 1 <= options.rounds <= 100:
        parser.error("--messages must be 1 to 1000000000, --rounds 1 to 100")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    end_on_signals()
    raise_open_files_limit()
    try:
        if options.receive:
            print(json.dumps(receive(options.receive, options.messages, options.extended, options.verify)))
        else:
            os.sched_setaffinity(0, LOAD_CORES)
            run(options.messages, options.rounds, options.ours)
    except (BenchError, OSError) as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
