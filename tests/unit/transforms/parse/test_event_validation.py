"""The header of an event is validated in one place, with errors that name the field; its body is not."""

import json
import re
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.change_event import ChangeEvent, ChangeEventHeader, ChangeType
from tests.fixtures.changes import account_id, header
from transforms.errors import InvalidEvent, UnsupportedEvent
from transforms.parse.avro_schemas import NO_REFERENCE
from transforms.parse.event_decoding import DecodedEvent
from transforms.parse.event_validation import validate_event

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


def _validate(body: dict[str, Any] | None = None, **changes: Any) -> ChangeEvent:
    return validate_event(DecodedEvent(header(**changes), body or {}, null_is_unset=False, schema=NO_REFERENCE))


def test_a_valid_event_keeps_its_fields() -> None:
    """Header fields have their types, and the body is unchanged."""
    event = _validate({"AnnualRevenue": 1.5e6, "Rating": None})
    assert event.header.change_type is ChangeType.UPDATE
    assert event.body == {"AnnualRevenue": 1.5e6, "Rating": None}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"entityName": None}, "ChangeEventHeader.entityName: required, but missing"),
        ({"recordIds": "x"}, "ChangeEventHeader.recordIds: expected a list, found text"),
        ({"recordIds": ["a", 5]}, "ChangeEventHeader.recordIds[1]: expected text, found a number"),
        ({"recordIds": ["a", None]}, "ChangeEventHeader.recordIds[1]: expected text, found null"),
        ({"recordIds": []}, "ChangeEventHeader.recordIds: expected 1 or more entries"),
        ({"changedFields": {"0": "Name"}}, "ChangeEventHeader.changedFields: expected a list, found an object"),
        ({"entityName": ["Account"]}, "ChangeEventHeader.entityName: expected text, found a list"),
        ({"changeOrigin": True}, "ChangeEventHeader.changeOrigin: expected text, found true or false"),
        ({"changeType": 3}, "ChangeEventHeader.changeType: expected CREATE, UPDATE"),
        ({"sequenceNumber": 1.5}, "ChangeEventHeader.sequenceNumber: expected a whole number"),
        ({"sequenceNumber": -1}, "ChangeEventHeader.sequenceNumber: expected 0 or more"),
        ({"commitTimestamp": 5}, "ChangeEventHeader.commitTimestamp: expected 946,684,800,000 or more"),
        (
            {"commitTimestamp": None, "transactionKey": None},
            "transactionKey: required, but missing; ChangeEventHeader.",
        ),
    ],
)
def test_each_invalid_header_field_is_named(changes: dict[str, Any], problem: str) -> None:
    """The message says which fields are wrong and what is expected."""
    with pytest.raises(InvalidEvent) as error:
        _validate(**changes)
    assert problem in str(error.value)


@pytest.mark.parametrize("entries", [[5], [5, account_id()], [account_id(), 5]])
def test_a_list_with_a_wrong_entry_is_not_called_too_short(entries: list[object]) -> None:
    """The refusal says what is wrong with the entry, and nothing else."""
    with pytest.raises(InvalidEvent, match=r"^ChangeEventHeader.recordIds\[[01]\]: expected text, found a number$"):
        _validate(recordIds=entries)


_OPTIONAL: Final = tuple(
    info.validation_alias for info in ChangeEventHeader.model_fields.values() if not info.is_required()
)
_REQUIRED: Final = tuple(
    info.validation_alias for info in ChangeEventHeader.model_fields.values() if info.is_required()
)


@pytest.mark.parametrize("name", _OPTIONAL)
def test_null_in_an_optional_field_means_absent(name: str) -> None:
    """Typed bridges write null for a field that the sender leaves out."""
    raw = header(changeType="CREATE")
    absent = {key: value for key, value in raw.items() if key != name}
    events = [validate_event(DecodedEvent(it, {}, False, NO_REFERENCE)) for it in (absent | {name: None}, absent)]
    assert events[0] == events[1]


@pytest.mark.parametrize("name", _REQUIRED)
def test_null_in_a_required_field_is_missing(name: str) -> None:
    """The refusal says so."""
    with pytest.raises(InvalidEvent, match=f"ChangeEventHeader.{name}: required, but missing"):
        validate_event(DecodedEvent(header() | {name: None}, {}, False, NO_REFERENCE))


def test_null_record_ids_stand_beside_a_record_id() -> None:
    """An unbundled event has its record's id in the singular."""
    raw = header() | {"recordIds": None, "recordId": account_id(7)}
    event = validate_event(DecodedEvent(raw, {}, False, NO_REFERENCE))
    assert event.header.record_ids == (account_id(7),)


@pytest.mark.parametrize("empty", [[], "", "[]", None])
def test_empty_record_ids_stand_beside_a_record_id(empty: object) -> None:
    """As null ones do."""
    raw = header() | {"recordIds": empty, "recordId": account_id(7)}
    event = validate_event(DecodedEvent(raw, {}, False, NO_REFERENCE))
    assert event.header.record_ids == (account_id(7),)


@pytest.mark.parametrize("name", ["changedFields", "nulledFields", "diffFields"])
@pytest.mark.parametrize("entries", [["Industry", None], [None, "Industry"], '["Industry", null]'])
def test_null_in_a_list_of_fields_names_none(name: str, entries: object) -> None:
    """The other entries stand."""
    read = validate_event(DecodedEvent(header() | {name: entries}, {}, False, NO_REFERENCE))
    assert read == validate_event(DecodedEvent(header() | {name: ["Industry"]}, {}, False, NO_REFERENCE))


@pytest.mark.parametrize("name", ["changedFields", "nulledFields", "diffFields"])
def test_an_empty_text_is_an_empty_list(name: str) -> None:
    """Beside lists as JSON text, some bridges write no text for a list without entries."""
    raw = header() | {"recordIds": json.dumps([account_id()])}
    read = validate_event(DecodedEvent(raw | {name: ""}, {}, False, NO_REFERENCE))
    assert read == validate_event(DecodedEvent(raw | {name: []}, {}, False, NO_REFERENCE))


_LISTS: Final[dict[str, Any]] = {
    "recordIds": [account_id(7)],
    "changedFields": ["Rating"],
    "nulledFields": ["Rating"],
    "diffFields": ["Description"],
}


@given(st.sets(st.sampled_from(sorted(_LISTS)), min_size=1))
@example({"nulledFields"})
@example({"diffFields"})
def test_each_list_may_be_text(names: set[str]) -> None:
    """Whichever of the lists is JSON text, whatever the others are, it is the same header."""
    raw = header(**_LISTS)
    as_text = raw | {name: json.dumps(_LISTS[name]) for name in names}
    assert validate_event(DecodedEvent(as_text, {}, False, NO_REFERENCE)) == _validate(**_LISTS)


@pytest.mark.parametrize("name", sorted(_LISTS))
@pytest.mark.parametrize(("text", "kind"), [("Rating", "text"), ("5", "a number"), ("{}", "an object")])
def test_text_that_is_no_list_is_refused(name: str, text: str, kind: str) -> None:
    """The refusal names the field, and what its text is."""
    assert f"ChangeEventHeader.{name}: expected a list, found {kind}" in _problem(header() | {name: text})


@pytest.mark.parametrize("name", ["changedFields", "nulledFields", "diffFields"])
def test_null_as_text_is_absent(name: str) -> None:
    """As null is."""
    texts = [validate_event(DecodedEvent(header() | {name: it}, {}, False, NO_REFERENCE)) for it in ("null", None)]
    assert texts[0] == texts[1]


def _problem(raw: dict[str, Any]) -> str:
    """Return why a header is refused; empty: it is not."""
    try:
        validate_event(DecodedEvent(raw, {}, False, NO_REFERENCE))
    except (InvalidEvent, UnsupportedEvent) as refusal:
        return str(refusal)
    return ""


_WORDS_OF_PYTHON: Final = re.compile(r"\b(str(ing)?|int(eger)?|dict\w*|tuple|None\w*|float|bool\w*|Input|mapping)\b")


@given(st.sampled_from((*_OPTIONAL, *_REQUIRED)), JSON)
@example("changedFields", {})
@example("commitNumber", [])
@example("recordIds", [{}])
def test_a_refusal_speaks_of_json(name: str, value: object) -> None:
    """Any JSON in any header field is read or refused, with words of JSON and none of Python's types."""
    assert not _WORDS_OF_PYTHON.search(_problem(header() | {name: value}))


@pytest.mark.parametrize("value", [-5, "1.5E6", True, [1], {"a": {}}])
def test_a_value_of_the_body_refuses_no_event(value: object) -> None:
    """The body is kept as it is: which values are usable is decided field by field."""
    assert _validate({"AnnualRevenue": value}).body == {"AnnualRevenue": value}


def test_an_unknown_change_type_is_unsupported_whatever_else_is_wrong() -> None:
    """The event may be valid for a newer version, so it is not called invalid."""
    with pytest.raises(UnsupportedEvent, match="changeType MERGE is not one of CREATE"):
        _validate(changeType="MERGE", sequenceNumber=None)
