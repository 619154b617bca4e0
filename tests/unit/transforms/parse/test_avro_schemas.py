"""Avro schemas of change events: their fields, and the folder that registers them."""

import copy
import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.crm.entity_fields import COMPOUND_FIELDS, ENTITY_FIELDS, FieldKind
from transforms.parse.avro_schemas import (
    NO_SCHEMAS,
    AvroSchemaError,
    EventField,
    load_avro_schemas,
    parse_event_schema,
)

SCHEMA_ID = "JPyUm_b7b4SSjXobT5DOPg"
ADDRESS = tuple(COMPOUND_FIELDS[FieldKind.ADDRESS])
PERSON_NAME = tuple(COMPOUND_FIELDS[FieldKind.PERSON_NAME])


def avro_schema(fields: Iterable[str]) -> dict[str, Any]:
    """Return the schema as GetSchema writes it: a record type is defined once and then referred to by name."""
    schema_fields: list[dict[str, Any]] = [
        {"name": "ChangeEventHeader", "type": _record("ChangeEventHeader", ("entityName", "recordIds"))}
    ]
    address: Any = _record("Address", ADDRESS)
    for name in fields:
        type_: Any = ["null", "string"]
        if name == "Name":
            type_ = ["null", "string", _record("Switchable_PersonName", PERSON_NAME)]
        elif name.endswith("Address"):
            type_, address = ["null", address], "Address"
        schema_fields.append({"name": name, "type": type_, "doc": "Data:Text", "default": None})
    return {
        "type": "record",
        "name": "AccountChangeEvent",
        "namespace": "com.sforce.eventbus",
        "fields": schema_fields,
    }


def _record(name: str, fields: Iterable[str]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": field, "type": ["null", "string"]} for field in fields]}


ACCOUNT = avro_schema(ENTITY_FIELDS["Account"])


def test_parts_are_found_through_unions_and_references() -> None:
    """A compound field has one record in its union, defined there or referred to by name."""
    schema = parse_event_schema(ACCOUNT)
    fields = {field.name: field.parts for field in schema}
    assert fields["BillingAddress"] == fields["ShippingAddress"] == ADDRESS
    assert fields["Name"] == PERSON_NAME
    assert fields["Rating"] == ()
    assert [field.name for field in schema] == ["ChangeEventHeader", *ENTITY_FIELDS["Account"]]


def test_references_are_resolved_by_namespace() -> None:
    """Records with the same short name in two namespaces are distinct; full names refer to either."""
    own = _record("Address", ["A"]) | {"namespace": "other"}
    document = avro_schema(["BillingAddress"])
    inner = {"name": "I", "type": _record("Inner", ["C"])}
    document["fields"] += [
        {"name": "Nested", "type": {"type": "array", "items": {"type": "map", "values": own}}},
        {"name": "Here", "type": "Address"},
        {"name": "There", "type": ["null", "other.Address"]},
        {"name": "Dotted", "type": _record("third.Address", ["B"])},
        {"name": "Within", "type": "third.Inner"},
        {"name": "Either", "type": ["Address", "other.Address"]},
    ]
    document["fields"][5]["type"]["fields"].append(inner)
    parts = {field.name: field.parts for field in parse_event_schema(json.dumps(document))}
    assert (parts["Here"], parts["There"]) == (ADDRESS, ("A",))
    assert (parts["Dotted"], parts["Within"]) == (("B", "I"), ("C",))
    assert parts["Nested"] == parts["Either"] == ()


_nested: Any = "string"
for _ in range(400):
    _nested = {"type": "array", "items": _nested}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "not an Avro record"),
        ([], "not an Avro record"),
        ("{", "not JSON"),
        ('{"type": "struct", "fields": []}', "not an Avro record"),
        ({"type": "record"}, "not a valid Avro schema"),
        ({"type": "record", "name": "A", "fields": {"ChangeEventHeader": 1}}, "not a valid Avro schema"),
        ({"type": "record", "name": "A", "fields": []}, "ChangeEventHeader as its first field"),
        (_record("A", ["Name"]), "ChangeEventHeader as its first field"),
        (_record("A", ["ChangeEventHeader"]) | {"fields": [{"name": "ChangeEventHeader"}]}, "not a valid Avro schema"),
        (avro_schema(["Name"]) | {"fields": ["Name"]}, "not a valid Avro schema"),
        (avro_schema(["Name"]) | {"fields": [{"name": ["Name"], "type": "string"}]}, "not a valid Avro schema"),
        (avro_schema(["Name"]) | {"fields": [{"name": "Name", "type": "Unknown"}]}, "not a valid Avro schema"),
        (_record("A", ["ChangeEventHeader", "Name", "Name"]), "have the same name"),
    ],
)
def test_what_is_no_schema_of_a_change_event_is_refused(document: Any, reason: str) -> None:
    """Other JSON is refused, and the reason says what is expected."""
    with pytest.raises(AvroSchemaError, match=reason):
        parse_event_schema(document)


def test_a_deeply_nested_schema_is_read() -> None:
    """Schemas from publishers may be nested as deeply as JSON allows."""
    document = avro_schema(["Rating"])
    document["fields"].append({"name": "Deep", "type": _nested})
    assert parse_event_schema(json.dumps(document))[-1] == EventField("Deep")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["record", "Address", "array", "", "a.b", "ü"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "name", "fields", "items", "namespace", "schema"]), inner, max_size=5
        )
    ),
    max_leaves=30,
)


@given(_json, _json, _json)
def test_any_json_is_a_schema_or_refused(whole: Any, field: Any, type_: Any) -> None:
    """Any JSON that a publisher sends as a schema, or within one, has fields or is refused."""
    mutated = copy.deepcopy(ACCOUNT)
    mutated["fields"][1:3] = [field, {"name": "Name", "type": type_}]
    for document in (whole, mutated):
        try:
            schema = parse_event_schema(document)
        except AvroSchemaError:
            continue
        assert schema[0].name == "ChangeEventHeader"
        assert all(isinstance(part, str) for field in schema for part in (field.name, *field.parts))


def test_a_folder_registers_its_files(tmp_path: Path) -> None:
    """The id is the file's name, or the schemaId in it; other files are ignored."""
    (tmp_path / f"{SCHEMA_ID}.avsc").write_text(json.dumps(ACCOUNT))
    (tmp_path / "inside.json").write_text(json.dumps(ACCOUNT | {"schemaId": "second"}))
    (tmp_path / "answer.json").write_text(json.dumps({"schemaId": "third", "schemaJson": json.dumps(ACCOUNT)}))
    (tmp_path / "README.md").write_text("not a schema")
    schemas = load_avro_schemas(tmp_path)
    assert set(schemas) == {SCHEMA_ID, "second", "third"}
    assert schemas["third"] == parse_event_schema(ACCOUNT)


def test_no_folder_registers_nothing(tmp_path: Path) -> None:
    """Without a folder, or with an empty one, there are no schemas."""
    assert load_avro_schemas(None) == load_avro_schemas(tmp_path) == NO_SCHEMAS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", ":1:2: not JSON"),
        ("{}", "not an Avro record"),
        (json.dumps(_record("A", ["Name"])), "ChangeEventHeader as its first field"),
        ('{"schemaId": 7, "schemaJson": "{}"}', "not a schema id"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, reason: str) -> None:
    """The error names the file and what is wrong with it."""
    path = tmp_path / "bad.avsc"
    path.write_text(text)
    with pytest.raises(AvroSchemaError, match=reason) as error:
        load_avro_schemas(tmp_path)
    assert str(error.value).startswith(str(path))


def test_a_missing_folder_and_a_doubled_id_are_named(tmp_path: Path) -> None:
    """A missing folder, an unreadable file and two schemas with one id are errors."""
    with pytest.raises(AvroSchemaError, match=r"none: folder not found"):
        load_avro_schemas(tmp_path / "none")
    (tmp_path / "one.avsc").write_text(json.dumps(ACCOUNT))
    (tmp_path / "one.json").write_text(json.dumps(ACCOUNT))
    with pytest.raises(AvroSchemaError, match=r"one\.json: schema one is also in .*one\.avsc"):
        load_avro_schemas(tmp_path)
    (tmp_path / "folder.avsc").mkdir()
    with pytest.raises(AvroSchemaError, match=r"folder\.avsc: can't be read"):
        load_avro_schemas(tmp_path)


def test_schemas_travel_to_workers() -> None:
    """The registered schemas are the same after pickling."""
    registered = {"id": parse_event_schema(ACCOUNT)}
    again = pickle.loads(pickle.dumps(registered))  # noqa: S301 - our own bytes
    assert again == registered
