"""docs/runbooks/recover.md, word by word: a job on the local stack is killed, and each of the commands is run."""

import datetime as dt
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from pipeline.ledger.reconcile import reconcile
from pipeline.ledger.reconciliation import Reconciliation
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import LocalStack, load_crm
from pipeline.resources.names import SCORING_DATASET, TOPIC
from schemas.outcome import outcome_id
from schemas.record import to_row
from schemas.tables import CHANGE_OUTCOMES
from tests.fixtures.changes import account_id, payload
from tests.fixtures.console_blocks import Step, filled, steps_of, values_printed
from tests.fixtures.ledger import ledger_row
from transforms.clients.messages import Message
from transforms.clients.pubsub import MessagePublisher

RUNBOOK: Final = Path(__file__).parents[2] / "docs" / "runbooks" / "recover.md"
SCORED: Final = 10
LOST: Final = 4
ACCOUNTS: Final = SCORED + LOST + 1
DEAD_LETTERED: Final = (b"not json", payload(recordIds=[account_id(404)]))
WAIT_SECONDS: Final = 200.0
POLL_SECONDS: Final = 1.0

SHORT_WINDOWS: Final = {
    "RESCORE_COALESCE_SECONDS": "1",
    "RESCORE_COALESCE_MAX_SECONDS": "5",
    "RESCORE_GAP_DELAY_SECONDS": "1",
    "RESCORE_BATCH_WAIT_SECONDS": "1",
}


@contextmanager
def _job(stack: LocalStack, *arguments: str, environment: Mapping[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    """Run `rescore` in the background; end it at the end of the context, if it was not killed before."""
    job = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments], env={**os.environ, **stack.environment, **environment}
    )
    try:
        yield job
    finally:
        job.send_signal(signal.SIGTERM)
        job.wait(60)


def _publish(stack: LocalStack, *payloads: bytes) -> None:
    publisher = MessagePublisher()
    publisher.publish(f"projects/{stack.project}/topics/{TOPIC}", [Message(it, {}) for it in payloads])
    publisher.close()


def _reconciled(stack: LocalStack) -> Reconciliation:
    return reconcile(project=stack.project, dataset=SCORING_DATASET, since="24h", grace="15m", limit=1)


def _wait_for(stack: LocalStack, job: "subprocess.Popen[bytes]", received: int, pending: int) -> None:
    """Wait until the ledger has so many events, of which so many have no outcome."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        result = _reconciled(stack)
        if (result.counts["received"], result.pending) == (received, pending):
            return
        assert job.poll() is None, "the job ended"
        assert time.monotonic() < deadline, result.document()
        time.sleep(POLL_SECONDS)


def _kill_a_job(stack: LocalStack, accounts: list[str]) -> None:
    """Have a job score two changes of most accounts, fail at two messages, and hold gap events; then kill -9 it."""
    scored, held = accounts[LOST:], accounts[:LOST]
    now = int(time.time())

    def updates(rating: str, second: int) -> list[bytes]:
        header = {"commitTimestamp": 1_000 * (now + second), "changedFields": ["Rating"]}
        return [
            payload({"Rating": rating}, recordIds=[account], transactionKey=f"{rating}-{account}", **header)
            for account in scored
        ]

    gaps = [
        payload({}, recordIds=[account], changeType="GAP_UPDATE", changedFields=[], commitTimestamp=1_000 * now)
        for account in held
    ]
    # Gap events wait for the mirror: they are in the job's state when it is killed, however slow the machine is.
    environment = SHORT_WINDOWS | {"RESCORE_GAP_DELAY_SECONDS": "3600"}
    with _job(stack, "run", f"--project={stack.project}", environment=environment) as job:
        _publish(stack, *updates("Hot", 0))
        _wait_for(stack, job, received=SCORED, pending=0)
        _publish(stack, *updates("Cold", 1), *DEAD_LETTERED)
        _wait_for(stack, job, received=2 * SCORED + len(DEAD_LETTERED), pending=0)
        _publish(stack, *gaps)
        _wait_for(stack, job, received=2 * SCORED + len(DEAD_LETTERED) + LOST, pending=LOST)
        job.send_signal(signal.SIGKILL)
        assert job.wait(60) == -signal.SIGKILL


def _lose_an_old_event(stack: LocalStack, account: str) -> None:
    """Write the ledger's row of an event that Pub/Sub no longer has."""
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=10)
    row = ledger_row("received", "0" * 32, account_id=account, recorded_at=long_ago, published_at=long_ago)
    assert not stack.warehouse.insert_rows(SCORING_DATASET, CHANGE_OUTCOMES, {outcome_id(row): to_row(row)})


class _Operator:
    """Types the runbook's commands in a folder, and keeps the values that they print."""

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self._folder = folder
        self._values = {"PROJECT": stack.project}
        self._environment = {**os.environ, **stack.environment, "COLUMNS": "160"}
        self._exit_code = 0

    def type(self, step: Step, *, again: bool) -> None:
        """Run a command, and compare what it prints; `again`: until it does."""
        command = filled(step.command, self._values)
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            output = self._output(command)
            values = values_printed(step, output, self._values)
            if values is not None or not again or time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        sys.stdout.write(f"$ {command}\n{output}")
        said = "\n".join(step.expected)
        assert values is not None, f"$ {command}\nprinted\n\n{output}\nand the runbook says\n\n{said}"
        self._values |= values

    def _output(self, command: str) -> str:
        if command == "echo $?":
            return f"{self._exit_code}\n"
        program, *arguments = shlex.split(command)
        assert program == "rescore"
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            env=self._environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        self._exit_code = done.returncode
        return done.stdout + (f"stderr: {done.stderr}" if done.returncode == 2 else "")


@pytest.mark.timeout(1_200)
def test_the_runbook_recovers_what_a_kill_lost(stack: LocalStack, tmp_path: Path) -> None:
    """Each command prints what the runbook says, and at its end every event has one outcome."""
    crm = generate_crm(accounts=ACCOUNTS, seed=3, as_of=dt.datetime.now(dt.UTC))
    load_crm(stack.warehouse, crm)
    accounts = [profile.account_id for profile in crm.accounts]
    _kill_a_job(stack, accounts[:-1])
    _lose_an_old_event(stack, accounts[-1])
    operator = _Operator(stack, tmp_path)
    with ExitStack() as jobs:
        is_running = False
        for step in steps_of(RUNBOOK.read_text(encoding="utf-8")):
            if step.command.startswith("rescore run "):
                arguments = filled(step.command, {"PROJECT": stack.project}).split()[1:]
                jobs.enter_context(_job(stack, *arguments, environment=SHORT_WINDOWS))
                is_running = True
                continue
            operator.type(step, again=is_running and step.command.startswith("rescore reconcile"))
        assert is_running
    result = _reconciled(stack)
    assert result.is_all_clear
    redelivered = 2 * SCORED + LOST
    assert result.counts["scored"] == redelivered + 1  # by the backfill
    assert result.redelivered == redelivered + len(DEAD_LETTERED)
