"""Merge the events of one Salesforce record: for each field, keep the newest event that says something about it.

State merges by the maximum of (time, sequence, event id), so the order of arrival does not matter.

Attributes are named for readers; their names in the state's JSON are older (`field(name=...)`) and stay, since state
outlives a release.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from msgspec import Meta, field
from msgspec.structs import replace

from schemas.change_event import DELETIONS, WHOLE_RECORD_GAPS, AccountChange, ChangeType, RecordValues
from schemas.field_values import context_fields
from schemas.record import AwareDatetime, Record

Position = tuple[AwareDatetime, int, str]
"""(committed_at, sequence_number, event_id): commit order, with the event id as the tie-breaker."""

FieldVersion = tuple[Position, int]
"""The newest event that lists a field as changed, and the field's index in that event's list."""

_BEFORE_ALL: Final[FieldVersion] = ((dt.datetime.min.replace(tzinfo=dt.UTC), -1, ""), -1)


class ValueKind(StrEnum):
    """How an event gives a field's value."""

    CHANGED = "changed"
    ENRICHED = "carried"
    CLEARED = "cleared"


class FieldValue(Record, frozen=True, kw_only=True):
    """The newest value that an event gives for a field, as JSON.

    `index` is the field's index in the event's list of cleared fields.
    """

    position: Position = field(name="at")
    kind: ValueKind
    value: Any = None
    index: int = field(name="place", default=0)


class RecordChanges(Record, frozen=True, kw_only=True):
    """What the events of one Salesforce record say together; each part comes from the newest event that says it.

    `known_since` is the newest event that is not an UPDATE. Values from before it are unknown: a DELETE leaves nothing;
    CREATE and UNDELETE bring the whole record, so a field that they lack no longer has its old value; a gap event
    changed the record without saying how, so the record must be read again. None of them clears a field that the sender
    did not clear.
    """

    entity_name: str
    record_id: str
    newest: Position
    change_type: Annotated[ChangeType, Meta(description="Of the newest event")]
    known_since: Position | None
    gap: Annotated[tuple[Position, ChangeType] | None, Meta(description="The newest gap event")]
    changed: dict[str, FieldVersion]
    values: dict[str, FieldValue] = field(name="facts")

    @classmethod
    def of(cls, change: AccountChange | RecordValues) -> "RecordChanges":
        """Return what one event says; a gap event gives no values, a deletion only enriched ones."""
        position = position_of(change)
        values: dict[str, FieldValue] = {}

        def take(given: Mapping[str, Any], kind: ValueKind) -> None:
            values.update({name: FieldValue(position=position, kind=kind, value=it) for name, it in given.items()})

        if not change.change_type.is_gap:
            take(change.enriched, ValueKind.ENRICHED)
        if not change.change_type.is_gap and change.change_type not in DELETIONS:
            take(change.values, ValueKind.CHANGED)
            for index, name in enumerate(change.nulled_fields):
                values[name] = FieldValue(position=position, kind=ValueKind.CLEARED, index=index)
        names = dict.fromkeys(change.changed_fields)
        return cls(
            entity_name=change.entity_name,
            record_id=change.record_id,
            newest=position,
            change_type=change.change_type,
            known_since=None if change.change_type is ChangeType.UPDATE else position,
            gap=(position, change.change_type) if change.change_type.is_gap else None,
            changed={name: (position, index) for index, name in enumerate(names)},
            values=values,
        )

    def merged(self, other: "RecordChanges") -> "RecordChanges":
        """Return what both say; associative, commutative and idempotent, because every part is a maximum."""
        newer = other if other.newest > self.newest else self
        overtaking = {
            name: value
            for name, value in other.values.items()
            if name not in self.values or value.position > self.values[name].position
        }
        return replace(
            newer,
            known_since=newest_of(self.known_since, other.known_since),
            gap=max((gap for gap in (self.gap, other.gap) if gap), default=None),
            changed=newest_versions(self.changed, other.changed),
            values=self.values | overtaking,
        )

    def effective_change_type(self) -> ChangeType:
        """Return the change type of all events together: the newest one's, unless it is an UPDATE after a gap.

        Such an UPDATE does not fill the gap: the record must still be read again, until an event brings all of it. An
        UPDATE after a GAP_DELETE says that the record exists, so only an update is known to have been missed.
        """
        if self.change_type is not ChangeType.UPDATE or self.gap is None or self.gap[0] != self.known_since:
            return self.change_type
        return self.gap[1] if self.gap[1] in WHOLE_RECORD_GAPS else ChangeType.GAP_UPDATE

    def current_values(self) -> dict[str, FieldValue]:
        """Return the values that no newer event has overtaken, in the whole field or in one of its parts.

        A newer `Name` overtakes an older `Name.LastName`, and the reverse; `Name.LastName` does not overtake
        `Name.FirstName`.
        """
        newest = {name: position for name, (position, _) in self.changed.items()}
        for name, value in self.values.items():
            newest[name] = max(value.position, newest.get(name, value.position))
        parts: dict[str, Position] = {}
        for name, position in newest.items():
            parts[compound(name)] = max(position, parts.get(compound(name), position))
        return {
            name: value
            for name, value in self.values.items()
            if value.position
            == newest_of(value.position, self.known_since, newest[name], newest.get(compound(name)), parts.get(name))
        }

    def change_fields(self) -> dict[str, object]:
        """Return `values`, `nulled_fields` and `enriched` of an AccountChange.

        A field that an older event changed and a newer one only carries did change, to the carried value.
        """
        values, enriched, cleared = {}, {}, {}
        for name, value in self.current_values().items():
            if value.kind is ValueKind.CLEARED:
                cleared[name] = (value.position, value.index)
            elif value.kind is ValueKind.CHANGED or name in self.changed or compound(name) in self.changed:
                values[name] = value.value
            else:
                enriched[name] = value.value
        return {"values": values, "nulled_fields": newest_first(cleared), "enriched": enriched}

    def qualified_versions(self) -> dict[str, FieldVersion]:
        """Return the changed fields under names that include the entity: "Opportunity.Name"."""
        return {f"{self.entity_name}.{name}": version for name, version in self.changed.items()}


def for_contexts(record: RecordChanges) -> RecordChanges:
    """Return what is known of a record, of its values only current ones that an account context shows.

    A part of a field that no context shows can have overtaken the field.
    """
    return replace(record, values=only(record.current_values(), context_fields(record.entity_name)))


def only(values: Mapping[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    """Return the values of some fields."""
    return {name: value for name, value in values.items() if name in fields}


def told_values(records: Iterable[RecordChanges], most: int) -> tuple[RecordValues, ...]:
    """Return what the newest records say that an account context shows, at most of so many; newest first."""
    newest = sorted(records, key=lambda record: record.newest, reverse=True)
    told = (_values_of_record(record) for record in newest[:most] if context_fields(record.entity_name))
    return tuple(it for it in told if it.values or it.enriched or it.nulled_fields or it.change_type in DELETIONS)


def _values_of_record(record: RecordChanges) -> RecordValues:
    committed_at, sequence_number, event_id = record.newest
    told: dict[str, Any] = for_contexts(record).change_fields()
    return RecordValues(
        event_id=event_id,
        entity_name=record.entity_name,
        record_id=record.record_id,
        change_type=record.change_type,
        committed_at=committed_at,
        sequence_number=sequence_number,
        changed_fields=tuple(sorted(only(record.changed, context_fields(record.entity_name)))),
        **told,
    )


def position_of(change: AccountChange | RecordValues) -> Position:
    """Return an event's position among the account's events."""
    return (change.committed_at, change.sequence_number, change.event_id)


def newest_of(*positions: Position | None) -> Position | None:
    """Return the newest of the positions that are not None."""
    return max((position for position in positions if position is not None), default=None)


def newest_versions(one: Mapping[str, FieldVersion], other: Mapping[str, FieldVersion]) -> dict[str, FieldVersion]:
    """Return the newest version of each field."""
    return {**one, **{name: version for name, version in other.items() if version > one.get(name, _BEFORE_ALL)}}


def newest_first(versions: Mapping[str, FieldVersion]) -> tuple[str, ...]:
    """Return the fields by the newest event that lists them, newest event first, in the order of that event's list."""
    by_index = sorted(sorted(versions), key=lambda name: versions[name][1])
    return tuple(sorted(by_index, key=lambda name: versions[name][0], reverse=True))


def compound(name: str) -> str:
    """Return the compound field that a part belongs to, or the name itself."""
    return name.split(".", 1)[0]
