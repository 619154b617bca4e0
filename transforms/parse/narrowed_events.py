"""An event narrowed to some of its records: the message that such a record's change and dead letter carry.

An event of many records, or one of several events of a message, would otherwise carry the whole message for each of
its records. A narrowed event says the same of its record as the whole one: parsed, it is the same change with the same
event id. It is written as Salesforce's payload, without envelopes, its field bitmaps replaced by names; see
docs/adr/056.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
import orjson
from msgspec.structs import replace
from pydantic.alias_generators import to_camel

from schemas.api_names import spelled
from schemas.change_event import (
    MAX_RECORD_IDS,
    AccountFields,
    ChangeEvent,
    ChangeEventHeader,
    ChangeType,
    SourceMessage,
)
from schemas.dead_letter import REPLAY_ATTRIBUTES
from transforms.errors import MessageTooLarge
from transforms.parse.field_changes import FieldChanges, field_changes
from transforms.parse.limits import MAX_ATTRIBUTE_BYTES, MAX_NARROWED_BYTES
from transforms.parse.unusable_values import write_json

EVENT_IN_MESSAGE: Final = "event_in_message"
"""Attribute of the dead letter of an event that can't be read: its number among several of its message, from 1."""

_OF_THE_BYTES: Final = frozenset(
    {"content-encoding", "contentencoding", "ce-contentencoding", "content-type", "datacontenttype"}
    | {"ce-datacontenttype", EVENT_IN_MESSAGE}
)
"""What describes the bytes of the whole message, and is not true of a narrowed event."""

NEEDED_ATTRIBUTES: Final = frozenset({"traceparent", "googclient_traceparent"}) | REPLAY_ATTRIBUTES
"""Those that the pipeline and a replay read: they are carried however many records a message has."""

_NEEDED_LENGTH: Final = 128
"""Characters of such a value; a longer one is nothing that the pipeline reads to its end."""

_ID_BYTES: Final = 20
_CHANGE_BYTES: Final = 500
"""Of a change as JSON, besides what is counted: the names of its fields, ids and times."""

_NAMES: Final = {name: to_camel(name) for name in ChangeEventHeader.model_fields if name != "record_ids"}


@dataclass
class Room:
    """What the changes of one message may still carry: records, and bytes of JSON."""

    records_left: int = MAX_RECORD_IDS
    bytes_left: int = MAX_NARROWED_BYTES
    attribute_bytes_left: int = MAX_ATTRIBUTE_BYTES


@dataclass(frozen=True)
class NarrowedEvent:
    """An event without its record ids, encoded once for all of its records."""

    event: ChangeEvent
    """What is said of each record."""

    fields: FieldChanges | None
    """None if its entity does not count."""

    head: bytes
    tail: bytes
    source: SourceMessage
    """The whole message, with the attributes that are carried."""

    @classmethod
    def of(cls, event: ChangeEvent, source: SourceMessage, *, counts: bool) -> Self:
        """Return the event of a message; `message` narrows it."""
        header = {key: value for name, key in _NAMES.items() if (value := getattr(event.header, name)) is not None}
        mark = {"_ObjectType": f"{event.header.entity_name}ChangeEvent"} if event.null_is_unset else {}
        fields = {**event.body, **event.unusable, **mark}
        tail = b",%b%b" % (orjson.dumps(header)[1:], b",%b" % write_json(fields)[1:] if fields else b"}")
        changes = field_changes(event) if counts else None
        return cls(event, changes, b'{"ChangeEventHeader":{"recordIds":', tail, source)

    def message(self, record_ids: Collection[str]) -> SourceMessage:
        """Return the message of some of the event's records."""
        return replace(self.source, payload=self.head + orjson.dumps(list(record_ids)) + self.tail)

    @property
    def change_bytes(self) -> int:
        """Of the change of one of its records as JSON, attributes apart: its payload is base64 there."""
        header = self.event.header
        names = (header.entity_name, header.change_type, header.change_origin, self.source.message_id)
        payload = len(self.head) + len(self.tail) + _ID_BYTES
        said = len(msgspec.json.encode((names, header.transaction_key, header.sequence_number, self.fields)))
        return _CHANGE_BYTES + said + 4 * (payload // 3 + 1)


def narrowed(event: ChangeEvent, source: SourceMessage, account_fields: AccountFields, room: Room) -> NarrowedEvent:
    """Return an event that can be narrowed to each of its records, and take that off the room.

    If there is no room for its values, they are left out and their fields are changed to unknown values; if there is
    none for its fields' names either, it is a gap, as Salesforce makes of an event above 1 MB. In both cases the record
    is read again, so that nothing but what the event itself says is lost. If there is no room for all attributes, the
    needed ones are carried.

    Raises:
        MessageTooLarge: The message has too many records, or no room is left for their gaps.
    """
    count = len(event.header.record_ids)
    room.records_left -= count
    if room.records_left < 0:
        raise MessageTooLarge(f"more than {MAX_RECORD_IDS:,} record ids in one message: publish fewer in each")
    source, attributes = without_encoding(source), 0
    if count * attribute_bytes(source.attributes) <= room.attribute_bytes_left:
        room.attribute_bytes_left -= count * attribute_bytes(source.attributes)
    else:
        source = with_needed_attributes(source)
        attributes = attribute_bytes(source.attributes)
    entity = event.header.entity_name
    naming = spelled(account_fields.get(entity, ()), event.body)
    for lighter in (_as_it_is, _without_values, _as_gap):
        found = NarrowedEvent.of(lighter(event, naming), source, counts=entity in account_fields)
        total = count * (found.change_bytes + attributes)
        if total <= room.bytes_left:
            room.bytes_left -= total
            return found
    raise MessageTooLarge("events too large for so many records: publish fewer events in one message")


def _as_it_is(event: ChangeEvent, _naming: Collection[str]) -> ChangeEvent:
    return event


def _without_values(event: ChangeEvent, naming: Collection[str]) -> ChangeEvent:
    """Return an UPDATE that lists its fields without their values; anything else as a gap."""
    header = event.header
    if header.change_type is not ChangeType.UPDATE or not header.changed_fields:
        return _as_gap(event, naming)
    nulled = header.nulled_fields if header.nulled_fields is not None else ()
    return ChangeEvent(header.model_copy(update={"nulled_fields": nulled}), _naming_values(event, naming))


def _as_gap(event: ChangeEvent, naming: Collection[str]) -> ChangeEvent:
    header = event.header
    kind = header.change_type if header.change_type.is_gap else ChangeType(f"GAP_{header.change_type}")
    empty = {"changed_fields": None, "nulled_fields": None, "diff_fields": (), "change_type": kind}
    return ChangeEvent(header.model_copy(update=empty), _naming_values(event, naming))


def _naming_values(event: ChangeEvent, naming: Collection[str]) -> dict[str, Any]:
    """Return the values that name the record's account."""
    values = {name: event.body.get(name) for name in naming}
    return {name: value for name, value in values.items() if isinstance(value, str) and len(value) <= _ID_BYTES}


def without_encoding(source: SourceMessage) -> SourceMessage:
    """Return a message without the attributes that describe its bytes."""
    if not source.attributes:
        return source
    kept = {name: value for name, value in source.attributes.items() if name.lower() not in _OF_THE_BYTES}
    return replace(source, attributes=kept)


def with_needed_attributes(source: SourceMessage) -> SourceMessage:
    """Return a message with those attributes alone that the pipeline or a replay reads."""
    kept = {name: value[:_NEEDED_LENGTH] for name, value in source.attributes.items() if name in NEEDED_ATTRIBUTES}
    return replace(source, attributes=kept)


def attribute_bytes(attributes: Mapping[str, str]) -> int:
    """Return the size of attributes as JSON."""
    return len(msgspec.json.encode(attributes)) if attributes else 0
