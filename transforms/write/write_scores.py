"""Write scores: record each row that BigQuery took, dead-letter each that it refused; see docs/adr/032."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import apache_beam as beam
import orjson
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from msgspec.structs import replace

from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome, ScoredChange
from schemas.record import to_row
from schemas.tables import Table
from transforms.clients.outage import OutageSettings, ThrottledSeconds
from transforms.ledger import Ledger, Received
from transforms.outputs import DEAD_LETTERS, OUTCOMES, TaggedDeadLetter
from transforms.write.held_inserts import HeldInserts, RowError
from transforms.write.write_rows import GatherRows, insert_requests, recorded_now

SCORES_STAGE: Final = "Write scores"


class WrittenScores(NamedTuple):
    """Outcomes of the scores in the table, dead letters of the others."""

    outcomes: beam.PCollection[Outcome]
    dead_letters: beam.PCollection[DeadLetter]


@dataclass
class WriteScores(beam.PTransform):
    """Insert scores.

    Input: ScoredChange. Outputs: Outcome of each row in the table, DeadLetter (with the row) of each that is not.
    """

    project: str
    dataset: str
    table: Table
    pipeline_version: str
    outage: OutageSettings = field(default_factory=OutageSettings)

    def expand(self, scored: beam.PCollection[ScoredChange]) -> Any:
        """Group, then insert."""
        written = (
            scored
            | "Gather rows" >> GatherRows(self.table.name)
            | "Insert rows" >> beam.ParDo(_InsertScores(self)).with_outputs(DEAD_LETTERS, main=OUTCOMES)
        )
        return WrittenScores(written[OUTCOMES], written[DEAD_LETTERS])


def rejected_dead_letter(item: ScoredChange, row: dict[str, Any], error: RowError, ledger: Ledger) -> DeadLetter:
    """Return the dead letter of a row that is not in the table: the event's bytes for a replay, and the row."""
    outcome = item.outcome
    received = Received(
        event_id=outcome.event_id,
        source=item.source,
        trace_id=outcome.trace_id,
        account_id=outcome.account_id,
        entity_name=outcome.entity_name,
        record_id=outcome.record_id,
        change_type=outcome.change_type,
        committed_at=outcome.committed_at,
    )
    dead_letter = ledger.dead_letter(received, error, prompt_version=item.score.prompt_version)
    return replace(dead_letter, rejected_row=orjson.dumps(row).decode())


class _InsertScores(beam.DoFn):
    def __init__(self, config: WriteScores) -> None:
        self.inserts = HeldInserts(config.project, config.dataset, config.table, config.outage)
        self.ledger = Ledger(SCORES_STAGE, config.pipeline_version)
        self.throttled = ThrottledSeconds(SCORES_STAGE)
        self.inserted = Metrics.counter(SCORES_STAGE, "rows_inserted_total")
        self.refused = Metrics.counter(SCORES_STAGE, "rows_refused_total")

    def process(self, batch: Iterable[ScoredChange]) -> Iterator[Outcome | TaggedDeadLetter]:
        # A redelivery can bring a score twice: insert one row, and record an outcome for each.
        items: dict[str, list[ScoredChange]] = {}
        for item in batch:
            items.setdefault(item.score.score_id, []).append(item)
        for rows in insert_requests((score_id, to_row(same[0].score)) for score_id, same in items.items()):
            failed = self.inserts.insert(rows, self.throttled)
            self.inserted.inc(len(rows) - len(failed))
            self.refused.inc(len(failed))
            for score_id, row in rows.items():
                for item in items[score_id]:
                    if score_id in failed:
                        dead_letter = rejected_dead_letter(item, row, failed[score_id], self.ledger)
                        yield TaggedOutput(DEAD_LETTERS, dead_letter)
                    else:
                        yield recorded_now(item)
