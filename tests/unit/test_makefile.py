"""`make shell` opens a shell that finds `rescore`, and ends without an error of make."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_shell_finds_the_command_and_ends_with_exit() -> None:
    """The environment's programs come first; the status of the last command is no error of make."""
    # Under `make test` this is a make within a make, which would print its folder.
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    }
    shell = subprocess.run(
        ["make", "--old-file=.venv/.installed", "shell"],  # never installs anything here
        cwd=ROOT,
        env=environment | {"SHELL": "/bin/bash"},
        input='echo "${PATH%%:*}"; echo "$VIRTUAL_ENV"; false; exit 3\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert shell.stdout.splitlines() == [f"{ROOT}/.venv/bin", f"{ROOT}/.venv"]
    assert shell.returncode == 0
    assert "exit leaves this shell" in shell.stderr
