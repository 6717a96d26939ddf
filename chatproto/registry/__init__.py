"""The registry: the witness of pairs, names with their addresses, calls passed on, groups; and both sides of its links.

Public: `RegistryClient` (names, calls and groups, for programs), `Registration` (what a server says of itself),
`NamesHeard` (hears what is registered), `Names` (the table; pure), `REASONS` (why the registry refuses something),
`Witness` (who leads, by compare-and-set; pure), `FORMS` and `DENIALS` (what it grants, and why it does not),
`RegistryLinkFactory` (the registry's links), `RegistryWitness` (asks a registry, for `chatproto.pair`).
"""

from chatproto.registry.client import RegistryWitness
from chatproto.registry.names import REASONS, Names, Registration
from chatproto.registry.protocol import RegistryLinkFactory
from chatproto.registry.rules import DENIALS, FORMS
from chatproto.registry.visitor import NamesHeard, RegistryClient
from chatproto.registry.witness import Witness

__all__ = [
    "DENIALS",
    "FORMS",
    "REASONS",
    "Names",
    "NamesHeard",
    "Registration",
    "RegistryClient",
    "RegistryLinkFactory",
    "RegistryWitness",
    "Witness",
]
