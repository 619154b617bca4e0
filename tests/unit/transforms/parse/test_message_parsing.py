"""From a message's bytes to changes of accounts, refusals, and records that change no account."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.change_event import AccountChange, ChangeType, SourceMessage, UnnamedChange, payload_event_id
from schemas.failures import ErrorClass
from schemas.outcome import OutcomeKind, SkipReason
from schemas.record import to_json
from tests.fixtures.changes import ACCOUNT_FIELDS, COMMITTED_AT, account_id, payload
from tests.fixtures.examples import examples
from tests.fixtures.planted_secrets import SESSION_ID_IN_PAYLOAD
from transforms.parse.account_changes import NoChange, ParsedRecord, Refusal
from transforms.parse.message_parsing import parse_message


def _parse(bytes_: bytes, **attributes: str) -> list[ParsedRecord]:
    return parse_message(SourceMessage(payload=bytes_, attributes=attributes), account_fields=ACCOUNT_FIELDS)


def _one(bytes_: bytes, **attributes: str) -> ParsedRecord:
    (record,) = _parse(bytes_, **attributes)
    return record


def _change(bytes_: bytes) -> AccountChange:
    record = _one(bytes_)
    assert isinstance(record, AccountChange)
    return record


def test_an_account_update_is_a_change() -> None:
    """Header and values become the change of one account, with its source message."""
    change = _change(payload({"Rating": "Hot"}))
    assert change.account_id == account_id()
    assert change.committed_at == COMMITTED_AT
    assert change.changed_fields == ("Rating", "LastModifiedDate")
    assert change.values == {"Rating": "Hot"}
    assert change.source.payload == payload({"Rating": "Hot"})


def test_each_record_id_is_a_change_of_its_own() -> None:
    """An event merged from several records becomes one change per record, with different event ids."""
    records = _parse(payload(recordIds=[account_id(1), account_id(2), account_id(1)]))
    changes = [record for record in records if isinstance(record, AccountChange)]
    assert [change.account_id for change in changes] == [account_id(1), account_id(2)]
    assert len({change.event_id for change in changes}) == 2


def test_a_malformed_id_costs_its_record_alone() -> None:
    """One malformed id among several is refused; the others are parsed."""
    bad = account_id(2)[:15] + "AAB"
    records = _parse(payload(recordIds=[account_id(1), bad]))
    assert isinstance(records[0], AccountChange)
    assert isinstance(records[1], Refusal)
    assert records[1].error.error_class is ErrorClass.INVALID_EVENT


@pytest.mark.parametrize("other", [None, 5, {}, "", "null"])
@pytest.mark.parametrize("as_text", [False, True])
def test_an_entry_of_record_ids_that_is_no_text_costs_its_record_alone(other: object, *, as_text: bool) -> None:
    """Wherever it stands: it is a refusal of its own, and its replay is that refusal again."""
    for ids in ([account_id(1), other], [other, account_id(1)]):
        records = _parse(payload(recordIds=json.dumps(ids) if as_text else ids))
        (change,) = (record for record in records if isinstance(record, AccountChange))
        (refusal,) = (record for record in records if isinstance(record, Refusal))
        assert change.account_id == account_id(1)
        assert "ChangeEventHeader.recordIds" in str(refusal.error)
        (again,) = _parse(refusal.received.source.payload)
        assert isinstance(again, Refusal)
        assert again.received.event_id == refusal.received.event_id


@pytest.mark.parametrize("change_type", ["CREATE", "DELETE", "UNDELETE", "GAP_UPDATE", "GAP_DELETE"])
def test_lists_that_nobody_reads_refuse_nothing(change_type: str) -> None:
    """The lists are read of an UPDATE only; bitmaps without a schema do not keep an account from being deleted."""
    lists = {"changedFields": ["0x400800"], "nulledFields": ["4-0x01"], "diffFields": ["0x2"]}
    change = _change(payload({"Rating": "Hot"}, changeType=change_type, **lists))
    assert change == replace(_change(payload({"Rating": "Hot"}, changeType=change_type)), source=change.source)


@pytest.mark.parametrize(
    "said",
    [
        {"changedFields": ["0x400800"]},
        {"changeType": "SNAPSHOT"},
        {"changeType": "MERGE", "changedFields": ["0x400800"]},
        {"commitTimestamp": int(COMMITTED_AT.timestamp() * 1000) + 86_400_000},
    ],
)
def test_what_nobody_reads_of_an_entity_that_does_not_count_refuses_nothing(said: dict[str, Any]) -> None:
    """Each record is skipped, and the ledger has the changeType as it came; of an account, each is refused."""
    ids = ["00Q000000000001AAA", "00Q000000000002AAA"]
    message = SourceMessage(payload=payload(entityName="Lead", recordIds=ids, **said), published_at=COMMITTED_AT)
    several = SourceMessage(payload=b"[%b,%b]" % (message.payload, payload()), published_at=COMMITTED_AT)
    for source in (message, several):
        records = parse_message(source, account_fields=ACCOUNT_FIELDS)[:2]
        assert [type(record) for record in records] == [NoChange, NoChange]
        for record, record_id in zip(records, ids, strict=True):
            assert isinstance(record, NoChange)
            assert (record.outcome, record.reason) == (OutcomeKind.SKIPPED, SkipReason.UNSUPPORTED_ENTITY)
            assert record.received.record_id == record_id
            assert record.received.change_type == said.get("changeType", "UPDATE")
    of_account = SourceMessage(payload=payload(**said), published_at=COMMITTED_AT)
    assert isinstance(parse_message(of_account, account_fields=ACCOUNT_FIELDS)[0], Refusal)


def test_text_that_looks_like_no_change_type_is_not_kept() -> None:
    """It could be a secret."""
    record = _one(payload(entityName="Lead", recordIds=["00Q000000000001AAA"], changeType=SESSION_ID_IN_PAYLOAD))
    assert isinstance(record, NoChange)
    assert record.received.change_type is None


def test_identity_survives_redelivery_replay_and_shape() -> None:
    """The same change in another envelope, with the other form of the id, has the same event id."""
    plain = payload()
    enveloped = json.dumps(
        {"schemaId": "s", "replayId": 9, "payload": json.loads(payload(recordIds=[account_id()[:15]]))}
    )
    assert _change(plain).event_id == _change(enveloped.encode()).event_id
    assert _change(plain).event_id != _change(payload(sequenceNumber=2)).event_id


@pytest.mark.parametrize("record_id", ["001*", "000000000000000AAA"])
def test_wildcards_ask_for_a_resync(record_id: str) -> None:
    """An id that stands for the whole entity is never scored."""
    record = _one(payload({}, recordIds=[record_id], changeType="GAP_OVERFLOW", changedFields=None))
    assert isinstance(record, NoChange)
    assert record.outcome is OutcomeKind.RESYNC_REQUESTED


@pytest.mark.parametrize("entity", ["Contact", "Opportunity", "Task", "Event", "Case"])
def test_related_records_change_their_account(entity: str) -> None:
    """A change of a record that names its account is a change of that account."""
    record_id = "003ak00000IiFInAAN"
    change = _change(payload({"AccountId": account_id(7)}, entityName=entity, recordIds=[record_id]))
    assert change.account_id == account_id(7)
    assert change.record_id == record_id
    assert change.entity_name == entity


@pytest.mark.parametrize("entity", ["Task", "Event"])
def test_activities_can_name_their_account_as_what_they_are_about(entity: str) -> None:
    """WhatId counts if it is an account's; AccountId, which Salesforce derives from it, comes first."""
    record = {"entityName": entity, "recordIds": ["00Tak00000IiFIn"]}
    assert _change(payload({"WhatId": account_id(7)}, **record)).account_id == account_id(7)
    both = payload({"AccountId": account_id(8), "WhatId": account_id(7)}, **record)
    assert _change(both).account_id == account_id(8)
    assert isinstance(_one(payload({"WhatId": "006ak00000IiFIn"}, **record)), UnnamedChange)


@pytest.mark.parametrize(
    ("entity", "body"),
    [
        ("Contact", {}),
        ("Opportunity", {"AccountId": None}),
        ("Task", {"WhatId": "006ak00000IiFInAAN"}),
        ("Opportunity", {"WhatId": account_id(7)}),
    ],
)
@pytest.mark.parametrize("change_type", ["UPDATE", "DELETE", "GAP_CREATE", "GAP_UPDATE"])
def test_a_related_record_that_names_no_account_goes_on_unnamed(
    entity: str, body: dict[str, Any], change_type: str
) -> None:
    """Its account is found later; the change has all that the event says."""
    record_id = "003ak00000IiFInAAN"
    record = _one(payload(body, entityName=entity, recordIds=[record_id], changeType=change_type))
    assert isinstance(record, UnnamedChange)
    assert (record.entity_name, record.record_id, record.change_type) == (entity, record_id, change_type)
    assert record.of_account(account_id(7)).record_id == record_id


@pytest.mark.parametrize("change_type", ["CREATE", "UNDELETE"])
@pytest.mark.parametrize(
    ("entity", "body"),
    [
        ("Contact", {"LastName": "Müller"}),
        ("Opportunity", {"Name": "x", "AccountId": None}),
        ("Case", {"Subject": "x", "AccountId": ""}),
        ("Task", {"Subject": "x", "WhatId": None}),
    ],
)
def test_a_record_that_is_created_without_an_account_has_none(
    entity: str, body: dict[str, Any], change_type: str
) -> None:
    """Such an event has every field of its record: there is nothing to look up."""
    record = _one(payload(body, entityName=entity, recordIds=["003ak00000IiFInAAN"], changeType=change_type))
    assert isinstance(record, NoChange)
    assert (record.outcome, record.reason) == (OutcomeKind.SKIPPED, SkipReason.NO_ACCOUNT)


def test_a_record_that_is_created_for_another_record_is_looked_up() -> None:
    """A task of a deal belongs to the deal's account; an event without a body says nothing."""
    task = {"Subject": "x", "WhatId": "006ak00000IiFInAAN"}
    for entity, body in (("Task", task), ("Contact", {})):
        record = _one(payload(body, entityName=entity, recordIds=["003ak00000IiFInAAN"], changeType="CREATE"))
        assert isinstance(record, UnnamedChange)


def test_an_empty_account_is_none() -> None:
    """Some bridges write an empty text for null: the account is looked up, the event is not refused."""
    body = {"StageName": "Closed Won", "AccountId": ""}
    record = _one(payload(body, entityName="Opportunity", recordIds=["006ak00000IiFInAAN"], changeType="UPDATE"))
    assert isinstance(record, UnnamedChange)


@pytest.mark.parametrize(("entity", "body"), [("Lead", {}), ("User", {"AccountId": "x"})])
def test_entities_that_do_not_count_are_skipped(entity: str, body: dict[str, Any]) -> None:
    """A record of another entity is skipped, not dead-lettered, whatever it names."""
    record = _one(payload(body, entityName=entity, recordIds=["003ak00000IiFInAAN"]))
    assert isinstance(record, NoChange)
    assert (record.outcome, record.reason) == (OutcomeKind.SKIPPED, SkipReason.UNSUPPORTED_ENTITY)


@pytest.mark.parametrize(
    ("bytes_", "error_class"),
    [
        (b"", ErrorClass.UNDECODABLE),
        (b"\xff\xfe", ErrorClass.UNDECODABLE),
        (b"<xml/>", ErrorClass.UNDECODABLE),
        (b"{}", ErrorClass.INVALID_EVENT),
        (payload(changeType="SNAPSHOT"), ErrorClass.UNSUPPORTED_EVENT),
        (payload(changeType="MERGE"), ErrorClass.UNSUPPORTED_EVENT),
        (payload(changeType=None), ErrorClass.INVALID_EVENT),
        (payload(changeType=3), ErrorClass.INVALID_EVENT),
        (payload(changedFields=["0x420000"]), ErrorClass.UNSUPPORTED_EVENT),
        (payload(changedFields=["4-0x01"]), ErrorClass.UNSUPPORTED_EVENT),
        (payload(recordIds=[]), ErrorClass.INVALID_EVENT),
        (payload(recordIds=["placeholder"]), ErrorClass.INVALID_EVENT),
        (payload(recordIds=["003ak00000IiFInAAN"]), ErrorClass.INVALID_EVENT),
        (payload(transactionKey=None), ErrorClass.INVALID_EVENT),
        (payload(sequenceNumber=True), ErrorClass.INVALID_EVENT),
        (payload(sequenceNumber=1.5), ErrorClass.INVALID_EVENT),
        (payload(commitTimestamp=-1), ErrorClass.INVALID_EVENT),
        (payload(commitTimestamp=10**18), ErrorClass.INVALID_EVENT),
    ],
)
def test_bad_input_is_refused_with_its_class(bytes_: bytes, error_class: ErrorClass) -> None:
    """Each kind of bad input has its error class, and its bytes are kept."""
    record = _one(bytes_)
    assert isinstance(record, Refusal)
    assert record.error.error_class is error_class
    assert record.received.source.payload == bytes_


def test_numbers_in_any_notation_are_numbers() -> None:
    """1.5E6 is a number, and so is a commitNumber beyond the range of a double."""
    change = _change(
        payload({"AnnualRevenue": 1.5e6}, changedFields=["AnnualRevenue"], commitNumber="1745500706683617281")
    )
    assert change.values == {"AnnualRevenue": 1_500_000.0}
    assert _change(payload(commitNumber=10**25))


SESSION = SESSION_ID_IN_PAYLOAD


@pytest.mark.parametrize(
    ("bytes_", "where"),
    [
        (payload(commitTimestamp=SESSION), "ChangeEventHeader.commitTimestamp"),
        (payload(changeType=SESSION), "changeType of 31 characters"),
        (payload(recordIds=[SESSION]), "expected 15 or 18 letters and digits, got 31 characters"),
        (payload(recordIds=[SESSION], entityName="Contact"), "ChangeEventHeader.recordIds: not a record id"),
        (payload(changedFields=[SESSION, "0x01"]), "bitmap"),
        (json.dumps({"sessionId": SESSION}).encode(), "ChangeEventHeader"),
        (json.dumps({"sessionId": SESSION}).encode()[:-1], "not JSON"),
    ],
)
def test_a_refusal_tells_where_and_why_without_the_value(bytes_: bytes, where: str) -> None:
    """The message names the field and what is expected, without the value."""
    record = _one(bytes_)
    assert isinstance(record, Refusal)
    assert where in str(record.error)
    assert SESSION not in str(record.error)
    assert SESSION[:8] not in str(record.error)


@pytest.mark.parametrize("change_type", ["SNAPSHOT", "GAP_MERGE"])
def test_a_new_change_type_is_named(change_type: str) -> None:
    """An unknown type that looks like one of Salesforce's is named in the message."""
    record = _one(payload(changeType=change_type))
    assert isinstance(record, Refusal)
    assert f"changeType {change_type} is not one of" in str(record.error)


def test_trace_follows_the_publisher() -> None:
    """The trace id comes from a W3C traceparent attribute, or else from the event id."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = _one(payload(), traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    assert isinstance(traced, AccountChange)
    assert traced.trace_id == trace
    change = _change(payload())
    assert change.trace_id == change.event_id


def test_bytes_that_are_no_event_have_an_identity_too() -> None:
    """The same bytes published again have the same event id."""
    record = _one(b"garbage")
    assert isinstance(record, Refusal)
    assert record.received.event_id == payload_event_id(b"garbage")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)
_header_names = st.sampled_from(list(json.loads(payload())["ChangeEventHeader"]))


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """Return an event with replaced header fields, envelopes, changed bytes or a cut end."""
    document: Any = json.loads(payload(draw(st.dictionaries(st.text(max_size=12), _json, max_size=3))))
    document["ChangeEventHeader"] |= draw(st.dictionaries(_header_names, _json, max_size=2))
    for key in draw(st.lists(st.sampled_from(["payload", "data", "detail", "other"]), max_size=3)):
        document = {key: json.dumps(document) if draw(st.booleans()) else document}
    bytes_ = bytearray(json.dumps(document).encode())
    for _ in range(draw(st.integers(0, 3))):
        bytes_[draw(st.integers(0, len(bytes_) - 1))] = draw(st.integers(0, 255))
    return bytes(bytes_[: draw(st.integers(1, len(bytes_)))]) if draw(st.booleans()) else bytes(bytes_)


@examples(ordinary=300, slow=20_000)
@given(st.one_of(_mutated(), st.binary(max_size=300), _json.map(lambda value: json.dumps(value).encode())))
@example(b'{"ChangeEventHeader":' * 400)
@example(b'"' * 3)
def test_arbitrary_payloads_are_events_or_classified_refusals(bytes_: bytes) -> None:
    """Any bytes become changes, skips, resyncs or refusals with an error class; nothing is raised."""
    records = _parse(bytes_)
    assert records
    for record in records:
        match record:
            case AccountChange() | UnnamedChange():
                assert record.source.payload == bytes_
                assert msgspec.json.decode(to_json(record), type=AccountChange) == record
            case Refusal():
                assert record.error.error_class
                assert record.received.source.payload == bytes_
            case NoChange():
                assert record.outcome is OutcomeKind.RESYNC_REQUESTED or record.reason


EXPECTED = {
    "amp_eventbridge_event_relay_account_create.json": ["change", "change"],
    "amp_new_account.json": ["change"],
    "amp_update_contact.json": ["unnamed"],
    "amp_update_contact_compound_address.json": ["unnamed"],
    "amp_update_lead_compound_address.json": ["unsupported_entity"],
    "amp_update_user.json": ["unsupported_entity"],
    "confluent_contact_create_kafkaconnect_payload.json": ["no_account"],
    "pozil_account_update_avrojson_bitmap.json": ["unsupported_event"],
    "pozil_account_update_avrojson_compound_names.json": ["change"],
    "pozil_account_update_avrojson_names.json": ["change"],
    "pozil_account_update_flattened_v5.json": ["change"],
    "triggermesh_account_create_cloudevent_data.json": ["change"],
    "triggermesh_account_update_cloudevent_data.json": ["change"],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_published_events_are_understood(published_events: Path, name: str) -> None:
    """Real events from public sources are parsed as expected."""
    records = _parse((published_events / name).read_bytes())
    assert [_kind(record) for record in records] == EXPECTED[name]


def test_published_values_are_read(published_events: Path) -> None:
    """Unions, compound names and ISO dates of real events have their values."""
    compound = _change((published_events / "pozil_account_update_avrojson_compound_names.json").read_bytes())
    assert compound.values == {"BillingAddress.PostalCode": "94105", "LastModifiedDate": 1659010228000, "Rating": "Hot"}
    flat = _change((published_events / "pozil_account_update_flattened_v5.json").read_bytes())
    assert {k: v for k, v in flat.values.items() if k != "LastModifiedDate"} == {
        "BillingAddress.City": "San Francisco",
        "BillingAddress.State": "CA",
    }
    created = _change((published_events / "amp_new_account.json").read_bytes())
    assert created.change_type is ChangeType.CREATE
    assert created.values["Name"] == "Acme"


def test_the_same_change_from_two_tools_is_one_event(published_events: Path) -> None:
    """The event of one account, bare and through Event Relay, has one event id."""
    bare = _parse((published_events / "amp_new_account.json").read_bytes())
    relayed = _parse((published_events / "amp_eventbridge_event_relay_account_create.json").read_bytes())
    ids = Counter(record.event_id for record in [*bare, *relayed] if isinstance(record, AccountChange))
    assert sorted(ids.values()) == [1, 2]


def _kind(record: ParsedRecord) -> str:
    match record:
        case AccountChange():
            return "change"
        case Refusal():
            return str(record.error.error_class)
        case UnnamedChange():
            return "unnamed"
        case NoChange():
            return str(record.reason or record.outcome)
