"""`rescore run` as a process, and waiting for what it does with published events."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.ledger.ledger_report import LedgerReport
from pipeline.ledger.ledger_summary import LedgerSummary
from pipeline.local.child_process import stop_process
from pipeline.local.demo_input import DemoInput
from pipeline.local.stack import LocalStack, load_crm
from pipeline.publish.publishing import publish_events
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET, TOPIC
from schemas.clock import utc_now
from transforms.errors import WarehouseUnavailable

PATIENCE_SECONDS = 240.0
POLL_SECONDS = 0.4
SHORT_WAITS = ("--batch_shards=1", "--coalesce_seconds=0.5", "--coalesce_max_seconds=1", "--batch_wait_seconds=0.2")
"""Options with which a change is scored within a second or two."""


class PipelineProcess:
    """A running `rescore run`."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log

    def wait_until(self, is_true: Callable[[], bool], what: str) -> float:
        """Wait until a condition holds, and return the seconds; ask again if BigQuery does not answer."""
        started = time.monotonic()
        while True:
            try:
                if is_true():
                    return time.monotonic() - started
            except WarehouseUnavailable:
                pass  # a test may have killed it
            assert self._process.poll() is None, f"the pipeline ended before {what}: {self._end_of_log()}"
            assert time.monotonic() - started < PATIENCE_SECONDS, f"not in time: {what}: {self._end_of_log()}"
            time.sleep(POLL_SECONDS)

    def wait_for_outcomes(self, report: LedgerReport, messages: int) -> None:
        """Wait until each of so many messages has its outcome, and each score its row."""
        self.wait_until(lambda: report.progress().is_done(messages), f"outcomes of {messages} messages")

    def _end_of_log(self) -> str:
        return self._log.read_text()[-3_000:]


@contextmanager
def pipeline_process(
    stack: LocalStack, *options: str, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[PipelineProcess]:
    """Run `rescore run` with options until the context ends; its output goes to `log`."""
    command = [sys.executable, "-m", "pipeline", "run", f"--project={stack.project}", *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **stack.environment, **(environment or {})}, stdout=output, stderr=output
        )
        try:
            yield PipelineProcess(process, log)
        finally:
            stop_process(process)


def run_sample(
    stack: LocalStack, sample: DemoInput, *options: str, log: Path, until: Callable[[], bool] = lambda: True
) -> tuple[int, LedgerSummary]:
    """Run a CRM's events through a pipeline process until each has its outcome, and `until` holds.

    Returns:
        The number of published events, and the ledger's summary.
    """
    load_crm(stack.warehouse, sample.crm)
    report = LedgerReport(stack.warehouse, SCORING_DATASET, CRM_DATASET, since=utc_now())
    published = sum(1 for _ in publish_events(f"projects/{stack.project}/topics/{TOPIC}", sample.events))
    with pipeline_process(stack, *SHORT_WAITS, *options, log=log) as pipeline:
        pipeline.wait_for_outcomes(report, published)
        pipeline.wait_until(until, "what the test waits for")
    return published, report.summary()
