"""Tombstone deleted accounts: an account's DELETE becomes a row that hides its score; Gemini is not called."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from schemas.change_event import ACCOUNT_ENTITY, DELETIONS, AccountChange
from schemas.outcome import OutcomeKind, ScoredChange, ScoringResult
from schemas.score import Score, ScoreStatus, score_id
from transforms.ledger import Ledger, Received

STAGE: Final = "Tombstone deleted accounts"
CHANGES: Final = "changes"
TOMBSTONES: Final = "tombstones"


def is_deletion(change: AccountChange) -> bool:
    """Return whether the account itself was deleted; a deleted related record only changes its account."""
    return change.entity_name == ACCOUNT_ENTITY and change.change_type in DELETIONS


def tombstone(change: AccountChange, ledger: Ledger) -> ScoringResult:
    """Return the tombstone of a deleted account; an UNDELETE that is later in commit order revives the account."""
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
    """Separate deletions from changes.

    Input: AccountChange. Outputs: AccountChange that needs a score (main), ScoringResult with a tombstone
    (`tombstones`).
    """

    pipeline_version: str

    def expand(self, changes: beam.PCollection[AccountChange]) -> Any:
        """Apply to a PCollection."""
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
