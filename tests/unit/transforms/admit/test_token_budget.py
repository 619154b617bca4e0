"""The daily token budget: how many accounts are admitted."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from hypothesis import given
from hypothesis import strategies as st

from transforms.admit.token_budget import REFRESH, TOKENS_PER_ACCOUNT, UNSEEN, BudgetCount, Usage
from transforms.errors import WarehouseUnavailable

MORNING = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@dataclass
class Day:
    """A day with a clock, a table of scores, and the readings of the table."""

    daily_tokens: int
    now: dt.datetime = MORNING
    usage: Usage = field(default_factory=Usage)
    is_down: bool = False
    asked: list[dt.datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start a process with a count."""
        self.count = self.another_process()

    def another_process(self) -> BudgetCount:
        """Return the count of one more process."""
        return BudgetCount(self.daily_tokens, self._read, lambda: self.now)

    def _read(self, since: dt.datetime) -> Usage:
        self.asked.append(since)
        if self.is_down:
            raise WarehouseUnavailable("BigQuery: query: ServiceUnavailable 503")
        return self.usage

    def admitted(self, accounts: int) -> int:
        """Return how many of a number of accounts are admitted now."""
        return sum(self.count.admits() for _ in range(accounts))


def test_accounts_are_admitted_up_to_the_budget() -> None:
    """By the day's average cost, or an assumed one while there are few rows."""
    assert Day(10 * TOKENS_PER_ACCOUNT).admitted(50) == 10
    day = Day(1_000_000, usage=Usage(tokens=400_000, accounts=400))
    assert day.admitted(1_000) == 600


def test_tokens_of_other_workers_count() -> None:
    """Their rows since midnight UTC are read a minute later at the latest."""
    day = Day(1_000_000, usage=Usage(500_000, 500))
    assert day.admitted(1) == 1
    day.usage = Usage(1_000_000, 1_000)
    assert day.admitted(1) == 1  # not read yet
    day.now += REFRESH
    assert day.admitted(1) == 0
    assert set(day.asked) == {MORNING.replace(hour=0)}


def test_the_table_is_read_once_a_minute() -> None:
    """However many accounts are checked, and whether BigQuery answers or not."""
    day = Day(10**9)
    for _ in range(10):
        day.admitted(100)
    assert len(day.asked) == 1
    day.is_down = True
    day.now += REFRESH
    day.admitted(100)
    assert len(day.asked) == 2


def test_an_admitted_account_counts_until_its_row_can_be_read() -> None:
    """An account that failed never has a row, and stops counting."""
    day = Day(10 * TOKENS_PER_ACCOUNT)
    assert day.admitted(10) == 10
    day.now += REFRESH
    assert day.admitted(1) == 0
    day.now += UNSEEN + SECOND
    assert day.admitted(50) == 10


def test_a_new_day_starts_at_zero() -> None:
    """At midnight in UTC."""
    day = Day(3 * TOKENS_PER_ACCOUNT)
    assert day.admitted(5) == 3
    day.now = dt.datetime(2026, 3, 3, tzinfo=dt.UTC)
    assert day.admitted(5) == 3


def test_without_the_table_the_count_goes_on() -> None:
    """The last known tokens, and accounts admitted since, count for as long as the table can't be read."""
    day = Day(1_000_000, usage=Usage(990_000, 990))
    assert day.admitted(4) == 4
    day.is_down = True
    for _ in range(10):
        day.now += REFRESH
        assert day.count.admits() is (day.now < MORNING + 7 * REFRESH)


def test_the_alert_is_logged_once_a_day() -> None:
    """An error in the log, with the tokens spent; another one the next day."""
    day = Day(TOKENS_PER_ACCOUNT)
    with structlog.testing.capture_logs() as logs:
        day.admitted(5)
        day.now += dt.timedelta(days=1)
        day.admitted(5)
    assert [(entry["log_level"], entry["error_severity"], entry["spent_tokens"]) for entry in logs] == [
        ("error", "HIGH", TOKENS_PER_ACCOUNT)
    ] * 2


@given(st.lists(st.tuples(st.integers(0, 90), st.booleans()), max_size=120), st.integers(1, 60))
def test_one_process_never_passes_the_budget(steps: Sequence[tuple[int, bool]], budget_accounts: int) -> None:
    """At any pace, and if rows appear up to two minutes late, no more is admitted than the budget allows."""
    cost = TOKENS_PER_ACCOUNT
    day = Day(budget_accounts * cost, now=MORNING.replace(hour=0))
    admitted: list[dt.datetime] = []
    for seconds, is_down in steps:
        day.now += seconds * SECOND
        if day.now.day != MORNING.day:
            return
        day.is_down = is_down
        visible = sum(at <= day.now - UNSEEN + REFRESH for at in admitted)
        day.usage = Usage(visible * cost, visible)
        if day.count.admits():
            admitted.append(day.now)
    assert len(admitted) <= budget_accounts


def test_two_processes_overshoot_by_what_they_admit_unseen() -> None:
    """The count has no lock: the overshoot is at most what other processes admit until their rows can be read."""
    day = Day(100 * TOKENS_PER_ACCOUNT)
    other = day.another_process()
    assert day.admitted(500) + sum(other.admits() for _ in range(500)) == 200
    day.usage = Usage(200 * TOKENS_PER_ACCOUNT, 200)
    day.now += REFRESH
    assert day.admitted(1) + other.admits() == 0
