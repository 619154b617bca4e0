"""Signals, in processes of their own."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_SECONDS = 60.0
START = "import sys, threading\nfrom pipeline.terminal import signals\nsignals.handle_signals()\n"
END = "sys.exit(signals.exit_code(0))\n"
READY = "print('ready', flush=True)\n"
CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@contextmanager
def _running(body: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a program up to its first line of output."""
    program = [sys.executable, "-c", START + body + END]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def _ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    assert process.stdout
    assert process.stderr
    code = process.wait(PATIENCE_SECONDS)  # the output is short, so that no pipe is full before the end
    return code, process.stdout.read(), process.stderr.read()  # what is left in the buffer of the first line, too


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_ends_a_command_at_once_and_in_silence(number: signal.Signals, code: int) -> None:
    """Without a traceback, and without the code that follows."""
    with _running(READY + "threading.Event().wait()\nprint('after')\n") as process:
        process.send_signal(number)
        assert _ended(process) == (code, "", "")


@pytest.mark.parametrize(("number", "code"), CODES)
def test_what_cleans_up_first_does_so(number: signal.Signals, code: int) -> None:
    """The exit code is the signal's; logs and threads that fail meanwhile are silent."""
    body = f"""
import logging
def fail():
    raise ValueError("a thread failed")
try:
    with signals.cleanup_first():
        {READY}        threading.Event().wait()
except KeyboardInterrupt:
    logging.warning("a log")
    failing = threading.Thread(target=fail)
    failing.start()
    failing.join()
    print("cleaned")
"""
    with _running(body) as process:
        process.send_signal(number)
        assert _ended(process) == (code, "cleaned\n", "")


def test_a_second_signal_ends_a_cleanup_after_its_last_acts() -> None:
    """The innermost first."""
    body = f"""
import os
with signals.last_act(lambda: os.write(1, b"outer ")), signals.last_act(lambda: os.write(1, b"inner ")):
    with signals.last_act(lambda: os.write(1, b"over ")):
        pass
    try:
        with signals.cleanup_first():
            {READY}            threading.Event().wait()
    except KeyboardInterrupt:
        print("cleaning", flush=True)
        threading.Event().wait()
"""
    with _running(body) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        assert process.stdout.readline() == "cleaning\n"
        process.send_signal(signal.SIGINT)
        code, output, errors = _ended(process)
    assert (code, errors) == (143, "")
    assert output == "inner outer "


def test_a_cleanup_has_a_limit() -> None:
    """A client whose server is gone does not keep the command."""
    body = f"""
signals.CLEANUP_SECONDS = 0.1
try:
    with signals.cleanup_first():
        {READY}        threading.Event().wait()
except KeyboardInterrupt:
    threading.Event().wait()
"""
    with _running(body) as process:
        process.send_signal(signal.SIGINT)
        assert _ended(process) == (130, "", "")


def test_what_finishes_first_gets_an_event() -> None:
    """It goes on to its end, and the exit code is the signal's."""
    body = f"""
with signals.finish_first() as interrupted:
    {READY}    interrupted.wait()
    print("finished")
"""
    with _running(body) as process:
        process.send_signal(signal.SIGTERM)
        assert _ended(process) == (143, "finished\n", "")


def test_a_second_signal_ends_what_finishes_first() -> None:
    """Its last batch may take long."""
    body = f"""
with signals.finish_first() as interrupted:
    {READY}    interrupted.wait()
    print("finishing", flush=True)
    threading.Event().wait()
"""
    with _running(body) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        assert process.stdout.readline() == "finishing\n"
        process.send_signal(signal.SIGTERM)
        assert _ended(process) == (143, "", "")


def test_a_signal_waits_for_what_holds_it_back() -> None:
    """Such as the start of a process, which must be known before the cleanup begins."""
    body = f"""
import os, signal
try:
    with signals.cleanup_first():
        {READY}        with signals.held_back():
            os.kill(os.getpid(), signal.SIGINT)
            print("started")
        print("after")
except KeyboardInterrupt:
    print("cleaned")
"""
    with _running(body) as process:
        assert _ended(process) == (130, "started\ncleaned\n", "")


def test_a_signal_during_an_import_ends_the_command_at_once(tmp_path: Path) -> None:
    """Modules have bare `except` clauses, which would swallow the exception."""
    (tmp_path / "importing.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException: pass\nprint('after')\n"
    )
    body = f"""
sys.path.insert(0, {str(tmp_path)!r})
with signals.cleanup_first(), signals.last_act(lambda: print("last act", flush=True)):
    {READY}    import importing
"""
    with _running(body) as process:
        assert _ended(process) == (130, "last act\n", "")


def test_an_interrupt_that_python_drops_ends_the_process() -> None:
    """Exceptions in a destructor are printed and dropped; this one ends the process in silence."""
    body = f"""
import os, signal, time
class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
{READY}with signals.cleanup_first():
    Dropped()
    print("after")
"""
    with _running(body) as process:
        assert _ended(process) == (130, "", "")


def test_signals_that_were_ignored_stay_ignored() -> None:
    """A command that was started by nohup outlives its terminal."""
    body = READY + "sys.stdin.read()\n"
    program = [sys.executable, "-c", START + body + END]
    with subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # noqa: PLW1509 - the child has one thread
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        assert process.communicate("", timeout=PATIENCE_SECONDS)[0] == ""
        assert process.returncode == 0


def test_signals_are_handled_before_anything_heavy_is_imported() -> None:
    """`rescore` imports one module, which handles them: Ctrl-C in the first half second is silent, too."""
    program = "import sys, pipeline.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"typer", "rich", "pydantic", "structlog", "grpc", "apache_beam", "google.auth", "pipeline.cli"}
    assert not heavy & set(done.stdout.split())
