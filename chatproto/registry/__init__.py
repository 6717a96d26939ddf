"""The registry: the witness of pairs, its link, and a node's side of that.

Public: `Witness` (who leads, by compare-and-set; pure), `FORMS` and `DENIALS` (what it grants, and why it does not),
`RegistryLinkFactory` (the registry's links), `RegistryWitness` (asks a registry, for `chatproto.pair`).
"""

from chatproto.registry.client import RegistryWitness
from chatproto.registry.protocol import RegistryLinkFactory
from chatproto.registry.rules import DENIALS, FORMS
from chatproto.registry.witness import Witness

__all__ = ["DENIALS", "FORMS", "RegistryLinkFactory", "RegistryWitness", "Witness"]
