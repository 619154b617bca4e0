"""`rescore backfill`: score accounts as of now, in pipeline runs of bounded size; can be resumed."""

import datetime as dt
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import structlog
from apache_beam.options.pipeline_options import PipelineOptions
from rich.table import Table

from pipeline.backfill.account_filter import account_filter
from pipeline.backfill.warehouse import BackfillProgress, BackfillWarehouse, left_to_do, read_account_ids
from pipeline.config.options import RescoringConfig, command_line, config_from
from pipeline.graph import build_backfill
from pipeline.terminal.progress import progress_bar
from pipeline.terminal.tables import PADDING, plain
from schemas.clock import Clock, utc_now
from schemas.outcome import OutcomeKind
from transforms.clients.bigquery import Warehouse
from transforms.errors import WarehouseUnavailable
from transforms.parse.backfill_events import Backfill, MakeBackfillEvents

DEFAULT_OPTIONS: Final = (
    "--runner=FnApiRunner",
    "--direct_running_mode=in_memory",
    "--direct_num_workers=1",
    "--batch_size=320",
)
"""Defaults; the user's options override them.

The default DirectRunner would look for a Prism binary to download. Several workers talk over gRPC, which cost 64 s of
CPU where one worker cost 48. A batch of 320 accounts is 64 calls at once."""

RUNS_AT_ONCE: Final = 4
"""Runs in parallel: while one reads contexts or writes scores, another calls Gemini."""

POLL_SECONDS: Final = 10.0

_log = structlog.stdlib.get_logger(__name__)

OnProgress = Callable[[BackfillProgress, int], None]
"""Takes the progress, and how many accounts are to get an outcome."""


@dataclass(frozen=True)
class Selection:
    """The accounts to score: exactly one of the three is set."""

    everything: bool = False
    file: Path | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        """Check that exactly one is set.

        Raises:
            ValueError: None or several are.
        """
        if sum((self.everything, self.file is not None, self.where is not None)) != 1:
            raise ValueError("expected exactly one of --all, --accounts FILE and --where FILTER")


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
            "as_of": self.backfill.as_of.isoformat(),
            "accounts": self.wanted,
            "already_done": self.already_done,
            "outcomes": dict(sorted(self.after.outcomes.items())),
            "without_outcome": self.without_outcome,
            "elapsed_seconds": round(self.elapsed_seconds, 1),
            "ok": self.is_ok,
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
        now: The clock.

    Raises:
        ValueError: An option, a filter or a file can't be used, or there is nothing to resume.
        WarehouseUnavailable: BigQuery did not answer.
        RuntimeError: A run of the pipeline failed.
    """
    started = time.monotonic()
    if resume and as_of:
        raise ValueError("--as-of and --resume exclude each other: a resumed backfill keeps its own time")
    line = command_line(arguments)
    options = [*DEFAULT_OPTIONS, *line.arguments]
    config = config_from(PipelineOptions(options), line)
    chosen = account_filter(selection.where) if selection.where is not None else None
    listed = read_account_ids(selection.file) if selection.file else None
    with closing(Warehouse(config.project)) as connection:
        warehouse = BackfillWarehouse(connection, config.dataset, config.crm_dataset)
        this = _last(warehouse, now()) if resume else Backfill((as_of or now() - mirror_lag).replace(microsecond=0))
        wanted = listed if listed is not None else warehouse.accounts(chosen)
        done = warehouse.done(this) if resume else frozenset()
        before = warehouse.progress(this)
        runs = left_to_do(wanted, done, run_size, RUNS_AT_ONCE)
        left = sum(map(len, runs))
        look = partial(_look, warehouse, this, on_progress, before.ended + left)
        _Runs(options, config, this).run_all(runs, look)
        return BackfillResult(
            backfill=this,
            wanted=len(wanted),
            already_done=len(wanted) - left,
            before=before,
            after=warehouse.progress(this),
            elapsed_seconds=time.monotonic() - started,
        )


def _last(warehouse: BackfillWarehouse, now: dt.datetime) -> Backfill:
    last = warehouse.last(now)
    if last is None:
        raise ValueError("no backfill of the last 30 days found to resume: leave --resume out")
    return last


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


def render(result: BackfillResult) -> Table:
    """Return the report: the accounts by outcome, and what to do if something is wrong."""
    table = Table(show_header=False, box=None, padding=PADDING, caption=_advice(result), caption_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("accounts", str(result.wanted), f"as of {result.backfill.as_of:%Y-%m-%d %H:%M:%S} UTC")
    table.add_row("done before", str(result.already_done), "")
    for outcome, count in sorted(result.after.outcomes.items()):
        kind, _, reason = outcome.partition(":")
        table.add_row(kind.replace("_", " "), str(count), plain(reason))
    table.add_row("without outcome", str(result.without_outcome), "")
    table.add_row("elapsed", f"{result.elapsed_seconds:.1f} s", "")
    return table


def _advice(result: BackfillResult) -> str | None:
    if result.without_outcome:
        return "Some accounts have no outcome: continue with rescore backfill --resume, with the same accounts."
    if result.dead_lettered:
        return "Some accounts failed and can be replayed: see rescore dead-letters list."
    return None
