"""Coalescing: merge the changes of one account that arrive close together, and never let an older one follow.

Pure functions over an account's state: `receive` takes a change in, `end_window` takes the merged change out. State
merges by the maximum of (time, sequence, event id), so the order of arrival does not matter.

Events are told apart by `event_id`. Two with the same id are taken to have the same content: a redelivery and a replay
keep the id and the payload.

Attributes are named for readers; their names in the state's JSON are older (`field(name=...)`) and stay, since state
outlives a release.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta, field
from msgspec.structs import replace

from schemas.change_event import DELETIONS, AccountChange, ChangeType, SourceMessage
from schemas.outcome import OutcomeKind, SkipReason
from schemas.record import AwareDatetime, Record
from transforms.ledger import Received
from transforms.record_changes import (
    FieldVersion,
    Position,
    RecordChanges,
    newest_first,
    newest_of,
    newest_versions,
    position_of,
)

_MIN_RECORDS: Final = 2


@dataclass(frozen=True)
class CoalescingLimits:
    """How long a burst waits, and how much is kept of one account.

    `max_records` bounds the records whose field values a burst keeps (a mass update can touch thousands of contacts).
    Values of further records are unknown, which is safe: the context is read from the mirror. A burst with a gap event
    waits at least `gap_delay_seconds`, so that the mirror catches up with what the gap event does not say.
    """

    window_seconds: float = 20.0
    max_window_seconds: float = 120.0
    max_recent_ids: int = 64
    max_pending: int = 200
    max_records: int = 16
    gap_delay_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.window_seconds <= self.max_window_seconds:
            raise ValueError("expected 0 <= window_seconds <= max_window_seconds")
        if self.gap_delay_seconds < 0:
            raise ValueError("expected gap_delay_seconds >= 0")
        if min(self.max_recent_ids, self.max_pending) < 1 or self.max_records < _MIN_RECORDS:
            raise ValueError("expected max_recent_ids >= 1, max_pending >= 1 and max_records >= 2")


class Delivery(Record, frozen=True, kw_only=True):
    """What the ledger needs of a waiting event; its size does not depend on the payload."""

    event_id: str
    committed_at: AwareDatetime
    sequence_number: int
    entity_name: str
    record_id: str
    change_type: ChangeType
    trace_id: str
    message_id: str
    published_at: AwareDatetime | None
    replay_count: int

    @classmethod
    def of(cls, change: AccountChange) -> "Delivery":
        """Return the delivery of a change."""
        return Delivery(
            event_id=change.event_id,
            committed_at=change.committed_at,
            sequence_number=change.sequence_number,
            entity_name=change.entity_name,
            record_id=change.record_id,
            change_type=change.change_type,
            trace_id=change.trace_id,
            message_id=change.source.message_id,
            published_at=change.source.published_at,
            replay_count=change.source.replay_count,
        )

    @property
    def position(self) -> Position:
        """Position among the account's events."""
        return (self.committed_at, self.sequence_number, self.event_id)

    @property
    def preference(self) -> tuple[int, bool, dt.datetime, str]:
        """Sort key of an event's deliveries; the smallest is kept: the latest replay, else the first published."""
        published = self.published_at or self.committed_at
        return (-self.replay_count, self.published_at is None, published, self.message_id)

    def received(self, account_id: str) -> Received:
        """Return the (event, account) pair for the ledger, which needs no payload."""
        return Received(
            event_id=self.event_id,
            source=SourceMessage(
                payload=b"",
                attributes={"replay_count": str(self.replay_count)},
                message_id=self.message_id,
                published_at=self.published_at,
            ),
            trace_id=self.trace_id,
            account_id=account_id,
            entity_name=self.entity_name,
            record_id=self.record_id,
            change_type=self.change_type.value,
            committed_at=self.committed_at,
        )


class Pending(Record, frozen=True, kw_only=True):
    """The burst that waits: the newest event with its message, and of the others what the ledger needs.

    Most bursts have one event; then `records` is None and the fields are the event's. Records beyond `max_records` are
    evicted: `evicted_fields` keeps the names of their changed fields, `evicted_through` the newest evicted event. When
    an evicted record returns, its values from before that event are unknown.
    """

    newest: Annotated[AccountChange, Meta(description="Its fields move to `records` when a second event arrives")]
    others: Annotated[tuple[Delivery, ...], Meta(description="Newest first")] = ()
    records: dict[str, RecordChanges] | None = None
    evicted_fields: dict[str, FieldVersion] = field(name="elsewhere", default_factory=dict)
    evicted_through: Position | None = field(name="forgotten", default=None)
    flags: Annotated[tuple[str, ...], Meta(description="Of all events, sorted; of one event, it has them")] = ()
    opened_at: Annotated[float, Meta(description="Epoch seconds")]
    ends_at: Annotated[float, Meta(description="Epoch seconds")]

    def delivery_of(self, event_id: str) -> Delivery | None:
        """Return the delivery of a waiting event; None if the event does not wait."""
        if event_id == self.newest.event_id:
            return Delivery.of(self.newest)
        return next((other for other in self.others if other.event_id == event_id), None)


class AccountState(Record, frozen=True, kw_only=True):
    """The state of an account; equal states have equal JSON."""

    emitted: Annotated[tuple[AwareDatetime, int] | None, Meta(description="Order of the last change emitted")] = None
    recent: Annotated[
        tuple[tuple[str, int], ...],
        Meta(description="Events that went on or into one that did, newest first, and their replay counts"),
    ] = ()
    pending: Pending | None = None

    def is_due(self, now: float) -> bool:
        """Whether the pending burst has waited long enough."""
        return self.pending is not None and self.pending.ends_at <= now


NEW_ACCOUNT: Final = AccountState()
"""The state before an account's first change, and after its state has expired."""


@dataclass(frozen=True)
class Decision:
    """The outcome of a delivery that ends here."""

    received: Received
    outcome: OutcomeKind
    reason: SkipReason | None = None
    coalesced_into: str | None = None


Decisions = tuple[Decision, ...]


def receive(
    state: AccountState, change: AccountChange, now: float, limits: CoalescingLimits
) -> tuple[AccountState, Decisions]:
    """Take a change in: it waits, or is skipped as a duplicate or as older than the last emitted change.

    A replay is not a duplicate of the delivery that failed: it goes on unless a newer change was emitted meanwhile.
    Another event with the same commit order as the last emitted change is not older, and waits.
    """
    pending = state.pending
    twin = pending.delivery_of(change.event_id) if pending else None
    if pending and twin:
        kept, dropped = _with_repeat(pending, change, twin)
        after = state if kept is pending else replace(state, pending=kept)
        return after, (_skipped(dropped, SkipReason.DUPLICATE),)
    reason = _refusal(state, change)
    if reason:
        return state, (_skipped(Received.of(change), reason),)
    pending, decisions = _with_change(pending, change, now, limits)
    return replace(state, pending=pending), decisions


def end_window(state: AccountState, limits: CoalescingLimits) -> tuple[AccountState, AccountChange | None, Decisions]:
    """Emit the pending change, if there is one: timers may fire twice, or late.

    At most `max_recent_ids` emitted events are remembered; a repeated event beyond them is stale, not a duplicate.
    """
    pending = state.pending
    if pending is None:
        return state, None, ()
    change = merged_change(pending)
    emitted_ids = {change.event_id: change.source.replay_count}
    for other in pending.others:
        emitted_ids[other.event_id] = other.replay_count
    recent = (*emitted_ids.items(), *(seen for seen in state.recent if seen[0] not in emitted_ids))
    after = AccountState(emitted=change.order, recent=recent[: limits.max_recent_ids])
    return after, change, _coalesced(pending.others, change) if pending.others else ()


def merged_change(pending: Pending) -> AccountChange:
    """Return the change that stands for the burst; event id, order, message and record are the newest event's.

    Fields that changed in other records are named with their entity ("Opportunity.Name"), newest first; their values
    are left out, because they are not values of this record.

    Newer events of related records do not hide two things that the account's own events say. If the account's newest
    event deletes it, the change is that deletion: in a cascading delete, related records have newer events. (An UPDATE
    after a DELETE means that the account was restored, and that the UNDELETE is late or lost.) If the account's events
    have a gap, the change is that gap event, with the values known since: the record must be read again.
    """
    newest = pending.newest
    if pending.records is None:
        return newest
    account = pending.records.get(newest.account_id)
    shown, change_type = pending.records[newest.record_id], newest.change_type
    if account:
        effective = account.effective_change_type()
        if effective in DELETIONS or effective.is_gap:
            shown, change_type = account, effective
    versions = pending.evicted_fields
    for record in pending.records.values():
        versions = newest_versions(versions, record.changed if record is shown else record.qualified_versions())
    return replace(
        newest,
        entity_name=shown.entity_name,
        record_id=shown.record_id,
        change_type=change_type,
        changed_fields=newest_first(versions),
        coalesced=tuple(other.event_id for other in pending.others),
        flags=pending.flags,
        **shown.change_fields(),
    )


def _refusal(state: AccountState, change: AccountChange) -> SkipReason | None:
    for event_id, replay_count in state.recent:
        if event_id == change.event_id and change.source.replay_count <= replay_count:
            return SkipReason.DUPLICATE
    if state.emitted is not None and change.order < state.emitted:
        return SkipReason.STALE
    return None


def _with_repeat(pending: Pending, change: AccountChange, twin: Delivery) -> tuple[Pending, Received]:
    """Return the burst with the preferred of two deliveries of one event, and the other delivery."""
    arrived = Delivery.of(change)
    if arrived.preference >= twin.preference:
        return pending, Received.of(change)
    if twin.event_id == pending.newest.event_id:
        newest = change if pending.records is None else _without_fields(change)
        return replace(pending, newest=newest), twin.received(change.account_id)
    others = tuple(arrived if other is twin else other for other in pending.others)
    return replace(pending, others=others), twin.received(change.account_id)


def _with_change(
    pending: Pending | None, change: AccountChange, now: float, limits: CoalescingLimits
) -> tuple[Pending, Decisions]:
    """Return the burst with one more event, and the outcomes of the oldest events beyond `max_pending`.

    Those are coalesced into the newest event so far, which may itself be coalesced into a newer one later.
    """
    waits = max(limits.window_seconds, limits.gap_delay_seconds if change.change_type.is_gap else 0.0)
    ends_at = now + waits
    if pending is None:
        return Pending(newest=change, opened_at=now, ends_at=ends_at), ()
    said, bare, records = RecordChanges.of(change), _without_fields(change), pending.records
    if records is None:
        first = RecordChanges.of(pending.newest)
        records = {first.record_id: first}
        pending = replace(pending, newest=_without_fields(pending.newest), records=records, flags=pending.newest.flags)
    newest, older = (bare, pending.newest) if said.newest > position_of(pending.newest) else (pending.newest, bare)
    others = sorted((*pending.others, Delivery.of(older)), key=lambda other: other.position, reverse=True)
    kept, leaving = others[: limits.max_pending - 1], others[limits.max_pending - 1 :]
    latest = max(pending.opened_at + limits.max_window_seconds, now + waits if change.change_type.is_gap else 0.0)
    grown = replace(
        pending,
        newest=newest,
        others=tuple(kept),
        ends_at=min(max(pending.ends_at, ends_at), latest),
        flags=tuple(sorted({*pending.flags, *change.flags})) if change.flags else pending.flags,
        **_with_record(pending, records, said, limits.max_records),
    )
    return grown, _coalesced(leaving, newest)


def _with_record(
    pending: Pending, records: dict[str, RecordChanges], said: RecordChanges, max_records: int
) -> dict[str, object]:
    """Return the record fields of Pending; the account's own record and the newest one are never evicted."""
    before = records.get(said.record_id)
    if before is None and said.record_id != pending.newest.account_id:
        said = replace(said, known_since=newest_of(said.known_since, pending.evicted_through))
    records = records | {said.record_id: before.merged(said) if before else said}
    if len(records) <= max_records:
        return {"records": records}
    related = (record for record in records.values() if record.record_id != pending.newest.account_id)
    oldest = records.pop(min(related, key=lambda record: record.newest).record_id)
    return {
        "records": records,
        "evicted_fields": newest_versions(pending.evicted_fields, oldest.qualified_versions()),
        "evicted_through": newest_of(pending.evicted_through, oldest.newest),
    }


def _without_fields(change: AccountChange) -> AccountChange:
    return replace(change, changed_fields=(), nulled_fields=(), values={}, enriched={}, flags=())


def _skipped(received: Received, reason: SkipReason) -> Decision:
    return Decision(received, OutcomeKind.SKIPPED, reason=reason)


def _coalesced(deliveries: Iterable[Delivery], into: AccountChange) -> Decisions:
    return tuple(
        Decision(delivery.received(into.account_id), OutcomeKind.COALESCED, coalesced_into=into.event_id)
        for delivery in deliveries
    )
