"""Every message of the protocol has a sample, which shows all its fields; `tests/simulation` replays the samples."""

import contextlib
import re
from typing import Any, get_args

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import (
    BaseRequest,
    ExtendedRequest,
    FirstRequest,
    Pong,
    PrivateAck,
    Said,
    ServerMessage,
    decode_server_line,
    encode,
)
from chatproto.client.direct import messages as direct
from chatproto.registry.messages import Beat, FromNode, FromRegistry
from chatproto.registry.requests import FromVisitor, ToVisitor
from tests.conversations import REGISTRY, ROOT, all_conversations

_first = msgspec.json.Decoder(FirstRequest)
_extended = msgspec.json.Decoder(ExtendedRequest)
_said = msgspec.json.Decoder(Said)


class SampleTests(SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
        self.conversations = all_conversations()

    def test_every_message_of_clients_has_a_sample(self) -> None:
        samples = []
        for sample in self.conversations:
            if sample.kind not in ("direct", REGISTRY):
                for extended, line in sample.sent("→"):
                    with contextlib.suppress(msgspec.ValidationError):  # What is refused is shown, too.
                        message = (_extended if extended else _first).decode(line)
                        samples.append((type(message), line))
        self.assert_all_shown(samples, (*get_args(BaseRequest), *get_args(ExtendedRequest)))

    def test_every_message_of_servers_has_a_sample(self) -> None:
        samples = []
        for sample in self.conversations:
            if sample.kind not in ("direct", REGISTRY):
                for extended, line in sample.sent("←"):
                    base = not extended and '"type":"message"' in line
                    message = _said.decode(line) if base else decode_server_line(line.encode())
                    pong = isinstance(message, Pong)  # It has whatever fields the ping had.
                    self.assertTrue(pong or encode(message).decode() == f"{line}\n", line)
                    samples.append((type(message), line))
        self.assert_all_shown(samples, (Said, PrivateAck, *get_args(ServerMessage)))

    def test_every_message_of_direct_connections_has_a_sample(self) -> None:
        samples = []
        for sample in self.conversations:
            if sample.kind == "direct":
                for _, line in sample.sent("→") + sample.sent("←"):
                    message = direct.decode_line(line.encode())
                    self.assertEqual(encode(message).decode(), f"{line}\n")
                    samples.append((type(message), line))
        self.assert_all_shown(samples, get_args(direct.DirectMessage))

    def test_every_message_of_the_registry_has_a_sample(self) -> None:
        sent = self.shown_frames("→", FromNode | FromVisitor)
        self.assertEqual(set(get_args(FromNode | FromVisitor)) - sent, {Beat})
        told = self.shown_frames("←", FromRegistry | ToVisitor)
        self.assertEqual(set(get_args(FromRegistry | ToVisitor)) - told, {Beat})

    def shown_frames(self, way: str, kinds: Any) -> set[type]:
        """Return the kinds that the samples of the registry's link have; each sample shows all fields."""
        found = set()
        for sample in self.conversations:
            if sample.kind == REGISTRY:
                for _, line in sample.sent(way):
                    message = msgspec.msgpack.decode(msgspec.msgpack.encode(sample.read(line)), type=kinds)
                    self.assertEqual(msgspec.msgpack.decode(msgspec.msgpack.encode(message)), sample.read(line))
                    found.add(type(message))
        return found

    def assert_all_shown(self, samples: list[tuple[type, str]], kinds: tuple[type, ...]) -> None:
        """Check that there is a sample of each kind, and that together they show each of its fields."""
        for kind in kinds:
            shown = {field for found, line in samples if found is kind for field in msgspec.json.decode(line)}
            self.assertEqual({*kind.__struct_encode_fields__, "type"} - shown, set(), kind)  # type: ignore[attr-defined]

    def test_there_are_no_samples_that_nobody_replays(self) -> None:
        """Or types, as everything in the console of that one page is."""
        for page in (ROOT / "docs").glob("*.md"):
            tried = "conversation|console" if page.name == "getting-started.md" else "conversation"
            rest = re.sub(
                rf"^```(?:{tried}).*?^```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
            )
            self.assertNotIn('{"type":', rest, f"{page.name}: show it in a `conversation`")

    def test_every_code_is_explained_and_none_else(self) -> None:
        sources = "".join(path.read_text("utf-8") for path in (ROOT / "chatproto" / "chat").glob("*.py"))
        for heading, made in (
            ("| code | when |", r'\bError\(\s*"([a-z-]+)"'),
            ("| notice | says |", r'\bNotice\(\s*"([a-z-]+)"'),
        ):
            rows = self.text.partition(heading)[2].partition("\n\n")[0].splitlines()[2:]
            explained = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
            self.assertEqual(set(re.findall(made, sources)) - explained, set())
            self.assertEqual({code for code in explained if f'"{code}"' not in sources}, set())
