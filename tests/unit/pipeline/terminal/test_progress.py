"""What a terminal shows while a command works, and what it is left with."""

import os
import pty
import signal
import sys
import time
from contextlib import suppress

import pytest

CURSOR_ON, CURSOR_OFF = b"\x1b[?25h", b"\x1b[?25l"
START = "import time\nfrom pipeline.terminal import progress, signals\nsignals.handle_signals()\n"
SPINNER = (
    START + "progress.PATIENCE_SECONDS = {patience}\nwith progress.waiting('reading'):\n    time.sleep({seconds})\n"
)


def _on_terminal(program: str, until: bytes | None = None) -> tuple[bytes, int]:
    """Run a program on a terminal, press Ctrl-C when a text appears, and return what was written and how it ended."""
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-c", program])  # noqa: S606 - the child of a terminal
    written = b""
    with suppress(OSError):  # the other end is closed
        while part := os.read(terminal, 4096):
            written += part
            if until and until in written:
                os.kill(child, signal.SIGINT)
                until = None
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return written, os.waitstatus_to_exitcode(status)


def test_what_takes_a_while_is_shown_and_vanishes() -> None:
    """With the cursor as before."""
    written, code = _on_terminal(SPINNER.format(patience=0.05, seconds=0.5))
    assert code == 0
    assert b"reading" in written
    assert written.rindex(CURSOR_ON) > written.rindex(CURSOR_OFF)


def test_what_is_quick_shows_nothing() -> None:
    """A text that flashes by is noise."""
    assert _on_terminal(SPINNER.format(patience=60, seconds=0)) == (b"", 0)


@pytest.mark.parametrize(
    "program",
    [
        SPINNER.format(patience=0.05, seconds=60),
        START + "with progress.counting('reading') as count:\n    count(1)\n    time.sleep(60)\n",
    ],
    ids=["spinner", "bar"],
)
def test_ctrl_c_leaves_the_terminal_usable(program: str) -> None:
    """Live displays hide the cursor."""
    started = time.monotonic()
    written, code = _on_terminal(program, until=b"reading")
    assert code == 130
    assert time.monotonic() - started < 50
    assert written.rindex(CURSOR_ON) > written.rindex(CURSOR_OFF)


def test_nothing_is_shown_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Logs and pipes stay as they are."""
    from pipeline.terminal.progress import counting, waiting  # noqa: PLC0415 - as commands import it

    with waiting("reading"), counting("reading") as count:
        count(1)
    assert capfd.readouterr() == ("", "")
