"""The shapes of change events: faithful to published ones, and each with its own conventions about null."""

import base64
import datetime as dt
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.crm.change_events import Commit, JsonObject, flat_event
from pipeline.local.crm.entity_fields import ENTITY_FIELDS
from pipeline.local.crm.event_shapes import (
    SHAPES,
    as_avro_json,
    as_avro_json_bitmaps,
    as_base64,
    as_cloudevent_data,
    as_cometd_envelope,
    as_doubly_encoded_json,
    as_event_relay_detail,
    as_event_relay_payload,
    as_kafka_connector,
    as_payload_alone,
    as_pubsub_api_flat,
    as_unbundled,
    can_hold,
    shaped_payload,
)
from schemas.change_event import ChangeType

AT: Final = dt.datetime(2026, 3, 2, 9, 30, 15, tzinfo=dt.UTC)
COMMIT: Final = Commit(AT, "0002ac83-fcbd-9443-f901-7d3a380feb2c", "005Hs00000LHeVTIA1")
ACCOUNT: Final = "0015f00002J9YYEAA3"


def update(changes: dict[str, Any], *ids: str, entity: str = "Account", **enriched: str) -> JsonObject:
    """A flat UPDATE."""
    return flat_event(
        entity=entity,
        record_ids=ids or (ACCOUNT,),
        change_type=ChangeType.UPDATE,
        commit=COMMIT,
        replay_id=18098167,
        changes=changes,
        enriched=enriched,
    )


CLEARED: Final = update({"Rating": None, "BillingAddress.City": "Köln", "BillingAddress.State": None})


def published(folder: Path, name: str) -> JsonObject:
    """A published event."""
    event: JsonObject = orjson.loads((folder / f"{name}.json").read_bytes())
    return event


def outline(value: Any) -> Any:
    """The keys of a document, two levels deep in its header, with the types of its values."""
    if isinstance(value, dict):
        return {name: outline(inner) for name, inner in value.items()}
    return type(value).__name__


def header_and_envelope(event: JsonObject, *path: str) -> tuple[Any, set[str]]:
    """The outline of the header, and the keys of the envelope."""
    envelope, inner = event, event
    for key in path:
        inner = inner[key]
    return outline(inner["ChangeEventHeader"]), set(envelope)


@pytest.mark.parametrize(
    ("name", "shape", "path"),
    [
        ("pozil_account_update_flattened_v5", as_pubsub_api_flat, ("payload",)),
        ("pozil_account_update_avrojson_names", as_avro_json, ("payload",)),
        ("pozil_account_update_avrojson_bitmap", as_avro_json_bitmaps, ("payload",)),
        ("triggermesh_account_update_cloudevent_data", as_cloudevent_data, ("payload",)),
        ("amp_update_contact", as_payload_alone, ()),
        ("amp_update_user", as_unbundled, ()),
    ],
)
def test_a_shape_has_the_keys_and_types_of_a_published_event(
    name: str, shape: Any, path: tuple[str, ...], published_events: Path
) -> None:
    """Envelope and header have exactly the keys, and the types of values, that a published event has."""
    theirs, ours = published(published_events, name), shape(update({"Rating": "Hot", "LastModifiedDate": AT}))
    their_header, their_keys = header_and_envelope(theirs, *path)
    our_header, our_keys = header_and_envelope(ours, *path)
    assert our_header == their_header
    if path:
        assert our_keys == their_keys


def test_the_avro_json_of_a_published_flat_event_has_the_published_fields(published_events: Path) -> None:
    """Wrapping a published flat event gives the fields, in the order, and the wrappers of a published Avro JSON."""
    avro = as_avro_json(published(published_events, "pozil_account_update_flattened_v5"))["payload"]
    fields = list(published(published_events, "pozil_account_update_avrojson_compound_names")["payload"])
    assert list(avro) == fields[: len(avro)]
    address = avro["BillingAddress"]["com.sforce.eventbus.Address"]
    assert address["City"] == {"string": "San Francisco"}
    assert address["PostalCode"] is None
    assert avro["LastModifiedDate"] == {"long": 1696444513000}


def test_account_fields_are_those_of_a_published_event(published_events: Path) -> None:
    """The Account schema here lists the published fields, in the published order."""
    fields = list(published(published_events, "pozil_account_update_avrojson_names")["payload"])
    assert fields == ["ChangeEventHeader", *ENTITY_FIELDS["Account"]]


def test_bitmaps_are_those_that_salesforce_sent(published_events: Path) -> None:
    """Rating and LastModifiedDate are 0x420000, as in a published event."""
    theirs = published(published_events, "pozil_account_update_avrojson_bitmap")["payload"]["ChangeEventHeader"][
        "changedFields"
    ]
    ours = as_avro_json_bitmaps(update({"Rating": "Hot", "LastModifiedDate": AT}))
    assert ours["payload"]["ChangeEventHeader"]["changedFields"] == theirs == ["0x420000"]


@pytest.mark.parametrize(
    ("changed", "bitmaps"),
    [
        (["Industry", "LastModifiedDate"], ["0x400800"]),
        (["BillingAddress.Street"], ["4-0x01"]),
        (["BillingAddress.City", "BillingAddress.State", "Name"], ["0x02", "4-0x06"]),
        ([], []),
    ],
)
def test_bitmaps_count_fields_from_the_header_on(changed: list[str], bitmaps: list[str]) -> None:
    """Bit 0 is the header; compound parts have a bitmap of their own; no change gives no bitmap."""
    ours = as_avro_json_bitmaps(update(dict.fromkeys(changed, "x")))
    assert ours["payload"]["ChangeEventHeader"]["changedFields"] == bitmaps


def test_the_pubsub_api_sends_every_field_and_names_the_cleared_ones() -> None:
    """An unchanged and a cleared field are both null; nulledFields tells them apart."""
    payload = as_pubsub_api_flat(CLEARED)["payload"]
    assert set(payload) == {"ChangeEventHeader", *ENTITY_FIELDS["Account"]}
    assert payload["Rating"] is payload["Industry"] is None
    assert payload["BillingAddress"]["State"] is payload["BillingAddress"]["Street"] is None
    assert payload["ChangeEventHeader"]["nulledFields"] == ["Rating", "BillingAddress.State"]


def test_cometd_sends_changed_fields_only_and_null_means_cleared() -> None:
    """No nulledFields, no unchanged field, and a null where something was cleared, also within a compound field."""
    payload = as_cometd_envelope(CLEARED)["data"]["payload"]
    assert not {"nulledFields", "diffFields"} & payload["ChangeEventHeader"].keys()
    assert payload["Rating"] is None
    assert payload["BillingAddress"] == {"City": "Köln", "State": None}
    assert set(payload) == {"ChangeEventHeader", "Rating", "BillingAddress"}


def test_cometd_writes_dates_in_iso_8601_and_the_pubsub_api_in_milliseconds() -> None:
    """Moments end in Z over CometD, days have no time; over the Pub/Sub API both are epoch milliseconds."""
    event = update({"CloseDate": AT.date(), "LastModifiedDate": AT}, "006Hs00000LHeVTIA1", entity="Opportunity")
    cometd, flat = as_payload_alone(event), as_pubsub_api_flat(event)["payload"]
    assert (cometd["CloseDate"], cometd["LastModifiedDate"]) == ("2026-03-02", "2026-03-02T09:30:15.000Z")
    assert (flat["CloseDate"], flat["LastModifiedDate"]) == (1772409600000, 1772443815000)


def test_an_enriched_value_is_sent_without_being_changed() -> None:
    """CometD and the Pub/Sub API both carry it, and neither names it in changedFields."""
    event = update({"StageName": "Closed Won"}, entity="Opportunity", AccountId=ACCOUNT)
    for payload in (as_payload_alone(event), as_pubsub_api_flat(event)["payload"]):
        assert payload["AccountId"] == ACCOUNT
        assert payload["ChangeEventHeader"]["changedFields"] == ["StageName"]


def test_event_relay_leaves_empty_fields_out_and_keeps_nulled_fields() -> None:
    """What was cleared is in nulledFields alone, whether the event is in `detail.payload` or in `detail`."""
    for detail in (as_event_relay_payload(CLEARED)["detail"]["payload"], as_event_relay_detail(CLEARED)["detail"]):
        assert detail["ChangeEventHeader"]["nulledFields"] == ["Rating", "BillingAddress.State"]
        assert "Rating" not in detail
        assert detail["BillingAddress"] == {"City": "Köln"}


def test_kafka_sends_null_for_every_field_and_names_object_and_type(published_events: Path) -> None:
    """The connector's record has all fields, its own ones, a replay id as text, and no nulledFields."""
    record = as_kafka_connector(CLEARED)["payload"]
    theirs = published(published_events, "confluent_contact_create_kafkaconnect_payload")["payload"]
    assert set(theirs["ChangeEventHeader"]) == set(record["ChangeEventHeader"])
    assert {"Id", "ReplayId", "_ObjectType", "_EventType"} <= theirs.keys() & record.keys()
    assert record["_ObjectType"] == "AccountChangeEvent"
    assert record["ReplayId"] == "18098167"
    assert record["Rating"] is record["Industry"] is None
    assert {field["field"] for field in as_kafka_connector(CLEARED)["schema"]["fields"]} == set(
        ENTITY_FIELDS["Account"]
    )


def test_an_unbundled_event_is_about_one_record() -> None:
    """`recordId` replaces `recordIds`; an event about two records is refused."""
    header = as_unbundled(CLEARED)["ChangeEventHeader"]
    assert header["recordId"] == ACCOUNT
    assert "recordIds" not in header
    two = update({"Rating": "Hot"}, ACCOUNT, "0015f00002J9YYFAA3")
    assert not can_hold(as_unbundled, two)
    with pytest.raises(ValueError, match="too many values"):
        as_unbundled(two)


def test_encodings_hold_the_event() -> None:
    """Base64 holds the flat event; the doubly encoded one is a JSON string of an envelope."""
    assert orjson.loads(base64.b64decode(as_base64(CLEARED), validate=True)) == CLEARED
    text = orjson.loads(as_doubly_encoded_json(CLEARED))
    assert orjson.loads(text) == as_cometd_envelope(CLEARED)


def test_a_gap_event_has_a_header_only() -> None:
    """No shape but those that send every field has anything beside the header."""
    gap = flat_event(
        entity="Account", record_ids=[ACCOUNT], change_type=ChangeType.GAP_UPDATE, commit=COMMIT, replay_id=1
    )
    assert set(as_payload_alone(gap)) == {"ChangeEventHeader"}
    assert set(as_event_relay_detail(gap)["detail"]) == {"ChangeEventHeader"}
    assert {value for name, value in gap["payload"].items() if name != "ChangeEventHeader"} == {None}


TEXT_FIELDS = st.sampled_from(["Name", "Rating", "Website", "Description", "BillingAddress.City", "SLA__c"])


@given(changes=st.dictionaries(TEXT_FIELDS, st.none() | st.text(max_size=20)))
def test_no_shape_alters_the_event_it_is_given(changes: dict[str, str | None]) -> None:
    """Shapes are pure: the event is not changed, and the bytes repeat."""
    event, untouched = update(changes), update(changes)
    for shape in SHAPES.values():
        assert shaped_payload(event, shape) == shaped_payload(event, shape)
    assert event == untouched


@given(changes=st.dictionaries(TEXT_FIELDS, st.text(min_size=1, max_size=20), min_size=1))
def test_every_shape_carries_every_value(changes: dict[str, str]) -> None:
    """Each shape holds the changed text once it is decoded."""
    event = update(changes)
    for shape in SHAPES.values():
        shaped = shape(event)
        texts = set(_texts(orjson.loads(_decoded(shaped)) if isinstance(shaped, bytes) else shaped))
        assert set(changes.values()) <= texts
        assert set(changes) <= texts


def test_an_unknown_field_is_refused() -> None:
    """An event can only name fields of its entity's schema."""
    for name in ("Nonsense", "BillingAddress.Planet"):
        with pytest.raises(KeyError):
            update({name: "x"})


def _decoded(payload: bytes) -> bytes:
    if payload.startswith(b'"'):
        return str(orjson.loads(payload)).encode()
    return base64.b64decode(payload)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []
