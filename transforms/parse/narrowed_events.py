"""An event narrowed to some of its records: the message that such a record's change and dead letter carry.

An event of many records, or one of several events of a message, would otherwise carry the whole message for each of
its records. A narrowed event says the same of its record as the whole one: parsed, it is the same change with the same
event id. It is written as Salesforce's payload, without envelopes, its field bitmaps replaced by names; see
docs/adr/056.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Self

import orjson
from msgspec.structs import replace
from pydantic.alias_generators import to_camel

from schemas.change_event import ChangeEvent, ChangeEventHeader, SourceMessage

EVENT_IN_MESSAGE: Final = "event_in_message"
"""Attribute of the dead letter of an event that can't be read: its number among several of its message, from 1."""

_OF_THE_BYTES: Final = frozenset(
    {"content-encoding", "contentencoding", "ce-contentencoding", "content-type", "datacontenttype"}
    | {"ce-datacontenttype", EVENT_IN_MESSAGE}
)
"""What describes the bytes of the whole message, and is not true of a narrowed event."""

_NAMES: Final = {name: to_camel(name) for name in ChangeEventHeader.model_fields if name != "record_ids"}


@dataclass(frozen=True)
class NarrowedEvent:
    """An event without its record ids, encoded once for all of its records."""

    head: bytes
    tail: bytes
    source: SourceMessage
    """The whole message."""

    @classmethod
    def of(cls, event: ChangeEvent, source: SourceMessage) -> Self:
        """Return the event of a message; `message` narrows it."""
        header = {key: value for name, key in _NAMES.items() if (value := getattr(event.header, name)) is not None}
        mark = {"_ObjectType": f"{event.header.entity_name}ChangeEvent"} if event.null_is_unset else {}
        return cls(
            head=b'{"ChangeEventHeader":{"recordIds":',
            tail=b",%b,%b" % (orjson.dumps(header)[1:], orjson.dumps(event.body | mark)[1:])
            if event.body or mark
            else b",%b}" % orjson.dumps(header)[1:],
            source=without_encoding(source),
        )

    def message(self, record_ids: Collection[str]) -> SourceMessage:
        """Return the message of some of the event's records."""
        return replace(self.source, payload=self.head + orjson.dumps(list(record_ids)) + self.tail)


def without_encoding(source: SourceMessage) -> SourceMessage:
    """Return a message without the attributes that describe its bytes."""
    if not source.attributes:
        return source
    kept = {name: value for name, value in source.attributes.items() if name.lower() not in _OF_THE_BYTES}
    return replace(source, attributes=kept)
