"""Gaps and the records that were read for them: what is filled, how it is told apart, and what stays."""

import datetime as dt
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schemas.change_event import AccountChange, ChangeType
from schemas.record import to_json
from tests.fixtures.changes import COMMITTED_AT, account_id, change, context
from transforms.clients.salesforce import AccountRecord
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
    """Creations, updates and restorations without a body are; what has a body, is deleted or no record, is not."""
    expected = kind in {ChangeType.GAP_CREATE, ChangeType.GAP_UPDATE, ChangeType.GAP_UNDELETE}
    assert needs_reread(_gap(kind)) is expected
    assert not needs_reread(_gap(kind, entity_name="Opportunity"))


def test_an_update_gets_values_without_a_word_of_what_changed() -> None:
    """Values and empty fields are known afterwards; identity, order, message and changed fields are the event's."""
    gap = _gap(changed_fields=("Opportunity.StageName",))
    (filled,) = reread_gaps([gap], _record(Name="Acme", Rating=None, Industry="Mining"))
    assert filled == replace(
        gap,
        values={"Industry": "Mining", "Name": "Acme", "SystemModstamp": LATER.isoformat()},
        nulled_fields=("Rating",),
    )
    assert msgspec.json.decode(to_json(filled), type=AccountChange) == filled


@pytest.mark.parametrize("kind", [ChangeType.GAP_CREATE, ChangeType.GAP_UNDELETE])
def test_all_that_a_new_record_has_is_new(kind: ChangeType) -> None:
    """A created or restored record changed in every field it has, as with a CREATE that has its body."""
    (filled,) = reread_gaps([_gap(kind)], _record(Name="Acme", Rating=None))
    assert filled.changed_fields == ("Name",)


def test_the_overlay_takes_what_was_read_again() -> None:
    """Though the event is older than the warehouse's record, the record that was read for it is newer."""
    gap = _gap(committed_at=COMMITTED_AT - dt.timedelta(days=1))
    (filled,) = reread_gaps([gap], _record(Name="Renamed", Industry=None))
    profile = overlay(context(), filled).profile
    assert (profile.name, profile.industry, profile.modified_at) == ("Renamed", None, LATER)


def test_the_overlay_keeps_what_the_warehouse_has_since() -> None:
    """If the mirror got a newer write in the meantime, it is not set back."""
    (filled,) = reread_gaps([_gap()], _record(Name="Renamed"))
    newer = context(profile=context().profile.model_copy(update={"modified_at": LATER + dt.timedelta(seconds=1)}))
    assert overlay(newer, filled) == newer


def test_an_account_that_the_warehouse_lacks_can_be_scored_from_its_record() -> None:
    """A record that was read again is a context of its own."""
    (filled,) = reread_gaps([_gap(ChangeType.GAP_CREATE)], _record(Name="Acme", Industry="Mining", Rating="Hot"))
    made = context_from_change(filled)
    assert made is not None
    assert (made.profile.name, made.profile.modified_at) == ("Acme", LATER)


def test_a_deleted_record_is_a_deletion() -> None:
    """A gap whose record lies in the recycle bin says no values, and that the account is gone."""
    gap = _gap(ChangeType.GAP_UPDATE, changed_fields=("Rating",))
    (gone,) = reread_gaps([gap], _record(is_deleted=True, Name="Acme"))
    assert gone == replace(gap, change_type=ChangeType.GAP_DELETE, changed_fields=())
    assert is_gone(gone)
    assert not is_gone(gap)


def test_all_else_is_untouched_and_in_place() -> None:
    """Changes with a body, and gaps whose record Salesforce does not show, go on as they came."""
    changes = [change(), _gap(account_id=account_id(2), record_id=account_id(2)), change(3)]
    assert reread_gaps(changes, _record(Name="Acme")) == changes
