"""The folder of a local stack: one stack at a time uses it."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LOCK: Final = "in-use"
_YOUNG_SECONDS: Final = 60.0
"""A folder may be locked a moment after its lock was made."""


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Create the folder if it is missing, and keep other local stacks from it while the body runs.

    The lock ends with the process, however it ends.

    Raises:
        ValueError: It is a file, or another local stack uses the folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(
            f"--data-dir is {str(folder)!r}, which is a file: name a folder, also one that does not exist yet"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{folder} is used by a local stack that runs: end that one, or name another --data-dir"
            ) from None
        yield


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the folders of this user that stacks had locked, and that no process has locked any more."""
    for folder in parent.glob(f"{prefix}*"):
        try:
            is_own = folder.lstat().st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink()
            if is_own and time.time() - (folder / _LOCK).lstat().st_mtime > _YOUNG_SECONDS:
                _remove_if_free(folder)
        except FileNotFoundError:  # no stack's, or another command has removed it
            continue


def _remove_if_free(folder: Path) -> None:
    with (folder / _LOCK).open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder, ignore_errors=True)
