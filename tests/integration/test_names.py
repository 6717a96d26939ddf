"""The registry's names, with real processes: nodes found, asked and followed by name, and a registry that is killed."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint

from chatproto.registry import Registration, RegistryClient
from tests.integration.nodes import Node
from tests.integration.pairs import HOST, Pair, Scene, moment, reactor, run_chatproto

TOKEN = b"a token of the tests"
SETTLE_S_MAX = 20.0


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


class Watcher:
    """`NamesHeard` that keeps what there is, and what went away."""

    def __init__(self) -> None:
        self.names: dict[str, Registration] = {}
        self.gone: list[str] = []

    def names_listed(self, registrations: list[Registration]) -> None:
        self.names = {found.name: found for found in registrations}

    def name_registered(self, registration: Registration) -> None:
        self.names[registration.name] = registration

    def name_gone(self, registration: Registration) -> None:
        del self.names[registration.name]
        self.gone.append(registration.name)

    def roles(self) -> dict[str, str]:
        return {name: f"{found.role} {found.attributes['redundancy']}" for name, found in self.names.items()}


def registry_port(pair: Pair) -> int:
    assert pair.registry is not None
    (listen,) = (option for option in pair.registry.options if option.startswith("--registry-listen="))
    return int(listen.split(":")[1])


@asynccontextmanager
async def visitor(pair: Pair) -> AsyncIterator[RegistryClient]:
    client = RegistryClient(TCP4ClientEndpoint(reactor, HOST, registry_port(pair)), reactor, who="tests")
    client.startService()
    try:
        yield client
    finally:
        await client.stopService()


@pytest_twisted.ensureDeferred
async def test_a_registry_killed_under_load_knows_the_same_when_it_is_back(scene: Scene) -> None:
    pair = await scene.pair().start()
    assert pair.registry is not None
    talkers = scene.crowd(pair)
    async with visitor(pair) as client:
        watcher = Watcher()
        client.watch(watcher, "chat")
        both = {"primary": "leader paired", "secondary": "follower paired"}
        await scene.until(lambda: watcher.roles() == both, "both are registered")
        # Nobody renews this one after the restart: it is there because it is on the disk.
        await client.register(Registration("other", "left-alone", lease_s=30.0), TOKEN)
        before = await client.list()
        assert [found.name for found in before] == ["primary", "secondary", "left-alone"]
        epoch = watcher.names["primary"].epoch
    for _ in range(3):
        await scene.heard(*talkers)
        pair.registry.kill()
        await scene.heard(*talkers)
        await pair.restart(pair.registry)
        async with visitor(pair) as client:
            assert await client.list() == before
    await scene.heard(*talkers)
    assert await pair.paired() is pair.primary
    said = await pair.stands(pair.primary, witness="reached")
    assert said["epoch"] == epoch, "nobody had to take over"
    await pair.reckon(*talkers)
    for talker in talkers:
        assert (talker.losses, talker.redirects) == (0, []), "no client has noticed"


@pytest_twisted.ensureDeferred
async def test_a_watcher_sees_a_failover_a_return_and_a_polite_end(scene: Scene) -> None:
    pair = await scene.pair().start()
    async with visitor(pair) as client:
        watcher = Watcher()
        client.watch(watcher, "chat")

        async def seen(**roles: str) -> None:
            await scene.until(lambda: watcher.roles() == roles, f"{roles}", SETTLE_S_MAX)

        await seen(primary="leader paired", secondary="follower paired")
        assert watcher.names["primary"].address == f"{HOST}:{pair.primary.port}"
        pair.primary.kill()
        await seen(primary="leader paired", secondary="leader alone")
        assert (await client.resolve("chat")).name == "secondary", "the higher epoch leads"
        await pair.restart(pair.primary)
        await seen(primary="follower paired", secondary="leader paired")
        pair.primary.kill()
        await seen(secondary="leader alone")
        await pair.restart(pair.primary)
        await seen(primary="follower paired", secondary="leader paired")
        watcher.gone.clear()
        begun = reactor.seconds()
        await pair.terminate(pair.primary)
        await seen(secondary="leader alone")
        assert watcher.gone == ["primary"]
        print(f"gone {reactor.seconds() - begun:.2f} s after SIGTERM")


@pytest_twisted.ensureDeferred
async def test_the_command_line_finds_the_servers_by_name(scene: Scene) -> None:
    pair = await scene.pair("--service=tea").start()
    where = f"{HOST}:{registry_port(pair)}"

    async def status() -> tuple[int, dict[str, object]]:
        done = await run_chatproto("status", f"--registry={where}", "--service=tea", "--json", "--check")
        return done.returncode, json.loads(done.stdout or "{}")

    end = reactor.seconds() + SETTLE_S_MAX
    while (found := await status())[0] and reactor.seconds() < end:
        await moment(0.1)
    returned, said = found
    servers = said["servers"]
    assert isinstance(servers, list)
    assert (returned, said["can_lose_one"], len(servers)) == (0, True, 2)
    assert {one["address"] for one in servers} == {f"{HOST}:{port}" for port in pair.ports}
    pair.primary.kill()
    await pair.stands(pair.secondary, role="leader", serving=True)
    done = await run_chatproto("status", f"--registry={where}", "--service=tea")
    assert done.returncode == 0
    assert f"{HOST}:{pair.primary.port}  - not-there" in done.stdout
    assert "secondary is alone" in done.stdout
    # The leader that is listed first may be the dead one: the other is found all the same.
    chat = await run_chatproto("chat", "--plain", f"--registry={where}", "--service=tea", "--name=adel")
    assert (chat.returncode, chat.stderr) == (0, "")
    assert "state online secondary alone -" in chat.stdout


@pytest_twisted.ensureDeferred
async def test_mistakes_on_the_command_line(scene: Scene) -> None:
    pair = await scene.pair().start()
    where = f"{HOST}:{registry_port(pair)}"
    done = await run_chatproto("status", f"--registry={where}", "--service=nobodys")
    assert (done.returncode, done.stderr) == (1, "chatproto: no server of nobodys is registered\n")
    assert pair.registry is not None
    pair.registry.kill()
    done = await run_chatproto("status", f"--registry={where}", "--timeout=0.5")
    assert done.returncode == 1
    assert done.stderr.startswith("chatproto: the registry has not answered within 0.5 s: Connection was refused")
    assert done.stderr.count("\n") == 1
    done = await run_chatproto("status", "--registry=nonsense:x:y")
    assert done.returncode == 2
