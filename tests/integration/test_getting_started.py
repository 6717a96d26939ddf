"""What the pages for beginners have people type works, in that order, and says what stands there."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.typing_reader import Reader


@pytest.fixture
def make_reader(tmp_path: Path) -> Iterator[Callable[..., Reader]]:
    """Makes readers of a page, in which there are some ports."""
    readers: list[Reader] = []

    def make(page: str, *ports: str) -> Reader:
        readers.append(Reader(page, tmp_path, *ports))
        return readers[-1]

    yield make
    for reader in readers:
        reader.goes()


def test_getting_started(make_reader: Callable[..., Reader]) -> None:
    reader = make_reader("getting-started.md", "4444", "4445", "4545", "4546", "4646")
    assert reader.types_all() > 10
    reader.has_ended()


def test_news_in_ten_minutes(make_reader: Callable[..., Reader]) -> None:
    reader = make_reader(
        "news-in-ten-minutes.md", *("4646", "4747", "4848", "4751", "4851", "4752", "4852", "4753", "4853")
    )
    assert reader.types_all() > 15
    reader.has_ended()
