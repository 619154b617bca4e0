"""Field bitmaps, which the raw Pub/Sub API sends in place of field names, decoded by the event's own Avro schema.

`0x400800` names fields 11 and 22 of the schema, counted from the ChangeEventHeader, which is field 0; `4-0x01` names
the first part of field 4. Bitmaps are refused if the schema that the event was written with is not known.

Source: Pub/Sub API Guide, "Event Deserialization Considerations".
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NamedTuple

from schemas.change_event import ChangeEvent, ChangeType
from transforms.errors import UnsupportedEvent
from transforms.parse.avro_schemas import AvroSchemas, EventSchema, SchemaReference, find_schema

_BITMAP: Final = re.compile(r"(?:([0-9]{1,6})-)?0x([0-9A-Fa-f]+)\Z")
_BITMAP_STARTS: Final = frozenset("0123456789-")
_LISTS: Final = {"changed_fields": "changedFields", "nulled_fields": "nulledFields", "diff_fields": "diffFields"}


def name_fields(event: ChangeEvent, reference: SchemaReference, schemas: AvroSchemas) -> ChangeEvent:
    """Return the event with field names in place of bitmaps.

    Of an UPDATE only, the lists are read: bitmaps of another event that can't be decoded are left out.

    Raises:
        UnsupportedEvent: There are bitmaps of an UPDATE, and their schema is not known or is another event's.
    """
    header = event.header
    lists = (header.changed_fields or (), header.nulled_fields or (), header.diff_fields)
    if not any(entries and _have_bitmap(entries) for entries in lists):
        return event
    try:
        return _named(event, reference, schemas)
    except UnsupportedEvent:
        if header.change_type is ChangeType.UPDATE:
            raise
        unread = {"changed_fields": None, "nulled_fields": None, "diff_fields": ()}
        return event._replace(header=header.model_copy(update=unread))


def _named(event: ChangeEvent, reference: SchemaReference, schemas: AvroSchemas) -> ChangeEvent:
    header = event.header
    lists = {name: getattr(header, field) or () for field, name in _LISTS.items()}
    where = " and ".join(name for name, entries in lists.items() if _have_bitmap(entries))
    schema = find_schema(reference, schemas, where)
    if not {field.name for field in schema}.issuperset(_field_names(event)):
        raise UnsupportedEvent(
            f"{where} are raw bitmaps, and the schema found for the event lacks fields that it carries, so it is "
            "another event's: register the schema that the event was written with"
        )
    decoded = {field: decode_bitmaps(lists[name], schema, name) for field, name in _LISTS.items()}
    names = {field: names for field, names in decoded.items() if getattr(header, field) is not None}
    return event._replace(header=header.model_copy(update=names))


def _field_names(event: ChangeEvent) -> Iterator[str]:
    return chain(event.body, (name.split(".", 1)[0] for name in event.unusable))


def decode_bitmaps(entries: Iterable[str], schema: EventSchema, where: str = "changedFields") -> tuple[str, ...]:
    """Return the field names that bitmaps and names stand for: each once, parts of compound fields by dotted name.

    `where` is the list's name. The bitmaps of one field, and those of the event, are joined: each field's parts are
    looked at once.

    Raises:
        UnsupportedEvent: A bitmap is malformed, or names a field that is not in the schema.
    """
    parsed = {entry: _parsed(entry, where) if _is_bitmap(entry) else None for entry in entries}
    joined: dict[int | None, int] = {}
    for bitmap in parsed.values():
        if bitmap:
            joined[bitmap.parent] = joined.get(bitmap.parent, 0) | bitmap.bits
    names: dict[str, None] = {}
    for entry, bitmap in parsed.items():
        if bitmap is None:
            names[entry] = None
        elif bitmap.parent in joined:
            names |= dict.fromkeys(_names(bitmap.parent, joined.pop(bitmap.parent), schema))
    return tuple(names)


def _have_bitmap(entries: Iterable[str]) -> bool:
    # Done for each event.
    for entry in entries:  # noqa: SIM110 - any() of a generator is slower
        if not entry[:1].isalpha() and _is_bitmap(entry):
            return True
    return False


def _is_bitmap(entry: str) -> bool:
    """Whether an entry of `changedFields` is a bitmap, also a malformed one: field names start with a letter."""
    return (entry if entry[:1].isalpha() else entry.lstrip())[:1] in _BITMAP_STARTS


class _Bitmap(NamedTuple):
    parent: int | None
    """Position of the compound field whose parts it counts; None if it counts the event's fields."""

    bits: int


def _parsed(entry: str, where: str) -> _Bitmap:
    match = _BITMAP.match(entry)
    if match is None:
        raise UnsupportedEvent(f"an entry of {where} is a malformed bitmap: expected 0x400800 or 4-0x01")
    parent, digits = match.groups()
    return _Bitmap(None if parent is None else int(parent), int(digits, 16))


def _names(parent: int | None, bits: int, schema: EventSchema) -> Iterator[str]:
    if parent is None:
        return _of_set_bits(bits, [field.name for field in schema], "fields")
    if parent >= len(schema):
        raise UnsupportedEvent(f"a bitmap is within field {parent}, but the schema has {len(schema)} fields")
    field = schema[parent]
    if not field.parts:
        raise UnsupportedEvent(f"a bitmap is within field {parent}, which is not a compound field in the schema")
    return _of_set_bits(bits, [f"{field.name}.{part}" for part in field.parts], f"parts of field {parent}")


def _of_set_bits(bits: int, names: list[str], which: str) -> Iterator[str]:
    if bits.bit_length() > len(names):
        raise UnsupportedEvent(f"a bitmap has bit {bits.bit_length() - 1}, but the schema has {len(names)} {which}")
    yield from (name for position, name in enumerate(names) if bits >> position & 1)
