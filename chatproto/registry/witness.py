"""The witness of pairs: who leads, by whose word, and when somebody was last heard. Pure.

What happens on the registry's connections comes in by a method, with `now` in seconds of any clock that only goes
forward; what is to be done goes out as effects, in order. A connection is known by a number that is never used again.

A change has two steps. The first, `propose`, asks for it to be made durable; the second, `kept`, makes it count. Until
then it is neither told nor compared against, and no other change of the same service is granted.
"""

from collections.abc import Mapping

import msgspec

from chatproto.pair.configuration import Configuration, after, configuration_allowed
from chatproto.registry.messages import (
    VERSION,
    Claim,
    Denied,
    Hello,
    Holds,
    Message,
    Propose,
    Refused,
    Welcome,
    encode_state,
)
from chatproto.registry.rules import Standing, follows, form_of

SERVICES_MAX = 64
NODES_MAX = 32
"""The most nodes of one service that are remembered."""


class Send(msgspec.Struct, frozen=True):
    """Send a message on a connection."""

    to: int
    message: Message


class End(msgspec.Struct, frozen=True):
    """End a connection politely, after what was sent on it."""

    to: int


class Abort(msgspec.Struct, frozen=True):
    """End a connection at once: the same node has another. What still comes on it is of no account."""

    to: int


class Keep(msgspec.Struct, frozen=True):
    """Make the state durable, in the order asked for, then call `Witness.kept` with the service."""

    service: str
    state: bytes


Effect = Send | End | Abort | Keep


class _Node:
    """What is remembered of a node since the witness began."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.at: int | None = None
        self.founder = False
        self.claim: Configuration | None = None
        self.life = 0
        self.dial = 0
        self.welcomed = False
        self.heard = 0.0
        self.closed = False


class _Service:
    def __init__(self, name: str, held: Configuration | None, now: float) -> None:
        self.name = name
        self.held = held
        self.pending: Configuration | None = None
        # The highest epoch claimed since the witness began, by whomever: once claimed, a configuration was there.
        self.claimed = 0
        self.nodes: dict[str, _Node] = {}
        # When any of the nodes was heard last, and since when it says something of one that it was not.
        self.heard = self.listening = now

    @property
    def epoch(self) -> int:
        return 0 if self.held is None else self.held.epoch

    @property
    def forgotten(self) -> bool:
        """Whether somebody holds what the witness should know, and does not."""
        return self.claimed > self.epoch

    def claim(self, node: _Node, configuration: Configuration | None) -> None:
        node.claim = configuration
        if configuration is not None:
            self.claimed = max(self.claimed, configuration.epoch)

    def connected(self) -> list[_Node]:
        return [node for node in self.nodes.values() if node.at is not None]

    def agreed(self) -> Configuration | None:
        """Return what may be adopted: the newest claim, if every member of it stands to it, and two nodes at least."""
        claims = [node.claim for node in self.connected() if node.claim is not None]
        newest = next((claim for claim in claims if claim.epoch == self.claimed > self.epoch), None)
        if newest is None:
            return None
        claimants = {node.name for node in self.connected() if node.claim == newest}
        return newest if len(claimants) > 1 and claimants.issuperset(newest.members) else None


class Witness:
    """The configuration of each service, changed only by compare-and-set on the epoch.

    Safety rests on that and on the table of forms in `rules`; when a node was last heard only decides how soon a
    takeover is granted.
    """

    def __init__(self, lease_s: float, held: Mapping[str, Configuration], now: float) -> None:
        """Begin.

        Args:
            lease_s: for so long after it was last heard a leader is not replaced by another node.
            held: what was durable, by service.
            now: from here on somebody may be heard.
        """
        self._lease_s = lease_s
        self._services = {name: _Service(name, configuration, now) for name, configuration in held.items()}
        self._seats: dict[int, tuple[_Service, _Node]] = {}
        self._began = now

    # Questions

    def held(self, service: str) -> Configuration | None:
        """Return the configuration of a service; None if it never had one."""
        known = self._services.get(service)
        return known.held if known is not None else None

    # What happens

    def heard(self, at: int, now: float) -> None:
        """Note that something came on a connection."""
        if at in self._seats:
            self._hear(*self._seats[at], now)

    def hello(self, at: int, hello: Hello, now: float) -> list[Effect]:
        """Take a node in on a new connection, which supersedes an older one of the same node.

        It is welcomed at once, or, while a change is being made durable, after that: what was proposed over an older
        connection has taken effect by then, or never will.
        """
        if hello.version != VERSION:
            return _refuse(at, "version")
        service = self._service(hello.service, now)
        if service is None:
            return _refuse(at, "full")
        node = self._node(service, hello.node)
        if node is None:
            return _refuse(at, "full")
        effects: list[Effect] = []
        if node.at is not None:
            if hello.life == node.life and hello.dial < node.dial:
                # Dialled before the one that is here, and late: it is the older one.
                return [Abort(at)]
            del self._seats[node.at]
            effects.append(Abort(node.at))
        self._seats[at] = service, node
        self._hear(service, node, now)
        node.at, node.closed, node.welcomed = at, False, False
        node.founder, node.life, node.dial = hello.founder, hello.life, hello.dial
        service.claim(node, hello.claim)
        return effects + self._adopt(service) + self._tell(service)

    def claim(self, at: int, claim: Claim, now: float) -> list[Effect]:
        """Hear what a node has on its disk now."""
        self.heard(at, now)
        if at not in self._seats:
            return []
        service, node = self._seats[at]
        service.claim(node, claim.configuration)
        return self._adopt(service)

    def propose(self, at: int, proposal: Propose, now: float) -> list[Effect]:
        """Judge a proposal: the first of the two steps of a change, or a denial."""
        self.heard(at, now)
        if at not in self._seats:
            return []
        service, node = self._seats[at]
        denial = self._judge(service, node, proposal, now)
        if denial is not None:
            return [Send(at, Denied(proposal.configuration.epoch, denial, service.held))]
        return self._change(service, proposal.configuration)

    def kept(self, name: str) -> list[Effect]:
        """Hear that the change of a service under way is durable: the second step. Every node of it is told."""
        service = self._services[name]
        service.held, service.pending = service.pending, None
        assert service.held is not None
        told: list[Effect] = [
            Send(node.at, Holds(service.held))
            for node in service.nodes.values()
            if node.at is not None and node.welcomed
        ]
        return told + self._adopt(service) + self._tell(service)

    def gone(self, at: int, *, closed: bool, now: float) -> None:
        """Hear that a connection is lost; of one that was superseded it means nothing.

        Args:
            at: which.
            closed: whether the other side ended it. Then the node counts as not heard from now on. But it may live,
                and have ended it because this side was not heard, where it was silent itself, or nobody was heard,
                shortly before. In these cases, and where this side ended it, it counts as not heard after a lease.
            now: the time.
        """
        if at not in self._seats:
            return
        service, node = self._seats.pop(at)
        node.at = None
        listened = now - service.listening >= self._lease_s and now - node.heard <= self._lease_s / 2
        node.closed = closed and listened
        if service.held is None and service.pending is None and not service.claimed and not service.connected():
            # Nothing was ever known of it but its name.
            del self._services[service.name]

    # Rules

    def _judge(self, service: _Service, node: _Node, proposal: Propose, now: float) -> str | None:
        """Return why a proposal is denied; None if it is granted."""
        asked, held = proposal.configuration, service.held
        if not configuration_allowed(asked):
            return "not-allowed"
        if service.pending is not None:
            return "busy"
        if service.forgotten:
            return "forgotten"
        standing = _standing(held, node, lossy=proposal.lossy)
        if not (asked.epoch == after(held) if standing is None else follows(standing, held, asked)):
            return "stale"
        if standing is None:
            if held is None:
                return "not-founder"
            return "blank" if node.name in held.members else "not-a-member"
        form = form_of(standing, node.name, held, asked)
        if form is None:
            return "not-allowed"
        if standing is Standing.FOUNDER and now - self._began < self._lease_s:
            return "too-early"
        if form.unheard and held is not None and self._hears(service, held.leader, now):
            return "leader-heard"
        return None

    def _hear(self, service: _Service, node: _Node, now: float) -> None:
        if now - service.heard > self._lease_s / 2:
            # Nobody was heard: this process stood still, or was cut off, and that says nothing about anybody.
            service.listening = now
        service.heard = node.heard = now

    def _hears(self, service: _Service, leader: str, now: float) -> bool:
        """Whether a leader was heard within a lease, or may have been, for all that is known."""
        node = service.nodes.get(leader)
        if node is None:
            return now - service.listening < self._lease_s
        if node.closed or node.claim is None:
            # Gone; or without its disk, so that it can lead no more.
            return False
        return now - max(node.heard, service.listening) < self._lease_s

    def _adopt(self, service: _Service) -> list[Effect]:
        agreed = service.agreed() if service.pending is None else None
        return self._change(service, agreed) if agreed is not None else []

    def _change(self, service: _Service, configuration: Configuration) -> list[Effect]:
        service.pending = configuration
        # With what else is under way: what is written later must not undo what was written before.
        state = {known.name: known.pending or known.held for known in self._services.values()}
        return [Keep(service.name, encode_state({name: held for name, held in state.items() if held is not None}))]

    def _tell(self, service: _Service) -> list[Effect]:
        """Welcome whoever waits for it, unless a change is under way."""
        effects: list[Effect] = []
        if service.pending is None:
            for node in service.connected():
                if node.at is not None and not node.welcomed:
                    node.welcomed = True
                    effects.append(Send(node.at, Welcome(service.held)))
        return effects

    # Room

    def _service(self, name: str, now: float) -> _Service | None:
        """Return a service, a new one if there is room for it."""
        if name not in self._services and len(self._services) < SERVICES_MAX:
            self._services[name] = _Service(name, None, now)
        return self._services.get(name)

    def _node(self, service: _Service, name: str) -> _Node | None:
        """Return a node of a service, a new one if there is room for it or somebody can be forgotten."""
        nodes = service.nodes
        if name not in nodes:
            if len(nodes) >= NODES_MAX:
                leader = service.held.leader if service.held is not None else ""
                away = next((node for node in nodes.values() if node.at is None and node.name != leader), None)
                if away is None:
                    return None
                del nodes[away.name]
            nodes[name] = _Node(name)
        return nodes[name]


def _refuse(at: int, reason: str) -> list[Effect]:
    return [Send(at, Refused(reason)), End(at)]


def _standing(held: Configuration | None, node: _Node, *, lossy: bool) -> Standing | None:
    """Return what a node is to a configuration; None if it is nothing to it."""
    if held is None:
        return Standing.FOUNDER if node.founder else None
    # A member that has no configuration has lost its disk, and with it what makes it a member.
    if node.name in held.members and node.claim is not None:
        return Standing.LEADER if node.name == held.leader else Standing.MEMBER
    return Standing.OUTSIDER if lossy else None
