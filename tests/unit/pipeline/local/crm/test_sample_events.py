"""A day of change events about a CRM's accounts, and the hostile payloads among them."""

import base64
import datetime as dt
import itertools
from collections import Counter

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.crm.change_events import JsonObject
from pipeline.local.crm.event_shapes import as_avro_json_bitmaps
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.hostile_payloads import HOSTILE, NESTING, PLANTED_SESSION_ID, TEXT_BYTES
from pipeline.local.crm.records import CrmRecords
from pipeline.local.crm.sample_events import generate_events, generate_flat_events
from schemas.change_event import ChangeEventHeader
from schemas.salesforce_ids import names_no_record, normalize_account_id, normalize_record_id
from tests.fixtures.examples import examples

START = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
CRM = generate_crm(accounts=40, seed=1, as_of=START)
ACCOUNT_IDS = {account.account_id for account in CRM.accounts}
IMMATERIAL = {"LastModifiedDate", "Phone", "Fax", "CleanStatus", "Jigsaw"}
SEEDS = st.integers(0, 10_000)


def day(count: int, seed: int = 1) -> list[JsonObject]:
    """A day's flat events."""
    return list(generate_flat_events(CRM, count=count, seed=seed, start=START))


def header_of(event: JsonObject) -> JsonObject:
    """The ChangeEventHeader."""
    header: JsonObject = event["payload"]["ChangeEventHeader"]
    return header


def materially_changed(events: list[JsonObject]) -> set[str]:
    """The accounts that were created or had a field changed that matters."""
    return {
        record_id
        for event in events
        for record_id in header_of(event)["recordIds"]
        if header_of(event)["entityName"] == "Account"
        and (header_of(event)["changeType"] == "CREATE" or set(header_of(event)["changedFields"]) - IMMATERIAL)
    }


def decoded(payload: bytes) -> bytes:
    """The payload without base64, if it is in base64."""
    return base64.b64decode(payload) if payload[:1].isalnum() else payload


def shape_of(payload: bytes) -> str:
    """Which shape a payload is in, told by its keys alone."""
    if not payload.startswith(b"{"):
        return "doubly_encoded_json" if payload.startswith(b'"') else "base64"
    document = orjson.loads(payload)
    keys = frozenset(document)
    if "ChangeEventHeader" in keys:
        return "unbundled" if "recordId" in document["ChangeEventHeader"] else "payload_alone"
    if "detail" in keys:
        return "event_relay_payload" if "payload" in document["detail"] else "event_relay_detail"
    return {
        frozenset({"data", "channel"}): "cometd_envelope",
        frozenset({"event", "schema", "payload"}): "cloudevent_data",
        frozenset({"replayId", "payload"}): "avro_json",
        frozenset({"id", "schemaId", "replayId", "payload"}): "pubsub_api_flat",
        frozenset({"payload", "schema"}): "kafka_connector",
    }[keys]


@examples(ordinary=20, slow=500)
@given(seed=SEEDS, count=st.integers(40, 160))
def test_every_account_is_changed_where_there_are_events_enough(seed: int, count: int) -> None:
    """With at least as many events as accounts, each account has a material change, however tight it is."""
    events = day(count, seed)
    assert len(events) == count
    assert materially_changed(events) >= ACCOUNT_IDS


@given(seed=SEEDS, count=st.integers(0, 30), share=st.floats(0, 1))
def test_there_are_as_many_payloads_as_asked_for(seed: int, count: int, share: float) -> None:
    """Hostile payloads are part of the count, and their share is exact."""
    payloads = list(generate_events(CRM, count=count, seed=seed, start=START, garbage_share=share))
    assert len(payloads) == count
    others = count - round(count * share)
    transactions = {header_of(event)["transactionKey"].encode() for event in day(others, seed)}
    well_formed = [payload for payload in payloads if any(key in decoded(payload) for key in transactions)]
    assert len(well_formed) == others


def test_the_same_arguments_give_the_same_payloads() -> None:
    """Byte for byte, with hostile ones among them; another seed gives others."""
    first, again, other = (
        list(generate_events(CRM, count=80, seed=seed, start=START, garbage_share=0.1)) for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


@examples(ordinary=20, slow=500)
@given(seed=SEEDS)
def test_every_header_is_one_that_salesforce_could_send(seed: int) -> None:
    """Headers pass the schema, ids have right checksums, and accounts are those of the CRM."""
    for event in day(120, seed):
        header = header_of(event)
        assert ChangeEventHeader.model_validate(header).entity_name == header["entityName"]
        for record_id in header["recordIds"]:
            assert names_no_record(record_id) or normalize_record_id(record_id) == record_id
            assert header["entityName"] != "Account" or names_no_record(record_id) or record_id in ACCOUNT_IDS
        account_id = event["payload"].get("AccountId")
        assert account_id is None or normalize_account_id(account_id) in ACCOUNT_IDS


@examples(ordinary=20, slow=500)
@given(seed=SEEDS)
def test_commits_never_go_back_and_positions_are_unique(seed: int) -> None:
    """Time never falls, replay ids rise with holes, and (transaction, sequence number) names one event."""
    events = day(150, seed)
    times = [header_of(event)["commitTimestamp"] for event in events]
    replay_ids = [event["replayId"] for event in events]
    assert times == sorted(times)
    assert times[0] == START.timestamp() * 1000
    assert all(time % 1000 == 0 for time in times)
    assert all(first < second for first, second in itertools.pairwise(replay_ids))
    assert replay_ids[-1] - replay_ids[0] > len(events)
    positions = {(header_of(event)["transactionKey"], header_of(event)["sequenceNumber"]) for event in events}
    assert len(positions) == len(events)


def test_a_day_lasts_a_day() -> None:
    """Commit times spread over the 24 hours from the start on, however many events there are."""
    for count in (50, 2000):
        last = header_of(day(count)[-1])["commitTimestamp"]
        assert 0.9 < (last / 1000 - START.timestamp()) / 86_400 < 1.01


def test_a_day_has_every_kind_of_change() -> None:
    """Most events are account updates; every other kind occurs."""
    events = day(6000)
    kinds = Counter((header_of(event)["entityName"], header_of(event)["changeType"]) for event in events)
    assert kinds["Account", "UPDATE"] > len(events) / 2
    assert kinds.keys() >= {
        ("Account", "CREATE"),
        ("Account", "DELETE"),
        ("Account", "UNDELETE"),
        ("Account", "GAP_UPDATE"),
        ("Account", "GAP_DELETE"),
        ("Account", "GAP_OVERFLOW"),
        ("Opportunity", "UPDATE"),
        ("Contact", "UPDATE"),
        ("Contact", "CREATE"),
        ("Task", "CREATE"),
        ("Event", "CREATE"),
        ("Case", "CREATE"),
        ("Lead", "UPDATE"),
        ("Lead", "CREATE"),
        ("User", "UPDATE"),
    }
    assert max(len(header_of(event)["recordIds"]) for event in events) > 1
    assert any(header_of(event)["sequenceNumber"] == 2 for event in events)
    assert any(header_of(event)["nulledFields"] for event in events)
    immaterial = [event for event in events if set(header_of(event)["changedFields"]) <= IMMATERIAL]
    assert sum(header_of(event)["changedFields"] == ["LastModifiedDate"] for event in immaterial) > 10
    changed = {name for event in events for name in header_of(event)["changedFields"]}
    assert changed >= {
        "Rating",
        "AnnualRevenue",
        "NumberOfEmployees",
        "Industry",
        "BillingAddress.City",
        "Website",
        "OwnerId",
        "SLA__c",
        "Phone",
    }


def test_related_changes_name_their_account_or_the_mirror_or_an_earlier_event_does() -> None:
    """Half of the related records are of a channel without enrichment: their UPDATEs and DELETEs name no account."""
    known = {it.opportunity_id: it.account_id for it in CRM.opportunities}
    known |= {it.contact_id: it.account_id for it in CRM.contacts}
    unnamed = Counter[tuple[str, str]]()
    for event in day(6000):
        header, named = header_of(event), event["payload"].get("AccountId")
        if header["entityName"] in {"Account", "Lead", "User"}:
            assert named is None
            continue
        (record_id,) = header["recordIds"]
        if named is None:
            assert record_id in known
            unnamed[header["entityName"], header["changeType"]] += 1
        else:
            known[record_id] = named
    assert {entity for entity, _ in unnamed} == {"Contact", "Opportunity", "Task", "Event", "Case"}
    assert {change_type for _, change_type in unnamed} == {"UPDATE", "DELETE"}


@given(st.integers(10, 120), SEEDS)
def test_a_small_day_has_opportunities_that_do_not_name_their_account(accounts: int, seed: int) -> None:
    """So that a small demo shows look-ups, too: of a day that reaches each account and has two events besides."""
    crm = generate_crm(accounts=accounts, seed=seed, as_of=START)
    events = list(generate_flat_events(crm, count=accounts + max(2, accounts // 5), seed=seed, start=START))
    in_mirror = {deal.opportunity_id: deal.account_id for deal in crm.opportunities}
    unnamed = [
        header_of(event)["recordIds"][0]
        for event in events
        if header_of(event)["entityName"] == "Opportunity" and not event["payload"].get("AccountId")
    ]
    assert sum(in_mirror.get(record_id) is not None for record_id in unnamed) >= 2


def test_opportunities_move_to_other_accounts() -> None:
    """The event names the new account, as a field that changed."""
    moves = [event for event in day(6000) if "AccountId" in header_of(event)["changedFields"]]
    assert moves
    assert all(event["payload"]["AccountId"] for event in moves)


def test_an_account_that_is_deleted_stays_quiet_until_it_comes_back() -> None:
    """Between DELETE (or its gap event) and UNDELETE an account has no event."""
    deleted: set[str] = set()
    for event in day(6000):
        header = header_of(event)
        if header["entityName"] != "Account":
            assert event["payload"].get("AccountId") not in deleted
            continue
        ids = set(header["recordIds"])
        if header["changeType"] == "UNDELETE":
            assert ids <= deleted
            deleted -= ids
        else:
            assert not ids & deleted
        if header["changeType"] in {"DELETE", "GAP_DELETE"}:
            deleted |= ids


def test_an_account_is_changed_in_bursts() -> None:
    """Several changes of one account follow one another within seconds."""
    headers = [header_of(event) for event in day(1000)]
    longest = max(
        len(list(run)) for _, run in itertools.groupby(headers, key=lambda h: (h["entityName"], h["recordIds"]))
    )
    assert longest >= 3


def test_a_material_change_changes_something() -> None:
    """A new value is not the one that the CRM has."""
    accounts = {account.account_id: account for account in CRM.accounts}
    fields = {"Rating": "rating", "Industry": "industry", "OwnerId": "owner_id", "AnnualRevenue": "annual_revenue"}
    compared = 0
    for event in day(2000):
        header = header_of(event)
        if (header["entityName"], header["changeType"]) != ("Account", "UPDATE"):
            continue
        for record_id, (field, attribute) in itertools.product(header["recordIds"], fields.items()):
            if field in header["changedFields"]:
                assert event["payload"][field] != getattr(accounts[record_id], attribute)
                compared += 1
    assert compared > 100


def test_payloads_come_in_all_shapes() -> None:
    """Each of the eleven shapes is met in a few hundred payloads."""
    shapes = Counter(shape_of(payload) for payload in generate_events(CRM, count=400, seed=2, start=START))
    assert len(shapes) == 11
    assert min(shapes.values()) > 10


def test_all_kinds_of_hostile_payloads_are_met() -> None:
    """A day of nothing else has each kind, and few of those that are large."""
    payloads = list(generate_events(CRM, count=300, seed=3, start=START, garbage_share=1.0))
    large = [payload for payload in payloads if len(payload) > TEXT_BYTES]
    assert 0 < len(large) < 20
    assert b"" in payloads
    for sign in (b"<?xml", b"{" + b'"ChangeEventHeader":{"a":', b"NaN", b"SNAPSHOT", b"\xfc\xff", b'"0x'):
        assert any(sign in payload for payload in payloads)


def test_a_crm_without_accounts_has_no_day() -> None:
    """The error says what to do."""
    with pytest.raises(ValueError, match="generate some, or load an extract"):
        next(generate_events(CrmRecords(), count=1, seed=1, start=START))


def test_impossible_arguments_are_refused() -> None:
    """A share above 1 and a start without time zone are named."""
    with pytest.raises(ValueError, match="share from 0 to 1"):
        next(generate_events(CRM, count=1, seed=1, start=START, garbage_share=1.5))
    with pytest.raises(ValueError, match="time zone"):
        next(generate_events(CRM, count=1, seed=1, start=START.replace(tzinfo=None)))


MODEL = next(event for event in day(40) if header_of(event)["changeType"] == "UPDATE")


@pytest.mark.parametrize(
    "name",
    ["empty", "invalid_utf8", "outbound_message", "java_map", "not_a_number", "truncated_json", "deep_nesting"],
)
def test_payloads_that_are_no_json_are_none(name: str) -> None:
    """Orjson refuses them; the deeply nested one is JSON, though deeper than it reads."""
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(HOSTILE[name](MODEL))


def test_the_deeply_nested_payload_is_whole() -> None:
    """As many braces are closed as opened, 10,000 deep."""
    payload = HOSTILE["deep_nesting"](MODEL)
    assert payload.count(b"{") == payload.count(b"}") > NESTING


def test_hostile_json_differs_from_the_event_in_one_respect() -> None:
    """No header; a reserved changeType; a wrong checksum; bitmaps for names; 2 MB of text."""
    assert "ChangeEventHeader" not in orjson.loads(HOSTILE["missing_header"](MODEL))["payload"]
    reserved = orjson.loads(HOSTILE["unknown_change_type"](MODEL))
    assert header_of(reserved) == {**header_of(MODEL), "changeType": "SNAPSHOT"}
    (damaged,) = header_of(orjson.loads(HOSTILE["bad_checksum"](MODEL)))["recordIds"]
    with pytest.raises(ValueError, match="checksum"):
        normalize_account_id(damaged)
    assert orjson.loads(HOSTILE["bitmaps_without_schema"](MODEL)) == as_avro_json_bitmaps(MODEL)
    large = orjson.loads(HOSTILE["two_megabytes"](MODEL))["data"]["payload"]
    assert len(large["Description"]) >= TEXT_BYTES


def test_the_outbound_message_plants_a_session_id() -> None:
    """Tests can look for it in logs and in dead letters' messages."""
    assert PLANTED_SESSION_ID.encode() in HOSTILE["outbound_message"](MODEL)


def test_an_extract_of_accounts_without_details_has_a_day_too() -> None:
    """Accounts that lack rating, site and city, as those of the Maven extract do, can be changed all the same."""
    bare = {"rating": None, "website": None, "billing_city": None, "annual_revenue": None, "number_of_employees": None}
    accounts = tuple(account.model_copy(update=bare) for account in CRM.accounts)
    crm = CrmRecords(accounts=accounts)
    events = list(generate_flat_events(crm, count=300, seed=1, start=START))
    assert materially_changed(events) >= ACCOUNT_IDS
