"""Keys that begin alike lie side by side. Pure."""


def end_of(prefix: bytes) -> bytes | None:
    """Return the first key after all that begin so; None where there is none, for they go on to the end."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None
