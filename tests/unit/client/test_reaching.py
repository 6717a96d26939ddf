"""Tests for chatproto.client.reaching: which endpoint a place that was told of has."""

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.client.reaching import reaching


def plain(address: str) -> Any:
    return "plain", address


def secure(address: str) -> Any:
    return "secure", address


class ReachingTests(SynchronousTestCase):
    def reach(self, place: str, *how: Any, clock: Any = None) -> Any:
        reach = reaching(clock or Clock(), *how)
        assert reach is not None
        return reach(place)

    def test_each_by_its_own(self) -> None:
        self.assertEqual(self.reach("east:1", plain, secure), ("plain", "east:1"))
        self.assertEqual(self.reach("tls:east:1", plain, secure), ("secure", "east:1"))

    def test_a_programs_own_connector_makes_all_unless_it_has_two(self) -> None:
        self.assertEqual(self.reach("tls:east:1", plain, None), ("plain", "east:1"))

    def test_by_default_it_is_the_systems_authorities_that_are_believed(self) -> None:
        clock = MemoryReactorClock()
        endpoint = self.reach("east:1", None, None, clock=clock)
        self.assertIsInstance(endpoint, HostnameEndpoint)
        self.assertNotIsInstance(self.reach("tls:east:1", None, None, clock=clock), HostnameEndpoint)
        self.assertEqual(self.reach("tls:east:1", None, secure, clock=clock), ("secure", "east:1"))

    def test_without_a_reactor_nobody_is_reached(self) -> None:
        self.assertIsNone(reaching(Clock(), None, secure))
