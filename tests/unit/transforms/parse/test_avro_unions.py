"""Wrappers of Avro's unions are removed, and values that look like them are not."""

from typing import Any

import pytest

from transforms.errors import InvalidEvent
from transforms.parse.avro_unions import unwrap_unions
from transforms.parse.limits import MAX_DEPTH


@pytest.mark.parametrize(
    ("wrapped", "value"),
    [
        ({"string": "Hot"}, "Hot"),
        ({"double": 1.5}, 1.5),
        ({"null": None}, None),
        ({"int.date": 20_000}, 20_000),
        ({"int-date": 20_000}, 20_000),
        ({"long.timestamp-millis": 1}, 1),
        ({"long-timestamp-micros": 1}, 1),
        ({"long.local-timestamp-millis": 1}, 1),
        ({"bytes.decimal": "\x01"}, "\x01"),
        ({"fixed.decimal": "\x01"}, "\x01"),
        ({"string.uuid": "x"}, "x"),
        ({"array": [{"string": "a"}, {"int": 1}]}, ["a", 1]),
        (
            {"com.sforce.eventbus.Address": {"City": {"string": "Oslo"}, "Street": None}},
            {"City": "Oslo", "Street": None},
        ),
        ({"io.confluent.salesforce.Address": {"City": {"string": "Oslo"}}}, {"City": "Oslo"}),
        ({"com.sforce.eventbus.ChangeType": "UPDATE"}, "UPDATE"),
        ({"Address": {"City": {"string": "Oslo"}}}, {"City": "Oslo"}),
    ],
)
def test_wrappers_are_removed(wrapped: Any, value: Any) -> None:
    """Primitive, logical and named types, of any namespace, and within each other."""
    assert unwrap_unions({"Field": wrapped}) == {"Field": value}


@pytest.mark.parametrize(
    "value",
    [
        {"LastName": "X"},
        {"City": "Oslo"},
        {"Address": "Main Street 1"},
        {"BillingAddress.City": "Oslo"},
        {"string": "a", "int": 1},
        {"Start-Date": 1},
        {},
        ["string"],
    ],
)
def test_what_is_not_a_wrapper_is_kept(value: Any) -> None:
    """Compound fields with one part, and names that are no types."""
    assert unwrap_unions({"Field": value}) == {"Field": value}


def test_deep_values_are_refused() -> None:
    """A value that is nested more deeply than any change event's is refused before the stack ends."""
    value: Any = 1
    for _ in range(MAX_DEPTH + 2):
        value = [value]
    with pytest.raises(InvalidEvent, match="nested deeper"):
        unwrap_unions(value)
