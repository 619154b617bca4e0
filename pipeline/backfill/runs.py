"""`rescore backfill`: scores accounts as of now, in pipeline runs of a bounded number, and can go on where it ended."""

import datetime as dt
import json
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import structlog
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.backfill.account_filter import account_filter
from pipeline.backfill.warehouse import BackfillProgress, BackfillWarehouse, left_to_do, read_account_ids
from pipeline.config.options import RescoringConfig, command_line, config_from
from pipeline.graph import build_backfill
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
"""Under those of the user. DirectRunner would look for a Prism to download; more workers than one talk over gRPC, which
cost 64 s of CPU where one cost 48. A batch of 320 is 64 calls at once."""

RUNS_AT_ONCE: Final = 4
"""Runs side by side: while one looks contexts up or writes its scores, another keeps Gemini busy."""

POLL_SECONDS: Final = 10.0

_log = structlog.stdlib.get_logger(__name__)

OnProgress = Callable[[BackfillProgress, int], None]
"""Takes how far the backfill is, and how many accounts are to end."""


@dataclass(frozen=True)
class Selection:
    """What a user asks to be scored: one of the three."""

    everything: bool = False
    file: Path | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        """Refuse none and several.

        Raises:
            ValueError: It is not one of the three.
        """
        if sum((self.everything, self.file is not None, self.where is not None)) != 1:
            raise ValueError("name the accounts: --all, --accounts FILE or --where FILTER, one of the three")


@dataclass(frozen=True)
class BackfillResult:
    """What became of a backfill's accounts."""

    backfill: Backfill
    wanted: int
    already_done: int
    before: BackfillProgress
    after: BackfillProgress
    elapsed_seconds: float

    @property
    def without_outcome(self) -> int:
        """Accounts that were to be scored, and of which the ledger says nothing."""
        return self.wanted - self.already_done - (self.after.ended - self.before.ended)

    @property
    def dead_lettered(self) -> int:
        """Accounts that failed, in this run or in one before that this one resumed."""
        return self.after.of(OutcomeKind.DEAD_LETTERED)

    @property
    def is_ok(self) -> bool:
        """Whether every account has its outcome, and none failed."""
        return not self.without_outcome and not self.dead_lettered

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints; outcomes are those of the whole backfill, also of the run that it resumed."""
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
    """Score accounts as of now, or those that the last backfill has left.

    Args:
        arguments: Beam's options and the pipeline's, `--name=value` each.
        selection: The accounts.
        resume: Whether to go on with the last backfill.
        mirror_lag: How far the CRM's mirror may be behind: what was committed since may be missing in it.
        as_of: The time at which the mirror stood still, in place of now less the lag: for a mirror of the past.
        run_size: Accounts a pipeline run: what a crash can cost, and what memory holds.
        on_progress: Called every few seconds.
        now: The clock.

    Raises:
        ValueError: An option, a filter or a file can't be used, or there is nothing to resume.
        WarehouseUnavailable: BigQuery did not answer.
        RuntimeError: A run of the pipeline failed.
    """
    started = time.monotonic()
    if resume and as_of:
        raise ValueError("--as-of and --resume exclude each other: a backfill goes on as of its own time")
    line = command_line(arguments)
    options = [*DEFAULT_OPTIONS, *line.arguments]
    config = config_from(PipelineOptions(options), line)
    chosen = account_filter(selection.where) if selection.where is not None else None
    listed = read_account_ids(selection.file) if selection.file else None
    connection = Warehouse(config.project)
    try:
        warehouse = BackfillWarehouse(connection, config.dataset, config.crm_dataset)
        this = _last(warehouse, now()) if resume else Backfill((as_of or now() - mirror_lag).replace(microsecond=0))
        wanted = listed if listed is not None else warehouse.accounts(chosen)
        done = warehouse.done(this) if resume else frozenset()
        before = warehouse.progress(this)
        runs = left_to_do(wanted, done, run_size, RUNS_AT_ONCE)
        left = sum(map(len, runs))
        following = _Following(warehouse, this, on_progress, before.ended + left)
        _Runs(options, config, this).run_all(runs, following)
        return BackfillResult(
            backfill=this,
            wanted=len(wanted),
            already_done=len(wanted) - left,
            before=before,
            after=warehouse.progress(this),
            elapsed_seconds=time.monotonic() - started,
        )
    finally:
        connection.close()


def _last(warehouse: BackfillWarehouse, now: dt.datetime) -> Backfill:
    last = warehouse.last(now)
    if last is None:
        raise ValueError("the ledger has no backfill of the last 30 days to resume: leave --resume out")
    return last


@dataclass
class _Following:
    """Tells how far a backfill is, while it runs."""

    warehouse: BackfillWarehouse
    backfill: Backfill
    on_progress: OnProgress
    wanted: int

    def look(self) -> None:
        try:
            self.on_progress(self.warehouse.progress(self.backfill), self.wanted)
        except WarehouseUnavailable:
            # The pipeline waits for BigQuery by itself; a look that failed costs nobody anything.
            return


@dataclass
class _Runs:
    """Runs pipelines, a few at once, on threads that end with this process: Ctrl-C leaves what --resume takes up."""

    options: list[str]
    config: RescoringConfig
    backfill: Backfill
    failed: list[Exception] = field(default_factory=list)
    _building: threading.Lock = field(default_factory=threading.Lock)

    def run_all(self, runs: Sequence[Sequence[str]], following: _Following) -> None:
        """Run a pipeline for each list of accounts.

        Raises:
            RuntimeError: One failed; those that had begun have ended.
        """
        waiting: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()
        for account_ids in runs:
            waiting.put(account_ids)
        threads = [threading.Thread(target=self._work, args=(waiting,), daemon=True) for _ in range(RUNS_AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(POLL_SECONDS)
                following.look()
        if self.failed:
            kind = type(self.failed[0]).__name__
            raise RuntimeError(
                f"a run of the pipeline failed ({kind}): mend what its log says, and go on with --resume"
            ) from self.failed[0]

    def _work(self, waiting: "queue.SimpleQueue[Sequence[str]]") -> None:
        """Run one after the other, until none waits or one has failed."""
        while not self.failed:
            try:
                account_ids = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._pipeline(account_ids).run().wait_until_finish()
            except Exception as error:  # noqa: BLE001 - told to the user by the main thread
                _log.exception("a run of the pipeline failed", accounts=len(account_ids))
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


def as_json(result: BackfillResult) -> str:
    """Return the one document that `--json` prints."""
    return json.dumps(result.document(), indent=2)
