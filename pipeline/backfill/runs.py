"""`rescore backfill`: score accounts as of now, in pipeline runs of bounded size; can be resumed."""

import datetime as dt
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import apache_beam as beam
import structlog
from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Group

from pipeline.backfill.preparation import Selection, preparing
from pipeline.backfill.warehouse import BackfillProgress, BackfillWarehouse, left_to_do
from pipeline.config.options import RescoringConfig
from pipeline.graph import build_backfill
from pipeline.terminal.progress import progress_bar
from pipeline.terminal.tables import Column, Listing, Paragraph
from pipeline.terminal.times import moment, rfc3339
from schemas.clock import Clock, utc_now
from schemas.outcome import OutcomeKind
from transforms.errors import WarehouseUnavailable
from transforms.parse.backfill_events import MakeBackfillEvents
from transforms.parse.score_requests import Backfill

RUNS_AT_ONCE: Final = 4
"""Runs in parallel: while one reads contexts or writes scores, another calls Gemini."""

POLL_SECONDS: Final = 10.0

_log = structlog.stdlib.get_logger(__name__)

OnProgress = Callable[[BackfillProgress, int], None]
"""Takes the progress, and how many accounts are to get an outcome."""


@dataclass(frozen=True)
class BackfillResult:
    """The result of a backfill."""

    backfill: Backfill
    wanted: int
    already_done: int
    before: BackfillProgress
    after: BackfillProgress
    elapsed_seconds: float

    @property
    def without_outcome(self) -> int:
        """Accounts that were to be scored and have no outcome in the ledger."""
        return self.wanted - self.already_done - (self.after.ended - self.before.ended)

    @property
    def dead_lettered(self) -> int:
        """Accounts that failed, also before the backfill was resumed."""
        return self.after.of(OutcomeKind.DEAD_LETTERED)

    @property
    def is_ok(self) -> bool:
        """Whether every account has an outcome, and none failed."""
        return not self.without_outcome and not self.dead_lettered

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints; the outcomes are of the whole backfill, also from before it was resumed."""
        return {
            "backfill": self.backfill.id,
            "as_of": rfc3339(self.backfill.as_of),
            "accounts": self.wanted,
            "already_done": self.already_done,
            "outcomes": dict(sorted(self.after.outcomes.items())),
            "without_outcome": self.without_outcome,
            "elapsed_seconds": round(self.elapsed_seconds, 1),
            "ok": self.is_ok,
            "executed": True,
        }


def backfill(
    arguments: Sequence[str],
    selection: Selection,
    *,
    resume: bool,
    mirror_lag: dt.timedelta,
    as_of: dt.datetime | None = None,
    run_size: int,
    on_progress: OnProgress = lambda _progress, _wanted: None,
    own_flags: Sequence[str] = (),
    now: Clock = utc_now,
) -> BackfillResult:
    """Score accounts as of now, or the rest of the last backfill.

    Args:
        arguments: Beam's options and the pipeline's, `--name=value` each.
        selection: The accounts.
        resume: Whether to continue the last backfill.
        mirror_lag: How far the mirror may lag behind: changes committed since then may be missing in it.
        as_of: Time of the mirror's data instead of now minus the lag, for a mirror of the past.
        run_size: Accounts per pipeline run; bounds memory and what a crash scores twice.
        on_progress: Called every few seconds.
        own_flags: The command's own options.
        now: The clock.

    Raises:
        ValueError: An option, a filter or a file can't be used, or there is nothing to resume.
        WarehouseUnavailable: BigQuery did not answer.
        RuntimeError: A run of the pipeline failed.
    """
    started = time.monotonic()
    with preparing(
        arguments, selection, resume=resume, mirror_lag=mirror_lag, as_of=as_of, own_flags=own_flags, now=now
    ) as prepared:
        warehouse, this, wanted = prepared.warehouse, prepared.backfill, prepared.wanted
        before = warehouse.progress(this)
        runs = left_to_do(wanted, prepared.done, run_size, RUNS_AT_ONCE)
        left = sum(map(len, runs))
        look = partial(_look, warehouse, this, on_progress, before.ended + left)
        _Runs(prepared.options, prepared.config, this).run_all(runs, look)
        return BackfillResult(
            backfill=this,
            wanted=len(wanted),
            already_done=len(wanted) - left,
            before=before,
            after=warehouse.progress(this),
            elapsed_seconds=time.monotonic() - started,
        )


def _look(warehouse: BackfillWarehouse, this: Backfill, on_progress: OnProgress, wanted: int) -> None:
    """Report the progress; it is left out while BigQuery does not answer, for which the pipeline itself waits."""
    with suppress(WarehouseUnavailable):
        on_progress(warehouse.progress(this), wanted)


@dataclass
class _Runs:
    """Runs a few pipelines at once on daemon threads, which Ctrl-C ends; --resume continues from there."""

    options: list[str]
    config: RescoringConfig
    backfill: Backfill
    failed: list[Exception] = field(default_factory=list)
    _building: threading.Lock = field(default_factory=threading.Lock)

    def run_all(self, runs: Sequence[Sequence[str]], look: Callable[[], None]) -> None:
        """Run a pipeline for each list of accounts, and call `look` every few seconds.

        Raises:
            RuntimeError: One failed; those that had started have ended.
        """
        waiting = deque(runs)
        threads = [threading.Thread(target=self._work, args=(waiting,), daemon=True) for _ in range(RUNS_AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(POLL_SECONDS)
                look()
        if self.failed:
            kind = type(self.failed[0]).__name__
            raise RuntimeError(
                f"a pipeline run failed ({kind}): fix the error in its log and continue with --resume"
            ) from self.failed[0]

    def _work(self, waiting: deque[Sequence[str]]) -> None:
        """Run one pipeline after the other, until none is left or one has failed."""
        while not self.failed:
            try:
                account_ids = waiting.popleft()
            except IndexError:
                return
            try:
                self._pipeline(account_ids).run().wait_until_finish()
            except Exception as error:  # noqa: BLE001 - the main thread reports it
                _log.exception("a pipeline run failed", accounts=len(account_ids))
                self.failed.append(error)

    def _pipeline(self, account_ids: Sequence[str]) -> beam.Pipeline:
        with self._building:
            pipeline = beam.Pipeline(options=PipelineOptions(self.options))
            messages = (
                pipeline
                | "Account ids" >> beam.Create(account_ids).with_output_types(str)
                | "Make backfill events" >> MakeBackfillEvents(self.backfill)
            )
            build_backfill(messages, self.config)
            return pipeline


@contextmanager
def live_progress() -> Iterator[OnProgress]:
    """Yield a function that shows on a progress bar how many accounts have an outcome."""
    with progress_bar() as bar:
        task = bar.add_task("scoring", total=None)

        def show(progress: BackfillProgress, wanted: int) -> None:
            bar.update(task, total=wanted, completed=progress.ended)

        yield show


def render(result: BackfillResult) -> Group:
    """Return the report: the accounts by outcome, and what to do if something is wrong."""
    outcomes = [(outcome.partition(":"), count) for outcome, count in sorted(result.after.outcomes.items())]
    rows = [
        ("accounts", str(result.wanted), f"as of {moment(result.backfill.as_of)} UTC"),
        ("done before", str(result.already_done), ""),
        *((kind.replace("_", " "), str(count), reason) for (kind, _, reason), count in outcomes),
        ("without outcome", str(result.without_outcome), ""),
        ("elapsed", f"{result.elapsed_seconds:.1f} s", ""),
    ]
    columns = (Column("outcome", is_whole=True), Column("accounts", is_number=True), Column("of which"))
    return Group(Listing(columns, rows), *map(Paragraph, _advice(result)))


def _advice(result: BackfillResult) -> list[str]:
    if result.without_outcome:
        return ["Some accounts have no outcome: continue with `rescore backfill --resume`, with the same accounts."]
    if result.dead_lettered:
        return ["Some accounts failed and can be replayed: see `rescore dead-letters list`."]
    return []
