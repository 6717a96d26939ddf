"""Small files that others may read at any moment."""

import os


def write_whole(path: str, data: bytes, mode: int) -> None:
    """Write a file whole, or not at all: whoever reads it has what was there before, or all of this.

    After a power cut it may be neither: nothing is synced.

    Args:
        path: the file; `PATH.new` is used on the way.
        data: what is to be in it.
        mode: of the file, where it is made.

    Raises:
        OSError: it cannot be written.
    """
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
    os.replace(f"{path}.new", path)
