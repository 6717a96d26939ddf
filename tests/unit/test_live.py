from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.live import LIVE, LiveOptions
from chatproto.options import Options

OTHERS: dict[str, str] = {
    "announcement": "'hello'",
    "history": "7",
    "retain": "'30d'",
}
"""What an option can be changed to that is no number."""


class LiveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.changed: list[Options] = []

    def write(self, **values: Any) -> None:
        with open(self.path, "w") as file:
            file.writelines(f"{name.replace('_', '-')} = {value}\n" for name, value in values.items())

    def begin(self, *arguments: str) -> LiveOptions:
        options = Options()
        options.parseOptions(["--insecure-links", *arguments, f"--config={self.path}"])
        return LiveOptions(options, self.changed.append)

    def test_what_can_change_is_taken_into_use(self) -> None:
        self.write(capacity=5)
        live = self.begin()
        self.assertEqual(live.read_again(), [])
        self.assertEqual(self.changed, [], "nothing is another")
        self.write(capacity=6)
        self.assertEqual(live.read_again(), [])
        self.write(history=3)
        self.assertEqual(live.read_again(), [])
        said = [(fresh.settings().chat.capacity, fresh.settings().chat.history) for fresh in self.changed]
        self.assertEqual(said, [(6, "all"), (100, 3)], "what is said no more is as if it never was")

    def test_every_one_of_them_is_something_that_a_node_takes(self) -> None:
        self.write()
        live = self.begin("--registry=tcp:x:1", "--peer-listen=tcp:2")
        for name in sorted(LIVE):
            self.write(**{name: OTHERS.get(name, "44")})
            before = (self.changed[-1] if self.changed else live._options).settings()
            self.assertEqual(live.read_again(), [], name)
            self.assertNotEqual(self.changed[-1].settings(), before, name)

    def test_what_cannot_change_is_named_and_stays(self) -> None:
        self.write(capacity=5)
        live = self.begin()
        self.write(capacity=6, service='"other"', listen='["tcp:5"]', allow_data_loss="true", peer='"tcp:x:1"')
        self.assertEqual(
            live.read_again(),
            [
                "--allow-data-loss takes a restart; until then it is not set",
                "--listen takes a restart; until then it is tcp:4444",
                "--peer takes a restart; until then it is not set",
                "--service takes a restart; until then it is chat",
            ],
        )
        (fresh,) = self.changed
        self.assertEqual((fresh["service"], fresh.listen, fresh["capacity"]), ("chat", ("tcp:4444",), 6))
        self.assertIsNone(fresh.settings().peer)

    def test_it_is_named_again_for_as_long_as_it_is_so(self) -> None:
        self.write()
        live = self.begin()
        self.write(service='"other"')
        self.assertEqual(live.read_again(), live.read_again())
        self.assertEqual(self.changed, [])
        self.write()
        self.assertEqual(live.read_again(), [])

    def test_the_command_line_wins_again(self) -> None:
        self.write(capacity=5)
        live = self.begin("--capacity=3")
        self.write(capacity=6)
        self.assertEqual(live.read_again(), [])
        self.assertEqual(self.changed, [])

    def test_a_file_with_a_mistake_changes_nothing(self) -> None:
        self.write(capacity=5)
        live = self.begin()
        for values in ({"capacity": 6, "kapacity": 7}, {"capacity": 6, "retain": "'x'"}, {"capacity": "["}):
            self.write(**values)
            (line,) = live.read_again()
            self.assertTrue(line.startswith(f"nothing was changed: {self.path}"), line)
        self.assertEqual(self.changed, [])

    def test_what_does_not_go_with_what_runs(self) -> None:
        self.write(min_clients=50, capacity=60)
        live = self.begin()
        self.write(min_clients=5, capacity=10)
        self.assertEqual(
            live.read_again(),
            ["nothing was changed: --min-clients must not be more than --capacity: the chat would never begin"],
        )
        self.assertEqual(self.changed, [])

    def test_where_nothing_can_change(self) -> None:
        self.write(lease=1)
        options = Options()
        options.parseOptions(["--role=registry", f"--config={self.path}"])
        live = LiveOptions(options, None)
        self.write(lease=2, capacity=7)
        self.assertEqual(
            live.read_again(),
            [
                "--capacity takes a restart; until then it is 100",
                "--lease takes a restart; until then it is 1.0",
            ],
        )
