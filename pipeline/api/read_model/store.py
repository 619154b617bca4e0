"""The database of the read model: one writer, and a connection for each thread that reads.

It lies in a temporary folder: it holds nothing that BigQuery does not have. Readers see the state before or after a
change, never between (write-ahead log).
"""

import datetime as dt
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pipeline.api.read_model import tables
from pipeline.api.read_model.rows import StoredScore, microseconds, time_of

_WRITER_CACHE_KIB: Final = 16_384
_READER_CACHE_KIB: Final = 2_048
_LOG_BYTES: Final = 32_000_000
_MICROSECONDS_A_DAY: Final = 86_400_000_000

MAX_COMPARISONS: Final = 16
"""Numbers of days for which the scores of then are kept; the one that was asked for longest ago goes first."""

COMPARISON_SECONDS: Final = 60.0
"""How old a comparison may be: by so much `moved_since` is earlier than the number of days says."""


class NotFilled(RuntimeError):
    """The read model was not filled yet."""


class ReadModel:
    """Current scores, movements and history.

    Args:
        folder: Where the database's files are put; a new folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "scores.sqlite"
        self._write_lock = threading.Lock()
        self._readers = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._open_lock = threading.Lock()
        self._asked: dict[int, dt.datetime] = {}
        self._writer = self._connect(_WRITER_CACHE_KIB)
        self._writer.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA journal_size_limit = {_LOG_BYTES};"
            f"{tables.TABLES}"
        )
        self._writer.execute("PRAGMA temp_store = MEMORY")
        self._writer.create_function("folded", 1, str.casefold, deterministic=True)
        self._writer.execute(tables.CHANGED)
        self._writer.execute(tables.MIRRORED)

    def close(self) -> None:
        """Close all connections; nobody may read any more."""
        with self._open_lock:
            for connection in self._open:
                connection.close()
            self._open.clear()

    # -- writing: the refresher's thread

    @contextmanager
    def changing(self) -> Iterator["Changes"]:
        """Yield changes that readers see all at once, when the body has ended without an error."""
        with self._write_lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                self._writer.execute("DELETE FROM changed")
                yield Changes(self._writer)
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    def newest_scored(self) -> dt.datetime | None:
        """Return the newest `scored_at`; None if there is no score."""
        (newest,) = self.read("SELECT MAX(scored) FROM scores")[0]
        return None if newest is None else time_of(newest)

    def scores_by_day(self, since: dt.datetime, until: dt.datetime) -> dict[dt.date, int]:
        """Return how many scores were made on each day of a period (UTC), its end excluded."""
        rows = self.read(
            "SELECT scored / ?, COUNT(*) FROM scores WHERE scored >= ? AND scored < ? GROUP BY 1",
            (_MICROSECONDS_A_DAY, microseconds(since), microseconds(until)),
        )
        return {time_of(day * _MICROSECONDS_A_DAY).date(): count for day, count in rows}

    # -- reading: any thread

    def read(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query, which can't write."""
        connection = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._readers.connection = self._connect(_READER_CACHE_KIB)
            connection.execute("PRAGMA query_only = TRUE")
        return connection.execute(sql, parameters).fetchall()

    @property
    def as_of(self) -> dt.datetime | None:
        """The time as of which the read model is; None while it was not filled."""
        rows = self.read("SELECT as_of FROM state")
        return time_of(rows[0][0]) if rows else None

    def compared_since(self, days: int, now: dt.datetime) -> dt.datetime:
        """Return the time with which scores are compared: so many days ago, to the minute; prepare the comparison.

        Raises:
            NotFilled: There are no scores yet.
        """
        self._asked[days] = now
        rows = self.read("SELECT since FROM comparisons WHERE days = ?", (days,))
        if not rows:
            self.compare([days], now)
            rows = self.read("SELECT since FROM comparisons WHERE days = ?", (days,))
        if not rows:
            raise NotFilled("the read model is not filled yet")
        return time_of(rows[0][0])

    def compare_again(self, now: dt.datetime, *, all_of_them: bool) -> None:
        """Bring the comparisons up to date: those that are too old, or all if old scores have come."""
        kept = sorted(self._asked, key=lambda days: self._asked[days])[-MAX_COMPARISONS:]
        for days in self._asked.keys() - set(kept):
            self._asked.pop(days, None)
        limit = dt.timedelta(seconds=COMPARISON_SECONDS)
        ages = {
            days: now - time_of(since) - dt.timedelta(days=days)
            for days, since in self.read("SELECT days, since FROM comparisons")
        }
        self.compare([days for days in kept if all_of_them or ages.get(days, limit) >= limit], now, kept)

    def compare(self, all_days: Collection[int], now: dt.datetime, kept: Collection[int] | None = None) -> None:
        """Store the score that each account had so many days ago, and drop the comparisons that are not kept."""
        if self.as_of is None:
            return
        with self._write_lock:
            for days in all_days:
                since = microseconds(now - dt.timedelta(days=days))
                self._writer.execute("BEGIN IMMEDIATE")
                self._writer.execute("DELETE FROM compared WHERE days = ?", (days,))
                self._writer.execute(tables.COMPARE, {"days": days, "since": since})
                self._writer.execute("INSERT OR REPLACE INTO comparisons VALUES (?, ?)", (days, since))
                self._writer.execute("COMMIT")
            if kept is not None:
                stored = {days for (days,) in self._writer.execute("SELECT days FROM comparisons")}
                for days in stored - set(kept):
                    self._writer.execute("DELETE FROM comparisons WHERE days = ?", (days,))
                    self._writer.execute("DELETE FROM compared WHERE days = ?", (days,))

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        # Connections are used by one thread at a time: the writer under a lock, each reader by its thread.
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30.0)
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        with self._open_lock:
            self._open.append(connection)
        return connection


class Changes:
    """What a transaction of the read model does."""

    def __init__(self, writer: sqlite3.Connection) -> None:
        self._writer = writer
        self.oldest: dt.datetime | None = None
        """`scored_at` of the oldest score that was new or changed."""

    def add_scores(self, scores: Iterable[StoredScore]) -> None:
        """Add scores, or replace them by later ones; `settle` must follow."""
        oldest: int | None = None
        for score in scores:
            if self._writer.execute(tables.MERGE_SCORES, score).rowcount > 0:
                self._writer.execute("INSERT OR IGNORE INTO changed VALUES (?)", (score.account_id,))
                oldest = score.scored if oldest is None else min(oldest, score.scored)
        if oldest is not None:
            self.oldest = time_of(oldest)

    def drop_scores(self, *, since: dt.datetime | None = None, until: dt.datetime) -> None:
        """Drop the scores that were made in a period, its end excluded; `settle` must follow."""
        period = (microseconds(since) if since else -(2**62), microseconds(until))
        self._writer.execute(
            "INSERT OR IGNORE INTO changed SELECT account_id FROM scores WHERE scored >= ? AND scored < ?", period
        )
        self._writer.execute("DELETE FROM scores WHERE scored >= ? AND scored < ?", period)

    def stage_mirror(self, accounts: Iterable[Sequence[Any]], *, is_first: bool) -> None:
        """Keep accounts of the mirror aside, until `apply_mirror`; the first ones replace those of an earlier time."""
        if is_first:
            self._writer.execute("DELETE FROM mirrored")
        self._writer.executemany("INSERT OR REPLACE INTO mirrored VALUES (?, ?, ?, ?, ?, ?, ?)", accounts)

    def apply_mirror(self) -> None:
        """Replace the mirror by the accounts that were staged; `settle` must follow."""
        self._writer.execute(tables.MIRROR_CHANGES)
        for sql in tables.APPLY_MIRROR:
            self._writer.execute(sql)
        self._writer.execute("DELETE FROM mirrored")

    def settle(self, *, all_accounts: bool = False) -> int:
        """Derive what follows from scores and mirror, for the accounts that changed; return how many these are."""
        (changed,) = self._writer.execute("SELECT COUNT(*) FROM changed").fetchone()
        if all_accounts or changed:
            for sql in tables.SETTLE_ALL if all_accounts else tables.SETTLE_CHANGED:
                self._writer.execute(sql)
        return int(changed)

    def set_as_of(self, as_of: dt.datetime) -> None:
        """Say as of when the read model is; from the first time on it is filled."""
        self._writer.execute("DELETE FROM state")
        self._writer.execute("INSERT INTO state VALUES (?)", (microseconds(as_of),))
