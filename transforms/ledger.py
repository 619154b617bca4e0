"""Make ledger rows and dead letters: which stage decided, about which change, in which pipeline version."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.change_event import AccountChange, RecordChange, SourceMessage
from schemas.clock import Clock, utc_now
from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome, OutcomeKind, SkipReason
from transforms.errors import RescoringError


class Received(NamedTuple):
    """A (change event, account) pair as the ledger knows it; most fields are None if the message can't be read."""

    event_id: str
    source: SourceMessage
    trace_id: str
    account_id: str | None = None
    entity_name: str | None = None
    record_id: str | None = None
    change_type: str | None = None
    committed_at: dt.datetime | None = None

    @classmethod
    def of(cls, change: RecordChange) -> "Received":
        """Return the pair of a change; an unnamed change has no account."""
        return cls(
            event_id=change.event_id,
            source=change.source,
            trace_id=change.trace_id,
            account_id=change.account_id if isinstance(change, AccountChange) else None,
            entity_name=change.entity_name,
            record_id=change.record_id,
            change_type=change.change_type.value,
            committed_at=change.committed_at,
        )


_EARLIEST: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
"""Nothing failed before this pipeline existed."""


@dataclass(frozen=True)
class Ledger:
    """Makes the outcomes and dead letters of one stage."""

    stage: str
    pipeline_version: str
    now: Clock = utc_now

    def outcome(
        self,
        received: Received,
        outcome: OutcomeKind,
        *,
        reason: SkipReason | None = None,
        coalesced_into: str | None = None,
    ) -> Outcome:
        """Return the ledger row of a (change event, account) pair."""
        return Outcome(
            event_id=received.event_id,
            account_id=received.account_id,
            outcome=outcome,
            reason=reason,
            coalesced_into=coalesced_into,
            stage=self.stage,
            entity_name=received.entity_name,
            record_id=received.record_id,
            change_type=received.change_type,
            committed_at=received.committed_at,
            published_at=received.source.published_at,
            message_id=received.source.message_id,
            replay_count=received.source.replay_count,
            recorded_at=self.now(),
            trace_id=received.trace_id,
            pipeline_version=self.pipeline_version,
        )

    def dead_letter(
        self, received: Received, error: RescoringError, *, prompt_version: str | None = None
    ) -> DeadLetter:
        """Return the dead letter of a failed item; the message's attributes say when it first failed."""
        now = self.now()
        return DeadLetter(
            error_class=error.error_class,
            stage=self.stage,
            error_message=str(error),
            event_id=received.event_id,
            account_id=received.account_id,
            entity_name=received.entity_name,
            record_id=received.record_id,
            change_type=received.change_type,
            committed_at=received.committed_at,
            source=received.source,
            replay_count=received.source.replay_count,
            first_failed_at=first_failed_at(received.source.attributes, now) or now,
            failed_at=now,
            pipeline_version=self.pipeline_version,
            prompt_version=prompt_version,
            trace_id=received.trace_id,
        )


def first_failed_at(attributes: Mapping[str, str], now: dt.datetime) -> dt.datetime | None:
    """Return the time of the attribute in UTC, to the microsecond; None if no failure of ours can have had it.

    Any publisher can set any attribute: offsets with seconds, which records don't hold, and times out of range.
    """
    try:
        time = dt.datetime.fromisoformat(attributes["first_failed_at"])
        utc = time.astimezone(dt.UTC) if time.tzinfo else None
    except (KeyError, ValueError, OverflowError):
        return None
    return utc if utc and _EARLIEST <= utc <= now else None
