"""A small durable table: keys and values, changed in order, several at once or not at all.

For what is no log: where each thing is kept under its name until it is replaced or goes.
"""

from chatproto.keyvalue.interface import Change, IKeyValueStore

__all__ = ["Change", "IKeyValueStore"]
