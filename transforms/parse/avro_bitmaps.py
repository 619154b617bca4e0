"""Field bitmaps, as the raw Pub/Sub API sends them for field names: decoded by the event's own Avro schema, or not.

`0x400800` names fields 11 and 22 of the schema, the ChangeEventHeader being field 0, and `4-0x01` the first part of
field 4. Without the schema that the event was written with they are refused.

Source: Pub/Sub API Guide, "Event Deserialization Considerations".
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from schemas.change_event import ChangeEventHeader
from transforms.errors import UnsupportedEvent
from transforms.parse.avro_schemas import AvroSchemas, EventSchema, SchemaReference, find_schema

_BITMAP: Final = re.compile(r"(?:([0-9]{1,6})-)?0x([0-9A-Fa-f]+)\Z")
_BITMAP_STARTS: Final = frozenset("0123456789-")


def is_bitmap(entry: str) -> bool:
    """Whether an entry of `changedFields` is a bitmap, or was meant as one: no field's name starts like that."""
    return (entry if entry[:1].isalpha() else entry.lstrip())[:1] in _BITMAP_STARTS


def decode_bitmaps(entries: Iterable[str], schema: EventSchema) -> tuple[str, ...]:
    """Return the names that a list of bitmaps and names stands for: each once, the parts of a field by dotted name.

    Raises:
        UnsupportedEvent: A bitmap is malformed, or has a field that is not in the schema.
    """
    return tuple(dict.fromkeys(name for entry in entries for name in _names(entry, schema)))


def name_fields(
    header: ChangeEventHeader, body: Iterable[str], reference: SchemaReference, schemas: AvroSchemas
) -> ChangeEventHeader:
    """Return the header with names for bitmaps; `body` has the names of the fields that the event carries.

    Raises:
        UnsupportedEvent: There are bitmaps, and their schema is not known, or can't be theirs.
    """
    lists = (header.changed_fields or (), header.nulled_fields or (), header.diff_fields)
    if not any(map(is_bitmap, chain.from_iterable(lists))):
        return header
    schema = find_schema(reference, schemas)
    if not {field.name for field in schema.fields}.issuperset(body):
        raise UnsupportedEvent(
            "changedFields are raw bitmaps, and the schema found for the event lacks fields that it carries, so it is "
            "another's: register the one that the event was written with"
        )
    changed, nulled, partial = (decode_bitmaps(entries, schema) for entries in lists)
    names = {
        "changed_fields": None if header.changed_fields is None else changed,
        "nulled_fields": None if header.nulled_fields is None else nulled,
        "diff_fields": partial,
    }
    return header.model_copy(update=names)


def _names(entry: str, schema: EventSchema) -> Iterator[str]:
    if not is_bitmap(entry):
        yield entry
        return
    match = _BITMAP.match(entry)
    if match is None:
        raise UnsupportedEvent("an entry of changedFields is a malformed bitmap: 0x400800 or 4-0x01 is wanted")
    parent, digits = match.groups()
    bits = int(digits, 16)
    if parent is None:
        yield from _of_set_bits(bits, [field.name for field in schema.fields], "its fields")
        return
    position = int(parent)
    if position >= len(schema.fields):
        raise UnsupportedEvent(f"a bitmap is within field {position}, and the schema has {len(schema.fields)} fields")
    field = schema.fields[position]
    if not field.parts:
        raise UnsupportedEvent(f"a bitmap is within field {position}, which is no compound field in the schema")
    yield from _of_set_bits(bits, [f"{field.name}.{part}" for part in field.parts], f"the parts of field {position}")


def _of_set_bits(bits: int, names: list[str], which: str) -> Iterator[str]:
    if bits.bit_length() > len(names):
        raise UnsupportedEvent(f"a bitmap has bit {bits.bit_length() - 1}, and the schema ends {which} at {len(names)}")
    yield from (name for position, name in enumerate(names) if bits >> position & 1)
