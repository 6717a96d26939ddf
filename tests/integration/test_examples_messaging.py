"""The examples of the communication patterns, run as their docstrings say."""

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.integration.nodes import WAIT_S_MAX, Client, free_port, wait_until
from tests.integration.test_examples_client import example, finished


def transcript(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_a_queue_with_acknowledgements() -> None:
    assert finished(example("send_queue.py")) == (
        0,
        transcript(
            "fire alarm: printed",
            "letter: printed",
            "poster: too-large",
            "lost page: not acknowledged in time: it may or may not have arrived",
            "photo: printed",
        ),
        "",
    )


def test_request_and_reply() -> None:
    assert finished(example("request_reply.py", "Rome", "Atlantis", "Delphi", "Rome")) == (
        0,
        transcript(
            "Rome: 12:30",
            "Atlantis: no answer (no-such-city)",
            "Delphi: no answer (no connection: it may or may not have arrived)",
            "Rome: no answer (no connection: it was not sent)",
        ),
        "",
    )


def test_sequential_and_concurrent() -> None:
    status, output, errors = finished(example("serve_requests.py"))
    assert (status, errors) == (0, "")
    one, several = (part.splitlines() for part in output.removeprefix("one at a time\n").split("several at once\n"))
    assert one[1] == several[2] == "  read 7: refused, busy"
    del one[1], several[2]
    books = ["blank", "blank", *["a book of write 3"] * 4]
    kinds = ["read 1", "read 2", "write 3", "read 4", "read 5", "read 6"]
    begins = [f"  {kind} begins" for kind in kinds]
    ends = [f"  {kind}: {book}" for kind, book in zip(kinds, books, strict=True)]
    assert one == [line for pair in zip(begins, ends, strict=True) for line in pair]
    together = (slice(0, 2), slice(2, 3), slice(3, 6))
    assert several == [line for some in together for line in (*begins[some], *ends[some])]


@pytest.fixture
def board() -> Iterator[Callable[[], Client]]:
    """Connects to a notice board."""
    port = free_port()
    program = example("notify_groups.py", f"tcp:{port}:interface=127.0.0.1")
    clients: list[Client] = []

    def connect() -> Client | None:
        try:
            clients.append(Client(socket.create_connection(("127.0.0.1", port), timeout=WAIT_S_MAX)))
        except ConnectionRefusedError:
            return None
        return clients[-1]

    try:
        wait_until(connect, "the notice board is there")
        yield connect  # type: ignore[misc]
    finally:
        for client in clients:
            client.close()
        program.terminate()
        assert finished(program) == (0, "", "")


def test_broadcast_and_group_notification(board: Callable[[], Client]) -> None:
    ada, ben, carl = (board() for _ in range(3))
    for member, groups in ((ada, b"tea milk sugar"), (ben, b"tea rum honey")):
        # The last is one too many, which is answered: so what was said before has been heard.
        member.write(*(b"join %s\n" % group for group in (*groups.split(), b"water")))
        assert member.read_line() == b"refused: too-many-groups\n"
    carl.write(b"notify tea it is ready\n", b"notify milk it is out\n", b"broadcast closing time\n")
    assert [carl.read_line()] == [b"all: closing time\n"]
    assert [ben.read_line() for _ in range(2)] == [b"tea: it is ready\n", b"all: closing time\n"]
    heard = [ada.read_line() for _ in range(3)]
    assert heard == [b"tea: it is ready\n", b"milk: it is out\n", b"all: closing time\n"]
    ada.write(b"leave tea\n", b"notify tea once more\n", b"broadcast good night\n")
    assert ada.read_line() == b"all: good night\n"
    assert [ben.read_line() for _ in range(2)] == [b"tea: once more\n", b"all: good night\n"]
