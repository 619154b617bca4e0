"""Coalescing: the changes of one account that arrive close together become one, and an older one never follows it.

Pure: `receive` takes a change into an account's state, `end_window` takes the merged change out of it. What the order
of arrival must not decide is kept as maxima over ranks; they are the same however the events came.

Events are told apart by `event_id`, and two with the same id are taken to say the same: the id is kept by a redelivery
and by a replay, whose payload is the original one.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import AwareDatetime, Field

from schemas.change_event import AccountChange, ChangeType, SourceMessage, by_name
from schemas.outcome import OutcomeKind, SkipReason
from schemas.record import Record, replaced, trusted
from transforms.coalesce.record_changes import (
    DELETIONS,
    Mention,
    Rank,
    RecordChanges,
    newest_first,
    newest_mentions,
    newest_of,
    rank_of,
)
from transforms.ledger import Received

_FEWEST_RECORDS: Final = 2
_FEWEST_IN_ORDER: Final = 2


@dataclass(frozen=True)
class CoalescingLimits:
    """How long changes are waited for, and how much is kept of one account.

    `max_records` bounds the records whose field values a burst keeps (a mass update can touch thousands of contacts);
    values of the others are unknown, which is always safe: the context is read from the warehouse.
    `gap_delay_seconds` is how long a burst with a gap waits at least: the gap says what changed to nobody, and the
    warehouse's mirror needs that time to catch up.
    """

    window_seconds: float = 20.0
    max_window_seconds: float = 120.0
    max_recent_ids: int = 64
    max_pending: int = 200
    max_records: int = 16
    gap_delay_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.window_seconds <= self.max_window_seconds:
            raise ValueError("0 <= window_seconds <= max_window_seconds is wanted")
        if self.gap_delay_seconds < 0:
            raise ValueError("gap_delay_seconds of 0 or more is wanted")
        if min(self.max_recent_ids, self.max_pending) < 1 or self.max_records < _FEWEST_RECORDS:
            raise ValueError("at least 1 recent id, 1 pending event and 2 records must be kept")


class Delivery(Record):
    """What the ledger needs to know of an event that waits: small, whatever the size of its payload."""

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
        """Return the facts of a change."""
        return _delivery(
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
    def rank(self) -> Rank:
        """Position among the account's events."""
        return (self.committed_at, self.sequence_number, self.event_id)

    @property
    def preference(self) -> tuple[int, bool, dt.datetime, str]:
        """Least for the delivery to keep of several of one event: the latest replay, else the first published."""
        published = self.published_at or self.committed_at
        return (-self.replay_count, self.published_at is None, published, self.message_id)

    def received(self, account_id: str) -> Received:
        """Return the pair for the ledger, which asks a source for all but its payload."""
        return Received(
            event_id=self.event_id,
            source=_source_message(
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


class Pending(Record):
    """The burst that is being waited for. Of the newest event the message is kept, of the others what the ledger needs.

    Most bursts are of one event: its fields are its own, and `records` is None until another comes. `elsewhere` and
    `forgotten` stand for records beyond `max_records`: the names of their changed fields, and the newest event whose
    values were given up, before which no value of a record that comes back is believed.
    """

    newest: AccountChange = Field(description="Its fields are kept in `records`, once there are any")
    others: tuple[Delivery, ...] = Field(default=(), description="Newest first")
    records: dict[str, RecordChanges] | None = None
    elsewhere: dict[str, Mention] = Field(default_factory=dict)
    forgotten: Rank | None = None
    opened_at: float = Field(description="Epoch seconds")
    ends_at: float = Field(description="Epoch seconds")

    def delivery_of(self, event_id: str) -> Delivery | None:
        """Return the delivery by which an event waits, if it does."""
        if event_id == self.newest.event_id:
            return Delivery.of(self.newest)
        return next((other for other in self.others if other.event_id == event_id), None)


_delivery: Final = trusted(Delivery)
_pending: Final = trusted(Pending)
_source_message: Final = trusted(SourceMessage)


class AccountState(Record):
    """What is remembered of an account; equal states have equal JSON."""

    emitted: tuple[AwareDatetime, int] | None = Field(default=None, description="Order of the last change emitted")
    recent: tuple[tuple[str, int], ...] = Field(
        default=(), description="Events that went on or into one that did, newest first, and their replay counts"
    )
    pending: Pending | None = None

    def is_due(self, now: float) -> bool:
        """Whether the burst that is pending has been waited for long enough."""
        return self.pending is not None and self.pending.ends_at <= now


_account_state: Final = trusted(AccountState)
NEW_ACCOUNT: Final = AccountState()
"""What is remembered of an account before its first change, and after its state has expired."""


@dataclass(frozen=True)
class Decision:
    """The outcome of a delivery that does not go on itself."""

    received: Received
    outcome: OutcomeKind
    reason: SkipReason | None = None
    coalesced_into: str | None = None


Decisions = tuple[Decision, ...]


def receive(
    state: AccountState, change: AccountChange, now: float, limits: CoalescingLimits
) -> tuple[AccountState, Decisions]:
    """Take a change in: it waits, or is refused as a duplicate or as older than what was emitted.

    A replay is no duplicate of what an operator replays it for: it may go on again unless a newer change did
    meanwhile. A different event of the same order as the last one emitted is not older than that, and waits.
    """
    pending = state.pending
    twin = pending.delivery_of(change.event_id) if pending else None
    if pending and twin:
        kept, unwanted = _with_repeat(pending, change, twin)
        after = state if kept is pending else replaced(state, pending=kept)
        return after, (_skipped(unwanted, SkipReason.DUPLICATE),)
    reason = _refusal(state, change)
    if reason:
        return state, (_skipped(Received.of(change), reason),)
    pending, decisions = _with_change(pending, change, now, limits)
    return replaced(state, pending=pending), decisions


def end_window(state: AccountState, limits: CoalescingLimits) -> tuple[AccountState, AccountChange | None, Decisions]:
    """Emit what is pending, if anything: timers may fire twice, or late.

    At most `max_recent_ids` of the emitted events are remembered; a repeated one beyond them is stale, not duplicate.
    """
    pending = state.pending
    if pending is None:
        return state, None, ()
    change = merged_change(pending)
    gone_on = {change.event_id: change.source.replay_count}
    for other in pending.others:
        gone_on[other.event_id] = other.replay_count
    recent = (*gone_on.items(), *(seen for seen in state.recent if seen[0] not in gone_on))
    emitted = _account_state(emitted=change.order, recent=recent[: limits.max_recent_ids])
    return emitted, change, _coalesced(pending.others, change) if pending.others else ()


def merged_change(pending: Pending) -> AccountChange:
    """Return the change that stands for all that is pending: identity, order and message are the newest event's.

    So are entity, record, change type and values. The fields that changed in other records are named with their
    entity ("Opportunity.Name"), newest first like all; their values stay out: they are no values of this record.

    Two things that the account's own events say are not hidden by newer events of related records. If the newest of
    them deletes the account, the change is that deletion: in a cascade, its records have newer events. (An UPDATE
    newer than a DELETE means that the account was restored, and that the event which said so is late or was lost.) And
    if they have a gap, the change is that gap, with the values that are known since: the record must be read again.
    """
    newest = pending.newest
    if pending.records is None:
        return newest
    account = pending.records.get(newest.account_id)
    shown, change_type = pending.records[newest.record_id], newest.change_type
    if account and (account.standing() in DELETIONS or account.standing().is_gap):
        shown, change_type = account, account.standing()
    mentions = pending.elsewhere
    for record in pending.records.values():
        mentions = newest_mentions(mentions, record.changed if record is shown else record.named_with_entity())
    return replaced(
        newest,
        entity_name=shown.entity_name,
        record_id=shown.record_id,
        change_type=change_type,
        changed_fields=newest_first(mentions),
        coalesced=tuple(other.event_id for other in pending.others),
        **shown.fields(),
    )


def _refusal(state: AccountState, change: AccountChange) -> SkipReason | None:
    for event_id, replay_count in state.recent:
        if event_id == change.event_id and change.source.replay_count <= replay_count:
            return SkipReason.DUPLICATE
    if state.emitted is not None and change.order < state.emitted:
        return SkipReason.STALE
    return None


def _with_repeat(pending: Pending, change: AccountChange, twin: Delivery) -> tuple[Pending, Received]:
    """Return what is pending with the better of two deliveries of one event, and the other delivery."""
    arrived = Delivery.of(change)
    if arrived.preference >= twin.preference:
        return pending, Received.of(change)
    if twin.event_id == pending.newest.event_id:
        newest = _in_order(change) if pending.records is None else _without_fields(change)
        return replaced(pending, newest=newest), twin.received(change.account_id)
    others = tuple(arrived if other is twin else other for other in pending.others)
    return replaced(pending, others=others), twin.received(change.account_id)


def _with_change(
    pending: Pending | None, change: AccountChange, now: float, limits: CoalescingLimits
) -> tuple[Pending, Decisions]:
    """Return what is pending with one event more, and the outcome of the oldest if they become too many.

    What leaves is coalesced into the newest event so far, which may itself be coalesced into a newer one in the end.
    """
    waits = max(limits.window_seconds, limits.gap_delay_seconds if change.change_type.is_gap else 0.0)
    ends_at = now + waits
    if pending is None:
        return _pending(newest=_in_order(change), elsewhere={}, opened_at=now, ends_at=ends_at), ()
    said, bare, records = RecordChanges.of(change), _without_fields(change), pending.records
    if records is None:
        first = RecordChanges.of(pending.newest)
        records = {first.record_id: first}
        pending = replaced(pending, newest=_without_fields(pending.newest), records=records)
    newest, older = (bare, pending.newest) if said.newest > rank_of(pending.newest) else (pending.newest, bare)
    others = sorted((*pending.others, Delivery.of(older)), key=lambda other: other.rank, reverse=True)
    kept, leaving = others[: limits.max_pending - 1], others[limits.max_pending - 1 :]
    latest = max(pending.opened_at + limits.max_window_seconds, now + waits if change.change_type.is_gap else 0.0)
    grown = replaced(
        pending,
        newest=newest,
        others=tuple(kept),
        ends_at=min(max(pending.ends_at, ends_at), latest),
        **_with_record(pending, records, said, limits.max_records),
    )
    return grown, _coalesced(leaving, newest)


def _with_record(
    pending: Pending, records: dict[str, RecordChanges], said: RecordChanges, max_records: int
) -> dict[str, object]:
    """Return the parts of Pending that tell of records; the account's own and the newest are never given up."""
    before = records.get(said.record_id)
    if before is None and said.record_id != pending.newest.account_id:
        said = replaced(said, known_since=newest_of(said.known_since, pending.forgotten))
    records = records | {said.record_id: before.joined(said) if before else said}
    if len(records) <= max_records:
        return {"records": by_name(records)}
    related = (record for record in records.values() if record.record_id != pending.newest.account_id)
    oldest = records.pop(min(related, key=lambda record: record.newest).record_id)
    return {
        "records": by_name(records),
        "elsewhere": newest_mentions(pending.elsewhere, oldest.named_with_entity()),
        "forgotten": newest_of(pending.forgotten, oldest.newest),
    }


def _in_order(change: AccountChange) -> AccountChange:
    """Return the change with its message's attributes by name: their order is that of a protobuf map, none."""
    attributes = change.source.attributes
    if len(attributes) < _FEWEST_IN_ORDER:
        return change
    return replaced(change, source=replaced(change.source, attributes=by_name(attributes)))


def _without_fields(change: AccountChange) -> AccountChange:
    return replaced(_in_order(change), changed_fields=(), nulled_fields=(), values={}, enriched={})


def _skipped(received: Received, reason: SkipReason) -> Decision:
    return Decision(received, OutcomeKind.SKIPPED, reason=reason)


def _coalesced(deliveries: Iterable[Delivery], into: AccountChange) -> Decisions:
    return tuple(
        Decision(delivery.received(into.account_id), OutcomeKind.COALESCED, coalesced_into=into.event_id)
        for delivery in deliveries
    )
