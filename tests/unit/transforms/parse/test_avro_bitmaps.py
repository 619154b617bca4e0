"""Field bitmaps are decoded by the event's own schema, or refused."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.crm.change_events import Commit, flat_event
from pipeline.local.crm.entity_fields import COMPOUND_FIELDS, ENTITY_FIELDS
from pipeline.local.crm.event_shapes import as_avro_json_bitmaps
from schemas.change_event import AccountChange, ChangeType, SourceMessage
from schemas.field_values import unusable_fields
from tests.fixtures.changes import ACCOUNT_FIELDS, COMMITTED_AT, account_id, event
from tests.fixtures.examples import examples
from tests.unit.transforms.parse.test_avro_schemas import ACCOUNT, ADDRESS, SCHEMA_ID, avro_schema
from transforms.errors import UnsupportedEvent
from transforms.parse.account_changes import Refusal
from transforms.parse.avro_bitmaps import decode_bitmaps
from transforms.parse.avro_schemas import NO_SCHEMAS, AvroSchemas, EventField, EventSchema, parse_event_schema
from transforms.parse.message_parsing import parse_change_event, parse_message
from transforms.parse.parse_change_events import ParseChangeEvents

BIG = EventSchema(
    (EventField("ChangeEventHeader"), *(EventField(f"F{i}", ADDRESS if i == 4 else ()) for i in range(1, 24)))
)


REGISTERED = {SCHEMA_ID: parse_event_schema(ACCOUNT)}


def _update(changes: Mapping[str, Any]) -> dict[str, Any]:
    commit = Commit(committed_at=COMMITTED_AT, transaction_key="t", user_id="u")
    flat = flat_event(
        entity="Account",
        record_ids=[account_id()],
        change_type=ChangeType.UPDATE,
        commit=commit,
        replay_id=1,
        changes=changes,
    )
    return as_avro_json_bitmaps(flat)


def _bitmap_event(*changed: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    return event({"Rating": "Hot"} if body is None else body, changedFields=list(changed))


def _changed(document: Any, schemas: AvroSchemas = NO_SCHEMAS) -> tuple[str, ...] | None:
    return parse_change_event(json.dumps(document).encode(), schemas=schemas).header.changed_fields


def test_bits_count_fields_from_the_least_significant() -> None:
    """0x400800 is fields 11 and 22, and 4-0x01 is the first part of field 4."""
    assert decode_bitmaps(["0x400800"], BIG) == ("F11", "F22")
    assert decode_bitmaps(["4-0x01"], BIG) == ("F4.Street",)
    assert decode_bitmaps(["0x1"], BIG) == ("ChangeEventHeader",)


def test_a_list_mixes_bitmaps_parts_and_names() -> None:
    """Bitmaps of both kinds and names may be mixed; a field that is named twice is listed once."""
    assert decode_bitmaps(["F3", "0x0000000a", "4-0x0006", "Other__c"], BIG) == (
        "F3",
        "F1",
        "F4.City",
        "F4.State",
        "Other__c",
    )
    assert decode_bitmaps([], BIG) == ()


def _encode(names: Iterable[str], schema: EventSchema) -> list[str]:
    """Return the bitmaps of fields as Salesforce describes them: bytes, the most significant first."""
    top, within = 0, dict.fromkeys(range(len(schema)), 0)
    positions = {field.name: position for position, field in enumerate(schema)}
    for name in names:
        field, _, part = name.partition(".")
        if part:
            within[positions[field]] += 2 ** schema[positions[field]].parts.index(part)
        else:
            top += 2 ** positions[field]
    digits = [("", top), *((f"{position}-", bits) for position, bits in within.items())]
    return [f"{prefix}0x{bits.to_bytes(bits.bit_length() // 8 + 1).hex()}" for prefix, bits in digits if bits]


_field_name = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)
_event_schema = st.dictionaries(
    _field_name.filter(lambda name: name != "ChangeEventHeader"),
    st.lists(_field_name, unique=True, max_size=12).map(tuple),
    min_size=1,
    max_size=80,
).map(
    lambda fields: EventSchema(
        (EventField("ChangeEventHeader"), *(EventField(name, parts) for name, parts in fields.items()))
    )
)


@examples(ordinary=20, slow=500)
@given(_event_schema, st.data())
def test_what_was_encoded_is_decoded(schema: EventSchema, data: st.DataObject) -> None:
    """For any fields and parts of a schema, decoding reverses encoding."""
    names = [name for field in schema for name in (field.name, *(f"{field.name}.{p}" for p in field.parts))]
    chosen = data.draw(st.sets(st.sampled_from(names)))
    assert set(decode_bitmaps(_encode(chosen, schema), schema)) == chosen


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("0x1000000", "has bit 24"),
        ("0x" + "f" * 100_000, "has bit 399999"),
        ("4-0x0800", "has bit 11, but the schema has 11 parts of field 4"),
        ("24-0x01", "within field 24"),
        ("999999-0x01", "within field 999999"),
        ("5-0x01", "not a compound field"),
        ("0x", "malformed"),
        ("0xGG", "malformed"),
        ("0X01", "malformed"),
        ("4-", "malformed"),
        ("-0x01", "malformed"),
        ("4-4-0x01", "malformed"),
        ("9" * 5_000 + "-0x01", "malformed"),
        (" 0x01", "malformed"),
        ("0x01\n", "malformed"),
        ("400800", "malformed"),
    ],
)
def test_a_bitmap_that_does_not_fit_is_refused(entry: str, reason: str) -> None:
    """Bits, fields and parts that the schema lacks, and malformed bitmaps, are unsupported, with the reason."""
    with pytest.raises(UnsupportedEvent, match=reason):
        decode_bitmaps(["Name", entry], BIG)


@given(st.lists(st.one_of(st.text(max_size=12), st.from_regex(r"([0-9]{1,3}-)?0x[0-9A-F]{1,8}", fullmatch=True))))
def test_any_list_is_decoded_or_refused(entries: list[str]) -> None:
    """Any list of entries becomes names without bitmaps, or is refused."""
    try:
        names = decode_bitmaps(entries, BIG)
    except UnsupportedEvent:
        return
    assert not [name for name in names if "0x" in name and name not in entries]
    assert len(set(names)) == len(names)


def test_the_published_event_is_refused_without_its_schema(published_events: Path) -> None:
    """A real event's bitmaps are unsupported without a schema, and the message says what to do."""
    payload = (published_events / "pozil_account_update_avrojson_bitmap.json").read_bytes()
    with pytest.raises(UnsupportedEvent, match=r"names no Avro schema: publish it with its schemaId and register"):
        parse_change_event(payload, schemas=REGISTERED)


@pytest.mark.parametrize("body", [{"Rating": 7}, {"Rating": "Hot", "BillingAddress": {"City": 7}}])
def test_a_value_that_nothing_can_hold_does_not_hide_the_schema(body: dict[str, Any]) -> None:
    """Its field, or the compound field that it is a part of, is compared with the schema's by its name."""
    document = {"payload": _bitmap_event("0x420000", body=body), "schemaId": SCHEMA_ID}
    text = json.dumps(document).replace(": 7", ": 1e400").encode()
    assert parse_change_event(text, schemas=REGISTERED).header.changed_fields == ("Rating", "LastModifiedDate")


def test_such_a_value_of_another_event_shows_that_the_schema_is_another_s() -> None:
    """A field that the schema lacks refuses the event, whatever its value is."""
    document = {"payload": _bitmap_event("0x420000", body={"Other__c": 7}), "schemaId": SCHEMA_ID}
    with pytest.raises(UnsupportedEvent, match="another event's"):
        parse_change_event(json.dumps(document).replace(": 7", ": 1e400").encode(), schemas=REGISTERED)


@pytest.mark.parametrize("as_text", [False, True])
def test_the_published_event_is_understood_with_its_schema(published_events: Path, as_text: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """0x420000 of a real event is Rating and LastModifiedDate if its envelope carries the schema."""
    document = json.loads((published_events / "pozil_account_update_avrojson_bitmap.json").read_bytes())
    schema = avro_schema(name for name in document["payload"] if name != "ChangeEventHeader")
    document["schema"] = json.dumps(schema) if as_text else schema
    (change,) = parse_message(SourceMessage(payload=json.dumps(document).encode()), account_fields=ACCOUNT_FIELDS)
    assert isinstance(change, AccountChange)
    assert change.changed_fields == ("Rating", "LastModifiedDate")
    assert change.values == {"Rating": "Hot", "LastModifiedDate": 1641819688000}


@pytest.mark.parametrize(
    "envelope",
    [
        {"schemaId": SCHEMA_ID},
        {"schema": SCHEMA_ID},
        {"schemaId": SCHEMA_ID, "schema": {"type": "struct", "fields": []}},
        {"schemaId": "another", "schema": ACCOUNT},
    ],
)
def test_the_envelope_brings_or_names_the_schema(envelope: dict[str, Any]) -> None:
    """The schema is found under either key; a schema in the envelope wins over a registered one."""
    assert _changed({"payload": _bitmap_event("0x420000"), **envelope}, REGISTERED) == ("Rating", "LastModifiedDate")


def test_the_nearest_envelope_names_the_schema() -> None:
    """A schema or id further out is used only if the nearer envelope has none."""
    inner = {"payload": _bitmap_event("0x420000"), "schemaId": SCHEMA_ID}
    assert _changed({"data": inner, "schema": "another"}, REGISTERED) == ("Rating", "LastModifiedDate")
    outer = {"data": {"payload": _bitmap_event("0x420000")}, "schemaId": SCHEMA_ID}
    assert _changed(outer, REGISTERED) == ("Rating", "LastModifiedDate")
    brought = {"data": {"payload": _bitmap_event("0x420000"), "schemaId": "another"}, "schema": ACCOUNT}
    assert _changed(brought) == ("Rating", "LastModifiedDate")
    with pytest.raises(UnsupportedEvent, match="another is not registered"):
        _changed(
            {"data": {"payload": _bitmap_event("0x420000"), "schema": "another"}, "schemaId": SCHEMA_ID}, REGISTERED
        )


def test_an_entity_alone_names_no_schema() -> None:
    """A registered schema of the entity is not used unless the event's envelope names it; attributes do not count."""
    payload = json.dumps(_bitmap_event("0x420000")).encode()
    (refusal,) = parse_message(
        SourceMessage(payload=payload, attributes={"schemaId": SCHEMA_ID}), REGISTERED, account_fields=ACCOUNT_FIELDS
    )
    assert isinstance(refusal, Refusal)
    assert "names no Avro schema" in str(refusal.error)


def test_an_unregistered_schema_is_asked_for_by_name() -> None:
    """The refusal names the schema id, and the file name to save the schema under."""
    document = {"payload": _bitmap_event("0x420000"), "schemaId": "unknown-id"}
    (refusal,) = parse_message(
        SourceMessage(payload=json.dumps(document).encode()), REGISTERED, account_fields=ACCOUNT_FIELDS
    )
    assert isinstance(refusal, Refusal)
    assert "unknown-id is not registered: save what GetSchema returns for that id as unknown-id.avsc" in str(
        refusal.error
    )


def test_a_schema_without_the_events_fields_is_not_its_own() -> None:
    """A schema that lacks a field of the event can't be the event's own, and is refused."""
    document = {"payload": _bitmap_event("0x420000", body={"Rating": "Hot", "New__c": 1}), "schemaId": SCHEMA_ID}
    with pytest.raises(UnsupportedEvent, match="lacks fields that it carries"):
        _changed(document, REGISTERED)


@pytest.mark.parametrize("schemas", [NO_SCHEMAS, {"S1": (EventField("ChangeEventHeader"),)}])
@pytest.mark.parametrize("entry", ["0x400800", "0xZ"])
@pytest.mark.parametrize("name", ["changedFields", "nulledFields", "diffFields"])
def test_the_list_that_has_bitmaps_is_named(name: str, entry: str, schemas: AvroSchemas) -> None:
    """The refusal speaks of no other list."""
    lists = {"changedFields": ["Rating"], "nulledFields": [], "diffFields": []} | {name: [entry]}
    with pytest.raises(UnsupportedEvent) as refused:
        _changed({"schemaId": "S1", "payload": event({}, **lists)}, schemas)
    if "bit 2" not in str(refused.value):  # which tells of the schema alone
        assert {it for it in lists if it in str(refused.value)} == {name}


def test_names_need_no_schema() -> None:
    """An event that lists names needs no schema, whatever its envelope says."""
    document = {"payload": _bitmap_event("Rating", body={"New__c": 1}), "schema": {"type": "record"}}
    assert _changed(document) == ("Rating",)


_leaf = st.sampled_from(
    [
        f"{name}.{part}" if part else name
        for name, kind in ENTITY_FIELDS["Account"].items()
        for part in (COMPOUND_FIELDS.get(kind) or [""])
    ]
)


@given(st.dictionaries(_leaf, st.sampled_from(["x", None]), min_size=1))
def test_changed_and_cleared_fields_come_back(changes: dict[str, Any]) -> None:
    """Bitmaps of any changed and cleared account fields decode to these fields."""
    document = _update(changes) | {"schemaId": SCHEMA_ID}
    (change,) = parse_message(
        SourceMessage(payload=json.dumps(document).encode()), REGISTERED, account_fields=ACCOUNT_FIELDS
    )
    assert isinstance(change, AccountChange)
    assert set(change.changed_fields) == set(changes)
    assert set(change.nulled_fields) == {name for name, value in changes.items() if value is None}
    told = {name: value for name, value in changes.items() if value is not None}
    unusable = unusable_fields("Account", told)
    assert change.values == {name: value for name, value in told.items() if name not in unusable}


def test_the_stage_decodes_with_the_schemas_it_was_given() -> None:
    """The stage decodes a message whose schema is registered."""
    document = _update({"Rating": "Hot"}) | {"schemaId": SCHEMA_ID}

    def check(changes: list[AccountChange]) -> None:
        assert [change.changed_fields for change in changes] == [("Rating",)]

    with TestPipeline() as pipeline:
        messages = pipeline | beam.Create([PubsubMessage(json.dumps(document).encode(), {})])
        assert_that((messages | ParseChangeEvents("1", ACCOUNT_FIELDS, REGISTERED)).changes, check)
