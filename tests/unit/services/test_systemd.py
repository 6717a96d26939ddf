"""Tests for chatproto.services.systemd: what the service manager is told, and when."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from chatproto.link import Turn
from chatproto.services.systemd import LOOK_EVERY_S, STATUS_INTERVAL_S, Health, Supervision, supervisor_of
from chatproto.world import Supervisor
from tests.unit.turns import TurnClock

PID = 77


class EnvironmentTests(SynchronousTestCase):
    def short_path(self) -> str:
        """Return a path that a socket can have."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        return os.path.join(folder, "notify")

    @contextmanager
    def manager(self, address: str) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(address)
            listening.settimeout(5)
            yield listening

    def test_without_a_socket_there_is_nobody(self) -> None:
        for named in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "@"}):
            self.assertIsNone(supervisor_of({"WATCHDOG_USEC": "1000000", **named}, PID))

    def test_a_socket_in_the_file_system(self) -> None:
        path = self.short_path()
        with self.manager(path) as listening:
            supervisor = supervisor_of({"NOTIFY_SOCKET": path}, PID)
            assert supervisor is not None
            supervisor.tell(b"READY=1\nSTATUS=fine")
            self.assertEqual(listening.recv(100), b"READY=1\nSTATUS=fine")
            self.assertEqual(supervisor.watchdog_s, 0.0)

    def test_an_abstract_socket(self) -> None:
        name = f"chatproto-test-{os.getpid()}"
        with self.manager(f"\0{name}") as listening:
            supervisor = supervisor_of({"NOTIFY_SOCKET": f"@{name}"}, PID)
            assert supervisor is not None
            supervisor.tell(b"WATCHDOG=1")
            self.assertEqual(listening.recv(100), b"WATCHDOG=1")

    def test_a_manager_that_is_gone_is_complained_of_once(self) -> None:
        supervisor = supervisor_of({"NOTIFY_SOCKET": "/nowhere/at/all"}, PID)
        assert supervisor is not None
        with capturedLogs() as logged:
            supervisor.tell(b"READY=1")
            supervisor.tell(b"STOPPING=1")
        self.assertEqual(len(logged), 1)

    def test_a_manager_that_does_not_read_blocks_nobody(self) -> None:
        path = self.short_path()
        with self.manager(path), capturedLogs():
            supervisor = supervisor_of({"NOTIFY_SOCKET": path}, PID)
            assert supervisor is not None
            for _ in range(2000):
                supervisor.tell(b"x" * 1000)

    def check_watchdog(self, seconds: float, **variables: str) -> None:
        supervisor = supervisor_of({"NOTIFY_SOCKET": "@x", **variables}, PID)
        assert supervisor is not None
        self.assertEqual(supervisor.watchdog_s, seconds)

    def test_the_watchdog_of_this_process(self) -> None:
        self.check_watchdog(0.0)
        self.check_watchdog(30.0, WATCHDOG_USEC="30000000")
        self.check_watchdog(30.0, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(PID))
        self.check_watchdog(0.0, WATCHDOG_USEC="30000000", WATCHDOG_PID="78")
        for nonsense in ("", "soon", "-1", "1.5", "9" * 40):
            self.check_watchdog(0.0, WATCHDOG_USEC=nonsense)


class SupervisionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.told: list[str] = []
        self.ready = self.sane = True
        self.stopping = False
        self.status = "leader"

    def start(self, watchdog_s: float = 0.0) -> Supervision:
        supervisor = Supervisor(lambda notice: self.told.append(notice.decode()), watchdog_s)
        self.supervision = Supervision(self.clock, Turn(self.clock), supervisor, self.health)
        self.supervision.startService()
        self.addCleanup(lambda: self.supervision.running and self.supervision.stopService())
        self.clock.turn()
        return self.supervision

    def health(self) -> Health:
        return Health(self.ready, lambda: self.sane, self.stopping, self.status)

    def pass_time(self, seconds: float) -> list[str]:
        """Let time pass, in turns; return what is told meanwhile."""
        self.told.clear()
        for _ in range(round(seconds / LOOK_EVERY_S)):
            self.clock.advance(LOOK_EVERY_S)
            self.clock.turn()
        return self.told[:]

    def test_ready_is_told_once_when_it_is_so(self) -> None:
        self.ready, self.status = False, "starting"
        self.start()
        self.assertEqual(self.told, ["STATUS=starting"])
        self.assertEqual(self.pass_time(3), [])
        self.ready, self.status = True, "leader"
        self.assertEqual(self.pass_time(LOOK_EVERY_S), ["READY=1\nSTATUS=leader"])
        self.ready = False
        self.pass_time(1)
        self.ready = True
        self.assertEqual(self.pass_time(1), [])

    def test_a_status_that_changes_all_the_time_is_told_now_and_then(self) -> None:
        self.start()
        told = []
        for number in range(20):
            self.status = f"{number} clients"
            told += self.pass_time(LOOK_EVERY_S)
        self.assertLessEqual(len(told), 2 / STATUS_INTERVAL_S)
        self.assertEqual(self.pass_time(STATUS_INTERVAL_S), ["STATUS=19 clients"])

    def test_stopping_is_told_at_once(self) -> None:
        supervision = self.start()
        self.told.clear()
        self.stopping, self.status = True, "draining"
        supervision.look()
        self.assertEqual(self.told, ["STOPPING=1\nSTATUS=draining"])
        supervision.stopService()
        self.assertEqual(len(self.told), 1, "once")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        supervision.look()
        self.assertEqual(len(self.told), 1)

    def test_who_stops_without_a_word_is_stopping(self) -> None:
        self.start().stopService()
        self.assertEqual(self.told[1:], ["STOPPING=1"])

    def test_without_a_watchdog_there_are_no_pings(self) -> None:
        self.start()
        self.assertEqual(self.pass_time(10), [])

    def test_pings_come_often_enough(self) -> None:
        self.start(watchdog_s=3.0)
        self.assertEqual(self.told, ["READY=1\nSTATUS=leader\nWATCHDOG=1"])
        pings = self.pass_time(9.0)
        self.assertEqual(set(pings), {"WATCHDOG=1"})
        self.assertIn(len(pings), (8, 9))

    def test_who_is_not_sane_is_silent_and_goes_on_when_it_is(self) -> None:
        self.start(watchdog_s=3.0)
        self.sane = False
        self.assertEqual(self.pass_time(3), [])
        self.sane = True
        self.assertEqual(self.pass_time(LOOK_EVERY_S), ["WATCHDOG=1"])

    def test_a_look_that_fails_tells_nothing_and_the_next_one_comes(self) -> None:
        self.start(watchdog_s=3.0)
        self.sane = None  # type: ignore[assignment]
        health, self.supervision._health = self.supervision._health, lambda: 1 / 0  # type: ignore[assignment,return-value]
        self.assertEqual(self.pass_time(1.5), [])
        self.assertGreater(len(self.flushLoggedErrors(ZeroDivisionError)), 5)
        self.sane = True
        self.supervision._health = health
        self.assertEqual(self.pass_time(LOOK_EVERY_S), ["WATCHDOG=1"])

    def test_turns_that_do_not_end_are_silence(self) -> None:
        """The reactor turns, but what the turns of its links were to do is not done."""
        self.start(watchdog_s=3.0)
        self.supervision._turn.at_end = lambda call: None  # type: ignore[method-assign]
        self.assertEqual(self.pass_time(9), [])
