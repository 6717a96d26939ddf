"""Tests for chatproto.cli.news.inspecting: what delivery nodes tell of their contracts, as an operator reads it."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar
from unittest.mock import patch

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.news import inspecting
from chatproto.cli.news.inspecting import (
    Told,
    as_json,
    contracts_of,
    contracts_table,
    news_contracts,
    news_undelivered,
    undelivered_of,
    undelivered_table,
)
from chatproto.cli.news.reaching import Reach
from chatproto.cli.news.status import NewsStatusFailed
from chatproto.errors import RegistryUnanswered
from chatproto.news.delivery.inspection import (
    ContractsTold,
    ContractTold,
    HourTold,
    UndeliveredPage,
    UndeliveredTold,
)
from chatproto.registry import Registration

REACH = Reach(None, "here", "news", None, 5.0)


def contract(reader: str, *verdicts: str, **more: Any) -> ContractTold:
    hours = tuple(HourTold(3600 * at, verdict, 2, 2, 0, 0, False) for at, verdict in enumerate(verdicts))
    known = ContractTold(reader, "push", 1, 50, 200.0, "", True, hours)
    return msgspec.structs.replace(known, **more)


def missed(item: int, why: str = "away", title: str = "Derby") -> UndeliveredTold:
    return UndeliveredTold(1e9, item, "ansa", title, why, 12, ("rita", "rosa"))


class Pages:
    """Answers with one page after the other."""

    def __init__(self, *pages: msgspec.Struct) -> None:
        self.asked: list[bytes] = []
        self._pages = list(pages)

    async def __call__(self, said: bytes) -> bytes:
        self.asked.append(said)
        return msgspec.json.encode(self._pages.pop(0))


class Client:
    """A registry with nodes; says what they answer."""

    answers: ClassVar[dict[str, Any]] = {}

    def __init__(self, endpoint: object, reactor: object, **more: Any) -> None:
        self.stopped = False

    def startService(self) -> None:
        pass

    def stopService(self) -> "Deferred[None]":
        return succeed(None)

    def list(self, service: str) -> "Deferred[Sequence[Registration]]":
        kinds = dict.fromkeys(self.answers, "news-delivery")
        return succeed([Registration(service, name, kind) for name, kind in {**kinds, "root": "news-root"}.items()])

    def call(self, service: str, name: str, said: bytes, timeout_s: float) -> "Deferred[bytes]":
        answer = self.answers[name]
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


class AskingTests(SynchronousTestCase):
    def test_all_pages_are_asked_for(self) -> None:
        pages = Pages(ContractsTold((contract("a"), contract("b")), "b"), ContractsTold((contract("c"),)))
        found = self.successResultOf(Deferred.fromCoroutine(contracts_of(pages, 3)))
        self.assertEqual([one.reader for one in found], ["a", "b", "c"])
        self.assertEqual(pages.asked, [b'!contracts {"hours":3}', b'!contracts {"after":"b","hours":3}'])
        pages = Pages(UndeliveredPage((missed(7), missed(6)), 6), UndeliveredPage((missed(5),)))
        items = self.successResultOf(Deferred.fromCoroutine(undelivered_of(pages)))
        self.assertEqual([one.item for one in items], [7, 6, 5])
        self.assertEqual(pages.asked, [b"!undelivered {}", b'!undelivered {"before":6}'])

    def test_a_node_that_says_the_same_again_is_not_asked_for_ever(self) -> None:
        page = ContractsTold((contract("a"),), "a")
        self.assertEqual(len(self.successResultOf(Deferred.fromCoroutine(contracts_of(Pages(page, page), 3)))), 2)
        same = UndeliveredPage((missed(7),), 7)
        self.assertEqual(len(self.successResultOf(Deferred.fromCoroutine(undelivered_of(Pages(same, same))))), 2)

    def ask(self, node: str = "", **answers: Any) -> str:
        def on_reactor(act: Any) -> Any:
            return self.successResultOf(Deferred.fromCoroutine(act(None)))

        with (
            patch.object(inspecting, "on_reactor", on_reactor),
            patch.object(inspecting, "RegistryClient", Client),
            patch.object(Client, "answers", answers),
            patch.object(Reach, "registry_endpoint"),
        ):
            return news_contracts(REACH, node, 3, json_wanted=True)

    def test_nodes_are_found_and_asked(self) -> None:
        well = msgspec.json.encode(ContractsTold((contract("rita"),)))
        told = json.loads(self.ask(east=well, west=RegistryUnanswered("no answer"), north=b"?"))["nodes"]
        self.assertEqual([one["name"] for one in told], ["east", "north", "west"])
        self.assertEqual(told[0]["contracts"][0]["reader"], "rita")
        self.assertEqual(told[1]["error"], "it does not speak this protocol")
        self.assertIn("error", told[2])
        self.assertEqual([one["name"] for one in json.loads(self.ask("east", east=well, west=well))["nodes"]], ["east"])
        self.assertRaises(NewsStatusFailed, self.ask, "root", east=well)
        self.assertRaises(NewsStatusFailed, self.ask)
        self.assertRaises(NewsStatusFailed, self.ask, west=b"?")


class TableTests(SynchronousTestCase):
    def test_contracts_that_were_not_met_come_first(self) -> None:
        rita, rosa = contract("rita", "met", "away"), contract("rosa", "late", "met", home="west", here=False)
        lines = contracts_table([Told("east", [rita, rosa]), Told("west", (), "gone\x1b")]).splitlines()
        first = "east rosa no push, 1 to 50 an hour, within 200 s, for west 2 1 1 0 0 4 met"
        self.assertEqual(lines[1].split(), first.split())
        self.assertIn("push, 1 to 50 an hour, within 200 s  ", lines[2])
        said = ["2 paid contracts: 1 of them not always met, as far as their readers were there."]
        self.assertEqual(lines[-2:], [*said, "west is not among them: gone␛"])
        one = contracts_table([Told("east", [contract("rita", delay_s_max=0.0)])]).splitlines()
        self.assertEqual(one[1].split()[-1], "-")
        self.assertEqual(one[-1], "1 paid contract: every hour was met, as far as their readers were there.")

    def test_what_was_not_delivered_says_why(self) -> None:
        few = msgspec.structs.replace(missed(8, "odd", "x\n"), readers=2)
        lines = undelivered_table([Told("east", [missed(9), few])]).splitlines()
        self.assertIn("rita,rosa,…", lines[1])
        self.assertTrue(lines[2].endswith("rita,rosa    x␊"), lines[2])
        self.assertEqual(lines[3], "away: the readers were not connected until the item had expired")
        self.assertTrue(lines[4].startswith("odd: "))
        self.assertIn("Nothing has expired", undelivered_table([Told("east", [])]))
        self.assertEqual(
            json.loads(as_json([Told("east", [few])], "undelivered"))["nodes"][0]["undelivered"][0]["item"], 8
        )

    def test_it_is_asked_for_by_its_name(self) -> None:
        with patch.object(inspecting, "_inspect", return_value=[Told("east", [])]) as asked:
            self.assertIn("Nothing", news_undelivered(REACH, "east", json_wanted=False))
            self.assertIn("no paid contracts", news_contracts(REACH, "", 3, json_wanted=False))
        self.assertEqual(asked.call_args_list[0].args[:2], (REACH, "east"))
