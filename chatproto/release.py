"""Which release of chatproto runs."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def release() -> str:
    """Return the version that is installed; empty where none is."""
    try:
        return version("chatproto")
    except PackageNotFoundError:
        return ""
