"""The twenty special cases of Salesforce change events, by number.

Each test calls the functions that the pipeline calls; the modules' unit tests have more cases.
"""

import json
from typing import Any

import pytest

from pipeline.ledger.explanation import Explanation, explain_message
from schemas.change_event import AccountChange, ChangeType, SourceMessage
from schemas.outcome import SkipReason
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, change, event, payload
from transforms.coalesce.account_state import AccountState, CoalescingLimits
from transforms.coalesce.coalescing import end_window, receive
from transforms.coalesce.tombstones import is_deletion
from transforms.enrich.reread_gaps import needs_reread
from transforms.filter.materiality import Materiality, load_materiality
from transforms.parse.avro_schemas import NO_SCHEMAS
from transforms.parse.message_parsing import parse_message

MATERIALITY = load_materiality()
LIMITS = CoalescingLimits(window_seconds=1, max_window_seconds=2)


def _explain(bytes_: bytes) -> list[Explanation]:
    return explain_message(bytes_, MATERIALITY, NO_SCHEMAS)


def _one(body: dict[str, Any] | None = None, **header: Any) -> Explanation:
    (explanation,) = _explain(payload(body, **header))
    return explanation


def _changes(bytes_: bytes) -> list[AccountChange]:
    return [
        record
        for record in parse_message(SourceMessage(payload=bytes_), account_fields=ACCOUNT_FIELDS)
        if isinstance(record, AccountChange)
    ]


def _emitted(*changes: AccountChange) -> list[AccountChange]:
    """Return the emitted changes if each change arrives in a window of its own."""
    state, emitted = AccountState(), []
    for number, arrived in enumerate(changes):
        state, _ = receive(state, arrived, number * 10.0, LIMITS)
        state, went_on, _ = end_window(state, LIMITS)
        emitted += [went_on] if went_on else []
    return emitted


def test_case_01_several_record_ids() -> None:
    """There is one change per record id, and the event id depends on it."""
    explanations = _explain(payload(recordIds=[account_id(1), account_id(2)]))
    assert [explanation.account_id for explanation in explanations] == [account_id(1), account_id(2)]
    assert len({explanation.event_id for explanation in explanations}) == 2


@pytest.mark.parametrize(("record_id", "reason"), [("001*", "wildcard"), ("000000000000000AAA", "overflow")])
def test_case_02_no_record(record_id: str, reason: str) -> None:
    """A wildcard and the overflow dummy request a resync of the entity, never a score."""
    change_type = "GAP_OVERFLOW" if reason == "overflow" else "GAP_UPDATE"
    explanation = _one({}, recordIds=[record_id], changeType=change_type, changedFields=None)
    assert (explanation.decision, explanation.reason) == ("resync", reason)


def test_case_03_gap() -> None:
    """A gap is rescored from the reread record, and clears no field."""
    (gap,) = _changes(payload({}, changeType="GAP_UPDATE", changedFields=None))
    assert needs_reread(gap)
    assert gap.nulled_fields == ()
    assert _one({}, changeType="GAP_UPDATE", changedFields=None).decision == "rescore"


def test_case_04_null_that_nulled_fields_does_not_name() -> None:
    """The field is unchanged."""
    (update,) = _changes(payload({"Rating": "Hot", "Industry": None}, changedFields=["Rating"], nulledFields=[]))
    assert update.nulled_fields == ()
    assert update.values == {"Rating": "Hot"}


def test_case_05_bitmaps_without_their_schema() -> None:
    """The event becomes a dead letter with that reason."""
    explanation = _one(changedFields=["0x400800"])
    assert (explanation.decision, explanation.reason) == ("dead_letter", "unsupported_event")


@pytest.mark.parametrize("change_type", ["SNAPSHOT", "MERGE"])
def test_case_06_unknown_change_type(change_type: str) -> None:
    """The event becomes a dead letter with its payload."""
    explanation = _one(changeType=change_type)
    assert (explanation.decision, explanation.reason) == ("dead_letter", "unsupported_event")


def test_case_07_changed_field_that_the_body_lacks() -> None:
    """The field changed to an unknown value, which is enough to rescore."""
    (update,) = _changes(payload({}, changedFields=["Industry"]))
    assert update.changed_fields == ("Industry",)
    assert update.values == {}
    assert _one({}, changedFields=["Industry"]).decision == "rescore"


def test_case_08_immaterial_fields_only() -> None:
    """The change is skipped and counted."""
    explanation = _one({"Phone": "1", "LastModifiedDate": 1}, changedFields=["Phone", "LastModifiedDate"])
    assert (explanation.decision, explanation.reason) == ("skip", "immaterial")


def test_case_09_enriched_value() -> None:
    """A value that changedFields does not list is not a change."""
    explanation = _one({"Phone": "1", "Rating": "Hot"}, changedFields=["Phone"])
    assert (explanation.decision, explanation.reason) == ("skip", "immaterial")


def test_case_10_same_replay_id_with_other_records() -> None:
    """Both are kept: a replay id does not identify an event."""
    ids = [
        explanation.event_id
        for number in (1, 2)
        for explanation in _explain(
            json.dumps({"replayId": 7, "payload": event(recordIds=[account_id(number)])}).encode()
        )
    ]
    assert len(set(ids)) == 2


def test_case_11_union_wrappers() -> None:
    """Wrappers with known type names are removed; a compound field with one part is kept."""
    body = {"Rating": {"string": "Hot"}, "Name": {"LastName": "X"}}
    (update,) = _changes(payload(body, changedFields=["Rating", "Name.LastName"]))
    assert update.values == {"Rating": "Hot", "Name.LastName": "X"}


def test_case_12_name_as_text_or_object_dates_as_epoch_or_iso() -> None:
    """Both forms are parsed."""
    for name in ("Acme", {"FirstName": "A", "LastName": "B"}):
        for date in (1641819688000, "2022-01-10T13:01:28.000Z"):
            assert (
                _one({"Name": name, "CreatedDate": date}, changeType="CREATE", changedFields=[]).decision == "rescore"
            )


def test_case_13_diff_text() -> None:
    """A difference is not a value: the field changed to an unknown value."""
    (update,) = _changes(payload({"Name": "@@ -1"}, changedFields=["Name"], diffFields=["Name"]))
    assert update.changed_fields == ("Name",)
    assert update.values == {}


def test_case_14_ids() -> None:
    """15-character ids are normalised; a wrong checksum and another object's prefix are refused."""
    assert _one(recordIds=[account_id()[:15]]).account_id == account_id()
    for wrong in (account_id()[:15] + "AAB", "003bm000016htgPAAQ"):
        explanation = _one(recordIds=[wrong])
        assert (explanation.decision, explanation.reason) == ("dead_letter", "invalid_event")


def test_case_15_no_changed_fields() -> None:
    """Events of 2019 have no changedFields: the fields of the body count as changed."""
    (update,) = _changes(payload({"Rating": "Hot"}, changedFields=None, nulledFields=None))
    assert update.changed_fields == ("Rating",)


@pytest.mark.parametrize("entity", ["Contact", "Opportunity", "Task", "Event", "Case"])
def test_case_16_related_entities(entity: str) -> None:
    """A new record rescores the account that it names; the account of one that names none is looked up."""
    record = {"entityName": entity, "recordIds": ["003bm000016htgPAAQ"], "changeType": "CREATE", "changedFields": []}
    assert _one({"AccountId": account_id(3)}, **record).account_id == account_id(3)
    assert _one({"AccountId": account_id(3)}, **record).decision == "rescore"
    assert (_one({}, **record).decision, _one({}, **record).reason) == ("rescore", "account_looked_up")


def test_case_17_delete_late_update_undelete() -> None:
    """A deletion leaves a tombstone, an older update is stale, and an undelete revives the account."""
    deleted = change(event_id="b" * 32, change_type=ChangeType.DELETE, sequence_number=2)
    late = change(event_id="a" * 32, sequence_number=1)
    undeleted = change(event_id="c" * 32, change_type=ChangeType.UNDELETE, sequence_number=3)
    first, second = _emitted(deleted, late, undeleted)
    assert is_deletion(first)
    assert second.event_id == undeleted.event_id
    assert not is_deletion(second)


def test_case_18_redelivery_and_reordering() -> None:
    """Repeated changes are duplicates, older ones are stale, and the newest is emitted."""
    older, newer = change(event_id="a" * 32), change(event_id="b" * 32, sequence_number=2)
    state, _ = receive(AccountState(), newer, 0, LIMITS)
    state, emitted, _ = end_window(state, LIMITS)
    assert emitted
    assert emitted.event_id == newer.event_id
    _, (repeated,) = receive(state, newer, 10, LIMITS)
    _, (overtaken,) = receive(state, older, 10, LIMITS)
    assert (repeated.reason, overtaken.reason) == (SkipReason.DUPLICATE, SkipReason.STALE)


@pytest.mark.parametrize(
    "bytes_",
    [
        b"",
        b"\xff\xfe",
        b"x" * 5_000_000,
        b"[" * 10_000,
        b"not json",
        b'{"ChangeEventHeader": NaN}',
        payload(recordIds=["placeholder"]),
    ],
    ids=["empty", "utf-8", "5 MB", "nesting", "no json", "nan", "placeholder"],
)
def test_case_19_garbage(bytes_: bytes) -> None:
    """Garbage is refused with a reason, and no exception is raised."""
    (explanation,) = _explain(bytes_)
    assert explanation.decision == "dead_letter"
    assert explanation.message


@pytest.mark.parametrize("value", [-1, "1.5E6"], ids=["negative", "text number"])
def test_case_19_an_odd_value(value: object) -> None:
    """A value that its field can't hold is left out and flagged; the change goes on without it."""
    (explanation,) = _explain(payload({"AnnualRevenue": value}, changedFields=["AnnualRevenue"]))
    assert explanation.decision == "rescore"
    assert explanation.material_fields == ("AnnualRevenue",)
    assert explanation.flags == ("unusable_value:AnnualRevenue",)


def test_case_20_own_writes() -> None:
    """A write by our own client is skipped, since scoring it would loop."""
    own = Materiality(MATERIALITY.entities, own_clients=("rescorer",))
    written = change(change_origin="com/salesforce/api/rest/66.0;client=rescorer")
    assert own.skip_reason(written) is SkipReason.OWN_WRITE
    assert MATERIALITY.skip_reason(written) is None
