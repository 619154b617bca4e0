"""Tombstone deleted accounts: the DELETE of an account → a row that takes its score out of the view, without Gemini."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from schemas.change_event import ACCOUNT_ENTITY, AccountChange, ChangeType
from schemas.outcome import OutcomeKind, ScoredChange, ScoringResult
from schemas.score import Score, ScoreStatus, score_id
from transforms.ledger import Ledger, Received

STAGE: Final = "Tombstone deleted accounts"
CHANGES: Final = "changes"
TOMBSTONES: Final = "tombstones"

_DELETIONS: Final = frozenset({ChangeType.DELETE, ChangeType.GAP_DELETE})


def is_deletion(change: AccountChange) -> bool:
    """Whether the account itself is gone; a deleted opportunity or contact only changes it."""
    return change.entity_name == ACCOUNT_ENTITY and change.change_type in _DELETIONS


def tombstone(change: AccountChange, ledger: Ledger) -> ScoringResult:
    """Return the row of a deleted account; by its place in commit order a later UNDELETE revives the account."""
    row = Score(
        account_id=change.account_id,
        score_id=score_id(change.account_id, change.event_id, "", ""),
        event_ids=(change.event_id, *change.coalesced),
        change_committed_at=change.committed_at,
        change_sequence=change.sequence_number,
        scored_at=ledger.now(),
        status=ScoreStatus.TOMBSTONE,
        changed_fields=change.changed_fields,
        trace_id=change.trace_id,
        pipeline_version=ledger.pipeline_version,
    )
    outcome = ledger.outcome(Received.of(change), OutcomeKind.TOMBSTONED)
    return ScoringResult(scored=ScoredChange(score=row, outcome=outcome, source=change.source))


@dataclass
class TombstoneDeleted(beam.PTransform):
    """AccountChange → AccountChange that needs a score (main), ScoringResult with a tombstone (`tombstones`)."""

    pipeline_version: str

    def expand(self, changes: beam.PCollection[AccountChange]) -> Any:
        """Part the deleted from the living."""
        return changes | beam.ParDo(_Part(self.pipeline_version)).with_outputs(TOMBSTONES, main=CHANGES)


class _Part(beam.DoFn):
    def __init__(self, pipeline_version: str) -> None:
        self.ledger = Ledger(STAGE, pipeline_version)
        self.tombstones = Metrics.counter(STAGE, "tombstones_total")

    def process(
        self, change: AccountChange
    ) -> Iterator[AccountChange | TaggedOutput[Literal["tombstones"], ScoringResult]]:
        if is_deletion(change):
            self.tombstones.inc()
            yield TaggedOutput(TOMBSTONES, tombstone(change, self.ledger))
        else:
            yield change
