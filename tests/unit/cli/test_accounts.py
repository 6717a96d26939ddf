"""Tests for chatproto.cli.accounts: what is typed, what the node is told, what is shown."""

import io
import json
from typing import Any
from unittest import mock

import chatproto.cli.chat
from chatproto.chat.acts import Allow, Enroll, Forbid, Revoke, Strike, decode_decree
from chatproto.chat.passwords import matches
from chatproto.chat.session import KICK_S_MAX
from chatproto.cli import accounts
from chatproto.cli.chat import ChatOptions
from chatproto.cli.control import ControlFailed
from tests.unit.cli.test_main import CommandLineTestCase

NOW = 1700000000.0


class AccountsTestCase(CommandLineTestCase):
    def setUp(self) -> None:
        self.commands: list[tuple[str, str]] = []
        self.answer = "committed"
        self.patch(accounts, "command", self.command)
        self.patch(accounts.time, "time", lambda: NOW)

    def command(self, directory: str, line: str) -> str:
        self.commands.append((directory, line))
        return self.answer

    def decreed(self, *arguments: str, password: str = "") -> Any:
        """Run a command that says nothing when it is done; return what the node was told."""
        with mock.patch("sys.stdin", io.StringIO(password)):
            self.assertEqual(self.run_with(*arguments), (0, "", ""))
        ((directory, line),) = self.commands
        self.commands.clear()
        self.assertEqual(directory, "DIR")
        return decode_decree(line.removeprefix("decree "))


class AccountTests(AccountsTestCase):
    def test_only_the_hash_of_a_password_leaves_the_command(self) -> None:
        for doing, new in ((["add", "adel"], True), (["password", "adel"], False)):
            decree = self.decreed("account", "DIR", *doing, "--password-stdin", password="open sesame\n")
            self.assertTrue(matches("open sesame", decree.secret))
            self.assertEqual(decree, Enroll(name="adel", secret=decree.secret, roles=[] if new else None, new=new))

    def test_an_admin(self) -> None:
        decree = self.decreed("account", "DIR", "add", "zoe", "--admin", "--password-stdin", password="x")
        self.assertEqual(decree.roles, ["admin"])

    def test_the_password_is_asked_for_twice(self) -> None:
        asked: list[str] = []

        def ask(prompt: str) -> str:
            asked.append(prompt)
            return "one" if len(asked) < 3 else "two"

        self.patch(accounts, "password_asked", ask)
        self.assertTrue(matches("one", self.decreed("account", "DIR", "add", "adel").secret))
        asked.append("")
        self.patch(accounts, "password_asked", mock.Mock(side_effect=["one", "two"]))
        status, _, error = self.run_with("account", "DIR", "add", "adel")
        self.assertEqual((status, self.commands), (2, []))
        self.assertIn("differ", error)

    def test_the_rest(self) -> None:
        for arguments, decree in (
            (("account", "DIR", "remove", "adel"), Strike(name="adel")),
            (("account", "DIR", "logout", "adel"), Revoke(name="adel")),
            (("account", "DIR", "roles", "adel"), Enroll(name="adel", roles=[], new=False)),
            (("account", "DIR", "roles", "adel", "admin", "admin"), Enroll(name="adel", roles=["admin"], new=False)),
            (("unban", "DIR", "192.0.2.7/24"), Allow(subject="192.0.2.0/24")),
            (("ban", "DIR", "adel"), Forbid(subject="adel", until=NOW + KICK_S_MAX, time=NOW)),
            (
                ("ban", "DIR", "::1", "--for=2h", "--reason", "a b"),
                Forbid(subject="::1", until=NOW + 7200, time=NOW, reason="a b"),
            ),
        ):
            self.assertEqual(self.decreed(*arguments), decree)

    def test_what_makes_no_sense(self) -> None:
        for arguments in (
            ("account",),
            ("account", "DIR"),
            ("account", "DIR", "add", "guest7", "--password-stdin"),
            ("account", "DIR", "add", "adel", "--password-stdin"),
            ("account", "DIR", "roles", "adel", "Admin"),
            ("ban", "DIR", "a b"),
            ("ban", "DIR", "adel", "--for=0"),
            ("ban", "DIR", "adel", "--for=1y"),
            ("ban", "DIR", "adel", "--reason", "x" * 201),
        ):
            with mock.patch("sys.stdin", io.StringIO("")):
                status, out, error = self.run_with(*arguments)
            self.assertEqual((status, out, self.commands), (2, "", []), arguments)
            self.assertTrue(error)

    def test_a_refusal(self) -> None:
        self.patch(accounts, "command", mock.Mock(side_effect=ControlFailed("there is no account adel")))
        self.assertEqual(
            self.run_with("account", "DIR", "remove", "adel"), (1, "", "chatproto: there is no account adel\n")
        )


class ListTests(AccountsTestCase):
    def test_accounts(self) -> None:
        row = {"name": "adel", "roles": ["admin"], "password": False, "devices": 2, "tickets": 1}
        self.answer = json.dumps([row])
        status, out, _ = self.run_with("account", "DIR", "list")
        self.assertEqual((status, self.commands), (0, [("DIR", "accounts")]))
        self.assertEqual(out.splitlines(), ["ACCOUNT  ROLES  PASSWORD   DEVICES", "adel     admin  elsewhere  2"])
        self.assertEqual(json.loads(self.run_with("account", "DIR", "list", "--json")[1]), [row])

    def test_bans(self) -> None:
        rows = [{"subject": "192.0.2.7", "until": NOW, "reason": "why", "by": ""}]
        self.answer = json.dumps(rows)
        status, out, _ = self.run_with("bans", "DIR")
        self.assertEqual((status, self.commands), (0, [("DIR", "bans")]))
        self.assertRegex(out, r"WHO +UNTIL +BY +REASON\n192\.0\.2\.7  2023-11-1[45] ..:..  an operator  why\n")
        self.assertEqual(json.loads(self.run_with("bans", "DIR", "--json")[1]), rows)


class ChatTests(CommandLineTestCase):
    def chats(self, *arguments: str) -> ChatOptions:
        with mock.patch.object(chatproto.cli.chat, "chat", return_value="") as chat:
            self.assertEqual(self.run_with("chat", *arguments), (0, "", ""))
        (options,) = chat.call_args.args
        assert isinstance(options, ChatOptions)
        return options

    def test_the_password_comes_from_a_file_or_from_the_terminal(self) -> None:
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("open sesame\nmore\n")
        options = self.chats("--account", "adel", "--password-file", path)
        self.assertEqual((options.account, options.name, options.password), ("adel", "adel", "open sesame"))
        self.assertNotIn("sesame", repr(options))
        with mock.patch("chatproto.cli.main.password_asked", return_value="asked"):
            self.assertEqual(self.chats("--account", "adel").password, "asked")
        self.assertIsNone(self.chats().password)

    def test_mistakes(self) -> None:
        for arguments in (("--password-file", "x"), ("--account", "adel", "--password-file", "/nowhere")):
            self.assertEqual(self.run_with("chat", *arguments)[0], 2)

    def test_without_a_terminal_there_is_nobody_to_ask(self) -> None:
        with mock.patch("builtins.open", side_effect=OSError("no terminal")):
            status, _, error = self.run_with("chat", "--account", "adel")
        self.assertEqual(status, 2)
        self.assertIn("no terminal", error)
