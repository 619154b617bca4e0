"""Where results end: the tables of the dataset, and the dead-letter topic."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
import orjson
import structlog
from apache_beam.io.gcp.bigquery import BigQueryDisposition, RetryStrategy, WriteToBigQuery
from apache_beam.io.gcp.pubsub import PubsubMessage, WriteToPubSub
from apache_beam.metrics import Metrics

from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter, dead_letter_row, message_attributes
from schemas.outcome import Outcome, ScoredChange, dead_lettered, outcome_id
from schemas.record import Record
from schemas.tables import Table
from transforms.errors import RowRejected
from transforms.ledger import Ledger, Received, utc_now
from transforms.warehouse import shared_warehouse

SCORES_STAGE: Final = "Write scores"
MAX_INSERT_RETRIES: Final = 5
"""Of rows that BigQuery refused for a passing reason; Beam's default of 10,000 lets one row block a bundle."""

MAX_INSERT_ROWS: Final = 500
MAX_INSERT_BYTES: Final = 8_000_000
"""What one request of rows may hold; BigQuery takes 10 MB."""

INSERT_WAIT_SECONDS: Final = 1
"""How long a row waits for others to be inserted with it."""

RefusedRow = tuple[str, dict[str, Any], list[Any]]
"""Table, row, and BigQuery's errors."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass
class WriteScores(beam.PTransform):
    """ScoredChange → DeadLetter, with the row, for a score that BigQuery refuses."""

    project: str
    dataset: str
    table: Table
    pipeline_version: str

    def expand(self, scored: beam.PCollection[ScoredChange]) -> beam.PCollection[DeadLetter]:
        """Stream the scores in; a row refused is a dead letter, whose outcome supersedes `scored`."""
        is_stream = not scored.is_bounded
        written = (
            scored
            | "Make rows" >> beam.Map(lambda item: table_row(item.score)).with_output_types(dict[str, Any])
            | "Insert rows"
            >> WriteToBigQuery(
                table=f"{self.project}:{self.dataset}.{self.table.name}",
                method=WriteToBigQuery.Method.STREAMING_INSERTS,
                create_disposition=BigQueryDisposition.CREATE_NEVER,
                write_disposition=BigQueryDisposition.WRITE_APPEND,
                insert_retry_strategy=RetryStrategy.RETRY_ON_TRANSIENT_ERROR,
                max_retries=MAX_INSERT_RETRIES,
                # Rows are gathered over bundles: an insert for each bundle costs more than the rows in it. A
                # bounded input's bundles are large.
                with_auto_sharding=is_stream,
                triggering_frequency=INSERT_WAIT_SECONDS if is_stream else None,
            )
        )
        return written.failed_rows_with_errors | "Dead-letter refused" >> beam.ParDo(
            _RefusedScore(self.pipeline_version)
        )


def table_row(record: Record) -> dict[str, Any]:
    """Return a record as the JSON row of its table: dates in ISO 8601, empty columns left out."""
    return record.model_dump(mode="json", exclude_none=True)


def refusal_reasons(errors: list[Any]) -> str:
    """Return BigQuery's reasons and the columns they name; its messages can quote values, and stay behind."""
    named = (error for error in errors if isinstance(error, dict))
    return ", ".join(sorted({f"{e.get('reason') or 'unknown'} at {e.get('location') or 'the row'}" for e in named}))


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

    def expand(self, outcomes: beam.PCollection[Outcome]) -> beam.PCollection[None]:
        """Insert the rows under their identities."""
        return outcomes | "Insert outcomes" >> InsertRows(self.project, self.dataset, self.table, table_row, outcome_id)


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
        _ = letters | "Insert letters" >> InsertRows(self.project, self.dataset, self.table, _letter_row, _letter_id)
        return letters | "Record dead-lettered" >> beam.Map(dead_lettered).with_output_types(Outcome)


@dataclass
class InsertRows(beam.PTransform):
    """Record → nothing: a row each, inserted under an identity that repeats with it; see docs/adr/004.

    Rows are gathered over bundles for a second, since a request costs more than the rows in it. One that BigQuery
    refuses is logged and counted: rows here tell of changes whose fate is decided already, and reconciling finds what
    the ledger lacks. If BigQuery does not answer, the bundle fails, and the runner repeats it.
    """

    project: str
    dataset: str
    table: Table
    row_of: Callable[[Any], dict[str, Any]]
    id_of: Callable[[Any], str]

    def expand(self, records: beam.PCollection[Record]) -> beam.PCollection[None]:
        """Gather, then insert."""
        return records | "Gather" >> GatherRows(self.table.name) | "Insert" >> beam.ParDo(_Insert(self))


@dataclass
class GatherRows(beam.PTransform):
    """Record → (key, records), as many as share a request.

    A stream's bundles are small, and rows are gathered over them for a second. A bounded input's are large: rows are
    gathered within a bundle, without state, since FnApiRunner takes the timers of one GroupIntoBatches for another's.
    """

    table: str

    def expand(self, records: beam.PCollection[Record]) -> beam.PCollection[tuple[Any, Iterable[Record]]]:
        """Gather what is to be inserted into the table."""
        name = self.table
        if records.is_bounded:
            return (
                records
                | "Within a bundle" >> beam.BatchElements(MAX_INSERT_ROWS, MAX_INSERT_ROWS)
                | "Key by table" >> beam.Map(lambda rows: (name, rows))
            )
        return (
            records
            | "Key by table"
            >> beam.Map(lambda record: (name, record)).with_output_types(tuple[str, records.element_type])
            | "Over bundles" >> beam.GroupIntoBatches.WithShardedKey(MAX_INSERT_ROWS, INSERT_WAIT_SECONDS)
        )


class _Insert(beam.DoFn):
    def __init__(self, config: InsertRows) -> None:
        self.config = config
        self.inserted = Metrics.counter(config.table.name, "rows_inserted_total")
        self.refused = Metrics.counter(config.table.name, "rows_refused_total")

    def process(self, batch: tuple[Any, Iterable[Record]]) -> None:
        to = self.config
        for rows in insert_requests((to.id_of(record), to.row_of(record)) for record in batch[1]):
            refused = shared_warehouse(to.project).insert_rows(to.dataset, to.table, rows)
            self.inserted.inc(len(rows) - len(refused))
            self.refused.inc(len(refused))
            for row in refused:
                event_id, reasons = rows[row.row_id].get("event_id"), refusal_reasons(list(row.errors))
                _log.error("row refused", table=to.table.name, event_id=event_id, reasons=reasons)


def insert_requests(
    rows: Iterable[tuple[str, dict[str, Any]]], *, max_bytes: int = MAX_INSERT_BYTES
) -> Iterator[dict[str, dict[str, Any]]]:
    """Yield rows by identity, as many as one request may hold; a row that is larger stands alone."""
    request: dict[str, dict[str, Any]] = {}
    total = 0
    for row_id, row in rows:
        size = len(orjson.dumps(row))
        if request and total + size > max_bytes:
            yield request
            request, total = {}, 0
        request[row_id] = row
        total += size
    if request:
        yield request


def _letter_row(letter: DeadLetter) -> dict[str, Any]:
    return table_row(dead_letter_row(letter))


def _letter_id(letter: DeadLetter) -> str:
    return dead_letter_row(letter).dead_letter_id


def dead_letter_message(letter: DeadLetter) -> PubsubMessage:
    """Return the message of a letter: the payload as it came, what went wrong in the attributes."""
    return PubsubMessage(letter.source.payload, message_attributes(letter))


def recorded_now(scored: ScoredChange) -> Outcome:
    """Return the ledger's row of a score as of now: when it is handed to BigQuery, not when Gemini answered."""
    return scored.outcome.model_copy(update={"recorded_at": utc_now()})
