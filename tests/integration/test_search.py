"""What was said is found by its words: on either node, of one's own rooms only, and only for as long as it is kept."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted

from tests.integration.nodes import WAIT_S_MAX, Client, Node, agree, fill, wait_until
from tests.integration.pairs import Scene, exported


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


def search(client: Client, query: str, **fields: Any) -> dict[str, Any]:
    client.send("search", query=query, **fields)
    answer = client.read()
    while answer["type"] not in ("search", "error"):
        answer = client.read()
    return answer


def contents(client: Client, query: str, **fields: Any) -> list[str]:
    return [said["content"] for said in search(client, query, **fields)["messages"]]


def found(client: Client, query: str, *wanted: str, **fields: Any) -> None:
    """Wait until exactly this is found, newest first: what is committed is taken in a moment later."""
    wait_until(lambda: contents(client, query, **fields) == list(wanted), f"{query} finds {wanted}", WAIT_S_MAX)


def test_words_phrases_and_beginnings(node: Node) -> None:
    client = node.extended("adel")
    client.say("The quick brown fox", "jumps over the lazy dog", "Ein Früchtebrot, quick!", "quickly: C++ & so on")
    found(client, "quickly", "quickly: C++ & so on")
    assert contents(client, "QUICK") == ["Ein Früchtebrot, quick!", "The quick brown fox"]
    assert contents(client, "quick*") == ["quickly: C++ & so on", "Ein Früchtebrot, quick!", "The quick brown fox"]
    assert contents(client, "quick fox") == contents(client, '"brown fox"') == ["The quick brown fox"]
    assert contents(client, '"fox brown"') == contents(client, "nothing") == []
    assert contents(client, "fruchtebrot") == ["Ein Früchtebrot, quick!"]
    assert contents(client, '"over the la"* dog') == ["jumps over the lazy dog"]
    assert contents(client, "room:x OR fox") == contents(client, "content") == contents(client, "NOT fox") == []
    answer = search(client, "quick", limit=1)
    assert answer["query"] == "quick" and answer["more"] is True
    (said,) = answer["messages"]
    assert (said["type"], said["index"], said["roomid"]) == ("message", 3, "MainHall")
    assert said in search(client, "quick", roomid="MainHall", before=4)["messages"]
    assert contents(client, "quick", roomid="MainHall", before=3) == ["The quick brown fox"]
    for query in ("", "   ", "!?", "*", '"', "x" * 257):
        assert search(client, query)["code"] == "bad-query"
    assert search(client, "x", limit=0)["code"] == search(client, "x", before=3)["code"] == "bad-request"


def test_only_of_ones_own_rooms_and_only_what_is_kept(node: Node) -> None:
    adel, beth = node.extended("adel"), node.extended("beth")
    adel.send("createroom", roomid="jokes")
    adel.send("join", roomid="jokes", stay=True)
    adel.send("message", content="a word in jokes", id="w-1", roomid="jokes")
    adel.send("message", content="a word in the hall", id="w-2", roomid="MainHall")
    adel.until("ack", id="w-2")
    found(adel, "word", "a word in the hall", "a word in jokes")
    assert contents(adel, "word", roomid="jokes") == ["a word in jokes"]
    assert contents(beth, "word") == ["a word in the hall"]
    assert search(beth, "word", roomid="jokes")["code"] == "not-a-member"
    assert search(beth, "word", roomid="nowhere")["code"] == "no-such-room"
    adel.send("delete", roomid="jokes")
    agree(adel)
    assert contents(adel, "word") == ["a word in the hall"]
    adel.send("createroom", roomid="jokes")
    adel.send("join", roomid="jokes", stay=True)
    agree(adel)
    assert contents(adel, "word") == ["a word in the hall"]


def test_an_index_that_is_lost_is_made_again_and_without_one_nothing_is_searched(
    start_node: Callable[..., Node],
) -> None:
    node = start_node("--rate-limit=0")
    fill(node, 3000, 60)
    client = node.extended("adel")
    client.say("a needle")
    found(client, "needle", "a needle")
    assert node.terminate() is not None
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(b"nonsense" * 1000)):
        for end in ("-wal", "-shm"):
            (node.data / f"search.sqlite{end}").unlink(missing_ok=True)
        damage(node.data / "search.sqlite")
        node.start()
        client = node.extended("beth")
        found(client, "needle", "a needle")
        found(client, "2999", "2999 ".ljust(60, "x"))
        node.kill()
    node.options.append("--no-search")
    node.start()
    assert search(node.extended(), "needle")["code"] == "no-search"


@pytest_twisted.ensureDeferred
async def test_of_a_pair_either_finds_all_also_after_a_disk_was_lost(scene: Scene) -> None:
    pair = await scene.pair().start()
    for name, node in pair.nodes.items():
        client = node.extended()
        client.send("message", content=f"a needle of the {name}", id=f"needle-{name}")
        client.until("ack", id=f"needle-{name}")
    needles = ["a needle of the secondary", "a needle of the primary"]
    for node in pair.nodes.values():
        found(node.extended(), "needle", *needles)
    pair.secondary.kill()
    await pair.stands(pair.primary, redundancy="alone", serving=True)
    shutil.rmtree(pair.secondary.data)
    await pair.restart(pair.secondary)
    await pair.paired()
    found(pair.secondary.extended(), "needle", *needles)
    assert exported(pair.primary.data) == exported(pair.secondary.data)
