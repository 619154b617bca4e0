"""The views over the history of scores, in the BigQuery emulator: they do not depend on the order of arrival."""

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.resources.names import SCORING_DATASET
from schemas.score import Impact, Score, ScoreDriver, ScoreStatus, Tier
from schemas.tables import ACCOUNT_SCORES, LATEST_ACCOUNT_SCORES
from schemas.views import HISTORY_DAYS, MERGE_LATEST_SCORES, MERGE_WINDOW_DAYS
from tests.fixtures.changes import account_id
from tests.fixtures.examples import examples
from transforms.clients.bigquery import Warehouse

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DATASET = f"account-scoring-local.{SCORING_DATASET}"
ACCOUNTS = 60
"""Accounts in each example: one query of the emulator tests as many histories."""


def _row(
    account: int, *, minute: int, sequence: int = 1, tombstone: bool = False, scored: int = 0, **fields: Any
) -> Score:
    """Return a row whose content depends on its change and on its scoring time, as in a real row."""
    defaults: dict[str, Any] = {
        "account_id": account_id(account),
        "score_id": f"{account}-{minute}-{sequence}-{'gone' if tombstone else fields.get('model', 'm')}",
        "event_ids": (f"e{minute}-{sequence}",),
        "change_committed_at": NOW - dt.timedelta(days=1) + dt.timedelta(minutes=minute),
        "change_sequence": sequence,
        "scored_at": NOW - dt.timedelta(hours=1) + dt.timedelta(minutes=scored),
        "status": ScoreStatus.TOMBSTONE if tombstone else ScoreStatus.SCORED,
        "score": None if tombstone else (7 * minute + 13 * sequence + 29 * scored) % 101,
        "model": None if tombstone else "m",
        "prompt_version": None if tombstone else "v1",
        "trace_id": "t",
        "pipeline_version": "1",
    }
    return Score(**defaults | fields)


_ROWS = st.builds(
    _row,
    account=st.just(0),
    minute=st.integers(0, 3),
    sequence=st.integers(1, 2),
    tombstone=st.booleans(),
    scored=st.integers(0, 3),
)
_HISTORIES = st.lists(
    st.lists(_ROWS, min_size=1, max_size=6, unique_by=lambda row: (row.score_id, row.scored_at)),
    min_size=ACCOUNTS,
    max_size=ACCOUNTS,
)


def _of(account: int, rows: Sequence[Score]) -> list[Score]:
    """Return the rows as rows of this account, with its own ids."""
    return [replace(row, account_id=account_id(account), score_id=f"{account}{row.score_id}") for row in rows]


def _newest(rows: Sequence[Score]) -> Score:
    """Return the current row by the plain rule."""
    by_id = sorted(rows, key=lambda row: row.score_id)
    return max(
        by_id,
        key=lambda row: (
            row.change_committed_at,
            row.change_sequence,
            row.status is ScoreStatus.TOMBSTONE,
            row.scored_at,
        ),
    )


def _arrived(histories: Sequence[Sequence[Score]], dice: random.Random) -> list[Score]:
    """Return all rows in a random order, some of them several times."""
    rows = [row for history in histories for row in history]
    rows += dice.choices(rows, k=len(rows) // 2)
    dice.shuffle(rows)
    return rows


def _view(warehouse: Warehouse, name: str, *, order: str = "account_id") -> list[dict[str, Any]]:
    return [dict(row) for row in warehouse.query(f"SELECT * FROM `{DATASET}.{name}` ORDER BY {order}")]  # noqa: S608


def _shown(row: Score) -> tuple[Any, ...]:
    return row.account_id, row.score_id, row.scored_at, row.score


@examples(HealthCheck.function_scoped_fixture, ordinary=8, slow=100)
@given(histories=_HISTORIES, seed=st.integers(0, 2**32))
def test_the_current_scores_do_not_depend_on_arrival(
    warehouse: Warehouse, histories: list[list[Score]], seed: int
) -> None:
    """For sixty histories, in any order and with repetitions, the view has the newest change's score, no tombstone."""
    histories = [_of(account, rows) for account, rows in enumerate(histories)]
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, _arrived(histories, random.Random(seed)))
    newest = [_newest(rows) for rows in histories]
    expected = sorted(_shown(row) for row in newest if row.status is ScoreStatus.SCORED)
    current = _view(warehouse, "current_account_scores")
    assert [(row["account_id"], row["score_id"], row["scored_at"], row["score"]) for row in current] == expected


@examples(HealthCheck.function_scoped_fixture, ordinary=4, slow=50)
@given(histories=_HISTORIES, seed=st.integers(0, 2**32))
def test_the_movements_do_not_depend_on_arrival(warehouse: Warehouse, histories: list[list[Score]], seed: int) -> None:
    """The view has each score once, with the previous one in commit order."""
    histories = [_of(account, rows) for account, rows in enumerate(histories)]
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, _arrived(histories, random.Random(seed)))
    expected: dict[str, str | None] = {}
    for rows in histories:
        left = list({row.score_id: row for row in sorted(rows, key=lambda row: row.scored_at)}.values())
        after: Score | None = None
        while left:
            newest = _newest(left)
            if after is not None:
                expected[after.score_id] = newest.score_id
            expected[newest.score_id] = None
            after = newest
            left.remove(newest)
    movements = _view(warehouse, "score_movements")
    assert {row["score_id"]: row["previous_score_id"] for row in movements} == expected
    assert len(movements) == len(expected)


@examples(HealthCheck.function_scoped_fixture, ordinary=4, slow=30)
@given(histories=_HISTORIES, seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 600), max_size=2))
def test_merged_scores_are_the_views(
    warehouse: Warehouse, histories: list[list[Score]], seed: int, cuts: list[int]
) -> None:
    """The table of merged scores equals the view, however the rows are spread over runs of the scheduled query."""
    warehouse.create_table(SCORING_DATASET, LATEST_ACCOUNT_SCORES)
    warehouse.replace_rows(SCORING_DATASET, LATEST_ACCOUNT_SCORES, [])
    rows = _arrived([_of(account, rows) for account, rows in enumerate(histories)], random.Random(seed))
    for cut in (*sorted(cuts), len(rows)):
        warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, rows[:cut])
        list(warehouse.query(MERGE_LATEST_SCORES.format(dataset=DATASET)))
    kept = [row for row in _view(warehouse, LATEST_ACCOUNT_SCORES.name) if row["status"] == "scored"]
    assert kept == _view(warehouse, "current_account_scores")


def test_a_movement_says_why(warehouse: Warehouse) -> None:
    """A movement has the difference, changed fields, drivers, versions, times and the cause."""
    driver = ScoreDriver(factor="Deal close to signature", impact=Impact.POSITIVE, evidence="opportunity")
    rows = [
        _row(1, minute=0, score=40, tier=Tier.COOL, context_hash="a"),
        _row(1, minute=1, score=70, tier=Tier.WARM, context_hash="b", changed_fields=("Rating",), drivers=(driver,)),
        _row(1, minute=2, score=70, context_hash="b"),
        _row(1, minute=3, score=72, context_hash="b", model_version="m-002"),
        _row(1, minute=4, score=60, context_hash="b", model="m2"),
        _row(1, minute=5, score=55, context_hash="c", model="m2", prompt_version="v2"),
        _row(1, minute=6, tombstone=True),
        _row(1, minute=7, score=30, context_hash="d"),
    ]
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, rows)
    movements = _view(warehouse, "score_movements", order="change_committed_at")
    assert [row["difference"] for row in movements] == [None, 30, 0, 2, -12, -5, None, None]
    causes = ["first_score", "facts", "nothing", "model_version", "model", "prompt", "deleted", "revived"]
    assert [row["cause"] for row in movements] == causes
    moved = movements[1]
    assert (moved["previous_score"], moved["score"]) == (40, 70)
    assert (moved["previous_tier"], moved["tier"]) == ("cool", "warm")
    assert moved["changed_fields"] == ["Rating"]
    assert [it["factor"] for it in moved["drivers"]] == ["Deal close to signature"]
    assert moved["previous_score_id"] == movements[0]["score_id"]
    assert moved["previous_scored_at"] == rows[0].scored_at
    assert (movements[5]["previous_prompt_version"], movements[5]["prompt_version"]) == ("v1", "v2")


@pytest.mark.parametrize("view", ["current_account_scores", "score_movements"])
def test_history_beyond_the_bound_is_not_read(warehouse: Warehouse, view: str) -> None:
    """Rows in partitions before the bound are in no view."""
    old, young = NOW - dt.timedelta(days=HISTORY_DAYS + 1), NOW - dt.timedelta(days=HISTORY_DAYS - 1)
    rows = [_row(1, minute=1, scored_at=old), _row(2, minute=1, scored_at=young)]
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, rows)
    assert [row["account_id"] for row in _view(warehouse, view)] == [account_id(2)]


def test_the_merge_reads_recent_days_only(warehouse: Warehouse) -> None:
    """A daily scheduled query reads two days, for any length of history."""
    warehouse.create_table(SCORING_DATASET, LATEST_ACCOUNT_SCORES)
    warehouse.replace_rows(SCORING_DATASET, LATEST_ACCOUNT_SCORES, [])
    old = NOW - dt.timedelta(days=MERGE_WINDOW_DAYS, hours=1)
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [_row(1, minute=1, scored_at=old), _row(2, minute=1)])
    list(warehouse.query(MERGE_LATEST_SCORES.format(dataset=DATASET)))
    assert [row["account_id"] for row in _view(warehouse, LATEST_ACCOUNT_SCORES.name)] == [account_id(2)]


@pytest.mark.parametrize("view", ["current_account_scores", "score_movements"])
def test_scores_in_the_shadow_are_in_no_view(warehouse: Warehouse, view: str) -> None:
    """Shadow scores are in no view, even if their rows are newest."""
    rows = [_row(1, minute=1), _row(1, minute=2, shadow=True), _row(1, minute=3, tombstone=True, shadow=True)]
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, rows)
    assert [row["score_id"] for row in _view(warehouse, view)] == [rows[0].score_id]
