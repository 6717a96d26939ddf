import os
from typing import Any

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from chatproto.advertised import advertised_from
from chatproto.news.items import TOPICS
from chatproto.newsoptions import FOR, NEEDS, ROLES, NewsOptions
from chatproto.pair.log import PairSettings
from chatproto.services.news import BUILT, NewsRole, NewsSettings
from chatproto.services.pairing import PeerSettings
from tests.unit.newsroles import AllSettings, stand_in_for_roles

NEEDED = {
    "root": ("--sources=sources.toml",),
    "router": ("--parent=tcp:north:4747",),
    "delivery": ("--parent=tcp:north:4747", "--registry=tcp:registry:4646"),
    "contracts": ("--registry=tcp:registry:4646",),
    "proxy": ("--registry=tcp:registry:4646", "--web=tcp:8080", "--delivery=east"),
}


class NewsOptionsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"XDG_STATE_HOME": "/state"})
        stand_in_for_roles(self)

    def options(self, role: str, *arguments: str) -> NewsOptions:
        options = NewsOptions()
        options.parseOptions([f"--role={role}", *NEEDED[role], *arguments])
        return options

    def parsed(self, role: str, *arguments: str) -> Any:
        return self.options(role, "--insecure-links", *arguments).settings()

    def refused(self, role: str, *arguments: str) -> str:
        return str(self.assertRaises(UsageError, self.options, role, *arguments))


class SettingsTests(NewsOptionsTestCase):
    def test_of_a_root(self) -> None:
        advertised = [advertised_from(listen) for listen in ("tcp:4848", "tcp:4747")]
        self.assertEqual(
            self.parsed("root"),
            AllSettings(
                data="/state/chatproto/root",
                name="root",
                service="news",
                listen=("tcp:4848",),
                peer_listen="tcp:4747",
                advertise=advertised[0] or "",
                peer_advertise=advertised[1] or "",
                registry="",
                token="",
                lease_s=3.0,
                metrics="",
                topics=TOPICS,
                control="/state/chatproto/root/control",
                heartbeat_s=0.15,
                suspect_s=0.6,
                parent="",
                sources="sources.toml",
                substitute="",
                datagrams=("0.0.0.0", 4848),
                datagrams_advertise=advertised[0] or "",
                send_bytes_per_s=0,
                readers_max=20000,
                peer=None,
                stands_in_for="",
                ask_every_s=1.0,
                dead_after_s=3.0,
                web="",
                delivery="",
            ),
        )

    def test_of_a_router(self) -> None:
        settings = self.parsed("router", "--name=middle", "--peer-listen=tcp:1:interface=127.0.0.1", "--data=/d")
        self.assertEqual((settings.name, settings.data, settings.parent), ("middle", "/d", "tcp:north:4747"))
        self.assertEqual((settings.listen, settings.advertise), ((), ""))
        self.assertEqual((settings.peer_listen, settings.peer_advertise), ("tcp:1:interface=127.0.0.1", "127.0.0.1:1"))
        self.assertEqual(settings.held_bytes_max, 0, "whatever the role has")
        self.assertEqual(self.parsed("router", "--held-max=20000000").held_bytes_max, 20_000_000)
        self.assertIn("at least 16777216", self.refused("router", "--held-max=1000"))

    def test_of_a_delivery_node(self) -> None:
        settings = self.parsed(
            "delivery",
            *("--substitute=west", "--datagrams=127.0.0.1:5", "--send-rate=200000", "--readers-max=7"),
            *("--topics=sport, gossip", "--listen=tcp:1", "--listen=ssl:2", "--advertise=east.example:2"),
            *("--peer-advertise=east.example:3", "--registry-token=t", "--lease=5", "--metrics=tcp:9"),
        )
        self.assertEqual((settings.substitute, settings.send_bytes_per_s, settings.readers_max), ("west", 200000, 7))
        self.assertEqual((settings.datagrams, settings.datagrams_advertise), (("127.0.0.1", 5), "127.0.0.1:5"))
        self.assertEqual((settings.topics, settings.listen), (("sport", "gossip"), ("tcp:1", "ssl:2")))
        self.assertEqual((settings.advertise, settings.peer_advertise), ("tls:east.example:2", "east.example:3"))
        self.assertEqual((settings.registry, settings.token, settings.lease_s), ("tcp:registry:4646", "t", 5.0))
        self.assertEqual(settings.metrics, "tcp:9")
        settings = self.parsed("delivery", "--datagrams=127.0.0.1:0")
        self.assertEqual((settings.datagrams, settings.datagrams_advertise), (("127.0.0.1", 0), ""))
        settings = self.parsed("delivery", "--datagrams=127.0.0.1:0", "--datagrams-advertise=east:5")
        self.assertEqual(settings.datagrams_advertise, "east:5")

    def test_of_contracts(self) -> None:
        self.assertEqual(self.parsed("contracts").peer, None)
        settings = self.parsed("contracts", "--name=a", "--peer=tcp:b:4949", "--pair-advertise=a:4949")
        pair = PairSettings("a", "news", "primary", "a:4949", heartbeat_s=0.15, suspect_s=0.6)
        self.assertEqual(settings.peer, PeerSettings("tcp:b:4949", pair, "tcp:4949", "tcp:registry:4646"))
        slave = self.parsed(
            "contracts",
            *("--name=b", "--peer=tcp:a:4949", "--stands-in-for=a", "--ask-every=2", "--dead-after=9"),
            *("--pair-listen=tcp:7:interface=127.0.0.1", "--heartbeat=1", "--suspect=2"),
        )
        pair = PairSettings("b", "news", "secondary", "127.0.0.1:7", heartbeat_s=1.0, suspect_s=2.0)
        self.assertEqual(slave.peer, PeerSettings("tcp:a:4949", pair, "tcp:7:interface=127.0.0.1", "tcp:registry:4646"))
        self.assertEqual((slave.stands_in_for, slave.ask_every_s, slave.dead_after_s), ("a", 2.0, 9.0))

    def test_of_a_proxy(self) -> None:
        settings = self.parsed("proxy")
        self.assertEqual((settings.web, settings.delivery), ("tcp:8080", "east"))
        self.assertEqual((settings.listen, settings.peer_listen, settings.peer_advertise), ((), "", ""))

    def test_a_role_has_the_fields_that_it_wants(self) -> None:
        BUILT["root"] = NewsRole(NewsSettings, BUILT["root"].build)
        self.assertEqual(type(self.parsed("root")), NewsSettings)

    def test_from_a_file(self) -> None:
        path = self.mktemp()
        with open(path, "w") as file:
            file.write('role = "root"\nsources = "s"\nlisten = ["tcp:1", "tcp:2"]\ninsecure-links = true\nlease = 4\n')
        options = NewsOptions()
        options.parseOptions([f"--config={path}", "--listen=tcp:3"])
        settings: Any = options.settings()
        self.assertEqual((settings.listen, settings.lease_s, settings.sources), (("tcp:3",), 4.0, "s"))

    def test_endpoints(self) -> None:
        self.assertEqual(
            self.options("contracts", "--peer=tcp:b:4949", "--metrics=tcp:9").endpoints(),
            [
                ("--listen", "tcp:4848", True),
                ("--peer-listen", "tcp:4747:interface=127.0.0.1", True),
                ("--pair-listen", "tcp:4949:interface=127.0.0.1", True),
                ("--metrics", "tcp:9", True),
                ("--peer", "tcp:b:4949", False),
                ("--registry", "tcp:registry:4646", False),
            ],
        )


class RefusalTests(NewsOptionsTestCase):
    def test_without_a_role(self) -> None:
        error = self.assertRaises(UsageError, NewsOptions().parseOptions, [])
        self.assertIn("--role=ROLE", str(error))

    def test_a_role_that_is_none_or_not_there_yet(self) -> None:
        self.assertIn("root, router", str(self.assertRaises(UsageError, NewsOptions().parseOptions, ["--role=king"])))
        del BUILT["root"]
        error = str(self.assertRaises(UsageError, NewsOptions().parseOptions, ["--role=root"]))
        self.assertIn("role=root: this release cannot be one yet; it has ", error)

    def test_what_a_role_needs(self) -> None:
        for name, roles in NEEDS.items():
            for role in roles:
                given = [each for each in NEEDED[role] if not each.startswith(f"--{name}=")]
                error = self.assertRaises(UsageError, NewsOptions().parseOptions, [f"--role={role}", *given])
                self.assertEqual(str(error), f"--role={role} needs --{name}")

    def test_what_is_for_other_roles(self) -> None:
        values = {"datagrams": "127.0.0.1:1", "datagrams-advertise": "a:1", "pair-advertise": "a:1"}
        values["held-max"] = "99999999"
        for name, roles in FOR.items():
            for role in ROLES:
                if role not in roles:
                    self.assertIn(f"--{name} is for", self.refused(role, f"--{name}={values.get(name, '1')}"))

    def test_what_does_not_go_together(self) -> None:
        for role, said, *arguments in (
            ("root", "--heartbeat must be shorter", "--heartbeat=1", "--suspect=1"),
            ("contracts", "--stands-in-for needs --peer", "--stands-in-for=a"),
            ("contracts", "names the other", "--stands-in-for=a", "--name=a", "--peer=tcp:b:1"),
            ("delivery", "names another", "--substitute=a", "--name=a"),
            ("root", "--registry-token needs --registry", "--registry-token=t"),
            ("root", "give one of them", "--tls=dir", "--secret-file=file"),
            ("root", "same topic twice", "--topics=a,a"),
            ("root", "topics=a;b", "--topics=a;b"),
        ):
            self.assertIn(said, self.refused(role, *arguments))

    def test_other_machines_come_in_guarded(self) -> None:
        for role, name in (("root", "peer-listen"), ("contracts", "pair-listen")):
            peer = ["--peer=tcp:b:1"] if role == "contracts" else []
            self.assertIn(f"--{name}=tcp:1 may be reached", self.refused(role, *peer, f"--{name}=tcp:1"))
            self.options(role, *peer, f"--{name}=tcp:1", "--secret-file=file")

    def test_help_names_every_option(self) -> None:
        text = NewsOptions().getUsage()
        for rows in NewsOptions.rows():
            for row in rows:
                self.assertIn(f"--{row[0]}", text)
        self.assertIn("--listen=", text)
