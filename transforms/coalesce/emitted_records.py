"""What the emitted changes of an account said: it decides about changes that come later.

A change that is older than the last emitted one is late. It is stale if newer events of its record said all that it
says; otherwise it goes on, with what they did not say. What was evicted may have said more: a change that an evicted
event may have overtaken goes on without its values, so that no older value replaces a newer one.

An account that was deleted stays so until an event of its own says that it exists; related records' events, such as
those of a cascading delete, say nothing about it.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta, field
from msgspec.structs import replace

from schemas.change_event import DELETIONS, WHOLE_RECORDS, AccountChange, ChangeType, RecordValues
from schemas.field_values import context_fields
from schemas.record import Record
from transforms.coalesce.burst_size import with_cut_flag
from transforms.record_changes import (
    Position,
    RecordChanges,
    compound,
    for_contexts,
    newest_of,
    only,
    position_of,
    told_values,
)

MAX_NAMES: Final = 200
MAX_NAMES_LENGTH: Final = 8_000
"""Of the changed fields that are remembered of a record. If it has more, any older change of it is stale."""


class MemoryBounds(NamedTuple):
    """Of how many records something is kept, and the time before which values are in the mirror, and are dropped."""

    max_records: int
    horizon: dt.datetime


class EmittedRecords(Record, frozen=True, kw_only=True):
    """What is remembered of the changes that were emitted."""

    account: Annotated[
        tuple[Position, bool] | None, Meta(description="The newest event of the account itself; whether it deleted it")
    ] = None
    last: Annotated[
        RecordValues | None, Meta(description="The last event if it was emitted alone; not yet in `records`")
    ] = None
    records: Annotated[dict[str, RecordChanges], Meta(description="The newest, by record id")] = field(
        default_factory=dict
    )
    evicted_through: Annotated[Position | None, Meta(description="The newest event that is not remembered")] = None

    @property
    def deleted_at(self) -> Position | None:
        """The event that deleted the account; None if the account exists."""
        return self.account[0] if self.account and self.account[1] else None

    def is_newer_than(self, time: dt.datetime) -> bool:
        """Return whether anything that is remembered is not older than a time."""
        if self.last is not None and self.last.committed_at >= time:
            return True
        return any(record.newest[0] >= time for record in self.records.values())

    def all_records(self, horizon: dt.datetime | None = None) -> dict[str, RecordChanges]:
        """Return what is remembered, by record id; if the last event is older than the horizon, without its values."""
        last = self.last
        if last is None:
            return self.records
        if horizon is not None and last.committed_at < horizon:
            last = replace(last, values={}, enriched={}, nulled_fields=())
        return merged_records(self.records, [RecordChanges.of(last)])


NOTHING_EMITTED: Final = EmittedRecords()


def first_remembered(change: AccountChange, *, is_small: bool) -> EmittedRecords:
    """Return what is remembered after an account's first event."""
    if len(change.changed_fields) > MAX_NAMES:
        return remembering(NOTHING_EMITTED, change, None, account_event(change), MemoryBounds(1, change.committed_at))
    last = _values_of_event(change, is_small=is_small)
    if change.record_id == change.account_id:
        return EmittedRecords(account=account_event(change), last=last)
    return EmittedRecords(last=last)


def account_event(change: AccountChange) -> tuple[Position, bool] | None:
    """Return an event of the account itself, and whether it deletes the account; None if it is of a related record."""
    return (position_of(change), change.change_type in DELETIONS) if is_own(change) else None


def newest_account_event(
    before: tuple[Position, bool] | None, emitted: tuple[Position, bool] | None
) -> tuple[Position, bool] | None:
    """Return the newest event of the account itself; a late one that was emitted is not. Of equal orders, the later."""
    if before and emitted and before[0][:2] > emitted[0][:2]:
        return before
    return emitted or before


def remembering(
    before: EmittedRecords,
    burst: AccountChange | Iterable[RecordChanges],
    evicted_through: Position | None,
    account: tuple[Position, bool] | None,
    bounds: MemoryBounds,
) -> EmittedRecords:
    """Return what is remembered after another burst: one event, or what several said of their records.

    `evicted_through` is the burst's newest event that its limits evicted. Beyond the bound of records, those with the
    oldest events are evicted.
    """
    records = {
        record_id: _recent(record, bounds.horizon) for record_id, record in before.all_records(bounds.horizon).items()
    }
    evicted_through = newest_of(before.evicted_through, evicted_through)
    last = None
    if not isinstance(burst, AccountChange):
        records = merged_records(records, map(for_contexts, burst))
    elif len(burst.changed_fields) <= MAX_NAMES:
        last = _values_of_event(burst)
    else:
        records = merged_records(records, [for_contexts(RecordChanges.of(burst))])
    if len(records) > bounds.max_records:
        by_age = sorted(records.values(), key=lambda record: record.newest, reverse=True)
        records = {record.record_id: record for record in by_age[: bounds.max_records]}
        evicted_through = newest_of(evicted_through, by_age[bounds.max_records].newest)
    return EmittedRecords(account=account, last=last, records=records, evicted_through=evicted_through)


def known_records(
    before: EmittedRecords,
    burst: AccountChange | Mapping[str, RecordChanges],
    shown_id: str,
    bounds: MemoryBounds,
) -> tuple[RecordValues, ...]:
    """Return what the burst, and changes that were emitted after the horizon, say of the records of a context.

    The record with `shown_id`, whose values the merged change has, is among them if more is known of it than these.
    Beyond the bound of records, those with the oldest events are left out.
    """
    horizon = bounds.horizon
    known: dict[str, RecordChanges] = {}
    if before.is_newer_than(horizon):
        recent = (_recent(record, horizon) for record in before.all_records().values())
        known = {record.record_id: record for record in recent if _is_telling(record, horizon)}
    if isinstance(burst, AccountChange):
        if not known:
            return ()
        burst = {burst.record_id: RecordChanges.of(burst)}
    records: dict[str, RecordChanges] = {}
    for record_id in known.keys() | burst.keys():
        earlier, now = known.get(record_id), burst.get(record_id)
        if earlier:
            records[record_id] = earlier.merged(now) if now else earlier
        elif now and record_id != shown_id:
            records[record_id] = now
    return told_values(records.values(), bounds.max_records)


def _recent(record: RecordChanges, horizon: dt.datetime) -> RecordChanges:
    if not record.values or all(value.position[0] >= horizon for value in record.values.values()):
        return record
    return replace(record, values={name: it for name, it in record.values.items() if it.position[0] >= horizon})


def _is_telling(record: RecordChanges, horizon: dt.datetime) -> bool:
    return bool(record.values) or (record.change_type in DELETIONS and record.newest[0] >= horizon)


def merged_records(records: Mapping[str, RecordChanges], others: Iterable[RecordChanges]) -> dict[str, RecordChanges]:
    """Return what both say, by record id."""
    merged = dict(records)
    for other in others:
        record = merged.get(other.record_id)
        merged[other.record_id] = _bounded(record.merged(other) if record else other)
    return merged


def _values_of_event(change: AccountChange, *, is_small: bool = False) -> RecordValues:
    """Return what is remembered of an event; of a small one all values, since choosing among them takes time."""
    if is_small:
        return RecordValues(
            event_id=change.event_id,
            entity_name=change.entity_name,
            record_id=change.record_id,
            change_type=change.change_type,
            committed_at=change.committed_at,
            sequence_number=change.sequence_number,
            changed_fields=change.changed_fields,
            nulled_fields=change.nulled_fields,
            values=change.values,
            enriched=change.enriched,
        )
    fields = context_fields(change.entity_name)
    return RecordValues(
        event_id=change.event_id,
        entity_name=change.entity_name,
        record_id=change.record_id,
        change_type=change.change_type,
        committed_at=change.committed_at,
        sequence_number=change.sequence_number,
        changed_fields=change.changed_fields,
        nulled_fields=tuple(name for name in change.nulled_fields if name in fields) if change.nulled_fields else (),
        values=only(change.values, fields) if fields else {},
        enriched=only(change.enriched, fields) if fields and change.enriched else {},
    )


def _bounded(record: RecordChanges) -> RecordChanges:
    if len(record.changed) <= MAX_NAMES and sum(map(len, record.changed)) <= MAX_NAMES_LENGTH:
        return record
    return replace(record, changed={}, values={}, known_since=record.newest)


def what_is_new(emitted: EmittedRecords, change: AccountChange) -> AccountChange | None:
    """Return what a late change says that no emitted event has said since; None if that is nothing.

    The change itself counts, too, if it is not a replay: it is a repeated event whose id is no longer remembered. A
    newer CREATE, UNDELETE, DELETE or gap event says all of its record. A DELETE says nothing if the record has a newer
    event; a gap event says what no other can, and a CREATE or UNDELETE that all other fields are empty. If an evicted
    event may have said something newer, the change is without its values.
    """
    position = position_of(change)
    evicted = emitted.evicted_through
    is_unsure = evicted is not None and position <= evicted and not _is_newest_own(emitted, change)
    said = emitted.all_records().get(change.record_id)
    if said is None:
        return _without_values(change) if is_unsure else change
    is_replay = change.source.replay_count > 0

    def is_said(since: Position | None) -> bool:
        return since is not None and (since > position or (since == position and not is_replay))

    # Of a record that returned, `known_since` can be the eviction, not an event of the record.
    is_eviction = is_unsure and newest_of(said.known_since, evicted) == evicted
    if (not is_eviction and is_said(said.known_since)) or (change.change_type in DELETIONS and is_said(said.newest)):
        return None
    if change.change_type in DELETIONS or change.change_type.is_gap:
        return _without_values(change) if is_unsure else change
    newer = {name for name, (since, _) in said.changed.items() if is_said(since)}
    # A newer event can also have told a value without changing it: an enriched field.
    newer |= {name for name, value in said.values.items() if is_said(value.position)}
    new = _without(change, newer)
    return _without_values(new) if new and is_unsure else new


def _is_newest_own(emitted: EmittedRecords, change: AccountChange) -> bool:
    """Return whether a change is the account's own, and newer than all that were emitted: their newest is kept."""
    return is_own(change) and (emitted.account is None or emitted.account[0] < position_of(change))


def _without_values(change: AccountChange) -> AccountChange:
    """Return a change that says that its record changed, but not how: its values may not be the newest.

    A DELETE may have been followed by an UNDELETE, so it becomes a gap event: the record is read again.
    """
    kind = ChangeType.GAP_UPDATE if change.change_type in DELETIONS else change.change_type
    flags = with_cut_flag(change.flags)
    return replace(change, change_type=kind, nulled_fields=(), values={}, enriched={}, flags=flags)


def _without(change: AccountChange, said: set[str]) -> AccountChange | None:
    """Return a change without the fields that newer events changed; a compound field stands for its parts."""
    names = tuple(name for name in change.changed_fields if name not in said and compound(name) not in said)
    if not names and change.change_type not in WHOLE_RECORDS:
        return None
    if not said:
        return change
    gone = said | {compound(name) for name in said}

    def left(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in gone and compound(name) not in said}

    nulled = tuple(left(dict.fromkeys(change.nulled_fields)))
    return replace(
        change, changed_fields=names, nulled_fields=nulled, values=left(change.values), enriched=left(change.enriched)
    )


def is_own(change: AccountChange) -> bool:
    """Return whether a change is of the account itself, not of a related record."""
    return change.record_id == change.account_id


def contradicts_deletion(change: AccountChange, deleted_at: Position) -> bool:
    """Return whether a change comes too early to count after the account's deletion.

    Of events with the deletion's commit order, only an UPDATE is taken for an earlier one: it can't follow a DELETE.
    """
    if not is_own(change):
        return position_of(change) < deleted_at
    if change.order == deleted_at[:2]:
        return change.change_type is ChangeType.UPDATE
    return change.order < deleted_at[:2]


def is_overtaken_deletion(change: AccountChange, account: tuple[Position, bool] | None) -> bool:
    """Return whether a newer event of the account says that it exists, or was deleted again."""
    return account is not None and change.order < account[0][:2]


def deletes_account(change: AccountChange) -> bool:
    """Return whether a change deletes its account."""
    return change.change_type in DELETIONS and is_own(change)
