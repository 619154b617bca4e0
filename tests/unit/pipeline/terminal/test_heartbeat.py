"""What a pipeline says on a terminal."""

import datetime as dt
import os
import pty
import subprocess
import sys
from contextlib import suppress

from pipeline.terminal.heartbeat import beat_line, heartbeat, is_watched

PROGRAM = """
import time
from pipeline.terminal.heartbeat import heartbeat, say
counts = iter([{"messages": 5}, RuntimeError("a counter was added"), {"messages": 1200}])
def counted():
    now = next(counts, {"messages": 1200})
    if isinstance(now, Exception):
        raise now
    return now
say("reads this, writes that")
with heartbeat(counted, every_seconds=0.05):
    time.sleep(0.6)
"""


def test_a_beat_says_what_came_since_the_last() -> None:
    """Each count, with its increase."""
    at = dt.datetime(2026, 3, 2, 9, 30, 1, tzinfo=dt.UTC)
    assert beat_line(at, {"messages": 1200, "scores": 7}, {"messages": 200}) == (
        "09:30:01 UTC  1,200 messages (+1,000), 7 scores (+7)"
    )


def test_nothing_is_said_where_nobody_watches() -> None:
    """Standard error is no terminal here; logs stay as they are."""
    assert not is_watched()
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    with heartbeat(dict):
        pass


def _on_terminal(*program: str) -> str:
    """Return what a program writes to a terminal of its own."""
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, *program])  # noqa: S606 - the child of a terminal
    written = b""
    with suppress(OSError):  # the other end is closed
        while part := os.read(terminal, 4096):
            written += part
    os.waitpid(child, 0)
    os.close(terminal)
    return written.decode()


def test_a_person_reads_what_it_does_and_how_far_it_is() -> None:
    """A beat that can't be counted is left out."""
    first, *beats = _on_terminal("-c", PROGRAM).splitlines()
    assert first == "reads this, writes that"
    assert "5 messages (+5)" in beats[0]
    assert "1,200 messages (+1,195)" in beats[1]
    assert "(+0)" in beats[-1]


def test_a_child_with_a_session_of_its_own_is_silent() -> None:
    """Such as the pipeline of the demo, whose terminal shows the demo's progress."""
    starting = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PROGRAM!r}], start_new_session=True)"
    assert _on_terminal("-c", starting) == ""
