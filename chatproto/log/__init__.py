"""The ordered durable log: entries, the interface, the SQLite store, the single-node engine."""
