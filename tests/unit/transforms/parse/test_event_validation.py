"""The header of an event is validated in one place, with errors that name the field; its body is not."""

from typing import Any

import pytest

from schemas.change_event import ChangeEvent, ChangeType
from tests.fixtures.changes import header
from transforms.errors import InvalidEvent, UnsupportedEvent
from transforms.parse.avro_schemas import NO_REFERENCE
from transforms.parse.event_decoding import DecodedEvent
from transforms.parse.event_validation import validate_event


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


@pytest.mark.parametrize("value", [-5, "1.5E6", True, [1], {"a": {}}])
def test_a_value_of_the_body_refuses_no_event(value: object) -> None:
    """The body is kept as it is: which values are usable is decided field by field."""
    assert _validate({"AnnualRevenue": value}).body == {"AnnualRevenue": value}


def test_an_unknown_change_type_is_unsupported_whatever_else_is_wrong() -> None:
    """The event may be valid for a newer version, so it is not called invalid."""
    with pytest.raises(UnsupportedEvent, match="changeType MERGE is not one of CREATE"):
        _validate(changeType="MERGE", sequenceNumber=None)
