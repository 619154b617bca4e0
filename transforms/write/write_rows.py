"""Where results end: the tables of the dataset, and the dead-letter topic."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import apache_beam as beam
import orjson
import structlog
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import StandardOptions
from msgspec.structs import replace

from schemas.dead_letter import DeadLetter, dead_letter_row
from schemas.outcome import Outcome, ScoredChange, dead_lettered, outcome_id
from schemas.record import Record, to_row
from schemas.score import Score
from schemas.tables import Table
from transforms.clients.outage import OutageSettings, ThrottledSeconds
from transforms.errors import WarehouseUnavailable
from transforms.ledger import utc_now
from transforms.write.held_inserts import HeldInserts
from transforms.write.publish_dead_letters import PublishDeadLetters

MAX_INSERT_ROWS: Final = 500
MAX_INSERT_BYTES: Final = 8_000_000
"""What one request of rows may hold; BigQuery takes 10 MB."""

INSERT_WAIT_SECONDS: Final = 1
"""How long a row waits for others to be inserted with it."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass
class WriteShadowScores(beam.PTransform):
    """Score of a shadow → its row; one that BigQuery refuses is logged and counted, and is no dead letter."""

    project: str
    dataset: str
    table: Table

    def expand(self, shadows: beam.PCollection[Score]) -> beam.PCollection[None]:
        """Insert the rows under their score_ids, behind a barrier: no failure here has Gemini asked again."""
        return (
            shadows
            | "Reshuffle shadows" >> beam.Reshuffle()
            | "Insert shadows" >> InsertRows(self.project, self.dataset, self.table, to_row, _score_id)
        )


def _score_id(score: Score) -> str:
    return score.score_id


@dataclass
class WriteOutcomes(beam.PTransform):
    """Outcome → the ledger."""

    project: str
    dataset: str
    table: Table
    outage: OutageSettings = field(default_factory=OutageSettings)

    def expand(self, outcomes: beam.PCollection[Outcome]) -> beam.PCollection[None]:
        """Insert the rows under their identities."""
        to = (self.project, self.dataset, self.table)
        return outcomes | "Insert outcomes" >> InsertRows(*to, to_row, outcome_id, self.outage)


@dataclass
class WriteDeadLetters(beam.PTransform):
    """DeadLetter → a message with the original bytes on the topic, a row of the table, and the ledger's Outcome."""

    project: str
    dataset: str
    table: Table
    topic: str
    model: str | None = None
    outage: OutageSettings = field(default_factory=OutageSettings)

    def expand(self, letters: beam.PCollection[DeadLetter]) -> beam.PCollection[Outcome]:
        """Publish first: whatever goes wrong behind it, with the row or the ledger, the message is there."""
        published = letters | "Publish" >> PublishDeadLetters(self.topic, self.model)
        row = partial(_letter_row, model=self.model)
        to = (self.project, self.dataset, self.table)
        _ = published | "Insert letters" >> InsertRows(*to, row, _letter_id, self.outage)
        return published | "Record dead-lettered" >> beam.Map(dead_lettered).with_output_types(Outcome)


@dataclass
class GatherRows(beam.PTransform):
    """Record → lists of them that are inserted with one request, which costs more than the rows in it.

    Records are gathered over bundles for a second; a bounded run has large bundles, and gathers within them.
    """

    table: str

    def expand(self, records: beam.PCollection[Record]) -> beam.PCollection[Iterable[Record]]:
        """Gather."""
        if not records.pipeline.options.view_as(StandardOptions).streaming:
            return records | "Gather" >> beam.BatchElements(MAX_INSERT_ROWS, MAX_INSERT_ROWS)
        table = self.table
        return (
            records
            | "Key by table"
            >> beam.Map(lambda record: (table, record)).with_output_types(tuple[str, records.element_type])
            | "Gather" >> beam.GroupIntoBatches.WithShardedKey(MAX_INSERT_ROWS, INSERT_WAIT_SECONDS)
            | "Drop key" >> beam.Values()
        )


@dataclass
class InsertRows(beam.PTransform):
    """Record → nothing: a row each, inserted under an identity that repeats with it; see docs/adr/004.

    Rows are gathered as `GatherRows` does. A row that BigQuery refuses is logged and counted: rows here tell of changes
    whose fate is decided already, and reconciling finds what the ledger lacks. While BigQuery does not answer, rows are
    held; past the deadline of an outage the bundle fails, and the runner repeats it.
    """

    project: str
    dataset: str
    table: Table
    row_of: Callable[[Any], dict[str, Any]]
    id_of: Callable[[Any], str]
    outage: OutageSettings = field(default_factory=OutageSettings)

    def expand(self, records: beam.PCollection[Record]) -> beam.PCollection[None]:
        """Gather, then insert."""
        return records | "Gather rows" >> GatherRows(self.table.name) | "Insert" >> beam.ParDo(_Insert(self))


class _Insert(beam.DoFn):
    def __init__(self, config: InsertRows) -> None:
        self.config = config
        self.inserts = HeldInserts(config.project, config.dataset, config.table, config.outage)
        self.throttled = ThrottledSeconds(config.table.name)
        self.inserted = Metrics.counter(config.table.name, "rows_inserted_total")
        self.refused = Metrics.counter(config.table.name, "rows_refused_total")

    def process(self, batch: Iterable[Record]) -> None:
        to = self.config
        for rows in insert_requests((to.id_of(record), to.row_of(record)) for record in batch):
            failed = self.inserts.insert(rows, self.throttled)
            self.inserted.inc(len(rows) - len(failed))
            held_back = [error for error in failed.values() if isinstance(error, WarehouseUnavailable)]
            self.refused.inc(len(failed) - len(held_back))
            for row_id, error in failed.items():
                _log.error("row refused", event_id=rows[row_id].get("event_id"), reason=str(error))
            if held_back:
                raise held_back[0]  # the runner repeats the bundle: these rows are not at fault


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


def _letter_row(letter: DeadLetter, model: str | None) -> dict[str, Any]:
    return to_row(dead_letter_row(letter, model))


def _letter_id(letter: DeadLetter) -> str:
    return dead_letter_row(letter).dead_letter_id


def recorded_now(scored: ScoredChange) -> Outcome:
    """Return the ledger's row of a score as of now: when it is handed to BigQuery, not when Gemini answered."""
    return replace(scored.outcome, recorded_at=utc_now())
