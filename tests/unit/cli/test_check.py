"""Tests for chatproto.cli.check: what a daemon would find, found without one."""

import os
import shutil
import sqlite3

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.check import check
from chatproto.cli.servers import Misuse
from chatproto.log.sqlite import LOG, SQLiteStore
from chatproto.trust.authority import Authority


class CheckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.data = os.path.abspath(self.mktemp())

    def check(self, *arguments: str) -> tuple[list[str], list[str]]:
        return check([f"--data={self.data}", "--insecure-links", *arguments])

    def make_data(self, *statements: str) -> None:
        os.mkdir(self.data)
        store = SQLiteStore(self.data, self.fail, MemoryReactorClock())  # type: ignore[arg-type]
        store._writer.close()
        store._writer.join()
        store._reader.stop()
        store._opened.close()
        database = sqlite3.connect(LOG.path_in(self.data))
        for statement in statements:
            database.execute(statement)
        database.commit()
        database.close()

    def test_what_would_be(self) -> None:
        found, problems = self.check("--listen=tcp:1", "--listen=tcp:2", "--metrics=tcp:3", "--name=one")
        self.assertEqual(problems, [])
        self.assertEqual(
            found,
            [
                "role: primary, called one",
                "serves: --listen=tcp:1",
                "serves: --listen=tcp:2",
                "serves: --metrics=tcp:3",
                f"data: {self.data}, which is made at the first start",
            ],
        )
        self.assertFalse(os.path.exists(self.data), "nothing is changed")

    def test_an_endpoint_that_is_empty(self) -> None:
        self.assertIn("cannot use --listen=: Unknown endpoint type", self.check("--listen=")[1][0])

    def test_a_pair_and_a_registry(self) -> None:
        found, _ = self.check("--peer=tcp:two:4545", "--registry=tcp:third:4646")
        self.assertEqual(
            found[1:-1],
            [
                "serves: --listen=tcp:4444",
                "serves: --peer-listen=tcp:4545",
                "connects: --peer=tcp:two:4545",
                "connects: --registry=tcp:third:4646",
            ],
        )
        found, _ = self.check("--role=registry")
        self.assertEqual(found[1:-1], ["serves: --registry-listen=tcp:4646"])

    def test_certificates(self) -> None:
        folder = self.mktemp()
        tls = f"--tls={Authority(folder).sign('one')}"
        found, problems = self.check(tls, "--name=one", "--listen=ssl:4444")
        self.assertEqual(problems, [])
        self.assertIn(f"proves: {tls}, that it is one, until 20", found[1])
        _, problems = self.check(tls, "--name=two")
        self.assertIn("is for one, and this node is called two", problems[0])
        Authority(folder).sign("two")
        shutil.copy(os.path.join(folder, "two", "node.key"), os.path.join(folder, "one", "node.key"))
        self.assertIn("is not the key of the certificate", self.check(tls, "--name=one")[1][0])
        self.assertIn("cannot read", self.check("--tls=/nowhere")[1][0])
        self.assertIn("server.pem", self.check("--listen=ssl:4444")[1][0])

    def test_a_secret(self) -> None:
        path = self.mktemp()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write("0123456789abcdef")
        found, problems = self.check(f"--secret-file={path}")
        self.assertEqual((found[1], problems), (f"proves: that it knows what is in --secret-file={path}", []))
        os.chmod(path, 0o644)
        self.assertIn(path, self.check(f"--secret-file={path}")[1][0])

    def test_options_that_are_not_understood(self) -> None:
        for argument in ("--capacity=x", "--nonsense", "--config=/nowhere.toml", "--role=secondary"):
            self.assertRaises(Misuse, self.check, argument)

    def test_all_that_is_in_its_way_is_said(self) -> None:
        with open(self.data, "w") as file:
            file.write("a file")
        _, problems = self.check("--listen=nonsense:1", "--listen=ssl:2:privateKey=/nowhere.pem")
        self.assertEqual(len(problems), 3)
        self.assertIn("--listen=nonsense:1: Unknown endpoint type", problems[0])
        self.assertIn("/nowhere.pem", problems[1])
        self.assertIn(f"cannot use --data={self.data}", problems[2])

    def test_a_data_directory_of_this_release(self) -> None:
        self.make_data()
        self.assertEqual(self.check()[0][-1], f"data: {self.data}, schema version {LOG.version}, nobody runs on it")

    def test_one_of_an_older_release_is_brought_up(self) -> None:
        self.make_data("DROP TABLE pair", "PRAGMA user_version = 1")
        self.assertIn(f"schema version 1, brought up to {LOG.version} at the next start", self.check()[0][-1])

    def test_one_of_a_newer_release(self) -> None:
        self.make_data("PRAGMA user_version = 99")
        self.assertIn("has schema version 99", self.check()[1][0])

    def test_one_that_a_daemon_runs_on(self) -> None:
        os.mkdir(self.data)
        store = SQLiteStore(self.data, self.fail, MemoryReactorClock())  # type: ignore[arg-type]
        try:
            self.assertIn("in use by a running daemon", self.check()[0][-1])
        finally:
            store._writer.close()
            store._writer.join()
            store._reader.stop()
            store._opened.close()
        self.assertIn("nobody runs on it", self.check()[0][-1])

    def test_one_of_another_program(self) -> None:
        os.mkdir(self.data)
        database = sqlite3.connect(LOG.path_in(self.data))
        database.execute("CREATE TABLE theirs (x)")
        database.commit()
        database.close()
        self.assertIn("a database of another program", self.check()[1][0])

    def test_one_of_a_pair_for_a_server_alone(self) -> None:
        self.make_data("INSERT INTO pair VALUES ('configuration', x'00')")
        self.assertIn("name the other node with --peer", self.check()[1][0])
        self.assertEqual(self.check("--peer=tcp:two:4545")[1], [])

    def test_one_of_a_node_for_a_registry(self) -> None:
        self.make_data("INSERT INTO log VALUES (1, 1, 1, 'act', '', 0, 0.0, x'00', NULL, x'00')")
        self.assertEqual(self.check()[1], [])
        self.assertIn("the registry needs one of its own", self.check("--role=registry")[1][0])


class ProofTests(SynchronousTestCase):
    """By what links know each other."""

    def setUp(self) -> None:
        self.data = os.path.abspath(self.mktemp())
        self.folder = self.mktemp()

    def check(self, *arguments: str) -> tuple[list[str], list[str]]:
        return check([f"--data={self.data}", *arguments])

    def test_a_certificate(self) -> None:
        directory = Authority(self.folder).sign("one", ("one.example",), 30)
        listen = "--listen=ssl:4444"
        found, problems = self.check(f"--tls={directory}", "--name=one", listen)
        self.assertEqual(problems, [])
        self.assertIn(f"proves: --tls={directory}, that it is one, one.example, until 2", found[1])
        _, problems = self.check("--name=one", listen)
        self.assertIn("cannot use --listen=ssl:4444", problems[0], "it has no certificate to show")

    def test_one_that_ends_soon(self) -> None:
        directory = Authority(self.folder).sign("one", days=2)
        found, problems = self.check(f"--tls={directory}", "--name=one")
        self.assertEqual(problems, [])
        self.assertIn("node.pem ends on", found[2])

    def test_those_that_cannot_be_used(self) -> None:
        authority = Authority(self.folder)
        one, two = authority.sign("one"), authority.sign("two")
        _, (problem,) = self.check(f"--tls={one}", "--name=two")
        self.assertIn("is for one, and this node is called two", problem)
        os.replace(os.path.join(two, "node.key"), os.path.join(one, "node.key"))
        _, (problem,) = self.check(f"--tls={one}", "--name=one")
        self.assertIn("is not the key of the certificate", problem)
        _, (problem,) = self.check(f"--tls={two}", "--name=two")
        self.assertIn("cannot read", problem)

    def test_a_secret(self) -> None:
        with open(os.open(self.folder, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write("correct horse battery staple")
        found, problems = self.check(f"--secret-file={self.folder}")
        self.assertEqual(problems, [])
        self.assertIn(f"knows what is in --secret-file={self.folder}", found[1])
        os.chmod(self.folder, 0o644)
        _, (problem,) = self.check(f"--secret-file={self.folder}")
        self.assertIn("chmod 600", problem)
