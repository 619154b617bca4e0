"""Changed fields and their new values: null, absent, cleared, unknown and unchanged are told apart."""

from typing import Any

import pytest

from schemas.change_event import ChangeEvent, ChangeEventHeader
from tests.fixtures.changes import header
from transforms.parse.field_changes import FieldChanges, field_changes


def _changes(body: dict[str, Any], *, null_is_unset: bool = False, **header_changes: Any) -> FieldChanges:
    event = ChangeEvent(
        header=ChangeEventHeader.model_validate(header(**header_changes)), body=body, null_is_unset=null_is_unset
    )
    return field_changes(event)


def test_null_is_unchanged_where_nulled_fields_does_not_name_it() -> None:
    """The Pub/Sub API sends every field, so a null alone means nothing."""
    changes = _changes({"Rating": "Hot", "Industry": None, "Website": None}, changedFields=["Rating"], nulledFields=[])
    assert changes.values == {"Rating": "Hot"}
    assert changes.nulled == ()


def test_nulled_fields_are_cleared() -> None:
    """A field in nulledFields is changed and empty."""
    changes = _changes({"Rating": None}, changedFields=["Rating"], nulledFields=["Rating"])
    assert changes.changed == ("Rating",)
    assert changes.nulled == ("Rating",)
    assert changes.values == {}


def test_an_explicit_null_is_cleared_over_cometd() -> None:
    """CometD has no nulledFields: a changed field sent as null is cleared."""
    changes = _changes({"Rating": None, "Type": "X"}, changedFields=["Rating", "Type"], nulledFields=None)
    assert changes.nulled == ("Rating",)
    assert changes.values == {"Type": "X"}


def test_a_changed_field_that_the_body_lacks_is_unknown() -> None:
    """The field changed, and is neither cleared nor known."""
    changes = _changes({}, changedFields=["Industry"])
    assert changes == FieldChanges(changed=("Industry",), nulled=(), values={}, enriched={})


def test_compound_fields_have_dotted_names() -> None:
    """Parts of an address have dotted names."""
    changes = _changes({"BillingAddress": {"City": "Berlin", "Street": None}}, changedFields=["BillingAddress.City"])
    assert changes.values == {"BillingAddress.City": "Berlin"}


def test_a_whole_compound_field_changes_all_its_parts() -> None:
    """A person account's Name is an object."""
    changes = _changes({"Name": {"FirstName": "A", "LastName": "B"}}, changedFields=["Name"])
    assert changes.values == {"Name.FirstName": "A", "Name.LastName": "B"}


def test_an_enriched_value_is_no_change() -> None:
    """A value whose field changedFields does not list is enrichment."""
    changes = _changes({"Rating": "Hot", "AccountNumber": "7"}, changedFields=["Rating"])
    assert changes.values == {"Rating": "Hot"}
    assert changes.enriched == {"AccountNumber": "7"}


def test_diff_text_is_no_value() -> None:
    """A field in diffFields holds a difference, not its text."""
    changes = _changes({"Description": "--- 1 @@"}, changedFields=["Description"], diffFields=["Description"])
    assert changes.changed == ("Description",)
    assert changes.values == {}


def test_a_gap_clears_nothing() -> None:
    """A gap event has no body, and the fields that it lacks did not change."""
    assert _changes({}, changeType="GAP_UPDATE", changedFields=None) == FieldChanges((), (), {}, {})


def test_create_changes_every_field_it_has() -> None:
    """CREATE lists no changed fields: all non-empty fields are new."""
    changes = _changes({"Name": "Acme", "Rating": None}, changeType="CREATE", changedFields=[])
    assert changes.changed == ("Name",)
    assert changes.values == {"Name": "Acme"}


def test_delete_changes_no_field() -> None:
    """The values of a DELETE are enrichment."""
    changes = _changes({"Name": "Acme"}, changeType="DELETE", changedFields=[])
    assert changes == FieldChanges((), (), values={}, enriched={"Name": "Acme"})


def test_without_changed_fields_they_are_inferred() -> None:
    """Events of 2019 have no changedFields: the keys in the body changed, over CometD also those with null."""
    changes = _changes({"Rating": "Hot", "Type": None}, changedFields=None, nulledFields=None)
    assert changes.changed == ("Rating", "Type")
    assert changes.nulled == ("Type",)


def test_a_kafka_connectors_nulls_are_not_inferred_as_changes() -> None:
    """A Kafka connector writes null for every field that it has no value for."""
    changes = _changes({"Rating": "Hot", "Type": None}, null_is_unset=True, changedFields=None, nulledFields=None)
    assert changes.changed == ("Rating",)
    assert changes.nulled == ()


def test_an_unusable_value_is_left_out_and_flagged() -> None:
    """A field whose new value it can't hold did change, to an unknown value; the others come through."""
    changes = _changes({"AnnualRevenue": -1, "Rating": "Hot"}, changedFields=["AnnualRevenue", "Rating"])
    assert changes.changed == ("AnnualRevenue", "Rating")
    assert changes.values == {"Rating": "Hot"}
    assert changes.nulled == ()
    assert changes.flags == ("unusable_value:AnnualRevenue",)


def test_an_unusable_enriched_value_is_left_out_and_flagged() -> None:
    """It did not change, so it changes nothing."""
    changes = _changes({"NumberOfEmployees": "many", "Rating": "Hot"}, changedFields=["Rating"])
    assert (changes.changed, changes.values, changes.enriched) == (("Rating",), {"Rating": "Hot"}, {})
    assert changes.flags == ("unusable_value:NumberOfEmployees",)


@pytest.mark.parametrize("kind", ["CREATE", "UNDELETE"])
def test_a_whole_record_has_its_usable_values(kind: str) -> None:
    """Every field that it carries is new, also one with an unknown value."""
    body = {"Name": "Acme", "Industry": ["Energy"], "BillingAddress": {"City": "Oslo", "Country": "x" * 300}}
    changes = _changes(body, changeType=kind, changedFields=[])
    assert changes.changed == ("Name", "Industry", "BillingAddress.City", "BillingAddress.Country")
    assert changes.values == {"Name": "Acme", "BillingAddress.City": "Oslo"}
    assert changes.flags == ("unusable_value:BillingAddress.Country", "unusable_value:Industry")


def test_a_deletion_with_an_unusable_value_is_a_deletion() -> None:
    """The value is enrichment, and left out."""
    changes = _changes({"NumberOfEmployees": -1}, changeType="DELETE", changedFields=[])
    assert changes == FieldChanges((), (), {}, {}, ("unusable_value:NumberOfEmployees",))


def test_a_related_records_flag_names_its_entity() -> None:
    """A row of an account says whose amount it was."""
    changes = _changes({"Amount": "a lot"}, entityName="Opportunity", changedFields=["Amount"])
    assert changes.flags == ("unusable_value:Opportunity.Amount",)


_STALE = "suspected_stale_schema"
_FULL: dict[str, Any] = {"Rating": None, "Industry": None, "Website": None, "BillingAddress": None}


@pytest.mark.parametrize(
    ("body", "lists"),
    [
        ({"Industry": "Energy"}, {"changedFields": ["Rating"]}),
        ({"Industry": "Energy"}, {"changedFields": ["Rating", "Industry"]}),
        ({"Industry": "Energy"}, {"changedFields": ["Industry", "Gone__c"]}),
        ({"Industry": "Energy"}, {"changedFields": ["Industry", "Website"], "nulledFields": ["Rating", "Industry"]}),
        ({"BillingAddress": {"City": "Oslo", "Street": None}}, {"changedFields": ["BillingAddress.Street"]}),
        ({"Industry": "Energy"}, {"changedFields": ["Industry", "BillingAddress"]}),
    ],
)
def test_lists_that_contradict_the_body_are_flagged(body: dict[str, Any], lists: dict[str, Any]) -> None:
    """A changed field without a value that was not cleared: the lists are those of another schema.

    Which fields changed is unknown, so every value of the body counts as changed, and nothing as cleared.
    """
    changes = _changes(_FULL | body, **{"nulledFields": []} | lists)
    assert changes.flags == (_STALE,)
    assert set(changes.values) == {"BillingAddress.City"} if "BillingAddress" in body else {"Industry"}
    assert set(changes.changed) == {*changes.values, *lists["changedFields"], *lists.get("nulledFields", [])}
    assert (changes.nulled, changes.enriched) == ((), {})


def test_a_field_that_only_diff_fields_list_is_changed() -> None:
    """Decoded with another schema, changedFields may miss it; its new value is unknown, since a difference is none."""
    stale = _changes(_FULL | {"Phone": None}, changedFields=["Phone"], nulledFields=[], diffFields=["Industry"])
    assert stale == FieldChanges(("Phone", "Industry"), (), {}, {}, (_STALE,))
    unlisted = _changes({"Phone": "1", "Industry": "@@ -1 +1 @@"}, changedFields=["Phone"], diffFields=["Industry"])
    assert unlisted == FieldChanges(("Phone", "Industry"), (), {"Phone": "1"}, {})


@pytest.mark.parametrize("change", [{"AnnualRevenue": {}}, {"NumberOfEmployees": {"a": 1}}, {"Website": {"a": {}}}])
@pytest.mark.parametrize("kind", ["UPDATE", "CREATE", "UNDELETE", "DELETE"])
def test_an_object_in_a_field_that_is_not_compound_is_unusable(change: dict[str, Any], kind: str) -> None:
    """Also an empty one; of a compound field an object has the parts."""
    (name,) = change
    body = change | {"Rating": "Hot", "BillingAddress": {"City": "Oslo"}, "Name": {"LastName": "Roe"}}
    changes = _changes(body, changeType=kind, changedFields=[name, "Rating", "BillingAddress", "Name"])
    assert changes.flags == (f"unusable_value:{name}",)
    assert {**changes.values, **changes.enriched} == {
        "Rating": "Hot",
        "BillingAddress.City": "Oslo",
        "Name.LastName": "Roe",
    }
    assert (name in changes.changed) == (kind != "DELETE")
    assert _changes({name: change[name]}, entityName="Contact", changeType=kind).flags == ()


@pytest.mark.parametrize("name", ["Amount", "ExpectedRevenue"])
def test_a_negative_amount_is_unusable(name: str) -> None:
    """A sentinel of imports, as a negative AnnualRevenue is."""
    changes = _changes(
        {name: -1, "StageName": "Closed Won"}, entityName="Opportunity", changedFields=[name, "StageName"]
    )
    assert changes.values == {"StageName": "Closed Won"}
    assert changes.flags == (f"unusable_value:Opportunity.{name}",)


@pytest.mark.parametrize(
    ("body", "lists"),
    [
        ({"Rating": "Hot"}, {"changedFields": ["Rating"]}),
        ({"Rating": "Hot", "Industry": "Energy"}, {"changedFields": ["Rating"]}),
        ({}, {"changedFields": ["Rating"], "nulledFields": ["Rating"]}),
        ({}, {"changedFields": ["Description"], "diffFields": ["Description"]}),
        ({"Rating": -1}, {"changedFields": ["Rating"]}),
        ({}, {"changedFields": ["BillingAddress.City"], "nulledFields": ["BillingAddress"]}),
        ({}, {"changedFields": ["BillingAddress"], "nulledFields": ["BillingAddress.City"]}),
        ({"BillingAddress": {"City": "Oslo", "Street": None}}, {"changedFields": ["BillingAddress"]}),
        ({"Name": {"LastName": "Roe", "FirstName": None}}, {"changedFields": ["Name.LastName"]}),
        ({"ShippingCity": "Oslo"}, {"changedFields": ["ShippingAddress.City"]}),
        ({"ShippingCity": "Oslo"}, {"changedFields": ["ShippingAddress"]}),
        ({"LastName": "Roe"}, {"changedFields": ["Name"]}),
        ({"Rating": None}, {"changedFields": ["Rating"], "nulledFields": None}),
        ({"Rating": None}, {"changedFields": None}),
        ({"Name": "Acme"}, {"changeType": "CREATE", "changedFields": ["Rating"]}),
    ],
)
def test_lists_that_the_body_bears_out_are_not_flagged(body: dict[str, Any], lists: dict[str, Any]) -> None:
    """Enrichment, cleared fields, differences, unusable values, whole and flattened compound fields, and CometD."""
    assert _STALE not in _changes(_FULL | body, **{"nulledFields": []} | lists).flags


def test_a_body_without_nulls_contradicts_nothing() -> None:
    """Where nulls are left out, or stand for anything, an unchanged field and one without a value look alike."""
    assert _changes({"Industry": "Energy"}, changedFields=["Rating"], nulledFields=[]).flags == ()
    kafka = _changes(_FULL, null_is_unset=True, changedFields=["Rating"], nulledFields=[])
    assert kafka.flags == ()
