"""Scores over BigQuery's Storage Write API, at least once: cheaper at volume, and untested here.

Building this step starts Beam's Java expansion service, which is downloaded for it; what is tested is that our rows
become the rows that it takes. Beam says which rows were refused and nothing of those that were taken, so that `scored`
is recorded when a row is handed over; a dead letter of a refused row supersedes it, and holds the row, not the event.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import apache_beam as beam
import orjson
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.metrics import Metrics
from apache_beam.utils.timestamp import Timestamp

from pipeline.sinks import recorded_now, table_row
from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome, ScoredChange
from schemas.record import Record
from schemas.tables import Table
from transforms.errors import RowRejected
from transforms.ledger import Ledger, Received

STAGE: Final = "Append scores"


class AppendedScores(NamedTuple):
    """What became of the scores."""

    outcomes: beam.PCollection[Outcome]
    dead_letters: beam.PCollection[DeadLetter]


@dataclass
class AppendScores(beam.PTransform):
    """ScoredChange → Outcome of each, DeadLetter of those that BigQuery refuses."""

    project: str
    dataset: str
    table: Table
    pipeline_version: str

    def expand(self, scored: beam.PCollection[ScoredChange]) -> Any:
        """Hand the rows over."""
        schema = {"fields": self.table.columns}
        written = (
            scored
            | "Make rows" >> beam.Map(lambda item: storage_row(item.score)).with_output_types(dict[str, Any])
            | "Append rows"
            >> WriteToBigQuery(
                table=f"{self.project}:{self.dataset}.{self.table.name}",
                schema=schema,
                method=WriteToBigQuery.Method.STORAGE_WRITE_API,
                use_at_least_once=True,
                create_disposition=BigQueryDisposition.CREATE_NEVER,
                write_disposition=BigQueryDisposition.WRITE_APPEND,
            )
        )
        refused = written.failed_rows_with_errors | "Dead-letter refused" >> beam.ParDo(_Refused(self.pipeline_version))
        recorded = scored | "Record scored" >> beam.Map(recorded_now).with_output_types(Outcome)
        return AppendedScores(recorded, refused)


def storage_row(record: Record) -> dict[str, Any]:
    """Return a record as the Storage Write API takes it: as its table's JSON row, but times are Beam's timestamps."""
    times = {name: it for name, it in record.__dict__.items() if isinstance(it, dt.datetime)}
    return table_row(record) | {name: Timestamp.from_utc_datetime(it) for name, it in times.items()}


class _Refused(beam.DoFn):
    def __init__(self, pipeline_version: str) -> None:
        self.ledger = Ledger(STAGE, pipeline_version)
        self.refused = Metrics.counter(STAGE, "rows_refused_total")

    def process(self, refused: Mapping[str, Any]) -> Iterator[DeadLetter]:
        row = refused["failed_row"]  # the error beside it is text that can quote values
        self.refused.inc()
        received = Received(
            event_id=row["event_ids"][0],
            account_id=row["account_id"],
            trace_id=row["trace_id"],
            source=SourceMessage(payload=orjson.dumps(row, default=str)),
        )
        yield self.ledger.dead_letter(received, RowRejected("the Storage Write API refused the score"))
