import os
from dataclasses import fields
from typing import Any

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.settings import ChatSettings
from chatproto.options import Options, default_data_directory, parse_retention
from chatproto.services.node import NodeSettings, Retention


def parsed(*arguments: str) -> NodeSettings:
    options = Options()
    options.parseOptions(list(arguments))
    return options.settings()


class DefaultTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"XDG_STATE_HOME": "/state", "HOME": "/elsewhere/ann"})

    def test_without_options(self) -> None:
        self.assertEqual(
            parsed(),
            NodeSettings("/state/chatproto/primary", ("tcp:4444",), ChatSettings(name="primary"), Retention()),
        )

    def test_the_data_directory_is_named_after_the_node(self) -> None:
        self.assertEqual(parsed("--name=east").data, "/state/chatproto/east")
        self.assertEqual(parsed("--name=east").chat.name, "east")

    def test_without_a_state_directory_it_is_in_the_usual_place(self) -> None:
        for state in ({}, {"XDG_STATE_HOME": ""}):
            os.environ.clear()
            os.environ.update({"HOME": "/elsewhere/ann", **state})
            self.assertEqual(default_data_directory("x"), "/elsewhere/ann/.local/state/chatproto/x")

    def test_arguments_are_the_processes_where_none_are_given(self) -> None:
        self.patch(__import__("sys"), "argv", ["twistd", "--name=west"])
        options = Options()
        options.parseOptions()
        self.assertEqual(options.settings().chat.name, "west")


class OptionTests(SynchronousTestCase):
    def test_every_setting_has_its_option(self) -> None:
        settings = parsed(
            "--role=primary",
            "--name=east-1.x_y",
            "--data=/srv/chat",
            "--advertise=chat.example:4444",
            "--capacity=7",
            "--history=12",
            "--retain=30d",
            "--rate-limit=2.5",
            "--greet-after=0.25",
            "--session-grace=3",
            "--ping-every=4",
            "--silence-max=9",
            "--handshake-max=6",
            "--line-bytes-max=1001",
            "--message-chars-max=1002",
            "--backlog-bytes-max=1003",
            "--in-flight-max=1004",
            "--nonsense-max=1005",
            "--connections-per-address-max=0",
            "--handshakes-max=1007",
            "--rooms-per-owner-max=0",
            "--rooms-per-session-max=1009",
            "--listen=tcp:1",
            "--listen=tcp:2:interface=127.0.0.1",
        )
        chat = ChatSettings(
            name="east-1.x_y",
            servers=["chat.example:4444"],
            history=12,
            capacity=7,
            greet_after_s=0.25,
            session_grace_s=3.0,
            heartbeat_s=4.0,
            silence_s_max=9.0,
            handshake_s_max=6.0,
            rate_lines=2.5,
            burst_lines=25.0,
            line_bytes_max=1001,
            message_chars_max=1002,
            backlog_bytes_max=1003,
            in_flight_max=1004,
            nonsense_max=1005,
            connections_per_address_max=0,
            handshakes_max=1007,
            rooms_per_owner_max=0,
            rooms_per_session_max=1009,
        )
        self.assertEqual(
            settings,
            NodeSettings("/srv/chat", ("tcp:1", "tcp:2:interface=127.0.0.1"), chat, Retention(age_s=30 * 86400)),
        )
        usual = ChatSettings()
        same = [field.name for field in fields(chat) if getattr(chat, field.name) == getattr(usual, field.name)]
        self.assertEqual(same, [], "each has another value than usual here")

    def test_histories(self) -> None:
        for value, history in (("all", "all"), ("none", "none"), ("0", 0), ("500", 500)):
            self.assertEqual(parsed(f"--history={value}").chat.history, history)

    def check_refused(self, *arguments: str, names: str) -> None:
        error = self.assertRaises(UsageError, parsed, *arguments)
        self.assertIn(names, str(error))

    def test_values_that_make_no_sense_are_refused_by_the_options_name(self) -> None:
        for argument in (
            "role=secondary",
            "name=",
            "name=.hidden",
            "name=a/b",
            "name=" + "a" * 65,
            "capacity=0",
            "capacity=-1",
            "capacity=many",
            "capacity=1.5",
            "capacity=" + "9" * 30,
            "history=some",
            "history=-1",
            "retain=much",
            "rate-limit=-1",
            "rate-limit=fast",
            "rate-limit=nan",
            "rate-limit=inf",
            "greet-after=-0.1",
            "greet-after=soon",
            "greet-after=1e9",
            "session-grace=nan",
            "ping-every=0",
            "silence-max=0",
            "handshake-max=0",
            "line-bytes-max=0",
            "message-chars-max=0",
            "backlog-bytes-max=0",
            "in-flight-max=0",
            "nonsense-max=0",
            "connections-per-address-max=-1",
            "handshakes-max=0",
            "rooms-per-owner-max=-1",
            "rooms-per-session-max=0",
        ):
            self.check_refused(f"--{argument}", names=argument.split("=")[0])

    def test_what_may_be_nothing(self) -> None:
        chat = parsed("--rate-limit=0", "--greet-after=0", "--session-grace=0").chat
        self.assertEqual((chat.rate_lines, chat.burst_lines, chat.greet_after_s, chat.session_grace_s), (0, 0, 0, 0))

    def test_a_history_beyond_all_bounds(self) -> None:
        self.check_refused("--history=" + "9" * 30, names="history")

    def test_silence_is_not_shorter_than_the_time_between_pings(self) -> None:
        self.check_refused("--ping-every=50", names="--silence-max")
        self.assertEqual(parsed("--ping-every=45").chat.heartbeat_s, 45)

    def test_unknown_options_are_refused(self) -> None:
        self.assertRaises(UsageError, parsed, "--colour=blue")
        self.assertRaises(UsageError, parsed, "chat")

    def test_help_names_every_option(self) -> None:
        text = Options().getUsage()
        for row in Options.optParameters:
            self.assertIn(f"--{row[0]}=", text)
        self.assertIn("--listen=", text)


class RetentionTests(SynchronousTestCase):
    def test_ages_counts_and_sizes(self) -> None:
        for value, retention in (
            ("45s", Retention(age_s=45)),
            ("2m", Retention(age_s=120)),
            ("3h", Retention(age_s=10800)),
            ("30d", Retention(age_s=30 * 86400)),
            ("2w", Retention(age_s=14 * 86400)),
            ("100000", Retention(count=100_000)),
            ("5KB", Retention(bytes_max=5_000)),
            ("6MB", Retention(bytes_max=6_000_000)),
            ("2GB", Retention(bytes_max=2_000_000_000)),
            ("1TB", Retention(bytes_max=10**12)),
            ("30d,100000,2GB", Retention(30 * 86400, 100_000, 2_000_000_000)),
            (" 2GB , 30d ", Retention(age_s=30 * 86400, bytes_max=2_000_000_000)),
        ):
            self.assertEqual(parse_retention(value), retention, value)

    def test_what_makes_no_sense(self) -> None:
        for value in (
            "",
            "0",
            "0d",
            "d",
            "-5d",
            "1.5d",
            "30D",
            "2gb",
            "2G",
            "5 d",
            "30d,",
            ",30d",
            "all",
            "30d,2w",
            "1,2",
            "1KB,1MB",
        ):
            self.assertRaises(ValueError, parse_retention, value)


class ConfigTests(SynchronousTestCase):
    def write(self, text: str) -> str:
        path = self.mktemp()
        with open(path, "w") as file:
            file.write(text)
        return path

    def with_config(self, text: str, *arguments: str) -> NodeSettings:
        return parsed(f"--config={self.write(text)}", *arguments)

    def check_refused(self, text: str, *names: str) -> None:
        error = self.assertRaises(UsageError, self.with_config, text)
        for name in names:
            self.assertIn(name, str(error))

    def test_options_stand_in_a_file(self) -> None:
        settings = self.with_config(
            'name = "east"\ncapacity = 7\nhistory = 12\nretain = "30d,5"\ngreet-after = 0.25\nrate-limit = 3\n'
            'listen = ["tcp:1", "tcp:2"]\ndata = "/srv/chat"\n'
        )
        chat = settings.chat
        self.assertEqual(
            (chat.name, chat.capacity, chat.history, chat.greet_after_s, chat.rate_lines), ("east", 7, 12, 0.25, 3.0)
        )
        self.assertEqual((settings.listen, settings.data), (("tcp:1", "tcp:2"), "/srv/chat"))
        self.assertEqual(settings.retain, Retention(age_s=30 * 86400, count=5))

    def test_one_endpoint_needs_no_list(self) -> None:
        self.assertEqual(self.with_config('listen = "tcp:1"').listen, ("tcp:1",))

    def test_the_command_line_wins_wherever_it_stands(self) -> None:
        path = self.write('name = "east"\ncapacity = 7\nlisten = ["tcp:1"]\n')
        for arguments in (
            ("--capacity=8", "--listen=tcp:2", f"--config={path}"),
            ("--config", path, "--capacity=8", "--listen=tcp:2"),
        ):
            settings = parsed(*arguments)
            self.assertEqual((settings.chat.name, settings.chat.capacity, settings.listen), ("east", 8, ("tcp:2",)))

    def test_an_empty_file_says_nothing(self) -> None:
        self.assertEqual(self.with_config(""), parsed())

    def test_values_that_make_no_sense_are_refused_by_file_and_name(self) -> None:
        for text, name in (
            ("capacity = 0", "capacity"),
            ('capacity = "many"', "capacity"),
            ("capacity = 1.5", "capacity"),
            ("capacity = true", "capacity"),
            ("capacity = [1]", "capacity"),
            ("greet-after = nan", "greet-after"),
            ("greet-after = inf", "greet-after"),
            ('retain = "much"', "retain"),
            ("history = -1", "history"),
            ("listen = 5", "listen"),
            ("listen = [5]", "listen"),
            ("ping-every = 50", "--silence-max"),
        ):
            self.check_refused(text, name)

    def test_a_file_is_named_where_it_is_wrong(self) -> None:
        path = self.write("capacity = 0")
        error = self.assertRaises(UsageError, parsed, f"--config={path}")
        self.assertIn(path, str(error))

    def test_unknown_keys_are_refused_by_name(self) -> None:
        self.check_refused('colour = "blue"', "colour")
        self.check_refused('config = "other"', "config")
        self.check_refused("greet_after = 1", "greet_after")

    def test_what_is_no_toml_is_refused(self) -> None:
        self.check_refused("capacity 7")
        self.check_refused("capacity = 7\ncapacity = 8\n")
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b'name = "\xff"')
        self.assertRaises(UsageError, parsed, f"--config={path}")

    def test_a_file_that_cannot_be_read_is_refused(self) -> None:
        path = self.mktemp()
        error = self.assertRaises(UsageError, parsed, f"--config={path}")
        self.assertIn(path, str(error))
        self.assertRaises(UsageError, parsed, "--config")

    def test_an_abbreviated_config_is_not_passed_over(self) -> None:
        path = self.write("capacity = 7")
        for arguments in ((f"--conf={path}",), ("--conf", path)):
            try:
                settings: Any = parsed(*arguments)
            except UsageError:
                continue
            self.assertEqual(settings.chat.capacity, 7)

    def test_two_configs(self) -> None:
        first, second = self.write("capacity = 7"), self.write("capacity = 8")
        try:
            settings: Any = parsed(f"--config={first}", f"--config={second}")
        except UsageError:
            return
        self.assertEqual(settings.chat.capacity, 8, "as with any other option, the last one counts")

    def test_listening_nowhere_is_refused(self) -> None:
        self.check_refused("listen = []", "listen")
