"""Tests for chatproto.cli.main: the command line, without a reactor."""

import io
import os
import socket
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

import chatproto.cli.chat
from chatproto.cli import main
from chatproto.cli.chat import ChatOptions
from chatproto.cli.control import ControlFailed
from chatproto.cli.demo import DemoOptions
from chatproto.cli.deployment import DemoFailed
from chatproto.cli.news.demo import NewsDemoOptions
from chatproto.cli.servers import Misuse
from chatproto.cli.status import StatusFailed
from chatproto.errors import RegistryUnanswered, StoreError


class CommandLineTestCase(SynchronousTestCase):
    def run_with(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command; return its status and what it wrote to standard output and error."""
        out, error = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(error):
            status = main(arguments)
        return status, out.getvalue(), error.getvalue()


class Usage(CommandLineTestCase):
    def test_nothing_to_do_is_wrong_usage(self) -> None:
        status, out, error = self.run_with()
        self.assertEqual((status, out), (2, ""))
        self.assertIn("COMMAND", error)

    def test_help(self) -> None:
        status, out, _ = self.run_with("--help")
        self.assertEqual(status, 0)
        for word in ("chat", "archive", "--version", "Exit status"):
            self.assertIn(word, out)

    def test_help_of_the_chat_explains_every_option(self) -> None:
        status, out, _ = self.run_with("chat", "--help")
        self.assertEqual(status, 0)
        for word in ("SERVER", "--name", "--room", "--history", "--tls", "--ca", "--plain", "--connect-timeout"):
            self.assertIn(word, out)
        for word in ("--direct [HOST:]PORT", "#kick ROOM NAME SECONDS", "message ROOM INDEX TIME NAME TEXT"):
            self.assertIn(word, out)

    def test_version(self) -> None:
        status, out, _ = self.run_with("--version")
        self.assertEqual(status, 0)
        self.assertTrue(out.startswith("chatproto "), out)

    def test_values_that_make_no_sense(self) -> None:
        for arguments in (
            ("--name", "x"),
            ("--name", "a b c"),
            ("--room", "?"),
            ("--history", "some"),
            ("--history", "-1"),
            ("--history", "9" * 5000),
            ("--connect-timeout", "0"),
            ("--connect-timeout", "nan"),
            ("--connect-timeout", "soon"),
            *(("--direct", value) for value in ("", "80", "70000", "host", ":7000", "::1:7000", "[::1]", "-1")),
            ("--nonsense",),
        ):
            status, out, error = self.run_with("chat", *arguments)
            self.assertEqual((status, out), (2, ""), arguments)
            self.assertIn(arguments[0], error)


class Chat(CommandLineTestCase):
    def chat(self, *arguments: str, problem: str | Exception = "") -> tuple[ChatOptions | None, int, str]:
        """Run `chat`; return the options it came to, its status, and what it wrote to standard error."""
        with mock.patch.object(chatproto.cli.chat, "chat") as chat:
            chat.configure_mock(**({"return_value": problem} if isinstance(problem, str) else {"side_effect": problem}))
            status, _, error = self.run_with("chat", *arguments)
        return (chat.call_args.args[0] if chat.called else None), status, error

    def test_the_defaults(self) -> None:
        options, status, error = self.chat()
        self.assertEqual((options, status, error), (ChatOptions(), 0, ""))

    def test_a_dns_server_is_named_by_its_address(self) -> None:
        for wrong in ("127.0.0.1", "localhost:53", "::1:53", "127.0.0.1:0"):
            options, status, error = self.chat("--dns", wrong)
            self.assertEqual((options, status), (None, 2), wrong)
            self.assertIn(repr(wrong), error)

    def test_everything(self) -> None:
        options, _, _ = self.chat(
            *("east:1", "west:2", "--name", "alice", "--room", "Den", "--room", "Deck", "--room", "Den"),
            *("--history", "none", "--tls", "--ca", "ca.pem", "--plain", "--connect-timeout", "2.5"),
            *("--dns", "[::1]:5353"),
            *("--direct", "me.example:7000"),
        )
        self.assertEqual(
            options,
            ChatOptions(
                ("east:1", "west:2"),
                "alice",
                ("Den", "Deck"),
                "none",
                True,
                "ca.pem",
                True,
                2.5,
                ("::1", 5353),
                direct=("me.example", 7000),
            ),
        )

    def test_through_a_registry_no_server_need_be_named(self) -> None:
        options, _, _ = self.chat("--registry", "north:4646", "--service", "tea")
        self.assertEqual(options, ChatOptions((), registry="north:4646", service="tea"))
        assert options is not None
        self.assertEqual(options.place, "tea at north:4646")
        options, _, _ = self.chat("east:1", "--registry", "north")
        assert options is not None
        self.assertEqual((options.servers, options.place), (("east:1",), "east:1 or chat at north"))

    def test_where_direct_connections_are_taken(self) -> None:
        here = socket.gethostname()
        for value, expected in (("0", (here, 0)), ("7000", (here, 7000)), ("[::1]:7000", ("::1", 7000))):
            options, _, _ = self.chat("--direct", value)
            assert options is not None
            self.assertEqual(options.direct, expected)

    def test_history_in_messages(self) -> None:
        options, _, _ = self.chat("--history", "0")
        assert options is not None
        self.assertEqual(options.history, 0)

    def test_a_problem_is_one_line_and_status_1(self) -> None:
        self.assertEqual(self.chat(problem="no server")[1:], (1, "chatproto: no server\n"))

    def test_wrong_usage_that_shows_late_is_status_2(self) -> None:
        self.assertEqual(self.chat(problem=Misuse("no such thing"))[1:], (2, "chatproto: no such thing\n"))

    def test_authorities_without_tls_are_wrong_usage(self) -> None:
        options, status, error = self.chat("--ca", "ca.pem")
        self.assertEqual((options, status), (None, 2))
        self.assertIn("--tls", error)

    def test_interrupted(self) -> None:
        with mock.patch.object(chatproto.cli.chat, "chat", side_effect=KeyboardInterrupt):
            self.assertEqual(self.run_with("chat")[::2], (1, "chatproto: interrupted\n"))


class Archive(CommandLineTestCase):
    def test_lines_go_to_standard_output(self) -> None:
        asked = []

        def archive(directory: str, room: str | None, write: object) -> None:
            asked.append((directory, room))
            write("line\n")  # type: ignore[operator]

        with mock.patch("chatproto.cli.archive.archive", archive):
            self.assertEqual(self.run_with("archive", "data"), (0, "line\n", ""))
            self.assertEqual(self.run_with("archive", "data", "--room", "Den"), (0, "line\n", ""))
        self.assertEqual(asked, [("data", None), ("data", "Den")])

    def test_no_data_directory(self) -> None:
        directory = self.mktemp()
        Path(directory).mkdir()
        status, out, error = self.run_with("archive", directory)
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(error.count("\n"), 1)
        self.assertIn(directory, error)

    def test_a_store_that_fails(self) -> None:
        with mock.patch("chatproto.cli.archive.archive", side_effect=StoreError("it is broken")):
            self.assertEqual(self.run_with("archive", "data"), (1, "", "chatproto: it is broken\n"))


class BackupAndImport(CommandLineTestCase):
    def test_what_is_done_is_said(self) -> None:
        with mock.patch("chatproto.cli.backup.backup", return_value="2 messages") as backup:
            self.assertEqual(self.run_with("backup", "data", "file"), (0, "2 messages\n", ""))
            self.assertEqual(self.run_with("backup", "--replace", "data", "file"), (0, "2 messages\n", ""))
        self.assertEqual([call.kwargs for call in backup.mock_calls], [{"replace": False}, {"replace": True}])
        self.assertEqual([call.args[:2] for call in backup.mock_calls], [("data", "file")] * 2)
        with mock.patch("chatproto.cli.backup.verify", return_value="2 messages") as verify:
            self.assertEqual(self.run_with("backup", "--verify", "file"), (0, "2 messages\n", ""))
        verify.assert_called_once_with("file")
        with mock.patch("chatproto.cli.backup.restore", return_value="2 messages") as restore:
            self.assertEqual(self.run_with("restore", "file", "data"), (0, "2 messages\n", ""))
        restore.assert_called_once_with("file", "data")

    def test_wrong_usage(self) -> None:
        for arguments in ((), ("data",), ("--verify=file", "data"), ("--verify=file", "data", "file")):
            status, out, error = self.run_with("backup", *arguments)
            self.assertEqual((status, out), (2, ""), arguments)
            self.assertIn("--verify", error)

    def test_import_reads_a_file_or_standard_input(self) -> None:
        name = self.mktemp()
        Path(name).write_bytes(b"lines")
        given: list[tuple[bytes, str, str | None]] = []

        def importing(lines: Any, directory: str, owner: str | None) -> str:
            given.append((lines.read(), directory, owner))
            return "2 messages"

        with mock.patch("chatproto.cli.importing.import_archive", importing):
            self.assertEqual(self.run_with("import", name, "data"), (0, "2 messages\n", ""))
            with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"piped"))):
                self.assertEqual(self.run_with("import", "-", "data", "--owner=adel"), (0, "2 messages\n", ""))
        self.assertEqual(given, [(b"lines", "data", None), (b"piped", "data", "adel")])
        self.assertEqual(self.run_with("import", "--owner=x", name, "data")[0], 2)

    def test_a_file_that_cannot_be_read(self) -> None:
        name = self.mktemp()
        self.assertEqual(
            self.run_with("import", name, "data"),
            (1, "", f"chatproto: cannot read {name}: No such file or directory\n"),
        )


HERE = {"registry": None, "service": "chat"}


class Status(CommandLineTestCase):
    def status(self, *arguments: str, **answer: Any) -> tuple[Any, int, str, str]:
        """Run `status`; return what it came to be called with, its exit status, and what it wrote."""
        with mock.patch("chatproto.cli.status.status", **answer) as asked:
            found = self.run_with("status", *arguments)
        return (asked.call_args if asked.called else None), *found

    def test_the_defaults(self) -> None:
        asked, status, out, error = self.status(return_value=("a table", False))
        self.assertEqual((status, out, error), (0, "a table\n", ""))
        self.assertEqual(
            asked,
            mock.call(("127.0.0.1:4444",), timeout_s=3.0, tls=False, ca=None, json_wanted=False, wide=False, **HERE),
        )

    def test_everything(self) -> None:
        arguments = ("east:1", "west:2", "--json", "--tls", "--ca", "ca.pem", "--timeout", "0.5")
        asked, *_ = self.status(*arguments, return_value=("", True))
        self.assertEqual(
            asked,
            mock.call(("east:1", "west:2"), timeout_s=0.5, tls=True, ca="ca.pem", json_wanted=True, wide=False, **HERE),
        )

    def test_through_a_registry_no_server_need_be_named(self) -> None:
        asked, *_ = self.status("--registry", "north", "--service", "tea", return_value=("", True))
        self.assertEqual((asked.args[0], asked.kwargs["registry"], asked.kwargs["service"]), ((), "north", "tea"))
        asked, *_ = self.status("east", "--registry", "north", return_value=("", True))
        self.assertEqual(asked.args[0], ("east",))

    def test_a_registry_that_does_not_answer(self) -> None:
        _, status, out, error = self.status("--registry=north", side_effect=RegistryUnanswered("not within 3 s"))
        self.assertEqual((status, out, error), (1, "", "chatproto: not within 3 s\n"))

    def test_nobody_answers(self) -> None:
        for can, ended in ((True, 0), (False, 1)):
            _, status, out, _ = self.status("--check", return_value=("a table", can))
            self.assertEqual((status, out), (ended, "a table\n"))
        _, status, out, error = self.status(side_effect=StatusFailed("east:1: refused"))
        self.assertEqual((status, out, error), (1, "", "chatproto: east:1: refused\n"))

    def test_wrong_usage(self) -> None:
        self.assertEqual(self.status(side_effect=Misuse("no such thing"))[1:], (2, "", "chatproto: no such thing\n"))
        for arguments in (("--ca", "ca.pem"), ("--timeout", "0"), ("--timeout", "nan"), ("--nonsense",)):
            asked, status, out, _ = self.status(*arguments)
            self.assertEqual((asked, status, out), (None, 2, ""), arguments)


class Switchover(CommandLineTestCase):
    def test_done(self) -> None:
        with mock.patch("chatproto.cli.control.command", return_value="west leads") as command:
            self.assertEqual(self.run_with("switchover", "data"), (0, "west leads\n", ""))
        command.assert_called_once_with("data", "switchover")

    def test_refused(self) -> None:
        with mock.patch("chatproto.cli.control.command", side_effect=ControlFailed("no node runs on data")):
            self.assertEqual(self.run_with("switchover", "data"), (1, "", "chatproto: no node runs on data\n"))

    def test_it_needs_a_directory(self) -> None:
        self.assertEqual(self.run_with("switchover")[:2], (2, ""))


class Reload(CommandLineTestCase):
    def test_what_could_not_be_changed_comes_first(self) -> None:
        def command(directory: str, line: str, tell: Callable[[str], object]) -> str:
            tell("not changed: options: --listen takes a restart")
            return f"{line} {directory}"

        with mock.patch("chatproto.cli.control.command", command):
            status, out, error = self.run_with("reload", "data")
        self.assertEqual((status, error), (0, ""))
        self.assertEqual(out, "not changed: options: --listen takes a restart\nreload data\n")

    def test_what_could_not_be_changed_is_in_its_status(self) -> None:
        with mock.patch("chatproto.cli.control.command", side_effect=ControlFailed("not all of it")):
            self.assertEqual(self.run_with("reload", "data"), (1, "", "chatproto: not all of it\n"))


class Check(CommandLineTestCase):
    def check(self, *arguments: str) -> tuple[int, str, str]:
        return self.run_with("check", f"--data={self.mktemp()}", *arguments)

    def test_it_could_start(self) -> None:
        status, out, error = self.check("--role=registry", "--insecure-links", "--registry-listen", "tcp:7")
        self.assertEqual((status, error), (0, ""))
        self.assertEqual(out.splitlines()[:2], ["role: registry, called registry", "serves: --registry-listen=tcp:7"])

    def test_it_could_not(self) -> None:
        status, _, error = self.check("--listen=nonsense:1", "--listen=nonsense:2")
        self.assertEqual((status, error.count("\n"), error.count("Unknown endpoint")), (1, 1, 2))

    def test_options_that_are_wrong(self) -> None:
        self.assertEqual(self.check("--capacity=x")[0], 2)

    def test_it_explains_itself(self) -> None:
        status, out, _ = self.run_with("check", "--help")
        self.assertEqual(status, 0)
        self.assertIn("Opens no port", out)


class Drain(CommandLineTestCase):
    def test_done(self) -> None:
        for arguments, timeout_s in (((), 60.0), (("--timeout=5",), 5.0)):
            with mock.patch("chatproto.cli.control.command", return_value="2 clients went") as command:
                self.assertEqual(self.run_with("drain", *arguments, "data"), (0, "2 clients went\n", ""))
            command.assert_called_once_with("data", "drain", timeout_s, ends=True)

    def test_refused(self) -> None:
        with mock.patch("chatproto.cli.control.command", side_effect=ControlFailed("no node runs on data")):
            self.assertEqual(self.run_with("drain", "data"), (1, "", "chatproto: no node runs on data\n"))

    def test_it_needs_a_directory_and_some_time(self) -> None:
        for arguments in ((), ("--timeout=0", "data")):
            self.assertEqual(self.run_with("drain", *arguments)[:2], (2, ""))


class Demo(CommandLineTestCase):
    def demo(
        self, *arguments: str, of: str = "chatproto.cli.demo.demo", **answer: Any
    ) -> tuple[DemoOptions | NewsDemoOptions | None, int, str, str]:
        with mock.patch(of, **answer) as demo:
            found = self.run_with("demo", *arguments)
        if demo.called:
            with redirect_stdout(io.StringIO()) as out:
                demo.call_args.args[1]("what it says")
            self.assertEqual(out.getvalue(), "what it says\n")
        return (demo.call_args.args[0] if demo.called else None), *found

    def news_demo(self, *arguments: str) -> tuple[DemoOptions | NewsDemoOptions | None, int, str, str]:
        return self.demo("news", *arguments, of="chatproto.cli.news.demo.news_demo")

    def test_the_defaults(self) -> None:
        self.assertEqual(self.demo(), (DemoOptions(None, 4444), 0, "", ""))
        self.assertEqual(self.news_demo(), (NewsDemoOptions(None, 4800), 0, "", ""))

    def test_everything(self) -> None:
        common = ("--data", "there", "--port", "5600", "--for", "9")
        options, *_ = self.demo(*common, "--kill-primary-after", "2.5")
        self.assertEqual(options, DemoOptions("there", 5600, 2.5, 9))
        options, *_ = self.news_demo(*common, "--pace", "0.5")
        self.assertEqual(options, NewsDemoOptions("there", 5600, 0.5, 9))

    def test_it_cannot_be_started(self) -> None:
        found = self.demo(side_effect=DemoFailed("port 4445 cannot be used"))
        self.assertEqual(found[1:], (1, "", "chatproto: port 4445 cannot be used\n"))

    def test_values_that_make_no_sense(self) -> None:
        for arguments in (
            ("--port", "0"),
            ("--port", "65513"),
            ("--port", "9" * 5000),
            ("--port", "-1"),
            ("--port", "http"),
            ("--kill-primary-after", "0"),
            ("--kill-primary-after", "soon"),
            ("--pace", "2"),
            ("there",),
        ):
            options, status, out, error = self.demo(*arguments)
            self.assertEqual((options, status, out), (None, 2, ""), arguments)
            self.assertIn(arguments[0], error)
        options, *_ = self.demo("--port", "65512")
        self.assertEqual(options, DemoOptions(None, 65512))
        found = self.news_demo("--kill-primary-after", "2")
        self.assertEqual(found, (None, 2, "", "chatproto: --kill-primary-after is for the chat\n"))


class Imports(SynchronousTestCase):
    def test_the_command_picks_the_reactor_late(self) -> None:
        """The terminal view needs another reactor than lines do, so nothing that is imported before may pick one."""
        import subprocess

        code = "import sys, chatproto.cli, chatproto.cli.chat; sys.exit('twisted.internet.reactor' in sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
        self.assertEqual(run.returncode, 0)


class Certificates(CommandLineTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()

    def test_they_are_made_for_each_name_and_shown(self) -> None:
        status, out, error = self.run_with(
            "certs", self.folder, "registry", "one.example", "--host", "chat.example", "--host=10.0.0.1", "--days=30"
        )
        self.assertEqual((status, error), (0, ""))
        self.assertIn("Made an authority", out)
        for name in ("registry", "one.example"):
            self.assertEqual(set(os.listdir(os.path.join(self.folder, name))), {"ca.pem", "node.pem", "node.key"})
            self.assertIn(f"--name={name} --tls={name}", out)
        status, out, _ = self.run_with("certs", "show", os.path.join(self.folder, "one.example", "node.pem"))
        self.assertEqual(status, 0)
        for said in ("names      one.example, chat.example\n", "addresses  10.0.0.1\n", ", in 29 days\n"):
            self.assertIn(said, out)

    def test_again_they_are_renewed(self) -> None:
        self.run_with("certs", self.folder, "one")
        status, out, _ = self.run_with("certs", self.folder, "one", "two")
        self.assertEqual((status, "authority" in out), (0, False))

    def test_renewed_they_are_for_the_hosts_that_they_were_for_unless_told_otherwise(self) -> None:
        for hosts, said in (
            (("--host=chat.example", "--host=10.0.0.1"), "names      one, chat.example\naddresses  10.0.0.1\n"),
            ((), "names      one, chat.example\naddresses  10.0.0.1\n"),
            (("--host=one.example",), "names      one, one.example\naddresses  -\n"),
        ):
            self.run_with("certs", self.folder, "one", *hosts)
            self.assertIn(said, self.run_with("certs", "show", os.path.join(self.folder, "one", "node.pem"))[1])

    def test_mistakes(self) -> None:
        self.run_with("certs", self.folder, "one")
        os.unlink(os.path.join(self.folder, "ca.key"))
        for arguments, expected, said in (
            ((self.folder, "one"), 1, "ca.key is not there"),
            (("show", self.folder), 1, "cannot read"),
            ((self.folder, "../one"), 2, "'../one' is no name of a node"),
            ((self.folder, "one", "--host=a b"), 2, "neither a name of the DNS nor an address"),
            ((self.folder, "one", "--host=*.example"), 2, "neither a name of the DNS nor an address"),
            ((self.folder, "one", "two", "--host=two"), 2, "every one of them could be two"),
            ((self.folder, "one", "--days=0"), 2, "not a number of days"),
            ((self.folder,), 2, "NAME"),
        ):
            status, _, error = self.run_with("certs", *arguments)
            self.assertEqual(status, expected, error)
            self.assertIn(said, error)


class Authorities(CommandLineTestCase):
    def test_they_are_for_tls(self) -> None:
        status, _, error = self.run_with("chat", "--plain", "--ca", "missing", "one")
        self.assertEqual(status, 2)
        self.assertIn("--ca needs --tls, tls:HOST:PORT, or --registry", error)
        for arguments in (("tls:one",), ("tls:one:5",), ("--registry", "tls:one")):
            status, _, error = self.run_with("status", "--ca", "missing", *arguments)
            self.assertEqual(status, 2)
            self.assertIn("cannot read certificates from missing", error)
