"""The folder of a local stack: one stack at a time uses it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LOCK: Final = "in-use"


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Create the folder if it is missing, and keep other local stacks from it while the body runs.

    The lock ends with the process, however it ends.

    Raises:
        ValueError: Another local stack uses the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{folder} is used by a local stack that runs: end that one, or name another --data-dir"
            ) from None
        yield
