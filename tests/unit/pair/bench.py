"""A replica on a bench: it is given the time, and what it wants is kept."""

from typing import Any

from chatproto.pair.configuration import Configuration
from chatproto.pair.replica import Became, Configured, Effect, Propose, Replica, Rules, Store
from chatproto.pair.states import Role

SUSPECT_S = 0.5
TICK_S = 0.125
"""A fraction of two, so that times add up exactly."""

EAST = Configuration(1, "east", ("east",))
FOUNDING = Configuration(0, "east", ("east",))
"""What a founder keeps before it asks for the first one."""
BOTH = Configuration(2, "east", ("east", "west"))
WEST_LEADS = Configuration(3, "west", ("east", "west"))
WEST = Configuration(3, "west", ("west",))


class Bench:
    """A replica, with a clock.

    What the replica calls `method(…, now)` is called here as `method(…)`; the effects are kept.

    Attributes:
        now: seconds.
        effects: all there were, in order.
    """

    def __init__(
        self,
        name: str = "east",
        found: Configuration | None = None,
        end: int = 0,
        required: str = "",
        epoch: int = 0,
        **rules: Any,
    ) -> None:
        rules.setdefault("static", False)
        rules.setdefault("founder", name == "east")
        self.now = 0.0
        self.effects: list[Effect] = []
        self.replica = Replica(Rules(name, suspect_s=SUSPECT_S, **rules))
        self._stored = 0
        self.effects += self.replica.start(found, end, self.now, required=required, epoch=epoch)

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any, **options: Any) -> list[Effect]:
            effects: list[Effect] = getattr(self.replica, method)(*arguments, self.now, **options)
            self.effects += effects or []
            return effects

        return call

    @property
    def role(self) -> Role:
        return self.replica.role

    @property
    def commit(self) -> int:
        return self.replica.commit

    def hand_over(self) -> bool:
        can, effects = self.replica.hand_over(self.now)
        self.effects += effects
        return can

    def write(self, *, index: int) -> None:
        """Append up to an index, and make that durable."""
        self.replica.appended(index)
        self.stored_to(index)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds / TICK_S)):
            self.now += TICK_S
            self.tick()

    def wait_heard(self, seconds: float) -> None:
        """Wait, and hear the other node all the while."""
        for _ in range(int(seconds / TICK_S)):
            self.wait(TICK_S)
            self.peer_heard("west" if self.replica._rules.name == "east" else "east")

    # What it wants

    @property
    def proposals(self) -> list[Propose]:
        return [effect for effect in self.effects if isinstance(effect, Propose)]

    @property
    def proposed(self) -> Configuration:
        return self.proposals[-1].configuration

    @property
    def stores(self) -> list[Store]:
        return [effect for effect in self.effects if isinstance(effect, Store)]

    @property
    def to_store(self) -> list[Configuration]:
        """What is to be stored, and is not yet."""
        return [effect.configuration for effect in self.stores][self._stored :]

    @property
    def configured(self) -> list[Configuration]:
        return [effect.configuration for effect in self.effects if isinstance(effect, Configured)]

    @property
    def became(self) -> list[Became]:
        return [effect for effect in self.effects if isinstance(effect, Became)]

    @property
    def roles(self) -> list[Role]:
        """Return the roles it has had, the first one included."""
        return [Role.BOOT, *[effect.role for effect in self.became]]

    # Scenes

    def store(self) -> None:
        """Have the disk done."""
        while self.to_store:
            configuration = self.to_store[0]
            self._stored += 1
            self.stored(configuration)

    def hold(self, configuration: Configuration) -> None:
        """Have the witness hold it, and the disk done."""
        self.witness_holds(configuration)
        self.store()

    def agree(self) -> None:
        """Have the witness hold what was proposed last, and the disk done."""
        self.hold(self.proposed)

    def followed(self, name: str, match: int = 0, **options: Any) -> None:
        """Have a node follow, with all there is."""
        self.follower_came(name, **options)
        self.follower_has(name, match)
        self.follower_caught_up(name)

    def paired(self, match: int = 0) -> "Bench":
        """Have the other node follow, with all there is, and the disk done."""
        self.witness_up(self.replica.configuration)
        self.followed("west", match)
        self.store()
        return self


def alone(end: int = 0) -> Bench:
    """Return a leader without a follower, that the witness knows."""
    bench = Bench("east", EAST, end)
    bench.witness_up(EAST)
    return bench


def leader(**rules: object) -> Bench:
    """Return a leader of a pair, with a follower that has all: five entries."""
    return Bench("east", BOTH, 5, **rules).paired(5)


def follower(**rules: object) -> Bench:
    """Return a follower that is let follow."""
    bench = Bench("west", BOTH, 5, **rules)
    bench.witness_up(BOTH)
    bench.leader_reached()
    return bench


def handing(**rules: object) -> Bench:
    """Return a leader that is handing over, and whose follower has not everything yet."""
    bench = leader(**rules)
    bench.write(index=6)
    assert bench.hand_over()
    return bench
