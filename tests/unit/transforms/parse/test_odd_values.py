"""Whatever a value in an event's body is, the event is read, and its usable values come through."""

import json
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.change_event import WHOLE_RECORDS, AccountChange, ChangeType, SourceMessage
from schemas.field_values import unusable_fields, unusable_value_flags
from schemas.record import to_json
from schemas.score import Flag
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, context, payload
from transforms.coders import RecordCoder
from transforms.enrich.context_overlay import context_from_change, overlay
from transforms.parse.account_changes import NoChange, Refusal
from transforms.parse.message_parsing import parse_message

# A name with a dot is a branch of an Avro union, which is unwrapped (test_avro_unions.py).
_NAMES: Final = st.text(st.characters(codec="utf-8", exclude_characters="."))
JSON: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from([-1, -1.0, 10**30, "1.5E6", "N/A", "x" * 300, "0000-00-00", "2026-02-30", "9" * 400]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner),
    max_leaves=4,
)
USABLE: Final = {
    "Account": {
        "Industry": "Energy",
        "Rating": "Hot",
        "YearStarted": "1999",
        "OwnerId": "0057Q000002aGVkQAM",
        "Custom__c": -1,
    },
    "Opportunity": {"StageName": "Closed Won", "Probability": 100, "IsWon": True, "Custom__c": -1},
}
ODD: Final = {
    "Account": ("Name", "AnnualRevenue", "NumberOfEmployees", "CreatedDate", "BillingAddress", "ParentId", "Website"),
    "Opportunity": ("Name", "Amount", "CloseDate", "IsClosed", "NextStep"),
}
READABLE: Final = tuple(kind for kind in ChangeType if not kind.is_gap)


@st.composite
def bodies(draw: st.DrawFn, entity: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Draw usable values, odd values of other fields, and which of all fields an UPDATE changed."""
    usable = {name: USABLE[entity][name] for name in draw(st.sets(st.sampled_from(sorted(USABLE[entity]))))}
    names = st.sampled_from(ODD[entity]) | _NAMES.map("x{}".format)
    odd = draw(st.dictionaries(names, JSON, max_size=4))
    changed = draw(st.lists(st.sampled_from(sorted({**usable, **odd})), unique=True)) if usable or odd else []
    return usable, odd, changed


def _read(body: dict[str, Any], **header: Any) -> AccountChange:
    (record,) = parse_message(SourceMessage(payload=payload(body, **header)), account_fields=ACCOUNT_FIELDS)
    assert isinstance(record, AccountChange)
    assert RecordCoder(AccountChange).decode(to_json(record)) == record
    return record


_COMPOUND: Final = {"Account": {"Name", "BillingAddress"}, "Opportunity": set[str]()}


def _leaves(entity: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the values that are not null, those of compound fields by dotted name.

    An object in a field that is read and is not compound is a value of that field, which can't hold it.
    """

    def is_parts(name: str, value: Any) -> bool:
        is_compound = name in _COMPOUND[entity] or not unusable_fields(entity, {name: value})
        return isinstance(value, dict) and is_compound

    leaves = {name: value for name, value in body.items() if not is_parts(name, value)}
    for name, parts in body.items():
        if is_parts(name, parts):
            leaves |= {f"{name}.{part}": value for part, value in parts.items()}
    return {name: value for name, value in leaves.items() if value is not None}


def _flags(entity: str, body: dict[str, Any]) -> tuple[str, ...]:
    return unusable_value_flags(entity, unusable_fields(entity, _leaves(entity, body)))


def _without_stale(flags: tuple[str, ...]) -> tuple[str, ...]:
    # A drawn null of a changed field contradicts nulledFields, which these events have.
    return tuple(flag for flag in flags if flag != Flag.SUSPECTED_STALE_SCHEMA)


@given(bodies("Account"), st.sampled_from(READABLE))
@example(({"Rating": "Hot"}, {"AnnualRevenue": -1}, ["AnnualRevenue"]), ChangeType.UPDATE)
@example(({"Rating": "Hot"}, {"Name": ["Acme"], "BillingAddress": "Oslo"}, []), ChangeType.CREATE)
def test_an_account_is_read_whatever_its_values_are(
    drawn: tuple[dict[str, Any], dict[str, Any], list[str]], kind: ChangeType
) -> None:
    """No event is refused, its usable values come through, odd ones are flagged, and its context is valid."""
    usable, odd, changed = drawn
    body = usable | odd
    change = _read(body, changeType=kind, changedFields=changed or ["LastModifiedDate"])
    told = {**change.values, **change.enriched}
    assert {name: told[name] for name in usable} == usable
    assert _without_stale(change.flags) == _flags("Account", body)
    if kind is ChangeType.UPDATE and changed:
        assert set(change.changed_fields) >= set(changed)
        assert set(change.changed_fields) == set(changed) or Flag.SUSPECTED_STALE_SCHEMA in change.flags
    if kind in WHOLE_RECORDS:
        assert set(change.changed_fields) == _leaves("Account", body).keys()
    overlaid = overlay(context(), change)
    assert type(overlaid).model_validate_json(overlaid.model_dump_json()) == overlaid
    made = context_from_change(change)
    assert made is None or type(made).model_validate_json(made.model_dump_json()) == made


@given(bodies("Opportunity"), st.sampled_from(READABLE))
def test_a_related_record_is_read_whatever_its_values_are(
    drawn: tuple[dict[str, Any], dict[str, Any], list[str]], kind: ChangeType
) -> None:
    """So is an opportunity, as long as its account's id is one."""
    usable, odd, changed = drawn
    body = usable | odd | {"AccountId": account_id()}
    change = _read(
        body,
        entityName="Opportunity",
        recordIds=["006000000000001AAA"],
        changeType=kind,
        changedFields=changed or ["LastModifiedDate"],
    )
    told = {**change.values, **change.enriched}
    assert {name: told[name] for name in usable} == usable
    assert _without_stale(change.flags) == _flags("Opportunity", body)
    overlaid = overlay(context(), change)
    assert type(overlaid).model_validate_json(overlaid.model_dump_json()) == overlaid


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON), st.sampled_from(READABLE))
@example({"AnnualRevenue": -1.0}, ChangeType.UPDATE)
def test_an_entity_that_does_not_count_is_skipped_whatever_its_values_are(
    body: dict[str, Any], kind: ChangeType
) -> None:
    """Nobody reads a Lead's values."""
    event = payload(body, entityName="Lead", recordIds=["00Q000000000001AAA"], changeType=kind)
    (record,) = parse_message(SourceMessage(payload=event), account_fields=ACCOUNT_FIELDS)
    assert isinstance(record, NoChange)


def test_json_numbers_are_needed() -> None:
    """NaN and Infinity are not JSON, although many serialisers write them: such a message stays unreadable."""
    for value in (float("nan"), float("inf")):
        event = json.loads(payload()) | {"AnnualRevenue": value}
        (record,) = parse_message(SourceMessage(payload=json.dumps(event).encode()), account_fields=ACCOUNT_FIELDS)
        assert isinstance(record, Refusal)
        assert "not JSON" in str(record.error)
