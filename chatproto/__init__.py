"""Chat that survives the loss of a server: a Twisted protocol library and a `twistd` daemon."""

__version__ = "0.1.0"
