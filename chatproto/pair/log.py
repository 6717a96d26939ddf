"""The two-node engine: `ILog` over this node's journal and links to other nodes.

`Replica` decides; this performs. `Journal` is the log as this node has it; `Leading` and `Following` are the two sides
of a link, of which a node is on one at a time. `Neighbours` keeps the connections.
There are more than two nodes while one is to take another's place, which is `Moving`.
"""

import random
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from chatproto.gate import Gate, Limits
from chatproto.link import Link, Turn
from chatproto.log.entry import Entry, Run, Slice
from chatproto.log.gathering import Gathering
from chatproto.log.interface import ILog, IStore, Peer, Replayed
from chatproto.pair import messages as wire
from chatproto.pair.configuration import Configuration, keep
from chatproto.pair.following import Following
from chatproto.pair.journal import Journal
from chatproto.pair.leading import Leading
from chatproto.pair.link import LIMITS, PeerLink, PeerLinkFactory
from chatproto.pair.messages import PRIMARY, STANDBY
from chatproto.pair.moving import Moving
from chatproto.pair.neighbours import PEER, Neighbours
from chatproto.pair.replica import ASK_AGAIN_S, Became, Configured, Effect, Propose, Replica, Rules, Store
from chatproto.pair.states import NUMBERING, SERVING, Role
from chatproto.pair.witness import AskedWitness
from chatproto.tally import Tally
from chatproto.trust.interface import BELIEVING, Trust

LOOKS_IN_A_HEARTBEAT = 3
WAIT_TOLD_AFTER_S = 3.0
"""A node that waits for the other one to learn what it misses says so after a while."""

log = Logger()


class PairSettings(msgspec.Struct, frozen=True):
    """What can be set of a node in a pair.

    Attributes:
        name: the node's name.
        service: the name of the deployment.
        role: `primary`, `secondary` or `standby`.
        advertise: `HOST:PORT` where other nodes reach its peer link.
        heartbeat_s: between beats on every link.
        suspect_s: silence after which the other side of a link is given up.
        prefer_primary: see `Rules`.
        allow_data_loss: see `Rules`.
    """

    name: str
    service: str = "chat"
    role: str = PRIMARY
    advertise: str = ""
    heartbeat_s: float = 0.15
    suspect_s: float = 0.6
    prefer_primary: bool = False
    allow_data_loss: bool = False


@implementer(ILog)
class PairLog:
    """`ILog` that two nodes agree on.

    Attributes:
        factory: makes the links that the other node dials; to be listened with.
        replica: the rules, for whoever wants to look.
        journal: the log as this node has it, likewise.
        moving: this node's part in migrations.
        links: the links that are greeted, in the order they came.
    """

    def __init__(
        self,
        settings: PairSettings,
        open_store: Callable[[], IStore],
        turn: Turn,
        clock: IReactorTime,
        dice: random.Random,
        peer: IStreamClientEndpoint | None,
        witness: AskedWitness | None,
        fatal: Callable[[str], None],
        reach: Callable[[str], IStreamClientEndpoint],
        tally: Tally,
        limits: Limits = LIMITS,
        trust: Trust = BELIEVING,
    ) -> None:
        """Make a node's log; nothing is opened or dialled yet.

        Args:
            settings: what can be set.
            open_store: opens this node's store, when the log is opened.
            turn: of the reactor that all calls come from.
            clock: for beats and looks.
            dice: spreads the tries to connect.
            peer: where the other node is dialled; None for a node that is not one of a pair.
            witness: who holds the configuration; None for a pair without one.
            fatal: called with the reason when the disk cannot be read: the process has to end.
            reach: makes the endpoint of a `HOST:PORT`.
            tally: counts the links that are dropped.
            limits: of the links that others dial.
            trust: how links know who is at their other end.
        """
        self.settings = settings
        self._gates: dict[bool, Gate[Link]] = {True: Gate("peer", tally), False: Gate("peer", tally, lambda: limits)}
        self._trust = trust
        self._paired = peer is not None
        self.factory = PeerLinkFactory(self._make_link, self._gates[False])
        rules = Rules(
            settings.name,
            witness is None,
            settings.role == PRIMARY,
            settings.suspect_s,
            prefer_primary=settings.prefer_primary,
            allow_data_loss=settings.allow_data_loss,
            standby=settings.role == STANDBY,
        )
        self.replica = Replica(rules)
        self.journal = Journal(self.replica, self._durable)
        self._leading = Leading(self, settings.name, self.replica, self.journal, turn, fatal)
        self._following = Following(self, self.replica, self.journal, turn, fatal)
        self._open_store = open_store
        self._turn = turn
        self._clock = clock
        self._witness = witness
        self._gathering = Gathering(turn, self._gathered)
        self._neighbours = Neighbours(peer, reach, self._make_link, self.unreached, clock, dice, settings.suspect_s)
        self.moving = Moving(
            self,
            settings.name,
            settings.advertise,
            self._paired,
            witness is not None,
            self.replica,
            self.journal,
            self._leading,
            self._following,
            self._neighbours,
        )
        self.links: dict[PeerLink, None] = {}
        self._snapshot_due = False
        self._looking: IDelayedCall | None = None
        self._closed = False
        self._told: tuple[object, ...] = ()
        self._denial = ""
        self._complained = self._waiting_told = False
        self._learner_since = 0.0
        self._asked_witness: Configuration | None = None
        self._third = ""
        self._unreached: dict[str, str] = {}

    def _make_link(self, dialled: bool) -> PeerLink:
        settings = self.settings
        beats = settings.heartbeat_s, settings.suspect_s
        return PeerLink(self, dialled, self._turn, self._clock, *beats, self._gates[dialled], self._trust)

    # `ILog`: what is so

    @property
    def leader(self) -> str:
        """Who leads, as far as this node knows; empty where it knows of nobody."""
        return self.replica.configuration.leader if self.replica.configuration is not None else ""

    @property
    def epoch(self) -> int:
        """See `ILog.epoch`."""
        return self.replica.epoch

    @property
    def role(self) -> str:
        """See `ILog.role`."""
        if self.replica.role is Role.STANDBY:
            return "standby"
        return "leader" if self.replica.leads else "follower"

    @property
    def redundancy(self) -> str:
        """See `ILog.redundancy`."""
        if self.replica.role is Role.LEADER_SOLO and not self.moving.partner:
            return "single"
        if self.moving.changes_leaders or (self.replica.role is Role.LEARNER and self.moving.leaves):
            return "paired"
        return _REDUNDANCY[self.replica.role]

    @property
    def serving(self) -> bool:
        """See `ILog.serving`."""
        replica = self.replica
        serves = replica.role in SERVING or self.moving.changes_leaders
        return serves and not replica.busy and replica.commit >= self.journal.floor

    @property
    def certain(self) -> bool:
        """Whether all that was applied here is known to be committed, and nothing is being taken in or parted from."""
        replica = self.replica
        return replica.commit >= self.journal.floor and not replica.busy and not replica.incomplete

    @property
    def durable(self) -> int:
        """See `ILog.durable`."""
        found = self.replica.configuration
        return 1 if found is None else len(found.members)

    @property
    def witness(self) -> bool | None:
        """See `ILog.witness`."""
        return None if self._witness is None else self._witness.up

    @property
    def waits_for(self) -> str:
        """See `ILog.waits_for`."""
        return self.leader if self.replica.role is Role.LEARNER else ""

    @property
    def position(self) -> int:
        """See `ILog.position`."""
        return self.journal.tail.applied

    @property
    def peers(self) -> list[Peer]:
        """See `ILog.peers`."""
        replica, leader = self.replica, self.leader
        found = []
        for name in dict.fromkeys(link.name for link in self.links):
            follower = replica.followers.get(name) if replica.leads else None
            lag = max(0, replica.end - (follower.match if follower is not None else 0)) if replica.leads else 0
            found.append(Peer(name, "leader" if name == leader else "follower", lag))
        return found

    # `ILog`: life

    def open(self, replayed: Replayed) -> None:
        """See `ILog.open`."""
        self._replayed = replayed
        kept = self.journal.open(self._open_store(), replayed)
        tail = self.journal.tail
        effects = self.replica.start(
            kept.configuration if kept is not None else None,
            tail.end,
            self.now(),
            complete=kept is not None and kept.complete,
            required=kept.required if kept is not None else "",
            epoch=tail.epoch,
        )
        tail.numbering.epoch = self.epoch
        self.perform(effects)
        self._look()
        if self._witness is not None:
            self._witness.open(self, self.replica.configuration, self.settings.role == PRIMARY)
        self.dial()

    def close(self) -> "Deferred[None]":
        """See `ILog.close`."""
        self._gathering.flush()
        self._closed = True
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        self._neighbours.stop()
        if self._witness is not None:
            self._witness.close()
        for link in list(self.links):
            link.close()
        return self.journal.close()

    def now(self) -> float:
        """See `leading.Node.now`."""
        return self._clock.seconds()

    def _look_once(self) -> None:
        if not self._closed:
            self.perform(self.replica.tick(self.now()))

    def _look(self) -> None:
        self._looking = self._clock.callLater(self.settings.heartbeat_s / LOOKS_IN_A_HEARTBEAT, self._look)
        leader = self._following.leader
        if leader is not None and leader.held:
            # We do not read, so it is no wonder that we do not hear.
            self.replica.peer_heard(leader.name, self.now())
        self._look_once()
        self.moving.look()
        self._tell_operator()

    def _tell_operator(self) -> None:
        """Say what only an operator can help with, once."""
        if self.waits_for and not self.replica.reached:
            if self.now() - self._learner_since >= WAIT_TOLD_AFTER_S and not self._waiting_told:
                self._waiting_told = True
                log.warn(
                    "waiting for {leader}, which may hold messages that this node misses; if it is lost for good, "
                    "start this node with --allow-data-loss",
                    leader=self.waits_for,
                )
        else:
            self._learner_since = self.now()
            self._waiting_told = False
        if self.replica.dispossessed and not self._complained:
            self._complained = True
            log.critical(
                "this data directory has no part in the pair that there is: its disk was replaced, or it holds a log "
                "of its own; it is left out until the other node has gone on without it, or it is emptied; if all "
                "that those held is lost for good, see --allow-data-loss"
            )

    # Connections

    def know(self, addresses: dict[str, str]) -> None:
        """Hear where the peer links of other nodes are, by name: `HOST:PORT`."""
        self._neighbours.addresses.update(addresses)
        self.dial()

    def dial(self) -> None:
        """See `moving.Node.dial`."""
        if self._closed:
            return
        found = self.replica.configuration
        names = {self.moving.invites, self.moving.invited_by}
        if found is not None:
            names |= {found.leader, *found.members}
        names -= {"", self.settings.name}
        neighbours = self._neighbours
        neighbours.want(names, anybody=not names and self.replica.role is not Role.STANDBY)
        for link in [link for link in self.links if link.dialled and link.address not in neighbours.wanted]:
            link.close()

    def wants(self, link: PeerLink) -> bool:
        """See `leading.Node.wants`."""
        return self.moving.wants(link)

    def hand_over(self) -> bool:
        """Begin to hand leadership to the follower; return whether that can be. Nothing is refused meanwhile."""
        begun, effects = self.replica.hand_over(self.now())
        self.perform(effects)
        return begun

    # `ILog`: submitting

    def submit(self, entry: Entry) -> None:
        """See `ILog.submit`."""
        if entry.retriable and self.journal.known(entry):
            return
        if self._may_number():
            self._gathering.add(entry)
        else:
            # At once: the leader's log may have its id already, and bring it before the turn ends.
            self.journal.submissions.wait([entry])
            self._following.submitted(entry)

    def _gathered(self, entries: list[Entry]) -> None:
        if self._may_number():
            self.journal.number(entries)
        else:
            self.journal.submissions.wait(entries)

    def _may_number(self) -> bool:
        return self.replica.role in NUMBERING and not self.replica.busy

    def number_pending(self) -> None:
        """See `leading.Node.number_pending`."""
        if self._may_number() and (waiting := self.journal.submissions.take()):
            self.journal.number(waiting)

    def follow(self) -> None:
        """See `leading.Node.follow`."""
        self.dial()
        leader, following = self.leader_link(), self._following
        if leader is not None:
            counts = self.moving.counts(leader)
            if counts != following.counts:
                # It wants something else. What the leader has sent until it hears of this, it sends again.
                following.leave()
            following.ask(leader, counts=counts)

    def _durable(self, index: int, runs: list[Run]) -> None:
        self._leading.durable(runs)
        self.perform(self.replica.stored_to(index, self.now()))
        self._following.durable(index)

    # `ILog`: the rest

    def had(self, epoch: int) -> bool:
        """See `ILog.had`."""
        return any(epoch == held for held, _ in self.journal.tail.epochs)

    def tell(self, note: bytes) -> bool:
        """See `ILog.tell`."""
        # One link to each, and rather the one that this node has dialled.
        to = {link.name: link for link in sorted(self.links, key=lambda link: link.dialled)}
        for link in to.values():
            link.say(wire.Tell(note))
        return bool(to)

    def read(self, room: str, position: int, bytes_max: int, count_max: int) -> "Deferred[list[Slice]]":
        """See `ILog.read`."""
        return self.journal.store.read(room, position, bytes_max, count_max)

    def peek(self, room: str, position: int, bytes_max: int, count_max: int) -> list[Slice]:
        """See `ILog.peek`."""
        return self.journal.store.peek(room, position, bytes_max, count_max)

    def expired(self, before: float, bytes_max: int) -> "Deferred[dict[str, int]]":
        """See `ILog.expired`."""
        return self.journal.store.expired(before, bytes_max)

    def snapshot(self) -> None:
        """See `ILog.snapshot`; put off while the log may still be parted from, or is read back for a follower."""
        replica = self.replica
        # Without a witness, what is committed alone may yet be parted from.
        sure = replica.commit >= self.position and (self._witness is not None or self.redundancy == "paired")
        self._snapshot_due = replica.busy or not sure or self._leading.reading_back
        if not self._snapshot_due:
            self.journal.snapshot()

    # What the replica wants

    def perform(self, effects: list[Effect]) -> None:
        """See `leading.Node.perform`."""
        for effect in effects:
            _PERFORMERS[type(effect)](self, effect)
        self._apply()
        self._leading.dismiss()
        self._tell_changes()

    def _store(self, effect: Store) -> None:
        configuration = effect.configuration
        kept = keep(configuration, complete=effect.complete, required=effect.required)
        self.journal.configure(kept, lambda: self.perform(self.replica.stored(configuration, self.now())))

    def _propose(self, effect: Propose) -> None:
        assert self._witness is not None
        if effect.configuration != self._asked_witness:
            self._asked_witness = effect.configuration
            log.info(
                "asking the witness for epoch {epoch}: {leader} leads, members are {members}",
                epoch=effect.configuration.epoch,
                leader=effect.configuration.leader,
                members=" ".join(effect.configuration.members),
            )
        self._witness.propose(effect.configuration, lossy=effect.lossy)

    def _configured(self, effect: Configured) -> None:
        configuration = effect.configuration
        self.journal.tail.numbering.epoch = configuration.epoch
        self._say_state()
        self._leading.review()
        if self._witness is not None:
            self._witness.claim(configuration)
        if configuration.leader != self.settings.name:
            self._leading.end()
        leader = self._following.leader
        if leader is not None and leader.hello is not None and leader.hello.name != configuration.leader:
            self._following.leave()
        self.follow()

    def _say_state(self) -> None:
        if self.replica.configuration is not None:
            for link in self.links:
                link.say(wire.State(self.replica.configuration))

    def _became(self, effect: Became) -> None:
        log.info(
            "{before} → {role} in epoch {epoch}: {reason}",
            before=effect.before.value,
            role=effect.role.value,
            epoch=self.epoch,
            reason=effect.reason,
        )
        self._gathering.flush()
        self.moving.became(effect.before, effect.role)
        if effect.role in NUMBERING:
            # Whoever asked to follow too early asks again.
            self._say_state()
            self.number_pending()
        elif effect.role is not Role.HANDING:
            if effect.role is not Role.ISOLATED:
                # Whoever still follows an isolated leader keeps its link, and does not bring it again.
                self.journal.submissions.drop_forwarded()
            self.follow()

    def _apply(self) -> None:
        """Hand on what is committed, and tell the follower."""
        self._leading.committed()
        if self.replica.busy or not self.journal.apply():
            return
        if self._snapshot_due or self.journal.snapshot_due:
            self.snapshot()

    def _tell_changes(self) -> None:
        told = (self.epoch, self.role, self.redundancy, self.serving, *self.links)
        if told != self._told and not self._closed:
            self._told = told
            self._replayed.changed()

    # `WitnessHeard`

    def witness_up(self, configuration: Configuration | None) -> None:
        """See `WitnessHeard.witness_up`."""
        self.moving.witness_holds(configuration)
        self.perform(self.replica.witness_up(configuration, self.now()))

    def witness_down(self) -> None:
        """See `WitnessHeard.witness_down`."""
        self.perform(self.replica.witness_down(self.now()))

    def witness_holds(self, configuration: Configuration) -> None:
        """See `WitnessHeard.witness_holds`."""
        self._denial = ""
        self.moving.witness_holds(configuration)
        self.perform(self.replica.witness_holds(configuration, self.now()))

    def witness_denied(self, reason: str, configuration: Configuration | None) -> None:
        """See `WitnessHeard.witness_denied`."""
        if reason != self._denial:
            self._denial = reason
            log.info("the witness denies: {reason}", reason=reason)
        self.perform(self.replica.witness_denied(configuration, self.now()))
        # A takeover that waits for the witness to give the leader up is not to wait for the next look as well.
        self._clock.callLater(ASK_AGAIN_S, self._look_once)

    # `LinkHeard`

    def hello(self) -> wire.Hello:
        """See `LinkHeard.hello`."""
        settings = self.settings
        configuration = self.replica.configuration
        return wire.Hello(wire.VERSION, settings.service, settings.name, settings.role, self._paired, configuration)

    def beat(self) -> wire.Beat:
        """See `LinkHeard.beat`."""
        return wire.Beat(self.epoch)

    def link_up(self, link: PeerLink) -> None:
        """See `LinkHeard.link_up`."""
        assert link.hello is not None
        if self._closed or self._is_third(link):
            link.drop("third-node")
            return
        # A node has one process: what it dialled before is a remnant.
        for other in [each for each in self.links if each.dialled == link.dialled and each.name == link.name]:
            other.drop("replaced")
            self.link_down(other)
        self.links[link] = None
        if link.dialled:
            self._unreached.pop(link.name, None)
            log.info("the other node, {name}, is reached", name=link.name)
            if link.address == PEER:
                self._neighbours.at_peer = link.name
                self._unreached.pop("", None)
        self.moving.say_invitation()
        told, configuration = link.hello.configuration, self.replica.configuration
        link.epoch = told.epoch if told is not None else 0
        if configuration is not None and configuration.epoch != link.said_epoch:
            link.say(wire.State(configuration))
        self.perform(self.replica.peer_says(told, self.now()))
        self.follow()

    def _is_third(self, link: PeerLink) -> bool:
        """Whether a link is of a third node, while the pair's own nodes have theirs, and nobody has asked for it."""
        found, name = self.replica.configuration, link.name
        members = found.members if found is not None and len(found.members) > 1 else ()
        names = [other.name for other in self.links if other.dialled == link.dialled]
        if name in members or not any(other in members for other in names):
            return False
        if self.moving.expects(name):
            return False
        if name != self._third:
            self._third = name
            log.warn(
                "{name} has connected, but the pair is {members}: look at its --peer",
                name=name,
                members=" and ".join(members),
            )
        return True

    def link_down(self, link: PeerLink) -> None:
        """See `LinkHeard.link_down`."""
        if link not in self.links:
            return
        del self.links[link]
        if self._closed:
            return
        if link.dialled:
            log.info("the link to {name} is lost", name=link.name)
        if link in self._leading.feeds:
            self._leading.end(link)
        if self._following.leader is link:
            self._following.leave()
            self.perform(self.replica.leader_lost(self.now()))
        if link.dialled:
            self.moving.link_lost(link.name)
        self._tell_changes()

    def unreached(self, name: str, reason: str, *, refused: bool) -> None:
        """Hear that a node, if it is known which, was not reached; see `neighbours.Unreached`."""
        if reason != self._unreached.get(name):
            self._unreached[name] = reason
            log.warn(
                "{who} is not reached ({reason}): trying again and again; look at --peer",
                who=name or "the other node",
                reason=reason,
            )
        self.moving.unreached(name)
        if refused:
            self.perform(self.replica.peer_gone(name, self.now()))

    def link_says(self, link: PeerLink, message: wire.AnyMessage) -> None:
        """See `LinkHeard.link_says`."""
        if link not in self.links:
            return
        if link is self._following.leader or link in self._leading.feeds:
            self.replica.peer_heard(link.name, self.now())
        _STEPS[type(message)](self, link, message)

    def leader_link(self) -> PeerLink | None:
        """See `moving.Node.leader_link`."""
        return next((link for link in self.links if link.dialled and link.name == self.leader), None)

    def refuse(self, link: PeerLink, epoch: int) -> bool:
        """See `leading.Node.refuse`."""
        configuration = self.replica.configuration
        if configuration is None or epoch >= configuration.epoch:
            return False
        link.say(wire.State(configuration))
        return True

    def _on_state(self, link: PeerLink, message: wire.State) -> None:
        link.epoch = message.configuration.epoch
        self._following.ask_anew()
        self.perform(self.replica.peer_says(message.configuration, self.now()))
        self.follow()

    def _on_tell(self, link: PeerLink, message: wire.Tell) -> None:
        self._replayed.told(message.note)

    def _on_beat(self, link: PeerLink, message: wire.Beat) -> None:
        """Having been heard is all that matters."""


_PERFORMERS: dict[type[Any], Callable[[PairLog, Any], None]] = {
    Store: PairLog._store,
    Propose: PairLog._propose,
    Configured: PairLog._configured,
    Became: PairLog._became,
}

_STEPS: dict[type[Any], Callable[[PairLog, PeerLink, Any], None]] = {
    wire.State: PairLog._on_state,
    wire.Beat: PairLog._on_beat,
    wire.Tell: PairLog._on_tell,
    wire.Invite: lambda node, link, message: node.moving.on_invite(link, message),
    wire.Meet: lambda node, link, message: node.moving.on_meet(link, message),
    wire.Follow: lambda node, link, message: node._leading.on_follow(link, message),
    wire.Appended: lambda node, link, message: node._leading.on_appended(link, message),
    wire.Forward: lambda node, link, message: node._leading.on_forward(link, message),
    **dict.fromkeys(
        (wire.Begin, wire.Install, wire.Ids, wire.Installed, wire.Dismissed, wire.Append, wire.Commit),
        lambda node, link, message: node._following.take(link, message),
    ),
}

_REDUNDANCY = {
    Role.BOOT: "isolated",
    Role.LEADER_SOLO: "alone",
    Role.LEADER_PAIR: "paired",
    Role.HANDING: "paired",
    Role.FOLLOWER: "paired",
    Role.LEARNER: "alone",
    Role.ISOLATED: "isolated",
    Role.STANDBY: "isolated",
}
