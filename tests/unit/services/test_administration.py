"""Tests for chatproto.services.administration: what an operator has done about accounts and bans."""

import json
from typing import Any

from chatproto.chat.acts import Enroll, Forbid, encode_act
from chatproto.services.administration import DECREE_S_MAX, Administration
from tests.unit.chat.fakes import ChatTestCase


class AdministrationTests(ChatTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.administration = Administration(self.server, self.clock)
        self.said: list[str] = []

    def decree(self, decree: Any) -> list[str]:
        deciding = self.administration.decree(self.said.append, encode_act(decree).decode())
        self.commit()
        if deciding is not None:
            self.successResultOf(deciding)
        said, self.said = self.said, []
        return said

    def shown(self, ask: Any) -> Any:
        ask(self.said.append)
        (said,) = self.said
        self.said = []
        return json.loads(said.removeprefix("done: "))

    def test_done_and_refused(self) -> None:
        self.assertEqual(self.decree(Enroll(name="adel", new=True)), ["done: committed"])
        self.assertEqual(self.decree(Enroll(name="adel", new=True)), ["refused: there is an account adel already"])

    def test_what_is_no_decree(self) -> None:
        for text in ("", "{", '{"act":"quit"}', '{"act":"rename","session":"a","identity":"b"}'):
            self.assertIsNone(self.administration.decree(self.said.append, text))
        self.assertEqual([said.partition(":")[0] for said in self.said], ["refused"] * 4)

    def test_a_node_that_cannot_serve_takes_none(self) -> None:
        self.log.serving = False
        self.assertIn("cannot have anything agreed on", self.decree(Enroll(name="adel"))[0])
        self.assertEqual(self.log.submitted, [])

    def test_what_takes_too_long_is_told(self) -> None:
        deciding = self.administration.decree(self.said.append, encode_act(Enroll(name="adel")).decode())
        assert deciding is not None
        self.clock.advance(DECREE_S_MAX)
        self.successResultOf(deciding)
        self.assertIn("not committed within 10 s", self.said[0])
        self.commit()
        self.assertIn("adel", self.hall.accounts, "it comes all the same")

    def test_lists(self) -> None:
        self.decree(Enroll(name="adel", secret="secret", roles=["admin"]))
        self.decree(Forbid(subject="192.0.2.7", until=self.now + 9, time=self.now, reason="why", by="zoe"))
        self.assertEqual(
            self.shown(self.administration.accounts),
            [{"name": "adel", "roles": ["admin"], "password": True, "devices": 0, "tickets": 0}],
        )
        self.assertEqual(
            self.shown(self.administration.bans),
            [{"subject": "192.0.2.7", "until": self.now + 9, "reason": "why", "by": "zoe"}],
        )
