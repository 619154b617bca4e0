"""The report of a run, from a ledger in the warehouse."""

import datetime as dt

import pytest

from pipeline.ledger.ledger_report import LedgerReport
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from schemas.outcome import Outcome
from schemas.score import Score, ScoreStatus
from schemas.tables import ACCOUNT_SCORES, CHANGE_OUTCOMES
from tests.fixtures.changes import account_id
from tests.fixtures.ledger import ledger_row
from transforms.clients.bigquery import Warehouse

SINCE = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def _row(outcome: str, event: int, message: str) -> Outcome:
    at = SINCE + dt.timedelta(seconds=1)
    return ledger_row(outcome, f"{event:032x}", account_id=account_id(event), message_id=message, recorded_at=at)


def _score() -> Score:
    return Score(
        account_id=account_id(1),
        score_id="1",
        event_ids=(f"{1:032x}",),
        change_committed_at=SINCE,
        change_sequence=1,
        scored_at=SINCE + dt.timedelta(seconds=2),
        status=ScoreStatus.TOMBSTONE,
        trace_id="t",
        pipeline_version="1",
    )


ROWS = [
    _row("received", 1, "a"),
    _row("scored", 1, "a"),
    _row("received", 1, "b"),
    _row("skipped:duplicate", 1, "b"),
    _row("received", 2, "c"),
    _row("skipped:immaterial", 2, "c"),
]


@pytest.mark.parametrize("repeated", [[], ROWS, ROWS[:1], ROWS[1:2], ROWS[2:3]])
def test_a_row_that_was_inserted_twice_counts_once(warehouse: Warehouse, repeated: list[Outcome]) -> None:
    """A run is done when every delivery has its outcome and every score its row, also with repeated rows."""
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, [*ROWS, *repeated])
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [_score()] * 2)
    report = LedgerReport(warehouse, SCORING_DATASET, CRM_DATASET, since=SINCE)
    progress = report.progress()
    assert progress.is_done(3)
    assert not progress.is_done(4)
    assert (progress.messages, progress.received, progress.explained) == (3, 3, 3)
    assert report.summary().outcomes["received"] == 3


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_a_run_is_not_done_before_each_delivery_has_its_outcome(warehouse: Warehouse, missing: int) -> None:
    """A second delivery needs an outcome too."""
    rows = [row for number, row in enumerate(ROWS) if number != missing]
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, rows)
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [_score()])
    assert not LedgerReport(warehouse, SCORING_DATASET, CRM_DATASET, since=SINCE).progress().is_done(3)


def test_a_run_is_not_done_before_each_score_has_its_row(warehouse: Warehouse) -> None:
    """Ledger and scores are written independently."""
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, ROWS)
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [])
    assert not LedgerReport(warehouse, SCORING_DATASET, CRM_DATASET, since=SINCE).progress().is_done(3)
