"""Who may publish, as the root's file says."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.passwords import secret_of
from chatproto.news.tree.sources import SourceSettings
from chatproto.services.news.root import RootSettings, read_sources, root_problems

SECRET = secret_of("secret", b"salt" * 4, cost_log2=4)


class SourcesTests(SynchronousTestCase):
    def write(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        return str(path)

    def test_names_secrets_and_priorities(self) -> None:
        path = self.write(
            f'[sources.ansa]\nsecret = "{SECRET}"\n[sources.reuters]\nsecret = "{SECRET}"\npriority = 9\n'
        )
        self.assertEqual(read_sources(path), {"ansa": SourceSettings(SECRET, 5), "reuters": SourceSettings(SECRET, 9)})
        self.assertEqual(read_sources(self.write("")), {})

    def test_what_is_wrong_is_said_with_the_file(self) -> None:
        wrong = {
            '[sources.ansa]\nsecret = "secret"\n': "never the password itself",
            f'[sources.ansa]\nsecret = "{SECRET}"\npriority = 10\n': "from 0 to 9",
            f'[sources.ansa]\nsecret = "{SECRET}"\nprio = 1\n': "prio",
            f'[sources."a b"]\nsecret = "{SECRET}"\n': "a b",
            "[sources": "",
            "[sources.ansa]\npriority = 1\n": "secret",
        }
        for text, said in wrong.items():
            path = self.write(text)
            with self.assertRaises(ValueError) as raised:
                read_sources(path)
            self.assertIn(path, str(raised.exception))
            self.assertIn(said, str(raised.exception))

    def test_it_is_looked_at_before_starting(self) -> None:
        settings = RootSettings(data="/nowhere", name="root", sources="/nowhere/sources.toml")
        self.assertEqual(
            root_problems(settings), ["cannot use --sources: /nowhere/sources.toml: No such file or directory"]
        )
        path = self.write("")
        self.assertEqual(root_problems(RootSettings(data="/nowhere", name="root", sources=path)), [])
