"""Rows for the Storage Write API: what of that way can be tested without Beam's Java service."""

from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.bigquery import StorageWriteToBigQuery
from apache_beam.io.gcp.bigquery_tools import get_beam_typehints_from_tableschema
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from apache_beam.typehints.row_type import RowTypeConstraint

from pipeline.storage_write import _Refused, storage_row
from schemas.dead_letter import ErrorClass
from schemas.score import Driver, Impact, Score, ScoreStatus
from schemas.tables import ACCOUNT_SCORES
from tests.fixtures.changes import COMMITTED_AT, NOW, account_id

SCORE = Score(
    account_id=account_id(1),
    score_id="s",
    event_ids=("e" * 32, "f" * 32),
    change_committed_at=COMMITTED_AT,
    change_sequence=1,
    scored_at=NOW,
    status=ScoreStatus.SCORED,
    score=50,
    drivers=(Driver(factor="Renewal", impact=Impact.POSITIVE, evidence="opportunities"),),
    trace_id="t",
    pipeline_version="1",
)


def test_beam_takes_our_rows_with_their_schema() -> None:
    """Each column of the table's schema finds a value of its type, times and nested records among them."""
    schema = {"fields": ACCOUNT_SCORES.columns}

    def check(rows: list[Any]) -> None:
        ((row),) = rows
        assert (row.account_id, row.score, row.tier) == (SCORE.account_id, 50, None)
        assert row.scored_at.to_utc_datetime(has_tz=True) == NOW
        assert list(row.event_ids) == list(SCORE.event_ids)
        assert row.drivers[0].factor == "Renewal"

    with TestPipeline(runner=FnApiRunner()) as pipeline:
        rows = (
            pipeline
            | beam.Create([storage_row(SCORE)])
            | StorageWriteToBigQuery.ConvertToBeamRows(schema, dynamic_destinations=False).with_output_types()
            # The coder of the schema's row, which is what the Java service is sent.
            | beam.Map(lambda row: row).with_output_types(
                RowTypeConstraint.from_fields(get_beam_typehints_from_tableschema(schema))
            )
            | beam.Reshuffle()
        )
        assert_that(rows, check)


def test_a_refused_row_is_a_dead_letter_with_the_row() -> None:
    """Beam says the row, and no more of where it came from."""
    refused = {"failed_row": storage_row(SCORE), "error_message": "SECRET of a value"}
    ((letter),) = _Refused("1").process(refused)
    assert (letter.error_class, letter.event_id, letter.account_id) == (
        ErrorClass.ROW_REJECTED,
        "e" * 32,
        account_id(1),
    )
    assert b'"score":50' in letter.source.payload
    assert "SECRET" not in letter.error_message
