"""The Avro schemas of change events: read from JSON, registered by id, and the one that an event means.

A schema's positions are what field bitmaps count, and they mean nothing in another: every new custom field moves those
after it and makes a new schema, with a new id. So an event's schema is the one that comes with it, as an Avro schema in
its envelope's `schema`, or the registered one of the id in its envelope's `schemaId` or `schema`. It is never the
entity's latest, nor the order of the event's keys, nor one named by an attribute of the message: an attribute is put on
by whoever publishes, and no sender of these events is known to name the schema there.

Source: Change Data Capture Developer Guide, "API Version and Event Schema"; Apache Avro Specification, "Names".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import orjson

from transforms.errors import UnsupportedEvent

_HEADER: Final = "ChangeEventHeader"
_SCHEMA_FILES: Final = frozenset({".avsc", ".json"})
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


NO_REFERENCE: Final = SchemaReference()


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
    if not names or names[0] != _HEADER:
        raise AvroSchemaError(f"no schema of a change event: fields are wanted, and {_HEADER} as their first")
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
