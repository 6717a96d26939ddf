import os
import socket
from dataclasses import fields
from typing import Any

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.settings import ChatSettings
from chatproto.gateway import PageSettings
from chatproto.options import Options, parse_retention
from chatproto.pair.log import PairSettings
from chatproto.readers import advertised_from, default_data_directory
from chatproto.services.dns import DNSSettings
from chatproto.services.monitor import MonitorSettings
from chatproto.services.node import NodeSettings, PeerSettings, Retention
from chatproto.services.registering import RegisteringSettings
from chatproto.services.registry import RegistrySettings


def options_of(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(list(arguments))
    return options


def parsed(*arguments: str) -> NodeSettings:
    """Return what options say of a node; how its links are guarded is not asked here."""
    return options_of("--insecure-links", *arguments).settings()


class DefaultTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"XDG_STATE_HOME": "/state", "HOME": "/elsewhere/ann"})

    def test_without_options(self) -> None:
        self.assertEqual(
            parsed(),
            NodeSettings(
                "/state/chatproto/primary",
                ("tcp:4444",),
                ChatSettings(name="primary"),
                Retention(),
                control="/state/chatproto/primary/control",
            ),
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
            "--rate-limit-address=12.5",
            "--greet-after=0.25",
            "--session-grace=3",
            "--ping-every=4",
            "--silence-max=9",
            "--handshake-max=6",
            "--drain-max=8",
            "--line-bytes-max=1001",
            "--message-chars-max=1002",
            "--backlog-bytes-max=1003",
            "--in-flight-max=1004",
            "--nonsense-max=1005",
            "--connections-per-address-max=0",
            "--arrivals-per-address=8.5",
            "--handshakes-max=1007",
            "--rooms-per-owner-max=0",
            "--rooms-per-session-max=1009",
            "--announcement=Be kind.",
            "--no-guests",
            "--ticket-for=1013",
            "--min-clients=5",
            "--held-max=1011",
            "--held-bytes-max=1012",
            "--web=tcp:8080",
            "--web-advertise=https://chat.example:8443/",
            "--web-origins=https://other.example:443",
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
            rate_lines_per_address=12.5,
            line_bytes_max=1001,
            message_chars_max=1002,
            backlog_bytes_max=1003,
            in_flight_max=1004,
            nonsense_max=1005,
            connections_per_address_max=0,
            arrivals_per_address=8.5,
            handshakes_max=1007,
            rooms_per_owner_max=0,
            rooms_per_session_max=1009,
            guests=False,
            ticket_s=1013.0,
            announcement="Be kind.",
            pages=["https://chat.example:8443"],
            clients_min=5,
            held_max=1011,
            held_bytes_max=1012,
        )
        self.assertEqual(
            settings,
            NodeSettings(
                "/srv/chat",
                ("tcp:1", "tcp:2:interface=127.0.0.1"),
                chat,
                Retention(age_s=30 * 86400),
                control="/srv/chat/control",
                drain_s_max=8.0,
                page=PageSettings("tcp:8080", ("https://other.example",)),
            ),
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
            "min-clients=-1",
            "held-max=0",
            "web-advertise=chat.example:8080",
            "web-advertise=ftp://chat.example",
            "web-origins=https://one.example,two.example",
            "held-bytes-max=0",
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

    def test_a_chat_that_can_never_begin_is_refused(self) -> None:
        self.check_refused("--capacity=3", "--min-clients=4", names="--min-clients")
        self.assertEqual(parsed("--capacity=3", "--min-clients=3").chat.clients_min, 3)
        pair = ("--peer=tcp:west:4545", "--capacity=3", "--min-clients=4")
        self.assertEqual(parsed(*pair).chat.clients_min, 4, "the other node has room, too")

    def test_unknown_options_are_refused(self) -> None:
        self.assertRaises(UsageError, parsed, "--colour=blue")
        self.assertRaises(UsageError, parsed, "chat")

    def test_help_names_every_option(self) -> None:
        text = Options().getUsage()
        for row in Options.rows()[0]:
            self.assertIn(f"--{row[0]}=", text)
        for row in Options.rows()[1]:
            self.assertIn(f"--{row[0]}", text)
        self.assertIn("--listen=", text)


REGISTRY = "--registry=tcp:north:4646"
PEER = "--peer=tcp:west:4545"


NODES = ("--peer-listen", "--registry-listen")


class GuardTests(SynchronousTestCase):
    """From where links of nodes are taken, and what is asked of them there."""

    def listen(self, *arguments: str) -> str:
        listened = [place for option, place, _ in options_of(*arguments).endpoints() if option in NODES]
        return listened[0] if listened else ""

    def test_unless_it_is_said_how_it_is_guarded_a_link_stays_on_this_machine(self) -> None:
        self.assertEqual(self.listen("--role=registry"), "tcp:4646:interface=127.0.0.1")
        here = "--peer=tcp:127.0.0.1:5555", "--registry=tcp:localhost:4646"
        self.assertEqual(self.listen(*here), "tcp:4545:interface=127.0.0.1")

    def test_guarded_it_is_taken_from_everywhere(self) -> None:
        for guarded in ("--tls=/etc/chatproto/tls", "--secret-file=/etc/chatproto/secret", "--insecure-links"):
            self.assertEqual(self.listen("--role=registry", guarded), "tcp:4646")
            self.assertEqual(self.listen(PEER, guarded), "tcp:4545")
            self.assertEqual(self.listen(PEER, guarded, "--peer-listen=tcp:5"), "tcp:5")

    def test_otherwise_that_is_refused_with_the_ways_out(self) -> None:
        for arguments in (
            ("--role=registry", "--registry-listen=tcp:4646"),
            ("--role=registry", "--registry-listen=tcp:4646:interface=10.0.0.1"),
            ("--peer=tcp:127.0.0.1:5555", "--peer-listen=tcp:4545"),
            ("--role=standby", "--registry=tcp:127.0.0.1:4646", "--peer-listen=systemd:domain=INET:index=0"),
        ):
            error = str(self.assertRaises(UsageError, options_of, *arguments))
            for way in ("--tls", "--secret-file", "--insecure-links", "interface=127.0.0.1"):
                self.assertIn(way, error)

    def test_so_it_is_where_another_machine_would_have_to_get_in(self) -> None:
        here = "--peer=tcp:127.0.0.1:5555"
        for arguments in ((PEER,), (here, REGISTRY), (here, "--peer-advertise=10.0.0.1:4545")):
            error = str(self.assertRaises(UsageError, options_of, *arguments))
            self.assertIn("--peer-listen=tcp:4545 may be reached", error)

    def test_a_node_alone_has_nothing_to_guard(self) -> None:
        self.assertEqual(self.listen(), "")
        self.assertEqual(self.listen(REGISTRY), "", "it is only registered")

    def test_one_way_is_enough(self) -> None:
        error = self.assertRaises(UsageError, options_of, PEER, "--tls=a", "--secret-file=b")
        self.assertIn("give one of them", str(error))


class PairTests(SynchronousTestCase):
    def check_refused(self, *arguments: str, names: str) -> None:
        error = self.assertRaises(UsageError, parsed, *arguments)
        self.assertIn(names, str(error))

    def test_a_node_alone_has_no_peer(self) -> None:
        self.assertIsNone(parsed().peer)
        self.assertEqual(parsed("--listen=tcp:4444:interface=127.0.0.1").chat.servers, [])

    def test_browsers_are_told_where_the_page_is_that_goes_on_with_the_chat(self) -> None:
        host = socket.gethostname()
        for arguments, pages in (
            ((), []),
            (("--web=tcp:8080",), []),
            ((PEER, "--web=tcp:8080"), [f"http://{host}:8080"]),
            ((PEER, "--web=ssl:443:interface=east.example"), ["https://east.example:443"]),
            ((PEER, "--web=tcp:0"), []),
            ((PEER, "--web=unix:/run/page", "--web-advertise=https://east.example"), ["https://east.example"]),
        ):
            self.assertEqual(parsed(*arguments).chat.pages, pages, arguments)
        for option in ("web-advertise=http://x", "web-origins=http://x"):
            self.check_refused(f"--{option}", names="--web")

    def test_search(self) -> None:
        self.assertTrue(parsed().search)
        self.assertFalse(parsed("--no-search").search)

    def test_a_peer_is_all_that_a_pair_needs(self) -> None:
        pair = PairSettings("primary", advertise=f"{socket.gethostname()}:4545")
        self.assertEqual(parsed(PEER).peer, PeerSettings("tcp:west:4545", pair, "tcp:4545", registry=""))

    def test_everything(self) -> None:
        settings = parsed(
            "--role=secondary",
            "--name=west",
            "--peer=tcp:east:1",
            "--peer-listen=tcp:2",
            "--peer-advertise=west.example:2",
            "--registry=tcp:north:3",
            "--service=tea",
            "--heartbeat=0.25",
            "--suspect=1",
            "--lease=2",
            "--prefer-primary",
            "--allow-data-loss",
            "--data=/srv/chat",
            "--advertise=west.example:4444",
        )
        pair = PairSettings(
            name="west",
            service="tea",
            role="secondary",
            advertise="west.example:2",
            heartbeat_s=0.25,
            suspect_s=1.0,
            prefer_primary=True,
            allow_data_loss=True,
        )
        self.assertEqual(settings.peer, PeerSettings("tcp:east:1", pair, "tcp:2", "tcp:north:3"))
        self.assertEqual((settings.chat.name, settings.chat.servers), ("west", ["west.example:4444"]))
        self.assertEqual(settings.control, "/srv/chat/control")
        usual = PairSettings("usual")
        same = [name for name in pair.__struct_fields__ if getattr(pair, name) == getattr(usual, name)]
        self.assertEqual(same, [], "each has another value than usual here")

    def test_what_is_for_a_pair_needs_a_peer(self) -> None:
        for argument in (
            "--role=secondary",
            "--peer-listen=tcp:4545",
            "--peer-advertise=east:4545",
            "--prefer-primary",
            "--allow-data-loss",
        ):
            self.check_refused(argument, names="--peer")

    def test_an_address_for_others_is_a_host_and_a_port(self) -> None:
        for option in ("--advertise", "--peer-advertise"):
            for address in ("west", "west:", ":4444", "west:0", "west:70000", "tcp:west:4444", ""):
                self.check_refused(PEER, f"{option}={address}", names=f"{option[2:]}={address}: must be HOST:PORT")

    def test_a_node_that_stands_by(self) -> None:
        here = f"{socket.gethostname()}:4545"
        settings = parsed("--role=standby", "--name=north", REGISTRY, "--service=tea")
        pair = PairSettings("north", "tea", "standby", here)
        self.assertEqual(settings.peer, PeerSettings("", pair, "tcp:4545", "tcp:north:4646"))
        self.assertEqual(settings.registering, RegisteringSettings("tcp:north:4646", "", "tea", here))
        self.check_refused("--role=standby", names="--role=standby needs --registry")
        self.check_refused("--role=standby", REGISTRY, PEER, names="a standby is invited")

    def test_a_node_alone_that_can_be_moved(self) -> None:
        self.assertIsNone(parsed(REGISTRY).peer)
        for argument in ("--peer-listen=tcp:5", "--peer-advertise=east:5", "--migrate-every=60"):
            peer = parsed(REGISTRY, argument).peer
            assert peer is not None
            self.assertEqual((peer.dial, peer.pair.role), ("", "primary"))
            self.check_refused(argument, names="needs --peer, or --registry")

    def test_moves_every_so_often(self) -> None:
        self.assertEqual(parsed(REGISTRY).migrate_every_s, 0)
        for arguments in ((REGISTRY,), (REGISTRY, PEER), (REGISTRY, "--role=standby")):
            self.assertEqual(parsed(*arguments, "--migrate-every=60").migrate_every_s, 60)
        self.check_refused(PEER, "--migrate-every=60", names="--migrate-every needs --registry")
        for value in ("-1", "soon", "nan", "inf"):
            self.check_refused(REGISTRY, f"--migrate-every={value}", names="migrate-every")
        for role in (("--role=registry",), ("--role=monitor", "--watch=chat", REGISTRY)):
            self.check_refused(*role, "--migrate-every=60", names="--migrate-every is for a primary or a secondary")

    def test_a_registered_node(self) -> None:
        here = socket.gethostname()
        self.assertIsNone(parsed(PEER).registering)
        alone = parsed(REGISTRY)
        self.assertEqual(alone.registering, RegisteringSettings("tcp:north:4646"))
        self.assertEqual((alone.peer, alone.chat.servers), (None, [f"{here}:4444"]))
        self.assertEqual(
            parsed(REGISTRY, PEER, "--registry-token=ours", "--service=tea").registering,
            RegisteringSettings("tcp:north:4646", "ours", "tea", f"{here}:4545"),
        )
        for arguments, peer in (
            (("--peer-listen=tcp:5:interface=10.0.0.1",), "10.0.0.1:5"),
            (("--peer-listen=tcp:5", "--peer-advertise=east:6"), "east:6"),
            (("--peer-listen=unix:/run/peer",), ""),
        ):
            registering = parsed(REGISTRY, PEER, *arguments).registering
            assert registering is not None
            self.assertEqual(registering.peer, peer)

    def test_tokens_are_neither_empty_nor_long(self) -> None:
        for token in ("", "x" * 257):
            self.check_refused(REGISTRY, f"--registry-token={token}", names="registry-token")
        self.check_refused("--registry-token=ours", names="--registry-token needs --registry")

    def test_spans_are_in_order(self) -> None:
        for arguments in (("--heartbeat=0.6",), ("--suspect=0.15",), ("--heartbeat=3", "--suspect=2", "--lease=1")):
            self.check_refused(PEER, *arguments, names="--heartbeat must be shorter than --suspect")
            self.check_refused("--role=registry", *arguments, names="--heartbeat must be shorter than --suspect")
        for arguments in (("--suspect=0.9",), ("--lease=0.6",)):
            self.check_refused("--role=registry", *arguments, names="--suspect must be shorter than --lease")
        self.assertIsNotNone(parsed(PEER, "--suspect=2").peer, "the lease is the registry's")
        for name in ("heartbeat", "suspect", "lease"):
            for value in ("0", "-1", "soon", "nan", "inf", ""):
                self.check_refused(PEER, f"--{name}={value}", names=name)

    def test_names_of_services(self) -> None:
        for value in ("", "a/b", "x" * 65):
            self.check_refused(PEER, f"--service={value}", names="service")

    def test_a_pair_advertises_where_it_listens(self) -> None:
        self.assertEqual(parsed(PEER).chat.servers, [f"{socket.gethostname()}:4444"])
        self.assertEqual(parsed(PEER, "--listen=unix:/run/chat").chat.servers, [])
        listen = ("--listen=unix:/run/chat", "--listen=tcp:5:interface=127.0.0.1", "--listen=tcp:6")
        self.assertEqual(parsed(PEER, *listen).chat.servers, ["127.0.0.1:5"])
        self.assertEqual(parsed(PEER, *listen, "--advertise=chat:9").chat.servers, ["chat:9"])

    def test_clients_are_told_where_tls_is_spoken(self) -> None:
        secure, plain = "--listen=ssl:5:interface=127.0.0.1", "--listen=tcp:6:interface=127.0.0.1"
        for arguments, servers in (
            ((secure,), ["tls:127.0.0.1:5"]),
            ((plain, secure), ["127.0.0.1:6"]),
            ((secure, "--advertise=chat:5"), ["tls:chat:5"]),
            ((plain, "--advertise=chat:6"), ["chat:6"]),
            ((secure, plain, "--advertise=chat:6"), ["chat:6"]),
            ((secure, plain, "--advertise=chat:5"), ["tls:chat:5"]),
            ((secure, plain, "--advertise=chat:9"), ["chat:9"]),
            ((secure, "--advertise=chat:9"), ["tls:chat:9"]),
            ((plain, "--advertise=tls:chat:9"), ["tls:chat:9"]),
            (("--listen=unix:/run/chat", "--advertise=chat:9"), ["chat:9"]),
        ):
            self.assertEqual(parsed(PEER, *arguments).chat.servers, servers, arguments)
        for value in ("tls:", "tls:chat", "ssl:chat:5"):
            self.check_refused(PEER, f"--advertise={value}", names="advertise")

    def test_addresses_of_endpoints(self) -> None:
        here = socket.gethostname()
        for listen, address in (
            ("tcp:4444", f"{here}:4444"),
            ("tcp:port=4444", f"{here}:4444"),
            ("tcp:4444:interface=127.0.0.1", "127.0.0.1:4444"),
            ("tcp:interface=127.0.0.1:port=4444", "127.0.0.1:4444"),
            ("tcp:4444:interface=0.0.0.0:backlog=5", f"{here}:4444"),
            ("tcp6:4444:interface=\\:\\:1", "[::1]:4444"),
            ("tcp6:4444:interface=\\:\\:", f"{here}:4444"),
            ("ssl:4444:privateKey=/etc/key.pem:interface=10.0.0.1", "10.0.0.1:4444"),
            ("tcp:0", None),
            ("tcp:nonsense", None),
            ("tcp", None),
            ("unix:/run/chat", None),
            ("systemd:domain=INET:index=0", None),
            ("", None),
        ):
            self.assertEqual(advertised_from(listen), address, listen)


class RegistryTests(SynchronousTestCase):
    def test_its_settings(self) -> None:
        self.assertEqual(
            options_of("--role=registry", "--data=/srv/names").registry_settings(),
            RegistrySettings("/srv/names", ("tcp:4646:interface=127.0.0.1",)),
        )
        options = options_of(
            "--role=registry",
            "--insecure-links",
            "--registry-listen=tcp:1",
            "--heartbeat=0.25",
            "--suspect=1",
            "--lease=2",
            "--data=/srv",
        )
        self.assertEqual(options.registry_settings(), RegistrySettings("/srv", ("tcp:1",), 0.25, 1.0, 2.0))

    def test_its_answers_to_the_dns(self) -> None:
        def dns(*arguments: str) -> DNSSettings | None:
            return options_of("--role=registry", *arguments).registry_settings().dns

        self.assertIsNone(dns())
        self.assertEqual(dns("--dns=127.0.0.1:0"), DNSSettings("127.0.0.1", 0, "127.0.0.1", "chat.example", "chat"))
        self.assertEqual(
            dns("--dns=[::1]:53", "--dns-zone=Talk.example", "--service=talk"),
            DNSSettings("::1", 53, "::1", "Talk.example", "talk"),
        )
        self.patch(socket, "gethostname", lambda: "third")
        self.assertEqual(dns("--dns=0.0.0.0:53"), DNSSettings("0.0.0.0", 53, "third"))
        for wrong in ("53", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:53", ":53", "a..b:53"):
            error = self.assertRaises(UsageError, options_of, "--role=registry", f"--dns={wrong}")
            self.assertIn(f"dns={wrong}: ", str(error))
        error = self.assertRaises(UsageError, options_of, "--role=registry", "--dns-zone=a..b")
        self.assertIn("dns-zone=a..b: ", str(error))
        error = self.assertRaises(UsageError, options_of, "--dns=127.0.0.1:0")
        self.assertIn("--dns", str(error))

    def test_it_is_called_registry(self) -> None:
        self.patch(os, "environ", {"XDG_STATE_HOME": "/state"})
        self.assertEqual(options_of("--role=registry").registry_settings().data, "/state/chatproto/registry")

    def test_it_has_no_peer(self) -> None:
        for argument in (
            PEER,
            "--peer-listen=tcp:4545",
            "--peer-advertise=east:4545",
            "--registry=tcp:north:4646",
            "--registry-token=ours",
            "--prefer-primary",
        ):
            error = self.assertRaises(UsageError, options_of, "--role=registry", argument)
            self.assertIn(argument.partition("=")[0], str(error))


class MonitorTests(SynchronousTestCase):
    def monitor(self, *arguments: str) -> MonitorSettings:
        given = ("--role=monitor", "--registry=tcp:third:4646", "--watch=chat", *arguments)
        return options_of(*given).monitor_settings()

    def test_the_defaults(self) -> None:
        settings = self.monitor("--data=/srv/monitor", "--listen=tcp:4444:interface=10.0.0.1")
        chat = ChatSettings(
            name="monitor",
            servers=["10.0.0.1:4444"],
            announcement="monitor stands in for chat until that is back",
        )
        node = NodeSettings(
            "/srv/monitor", ("tcp:4444:interface=10.0.0.1",), chat, control="/srv/monitor/control", registering=None
        )
        self.assertEqual(settings, MonitorSettings("tcp:third:4646", "chat", node))

    def test_everything(self) -> None:
        settings = self.monitor(
            *("--watch=news/east", "--standby-for=help", "--ask-every=0.5", "--dead-after=2", "--same-host"),
            *("--registry-token=x", "--announcement=Patience.", "--name=spare"),
        )
        self.assertEqual((settings.watch, settings.master, settings.standby_for), ("news", "east", "help"))
        self.assertEqual((settings.ask_every_s, settings.dead_after_s, settings.same_host), (0.5, 2.0, True))
        self.assertEqual((settings.token, settings.node.chat.name), ("x", "spare"))
        self.assertEqual(settings.node.chat.announcement, "Patience.")

    def test_what_it_needs_and_what_it_is_not(self) -> None:
        for arguments, names in (
            (("--watch=chat",), "--registry"),
            (("--registry=tcp:third:4646",), "--watch"),
            (("--registry=tcp:third:4646", "--watch=chat", "--peer=tcp:east:1"), "--peer"),
            (("--registry=tcp:third:4646", "--watch=a/b/c"), "watch=a/b/c"),
            (("--registry=tcp:third:4646", "--watch=/b"), "watch=/b"),
            (("--registry=tcp:third:4646", "--watch=b/"), "watch=b/"),
        ):
            error = self.assertRaises(UsageError, options_of, "--role=monitor", *arguments)
            self.assertIn(names, str(error))


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

    def test_a_pair(self) -> None:
        settings = self.with_config(
            'role = "secondary"\npeer = "tcp:east:1"\npeer-listen = "tcp:2"\nregistry = "tcp:north:3"\n'
            'service = "tea"\nheartbeat = 0.25\nsuspect = 1\nlease = 2.0\nprefer-primary = true\n'
            "allow-data-loss = false\n"
        )
        here = f"{socket.gethostname()}:2"
        pair = PairSettings("secondary", "tea", "secondary", here, heartbeat_s=0.25, suspect_s=1, prefer_primary=True)
        self.assertEqual(settings.peer, PeerSettings("tcp:east:1", pair, "tcp:2", "tcp:north:3"))

    def test_a_registry(self) -> None:
        path = self.write(
            'role = "registry"\nregistry-listen = "tcp:1"\ninsecure-links = true\ndata = "/srv"\nlease = 2\n'
        )
        self.assertEqual(
            options_of(f"--config={path}").registry_settings(), RegistrySettings("/srv", ("tcp:1",), lease_s=2.0)
        )

    def test_flags_are_true_or_false(self) -> None:
        for value in ('"yes"', "1", '"true"', "[true]"):
            self.check_refused(f'peer = "tcp:east:1"\nprefer-primary = {value}', "prefer-primary")
        peer = self.with_config('peer = "tcp:east:1"\nprefer-primary = false', "--prefer-primary").peer
        assert peer is not None
        self.assertTrue(peer.pair.prefer_primary, "the command line wins")

    def test_mistakes_of_pairs_are_named(self) -> None:
        self.check_refused('role = "secondary"', "--peer")
        self.check_refused('registry-token = "ours"', "--registry")
        self.check_refused("prefer-primary = true", "--prefer-primary")
        self.check_refused('peer = "tcp:east:1"\nheartbeat = 5', "--heartbeat")
        self.check_refused('role = "monarch"', "role")
        self.check_refused('peer = ["tcp:east:1"]', "peer")
        self.check_refused("service = 5.5e", "")

    def test_listening_nowhere_is_refused(self) -> None:
        self.check_refused("listen = []", "listen")
