"""Shadow scores and the day's tokens in `account_scores`, in the BigQuery emulator."""

import datetime as dt
from typing import Any

import pytest

from pipeline.local.stack import PROJECT
from pipeline.resources.names import SCORING_DATASET
from schemas.clock import utc_now
from schemas.record import to_row
from schemas.score import Score, ScoreStatus
from schemas.tables import ACCOUNT_SCORES
from transforms.admit.token_budget import BudgetAction, TokenBudget, Usage
from transforms.admit.token_usage import shared_count, usage_query
from transforms.clients.bigquery import Warehouse


def _score(number: int, **fields: Any) -> Score:
    defaults: dict[str, Any] = {
        "account_id": "001000000000001AAA",
        "score_id": f"s{number}",
        "event_ids": (f"e{number}",),
        "change_committed_at": utc_now() - dt.timedelta(hours=1) + dt.timedelta(minutes=number),
        "change_sequence": 1,
        "scored_at": utc_now(),
        "status": ScoreStatus.SCORED,
        "score": number,
        "prompt_tokens": 1_000,
        "output_tokens": 100,
        "cost_usd": 0.000_55,
        "trace_id": "t",
        "pipeline_version": "1",
    }
    return Score(**defaults | fields)


@pytest.fixture(scope="module")
def rows(warehouse: Warehouse) -> list[Score]:
    """Return the rows of the table: three scores of an account, the newest a shadow, a tombstone, and an old one."""
    rows = [
        _score(1),
        _score(2),
        _score(3, shadow=True, model="another"),
        _score(4, account_id="001000000000002AAA", status=ScoreStatus.TOMBSTONE, score=None, prompt_tokens=None,
               output_tokens=None, cost_usd=None),
        _score(5, account_id="001000000000003AAA", scored_at=utc_now() - dt.timedelta(days=3)),
    ]  # fmt: skip
    refused = warehouse.insert_rows(SCORING_DATASET, ACCOUNT_SCORES, {row.score_id: to_row(row) for row in rows})
    assert not refused
    return rows


def test_a_shadow_is_not_a_current_score(warehouse: Warehouse, rows: list[Score]) -> None:
    """The view has the newest score that is not a shadow, although the shadow's change is newer."""
    view = f"`{PROJECT}.{SCORING_DATASET}.current_account_scores`"
    current = list(warehouse.query(f"SELECT account_id, score, cost_usd FROM {view} ORDER BY account_id"))  # noqa: S608 - our own name
    assert [(row["account_id"], row["score"]) for row in current] == [
        ("001000000000001AAA", 2),
        ("001000000000003AAA", 5),
    ]
    assert current[0]["cost_usd"] == pytest.approx(0.000_55)


def test_the_days_tokens_are_those_of_every_row(warehouse: Warehouse, rows: list[Score]) -> None:
    """Shadow scores count like scores, tombstones cost nothing, and other days are not counted."""
    (row,) = warehouse.query(
        usage_query(f"{PROJECT}.{SCORING_DATASET}.account_scores"), {"since": utc_now() - dt.timedelta(hours=12)}
    )
    assert (row["tokens"], row["accounts"]) == (3 * 1_100, 3)


def test_a_worker_counts_from_the_table(warehouse: Warehouse, rows: list[Score]) -> None:
    """A process counts what all workers spent since midnight; with nothing left it admits no account."""
    spent = sum((row.prompt_tokens or 0) + (row.output_tokens or 0) for row in rows if _is_today(row))
    counts = {
        left: shared_count(TokenBudget(spent + left, BudgetAction.WAIT, PROJECT, SCORING_DATASET))
        for left in (0, 10**6)
    }
    assert not counts[0].admits()
    assert counts[10**6].admits()
    assert counts[10**6]._usage == Usage(spent, sum(row.prompt_tokens is not None and _is_today(row) for row in rows))


def _is_today(row: Score) -> bool:
    return row.scored_at.date() == utc_now().date()
