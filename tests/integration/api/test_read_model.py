"""The read model shows what BigQuery's views show, however the rows came; against the emulator."""

import datetime as dt
import random
import tempfile
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from pipeline.api.read_model.refresher import Refresher
from pipeline.api.read_model.rows import JSON_OPTIONS
from pipeline.api.read_model.score_queries import AccountsRequest, Order, account_history, account_row, list_accounts
from pipeline.api.read_model.source import ScoreSource
from pipeline.api.read_model.store import ReadModel
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from pipeline.scores.score_list import ScoreRequest, list_scores
from pipeline.scores.score_sources import ScoreSources
from schemas.account_context import AccountProfile
from schemas.score import Score
from schemas.tables import ACCOUNT_SCORES, ACCOUNTS
from tests.fixtures.changes import account_id
from tests.fixtures.examples import examples
from tests.fixtures.scores import score_row
from tests.integration.test_score_views import _HISTORIES, _arrived, _of, _view
from transforms.clients.bigquery import Warehouse

NOW: Final = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY: Final = dt.timedelta(days=1)


def _source(warehouse: Warehouse) -> ScoreSource:
    return ScoreSource.of(warehouse, SCORING_DATASET, CRM_DATASET)


def _all_accounts(model: ReadModel) -> list[str]:
    """Return the accounts that have a score, by way of pages."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = list_accounts(model, AccountsRequest(limit=25, order=Order.LOWEST, cursor=cursor), NOW)
        found += [row[0] for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            return found


_OF_DOCUMENT: Final = (
    *("score_id", "scored_at", "change_committed_at", "change_sequence", "event_ids", "status", "score", "tier"),
    *("confidence", "changed_fields", "drivers", "summary", "model", "model_version", "prompt_version"),
    *("pipeline_version", "trace_id"),
)
_OF_PAIR: Final = (
    *("difference", "cause", "previous_score_id", "previous_score", "previous_tier", "previous_scored_at"),
    *("previous_model", "previous_model_version", "previous_prompt_version"),
)


def _shown_movement(row: dict[str, Any]) -> tuple[Any, ...]:
    shown = orjson.loads(orjson.dumps({name: row[name] for name in _OF_DOCUMENT}, option=JSON_OPTIONS))
    previous = row["previous_scored_at"]
    pair = {**row, "previous_scored_at": previous and int(previous.timestamp()) * 1_000_000}
    return shown, [pair[name] for name in _OF_PAIR]


def _kept_movement(row: Any) -> tuple[Any, ...]:
    document = orjson.loads(row[0])
    return {name: document[name] for name in _OF_DOCUMENT}, list(row[1:])


@examples(HealthCheck.function_scoped_fixture, ordinary=4, slow=60)
@given(histories=_HISTORIES, seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 600), max_size=3))
def test_the_read_model_is_the_views(
    warehouse: Warehouse, histories: list[list[Score]], seed: int, cuts: list[int]
) -> None:
    """For sixty histories, in any order, with repetitions, however spread over refreshes: score by score."""
    rows = _arrived([_of(account, rows) for account, rows in enumerate(histories)], random.Random(seed))
    with tempfile.TemporaryDirectory() as folder:
        model = ReadModel(Path(folder))
        refresher = Refresher(model, _source(warehouse))
        try:
            for cut in (*sorted(cuts), len(rows)):
                warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, rows[:cut])
                refresher._days_due = NOW - DAY  # late rows are found by comparing days
                refresher.refresh()
            refresher._days_due = NOW - DAY
            refresher.refresh()
            current = _view(warehouse, "current_account_scores")
            assert sorted(_all_accounts(model)) == [row["account_id"] for row in current]
            movements = _view(warehouse, "score_movements")
            newest = {row["account_id"]: row["score_id"] for row in current}
            for account in {row["account_id"] for row in movements}:
                page = account_history(model, account, 200)
                kept = [_kept_movement(row) for row in page.rows]
                shown = [_shown_movement(row) for row in movements if row["account_id"] == account]
                assert sorted(kept, key=str) == sorted(shown, key=str)
                assert kept[0][0]["score_id"] == newest.get(account, kept[0][0]["score_id"])
        finally:
            model.close()


@pytest.fixture
def model(tmp_path: Path) -> Any:
    """Return an empty read model."""
    made = ReadModel(tmp_path)
    yield made
    made.close()


def _profile(number: int, **fields: Any) -> AccountProfile:
    return AccountProfile(account_id=account_id(number), name=f"Company {number}", modified_at=NOW, **fields)


def test_moved_accounts_are_those_of_the_command(warehouse: Warehouse, model: ReadModel) -> None:
    """`moved since` lists what `rescore scores --moved-since` lists, in the same order, with the same causes."""
    rows = [
        *(score_row(1, score, NOW - days * DAY) for score, days in ((40, 9), (55, 3), (70, 1))),
        *(score_row(2, score, NOW - days * DAY) for score, days in ((80, 9), (20, 2))),
        *(score_row(3, score, NOW - days * DAY) for score, days in ((50, 9), (60, 3), (50, 2))),
        score_row(4, 33, NOW - DAY),
        *(score_row(5, score, NOW - days * DAY) for score, days in ((50, 20), (None, 9), (60, 1))),
        *(score_row(6, score, NOW - days * DAY) for score, days in ((50, 9), (None, 1))),
    ]
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [*rows, *rows])
    warehouse.replace_rows(CRM_DATASET, ACCOUNTS, [_profile(1), _profile(2, owner_id="005A", industry="Energy")])
    Refresher(model, _source(warehouse)).refresh()
    page = list_accounts(model, AccountsRequest(days=7, moved_at_least=1, order=Order.MOST_MOVED), NOW)
    assert page.since
    sources = ScoreSources(warehouse.project, SCORING_DATASET, CRM_DATASET)
    listed = list_scores(sources, ScoreRequest(20, moved_since=page.since)).document()
    expected = [
        (it["account_id"], it["name"], it["previous_score"], it["previous_tier"], it["difference"], it["cause"])
        for it in listed["scores"]
    ]
    assert [(row[0], row[1], *row[5:9]) for row in page.rows] == expected
    assert (page.all_rows, len(expected)) == (listed["accounts"], 2)
    assert account_row(model, account_id(2)) == ("Company 2", "005A", "Energy", None, None, None, True)
