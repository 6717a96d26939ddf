"""The two-node engine: two nodes agree on one log, and lose nothing when either is lost."""
