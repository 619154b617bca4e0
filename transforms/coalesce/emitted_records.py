"""What the emitted changes of an account said: it decides about changes that come later.

A change that is older than the last emitted one is late. It is stale if newer events of its record said all that it
says; otherwise it goes on, with what they did not say. What was evicted counts as said.

An account that was deleted stays so until an event of its own says that it exists; related records' events, such as
those of a cascading delete, say nothing about it.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, field
from msgspec.structs import replace

from schemas.change_event import DELETIONS, AccountChange, ChangeType
from schemas.record import AwareDatetime, Record
from transforms.coalesce.record_changes import Position, RecordChanges, compound, newest_of, position_of

MAX_NAMES: Final = 200
MAX_NAMES_LENGTH: Final = 8_000
"""Of the changed fields that are remembered of a record. If it has more, any older change of it is stale."""


class EmittedEvent(Record, frozen=True, kw_only=True):
    """What is remembered of an event that was emitted alone, as most are; the next burst makes RecordChanges of it."""

    event_id: str
    entity_name: str
    record_id: str
    change_type: ChangeType
    committed_at: AwareDatetime
    sequence_number: int
    changed_fields: tuple[str, ...]

    @classmethod
    def of(cls, change: AccountChange) -> "EmittedEvent":
        """Return what is remembered of a change."""
        return cls(
            event_id=change.event_id,
            entity_name=change.entity_name,
            record_id=change.record_id,
            change_type=change.change_type,
            committed_at=change.committed_at,
            sequence_number=change.sequence_number,
            changed_fields=change.changed_fields,
        )

    def record_changes(self) -> RecordChanges:
        """Return what the event says of its record, without values."""
        position = (self.committed_at, self.sequence_number, self.event_id)
        return RecordChanges(
            entity_name=self.entity_name,
            record_id=self.record_id,
            newest=position,
            change_type=self.change_type,
            known_since=None if self.change_type is ChangeType.UPDATE else position,
            gap=(position, self.change_type) if self.change_type.is_gap else None,
            changed={name: (position, index) for index, name in enumerate(dict.fromkeys(self.changed_fields))},
            values={},
        )


class EmittedRecords(Record, frozen=True, kw_only=True):
    """What is remembered of the changes that were emitted."""

    account: Annotated[
        tuple[Position, bool] | None, Meta(description="The newest event of the account itself; whether it deleted it")
    ] = None
    last: Annotated[EmittedEvent | None, Meta(description="Not yet in `records`")] = None
    records: Annotated[dict[str, RecordChanges], Meta(description="The newest, by record id")] = field(
        default_factory=dict
    )
    evicted_through: Annotated[Position | None, Meta(description="The newest event that is not remembered")] = None

    @property
    def deleted_at(self) -> Position | None:
        """The event that deleted the account; None if the account exists."""
        return self.account[0] if self.account and self.account[1] else None

    def all_records(self) -> dict[str, RecordChanges]:
        """Return what is remembered, by record id."""
        return self.records if self.last is None else merged_records(self.records, [self.last.record_changes()])


NOTHING_EMITTED: Final = EmittedRecords()


def remembering(
    before: EmittedRecords,
    burst: AccountChange | Iterable[RecordChanges],
    evicted_through: Position | None,
    account: tuple[Position, bool] | None,
    max_records: int,
) -> EmittedRecords:
    """Return what is remembered after another burst: one event, or what several said of their records.

    `evicted_through` is the burst's newest event that its limits evicted. Beyond `max_records` records, those with the
    oldest events are evicted.
    """
    records = before.all_records()
    evicted_through = newest_of(before.evicted_through, evicted_through)
    last = None
    if not isinstance(burst, AccountChange):
        records = merged_records(records, map(_remembered, burst))
    elif len(burst.changed_fields) <= MAX_NAMES:
        last = EmittedEvent.of(burst)
    else:
        records = merged_records(records, [_remembered(RecordChanges.of(burst))])
    if len(records) > max_records:
        by_age = sorted(records.values(), key=lambda record: record.newest, reverse=True)
        records = {record.record_id: record for record in by_age[:max_records]}
        evicted_through = newest_of(evicted_through, by_age[max_records].newest)
    return EmittedRecords(account=account, last=last, records=records, evicted_through=evicted_through)


def merged_records(records: Mapping[str, RecordChanges], others: Iterable[RecordChanges]) -> dict[str, RecordChanges]:
    """Return what both say, by record id."""
    merged = dict(records)
    for other in others:
        record = merged.get(other.record_id)
        merged[other.record_id] = _bounded(record.merged(other) if record else other)
    return merged


def _remembered(record: RecordChanges) -> RecordChanges:
    return replace(record, values={})


def _bounded(record: RecordChanges) -> RecordChanges:
    if len(record.changed) <= MAX_NAMES and sum(map(len, record.changed)) <= MAX_NAMES_LENGTH:
        return record
    return replace(record, changed={}, values={}, known_since=record.newest)


def what_is_new(emitted: EmittedRecords, change: AccountChange) -> AccountChange | None:
    """Return what a late change says that no emitted event has said since; None if that is nothing.

    The change itself counts, too, if it is not a replay: it is a repeated event whose id is no longer remembered. A
    newer CREATE, UNDELETE, DELETE or gap event says all of its record. A DELETE says nothing if the record has a newer
    event; a gap event says what no other can.
    """
    position = position_of(change)
    if emitted.evicted_through and position <= emitted.evicted_through:
        return None
    said = emitted.all_records().get(change.record_id)
    if said is None:
        return change
    is_replay = change.source.replay_count > 0

    def is_said(since: Position | None) -> bool:
        return since is not None and (since > position or (since == position and not is_replay))

    if is_said(said.known_since) or (change.change_type in DELETIONS and is_said(said.newest)):
        return None
    if change.change_type in DELETIONS or change.change_type.is_gap:
        return change
    return _without(change, {name for name, (since, _) in said.changed.items() if is_said(since)})


def _without(change: AccountChange, said: set[str]) -> AccountChange | None:
    """Return a change without the fields that newer events changed; a compound field stands for its parts."""
    names = tuple(name for name in change.changed_fields if name not in said and compound(name) not in said)
    if not names:
        return None
    if len(names) == len(change.changed_fields):
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
