"""The Avro schemas of change events: parsed, registered by id, and looked up for an event.

Field bitmaps count the positions of one schema's fields. A new custom field moves those after it and makes a new schema
with a new id, so positions mean nothing in another schema. An event's schema is therefore the one that its envelope
carries in `schema`, or the registered one whose id stands in its envelope's `schemaId` or `schema`; never the entity's
latest schema, the order of the event's keys, or a schema that a message attribute names: publishers set attributes, and
no known sender of these events names the schema there.

Source: Change Data Capture Developer Guide, "API Version and Event Schema"; Apache Avro Specification, "Names".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Any, Final

import orjson
from fastavro.schema import SchemaParseException, expand_schema

from transforms.errors import UnsupportedEvent
from transforms.parse.limits import MAX_FIELDS, MAX_SCHEMA_OBJECTS, count_objects

_HEADER: Final = "ChangeEventHeader"
_SCHEMA_FILES: Final = frozenset({".avsc", ".json"})
_SCHEMA_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")
_NOT_AVRO: Final = (SchemaParseException, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What fastavro raises for JSON that is not an Avro schema: it looks keys up unchecked."""


class AvroSchemaError(ValueError):
    """A schema, or the folder of schemas, can't be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class EventField:
    """A field of an event's schema, with the names of its parts if it is a compound field."""

    name: str
    parts: tuple[str, ...] = ()


EventSchema = tuple[EventField, ...]
"""The fields of an event's Avro schema in order, whose positions a bitmap counts."""

AvroSchemas = Mapping[str, EventSchema]
"""The registered schemas by id."""

NO_SCHEMAS: Final[AvroSchemas] = {}


class SentSchema:
    """A schema as an envelope has it; it is parsed once for all events within."""

    def __init__(self, document: Any) -> None:
        self.document = document

    @cached_property
    def fields(self) -> EventSchema | None:
        """The fields; None if it is not Avro, such as the schema by which Kafka Connect describes its records."""
        try:
            return parse_event_schema(self.document)
        except AvroSchemaError:
            return None


@dataclass(frozen=True)
class SchemaReference:
    """What an event's envelopes say about its schema: the schema as it was sent, its id, both or neither."""

    sent: SentSchema | None = None
    schema_id: str | None = None

    @classmethod
    def of(cls, envelope: Mapping[str, Any]) -> "SchemaReference":
        """Return what one envelope says; its `schema` is an id, or the schema as an object or as JSON text."""
        schema, schema_id = envelope.get("schema"), envelope.get("schemaId")
        if not _is_schema_id(schema_id):
            schema_id = schema if _is_schema_id(schema) else None
        return cls(None if schema is None or _is_schema_id(schema) else SentSchema(schema), schema_id)

    def or_else(self, outer: "SchemaReference") -> "SchemaReference":
        """Return this reference, completed by that of the next envelope outwards."""
        return SchemaReference(self.sent or outer.sent, self.schema_id or outer.schema_id)


NO_REFERENCE: Final = SchemaReference()


def find_schema(reference: SchemaReference, schemas: AvroSchemas, where: str) -> EventSchema:
    """Return the schema that an event carries, or else the registered one that it names.

    `where` are the lists of its header that need it.

    Raises:
        UnsupportedEvent: There is neither.
    """
    if reference.sent and reference.sent.fields:
        return reference.sent.fields
    schema_id = reference.schema_id
    if schema_id is None:
        raise UnsupportedEvent(
            f"{where} are raw bitmaps, and the event names no Avro schema: publish it with its schemaId and "
            "register that schema, or have the bridge decode the bitmaps"
        )
    if schema_id not in schemas:
        raise UnsupportedEvent(
            f"{where} are raw bitmaps, and their Avro schema {schema_id} is not registered: save what GetSchema "
            f"returns for that id as {schema_id}.avsc in the schema folder, start again and replay"
        )
    return schemas[schema_id]


def parse_event_schema(document: Any) -> EventSchema:
    """Return the fields of an Avro schema; `document` is the schema, or its JSON text.

    Raises:
        AvroSchemaError: It is not the Avro schema of a change event.
    """
    if isinstance(document, str | bytes):
        try:
            document = orjson.loads(document)
        except orjson.JSONDecodeError as error:
            raise AvroSchemaError(f"not JSON, from line {error.lineno}, column {error.colno} on") from None
    if not isinstance(document, dict) or document.get("type") != "record":
        raise AvroSchemaError('not an Avro record: expected {"type": "record", "fields": […]}')
    sent = document.get("fields")
    is_long = isinstance(sent, list) and len(sent) > MAX_FIELDS
    if is_long or count_objects(document, MAX_SCHEMA_OBJECTS) > MAX_SCHEMA_OBJECTS:
        raise AvroSchemaError(f"more than {MAX_FIELDS:,} fields, which is more than any Salesforce object has")
    try:
        record: Any = expand_schema(document)
        fields = tuple(EventField(_name(field), _parts(field["type"])) for field in record["fields"])
    except _NOT_AVRO:
        raise AvroSchemaError("not a valid Avro schema: save it as GetSchema returns it") from None
    names = [field.name for field in fields]
    if not names or names[0] != _HEADER:
        raise AvroSchemaError(f"not the schema of a change event: expected {_HEADER} as its first field")
    if len(set(names)) < len(names):
        raise AvroSchemaError("two fields have the same name: save the schema as GetSchema returns it")
    return fields


def _parts(type_: Any) -> tuple[str, ...]:
    """Return the field names of the one record in a type's union; its other branches are null or plain text."""
    branches = type_ if isinstance(type_, list) else [type_]
    records = [branch for branch in branches if isinstance(branch, dict) and branch["type"] == "record"]
    return tuple(map(_name, records[0]["fields"])) if len(records) == 1 else ()


def _name(field: Mapping[str, Any]) -> str:
    name = field["name"]
    if not isinstance(name, str):
        raise TypeError(name)  # fastavro does not check names
    return name


def load_avro_schemas(folder: Path | Traversable | None) -> AvroSchemas:
    """Return the schemas of a folder's *.avsc and *.json files by id; without a folder, none.

    A file holds a schema, or an object such as GetSchema's `{"schemaId": …, "schemaJson": …}` around one. Its id is the
    `schemaId` in it or, without one, the name of the file up to the suffix.

    Raises:
        AvroSchemaError: The folder or a file can't be used.
    """
    if folder is None:
        return NO_SCHEMAS
    try:
        files = sorted(folder.iterdir(), key=str) if folder.is_dir() else None
    except OSError as error:
        raise AvroSchemaError(f"{folder}: can't be read: {error.strerror}") from error
    if files is None:
        raise AvroSchemaError(f"{folder}: folder not found: create it, with a <schemaId>.avsc for each schema")
    found: dict[str, tuple[Path | Traversable, EventSchema]] = {}
    for path in files:
        if PurePosixPath(path.name).suffix not in _SCHEMA_FILES:
            continue
        schema_id, schema = _load(path)
        if schema_id in found:
            raise AvroSchemaError(f"{path}: schema {schema_id} is also in {found[schema_id][0]}: remove one of them")
        found[schema_id] = path, schema
    return {schema_id: schema for schema_id, (_, schema) in sorted(found.items())}


def _load(path: Path | Traversable) -> tuple[str, EventSchema]:
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise AvroSchemaError(f"{path}: can't be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise AvroSchemaError(
            f"{path}:{error.lineno}:{error.colno}: not JSON: save it as GetSchema returns it"
        ) from None
    schema_id = PurePosixPath(path.name).stem
    if isinstance(document, dict):
        schema_id = document.get("schemaId", schema_id)
        document = document.get("schemaJson", document.get("schema", document))
    if not _is_schema_id(schema_id):
        raise AvroSchemaError(
            f"{path}: not a schema id: use letters, digits, _, . and - in the file's name or in schemaId"
        )
    try:
        return schema_id, parse_event_schema(document)
    except AvroSchemaError as error:
        raise AvroSchemaError(f"{path}: {error}") from None


def _is_schema_id(value: Any) -> bool:
    return isinstance(value, str) and bool(_SCHEMA_ID.match(value))
