"""Nodes that end with the test that started them, and tell when something went wrong inside them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.nodes import TROUBLE, Node


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Makes nodes that are not started yet; none of them may log a traceback, unless the test says so."""
    nodes: list[Node] = []

    def make(*options: str, name: str = "", kind: type[Node] = Node, **how: Any) -> Node:
        node = kind(tmp_path / (name or f"node{len(nodes) + 1}"), *options, **how)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.end()
    for node in nodes:
        said = node.whole_log()
        assert not any(word in said for word in TROUBLE), said[-8000:]


@pytest.fixture
def start_node(make_node: Callable[..., Node]) -> Callable[..., Node]:
    """Starts nodes; returns when they listen."""
    return lambda *options, **how: make_node(*options, **how).start()


@pytest.fixture
def node(start_node: Callable[..., Node]) -> Node:
    """A node as it is without any options."""
    return start_node()
