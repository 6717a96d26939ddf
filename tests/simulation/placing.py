"""Two-phase commits whose processes may end between any two steps: the pure parts, a log, disks and links in a model.

A step is the smallest thing that can happen: a message arrives, a write or an act becomes durable, an act is replayed,
time passes. Between any two of them a process may crash, with what it was writing lost or kept, or stand still and go
on when another one has taken its place.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from zope.interface import implementer

from chatproto.keyvalue import Change
from chatproto.news.placing import Action, Coordinator, ITable, Ledger, Participant, Place, Remove, Steps
from chatproto.news.placing.coordinator import CoordinatorEffect, Lead, Record, Settled, Superseded, Tell
from chatproto.news.placing.ledger import Act, Decided, Transaction
from chatproto.news.placing.messages import Coordinate, Participate
from chatproto.news.placing.participant import PREFIX, TERM, ParticipantEffect, Say, TurnAway, Write
from chatproto.news.terms import Placement, Terms

STEPS_MAX = 20_000
READERS = b"reader/"

TERMS = Terms(("sport",), paid=True)


class Wrong(AssertionError):
    """Something was not all or nothing."""


def placed(reader: str, version: int = 1, home: str = "") -> Place:
    return Place(Placement(reader, TERMS, "ticket", version, home))


@implementer(ITable)
class Readers:
    """A table of readers; what it holds is what is durable of it."""

    def __init__(self, rows: dict[bytes, bytes], full_for: str = "") -> None:
        self.held = {
            key.removeprefix(READERS).decode(): msgspec.msgpack.decode(value, type=Placement)
            for key, value in rows.items()
            if key.startswith(READERS)
        }
        self.full_for = full_for
        self.did: list[Action] = []
        self.reserved: list[Action] = []

    def refusal(self, action: Action) -> str:
        held = self.held.get(action.reader)
        if isinstance(action, Remove):
            return ""
        if held is not None and held.version > action.placement.version:
            return "out-of-date"
        return "full" if action.reader == self.full_for else ""

    def reserve(self, action: Action) -> None:
        self.reserved.append(action)

    def release(self, action: Action) -> None:
        self.reserved.remove(action)

    def changes(self, action: Action) -> list[Change]:
        key = READERS + action.reader.encode()
        held = self.held.get(action.reader)
        if isinstance(action, Place):
            return [(key, msgspec.msgpack.encode(action.placement))]
        return [] if held is None or held.version > action.version else [(key, None)]

    def done(self, action: Action) -> None:
        self.did.append(action)
        do(self.held, action)


def do(readers: dict[str, Placement], action: Action) -> None:
    held = readers.get(action.reader)
    if isinstance(action, Place):
        readers[action.reader] = action.placement
    elif held is not None and held.version <= action.version:
        del readers[action.reader]


class Node:
    """A delivery node: its disk, and one life after another."""

    def __init__(self, name: str, full_for: str = "") -> None:
        self.name = name
        self.disk: dict[bytes, bytes] = {}
        self.full_for = full_for
        self.alive = False
        self.boot()

    def boot(self) -> None:
        self.alive = True
        self.writing: deque[Write] = deque()
        self.links: list[Link] = []
        self.table = Readers(self.disk, self.full_for)
        rows = sorted((key, value) for key, value in self.disk.items() if key.startswith(PREFIX))
        self.participant = Participant(self.name, self.table, rows)

    def crash(self, keep: bool) -> None:
        for write in list(self.writing)[:1] if keep else ():
            self.put(write)
        self.alive = False
        for link in list(self.links):
            link.end()

    def put(self, write: Write) -> None:
        for key, value in write.changes:
            if value is None:
                self.disk.pop(key, None)
            else:
                self.disk[key] = value

    def write(self) -> None:
        write = self.writing.popleft()
        self.put(write)
        self.perform(self.participant.written(write.number, write.stage))

    def perform(self, effects: list[ParticipantEffect]) -> None:
        for effect in effects:
            match effect:
                case Write():
                    self.writing.append(effect)
                case Say(at, message):
                    for link in self.links:
                        if link.number == at:
                            link.up.append(message)
                case TurnAway(at):
                    for link in list(self.links):
                        if link.number == at:
                            link.end()


class Link:
    """A connection between a coordinator and a node: what is under way, in order, in either direction."""

    def __init__(self, number: int, process: "Process", node: Node) -> None:
        self.number = number
        self.process = process
        self.node = node
        self.down: deque[Any] = deque()
        self.up: deque[Any] = deque()
        process.links[node.name] = self
        node.links.append(self)

    def end(self) -> None:
        """Break: what is under way is lost, and both hear of it."""
        if self in self.node.links:
            self.node.links.remove(self)
            self.node.participant.left(self.number)
        if self.process.links.get(self.node.name) is self:
            del self.process.links[self.node.name]
            self.process.coordinator.went_down(self.node.name)

    def deliver_down(self) -> None:
        message = self.down.popleft()
        if isinstance(message, Coordinate):
            self.node.perform(self.node.participant.entered(self.number, message))
        else:
            self.node.perform(self.node.participant.received(self.number, message))

    def deliver_up(self) -> None:
        message = self.up.popleft()
        coordinator = self.process.coordinator
        if isinstance(message, Participate):
            self.process.perform(coordinator.came_up(self.node.name))
        else:
            self.process.perform(coordinator.received(self.node.name, message))


class Process:
    """A contracting service: replays the log, and coordinates."""

    def __init__(self, world: "World", life: str) -> None:
        self.world = world
        self.life = life
        self.alive = True
        self.ledger = Ledger()
        self.position = 0
        self.outcomes: dict[str, bool] = {}
        self.submitted: deque[Act] = deque()
        self.term = 0
        self.links: dict[str, Link] = {}
        while self.position < len(world.log):
            self.replay(tell=False)
        self.coordinator = Coordinator(self.ledger, life)

    def replay(self, *, tell: bool = True) -> None:
        act = self.world.log[self.position]
        self.position += 1
        transaction = self.ledger.take(act)
        if isinstance(act, Decided) and transaction is not None:
            self.outcomes[transaction.name] = act.committed
        if tell:
            self.perform(self.coordinator.recorded(act, transaction, self.world.now))

    def perform(self, effects: list[CoordinatorEffect]) -> None:
        for effect in effects:
            match effect:
                case Record(act):
                    self.submitted.append(act)
                case Lead(term):
                    self.term = term
                case Tell(node, message):
                    if node in self.links:
                        self.links[node].down.append(message)
                case Settled():
                    self.world.settled(effect)
                case Superseded():
                    self.term = 0
                    for link in list(self.links.values()):
                        link.end()
                    if self is self.world.process:
                        self.perform(self.coordinator.start())

    def crash(self, keep: bool) -> None:
        """End; what it has submitted is lost, or the log has it later, as what its pair carries on."""
        self.alive = False
        if keep:
            self.world.late += self.submitted
        for link in list(self.links.values()):
            link.end()


def check_told(log: list[Act], told: dict[str, Settled], did: dict[str, list[Action]]) -> None:
    """Check that nobody was told, or has done, what is not decided in the log.

    Args:
        log: all of it.
        told: what became of transactions, by name.
        did: what each node has done.

    Raises:
        Wrong: it is not so.
    """
    decided, may = dict[str, bool](), dict[str, list[Action]]()
    for act, transaction in decisions(log):
        decided[transaction.name] = act.committed
        for node, actions in transaction.steps.items() if act.committed else ():
            may.setdefault(node, []).extend(actions)
    for name, settled in told.items():
        if name in decided and settled.committed != decided[name]:
            raise Wrong(f"{name} is told to be {settled}, and decided otherwise")
        if name not in decided and settled.code != "busy":
            raise Wrong(f"{name} is told to be {settled}, and not decided")
    for node, actions_done in did.items():
        for action in actions_done:
            if action not in may.get(node, ()):
                raise Wrong(f"{node} has done {action}, and that is not decided")


def decisions(log: list[Act]) -> Iterator[tuple[Decided, Transaction]]:
    """Return what counts of what is decided in a log."""
    ledger = Ledger()
    for act in log:
        transaction = ledger.take(act)
        if isinstance(act, Decided) and transaction is not None:
            yield act, transaction


def check_done(name: str, log: list[Act], table: Readers, rows: dict[bytes, bytes], participant: Participant) -> None:
    """Check that a node has done all that the log says, and waits for nothing.

    Raises:
        Wrong: it is not so.
    """
    expected: dict[str, Placement] = {}
    for act, transaction in decisions(log):
        for action in transaction.steps.get(name, ()) if act.committed else ():
            do(expected, action)
    if participant.in_doubt:
        raise Wrong(f"{name} waits for an outcome for ever")
    if any(key.startswith(PREFIX) and key != TERM for key in rows):
        raise Wrong(f"{name} has a promise on its disk for ever")
    for held in (table.held, Readers(rows).held):
        if held != expected:
            raise Wrong(f"{name} has {held}, and the log says {expected}")


class World:
    """Some delivery nodes, a log, and the processes that coordinate, one of them at the moment."""

    def __init__(self, wishes: list[tuple[str, Steps]], nodes: dict[str, str], choose: Callable[[int], int]) -> None:
        self.now = 0.0
        self.nodes = {name: Node(name, full_for) for name, full_for in nodes.items()}
        self.log: list[Act] = []
        self.choose = choose
        self.wishes = wishes
        self.wanted = 0
        self.links = 0
        self.told: dict[str, Settled] = {}
        self.asked_of: Process | None = None
        self.stale: list[Process] = []
        self.late: deque[Act] = deque()
        self.lives = 0
        self.take_over()

    # Processes

    def take_over(self) -> None:
        self.lives += 1
        self.process = Process(self, f"life {self.lives}")
        self.process.perform(self.process.coordinator.start())

    def depose(self) -> None:
        """Have another process take over, while this one goes on, as far as it can."""
        self.stale.append(self.process)
        self.take_over()

    def settled(self, settled: Settled) -> None:
        if settled.code != "superseded":
            self.told[settled.name] = settled

    # Steps

    def steps(self) -> list[Callable[[], object]]:
        found: list[Callable[[], object]] = []
        living = [process for process in (self.process, *self.stale) if process.alive]
        for process in living:
            for link in process.links.values():
                found += [link.deliver_down] if link.down else []
                found += [link.deliver_up] if link.up else []
            if process.position < len(self.log) and self.is_quick(process):
                found.append(process.replay)
            if process.submitted:
                found.append(lambda process=process: self.log.append(process.submitted.popleft()))
            if process.term:
                found += [
                    lambda process=process, node=node: self.connect(process, node)
                    for node in self.nodes.values()
                    if node.alive and node.name not in process.links and self.is_quick(process)
                ]
        found += [node.write for node in self.nodes.values() if node.alive and node.writing]
        found += [lambda: self.log.append(self.late.popleft())] if self.late else []
        wish = self.wish()
        if wish is not None and self.process.term and self.asked_of is not self.process:
            found.append(lambda: self.want(*wish))
        return found

    def is_quick(self, process: Process) -> bool:
        # One that is cut off from the log, and turned away, does things once in a while only.
        return process is self.process or self.choose(20) == 0

    def connect(self, process: Process, node: Node) -> None:
        self.links += 1
        Link(self.links, process, node).down.append(Coordinate(process.life.replace(" ", "-"), process.term))

    def wish(self) -> tuple[str, Steps] | None:
        """Return what is wanted next: one thing at a time, again of another process if the one asked has ended."""
        while self.wanted < len(self.wishes) and self.wishes[self.wanted][0] in self.process.outcomes | self.told:
            self.wanted += 1
            self.asked_of = None
        return self.wishes[self.wanted] if self.wanted < len(self.wishes) else None

    def want(self, name: str, steps: Steps) -> None:
        self.asked_of = self.process
        self.process.perform(self.process.coordinator.begin(name, steps))

    def step(self) -> bool:
        """Do one thing, or let time pass; return whether there is anything left to wait for."""
        steps = self.steps()
        if steps:
            steps[self.choose(len(steps))]()
        else:
            wakeups = [process.coordinator.next_wakeup() for process in (self.process, *self.stale) if process.alive]
            times = [at for at in wakeups if at is not None]
            if not times or self.finished():
                return False
            self.now = max(self.now, min(times))
            for process in (self.process, *self.stale):
                if process.alive:
                    process.perform(process.coordinator.due(self.now))
        self.check()
        return True

    def run(self, steps_max: int = STEPS_MAX) -> int:
        """Go on until nothing is left to be done; return how many steps that took."""
        for count in range(steps_max):
            if not self.step():
                return count
        raise Wrong("there is no end to it")

    # What must hold

    def finished(self) -> bool:
        return not (self.wish() or self.process.ledger.open or self.steps())

    def check(self) -> None:
        """Check that nobody has done, or was told, what is not decided in the log."""
        check_told(self.log, self.told, {name: node.table.did for name, node in self.nodes.items()})

    def check_end(self) -> None:
        """Check that everything is decided, and done everywhere or nowhere."""
        if self.wish() is not None:
            raise Wrong(f"nobody was told of {self.wish()}")
        if self.process.ledger.open:
            raise Wrong(f"not over: {list(self.process.ledger.open.values())}")
        for node in self.nodes.values():
            check_done(node.name, self.log, node.table, node.disk, node.participant)


WISHES: list[tuple[str, Steps]] = [
    ("new ada", {"east": (placed("ada"),)}),
    ("new bob", {"east": (placed("bob"),), "west": (placed("bob", home="east"),)}),
    ("move ada", {"east": (Remove("ada", 2),), "west": (placed("ada", 2),)}),
    ("new cyd", {"east": (placed("cyd"),), "west": (placed("cyd"),)}),
    ("ada again", {"west": (placed("ada", 3),)}),
    ("bob home", {"west": (Remove("bob", 1),), "east": (placed("bob", 2),)}),
]
"""Placed at one node, at two, moved between two, refused by the second one, changed, and a guest sent home."""

NODES = {"east": "", "west": "cyd"}


def in_order() -> World:
    """Return a world in which the first thing that can happen does."""
    return World(WISHES, NODES, lambda count: 0)


def crash(world: World, victim: str, keep: bool) -> None:
    """End a process, of which another one takes the place."""
    if victim == "coordinator":
        world.process.crash(keep)
        world.take_over()
    elif victim == "deposed":
        world.depose()
    else:
        world.nodes[victim].crash(keep)
        world.nodes[victim].boot()


class Storm:
    """A seeded storm over a world."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"{seed} placing")
        dice = self.dice
        readers, nodes = [f"r{number}" for number in range(4)], ["east", "west", "south"]
        wishes: list[tuple[str, Steps]] = []
        for number in range(dice.randint(3, 10)):
            steps: Steps = {}
            for node in dice.sample(nodes, dice.randint(1, 3)):
                reader = dice.choice(readers)
                version = number + 1
                action: Action = placed(reader, version) if dice.random() < 0.7 else Remove(reader, version)
                steps[node] = (action,)
            wishes.append((f"wish {number}", steps))
        self.world = World(wishes, dict.fromkeys(nodes, dice.choice(("", "", *readers))), dice.randrange)

    def run(self) -> None:
        """Let it rain, then see that everything ends well."""
        dice, world = self.dice, self.world
        for _ in range(dice.randint(20, 400)):
            world.step()
            luck = dice.random()
            if luck < 0.02:
                crash(world, dice.choice(list(world.nodes)), dice.random() < 0.5)
            elif luck < 0.03:
                crash(world, "coordinator", dice.random() < 0.5)
            elif luck < 0.04:
                world.depose()
            elif luck < 0.05 and world.stale:
                world.stale.pop(dice.randrange(len(world.stale))).crash(dice.random() < 0.5)
            elif luck < 0.09:
                links = [link for process in (world.process, *world.stale) for link in process.links.values()]
                if links:
                    dice.choice(links).end()
            elif luck < 0.13:
                # A node, or a coordinator, that is slow: others' time passes.
                world.now += dice.uniform(0.5, 12)
                world.process.perform(world.process.coordinator.due(world.now))
        while world.stale:
            world.stale.pop().crash(False)
        world.run()
        world.check_end()
