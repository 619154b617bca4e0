"""The local runner and Beam's DirectRunner give every event the same outcome."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.ledger.ledger_report import LedgerReport
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.records import CrmRecords
from pipeline.local.publishing import publish_events
from pipeline.local.stack import RUNNER, LocalStack, load_crm, local_stack
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET, TOPIC
from schemas.clock import utc_now
from tests.fixtures.changes import account_id, payload

RUNNERS = ("DirectRunner", RUNNER)
PATIENCE_SECONDS = 200.0
OPTIONS = ("--batch_shards=1", "--coalesce_seconds=1", "--coalesce_max_seconds=2", "--batch_wait_seconds=0.5")
LEDGER_SQL = """
SELECT DISTINCT event_id, account_id, outcome, reason, error_class
FROM `{project}.{dataset}.change_outcomes`
ORDER BY event_id, account_id, outcome
"""

Ledger = list[tuple[str | None, ...]]


def test_both_runners_write_the_same_ledger(tmp_path: Path) -> None:
    """The outcomes of the same messages do not depend on the runner, nor on the order of arrival."""
    crm = generate_crm(accounts=6, seed=1, as_of=utc_now())
    known = [account.account_id for account in crm.accounts]
    repeated = payload(recordIds=known[:1])
    events = [
        repeated,
        *(payload(recordIds=[known[number]], transactionKey=f"key-{number}") for number in (1, 2, 3)),
        payload(recordIds=[known[4]], changedFields=["LastModifiedDate"]),
        payload({}, recordIds=[known[5]], changeType="DELETE", changedFields=[]),
        payload(recordIds=[account_id(404)]),
        payload(entityName="Contact", recordIds=["0037Q000002aGVkQAM"]),
        b"not a change event",
        repeated,
    ]
    direct, local = (_ledger(tmp_path / str(number), runner, crm, events) for number, runner in enumerate(RUNNERS))
    assert local == direct
    outcomes = {row[2] for row in local}
    assert outcomes == {"received", "scored", "tombstoned", "skipped", "dead_lettered"}


def _ledger(folder: Path, runner: str, crm: CrmRecords, events: list[bytes]) -> Ledger:
    """Run the events through the pipeline on a new stack, and return the distinct rows of the ledger."""
    since = utc_now()
    with local_stack(folder) as stack, _pipeline(stack, runner, folder / "pipeline.log") as pipeline:
        load_crm(stack.warehouse, crm)
        report = LedgerReport(stack.warehouse, SCORING_DATASET, CRM_DATASET, since=since)
        published = sum(1 for _ in publish_events(f"projects/{stack.project}/topics/{TOPIC}", events))
        started = time.monotonic()
        while not report.progress().is_done(published):
            assert pipeline.poll() is None, (folder / "pipeline.log").read_text()
            assert time.monotonic() - started < PATIENCE_SECONDS, report.progress()
            time.sleep(0.3)
        rows = stack.warehouse.query(LEDGER_SQL.format(project=stack.project, dataset=SCORING_DATASET))
        return [tuple(row.values()) for row in rows]


@contextmanager
def _pipeline(stack: LocalStack, runner: str, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "pipeline", "run", f"--project={stack.project}", f"--runner={runner}", *OPTIONS]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, env={**os.environ, **stack.environment}, stderr=errors)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
