"""The newest event that lists a field decides it; a value that is no longer known is not guessed."""

import datetime as dt
import itertools
from typing import Any

import pytest

from schemas.change_event import AccountChange, ChangeType
from tests.fixtures.changes import COMMITTED_AT, change
from transforms.record_changes import RecordChanges


def said(second: int, *changed: str, kind: ChangeType = ChangeType.UPDATE, **fields: Any) -> AccountChange:
    """Return an event at a second; its values are of fields that it changed."""
    committed_at = COMMITTED_AT + dt.timedelta(seconds=second)
    plain = {"values": {}, "event_id": f"{second:032x}", "change_type": kind}
    return change(1, committed_at=committed_at, changed_fields=changed, **plain | fields)


def fields_of(*events: AccountChange) -> dict[str, object]:
    """Merge events, after checking that the result is the same in every order of arrival."""
    results = []
    for arrival in itertools.permutations(events):
        record = RecordChanges.of(arrival[0])
        for event in arrival[1:]:
            record = record.merged(RecordChanges.of(event))
        results.append(record.change_fields())
    assert all(result == results[0] for result in results)
    return results[0]


def test_a_newer_value_beats_an_older_one() -> None:
    """Each field has the value of the newest event that names it."""
    fields = fields_of(
        said(1, "Rating", "Type", values={"Rating": "Cold", "Type": "Prospect"}),
        said(2, "Rating", values={"Rating": "Hot"}),
    )
    assert fields["values"] == {"Rating": "Hot", "Type": "Prospect"}


def test_clearing_and_setting_undo_each_other() -> None:
    """A newer clear removes an older value, and a newer value an older clear."""
    set_, cleared = said(1, "Rating", values={"Rating": "Hot"}), said(2, "Rating", nulled_fields=("Rating",))
    assert fields_of(set_, cleared) == {"values": {}, "nulled_fields": ("Rating",), "enriched": {}}
    again = said(3, "Rating", values={"Rating": "Warm"})
    assert fields_of(set_, cleared, again) == {"values": {"Rating": "Warm"}, "nulled_fields": (), "enriched": {}}


def test_an_unknown_new_value_removes_the_older_one() -> None:
    """A field that an event lists without a value has an unknown value: not the old one, and not cleared."""
    for older in (said(1, "Rating", values={"Rating": "Hot"}), said(1, "Rating", nulled_fields=("Rating",))):
        assert fields_of(older, said(2, "Rating")) == {"values": {}, "nulled_fields": (), "enriched": {}}


@pytest.mark.parametrize(
    ("older", "newer", "values", "nulled"),
    [
        ({"Name": "Jane Doe"}, said(2, "Name.LastName", values={"Name.LastName": "Roe"}), {"Name.LastName": "Roe"}, ()),
        ({"Name.LastName": "Doe"}, said(2, "Name", values={"Name": "Jane Roe"}), {"Name": "Jane Roe"}, ()),
        ({"Name.LastName": "Doe"}, said(2, "Name", nulled_fields=("Name",)), {}, ("Name",)),
        (
            {"Name.FirstName": "Jane", "Name.LastName": "Doe"},
            said(2, "Name.LastName", values={"Name.LastName": "Roe"}),
            {"Name.FirstName": "Jane", "Name.LastName": "Roe"},
            (),
        ),
        ({"NameSuffix": "Dr"}, said(2, "Name", values={"Name": "Roe"}), {"NameSuffix": "Dr", "Name": "Roe"}, ()),
    ],
)
def test_the_whole_and_its_parts_overtake_each_other(
    older: dict[str, Any], newer: AccountChange, values: dict[str, Any], nulled: tuple[str, ...]
) -> None:
    """A newer part removes a compound field's older value, a newer whole removes older parts; siblings stay."""
    fields = fields_of(said(1, *older, values=older), newer)
    assert (fields["values"], fields["nulled_fields"]) == (values, nulled)


def test_an_enriched_field_counts_as_changed_only_if_an_event_changed_it() -> None:
    """An enriched field stays enriched; if an older event changed it, it supplies the newer value."""
    older = said(1, "Rating", values={"Rating": "Cold"}, enriched={"Industry": "Energy"})
    newer = said(2, "Type", values={"Type": "Customer"}, enriched={"Rating": "Hot", "Industry": "Mining"})
    assert fields_of(older, newer) == {
        "values": {"Rating": "Hot", "Type": "Customer"},
        "nulled_fields": (),
        "enriched": {"Industry": "Mining"},
    }


@pytest.mark.parametrize("kind", [kind for kind in ChangeType if kind is not ChangeType.UPDATE])
def test_only_an_update_leaves_older_values_standing(kind: ChangeType) -> None:
    """A gap, deletion, creation or undeletion makes older values unknown, never cleared; newer ones stay."""
    older = said(1, "Rating", "Fax", values={"Rating": "Cold"}, nulled_fields=("Fax",), enriched={"Industry": "Energy"})
    newer = said(3, "Type", values={"Type": "Customer"})
    assert fields_of(older, said(2, kind=kind)) == {"values": {}, "nulled_fields": (), "enriched": {}}
    with_newer = fields_of(older, said(2, kind=kind), newer)
    assert with_newer == {"values": {"Type": "Customer"}, "nulled_fields": (), "enriched": {}}


@pytest.mark.parametrize("kind", [kind for kind in ChangeType if kind.is_gap])
def test_a_gap_event_says_no_values(kind: ChangeType) -> None:
    """Values of a gap event are ignored: it has only a header."""
    gap = said(1, "Rating", kind=kind, values={"Rating": "Hot"}, nulled_fields=("Fax",), enriched={"Type": "Customer"})
    assert fields_of(gap) == {"values": {}, "nulled_fields": (), "enriched": {}}


def test_a_deletion_keeps_its_enriched_fields() -> None:
    """A DELETE has no values; its enriched fields describe the record."""
    deletion = said(2, kind=ChangeType.DELETE, values={"Rating": "Hot"}, enriched={"Industry": "Energy"})
    older = said(1, "Rating", values={"Rating": "Cold"})
    assert fields_of(older, deletion) == {"values": {}, "nulled_fields": (), "enriched": {"Industry": "Energy"}}
