"""Nodes that stand still, and lines that are cut without anybody being told: never two leaders that acknowledge."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest
import pytest_twisted

from tests.integration.nodes import Node
from tests.integration.pairs import Pair, Scene, Talker, moment, reactor, status

LEASE_S = 0.9


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


# Standing still


@pytest_twisted.ensureDeferred
async def test_the_leader_stands_still(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair)
    for stopped, other in ((pair.primary, pair.secondary), (pair.secondary, pair.primary)):
        await scene.heard(*talkers)
        os.kill(stopped.pid, signal.SIGSTOP)
        begun = reactor.seconds()
        said = await pair.stands(other, role="leader", redundancy="alone", serving=True)
        assert reactor.seconds() - begun > LEASE_S / 2, "silence is no proof at once"
        await scene.heard(*talkers)
        await moment(max(0.0, begun + 2.5 * LEASE_S - reactor.seconds()))
        os.kill(stopped.pid, signal.SIGCONT)
        assert await pair.paired() is other
        assert (await pair.stands(stopped, role="follower"))["epoch"] > said["epoch"]
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    assert not any(talker.left for talker in talkers)


@pytest_twisted.ensureDeferred
async def test_the_follower_stands_still(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    os.kill(pair.secondary.pid, signal.SIGSTOP)
    begun = reactor.seconds()
    await pair.stands(pair.primary, role="leader", redundancy="alone", serving=True)
    await scene.heard(*talkers)
    await moment(max(0.0, begun + 2.5 * LEASE_S - reactor.seconds()))
    os.kill(pair.secondary.pid, signal.SIGCONT)
    assert await pair.paired() is pair.primary
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    assert [talker.losses for talker in talkers if talker.welcomes == ["primary"]] == [0, 0]
    assert not any(talker.left for talker in talkers)


@pytest_twisted.ensureDeferred
async def test_short_stops_change_nothing(scene: Scene) -> None:
    """Shorter than anybody's patience: who leads goes on, and nobody loses a connection."""
    pair = await scene.pair("--heartbeat=0.3", "--suspect=2", "--lease=2.5").start()
    talkers = scene.crowd(pair, silence_s_max=10)
    epoch = (await pair.stands(pair.primary))["epoch"]
    for node in (pair.primary, pair.secondary, pair.primary):
        await scene.heard(*talkers)
        os.kill(node.pid, signal.SIGSTOP)
        await moment(0.5)
        os.kill(node.pid, signal.SIGCONT)
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    assert (await pair.stands(pair.primary))["epoch"] == epoch
    assert [len(talker.welcomes) for talker in talkers] == [1] * 4


# Cut lines


@pytest_twisted.ensureDeferred
async def test_the_nodes_do_not_hear_each_other(scene: Scene) -> None:
    """Both hear the registry: the leader goes on alone, and the other sends its clients there."""
    pair = await scene.pair(cuttable=True).start()
    talkers = scene.crowd(pair)
    for _ in range(2):
        await scene.heard(*talkers)
        pair.part("primary", "secondary")
        await pair.stands(pair.primary, role="leader", redundancy="alone", serving=True)
        await pair.stands(pair.secondary, serving=False)
        await scene.heard(*talkers)
        assert {talker.port for talker in talkers} == {pair.primary.port}
        pair.heal()
        assert await pair.paired() is pair.primary
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    assert "isolated" in talkers[1].redirects
    assert not any(talker.left for talker in talkers)


@pytest_twisted.ensureDeferred
async def test_what_only_the_leader_has_is_not_acknowledged(scene: Scene) -> None:
    """The leader is killed while it still waits for the other node: what it alone has gets another place."""
    pair = await scene.pair("--heartbeat=0.3", "--suspect=3", "--lease=3.1", cuttable=True).start()
    talkers = scene.crowd(pair, silence_s_max=10)
    await scene.heard(*talkers)
    pair.part("primary", "secondary")
    await moment(0.5)
    acknowledged = [len(talker.acknowledged) for talker in talkers]
    await moment(0.5)
    assert (await pair.stands(pair.primary))["redundancy"] == "paired", "it waits"
    assert [len(talker.acknowledged) for talker in talkers] == acknowledged
    assert all(talker.unacknowledged for talker in talkers)
    pair.primary.kill()
    pair.sever()
    pair.heal()
    await pair.stands(pair.secondary, role="leader", redundancy="alone", serving=True)
    await scene.heard(*talkers)
    await pair.restart(pair.primary)
    assert await pair.paired() is pair.secondary
    assert "parting from" in pair.primary.log()
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    assert not any(talker.left for talker in talkers)


@pytest_twisted.ensureDeferred
async def test_the_leader_is_alone_with_some_of_its_clients(scene: Scene) -> None:
    pair = await scene.pair(cuttable=True).start()
    inside = [scene.talker(f"inside{number}", pair.primary.port) for number in (1, 2)]
    outside = [scene.talker(f"outside{number}", *pair.ports) for number in (1, 2)]
    await scene.heard(*inside, *outside)
    pair.part("primary", "secondary")
    pair.part("primary", "registry")
    await pair.stands(pair.secondary, role="leader", redundancy="alone", serving=True)
    said = await status(pair.primary.port)
    assert said is not None
    assert (said["redundancy"], said["serving"]) == ("isolated", False)
    acknowledged = [len(talker.acknowledged) for talker in inside]
    await scene.heard(*outside, count=50)
    await moment(LEASE_S)
    assert [len(talker.acknowledged) for talker in inside] == acknowledged, "what one node has is not acknowledged"
    pair.heal()
    assert await pair.paired() is pair.secondary
    await scene.heard(*inside, *outside)
    await pair.reckon(*inside, *outside)
    for talker in inside:
        assert "isolated" in talker.redirects
        assert set(talker.welcomes) == {"primary"}
    assert not any(talker.left for talker in outside)


@pytest_twisted.ensureDeferred
async def test_the_follower_hears_nobody(scene: Scene) -> None:
    pair = await scene.pair(cuttable=True).start()
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    pair.part("primary", "secondary")
    pair.part("secondary", "registry")
    await pair.stands(pair.primary, role="leader", redundancy="alone", serving=True)
    await pair.stands(pair.secondary, serving=False)
    await scene.heard(*talkers)
    pair.heal()
    assert await pair.paired() is pair.primary
    await scene.heard(*talkers)
    await pair.reckon(*talkers)


async def one_way(scene: Scene, sender: str, receiver: str) -> None:
    """Cut one way of the line between the nodes: whoever it is that goes on, it is one."""
    pair = await scene.pair(cuttable=True).start()
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    pair.cut(sender, receiver)
    await pair.stands(pair.primary, role="leader", redundancy="alone", serving=True)
    await scene.heard(*talkers)
    said = await status(pair.secondary.port)
    assert said is not None
    assert not said["serving"]
    pair.heal()
    await pair.paired()
    await scene.heard(*talkers)
    await pair.reckon(*talkers)


@pytest_twisted.ensureDeferred
async def test_the_follower_hears_nothing_of_the_leader(scene: Scene) -> None:
    await one_way(scene, "primary", "secondary")


@pytest_twisted.ensureDeferred
async def test_the_leader_hears_nothing_of_the_follower(scene: Scene) -> None:
    await one_way(scene, "secondary", "primary")


# Without a registry


@pytest_twisted.ensureDeferred
async def test_without_a_registry_the_other_takes_over_by_itself(scene: Scene) -> None:
    pair = await scene.pair(registry=False).start()
    talkers = scene.crowd(pair)
    leader = pair.primary
    for _ in range(2):
        assert await pair.paired() is leader
        await scene.heard(*talkers)
        leader.kill()
        survivor = pair.other(leader)
        await pair.stands(survivor, role="leader", redundancy="alone", serving=True)
        await scene.heard(*talkers)
        await pair.restart(leader)
        leader = survivor
    await pair.paired()
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    assert not any(talker.left or talker.rewinds for talker in talkers)


async def parted(scene: Scene, pair: Pair, talkers: list[Talker]) -> None:
    """Part the nodes of a static pair: each goes on alone, and acknowledges."""
    pair.part("primary", "secondary")
    for node in pair.nodes.values():
        await pair.stands(node, role="leader", redundancy="alone", serving=True)
    await scene.heard(*talkers, count=50)
    pair.heal()


@pytest_twisted.ensureDeferred
async def test_without_a_registry_both_sides_of_a_cut_go_on_and_nothing_is_lost(scene: Scene) -> None:
    pair = await scene.pair(registry=False, cuttable=True).start()
    # Each reaches one side only.
    talkers = [
        scene.talker(f"{name}{number}", node.port, forks=True) for name, node in pair.nodes.items() for number in (1, 2)
    ]
    for _ in range(2):
        await scene.heard(*talkers)
        await parted(scene, pair, talkers)
        await pair.paired()
    await scene.heard(*talkers)
    await pair.reckon(*talkers, placed=False)
    assert any(talker.rewinds for talker in talkers), "one side was taken back"
