"""Coalescing: merge the changes of one account that arrive close together, and never let an older one follow.

Pure functions over an account's state: `receive` takes a change in, `end_window` takes the merged change out. State
merges by the maximum of (time, sequence, event id), so the order of arrival does not matter.

Events are told apart by `event_id`. Two with the same id are taken to have the same content: a redelivery and a replay
keep the id and the payload.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from schemas.change_event import ACCOUNT_ENTITY, DELETIONS, AccountChange, ChangeOrder, ChangeType
from schemas.outcome import OutcomeKind, SkipReason
from transforms.coalesce.account_state import AccountState, CoalescingLimits, Delivery, Pending
from transforms.coalesce.burst_size import (
    SMALL_MESSAGE,
    burst_size,
    change_size,
    cut_change,
    cut_records,
    with_cut_flag,
)
from transforms.coalesce.emitted_records import (
    NOTHING_EMITTED,
    EmittedRecords,
    MemoryBounds,
    contradicts_deletion,
    deletes_account,
    first_remembered,
    is_overtaken_deletion,
    is_own,
    known_records,
    newest_account_event,
    remembering,
    what_is_new,
)
from transforms.ledger import Received
from transforms.record_changes import (
    Position,
    RecordChanges,
    newest_first,
    newest_of,
    newest_versions,
    position_of,
)

_LAST_SEQUENCE: Final = 2**63 - 1
_AFTER_ALL_IDS: Final = "~"


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
    """Take a change in: it waits, or is skipped as a duplicate, or because newer emitted events said what it says.

    A replay is not a duplicate of the delivery that failed. Of a late change, what newer events did not say waits.
    Another event with the same commit order as the last emitted change is not older. An older event that deletes or
    restores the account waits, too, unless a newer one of the account itself was emitted.
    """
    pending = state.pending
    twin = pending.delivery_of(change.event_id) if pending else None
    if pending and twin:
        kept, dropped = _with_repeat(pending, change, twin)
        after = state if kept is pending else replace(state, pending=kept)
        return after, (_skipped(dropped, SkipReason.DUPLICATE),)
    if _is_repeated(state, change):
        return state, (_skipped(Received.of(change), SkipReason.DUPLICATE),)
    new = _what_is_new(state, change)
    if new is None:
        return state, (_skipped(Received.of(change), SkipReason.STALE),)
    pending, decisions = _with_change(pending, new, now, limits)
    return replace(state, pending=pending), decisions


def end_window(state: AccountState, limits: CoalescingLimits) -> tuple[AccountState, AccountChange | None, Decisions]:
    """Emit the pending change, if there is one: timers may fire twice, or late.

    If the account was deleted, and no event of the burst is its own, all of them are skipped, but remembered: a late
    UNDELETE tells their values. A replay of one that went on as the deletion is the deletion again.

    At most `max_recent_ids` emitted events are remembered. A repeated event beyond them is stale, not a duplicate, or
    goes on without its values if its record was evicted.
    """
    pending = state.pending
    if pending is None:
        return state, None, ()
    if state.emitted is None and pending.records is None:
        return _first(pending), pending.newest, ()
    before = _emitted_records(state)
    account = pending.account_event()
    ids = {pending.newest.event_id: pending.newest.source.replay_count}
    for other in pending.others:
        ids[other.event_id] = other.replay_count
    recent = (*ids.items(), *(seen for seen in state.recent if seen[0] not in ids))[: limits.max_recent_ids]
    horizon = dt.datetime.fromtimestamp(max(0.0, pending.ends_at - limits.keep_values_seconds), dt.UTC)
    bounds = MemoryBounds(limits.max_records, horizon)
    burst = pending.newest if pending.records is None else pending.records
    said = burst if isinstance(burst, AccountChange) else burst.values()
    change = merged_change(pending)
    if account is None and before.deleted_at:
        if all(event_id not in ids for event_id, _ in state.recent):
            known = remembering(before, said, pending.evicted_through, before.account, bounds)
            skipped = AccountState(emitted=state.emitted, recent=recent, emitted_records=known)
            return skipped, None, _skipped_after_deletion(pending)
        account, change = before.account, _deletion(change)
    records = () if account and account[1] else known_records(before, burst, change.record_id, bounds)
    change = _in_order(replace(change, records=records) if records else change, account, state)
    known = remembering(before, said, pending.evicted_through, newest_account_event(before.account, account), bounds)
    after = AccountState(emitted=change.row_order, recent=recent, emitted_records=known)
    return after, change, _coalesced(pending.others, change) if pending.others else ()


def _first(pending: Pending) -> AccountState:
    """Return the state after an account's first burst of one event, which is what happens most: it must be cheap."""
    change = pending.newest
    return AccountState(
        emitted=(change.committed_at, change.sequence_number),
        recent=((change.event_id, change.source.replay_count),),
        emitted_records=first_remembered(change, is_small=pending.size == 0),
    )


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


def _is_repeated(state: AccountState, change: AccountChange) -> bool:
    for event_id, replay_count in state.recent:
        if event_id == change.event_id:
            return change.source.replay_count <= replay_count
    return False


def _what_is_new(state: AccountState, change: AccountChange) -> AccountChange | None:
    """Return what a change says that newer emitted ones did not; None if that is nothing."""
    if state.emitted is None:
        return change
    emitted = _emitted_records(state)
    if emitted.deleted_at and contradicts_deletion(change, emitted.deleted_at):
        return None
    if change.order >= state.emitted or (emitted.deleted_at and is_own(change)):
        return change
    if deletes_account(change):
        return None if is_overtaken_deletion(change, emitted.account) else change
    if state.emitted_records is None:
        return None
    return what_is_new(emitted, change)


def _emitted_records(state: AccountState) -> EmittedRecords:
    """Return what is remembered; of the state of a release that did not keep it, nothing but the last order."""
    if state.emitted_records is not None:
        return state.emitted_records
    if state.emitted is None:
        return NOTHING_EMITTED
    return EmittedRecords(evicted_through=(*state.emitted, _AFTER_ALL_IDS))


def _in_order(change: AccountChange, account: tuple[Position, bool] | None, state: AccountState) -> AccountChange:
    """Return a change with the order of its row, which is never older than the account's last row.

    A deletion has the order of the event that deletes the account: related records' newer events do not put off a
    later UNDELETE. The row of a late change, and of an account that comes back, follows the last row: its sequence
    number is one higher.
    """
    deletes = account is not None and account[1]
    order = ChangeOrder(*account[0][:2]) if account and deletes else change.order
    if state.emitted is not None:
        is_back = not deletes and state.emitted_records is not None and state.emitted_records.deleted_at is not None
        if order < state.emitted or (is_back and order == state.emitted):
            committed_at, sequence = state.emitted
            order = ChangeOrder(committed_at, min(sequence + 1, _LAST_SEQUENCE))
    return change if order == change.order else replace(change, scored_as_of=order)


def _deletion(change: AccountChange) -> AccountChange:
    """Return the replay of a deletion that a related record's event stood for."""
    gone = replace(_without_fields(change), flags=change.flags)
    return replace(gone, entity_name=ACCOUNT_ENTITY, record_id=change.account_id, change_type=ChangeType.DELETE)


def _skipped_after_deletion(pending: Pending) -> Decisions:
    others = (other.received(pending.newest.account_id) for other in pending.others)
    return tuple(_skipped(it, SkipReason.ACCOUNT_DELETED) for it in (Received.of(pending.newest), *others))


def _with_repeat(pending: Pending, change: AccountChange, twin: Delivery) -> tuple[Pending, Received]:
    """Return the burst with the preferred of two deliveries of one event, and the other delivery."""
    arrived = Delivery.of(change)
    if arrived.preference >= twin.preference:
        return pending, Received.of(change)
    if twin.event_id == pending.newest.event_id:
        newest = replace(pending.newest, source=change.source, trace_id=change.trace_id)
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
    if pending is None and len(change.source.payload) <= SMALL_MESSAGE:
        return Pending(newest=change, opened_at=now, ends_at=ends_at), ()
    size = change_size(change)
    if size > limits.max_size:
        change = cut_change(change, limits.max_size // 2)
        size = change_size(change)
    if pending is None:
        return Pending(newest=change, size=size, opened_at=now, ends_at=ends_at), ()
    size += pending.size or change_size(pending.newest)
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
        size=size,
        flags=tuple(sorted({*pending.flags, *change.flags})) if change.flags else pending.flags,
        **_with_record(pending, records, said, limits.max_records),
    )
    return _within_size(grown, limits.max_size), _coalesced(leaving, newest)


def _within_size(pending: Pending, most: int) -> Pending:
    """Return a burst without what is too much; `size` counts a field for each event, so it may be too high."""
    if pending.size <= most:
        return pending
    records, evicted = pending.records or {}, pending.evicted_fields
    size = burst_size(records, evicted)
    if size <= most:
        return replace(pending, size=size)
    records, evicted = cut_records(records, evicted, most // 2)
    flags = with_cut_flag(pending.flags)
    return replace(pending, records=records, evicted_fields=evicted, flags=flags, size=burst_size(records, evicted))


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
