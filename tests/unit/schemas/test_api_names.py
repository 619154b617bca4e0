"""API names, found without regard to case."""

import pickle

import pytest

from schemas.api_names import ByEntity, spelled

FIELDS: ByEntity[tuple[str, ...]] = ByEntity([("Account", ()), ("project__c", ("account__c",))])


@pytest.mark.parametrize("name", ["project__c", "Project__c", "PROJECT__C"])
def test_an_entity_is_found_in_any_case(name: str) -> None:
    """By each way to look it up, also after it travelled to a worker."""
    for fields in (FIELDS, pickle.loads(pickle.dumps(FIELDS))):  # noqa: S301 - our own bytes
        assert fields[name] == fields.get(name) == ("account__c",)
        assert name in fields
    assert list(FIELDS) == ["Account", "project__c"]


def test_another_entity_is_not_found() -> None:
    """As in a dict; an empty value is one."""
    assert "Case" not in FIELDS
    assert FIELDS.get("Case") is None
    assert FIELDS.get("Case", ("x",)) == ("x",)
    assert FIELDS.get("Account", ("x",)) == ()
    with pytest.raises(KeyError):
        FIELDS["Case"]


def test_a_field_is_named_as_the_event_names_it() -> None:
    """A name that the event does not have stays, and so do standard ones, whose case the configuration checks."""
    assert spelled(("account__c", "Sponsor__c", "AccountId"), {"Account__c": 1}, ["SPONSOR__c", "ACCOUNTID"]) == (
        "Account__c",
        "SPONSOR__c",
        "ACCOUNTID",
    )
    assert spelled(("account__c",), {"Name": 1}) == ("account__c",)
    assert spelled(("AccountId", "WhatId"), ["accountid"]) == ("AccountId", "WhatId")
