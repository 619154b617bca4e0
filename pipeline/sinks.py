"""Where results end: the tables of the dataset, and the dead-letter topic."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
import orjson
import structlog
from apache_beam.io.gcp.bigquery import BigQueryDisposition, RetryStrategy, WriteToBigQuery
from apache_beam.io.gcp.pubsub import PubsubMessage, WriteToPubSub
from apache_beam.metrics import Metrics

from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter, DeadLetterRow, dead_letter_row, message_attributes
from schemas.outcome import Outcome, ScoredChange, dead_lettered
from schemas.record import Record
from schemas.score import Score
from schemas.tables import Table
from transforms.errors import RowRejected
from transforms.ledger import Ledger, Received, utc_now

SCORES_STAGE: Final = "Write scores"
MAX_INSERT_RETRIES: Final = 5
"""Of rows that BigQuery refused for a passing reason; Beam's default of 10,000 lets one row block a bundle."""

INSERT_WAIT_SECONDS: Final = 1
"""How long a row waits for others to be inserted with it."""

RefusedRow = tuple[str, dict[str, Any], list[Any]]
"""Table, row, and BigQuery's errors."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass
class WriteRows(beam.PTransform):
    """Record → RefusedRow, for each row that BigQuery does not take."""

    project: str
    dataset: str
    table: Table

    def expand(self, records: beam.PCollection[Record]) -> beam.PCollection[RefusedRow]:
        """Stream the rows in."""
        written = (
            records
            | "Make rows" >> beam.Map(table_row).with_output_types(dict[str, Any])
            | "Insert rows"
            >> WriteToBigQuery(
                table=f"{self.project}:{self.dataset}.{self.table.name}",
                method=WriteToBigQuery.Method.STREAMING_INSERTS,
                create_disposition=BigQueryDisposition.CREATE_NEVER,
                write_disposition=BigQueryDisposition.WRITE_APPEND,
                insert_retry_strategy=RetryStrategy.RETRY_ON_TRANSIENT_ERROR,
                max_retries=MAX_INSERT_RETRIES,
                # Rows are gathered over bundles: an insert for each bundle costs more than the rows in it.
                with_auto_sharding=True,
                triggering_frequency=INSERT_WAIT_SECONDS,
            )
        )
        return written.failed_rows_with_errors


def table_row(record: Record) -> dict[str, Any]:
    """Return a record as the JSON row of its table: dates in ISO 8601, empty columns left out."""
    return record.model_dump(mode="json", exclude_none=True)


def refusal_reasons(errors: list[Any]) -> str:
    """Return BigQuery's reasons and the columns they name; its messages can quote values, and stay behind."""
    named = (error for error in errors if isinstance(error, dict))
    return ", ".join(sorted({f"{e.get('reason') or 'unknown'} at {e.get('location') or 'the row'}" for e in named}))


@dataclass
class WriteScores(beam.PTransform):
    """ScoredChange → DeadLetter, with the row, for a score that BigQuery refuses."""

    project: str
    dataset: str
    table: Table
    pipeline_version: str

    def expand(self, scored: beam.PCollection[ScoredChange]) -> beam.PCollection[DeadLetter]:
        """Write the scores; a row refused is a dead letter, whose outcome supersedes `scored`."""
        refused = (
            scored
            | "Take score" >> beam.Map(lambda item: item.score).with_output_types(Score)
            | "Stream in" >> WriteRows(self.project, self.dataset, self.table)
        )
        return refused | "Dead-letter refused" >> beam.ParDo(_RefusedScore(self.pipeline_version))


class _RefusedScore(beam.DoFn):
    def __init__(self, pipeline_version: str) -> None:
        self.ledger = Ledger(SCORES_STAGE, pipeline_version)
        self.refused = Metrics.counter(SCORES_STAGE, "rows_refused_total")

    def process(self, refused: RefusedRow) -> Iterator[DeadLetter]:
        table, row, errors = refused
        self.refused.inc()
        received = Received(
            event_id=row["event_ids"][0],
            account_id=row["account_id"],
            trace_id=row["trace_id"],
            source=SourceMessage(payload=orjson.dumps(row)),
        )
        error = RowRejected(f"{table} refused the score: {refusal_reasons(errors)}")
        yield self.ledger.dead_letter(received, error, prompt_version=row.get("prompt_version"))


@dataclass
class WriteOutcomes(beam.PTransform):
    """Outcome → the ledger."""

    project: str
    dataset: str
    table: Table

    def expand(self, outcomes: beam.PCollection[Outcome]) -> beam.PCollection[RefusedRow]:
        """Write the rows; one that is refused is logged, since reconciling finds what lacks an outcome."""
        return (
            outcomes
            | "Stream in" >> WriteRows(self.project, self.dataset, self.table)
            | "Report refused" >> beam.ParDo(_ReportRefused(self.table.name))
        )


@dataclass
class WriteDeadLetters(beam.PTransform):
    """DeadLetter → a message with the original bytes on the topic, a row of the table, and the ledger's Outcome."""

    project: str
    dataset: str
    table: Table
    topic: str

    def expand(self, letters: beam.PCollection[DeadLetter]) -> beam.PCollection[Outcome]:
        """Publish and write side by side: whatever goes wrong with the row, the message is published."""
        _ = (
            letters
            | "Make messages" >> beam.Map(dead_letter_message).with_output_types(PubsubMessage)
            | "Publish" >> WriteToPubSub(self.topic, with_attributes=True)
        )
        _ = (
            letters
            | "Make letters' rows" >> beam.Map(dead_letter_row).with_output_types(DeadLetterRow)
            | "Stream in" >> WriteRows(self.project, self.dataset, self.table)
            | "Report refused" >> beam.ParDo(_ReportRefused(self.table.name))
        )
        return letters | "Record dead-lettered" >> beam.Map(dead_lettered).with_output_types(Outcome)


def dead_letter_message(letter: DeadLetter) -> PubsubMessage:
    """Return the message of a letter: the payload as it came, what went wrong in the attributes."""
    return PubsubMessage(letter.source.payload, message_attributes(letter))


class _ReportRefused(beam.DoFn):
    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.refused = Metrics.counter(stage, "rows_refused_total")

    def process(self, refused: RefusedRow) -> Iterator[RefusedRow]:
        table, row, errors = refused
        self.refused.inc()
        _log.error("row refused", table=table, event_id=row.get("event_id"), reasons=refusal_reasons(errors))
        yield refused


def recorded_now(scored: ScoredChange) -> Outcome:
    """Return the ledger's row of a score as of now: when it is handed to BigQuery, not when Gemini answered."""
    return scored.outcome.model_copy(update={"recorded_at": utc_now()})
