"""Keeps the read model as new as BigQuery, every few seconds, on a thread of its own.

Rows can come late: a score's `scored_at` is set before its row is written, which an outage of BigQuery can delay for
hours. So each refresh reads again the last minute that it has, every few minutes half an hour, and every hour each day
whose number of scores differs from BigQuery's, whatever the reason; rows that vanished from BigQuery go, too.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Final

import structlog
from more_itertools import chunked

from pipeline.api.read_model.source import HISTORY, ScoreSource
from pipeline.api.read_model.store import ReadModel
from schemas.clock import Clock, utc_now
from transforms.errors import WarehouseUnavailable

OVERLAP: Final = dt.timedelta(minutes=1)
WIDE_OVERLAP: Final = dt.timedelta(minutes=30)
WIDE_EVERY: Final = dt.timedelta(minutes=5)
MIRROR_EVERY: Final = dt.timedelta(minutes=5)
COMPARE_DAYS_EVERY: Final = dt.timedelta(hours=1)
OLD_ROWS: Final = dt.timedelta(hours=12)
"""Scores that are older than this when they come can change what an account had a day ago."""

BATCH: Final = 5_000
"""Rows that are written together: readers and memory see no more at once."""

_DAY: Final = dt.timedelta(days=1)
_AHEAD: Final = dt.timedelta(days=1)
"""Clocks of workers may be ahead of this machine's."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class Freshness:
    """How the last refresh went.

    Attributes:
        as_of: The time as of which the read model is; None while it was not filled.
        error: Why the last refresh failed; None if it did not.
        names_missing: Why the mirror can't be read; None if it can.
    """

    as_of: dt.datetime | None = None
    error: str | None = None
    names_missing: str | None = None


class Refresher:
    """Fills a read model, and refreshes it until it is stopped.

    Args:
        model: The read model.
        source: What it is filled from.
        seconds: Between two refreshes.
        now: The clock.
        on_refresh: Called after each attempt, with its seconds and whether it succeeded.
    """

    def __init__(
        self,
        model: ReadModel,
        source: ScoreSource,
        *,
        seconds: float = 5.0,
        now: Clock = utc_now,
        on_refresh: Callable[[float, bool], None] = lambda _seconds, _is_ok: None,
    ) -> None:
        self._model = model
        self._source = source
        self._seconds = seconds
        self._now = now
        self._on_refresh = on_refresh
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read model", daemon=True)
        self._wide_due = self._mirror_due = self._days_due = dt.datetime.min.replace(tzinfo=dt.UTC)
        self.freshness = Freshness()

    def start(self) -> None:
        """Begin to fill and refresh."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current refresh."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def refresh(self) -> None:
        """Fill the read model if it is empty, else bring it up to date.

        Raises:
            WarehouseUnavailable: BigQuery did not answer; the read model is as before, or a part of it is filled.
        """
        if self.freshness.as_of is None:
            self._fill()
        else:
            self._bring_up_to_date()

    def _run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            is_ok = True
            try:
                self.refresh()
            except WarehouseUnavailable as error:
                is_ok = False
                if self.freshness.error is None:
                    _log.warning("the read model can't be refreshed", reason=str(error))
                self._told(error=str(error))
            self._on_refresh(time.monotonic() - began, is_ok)
            self._stopped.wait(self._seconds)

    def _fill(self) -> None:
        """Read the whole history: page by page, so that no memory is needed for it."""
        at = self._now()
        with self._model.changing() as changes:
            changes.drop_scores(until=dt.datetime.max.replace(tzinfo=dt.UTC))
        for batch in chunked(self._source.score_rows(at - HISTORY, at + _AHEAD), BATCH):
            with self._model.changing() as changes:
                changes.add_scores(batch)
        self._read_mirror(at)
        with self._model.changing() as changes:
            changes.settle(all_accounts=True)
            changes.set_as_of(at)
        self._wide_due, self._days_due = at + WIDE_EVERY, at + COMPARE_DAYS_EVERY
        self._told(as_of=at)

    def _bring_up_to_date(self) -> None:
        at = self._now()
        overlap = WIDE_OVERLAP if at >= self._wide_due else OVERLAP
        since = min(self._model.newest_scored() or at, at) - overlap
        oldest = self._merge(since, at + _AHEAD, at)
        if overlap is WIDE_OVERLAP:
            self._wide_due = at + WIDE_EVERY
        if at >= self._days_due:
            oldest = min(filter(None, (oldest, self._compare_days(at))), default=None)
            self._days_due = at + COMPARE_DAYS_EVERY
        if at >= self._mirror_due:
            self._read_mirror(at)
        self._model.compare_again(at, all_of_them=oldest is not None and oldest < at - OLD_ROWS)
        self._told(as_of=at)

    def _merge(self, since: dt.datetime, until: dt.datetime, at: dt.datetime) -> dt.datetime | None:
        """Add the scores of a period, drop those that became too old, and return the time of the oldest that came."""
        oldest: list[dt.datetime] = []
        for batch in chunked(self._source.score_rows(since, until), BATCH):
            with self._model.changing() as changes:
                changes.add_scores(batch)
                changes.settle()
                oldest += [changes.oldest] if changes.oldest else []
        with self._model.changing() as changes:
            changes.drop_scores(until=at - HISTORY)
            changes.settle()
            changes.set_as_of(at)
        return min(oldest, default=None)

    def _compare_days(self, at: dt.datetime) -> dt.datetime | None:
        """Read each day again whose number of scores is another than in BigQuery; return the oldest of these days."""
        since, until = at - HISTORY, at - OVERLAP
        theirs = self._source.scores_by_day(since, until)
        ours = self._model.scores_by_day(since, until)
        differing = sorted(day for day in theirs.keys() | ours.keys() if theirs.get(day) != ours.get(day))
        for day in differing:
            start = max(since, dt.datetime.combine(day, dt.time(), dt.UTC))
            end = min(until, dt.datetime.combine(day, dt.time(), dt.UTC) + _DAY)
            _log.warning("a day of the read model is read again", day=str(day), scores=theirs.get(day, 0))
            with self._model.changing() as changes:
                changes.drop_scores(since=start, until=end)
                changes.add_scores(self._source.score_rows(start, end))
                changes.settle()
        return dt.datetime.combine(differing[0], dt.time(), dt.UTC) if differing else None

    def _read_mirror(self, at: dt.datetime) -> None:
        """Read the mirror; who may read scores need not be allowed to, and then names are missing."""
        self._mirror_due = at + MIRROR_EVERY
        try:
            self._stage_mirror()
            with self._model.changing() as changes:
                changes.apply_mirror()
                changes.settle()
        except WarehouseUnavailable as error:
            if self.freshness.names_missing is None:
                _log.warning("names of accounts are missing", reason=str(error))
            self._told(names_missing=str(error))
        else:
            self._told(names_missing=None)

    def _stage_mirror(self) -> None:
        for number, batch in enumerate(chain(chunked(self._source.mirror_rows(), BATCH), [[]])):
            with self._model.changing() as changes:
                changes.stage_mirror(batch, is_first=number == 0)

    def _told(self, **changed: object) -> None:
        fields = {"as_of": self.freshness.as_of, "error": None, "names_missing": self.freshness.names_missing}
        self.freshness = Freshness(**(fields | changed))  # type: ignore[arg-type]
