"""Tests for chatproto.cli.news: the command line, without a reactor."""

import io
import sys
from typing import Any
from unittest import mock

import msgspec

from chatproto.chat.passwords import matches
from chatproto.cli import control
from chatproto.cli.news import contracting, inspecting, publishing, reading, status
from chatproto.cli.news.offers import ASK, NEAREST, NOTHING
from chatproto.cli.news.publishing import PublishFailed, media_type_of, why_refused
from chatproto.cli.news.reaching import Reach
from chatproto.cli.servers import Misuse
from chatproto.news.items import BODY_BYTES_MAX
from chatproto.news.terms import Place, Terms
from tests.unit.cli.test_main import CommandLineTestCase


class LineTestCase(CommandLineTestCase):
    def typed(self, data: bytes) -> None:
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    def instead(self, module: Any, name: str, answer: Any = None, error: Exception | None = None) -> mock.Mock:
        stand_in = mock.Mock(return_value=answer, side_effect=error)
        self.patch(module, name, stand_in)
        return stand_in


class PublishTests(LineTestCase):
    def test_a_file_is_published_and_its_number_printed(self) -> None:
        path = self.mktemp() + ".png"
        with open(path, "wb") as file:
            file.write(b"\x89PNG")
        publish = self.instead(publishing, "publish", 17)
        self.typed(b"secret\nrest")
        given = ("--source=ansa", "--topic=sport", "--title=Rain", "--expires-in=12h", "--exclusive", "--id=a")
        done = self.run_with("news", "publish", path, *given, "--password-stdin", "--root=rome")
        self.assertEqual(done, (0, "17\n", ""))
        publication = publish.call_args.args[0]
        self.assertEqual((publication.password, publication.body), ("secret", b"\x89PNG"))
        self.assertEqual((publication.media_type, publication.expires_in_s), ("image/png", 43200))
        self.assertEqual(publication.reach, Reach("rome"))
        self.assertNotIn("secret", repr(publication))

    def test_standard_input_is_the_password_and_then_the_item(self) -> None:
        publish = self.instead(publishing, "publish", 17)
        self.typed("geheim ü\r\nIt rains.\nStill.\n".encode())
        self.run_with("news", "publish", "-", "--source=ansa", "--topic=sport", "--password-stdin", "--registry=here")
        publication = publish.call_args.args[0]
        self.assertEqual((publication.password, publication.body), ("geheim ü", b"It rains.\nStill.\n"))

    def test_what_cannot_be_published_is_said(self) -> None:
        self.instead(publishing, "publish", error=PublishFailed("refused"))
        common = ("--source=ansa", "--topic=sport", "--password-stdin", "--root=rome")
        self.typed(b"x\n")
        self.assertEqual(self.run_with("news", "publish", "-", *common), (1, "", "chatproto: refused\n"))
        self.assertEqual(self.run_with("news", "publish", "/nowhere", *common)[0], 2)
        self.typed(b"x\n" + bytes(BODY_BYTES_MAX + 1))
        status, _, error = self.run_with("news", "publish", "-", *common)
        self.assertEqual(status, 2)
        self.assertIn(str(BODY_BYTES_MAX), error)
        for wrong in ("--expires-in=0", "--expires-in=31d", "--expires-in=1y", "--source=<b>", "--timeout=0"):
            self.assertEqual(self.run_with("news", "publish", "-", *common, wrong)[0], 2, wrong)

    def test_a_name_says_what_is_in_a_file(self) -> None:
        self.assertEqual(media_type_of("-"), "text/plain")
        self.assertEqual(media_type_of("README"), "text/plain")
        self.assertEqual(media_type_of("a.unheardof"), "application/octet-stream")
        self.assertIn("another password", why_refused("bad-password"))
        self.assertIn("no such topic", why_refused("unknown-topic"))
        self.assertEqual(why_refused("later"), "refused, later: the root says no")

    def test_a_source_has_a_line_without_its_password(self) -> None:
        self.typed(b"secret\n")
        status, out, _ = self.run_with("news", "source", "ansa.it", "--priority=9", "--password-stdin")
        self.assertEqual(status, 0)
        found = msgspec.toml.decode(out)["sources"]["ansa.it"]
        self.assertEqual(found["priority"], 9)
        self.assertTrue(matches("secret", found["secret"]))
        self.typed(b"\n")
        self.assertEqual(self.run_with("news", "source", "ansa", "--password-stdin")[0], 2)

    def test_nobody_is_found_without_an_address(self) -> None:
        self.assertRaises(Misuse, Reach().endpoint, None, "news-root")
        self.assertEqual(Reach(None, "here").place, "news at here")


class AccountTests(LineTestCase):
    def account(self, *given: str, typed: bytes = b"secret\n") -> tuple[Any, tuple[int, str, str]]:
        stand_in = self.instead(contracting, "contract", None)
        self.typed(typed)
        done = self.run_with("news", "account", "--reader=anna", "--password-stdin", "--registry=here", *given)
        return (stand_in.call_args.args[0] if stand_in.called else None), done

    def test_another_password(self) -> None:
        wish, done = self.account("--change-password", typed=b"secret\nanother\n")
        self.assertEqual((wish.password, wish.renewed, wish.closes), ("secret", "another", False))
        self.assertEqual(done, (0, "anna has another password.\n", ""))

    def test_no_other_password(self) -> None:
        wish, done = self.account("--change-password")
        self.assertEqual((wish, done[0]), (None, 2))

    def test_the_end(self) -> None:
        wish, done = self.account("--delete")
        self.assertEqual((wish.renewed, wish.closes), ("", True))
        self.assertEqual(done, (0, "anna has no account any more.\n", ""))

    def test_one_of_both(self) -> None:
        for wrong in ((), ("--delete", "--change-password")):
            self.assertEqual(self.account(*wrong)[1][0], 2)

    def test_what_an_operator_has_done(self) -> None:
        for word, name in (("lost", "east"), ("delete", "anna")):
            stand_in = self.instead(control, "command", "as asked")
            self.assertEqual(self.run_with("news", word, "folder", name), (0, "as asked\n", ""))
            stand_in.assert_called_once_with("folder", f"{word} {name}")


class ContractTests(LineTestCase):
    place = Place("anna", Terms(("sport",)), "east", "", "ticket")

    def contract(self, *given: str, answer: Place | None = place) -> tuple[Any, tuple[int, str, str]]:
        stand_in = self.instead(contracting, "contract", answer)
        self.typed(b"secret\n")
        done = self.run_with("news", "contract", "--reader=anna", "--password-stdin", "--registry=here", *given)
        return (stand_in.call_args.args[0] if stand_in.called else None), done

    def test_terms_are_what_was_typed(self) -> None:
        wish, done = self.contract("--topics=sport,gossip", "--pull", "--paid", "--minimum=5", "--maximum=50")
        self.assertEqual(wish.terms, Terms(("gossip", "sport"), "pull", True, False, False, 5, 50, 200.0))
        self.assertEqual((wish.offers, wish.opens), (NOTHING, False))
        self.assertEqual(done, (0, "anna: sport; sent; free\ndelivered by east\n", ""))
        wish, _ = self.contract("--topics=sport", "--mobile", "--new", "--offers=nearest")
        self.assertEqual(wish.terms, Terms(("sport",), "pull", mobile=True))
        self.assertEqual((wish.offers, wish.opens), (NEAREST, True))
        wish, _ = self.contract()
        self.assertEqual((wish.terms, wish.offers), (None, ASK))

    def test_it_is_shown_or_ended(self) -> None:
        wish, done = self.contract("--show", "--json")
        self.assertTrue(wish.looks)
        self.assertEqual(msgspec.json.decode(done[1])["node"], "east")
        wish, done = self.contract("--end", answer=None)
        self.assertTrue(wish.ends)
        self.assertEqual(done[1], "anna has no contract.\n")
        self.assertEqual(self.contract("--end", "--json", answer=None)[1][1], "null\n")

    def test_what_makes_no_sense_is_refused(self) -> None:
        for wrong in (("--show", "--end"), ("--json",), ("--topics=,",), ("--push", "--pull")):
            self.assertEqual(self.contract(*wrong)[1][0], 2, wrong)


class ReadTests(LineTestCase):
    def test_reading_is_asked_for(self) -> None:
        stand_in = self.instead(reading, "read")
        self.typed(b"secret\n")
        given = ("--count=3", "--for=5", "--save=there", "--json")
        self.assertEqual(
            self.run_with("news", "read", "--reader=anna", "--password-stdin", "--registry=here", *given)[0], 0
        )
        wanted = stand_in.call_args.args[0]
        self.assertEqual((wanted.count, wanted.for_s, wanted.directory, wanted.as_json), (3, 5.0, "there", True))
        self.assertEqual(self.run_with("news", "read", "--reader=anna", "--count=0")[0], 2)

    def test_status_is_printed(self) -> None:
        stand_in = self.instead(status, "news_status", ("good", True))
        self.assertEqual(self.run_with("news", "status", "--registry=here")[:2], (0, "good\n"))
        self.assertEqual(stand_in.call_args.args[0].timeout_s, 5.0)
        self.instead(status, "news_status", ("bad", False))
        self.assertEqual(self.run_with("news", "status", "--registry=here")[:2], (0, "bad\n"))
        self.assertEqual(self.run_with("news", "status", "--check", "--registry=here")[:2], (1, "bad\n"))

    def test_what_delivery_nodes_tell_is_printed(self) -> None:
        for typed, said, wanted in (
            (("--contracts",), "news_contracts", ("", 24)),
            (("--contracts", "east", "--hours=72"), "news_contracts", ("east", 72)),
            (("--undelivered=east",), "news_undelivered", ("east",)),
        ):
            stand_in = self.instead(inspecting, said, "told")
            self.assertEqual(self.run_with("news", "status", "--registry=here", *typed)[:2], (0, "told\n"))
            self.assertEqual(stand_in.call_args.args[1:], wanted)
        for typed in (("--hours=73",), ("--hours=0",), ("--contracts", "--undelivered"), ("--contracts=a b",)):
            self.assertEqual(self.run_with("news", "status", "--registry=here", *typed)[0], 2)
