"""One run of the demo: publish events to a pipeline that was started, and follow them until each has its outcome."""

import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Final

from pipeline.ledger.ledger_report import LedgerReport
from pipeline.ledger.ledger_summary import LedgerCounts, Progress, first_score_of
from pipeline.local.demo_input import DemoInput
from pipeline.local.demo_progress import DemoProgress, ProgressView
from pipeline.local.demo_result import DemoResult
from pipeline.local.stack import LocalStack, connected_stack, load_crm
from pipeline.local.stack_processes import StackProcesses
from pipeline.publish.publishing import publish_events
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET, TOPIC, resource_path
from schemas.clock import utc_now
from schemas.outcome import OutcomeKind

READ_POLL_SECONDS: Final = 0.1
LEDGER_POLL_SECONDS: Final = 0.4
"""A look at the ledger takes the BigQuery emulator 30 ms, in which it takes no row."""

STALL_SECONDS: Final = 90.0
"""A run without progress for this long counts as stuck."""


def run_events(
    processes: StackProcesses,
    pipeline: "subprocess.Popen[bytes]",
    demo_input: DemoInput,
    view: ProgressView,
    *,
    started: float,
) -> DemoResult:
    """Load the CRM, publish the events, wait until each has its outcome, and return the report.

    Args:
        processes: Servers of the stack; BigQuery may still be starting.
        pipeline: The process of `rescore run`, which may still be starting. It is told to end when the events are done.
        demo_input: CRM to load and events to publish.
        view: Shows the progress.
        started: When the demo started, by the monotonic clock.

    Raises:
        RuntimeError: The pipeline ended.
    """
    with connected_stack(processes) as stack:
        run = _Run(processes, stack, pipeline, view)
        run.begin("loading the CRM")
        load_crm(stack.warehouse, demo_input.crm)
        events, first_at = iter(demo_input.events), utc_now()
        # The first event waits for the pipeline to start, so that the times of the others are the pipeline's.
        run.publish(islice(events, 1), "waiting for the pipeline to start")
        run.wait_until_read()
        batch_at = utc_now()
        run.publish(events, "rescoring")
        unexplained = run.wait_until_done()
        pipeline.terminate()  # it ends while the report is read
        run.begin("reading the report")
        summary = run.report.summary()
        first_score = first_score_of(summary.scored, first_at, batch_at)
        return DemoResult(
            published=run.progress.published,
            summary=summary,
            unexplained=unexplained,
            gemini=stack.gemini.stats(),
            first_score_seconds=first_score.seconds,
            includes_start=first_score.includes_start,
            elapsed_seconds=time.monotonic() - started,
        )


class _Run:
    """The events that were published, and how far the pipeline is with them."""

    def __init__(
        self,
        processes: StackProcesses,
        stack: LocalStack,
        pipeline: "subprocess.Popen[bytes]",
        view: ProgressView,
    ) -> None:
        self.report = LedgerReport(stack.warehouse, SCORING_DATASET, CRM_DATASET, since=utc_now())
        self.progress = DemoProgress("")
        self._processes = processes
        self._stack = stack
        self._pipeline = pipeline
        self._view = view
        self._ledger: Progress | None = None

    def begin(self, stage: str) -> None:
        """Show what happens now."""
        self._show(replace(self.progress, stage=stage))

    def publish(self, events: Iterable[bytes], stage: str) -> None:
        """Publish events as messages, in order, and show what happens then."""
        topic = resource_path(self._stack.project, "topics", TOPIC)
        count = sum(1 for _ in publish_events(topic, events))
        self._show(replace(self.progress, stage=stage, published=self.progress.published + count))

    def wait_until_read(self) -> None:
        """Wait until the pipeline has read every message."""
        self._wait(self._is_read, READ_POLL_SECONDS)

    def wait_until_done(self) -> int:
        """Wait until every event has its outcome; return how many have none when nothing happens any more."""
        self._wait(self._is_done, LEDGER_POLL_SECONDS)
        progress = self._ledger or self.report.progress()
        return progress.unexplained + max(0, self.progress.published - progress.messages)

    def _wait(self, is_over: Callable[[], bool], poll_seconds: float) -> None:
        """Poll until the wait is over, or until nothing has changed for `STALL_SECONDS`."""
        seen, changed_at = self.progress, time.monotonic()
        while not is_over():
            if self.progress != seen:
                seen, changed_at = self.progress, time.monotonic()
            if time.monotonic() - changed_at > STALL_SECONDS:
                return
            if self._pipeline.poll() is not None:
                code = self._pipeline.returncode
                raise RuntimeError(f"the pipeline ended with exit code {code}: see its log above")
            self._view.show(self.progress)
            time.sleep(poll_seconds)

    def _is_read(self) -> bool:
        return self._read_messages(self.report.counts) >= self.progress.published

    def _read_messages(self, counts: Callable[[], LedgerCounts]) -> int:
        """Return how many messages the pipeline has read: the broker knows it at once, the ledger a second later."""
        unread = self._processes.unread_messages
        return self.progress.published - unread() if unread else counts().messages

    def _is_done(self) -> bool:
        counts, gemini, published = self.report.counts(), self._stack.gemini.stats(), self.progress.published
        self._show(
            replace(
                self.progress,
                read=self._read_messages(lambda: counts),
                skipped=counts.outcomes[OutcomeKind.SKIPPED],
                coalesced=counts.outcomes[OutcomeKind.COALESCED],
                scored=gemini["accounts"],
                calls=gemini["calls"],
                written=counts.outcomes[OutcomeKind.SCORED],
                dead_lettered=counts.outcomes[OutcomeKind.DEAD_LETTERED],
            )
        )
        self._ledger = self.report.progress() if counts.may_be_done(published) else None
        return self._ledger is not None and self._ledger.is_done(published)

    def _show(self, progress: DemoProgress) -> None:
        self.progress = progress
        self._view.show(progress)
