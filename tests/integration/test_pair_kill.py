"""`kill -9` of either node, of both, of the registry, under load: what was acknowledged is where it was said to be."""

from collections.abc import Callable, Iterator

import pytest
import pytest_twisted

from tests.integration.nodes import Node
from tests.integration.pairs import Scene, moment, p99_ms, reactor, status

KILLS = 4


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


@pytest_twisted.ensureDeferred
async def test_the_leader_is_killed_again_and_again(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair)
    leader, epoch = pair.primary, 0
    for _ in range(KILLS):
        assert await pair.paired() is leader
        await scene.heard(*talkers)
        leader.kill()
        survivor = pair.other(leader)
        said = await pair.stands(survivor, role="leader", redundancy="alone", serving=True)
        assert said["epoch"] > epoch
        epoch = said["epoch"]
        await scene.heard(*talkers)
        await pair.restart(leader)
        leader = survivor
    assert await pair.paired() is leader
    await scene.heard(*talkers)
    room = await pair.reckon(*talkers)
    assert len({said["epoch"] for said in room}) > KILLS
    for talker in talkers:
        assert talker.durable.keys() == {1, 2}
        assert set(talker.welcomes) == {"primary", "secondary"}, "it was with either"
        assert talker.left == [], "and nobody was said to leave"
        assert talker.losses >= KILLS // 2


@pytest_twisted.ensureDeferred
async def test_the_follower_is_killed_again_and_again(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair)
    for _ in range(KILLS // 2):
        await scene.heard(*talkers)
        pair.secondary.kill()
        await pair.stands(pair.primary, role="leader", redundancy="alone", serving=True)
        await scene.heard(*talkers)
        await pair.restart(pair.secondary)
        assert await pair.paired() is pair.primary
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    settled = [talker for talker in talkers if talker.welcomes == ["primary"]]
    assert len(settled) == 2, "the leader's clients noticed nothing"
    assert not any(talker.left for talker in talkers)


@pytest_twisted.ensureDeferred
async def test_both_are_killed_at_once(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    for node in pair.nodes.values():
        node.kill()
    await pair.restart(pair.primary, pair.secondary)
    await pair.paired()
    await scene.heard(*talkers)
    # The second time, one comes back alone: it was a member, so it holds everything, and may go on without the other.
    leader = await pair.paired()
    follower = pair.other(leader)
    for node in pair.nodes.values():
        node.kill()
    await pair.restart(follower)
    await pair.stands(follower, role="leader", redundancy="alone", serving=True)
    await scene.heard(*talkers)
    await pair.restart(leader)
    assert await pair.paired() is follower
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    assert not any(talker.left for talker in talkers)


@pytest_twisted.ensureDeferred
async def test_who_may_have_missed_something_waits_for_who_has_it(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    pair.secondary.kill()
    await pair.stands(pair.primary, redundancy="alone")
    await scene.heard(*talkers)
    pair.primary.kill()
    acknowledged = sum(len(talker.acknowledged) for talker in talkers)
    await pair.restart(pair.secondary)
    await moment(1.5)
    said = await status(pair.secondary.port)
    assert said is not None
    assert not said["serving"], "it lacks what was acknowledged without it"
    assert sum(len(talker.acknowledged) for talker in talkers) == acknowledged
    await pair.restart(pair.primary)
    assert await pair.paired() is pair.primary
    await scene.heard(*talkers)
    await pair.reckon(*talkers)


@pytest_twisted.ensureDeferred
async def test_without_the_registry_nobody_takes_over_until_it_is_back(scene: Scene) -> None:
    pair = await scene.pair().start()
    assert pair.registry is not None
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    pair.registry.kill()
    await moment(1.5)
    await pair.paired()
    await scene.heard(*talkers)
    assert [talker.losses for talker in talkers] == [0, 0, 0, 0], "two nodes that have each other need no witness"
    pair.primary.kill()
    await pair.stands(pair.secondary, redundancy="isolated", serving=False)
    acknowledged = sum(len(talker.acknowledged) for talker in talkers)
    await moment(1.5)
    await pair.stands(pair.secondary, redundancy="isolated", serving=False)
    assert sum(len(talker.acknowledged) for talker in talkers) == acknowledged, "nobody knows that it may"
    await pair.restart(pair.registry)
    await pair.stands(pair.secondary, role="leader", redundancy="alone", serving=True)
    await scene.heard(*talkers)
    await pair.restart(pair.primary)
    await pair.paired()
    await pair.reckon(*talkers)
    assert not any(talker.left for talker in talkers)


LOAD = {"per_second": 500, "window": 2000}
SPAN_S = 1.5
SNAPSHOTS = {"chatproto.pair.journal.SNAPSHOT_ENTRIES": 3000}


async def latency_while_it_comes_back(scene: Scene, *, wiped: bool) -> None:
    # Snapshots come often, so that who has nothing is sent one.
    pair = await scene.pair(constants=SNAPSHOTS).start()
    talkers = [scene.talker(f"talker{number}", pair.primary.port, **LOAD) for number in range(1, 5)]
    await scene.heard(*talkers, count=50)
    begun = reactor.seconds()
    await moment(SPAN_S)
    before_ms = p99_ms(talkers, begun, reactor.seconds())
    pair.secondary.kill()
    if wiped:
        for path in pair.secondary.data.iterdir():
            path.unlink()
        pair.secondary.data.rmdir()
    await pair.stands(pair.primary, redundancy="alone")
    await scene.heard(*talkers, count=250)
    back = reactor.seconds()
    await pair.restart(pair.secondary)
    assert await pair.paired() is pair.primary
    paired = reactor.seconds()
    await moment(max(0.0, SPAN_S / 2 - (paired - back)))
    during_ms = p99_ms(talkers, back, reactor.seconds())
    rate = sum(back <= at < paired for talker in talkers for at, _ in talker.latencies) / (paired - back)
    print(
        f"p99 {before_ms:.1f} ms before, {during_ms:.1f} ms while it came back; "
        f"paired {paired - back:.2f} s after its start, at {rate:.0f} messages/s"
    )
    assert during_ms < max(100, 5 * before_ms)
    room = await pair.reckon(*talkers)
    assert len(room) > 3000
    assert [talker.losses for talker in talkers] == [0, 0, 0, 0]
    assert not wiped or "taking in the leader's log" in pair.secondary.log()


@pytest_twisted.ensureDeferred
async def test_a_killed_node_catches_up_under_load(scene: Scene) -> None:
    await latency_while_it_comes_back(scene, wiped=False)


@pytest_twisted.ensureDeferred
async def test_a_wiped_node_learns_everything_under_load(scene: Scene) -> None:
    await latency_while_it_comes_back(scene, wiped=True)
