"""The ledger: one outcome for every received (change event, account)."""

import hashlib
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, field

from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from schemas.record import AwareDatetime, Record
from schemas.score import Score


class OutcomeKind(StrEnum):
    """`received`, then one of the others for each delivery; schemas/standing_outcome.py says which of them stands."""

    RECEIVED = "received"
    SCORED = "scored"
    TOMBSTONED = "tombstoned"
    SKIPPED = "skipped"
    COALESCED = "coalesced"
    DEAD_LETTERED = "dead_lettered"
    RESYNC_REQUESTED = "resync_requested"


class SkipReason(StrEnum):
    """Why a change got no new score."""

    IMMATERIAL = "immaterial"
    STALE = "stale"
    ACCOUNT_DELETED = "account_deleted"
    DUPLICATE = "duplicate"
    UNCHANGED_CONTEXT = "unchanged_context"
    OWN_WRITE = "own_write"
    UNSUPPORTED_ENTITY = "unsupported_entity"
    NO_ACCOUNT = "no_account"


class Outcome(Record, frozen=True, kw_only=True):
    """A row of `change_outcomes`."""

    event_id: str
    account_id: Annotated[str | None, Meta(description="NULL if the event names no account")] = None
    outcome: OutcomeKind
    reason: Annotated[SkipReason | None, Meta(description="Of a skipped change")] = None
    error_class: Annotated[ErrorClass | None, Meta(description="Of a dead-lettered change")] = None
    coalesced_into: Annotated[str | None, Meta(description="event_id of the change that it was merged into")] = None
    stage: Annotated[str, Meta(description="The label of the step that decided")]
    entity_name: str | None = None
    record_id: Annotated[str | None, Meta(description="In 18 characters; as sent if it is not a record id")] = None
    change_type: str | None = None
    committed_at: AwareDatetime | None = None
    published_at: Annotated[AwareDatetime | None, Meta(description="When Pub/Sub took the message")] = None
    message_id: str | None = None
    replay_count: Annotated[int, Meta(description="Replays of the message; each has its own outcome")] = 0
    recorded_at: AwareDatetime
    trace_id: str
    pipeline_version: str


def outcome_id(outcome: Outcome) -> str:
    """Return the insert id of a ledger row: the same for a bundle that writes it again.

    A redelivery has the same one, too, but for its `received` row: how often an event was delivered decides how many
    outcomes it may have (schemas/standing_outcome.py).
    """
    parts = (
        outcome.event_id,
        outcome.account_id or "",
        str(outcome.replay_count),
        outcome.outcome.value,
        outcome.reason or outcome.error_class or "",
        outcome.message_id or "",
        *([outcome.recorded_at.isoformat()] if outcome.outcome is OutcomeKind.RECEIVED else []),
    )
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def dead_lettered(dead_letter: DeadLetter) -> Outcome:
    """Return the ledger row of a dead letter."""
    return Outcome(
        event_id=dead_letter.event_id,
        account_id=dead_letter.account_id,
        outcome=OutcomeKind.DEAD_LETTERED,
        error_class=dead_letter.error_class,
        stage=dead_letter.stage,
        entity_name=dead_letter.entity_name,
        record_id=dead_letter.record_id,
        change_type=dead_letter.change_type,
        committed_at=dead_letter.committed_at,
        published_at=dead_letter.source.published_at,
        message_id=dead_letter.source.message_id,
        replay_count=dead_letter.replay_count,
        recorded_at=dead_letter.failed_at,
        trace_id=dead_letter.trace_id,
        pipeline_version=dead_letter.pipeline_version,
    )


class ScoredChange(Record, frozen=True, kw_only=True):
    """A score, and the ledger row of its change."""

    score: Score
    outcome: Outcome
    source: Annotated[SourceMessage, Meta(description="For the dead letter if the row is refused")]


class ScoringResult(Record, frozen=True, kw_only=True):
    """The result of scoring one change: a score or a dead letter."""

    scored: ScoredChange | None = None
    dead_letter: DeadLetter | None = field(name="letter", default=None)
