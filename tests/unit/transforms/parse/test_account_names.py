"""An odd value where the account is named costs that value, not the event: the account is then looked up."""

from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.change_event import AccountChange, AccountFields, ChangeType, SourceMessage, UnnamedChange
from schemas.record import to_json
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, payload
from transforms.coders import RecordCoder
from transforms.parse.account_changes import NoChange, ParsedRecord, Refusal
from transforms.parse.message_parsing import parse_message

FIELDS: Final[AccountFields] = {**ACCOUNT_FIELDS, "Project__c": ("Customer__c", "Partner__c")}
RELATED: Final = sorted(FIELDS.keys() - {"Account"})
CONTACT: Final = "003ak00000IiFInAAN"
NO_RECORD: Final = ["none", 5, -1.5, True, False, {}, {"a": 1}, [], [account_id()], "0010000", account_id() + " ", " "]
JSON: Final = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(min_size=1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


def _parsed(body: dict[str, Any], entity: str, **header: Any) -> ParsedRecord:
    event = payload(body, entityName=entity, **{"recordIds": [CONTACT]} | header)
    (record,) = parse_message(SourceMessage(payload=event), account_fields=FIELDS)
    return record


def _flag(entity: str, field: str) -> str:
    return f"unusable_value:{entity}.{field}"


@pytest.mark.parametrize("value", NO_RECORD)
@pytest.mark.parametrize(("entity", "field"), [(entity, field) for entity in RELATED for field in FIELDS[entity]])
def test_a_value_that_names_no_record_is_flagged(entity: str, field: str, value: Any) -> None:
    """In each field of each entity that can name an account: the event is then one that names none."""
    for kind in ChangeType:
        if kind is ChangeType.GAP_OVERFLOW:
            continue
        change = _parsed({field: value, "Rating": "Hot"}, entity, changeType=kind)
        assert isinstance(change, UnnamedChange)
        assert change.flags == (_flag(entity, field),)
        assert field not in {**change.values, **change.enriched}
        assert RecordCoder(UnnamedChange).decode(to_json(change)) == change


def test_an_account_id_names_accounts_only() -> None:
    """An id of another object, or the id of nothing, in AccountId is unusable; in WhatId it is another record's."""
    for other in (CONTACT, "000000000000000AAA", account_id()[:15] + "ABC"):
        change = _parsed({"AccountId": other}, "Contact", changeType="CREATE")
        assert isinstance(change, UnnamedChange)
        assert change.flags == (_flag("Contact", "AccountId"),)
    task = _parsed({"WhatId": "006000000000001AAA", "Subject": "x"}, "Task", changeType="CREATE")
    assert isinstance(task, UnnamedChange)
    assert (task.flags, task.values["WhatId"]) == ((), "006000000000001AAA")


def test_the_next_field_names_the_account() -> None:
    """An odd value in the first field hides no account in the second."""
    for entity, odd, good in (("Task", "AccountId", "WhatId"), ("Project__c", "Customer__c", "Partner__c")):
        change = _parsed({odd: 5, good: account_id(7)[:15]}, entity, changeType="CREATE")
        assert isinstance(change, AccountChange)
        assert change.account_id == account_id(7)
        assert change.flags == (_flag(entity, odd),)


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_name_is_no_odd_one(empty: object) -> None:
    """A new contact that names no account has none; one whose name is odd may have one."""
    record = _parsed({"AccountId": empty, "Title": "CEO"}, "Contact", changeType="CREATE")
    assert isinstance(record, NoChange)
    assert isinstance(_parsed({"AccountId": "x", "Title": "CEO"}, "Contact", changeType="CREATE"), UnnamedChange)


def test_a_changed_name_that_is_odd_is_changed_to_an_unknown_one() -> None:
    """The list of changed fields contradicts nothing."""
    change = _parsed({"AccountId": 5, "Title": None}, "Contact", changedFields=["AccountId"])
    assert isinstance(change, UnnamedChange)
    assert change.changed_fields == ("AccountId",)
    assert (change.nulled_fields, change.values) == ((), {})
    assert change.flags == (_flag("Contact", "AccountId"),)


def test_each_of_several_records_keeps_the_flag() -> None:
    """Also as the narrowed event that its dead letter would have."""
    event = payload({"AccountId": {"a": 1}}, entityName="Contact", recordIds=[CONTACT, "003ak00000IiFIoAAN"])
    records = parse_message(SourceMessage(payload=event), account_fields=FIELDS)
    for record in records:
        assert isinstance(record, UnnamedChange)
        assert record.flags == (_flag("Contact", "AccountId"),)
        assert parse_message(record.source, account_fields=FIELDS) == [record]
    assert len(records) == 2


@given(
    JSON,
    st.sampled_from([(entity, field) for entity in RELATED for field in FIELDS[entity]]),
    st.sampled_from([kind for kind in ChangeType if kind is not ChangeType.GAP_OVERFLOW]),
)
@example("001", ("Contact", "AccountId"), ChangeType.UPDATE)
@example(account_id(), ("Contact", "AccountId"), ChangeType.UPDATE)
def test_no_value_refuses_an_event(value: Any, named: tuple[str, str], kind: ChangeType) -> None:
    """Whatever it is: the account is named, or looked up."""
    entity, field = named
    record = _parsed({field: value}, entity, changeType=kind)
    assert isinstance(record, AccountChange | UnnamedChange)
    if isinstance(record, AccountChange):
        assert record.account_id[:15] == str(value)[:15]


def test_a_refused_record_id_is_named() -> None:
    """Its field, and what was expected; another's record among accounts, too."""
    for record_id in ("none", CONTACT):
        record = _parsed({}, "Account", recordIds=[record_id])
        assert isinstance(record, Refusal)
        assert "ChangeEventHeader.recordIds: " in str(record.error)
