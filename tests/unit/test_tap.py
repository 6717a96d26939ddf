import os
import random
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import TrustError
from chatproto.options import Options
from chatproto.tap import SECRET_FILE, guard, secret_in
from chatproto.trust.authority import Authority
from chatproto.trust.certified import Certified
from chatproto.trust.sharing import SharedSecret
from chatproto.world import World


class SecretTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.path = Path(self.directory, SECRET_FILE)

    def test_it_is_drawn_once_and_nobody_else_reads_it(self) -> None:
        secret = secret_in(self.directory)
        self.assertEqual(secret_in(self.directory), secret)
        self.assertGreaterEqual(len(secret), 32)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.directory), [SECRET_FILE])

    def test_each_directory_has_its_own(self) -> None:
        other = self.mktemp()
        os.mkdir(other)
        self.assertNotEqual(secret_in(self.directory), secret_in(other))

    def test_one_that_was_put_there_is_taken(self) -> None:
        self.path.write_text("ours\n")
        self.assertEqual(secret_in(self.directory), "ours")

    def test_one_that_a_power_cut_has_emptied_is_drawn_anew(self) -> None:
        self.path.write_text("")
        self.assertTrue(secret_in(self.directory))

    def test_one_that_cannot_be_kept(self) -> None:
        self.assertRaises(OSError, secret_in, os.path.join(self.directory, "missing"))


class GuardTests(SynchronousTestCase):
    """What the options make of a world."""

    def setUp(self) -> None:
        self.listened: list[str] = []
        self.world = World(
            clock=Clock(),
            now=time.time,
            dice=random.Random(1),
            server=self.server,
            client=lambda description: None,  # type: ignore[arg-type,return-value]
            store=lambda directory, failed: None,  # type: ignore[arg-type,return-value]
            fatal=lambda reason: None,
            secret=str,
        )

    def server(self, description: str) -> Any:
        self.listened.append(description)
        return description

    def guarded(self, *arguments: str) -> tuple[World, list[Service]]:
        options = Options()
        options.parseOptions(arguments)
        return guard(self.world, options)

    def test_without_options_it_is_as_it_was(self) -> None:
        self.assertEqual(self.guarded(), (self.world, []))

    def test_a_secret(self) -> None:
        path = Path(self.mktemp())
        path.write_text("correct horse battery staple")
        path.chmod(0o600)
        world, services = self.guarded(f"--secret-file={path}")
        self.assertIsInstance(world.trust, SharedSecret)
        self.assertEqual((services, world.tally), ([], self.world.tally))

    def test_certificates_that_are_read_again_when_told(self) -> None:
        authority = Authority(self.mktemp())
        directory = authority.sign("east")
        world, (watch,) = self.guarded(f"--tls={directory}", "--name=east")
        self.assertIsInstance(world.trust, Certified)
        self.assertEqual(watch.name, "certificates")
        self.assertEqual(world.reloading.reload(), [])
        Path(directory, "node.pem").write_text("nonsense")
        (line,) = world.reloading.reload()
        self.assertIn("certificates: ", line)

    def test_clients_are_shown_the_nodes_unless_they_are_shown_another(self) -> None:
        world, _ = self.guarded(f"--tls={Authority(self.mktemp()).sign('east')}", "--name=east")
        self.assertNotEqual(world.server("ssl:4444"), "tcp:4444")
        self.assertEqual(world.server("ssl:1:privateKey=a:certKey=b"), "ssl:1:privateKey=a:certKey=b")
        self.assertEqual(world.server("tcp:2"), "tcp:2")
        self.assertEqual(self.listened, ["tcp:4444", "ssl:1:privateKey=a:certKey=b", "tcp:2"])

    def test_servers_of_this_deployment_are_believed_by_its_authority(self) -> None:
        dialled: list[str] = []
        self.world = replace(self.world, client=lambda description: dialled.append(description) or description)  # type: ignore[arg-type,func-returns-value,return-value]
        world, _ = self.guarded(f"--tls={Authority(self.mktemp()).sign('east')}", "--name=east")
        self.assertNotEqual(world.client("tls:west.example:4444"), "tcp:west.example:4444")
        self.assertEqual(world.client("tls:west:4444:trustRoots=a"), "tls:west:4444:trustRoots=a")
        self.assertEqual(world.client("tcp:west:4545"), "tcp:west:4545")
        self.assertEqual(dialled, ["tcp:west.example:4444", "tls:west:4444:trustRoots=a", "tcp:west:4545"])

    def test_what_cannot_be_used(self) -> None:
        self.assertRaises(TrustError, self.guarded, "--tls=missing")
        self.assertRaises(TrustError, self.guarded, "--secret-file=missing")
