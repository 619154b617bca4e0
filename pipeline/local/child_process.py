"""Child processes of the local stack, in a session of their own."""

import subprocess
import sys
from collections.abc import Collection, Mapping
from typing import IO, Any, Final

STOP_TIMEOUT_SECONDS: Final = 10.0


def start_module(
    *arguments: str,
    stdout: int | IO[Any],
    stderr: int | IO[Any] | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Collection[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start `python -m` with these arguments, without standard input.

    Ctrl-C does not reach the process: the command that started it ends it, in order.
    """
    return subprocess.Popen(  # noqa: S603 - the interpreter is this one, the arguments come from this package
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=env,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def stop_process(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a process, and kill it if it is still running after ten seconds."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
