"""Storms in which people have several devices: that there are such, and that mistakes about them are seen."""

from collections import Counter

from chatproto.chat.acts import Act, Enter, Forbid, Revoke
from chatproto.chat.effects import Effect
from chatproto.chat.hall import Hall
from chatproto.chat.people import Person
from tests.simulation.pair_storm import PairStorm
from tests.simulation.planting import Planting
from tests.simulation.weather import ACCOUNT, Weather


class AccountStormTests(Planting):
    def storm(self, seed: int) -> Weather:
        return PairStorm(seed)

    def test_reach(self) -> None:
        """Devices of one account are on both nodes at once; they are logged out and banned, and come back."""
        reached: Counter[str] = Counter()

        def apply(hall: Hall, act: Act, epoch: int) -> list[Effect]:
            effects: list[Effect] = right(hall, act, epoch)
            person = hall.identities.get(ACCOUNT)
            if person is not None:
                nodes = {member.node for member in person.devices.values()}
                reached.update({f"{len(person.devices)} devices": 1, f"on {len(nodes)} nodes": 1})
            reached["logins"] += isinstance(act, Enter) and act.account is not None
            reached["logouts"] += isinstance(act, Revoke) and bool(effects)
            reached["bans"] += isinstance(act, Forbid)
            return effects

        right = self.plant(Hall, "apply", apply)
        for seed in range(12):
            PairStorm(seed).run()
        for what in ("3 devices", "on 2 nodes", "logins", "logouts", "bans"):
            self.assertGreater(reached[what], 3, reached)

    def test_the_first_device_taken_for_the_last_one(self) -> None:
        """Others are told that somebody left a room as soon as their first device has."""
        right = self.plant(Person, "inside", lambda person, room: right(person, room)[:1])
        self.catch("already", "was told of", "and is told", "are only")
