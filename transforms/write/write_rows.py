"""Write results: rows of the dataset's tables, and messages on the dead-letter topic."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, Final

import apache_beam as beam
import orjson
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import StandardOptions
from more_itertools import constrained_batches
from msgspec.structs import replace

from schemas.clock import utc_now
from schemas.dead_letter import DeadLetter, dead_letter_row
from schemas.outcome import Outcome, ScoredChange, dead_lettered, outcome_id
from schemas.record import Record, to_row
from schemas.score import Score
from schemas.tables import Table
from transforms.clients.outage import OutageSettings, ThrottledSeconds
from transforms.coders import RecordCoder
from transforms.errors import WarehouseUnavailable
from transforms.logs import get_logger
from transforms.write.held_inserts import HeldInserts
from transforms.write.publish_dead_letters import PublishDeadLetters

MAX_INSERT_ROWS: Final = 500
MAX_INSERT_BYTES: Final = 8_000_000
"""Bounds of one insert request; BigQuery takes 10 MB."""

INSERT_WAIT_SECONDS: Final = 1
"""How long a row waits for others to be inserted with it."""

_log = get_logger(__name__)


@dataclass
class WriteShadowScores(beam.PTransform):
    """Insert shadow scores; a row that BigQuery refuses is logged and counted, and not dead-lettered."""

    project: str
    dataset: str
    table: Table

    def expand(self, shadows: beam.PCollection[Score]) -> beam.PCollection[None]:
        """Insert the rows behind a Reshuffle, so that a failed insert does not repeat the call to Gemini."""
        return (
            shadows
            | "Reshuffle shadows" >> beam.Reshuffle()
            | "Insert shadows" >> InsertRows(self.project, self.dataset, self.table, to_row, attrgetter("score_id"))
        )


@dataclass
class WriteOutcomes(beam.PTransform):
    """Insert outcomes into the ledger."""

    project: str
    dataset: str
    table: Table
    outage: OutageSettings = field(default_factory=OutageSettings)

    def expand(self, outcomes: beam.PCollection[Outcome]) -> beam.PCollection[None]:
        """Insert rows with deterministic insert ids."""
        to = (self.project, self.dataset, self.table)
        return outcomes | "Insert outcomes" >> InsertRows(*to, to_row, outcome_id, self.outage)


@dataclass
class WriteDeadLetters(beam.PTransform):
    """Publish dead letters, insert their rows, and return their Outcomes for the ledger."""

    project: str
    dataset: str
    table: Table
    topic: str
    model: str | None = None
    outage: OutageSettings = field(default_factory=OutageSettings)

    def expand(self, dead_letters: beam.PCollection[DeadLetter]) -> beam.PCollection[Outcome]:
        """Publish first, so that the message exists even if the row or the ledger fails."""
        published = dead_letters | "Publish" >> PublishDeadLetters(self.topic, self.model)
        row = partial(_dead_letter_row, model=self.model)
        to = (self.project, self.dataset, self.table)
        _ = published | "Insert letters" >> InsertRows(*to, row, _dead_letter_id, self.outage)
        return published | "Record dead-lettered" >> beam.Map(dead_lettered).with_output_types(Outcome)


@dataclass
class GatherRows(beam.PTransform):
    """Group records into lists for one insert request each; a request costs more than its rows.

    A streaming job groups across bundles for a second. A bounded run has large bundles, and groups within them.
    """

    table: str

    def expand(self, records: beam.PCollection[Record]) -> beam.PCollection[Iterable[Record]]:
        """Group by table."""
        if not records.pipeline.options.view_as(StandardOptions).streaming:
            return records | "Gather" >> beam.BatchElements(MAX_INSERT_ROWS, MAX_INSERT_ROWS)
        table, coder = self.table, RecordCoder(records.element_type)
        # GroupIntoBatches would keep records as pickles in its state (docs/adr/014): it gets their bytes.
        return (
            records
            | "Key by table"
            >> beam.Map(lambda record: (table, coder.encode(record))).with_output_types(tuple[str, bytes])
            | "Gather" >> beam.GroupIntoBatches.WithShardedKey(MAX_INSERT_ROWS, INSERT_WAIT_SECONDS)
            | "Drop key"
            >> beam.MapTuple(lambda _key, rows: [coder.decode(row) for row in rows]).with_output_types(
                list[records.element_type]
            )
        )


@dataclass
class InsertRows(beam.PTransform):
    """Insert rows with deterministic insert ids; see docs/adr/004.

    A row that BigQuery refuses is logged and counted: its change already has its outcome, and `rescore reconcile` finds
    what the ledger lacks. Rows are held while BigQuery does not answer; past the outage deadline the bundle fails, and
    the runner repeats it.
    """

    project: str
    dataset: str
    table: Table
    row_of: Callable[[Any], dict[str, Any]]
    id_of: Callable[[Any], str]
    outage: OutageSettings = field(default_factory=OutageSettings)

    def expand(self, records: beam.PCollection[Record]) -> beam.PCollection[None]:
        """Group, then insert."""
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
                raise held_back[0]  # the runner repeats the bundle; the rows are not faulty


def insert_requests(
    rows: Iterable[tuple[str, dict[str, Any]]], *, max_bytes: int = MAX_INSERT_BYTES
) -> Iterator[dict[str, dict[str, Any]]]:
    """Yield rows by insert id, as many as one request may hold; a larger row goes alone."""
    sized = ((row_id, row, len(orjson.dumps(row))) for row_id, row in rows)
    for batch in constrained_batches(sized, max_bytes, get_len=itemgetter(2), strict=False):
        yield {row_id: row for row_id, row, _ in batch}


def _dead_letter_row(dead_letter: DeadLetter, model: str | None) -> dict[str, Any]:
    return to_row(dead_letter_row(dead_letter, model))


def _dead_letter_id(dead_letter: DeadLetter) -> str:
    return dead_letter_row(dead_letter).dead_letter_id


def recorded_now(scored: ScoredChange) -> Outcome:
    """Return a score's ledger row with the current time: when BigQuery took the score, not when Gemini answered."""
    return replace(scored.outcome, recorded_at=utc_now())
