"""Child processes of the local stack, in a session of their own, and its data: what has to end with the command."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from pipeline.local.data_folder import remove_abandoned
from pipeline.terminal.signals import held_back, last_act

STOP_TIMEOUT_SECONDS: Final = 10.0

_TEMPORARY: Final = "rescore-"

_running: "list[subprocess.Popen[bytes]]" = []


def start_module(
    *arguments: str,
    stdout: int | IO[Any],
    stderr: int | IO[Any] | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Collection[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start `python -m` with these arguments; it ends with this process at the latest.

    Ctrl-C does not reach the process: the command that started it ends it, in order.
    """
    lifeline, held = os.pipe()
    with held_back():
        process = subprocess.Popen(  # noqa: S603 - the interpreter is this one, the arguments come from this package
            [sys.executable, "-m", "pipeline.local.watched_child", *arguments],
            stdin=lifeline,
            stdout=stdout,
            stderr=stderr,
            env=env,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        os.close(lifeline)
        weakref.finalize(process, os.close, held)
        _running.append(process)
    return process


def stop_process(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a process, and kill it if it is still running after ten seconds."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process in _running:
        _running.remove(process)


@contextmanager
def own_children() -> Iterator[None]:
    """Stop at the end what the body has started and not stopped; kill it if a signal ends the command at once."""
    others = list(_running)
    with last_act(kill_children):
        try:
            yield
        finally:
            for process in [process for process in _running if process not in others]:
                stop_process(process)


@contextmanager
def data_folder(data_dir: Path | None) -> Iterator[Path]:
    """Yield a folder for a stack's data: this one, or a temporary one, which is removed at the end.

    A stack that was killed could not remove its own: the next one does.
    """
    if data_dir:
        yield data_dir
        return
    remove_abandoned(Path(tempfile.gettempdir()), _TEMPORARY)
    with (
        tempfile.TemporaryDirectory(prefix=_TEMPORARY) as name,
        last_act(partial(shutil.rmtree, name, ignore_errors=True)),
    ):
        yield Path(name)


def kill_children() -> None:
    """Kill the processes that were started and not stopped, with their own children, without waiting for them."""
    for process in _running:
        if process.returncode is None:  # else its id may be another process's by now
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
