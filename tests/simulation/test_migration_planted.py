"""The storms on migrations can fail: each known mistake, planted into the code, is caught within a few seeds."""

from typing import Any

from chatproto.pair.leading import Leading
from chatproto.pair.moving import Moving
from chatproto.pair.replica import Follower, Replica
from tests.simulation.migration_storm import MigrationStorm
from tests.simulation.planting import Planting
from tests.simulation.weather import Weather

NOT_EVERYWHERE = ("and does not hold what is committed", "of what epochs members hold it", "was committed")


class MigrationPlantedTests(Planting):
    seeds = range(100)

    def storm(self, seed: int) -> Weather:
        return MigrationStorm(seed, paired=seed % 2 == 1)

    def test_swapped_without_requiring_it_first(self) -> None:
        """A leader asks for the newcomer as a member while it still commits without it."""

        def take_in(replica: Replica, newcomer: Follower | None, now: float) -> None:
            right(replica, newcomer, now)
            replica.require = ""

        right = self.plant(Replica, "_take_in", take_in)
        self.catch(*NOT_EVERYWHERE)

    def test_forgotten_without_being_dismissed(self) -> None:
        """A node forgets its log as soon as it does not want to be a member any more."""

        def maybe_forget(moving: Moving) -> None:
            leader = moving._node.leader_link()
            if leader is not None and not moving.counts(leader):
                moving._following.dismissed = True
            right(moving)

        right = self.plant(Moving, "_maybe_forget", maybe_forget)
        # Few storms have it: the node is asked for as a member, or becomes one, at that moment.
        self.seeds = range(390, 391)
        self.catch(*NOT_EVERYWHERE, "has cut Record(")

    def test_everybody_who_follows_becomes_a_member(self) -> None:
        """A leader alone takes in whoever follows it, a server included that is only to bring what it has."""

        def wants(moving: Moving, link: Any) -> bool:
            return True

        def counts(moving: Moving, link: Any) -> bool:
            return True

        self.plant(Moving, "wants", wants)
        self.plant(Moving, "counts", counts)
        self.catch("not within")

    def test_nobody_is_dismissed(self) -> None:
        """A leader never says that a follower may forget."""
        self.plant(Leading, "dismiss", lambda leading: None)
        self.catch("not within")
