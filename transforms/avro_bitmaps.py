"""Field bitmaps, as the raw Pub/Sub API sends them for field names: decoded by the event's own Avro schema, or not.

`0x400800` names fields 11 and 22 of the schema, the ChangeEventHeader being field 0, and `4-0x01` the first part of
field 4. A position means nothing without the schema that the event was written with: every new custom field moves
those after it and makes a new schema, with a new id. So the schema is the one that comes with the event, as an Avro
schema in its envelope's `schema`, or the registered one of the id in its envelope's `schemaId` or `schema`. It is never
the entity's latest, nor the order of the event's keys, nor one named by an attribute of the message: an attribute is
put on by whoever publishes, and no sender of these events is known to put the schema there.

Source: Pub/Sub API Guide, "Event Deserialization Considerations"; Apache Avro Specification, "Names".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import orjson

from schemas.change_event import ChangeEventHeader
from transforms.errors import UnsupportedEvent

HEADER_FIELD: Final = "ChangeEventHeader"
_SCHEMA_FILES: Final = frozenset({".avsc", ".json"})
_BITMAP: Final = re.compile(r"(?:([0-9]{1,6})-)?0x([0-9A-Fa-f]+)\Z")
_BITMAP_STARTS: Final = frozenset("0123456789-")
_SCHEMA_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")


class AvroSchemaError(ValueError):
    """A schema, or the folder of schemas, can't be used; the message names the file and what is wanted."""


@dataclass(frozen=True)
class EventField:
    """A field of an event's schema, with the names of its parts where it is a compound one."""

    name: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class EventSchema:
    """What a bitmap counts: the fields of an event's Avro schema in their order."""

    fields: tuple[EventField, ...]


@dataclass(frozen=True)
class SchemaReference:
    """What an event's envelopes say of its schema: the schema itself as it was sent, its id, both or neither."""

    schema: Any = None
    schema_id: str | None = None

    @classmethod
    def of(cls, envelope: Mapping[str, Any]) -> "SchemaReference":
        """Return what one envelope says; its `schema` can be an id or, as an object or as JSON text, the schema."""
        schema, schema_id = envelope.get("schema"), envelope.get("schemaId")
        if not _is_schema_id(schema_id):
            schema_id = schema if _is_schema_id(schema) else None
        return cls(schema=None if _is_schema_id(schema) else schema, schema_id=schema_id)

    def or_else(self, outer: "SchemaReference") -> "SchemaReference":
        """Return this reference, completed by that of the next envelope outwards."""
        return SchemaReference(
            schema=outer.schema if self.schema is None else self.schema, schema_id=self.schema_id or outer.schema_id
        )


@dataclass(frozen=True)
class AvroSchemas(Mapping[str, EventSchema]):
    """The registered schemas by id."""

    registered: tuple[tuple[str, EventSchema], ...] = ()

    @cached_property
    def _by_id(self) -> dict[str, EventSchema]:
        return dict(self.registered)

    def __getitem__(self, schema_id: str) -> EventSchema:
        return self._by_id[schema_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self.registered)


NO_SCHEMAS: Final = AvroSchemas()


def is_bitmap(entry: str) -> bool:
    """Whether an entry of `changedFields` is a bitmap, or was meant as one: no field's name starts like that."""
    return entry.lstrip()[:1] in _BITMAP_STARTS


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
    lists = {
        "changed_fields": header.changed_fields,
        "nulled_fields": header.nulled_fields,
        "diff_fields": header.diff_fields,
    }
    if not any(is_bitmap(entry) for entries in lists.values() for entry in entries or ()):
        return header
    schema = find_schema(reference, schemas)
    if not {field.name for field in schema.fields}.issuperset(body):
        raise UnsupportedEvent(
            "changedFields are raw bitmaps, and the schema found for the event lacks fields that it carries, so it is "
            "another's: register the one that the event was written with"
        )
    decoded = {name: decode_bitmaps(entries, schema) for name, entries in lists.items() if entries is not None}
    return header.model_copy(update=decoded)


def find_schema(reference: SchemaReference, schemas: AvroSchemas) -> EventSchema:
    """Return the schema that an event brings, or else the registered one that it names.

    Raises:
        UnsupportedEvent: There is neither.
    """
    try:
        return parse_event_schema(reference.schema)
    except AvroSchemaError:
        # Not an Avro schema, such as the one that Kafka Connect describes its records with.
        schema_id = reference.schema_id
    if schema_id is None:
        raise UnsupportedEvent(
            "changedFields are raw bitmaps, and the event names no Avro schema: publish it with its schemaId and "
            "register that schema, or have the bridge decode the bitmaps"
        )
    if schema_id not in schemas:
        raise UnsupportedEvent(
            f"changedFields are raw bitmaps, and their Avro schema {schema_id} is not registered: save what GetSchema "
            f"returns for that id as {schema_id}.avsc in the schema folder, start again and replay"
        )
    return schemas[schema_id]


def parse_event_schema(document: Any) -> EventSchema:
    """Return the fields that an Avro schema lists; `document` is the schema, or its JSON text.

    Raises:
        AvroSchemaError: It is no Avro schema of a change event.
    """
    if isinstance(document, str | bytes):
        try:
            document = orjson.loads(document)
        except orjson.JSONDecodeError as error:
            raise AvroSchemaError(f"no JSON, from line {error.lineno}, column {error.colno} on") from None
    if not isinstance(document, dict) or document.get("type") != "record":
        raise AvroSchemaError('no Avro record: {"type": "record", "fields": […]} is wanted')
    names = _field_names(document)
    if not names or names[0] != HEADER_FIELD:
        raise AvroSchemaError(f"no schema of a change event: fields are wanted, and {HEADER_FIELD} as their first")
    if len(set(names)) < len(names):
        raise AvroSchemaError("two fields have one name: take the schema as GetSchema returns it")
    records = dict(_records(document))
    namespace = _namespace(document, "")
    types = [field.get("type") for field in document["fields"]]
    return EventSchema(
        tuple(EventField(name, _parts(type_, namespace, records)) for name, type_ in zip(names, types, strict=True))
    )


def load_avro_schemas(folder: Path | None) -> AvroSchemas:
    """Return the schemas in a folder's *.avsc and *.json files; without a folder, none.

    A file is a schema, or an object such as GetSchema's `{"schemaId": …, "schemaJson": …}` around one. Its id is the
    `schemaId` in it or, without one, the name of the file up to the suffix.

    Raises:
        AvroSchemaError: The folder or a file can't be used.
    """
    if folder is None:
        return NO_SCHEMAS
    if not folder.is_dir():
        raise AvroSchemaError(f"{folder}: there is no such folder: create it, with a <schemaId>.avsc for each schema")
    found: dict[str, tuple[Path, EventSchema]] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix in _SCHEMA_FILES):
        schema_id, schema = _load(path)
        if schema_id in found:
            raise AvroSchemaError(f"{path}: schema {schema_id} is in {found[schema_id][0]} too: remove one of them")
        found[schema_id] = path, schema
    return AvroSchemas(tuple((schema_id, schema) for schema_id, (_, schema) in sorted(found.items())))


def _load(path: Path) -> tuple[str, EventSchema]:
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise AvroSchemaError(f"{path}: can't be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise AvroSchemaError(
            f"{path}:{error.lineno}:{error.colno}: no JSON: save it as GetSchema returns it"
        ) from None
    schema_id = path.stem
    if isinstance(document, dict):
        schema_id = document.get("schemaId", schema_id)
        document = document.get("schemaJson", document.get("schema", document))
    if not _is_schema_id(schema_id):
        raise AvroSchemaError(f"{path}: no schema id: letters, digits, _, . and - are wanted in the name or schemaId")
    try:
        return schema_id, parse_event_schema(document)
    except AvroSchemaError as error:
        raise AvroSchemaError(f"{path}: {error}") from None


def _is_schema_id(value: Any) -> bool:
    return isinstance(value, str) and bool(_SCHEMA_ID.match(value))


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


def _records(schema: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the records that a schema defines, wherever in it, by full name; a stranger's may be nested at will."""
    pending: list[tuple[Any, str]] = [(schema, "")]
    while pending:
        node, namespace = pending.pop()
        if isinstance(node, list):
            pending += ((branch, namespace) for branch in node)
        elif isinstance(node, dict):
            namespace = _namespace(node, namespace)
            if node.get("type") == "record":
                yield _full_name(str(node.get("name")), namespace), _field_names(node)
            pending += ((node.get(key), namespace) for key in ("type", "items", "values"))
            fields = node.get("fields")
            pending += ((field, namespace) for field in (fields if isinstance(fields, list) else ()))


def _parts(type_: Any, namespace: str, records: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the fields of the one record among a type's branches; the other branches are null, or a plain text."""
    branches = type_ if isinstance(type_, list) else [type_]
    parts = [part for branch in branches if (part := _record_fields(branch, namespace, records)) is not None]
    return parts[0] if len(parts) == 1 else ()


def _record_fields(branch: Any, namespace: str, records: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    if isinstance(branch, str):
        return records.get(_full_name(branch, namespace))
    return _field_names(branch) if isinstance(branch, dict) and branch.get("type") == "record" else None


def _field_names(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a record's fields, or none where they are malformed."""
    fields = record.get("fields")
    if not isinstance(fields, list):
        return ()
    names = [field.get("name") if isinstance(field, dict) else None for field in fields]
    texts = tuple(name for name in names if isinstance(name, str))
    return texts if len(texts) == len(names) else ()


def _namespace(node: Mapping[str, Any], enclosing: str) -> str:
    name = node.get("name")
    if node.get("type") == "record" and isinstance(name, str) and "." in name:
        return name.rpartition(".")[0]
    namespace = node.get("namespace")
    return namespace if isinstance(namespace, str) else enclosing


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
