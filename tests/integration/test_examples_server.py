"""The example that embeds a server, run as its docstring says."""

import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.integration.nodes import PROJECT, environment, free_port, wait_until


def page(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_a_page_and_a_chat_share_a_process(tmp_path: Path) -> None:
    import socket

    chat, web = free_port(), free_port()
    example = subprocess.Popen(
        [
            sys.executable,
            str(PROJECT / "examples" / "embed_server.py"),
            f"tcp:{chat}:interface=127.0.0.1",
            f"tcp:{web}:interface=127.0.0.1",
            str(tmp_path / "data"),
        ],
        env=environment(),
    )
    try:
        assert wait_until(lambda: page(web), "the page is served") == "MainHall: \n"
        with socket.create_connection(("127.0.0.1", chat), timeout=10) as client:
            client.sendall(b'{"type":"identitychange","identity":"adel"}\n')
            assert wait_until(lambda: "adel" in page(web), "the page tells of adel")
            assert page(web) == "MainHall: adel\n"
    finally:
        example.terminate()
        assert example.wait(20) == 0
