"""A value that JSON can write and nothing can hold is left out and flagged; the event goes on by its other fields."""

import json
from typing import Any, Final

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.change_event import AccountChange, SourceMessage
from schemas.outcome import Outcome, OutcomeKind
from schemas.record import to_json, to_row
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, event, payload
from transforms.coders import RecordCoder
from transforms.ledger import Ledger, Received
from transforms.parse.account_changes import NoChange, ParsedRecord, Refusal
from transforms.parse.message_parsing import parse_message
from transforms.parse.unusable_values import read_unusable, write_json

UNUSABLE: Final[dict[str, bytes]] = {
    "lone surrogate": rb'"Acme \ud800"',
    "lone low surrogate": rb'"\udc00"',
    "surrogates the wrong way round": rb'"\udc00\ud800"',
    "too large": b"1e400",
    "too small": b"-1e400",
    "integer of 400 digits": b"1" * 400,
    "integer of 10,000 digits": b"-" + b"9" * 10_000,
    "ISO-8859-1": '"Zürich"'.encode("iso-8859-1"),
    "surrogate in UTF-8's form": b'"\xed\xa0\x80"',
    "within a list": b"[1, 1e400]",
    "within objects": rb'[{"a": {"b": "\ud800"}}]',
}
_PLACE: Final = "@@here@@"


def _with(value: bytes, document: Any) -> bytes:
    """Return a document with a value in its place."""
    return orjson.dumps(document).replace(orjson.dumps(_PLACE), value)


def _parsed(bytes_: bytes) -> list[ParsedRecord]:
    return parse_message(SourceMessage(payload=bytes_), account_fields=ACCOUNT_FIELDS)


def _change(bytes_: bytes) -> AccountChange:
    (change,) = _parsed(bytes_)
    assert isinstance(change, AccountChange)
    return change


def _can_be_held(record: ParsedRecord) -> None:
    """Take a record through the coder of state, a row of BigQuery, and a message of Pub/Sub."""
    ledger = Ledger("Parse change events", "1")
    if isinstance(record, AccountChange):
        assert RecordCoder(AccountChange).decode(to_json(record)) == record
        outcome = ledger.outcome(Received.of(record), OutcomeKind.RECEIVED)
    else:
        assert isinstance(record, NoChange | Refusal)
        outcome = ledger.outcome(record.received, OutcomeKind.RECEIVED)
    assert RecordCoder(Outcome).decode(to_json(outcome)) == outcome
    assert json.dumps(to_row(outcome)).encode()
    if isinstance(record, Refusal):
        assert str(record.error).encode()


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("field", ["AnnualRevenue", "Name", "Description", "Custom__c"])
def test_the_event_goes_on_by_its_other_fields(name: str, field: str) -> None:
    """The value is left out and flagged, its field has changed, and the others come through."""
    change = _change(_with(UNUSABLE[name], event({field: _PLACE, "Rating": "Hot"}, changedFields=[field, "Rating"])))
    assert change.values == {"Rating": "Hot"}
    assert change.changed_fields == (field, "Rating")
    assert change.flags == (f"unusable_value:{field}",)
    _can_be_held(change)


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("kind", ["CREATE", "DELETE"])
def test_so_does_an_event_of_another_kind(name: str, kind: str) -> None:
    """Creations and deletions, too."""
    change = _change(_with(UNUSABLE[name], event({"Name": _PLACE, "Rating": "Hot"}, changeType=kind)))
    assert (change.values or change.enriched) == {"Rating": "Hot"}
    assert change.flags == ("unusable_value:Name",)


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_part_of_a_compound_field_is_left_out_by_itself(name: str) -> None:
    """The other parts of an address come through, and the list of changed fields contradicts nothing."""
    address = {"City": _PLACE, "Country": "Norway", "Street": None}
    body = {"BillingAddress": address, "Rating": None}
    change = _change(_with(UNUSABLE[name], event(body, changedFields=["BillingAddress.City"])))
    assert change.enriched == {"BillingAddress.Country": "Norway"}
    assert change.flags == ("unusable_value:BillingAddress.City",)


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize(
    "envelope",
    [
        {"payload": _PLACE},
        {"data": {"payload": _PLACE, "event": {"replayId": 1}}},
        [_PLACE],
        {"com.sforce.eventbus.AccountChangeEvent": _PLACE},
    ],
)
def test_so_it_is_within_envelopes_and_unions(name: str, envelope: Any) -> None:
    """And also where the envelope itself has such a value beside the event."""
    inner = _with(UNUSABLE[name], event({"Name": {"string": _PLACE}, "Rating": "Hot"}))
    outer = _with(inner, envelope)
    assert _change(outer).flags == ("unusable_value:Name",)
    assert _change(_with(inner, {"replayId": 1, "payload": _PLACE})[:-1] + b',"x":' + UNUSABLE[name] + b"}").values


@pytest.mark.parametrize("name", UNUSABLE)
def test_several_records_say_the_same_when_they_are_narrowed(name: str) -> None:
    """The narrowed event of a record is the same change, with its flag, and can be published."""
    ids = [account_id(1), account_id(2)]
    changes = _parsed(_with(UNUSABLE[name], event({"Name": _PLACE, "Rating": "Hot"}, recordIds=ids)))
    assert len(changes) == 2
    for change in changes:
        assert isinstance(change, AccountChange)
        assert change.source.payload.decode()
        (again,) = parse_message(change.source, account_fields=ACCOUNT_FIELDS)
        assert again == change
        assert change.flags == ("unusable_value:Name",)


@pytest.mark.parametrize("name", UNUSABLE)
def test_one_of_several_events_does_not_refuse_the_others(name: str) -> None:
    """In a list, and on lines."""
    odd = _with(UNUSABLE[name], event({"Name": _PLACE}, changedFields=["Name"], sequenceNumber=2))
    for bytes_ in (b"[" + payload() + b"," + odd + b"]", payload() + b"\n" + odd):
        plain, flagged = _parsed(bytes_)
        assert isinstance(plain, AccountChange)
        assert isinstance(flagged, AccountChange)
        assert (plain.flags, flagged.flags) == ((), ("unusable_value:Name",))
        _can_be_held(flagged)


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize(
    "field", ["entityName", "changeType", "transactionKey", "sequenceNumber", "commitTimestamp", "recordIds"]
)
def test_a_header_that_is_unusable_is_refused_with_a_true_reason(name: str, field: str) -> None:
    """The reason names the field, what is wrong with its value, and the remedy."""
    changes: dict[str, Any] = {field: [_PLACE] if field == "recordIds" else _PLACE}
    (refusal,) = _parsed(_with(UNUSABLE[name], event(**changes)))
    assert isinstance(refusal, Refusal)
    assert f"ChangeEventHeader.{field}" in str(refusal.error)
    if not name.startswith("within"):
        kinds = ("a lone surrogate", "not UTF-8 (ISO-8859-1?): publish JSON in UTF-8", "beyond the range of a double")
        assert any(kind in str(refusal.error) for kind in kinds)
    _can_be_held(refusal)


def test_a_header_in_text_is_read_the_same() -> None:
    """JSON text within JSON has its values marked, too."""
    inner = _with(rb'"\ud800"', event()["ChangeEventHeader"] | {"unknown": _PLACE}).decode()
    assert _change(orjson.dumps({"ChangeEventHeader": inner, "Rating": "Hot"})).values == {"Rating": "Hot"}
    raw = json.dumps({"payload": json.dumps(event({"Name": "Zürich", "Rating": "Hot"}), ensure_ascii=False)})
    bytes_ = json.dumps(json.loads(raw), ensure_ascii=False).encode("iso-8859-1")
    assert _change(bytes_).flags == ("unusable_value:Name",)


def test_a_name_that_can_t_be_held_is_shown_as_far_as_it_can_be() -> None:
    """Its field counts as changed, and its value is left out."""
    change = _change(payload({"Rating": "Hot", "a": 1}, changeType="CREATE").replace(b'"a"', rb'"a\ud800"'))
    assert change.values == {"Rating": "Hot"}
    assert change.flags == ("unusable_value:a\N{REPLACEMENT CHARACTER}",)
    _can_be_held(change)


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b'"\x01"', b"01", b"1.", b"[" * 5_000 + b"]" * 5_000])
def test_what_is_not_json_stays_refused(value: bytes) -> None:
    """Beside an unusable value, too."""
    for other in (b"1", b"1e400"):
        (refusal,) = _parsed(_with(value, event({"Name": _PLACE, "Other": 7})).replace(b":7", b":" + other))
        assert isinstance(refusal, Refusal)
        assert "not JSON" in str(refusal.error)


_JSON: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


@given(_JSON)
@example(2**64)
@example(-(2**63) - 1)
@example(10**300)
def test_json_that_can_be_held_is_read_as_by_orjson(value: Any) -> None:
    """Both readers agree, on the limits of integers too."""
    text = json.dumps(value).encode()
    assert read_unusable(text) == orjson.loads(text)


@given(
    st.recursive(
        st.sampled_from(sorted(UNUSABLE.values())) | st.integers().map(lambda it: str(it).encode()),
        lambda inner: st.lists(inner, max_size=3).map(lambda items: b"[" + b",".join(items) + b"]"),
        max_leaves=6,
    )
)
def test_what_is_written_again_is_read_again(text: bytes) -> None:
    """As UTF-8, and each unusable value stays one."""
    written = write_json(read_unusable(text))
    assert written.decode()
    assert write_json(read_unusable(written)) == written
