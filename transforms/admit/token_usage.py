"""Token usage: the tokens of a day, as the rows of `account_scores` say, and this process's count of a budget."""

import datetime as dt
from typing import Final

from transforms.admit.token_budget import BudgetCount, TokenBudget, Usage
from transforms.clients.bigquery import shared_warehouse
from transforms.process import once_per_process

_USAGE_SQL: Final = """\
SELECT IFNULL(SUM(prompt_tokens + output_tokens), 0) AS tokens, COUNT(prompt_tokens) AS accounts
FROM `{table}`
WHERE scored_at >= @since
"""
"""It reads three columns of one day's partition."""


def usage_query(table: str) -> str:
    """Return the query of a day's usage, with shadow scores; `table` is `project.dataset.table`, not from an event."""
    return _USAGE_SQL.format(table=table)


@once_per_process
def shared_count(budget: TokenBudget) -> BudgetCount:
    """Return this process's count of a budget."""
    warehouse = shared_warehouse(budget.project)

    def read_usage(since: dt.datetime) -> Usage:
        (row,) = warehouse.query(usage_query(f"{budget.project}.{budget.dataset}.account_scores"), {"since": since})
        return Usage(row["tokens"], row["accounts"])

    return BudgetCount(budget.daily_tokens, read_usage)
