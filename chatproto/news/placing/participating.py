"""The links of a delivery node with whoever coordinates transactions, at its guarded port."""

from functools import partial
from typing import Any

from chatproto.errors import WireError
from chatproto.keyvalue import IKeyValueStore
from chatproto.news.link import NewsLink
from chatproto.news.messages import VERSION
from chatproto.news.placing.actions import REFUSALS, actions_allowed
from chatproto.news.placing.interface import ITable
from chatproto.news.placing.messages import Coordinate, FromCoordinator, Prepare
from chatproto.news.placing.participant import PREFIX, Participant, ParticipantEffect, Say, Stage, TurnAway, Write


class Participating:
    """Takes part in transactions; a `NewsHeard` for links whose hello is `Coordinate`.

    All of its links are to be made by one `NewsLinkFactory`, whose decoder knows `FromCoordinator`.

    Attributes:
        participant: decides what is done.
    """

    def __init__(self, name: str, table: ITable) -> None:
        """Take no part before `open`.

        Args:
            name: the node's, as it is registered.
            table: its readers.
        """
        self.participant = Participant(name, table, [])
        self._name = name
        self._table = table
        self._store: IKeyValueStore | None = None
        self._links: dict[int, NewsLink] = {}

    def open(self, store: IKeyValueStore) -> None:
        """Begin where the disk is; the table has begun there.

        Args:
            store: has the table's keys, and this one's, which begin with `PREFIX`.

        Raises:
            StoreCorrupt: what it has is not of a participant.
        """
        self.participant = Participant(self._name, self._table, store.scan(PREFIX))
        self._store = store

    def link_admitted(self, link: NewsLink) -> None:
        """See `NewsHeard.link_admitted`."""

    def link_received(self, link: NewsLink, message: Any) -> None:
        """See `NewsHeard.link_received`."""
        greeted = link.number in self._links
        if isinstance(message, Coordinate) == greeted or not isinstance(message, FromCoordinator):
            raise WireError("not what a coordinator says there")
        if isinstance(message, Prepare) and not actions_allowed(message.actions):
            raise WireError("not what a transaction does at one node")
        if not isinstance(message, Coordinate):
            self._perform(self.participant.received(link.number, message))
        elif self._store is None:
            link.refuse("starting", "this node has not opened its disk yet")
        elif message.version != VERSION:
            link.refuse("version", "the coordinator speaks another version: run the same release everywhere")
        else:
            link.check_name(message.who)
            link.introduced()
            self._links[link.number] = link
            self._perform(self.participant.entered(link.number, message))

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """See `NewsHeard.link_lost`."""
        if self._links.pop(link.number, None) is not None:
            self.participant.left(link.number)

    def _perform(self, effects: list[ParticipantEffect]) -> None:
        for effect in effects:
            match effect:
                case Say(at, message):
                    self._links[at].say(message)
                case TurnAway(at):
                    self._links[at].refuse("superseded", REFUSALS["superseded"])
                case Write(number, stage, changes):
                    assert self._store is not None, "nobody is greeted before"
                    self._store.write(changes, partial(self._written, number, stage))

    def _written(self, number: int, stage: Stage) -> None:
        self._perform(self.participant.written(number, stage))
