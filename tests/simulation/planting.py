"""For tests that plant a mistake into the production code, and see that storms catch it within a few seeds."""

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.weather import StormFailed, Weather


class Planting(SynchronousTestCase):
    """Plants mistakes, and has storms find them."""

    seeds = range(40)

    def storm(self, seed: int) -> Weather:
        """Return the storm of a seed."""
        raise NotImplementedError

    def catch(self, *complaints: str) -> None:
        """Storm until a seed fails, for one of the reasons given; without the mistake all of these seeds pass."""
        for seed in self.seeds:
            try:
                self.storm(seed).run()
            except StormFailed as failure:
                # What the mistake breaks besides may be logged, too.
                self.flushLoggedErrors()
                said = str(failure).partition("again:")[0]
                self.assertTrue(any(complaint in said for complaint in complaints), said)
                return
        self.fail(f"none of {len(self.seeds)} seeds has caught it")

    def plant(self, owner: type, name: str, mistake: Callable[..., Any]) -> Callable[..., Any]:
        """Put a mistake in the place of a method, which is returned."""
        right: Callable[..., Any] = getattr(owner, name)
        self.patch(owner, name, mistake)
        return right
