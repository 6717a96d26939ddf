"""The processes of a simulated deployment, and what is looked at in each after every event."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred

from chatproto.chat.server import ChatServer
from chatproto.log.entry import Run
from chatproto.pair.configuration import Configuration, decode_configuration
from chatproto.pair.log import PairLog
from chatproto.pair.messages import decode_entry
from chatproto.pair.replica import Effect
from chatproto.registry.messages import decode_state
from chatproto.registry.shelf import split_state
from chatproto.services import NodeSettings, build_node
from chatproto.services.registry import RegistrySettings, build_registry
from chatproto.testing.checkers import WITNESS, Acknowledgements, Agreement, Chronicle, Forks, Logs, Replay
from chatproto.testing.host import SimHost
from chatproto.world import World


class SimProcess:
    """A service tree on a host of its own: built and started at every boot, gone with a crash or `World.fatal`.

    Attributes:
        host: the machine; crash, pause and boot it.
        tree: the service tree of the present life, or of the last one.
    """

    def __init__(self, host: SimHost, build: Callable[[World], Service]) -> None:
        """Boot it."""
        self.host = host
        self.tree: Any = None
        self._build = build
        host.runs(self._start)

    def _start(self, host: SimHost) -> None:
        self.tree = self._build(replace(host.world(), stop=self.stop))
        self._built()
        self.tree.startService()

    def _built(self) -> None:
        """Look at a service tree before it starts."""

    def stop(self) -> "Deferred[Any]":
        """End it as SIGTERM ends a daemon: the service tree stops, then the process is gone. Fires then, or never."""
        life = self.host.reactor
        stopping: Deferred[Any] = maybeDeferred(self.tree.stopService)

        def stopped(result: object) -> object:
            if life.alive:
                self.host.crash("close")
            return result

        return stopping.addCallback(stopped)


class SimNode(SimProcess):
    """A chat node, one of one: what is durable on its disk is committed.

    Attributes:
        settings: what it was built with.
    """

    def __init__(self, host: SimHost, settings: NodeSettings, chronicle: Chronicle) -> None:
        """Boot a node whose committed entries go into a chronicle."""
        self.settings = settings
        self._chronicle = chronicle
        self._replay = Replay(chronicle)
        self._checked: tuple[int, int] | None = None
        super().__init__(host, lambda world: build_node(world, settings))

    @property
    def server(self) -> ChatServer:
        """The chat of the present life."""
        server: ChatServer = self.tree.server
        return server

    @property
    def last_words(self) -> list[str]:
        """Why its process had to end, each time that it had to."""
        return self.host.last_words

    def durable(self) -> list[Run]:
        """Return what its disk holds, oldest first."""
        return list(self.host.disk.newest_first(self.settings.data))[::-1]

    def take(self) -> None:
        """Have the chronicle take what became durable."""
        fresh = []
        for run in self.host.disk.newest_first(self.settings.data):
            if run.index <= self._chronicle.position:
                break
            fresh.append(run)
        for run in reversed(fresh):
            self._chronicle.add(run)

    def check(self) -> None:
        """Compare its hall, if it serves, with what replaying the chronicle gives.

        Raises:
            Violation: they differ.
        """
        if not self.host.alive:
            return
        place = (self.host.lives, self.server.log.position)
        if place != self._checked:
            self._replay.check(self.server.hall, self.server.log.position)
            self._checked = place

    def check_archive(self, acknowledgements: Acknowledgements) -> None:
        """Compare its disk, as a whole, with the chronicle and with what was acknowledged.

        Raises:
            Violation: they contradict each other.
        """
        durable = self.durable()
        for run in durable:
            self._chronicle.add(run)
        hall = self._chronicle.hall
        acknowledgements.check_archive(durable, hall.kept())

    def check_from_scratch(self) -> None:
        """Replay everything once more, and compare its hall with that.

        Raises:
            Violation: they differ.
        """
        if self.host.alive:
            Replay(self._chronicle).check(self.server.hall, self.server.log.position)


class SimPairNode(SimNode):
    """A chat node, one of two.

    Attributes:
        name: its name.
    """

    def __init__(
        self,
        host: SimHost,
        settings: NodeSettings,
        chronicle: Chronicle | Forks,
        logs: Logs,
        agreement: Agreement,
        watching: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Boot a node, whose log and whose word on what is committed are checked.

        Args:
            host: where it runs.
            settings: with those of its pair.
            chronicle: what is committed, or was on either side of a partition.
            logs: of both nodes.
            agreement: of both nodes.
            watching: keeps what is found wrong while the node's own code runs.
        """
        self._watching = watching
        self.name = settings.chat.name
        self._logs = logs
        self._copy = logs.of(self.name)
        self._agreement = agreement
        self._disk_seen = -1
        self._seen: tuple[object, ...] = ()
        self._seen_checked: tuple[object, ...] = ()
        self._cuts = 0
        self._history = chronicle
        super().__init__(host, settings, Chronicle())
        self._replay = Replay(self._copy)

    def _built(self) -> None:
        # One event may bring it from one configuration to the next, and commit something in each.
        perform = self.pair.perform

        def watched(effects: list[Effect]) -> None:
            perform(effects)
            with self._watching():
                self.look_at_disk()
                self.take()

        self.pair.perform = watched  # type: ignore[method-assign]

    @property
    def pair(self) -> PairLog:
        """The log of the present life."""
        pair: PairLog = self.tree.pair
        return pair

    @property
    def configuration(self) -> Configuration | None:
        """The configuration on its disk."""
        kept = self.host.disk.configuration(self.settings.data)
        return None if kept is None else decode_configuration(kept)

    @property
    def has_orphans(self) -> bool:
        """Whether its disk keeps what it has parted from and nobody has committed since."""
        return bool(self.host.disk.orphans(self.settings.data))

    def wipe(self) -> None:
        """Replace its disk by an empty one; the process must be dead."""
        self.host.disk.wipe(self.settings.data)
        self._agreement.wiped(self.name)
        self.look_at_disk()

    def look_at_disk(self) -> None:
        """Take what became durable, or was cut away.

        Raises:
            Violation: it must not be so.
        """
        disk = self.host.disk
        if disk.changes == self._disk_seen:
            return
        self._disk_seen = disk.changes
        directory = self.settings.data
        snapshot, end, installing = disk.extent(directory)
        forgotten = not end and self.configuration is None
        if end < self._copy.position:
            self._agreement.cut(self.name, end, installing=installing or forgotten)
        if not installing:
            fresh: list[Run] = []
            for run in disk.newest_first(directory):
                if run.index <= self._copy.position:
                    break
                fresh.append(run)
            fresh.reverse()
            if snapshot is not None and snapshot.index > self._copy.position:
                # Another node's log was taken in.
                held = [run for run in self.durable() if run.index <= snapshot.index]
                self._logs.install(self.name, snapshot.index, snapshot.epoch, held)
                fresh = [run for run in fresh if run.index > snapshot.index]
            self._logs.grow(self.name, fresh)
        self._agreement.configured(self.name, self.configuration)
        kept = {id: decode_entry(body).retriable for id, body in disk.orphans(directory)}
        self._agreement.orphans(self.name, kept)

    def take(self) -> None:
        """Take what it says is committed.

        Raises:
            Violation: it must not be.
        """
        if not self.host.alive:
            return
        pair = self.pair
        replica = pair.replica
        commit, position, durable = replica.commit, pair.position, self._copy.position
        unfinished = replica.busy or replica.incomplete
        seen = (commit, position, durable, replica.role, replica.configuration, self.host.lives, unfinished)
        if seen == self._seen or unfinished:
            # Between one log and another it stands for neither.
            return
        self._seen = seen
        # What a follower has taken in of the other node's log counts once it is on the disk.
        index = min(commit, position) if replica.leads else min(commit, position, durable)
        fresh = self._agreement.committed(self.name, replica.configuration, index, leads=replica.leads)
        if isinstance(self._history, Forks):
            self._history.add(fresh)

    def check(self) -> None:
        """Compare its hall with what replaying its log gives.

        Raises:
            Violation: they differ.
        """
        if self._seen is self._seen_checked or not self.host.alive:
            return
        self._seen_checked = self._seen
        position = self.pair.position
        place = (self.host.lives, position)
        if place == self._checked or position > self._copy.position:
            return
        self._checked = place
        if self._copy.cuts != self._cuts or position < self._replay.position:
            self._cuts = self._copy.cuts
            self._replay = Replay(self._copy)
        self._replay.check(self.server.hall, position)
        if isinstance(self._history, Forks):
            self._history.kept(self.server.hall)

    def check_archive(self, acknowledgements: Acknowledgements) -> None:
        """See `SimNode.check_archive`; a node that has not everything that is committed is passed over."""
        history = self._history
        if isinstance(history, Chronicle) and self._agreement.holds_everything(self.name):
            durable = [run for run in self.durable() if run.index <= history.position]
            acknowledgements.check_archive(durable, history.hall.kept())

    def check_from_scratch(self) -> None:
        """See `SimNode.check_from_scratch`."""
        replica = self.pair.replica
        unfinished = replica.busy or replica.incomplete
        if self.host.alive and not unfinished and self.pair.position <= self._copy.position:
            Replay(self._copy).check(self.server.hall, self.pair.position)


class SimRegistry(SimProcess):
    """A registry, which is the witness of pairs."""

    def __init__(self, host: SimHost, settings: RegistrySettings, service: str, agreement: Agreement) -> None:
        """Boot one, whose word on a service is checked."""
        self.settings = settings
        self._service = service
        self._agreement = agreement
        self._disk_seen = -1
        super().__init__(host, lambda world: build_registry(world, settings))

    @property
    def held(self) -> Configuration | None:
        """The configuration of the service that is on its disk."""
        state = self.host.disk.configuration(self.settings.data)
        return None if state is None else decode_state(split_state(state)[0]).get(self._service)

    def look_at_disk(self) -> None:
        """Take what became durable.

        Raises:
            Violation: it must not be so.
        """
        if self.host.disk.changes != self._disk_seen:
            self._disk_seen = self.host.disk.changes
            self._agreement.configured(WITNESS, self.held)
