"""How the command `rescore` is called on this machine, for commands that are printed to be copied."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

COMMAND: Final = "rescore"


def program(argument: str | None = None, *, python: str | None = None) -> str:
    """Return what to type for `rescore`: the name if the shell finds it, else a path, or `python -m pipeline`.

    Args:
        argument: How this process was called; None: `sys.argv[0]`.
        python: The interpreter; None: `sys.executable`.
    """
    called = Path(sys.argv[0] if argument is None else argument)
    if called.name != COMMAND:
        return f"{_typed(Path(python or sys.executable))} -m pipeline"
    return _typed(called)


def _typed(executable: Path) -> str:
    """Return the name of an executable if the shell finds it by its name, else its path, relative where it is below."""
    found = shutil.which(executable.name)
    # Of a link such as .venv/bin/python, the link matters and not what it points to.
    if found and os.path.abspath(found) == os.path.abspath(executable):  # noqa: PTH100 - resolve() follows links
        return executable.name
    path = Path(os.path.abspath(executable))  # noqa: PTH100 - the same
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
