"""An event narrowed to one record says the same of that record as the whole event."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.change_event import AccountChange, ChangeType, SourceMessage
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, event
from tests.fixtures.examples import examples
from transforms.parse.account_changes import ParsedRecord
from transforms.parse.avro_schemas import NO_SCHEMAS, AvroSchemas, EventField
from transforms.parse.message_parsing import parse_message

THREE = [account_id(1), account_id(2), account_id(3)]
_names = st.sampled_from(["Rating", "Industry", "Name", "BillingAddress", "BillingAddress.City", "Custom__c"])
_name_lists = st.none() | st.lists(_names, max_size=4)
_values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.dictionaries(st.sampled_from(["City", "Street", "LastName"]), st.none() | st.text(max_size=5), max_size=2)
)
_bodies = st.dictionaries(_names | st.just("_ObjectType"), _values, max_size=5)
_headers = st.fixed_dictionaries(
    {
        "changeType": st.sampled_from([kind.value for kind in ChangeType]),
        "changedFields": _name_lists,
        "nulledFields": _name_lists,
        "diffFields": _name_lists,
        "commitNumber": st.none() | st.integers(0, 10**25),
    }
)


def _parsed(source: SourceMessage, schemas: AvroSchemas = NO_SCHEMAS) -> list[ParsedRecord]:
    return parse_message(source, schemas, account_fields=ACCOUNT_FIELDS)


def _changes(document: Any) -> list[AccountChange]:
    records = _parsed(SourceMessage(payload=json.dumps(document).encode(), attributes={"a": "b"}))
    return [record for record in records if isinstance(record, AccountChange)]


@examples(ordinary=200, slow=10_000)
@given(_bodies, _headers)
def test_a_narrowed_event_is_the_same_change(body: dict[str, Any], header: dict[str, Any]) -> None:
    """Whatever the event says: its identity, order, fields and values stay, and it is narrowed no further."""
    document = event(body, recordIds=THREE, **header)
    changes = _changes({"payload": document})
    for change in changes:
        (again,) = _parsed(change.source)
        assert again == change
        (alone,) = _changes(
            document | {"ChangeEventHeader": document["ChangeEventHeader"] | {"recordIds": [change.record_id]}}
        )
        assert replace(alone, source=change.source) == change


def test_an_event_of_one_record_keeps_its_message() -> None:
    """Most events have one record, and nothing is written anew."""
    source = SourceMessage(payload=json.dumps({"payload": event()}, indent=2).encode())
    (change,) = _parsed(source)
    assert isinstance(change, AccountChange)
    assert change.source is source


def test_bitmaps_become_names() -> None:
    """A narrowed event needs no schema."""
    schemas = {"S1": (EventField("ChangeEventHeader"), EventField("Phone"))}
    document = {"schemaId": "S1", "payload": event({"Phone": "1"}, changedFields=["0x2"], recordIds=THREE)}
    for change in _parsed(SourceMessage(payload=json.dumps(document).encode()), schemas):
        assert isinstance(change, AccountChange)
        assert _parsed(change.source) == [change]


@pytest.mark.parametrize("body", [{}, {"Rating": None}, {"_ObjectType": "AccountChangeEvent", "Rating": None}])
def test_nulls_mean_the_same(body: dict[str, Any]) -> None:
    """What a null means depends on the sender, which a narrowed event remembers."""
    document = event(body, recordIds=THREE, nulledFields=None, changedFields=None)
    for change in _changes(document):
        assert _parsed(change.source) == [change]
