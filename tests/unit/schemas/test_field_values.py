"""The values that Salesforce fields can hold; any other value is unusable, and is flagged."""

from typing import Any

import pytest

from schemas.field_values import unusable_fields, unusable_value_flags


@pytest.mark.parametrize(
    ("field", "usable", "unusable"),
    [
        ("AnnualRevenue", [0, 1.5e6, 10**18 - 1], [-1, -0.01, "1.5E6", "", True, [1], {"a": 1}, 10**18, float("nan")]),
        ("NumberOfEmployees", [0, 5, 5.0], [-1, 5.5, "5", False, 10**8]),
        ("YearStarted", ["1999", 1999], ["199", 99, "19999", "next year", -1]),
        ("CreatedDate", [0, 1_789_000_000_000, "2026-03-02T09:30:00Z"], ["2026-03-02", "yesterday", 1e18, "", True]),
        ("Industry", ["Energy", "x" * 255], ["", "x" * 256, 5, ["Energy"], {"value": "Energy"}, "\ud800"]),
        ("OwnerId", ["0057Q000002aGVk", "0057Q000002aGVkQAM"], ["0057Q000002aGVkQAA", "me", 5]),
        ("BillingAddress.City", ["Oslo"], [5, ["Oslo"]]),
        ("BillingAddress", [], ["Oslo", 5, ["Oslo"]]),
        ("Name.LastName", ["Roe"], [5, {"a": "b"}]),
    ],
)
def test_a_field_of_the_account_holds_its_kind_of_value(field: str, usable: list[Any], unusable: list[Any]) -> None:
    """Numbers are not negative, texts are no longer than Salesforce's, ids have a valid checksum, dates are dates."""
    assert [value for value in usable if unusable_fields("Account", {field: value})] == []
    assert [value for value in unusable if not unusable_fields("Account", {field: value})] == []


@pytest.mark.parametrize(
    ("field", "usable", "unusable"),
    [
        ("Amount", [0, 1.5], [-5, "1.5", 10**18, True]),
        ("ExpectedRevenue", [0, 1.5], [-5, "1.5", 10**18, True]),
        ("Probability", [0, 100, 12.5], [-1, 101, "50"]),
        ("CloseDate", ["2026-03-02", 1_789_000_000_000], ["2026-02-30", "02.03.2026", 1e18]),
        ("IsWon", [True, False], ["true", 1]),
        ("StageName", ["Closed Won"], [5, ""]),
    ],
)
def test_a_field_of_an_opportunity_holds_its_kind_of_value(field: str, usable: list[Any], unusable: list[Any]) -> None:
    """A negative amount is a sentinel of imports; a probability is a percentage."""
    assert [value for value in usable if unusable_fields("Opportunity", {field: value})] == []
    assert [value for value in unusable if not unusable_fields("Opportunity", {field: value})] == []


def test_fields_that_are_not_read_hold_anything() -> None:
    """Custom fields, those of other entities, and entities that do not count have no expected value."""
    assert unusable_fields("Account", {"Custom__c": -1, "StageName": 5}) == []
    assert unusable_fields("Lead", {"AnnualRevenue": -1}) == []


def test_flags_name_the_field() -> None:
    """Fields of related records have their entity's name; the order is always the same."""
    assert unusable_value_flags("Account", ["NumberOfEmployees", "AnnualRevenue"]) == (
        "unusable_value:AnnualRevenue",
        "unusable_value:NumberOfEmployees",
    )
    assert unusable_value_flags("Opportunity", ["Amount"]) == ("unusable_value:Opportunity.Amount",)
