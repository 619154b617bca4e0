"""Daily token budget: estimate the tokens spent today, and decide whether another account is admitted.

`account_scores` holds the tokens that all workers spent. Each process reads it once a minute, and adds an estimate for
the accounts that it has admitted and that have no row yet. docs/adr/022 says why, and by how much the budget can be
exceeded.
"""

import datetime as dt
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from schemas.clock import Clock, utc_now
from transforms.errors import WarehouseUnavailable
from transforms.logs import get_logger

REFRESH: Final = dt.timedelta(seconds=60)
"""How often the table is read: 1,440 small queries a day for each process that admits accounts."""

UNSEEN: Final = dt.timedelta(seconds=120)
"""How long an admitted account may have no readable row: batching, the call with its retries, the insert.

An account that was admitted and failed never gets a row, and stops counting after this time.
"""

TOKENS_PER_ACCOUNT: Final = 2_250
"""Assumed until the day has its own average; measured on generated accounts, five a call, prompt v2 (docs/adr/020)."""

_ENOUGH_ROWS: Final = 20

_log = get_logger(__name__)


class BudgetAction(StrEnum):
    """What happens to an account that the budget does not admit."""

    WAIT = "wait"
    """It is held in state until the budget admits it."""
    DEAD_LETTER = "dead_letter"
    """It is dead-lettered as budget_exhausted, for an operator to replay."""


@dataclass(frozen=True)
class TokenBudget:
    """The tokens, prompt and output, that all workers may spend a day (UTC), and the dataset that counts them."""

    daily_tokens: int
    action: BudgetAction
    project: str
    dataset: str


@dataclass(frozen=True)
class Usage:
    """Tokens and accounts of a day's rows."""

    tokens: int = 0
    accounts: int = 0

    @property
    def tokens_per_account(self) -> int:
        """Return the average, or an assumption while there are few rows."""
        return -(-self.tokens // self.accounts) if self.accounts >= _ENOUGH_ROWS else TOKENS_PER_ACCOUNT


ReadUsage = Callable[[dt.datetime], Usage]
"""Return the usage of the rows since a time; raises WarehouseUnavailable."""


class BudgetCount:
    """Counts the tokens spent today, and admits accounts while some are left; threads may share it."""

    def __init__(self, daily_tokens: int, read_usage: ReadUsage, now: Clock = utc_now) -> None:
        self._daily_tokens = daily_tokens
        self._read_usage = read_usage
        self._now = now
        self._lock = threading.Lock()
        self._midnight = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._tried_at = self._read_at = self._midnight
        self._usage = Usage()
        self._admitted: deque[dt.datetime] = deque()
        self._has_alerted = False

    def admits(self) -> bool:
        """Return whether one more account may be scored; if so, its tokens count from now on."""
        with self._lock:
            now = self._now()
            spent = self._spent(now)
            if spent + self._usage.tokens_per_account > self._daily_tokens:
                self._alert(spent)
                return False
            self._admitted.append(now)
            return True

    def _spent(self, now: dt.datetime) -> int:
        """Return the day's tokens: those in the table, and an estimate for admitted accounts that are not in it yet."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if midnight != self._midnight:
            self._midnight, self._has_alerted = midnight, False
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
            # Admitted accounts go on counting, so that the budget holds while the table can't be read.
            _log.warning("today's tokens can't be read: counting from the last known value", reason=str(error))
            return
        self._read_at = now

    def _alert(self, spent: int) -> None:
        """Log an error, once a day and process."""
        if not self._has_alerted:
            _log.error(
                "the daily token budget is exhausted",
                error_severity="HIGH",
                error_class="budget_exhausted",
                spent_tokens=spent,
                daily_token_budget=self._daily_tokens,
            )
        self._has_alerted = True
