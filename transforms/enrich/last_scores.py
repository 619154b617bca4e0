"""The last score of each account, as the warehouse holds it: what was scored and written, and nothing else."""

import datetime as dt
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec import ValidationError

from schemas.record import from_row
from schemas.score import Score
from transforms.clients.bigquery import Warehouse

_LAST_SCORES_SQL: Final = importlib.resources.files("transforms.enrich").joinpath("last_scores.sql").read_text()


@dataclass(frozen=True)
class LastScore:
    """The newest row of an account in commit order, and whether a score of it was asked for within the lookback."""

    row: Score
    is_recent: bool


def last_scores_query(scores: str) -> str:
    """Return the query; `scores` is `project.dataset`, from the configuration and never from an event."""
    return _LAST_SCORES_SQL.format(scores=scores)


def last_score_from_row(row: Mapping[str, Any]) -> LastScore | None:
    """Return a row of the query's answer; None if it is of another version's table, and tells nothing."""
    newest = row["newest"]
    known = {name: newest[name] for name in Score.__struct_fields__ if newest.get(name) is not None}
    try:
        return LastScore(row=from_row(Score, known), is_recent=row["is_recent"])
    except ValidationError:
        return None


def read_last_scores(
    warehouse: Warehouse, dataset: str, account_ids: Sequence[str], *, since: dt.datetime, until: dt.datetime
) -> dict[str, LastScore]:
    """Look the last scores of a batch's accounts up in one query; an account without one is missing in the answer.

    Args:
        warehouse: The connection.
        dataset: The dataset of `account_scores`.
        account_ids: 18-character ids.
        since: Rows before this are not read, which bounds the partitions.
        until: Rows after this are not read.

    Raises:
        WarehouseUnavailable: BigQuery did not answer.
    """
    sql = last_scores_query(f"{warehouse.project}.{dataset}")
    rows = warehouse.look_up(sql, {"account_ids": list(account_ids), "since": since, "until": until})
    read = (last_score_from_row(row) for row in rows)
    return {last.row.account_id: last for last in read if last}
