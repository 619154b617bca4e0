"""Gap events and the records that were read for them."""

import datetime as dt
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schemas.change_event import AccountChange, ChangeType
from schemas.record import to_json
from tests.fixtures.changes import COMMITTED_AT, account_id, change, context
from transforms.clients.salesforce_api import AccountRecord
from transforms.enrich.context_overlay import context_from_change, overlay
from transforms.enrich.reread_gaps import is_gone, needs_reread, reread_gaps

LATER = COMMITTED_AT + dt.timedelta(minutes=5)


def _gap(kind: ChangeType = ChangeType.GAP_UPDATE, **fields: Any) -> AccountChange:
    return change(**{"change_type": kind, "changed_fields": (), "values": {}} | fields)


def _record(*, is_deleted: bool = False, **values: Any) -> dict[str, AccountRecord]:
    record = AccountRecord(account_id=account_id(), is_deleted=is_deleted, modified_at=LATER, values=values)
    return {record.account_id: record}


@pytest.mark.parametrize("kind", list(ChangeType))
def test_only_gaps_of_living_records_are_read_again(kind: ChangeType) -> None:
    """Gaps of created, updated and restored accounts are; changes with values, deletions and overflows are not."""
    expected = kind in {ChangeType.GAP_CREATE, ChangeType.GAP_UPDATE, ChangeType.GAP_UNDELETE}
    assert needs_reread(_gap(kind)) is expected
    assert not needs_reread(_gap(kind, entity_name="Opportunity"))


def test_an_update_gets_values_but_no_changed_fields() -> None:
    """Values and empty fields are the record's; event id, order, message and changed fields are the event's."""
    gap = _gap(changed_fields=("Opportunity.StageName",))
    (filled,) = reread_gaps([gap], _record(Name="Acme", Rating=None, Industry="Mining"))
    assert filled == replace(
        gap,
        values={"Industry": "Mining", "Name": "Acme", "SystemModstamp": LATER.isoformat()},
        nulled_fields=("Rating",),
    )
    assert msgspec.json.decode(to_json(filled), type=AccountChange) == filled


@pytest.mark.parametrize("kind", [ChangeType.GAP_CREATE, ChangeType.GAP_UNDELETE])
def test_all_fields_of_a_new_record_are_changed(kind: ChangeType) -> None:
    """As with a CREATE that has its values."""
    (filled,) = reread_gaps([_gap(kind)], _record(Name="Acme", Rating=None))
    assert filled.changed_fields == ("Name",)


def test_the_overlay_takes_a_record_that_was_read_again() -> None:
    """The event is older than the mirror's record, but the record that was read for it is newer."""
    gap = _gap(committed_at=COMMITTED_AT - dt.timedelta(days=1))
    (filled,) = reread_gaps([gap], _record(Name="Renamed", Industry=None))
    profile = overlay(context(), filled).profile
    assert (profile.name, profile.industry, profile.modified_at) == ("Renamed", None, LATER)


def test_the_overlay_keeps_a_newer_record_of_the_mirror() -> None:
    """If the mirror has a later write by then, it stays."""
    (filled,) = reread_gaps([_gap()], _record(Name="Renamed"))
    newer = context(profile=context().profile.model_copy(update={"modified_at": LATER + dt.timedelta(seconds=1)}))
    assert overlay(newer, filled) == newer


def test_an_account_that_the_mirror_lacks_can_be_scored_from_its_record() -> None:
    """A record that was read again is enough for a context."""
    (filled,) = reread_gaps([_gap(ChangeType.GAP_CREATE)], _record(Name="Acme", Industry="Mining", Rating="Hot"))
    made = context_from_change(filled)
    assert made is not None
    assert (made.profile.name, made.profile.modified_at) == ("Acme", LATER)


def test_a_deleted_record_is_a_deletion() -> None:
    """A gap whose record is in the recycle bin becomes a deletion without values."""
    gap = _gap(ChangeType.GAP_UPDATE, changed_fields=("Rating",))
    (gone,) = reread_gaps([gap], _record(is_deleted=True, Name="Acme"))
    assert gone == replace(gap, change_type=ChangeType.GAP_DELETE, changed_fields=())
    assert is_gone(gone)
    assert not is_gone(gap)


def test_other_changes_stay_as_they_are_and_in_their_order() -> None:
    """Changes with values, and gaps whose record Salesforce does not show."""
    changes = [change(), _gap(account_id=account_id(2), record_id=account_id(2)), change(3)]
    assert reread_gaps(changes, _record(Name="Acme")) == changes
