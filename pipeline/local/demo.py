"""`rescore demo`: run sample events through the whole pipeline on a local stack, and report the outcomes."""

import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from pipeline.ledger.event_files import read_event_files
from pipeline.ledger.ledger_report import LedgerReport, LedgerSummary, Progress
from pipeline.local.child_process import start_module, stop_process
from pipeline.local.crm.extract import extract_change_events, load_crm_extract
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.records import CrmRecords
from pipeline.local.crm.sample_events import generate_events
from pipeline.local.publishing import publish_events
from pipeline.local.stack import LocalStack, load_crm, starting_stack
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET, TOPIC
from schemas.clock import utc_now
from schemas.outcome import OutcomeKind

POLL_SECONDS: Final = 0.5
STALL_SECONDS: Final = 90.0
"""A run without progress for this long counts as stuck."""

SAMPLE_COALESCING: Final = ("--coalesce_seconds=1", "--coalesce_max_seconds=5", "--batch_wait_seconds=0.5")
"""Short windows for samples, which are published within seconds; an extract uses the default windows."""

GARBAGE_SHARE: Final = 0.02
SAMPLE_EVENTS_PER_ACCOUNT: Final = 1.25


@dataclass(frozen=True)
class DemoInput:
    """A CRM for the warehouse, and the events of its changes."""

    crm: CrmRecords
    events: Iterable[bytes]
    coalescing: tuple[str, ...] = ()


@dataclass(frozen=True)
class DemoResult:
    """The outcomes of the events."""

    published: int
    summary: LedgerSummary
    unexplained: int
    gemini: dict[str, Any]
    elapsed_seconds: float
    data_dir: Path | None

    def document(self) -> dict[str, Any]:
        """Return the document that `--json` prints; the counts are of ledger rows."""
        outcomes, reasons = self.summary.outcomes, self.summary.reasons
        tokens = {kind: self.gemini[f"{kind}_tokens"] for kind in ("prompt", "output", "cached")}
        return {
            "published": self.published,
            **outcomes,
            "skipped_by_reason": reasons.get(OutcomeKind.SKIPPED, {}),
            "dead_lettered_by_class": reasons.get(OutcomeKind.DEAD_LETTERED, {}),
            "accounts_scored": self.summary.accounts_scored,
            "unexplained": self.unexplained,
            "gemini_calls": self.gemini["calls"],
            "tokens": tokens["prompt"] + tokens["output"],
            "tokens_by_kind": tokens,
            "latency_seconds": self.summary.latency_seconds,
            "elapsed_seconds": round(self.elapsed_seconds, 1),
            "highest_scores": self.summary.highest,
            "data_dir": str(self.data_dir) if self.data_dir else None,
        }


def generated_input(accounts: int, seed: int, *, as_of: dt.datetime) -> DemoInput:
    """Return a generated CRM, and a day of its changes, some of them malformed."""
    crm = generate_crm(accounts=accounts, seed=seed, as_of=as_of)
    count = int(accounts * SAMPLE_EVENTS_PER_ACCOUNT)
    start = as_of - dt.timedelta(hours=8)
    events = generate_events(crm, count=count, seed=seed, start=start, garbage_share=GARBAGE_SHARE)
    return DemoInput(crm, events, SAMPLE_COALESCING)


def extract_input(folder: Path) -> DemoInput:
    """Return a CRM extract, and the engagement and close of each opportunity as change events in time order."""
    crm = load_crm_extract(folder)
    return DemoInput(crm, (orjson.dumps(event) for event in extract_change_events(crm)))


def run_demo(
    demo_input: DemoInput,
    *,
    data_dir: Path | None,
    pipeline_options: tuple[str, ...] = (),
    on_progress: Callable[[str, Progress, int], None] = lambda _stage, _progress, _published: None,
) -> DemoResult:
    """Run events through a pipeline process on a new local stack, until each has its outcome.

    Args:
        demo_input: CRM to load and events to publish.
        data_dir: Folder to keep the warehouse in; None: a temporary one.
        pipeline_options: Options of `rescore run`.
        on_progress: Called with the stage, the ledger's progress and the number of published messages.

    Raises:
        RuntimeError: The pipeline ended.
    """
    started = time.monotonic()
    on_progress("starting the local stack", Progress(), 0)
    with ExitStack() as parts:
        folder = data_dir or Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="rescore-")))
        stack = parts.enter_context(starting_stack(folder))
        report = LedgerReport(stack.warehouse, SCORING_DATASET, CRM_DATASET, since=utc_now())
        # The runner has one thread, so one shard fills batches best.
        options = ("--batch_shards=1", "--gap_delay_seconds=1", *demo_input.coalescing, *pipeline_options)
        with _pipeline_process(stack, options) as pipeline:
            stack.wait_until_ready()  # while the pipeline starts
            on_progress("loading the CRM", Progress(), 0)
            load_crm(stack.warehouse, demo_input.crm)
            topic = f"projects/{stack.project}/topics/{TOPIC}"
            events = iter(demo_input.events)
            # The first event waits for the pipeline to start, so that the latency of the others is the pipeline's.
            published = sum(1 for _ in publish_events(topic, islice(events, 1)))
            _wait(
                report, pipeline, published, partial(on_progress, "starting the pipeline"), until=Progress.has_received
            )
            published += sum(1 for _ in publish_events(topic, events))
            progress = _wait(report, pipeline, published, partial(on_progress, "rescoring"))
        return DemoResult(
            published=published,
            summary=report.summary(),
            unexplained=progress.unexplained + max(0, published - progress.messages),
            gemini=stack.gemini.stats(),
            elapsed_seconds=time.monotonic() - started,
            data_dir=data_dir,
        )


def _wait(
    report: LedgerReport,
    pipeline: "subprocess.Popen[bytes]",
    published: int,
    on_progress: Callable[[Progress, int], None],
    *,
    until: Callable[[Progress, int], bool] = Progress.is_done,
) -> Progress:
    """Poll the ledger until `until` holds, or until nothing has changed for `STALL_SECONDS`."""
    progress, moved_at = Progress(), time.monotonic()
    while True:
        now = report.progress()
        if now != progress:
            progress, moved_at = now, time.monotonic()
        on_progress(progress, published)
        if until(progress, published) or time.monotonic() - moved_at > STALL_SECONDS:
            return progress
        if pipeline.poll() is not None:
            raise RuntimeError(f"the pipeline ended with exit code {pipeline.returncode}: see its log above")
        time.sleep(POLL_SECONDS)


@contextmanager
def _pipeline_process(stack: LocalStack, options: tuple[str, ...]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `rescore run` as a child process, as in production."""
    process = start_module(
        *("pipeline", "run", f"--project={stack.project}", *options),
        stdout=sys.stderr,
        env={**os.environ, **stack.environment},
    )
    try:
        yield process
    finally:
        stop_process(process)


def events_input(path: Path, accounts: int, seed: int, *, as_of: dt.datetime) -> DemoInput:
    """Return the events of files, and a generated CRM, whose accounts may be others."""
    events = list(read_event_files(path))
    return DemoInput(generate_crm(accounts=accounts, seed=seed, as_of=as_of), events, SAMPLE_COALESCING)
