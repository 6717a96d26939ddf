"""The contracting service: readers, what they have agreed on, and where it is fulfilled.

Public: `ContractClient` (a reader's side, for programs), `ContractingServer` (stands on a log), `Book` (what replaying
that gives; pure), `Negotiation` (one of them; pure), `Policy` (the ceilings of a deployment), `CODES` (why something is
refused).
"""

from chatproto.news.contracting.book import Book
from chatproto.news.contracting.client import ContractClient
from chatproto.news.contracting.messages import CODES
from chatproto.news.contracting.negotiation import Negotiation
from chatproto.news.contracting.policy import Policy
from chatproto.news.contracting.server import ContractingServer

__all__ = ["CODES", "Book", "ContractClient", "ContractingServer", "Negotiation", "Policy"]
