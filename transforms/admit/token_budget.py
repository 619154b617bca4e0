"""The daily token budget: what is spent today, as a process knows it, and whether it admits another account.

`account_scores` holds what was spent, by whichever worker; each process reads it once a minute, and adds what it has
admitted since and can't see there yet. docs/adr/022 tells why the count lives there, and by how much it can be passed.
"""

import datetime as dt
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from transforms.clients.bigquery import shared_warehouse
from transforms.errors import WarehouseUnavailable
from transforms.ledger import Clock, utc_now
from transforms.process import once_per_process

REFRESH: Final = dt.timedelta(seconds=60)
"""How often the table is read: 1,440 small queries a day for each process that admits accounts."""

UNSEEN: Final = dt.timedelta(seconds=120)
"""How long after its admission an account's row may not be readable yet: batches, the call and its retries, the insert.

An account that was admitted and failed never has a row, and counts no more after this time.
"""

TOKENS_PER_ACCOUNT: Final = 2_250
"""Until the day has shown its own average: generated accounts, five a call, with prompt v2 (docs/adr/020)."""

_ENOUGH_ROWS: Final = 20
_USAGE_SQL: Final = """\
SELECT IFNULL(SUM(prompt_tokens + output_tokens), 0) AS tokens, COUNT(prompt_tokens) AS accounts
FROM `{table}`
WHERE scored_at >= @since
"""
"""Reads three columns of one day's partition."""

_log = structlog.stdlib.get_logger(__name__)


class BudgetAction(StrEnum):
    """What becomes of an account that the budget does not admit."""

    WAIT = "wait"
    """It is held in state until the budget admits it."""
    DEAD_LETTER = "dead_letter"
    """It is dead-lettered as budget_exhausted, for an operator to replay."""


@dataclass(frozen=True)
class TokenBudget:
    """How many tokens (prompt and output) all workers together may spend a day (UTC), and where they are counted."""

    daily_tokens: int
    action: BudgetAction
    project: str
    dataset: str


@dataclass(frozen=True)
class Usage:
    """What the rows of a day add up to."""

    tokens: int = 0
    accounts: int = 0

    @property
    def tokens_per_account(self) -> int:
        """Return the average, or a guess while there are few rows."""
        return -(-self.tokens // self.accounts) if self.accounts >= _ENOUGH_ROWS else TOKENS_PER_ACCOUNT


ReadUsage = Callable[[dt.datetime], Usage]
"""Return what rows since a moment add up to; raises WarehouseUnavailable."""


class BudgetCount:
    """Counts what is spent today, and admits accounts while there is something left. Threads may share it."""

    def __init__(self, daily_tokens: int, read_usage: ReadUsage, now: Clock = utc_now) -> None:
        self._daily_tokens = daily_tokens
        self._read_usage = read_usage
        self._now = now
        self._lock = threading.Lock()
        self._midnight = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._tried_at = self._read_at = self._midnight
        self._usage = Usage()
        self._admitted: deque[dt.datetime] = deque()
        self._is_told = False

    def admits(self) -> bool:
        """Whether one account more may be scored; if so, it counts as being scored."""
        with self._lock:
            now = self._now()
            spent = self._spent(now)
            if spent + self._usage.tokens_per_account > self._daily_tokens:
                self._tell(spent)
                return False
            self._admitted.append(now)
            return True

    def _spent(self, now: dt.datetime) -> int:
        """Return the day's tokens: those of the table, and an estimate for what was admitted and is not in it yet."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if midnight != self._midnight:
            self._midnight, self._is_told = midnight, False
            self._tried_at = self._read_at = midnight - REFRESH
            self._usage = Usage()
            self._admitted.clear()
        if now - self._tried_at >= REFRESH:
            self._read(now)
        while self._admitted and self._admitted[0] < self._read_at - UNSEEN:
            self._admitted.popleft()
        return self._usage.tokens + len(self._admitted) * self._usage.tokens_per_account

    def _read(self, now: dt.datetime) -> None:
        self._tried_at = now
        try:
            self._usage = self._read_usage(self._midnight)
        except WarehouseUnavailable as error:
            # The admitted are kept, so that nothing is spent unseen while the table can't be read.
            _log.warning("today's tokens can't be read; counting on from the last known", reason=str(error))
            return
        self._read_at = now

    def _tell(self, spent: int) -> None:
        """Alert once a day and process."""
        if not self._is_told:
            _log.error(
                "the daily token budget is exhausted",
                error_severity="HIGH",
                error_class="budget_exhausted",
                spent_tokens=spent,
                daily_token_budget=self._daily_tokens,
            )
        self._is_told = True


def usage_query(table: str) -> str:
    """Return the query of a day's usage, shadows among it; `table` is `project.dataset.table`, never from an event."""
    return _USAGE_SQL.format(table=table)


@once_per_process
def shared_count(budget: TokenBudget) -> BudgetCount:
    """Return this process's count of a budget."""
    warehouse = shared_warehouse(budget.project)

    def read_usage(since: dt.datetime) -> Usage:
        (row,) = warehouse.query(usage_query(f"{budget.project}.{budget.dataset}.account_scores"), {"since": since})
        return Usage(row["tokens"], row["accounts"])

    return BudgetCount(budget.daily_tokens, read_usage)
