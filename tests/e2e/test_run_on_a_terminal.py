"""What `rescore run` says: on a terminal what it does and how far it is, elsewhere one entry of the log."""

import json
import os
import pty
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import LocalStack, load_crm
from pipeline.publish.publishing import publish_events
from pipeline.resources.names import TOPIC
from schemas.clock import utc_now
from tests.e2e.pipeline_process import PATIENCE_SECONDS, SHORT_WAITS
from tests.fixtures.changes import payload
from tests.fixtures.shared_servers import SharedServers

PROGRAM: Final = """
from pipeline.terminal import heartbeat
heartbeat.heartbeat.__wrapped__.__kwdefaults__["every_seconds"] = 0.5  # a minute is long for a test
from pipeline.__main__ import main
main()
"""
DOES: Final = "reads projects/"


def _arguments(stack: LocalStack) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "run", f"--project={stack.project}", *SHORT_WAITS]


def _read_until(terminal: int, text: str) -> str:
    """Return what is written to a terminal until it has a text."""
    written, ends_at = b"", time.monotonic() + PATIENCE_SECONDS
    while text.encode() not in written:
        assert time.monotonic() < ends_at, written.decode()
        written += os.read(terminal, 4096)  # a beat comes twice a second
    return written.decode()


def test_a_person_sees_what_is_read_and_scored(servers: SharedServers, tmp_path: Path) -> None:
    """First what the pipeline reads and writes, then beats, which count the messages and the scores of this run."""
    with servers.stack(tmp_path) as stack:
        crm = generate_crm(accounts=1, seed=1, as_of=utc_now())
        load_crm(stack.warehouse, crm)
        child, terminal = pty.fork()
        if not child:
            os.execve(sys.executable, _arguments(stack), {**os.environ, **stack.environment})  # noqa: S606 - the child of a terminal
        try:
            told = _read_until(terminal, "0 messages (+0)")
            assert told.index(DOES) < told.index("0 messages")
            assert f"writes {stack.project}.account_scoring" in told
            event = payload(recordIds=[crm.accounts[0].account_id])
            assert len(list(publish_events(f"projects/{stack.project}/topics/{TOPIC}", [event]))) == 1
            assert "1 messages" in _read_until(terminal, "1 scores (+1)")
        finally:
            os.write(terminal, b"\x03")  # Ctrl-C
            with suppress(OSError):  # it has closed its end
                while os.read(terminal, 4096):
                    pass
            _, status = os.waitpid(child, 0)
            os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130


def test_a_log_has_what_is_read_as_one_entry(servers: SharedServers, tmp_path: Path) -> None:
    """Also without --verbose: a log that is silent for hours says at least what it is the log of."""
    with servers.stack(tmp_path) as stack:
        command = [*_arguments(stack)]
        with subprocess.Popen(command, env={**os.environ, **stack.environment}, stderr=subprocess.PIPE) as process:
            assert process.stderr
            entry = json.loads(process.stderr.readline())
            process.terminate()
            process.communicate(timeout=PATIENCE_SECONDS)
    assert entry["severity"] == "INFO"
    assert entry["message"].startswith(DOES)
