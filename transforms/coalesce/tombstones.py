"""Tombstones: which changes delete an account, and the row that hides its score."""

from schemas.change_event import ACCOUNT_ENTITY, DELETIONS, AccountChange
from schemas.outcome import OutcomeKind, ScoredChange, ScoringResult
from schemas.score import Score, ScoreStatus, score_id
from transforms.ledger import Ledger, Received


def is_deletion(change: AccountChange) -> bool:
    """Return whether the account itself was deleted; a deleted related record only changes its account."""
    return change.entity_name == ACCOUNT_ENTITY and change.change_type in DELETIONS


def tombstone(change: AccountChange, ledger: Ledger) -> ScoringResult:
    """Return the tombstone of a deleted account; a later event of the account itself revives it."""
    row = Score(
        account_id=change.account_id,
        score_id=score_id(change.account_id, change.event_id, "", ""),
        event_ids=(change.event_id, *change.coalesced),
        change_committed_at=change.row_order.committed_at,
        change_sequence=change.row_order.sequence_number,
        scored_at=ledger.now(),
        status=ScoreStatus.TOMBSTONE,
        changed_fields=change.changed_fields,
        flags=change.flags,
        trace_id=change.trace_id,
        pipeline_version=ledger.pipeline_version,
    )
    outcome = ledger.outcome(Received.of(change), OutcomeKind.TOMBSTONED)
    return ScoringResult(scored=ScoredChange(score=row, outcome=outcome, source=change.source))
