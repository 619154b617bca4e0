"""Gap events and the records that were read for them."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schemas.change_event import AccountChange, ChangeOrder, ChangeType, RecordValues
from schemas.field_values import ACCOUNT_COLUMNS, OPPORTUNITY_COLUMNS
from schemas.record import to_json
from schemas.salesforce_fields import OPPORTUNITY_FIELDS, PROFILE_FIELDS
from tests.fixtures.changes import ACCOUNT_FIELDS, COMMITTED_AT, account_id, change, context
from transforms.clients.salesforce_api import SalesforceRecord
from transforms.enrich.context_overlay import context_from_change, overlay
from transforms.enrich.reread_gaps import fields_to_read, is_gone, needs_reread, reread_gaps

OPPORTUNITY = "006ak00000IiFInAAN"
LATER = COMMITTED_AT + dt.timedelta(minutes=5)


def _gap(kind: ChangeType = ChangeType.GAP_UPDATE, **fields: Any) -> AccountChange:
    return change(**{"change_type": kind, "changed_fields": (), "values": {}} | fields)


def _record(record_id: str = account_id(), *, is_deleted: bool = False, **values: Any) -> dict[str, SalesforceRecord]:
    record = SalesforceRecord(record_id=record_id, is_deleted=is_deleted, modified_at=LATER, values=values)
    return {record.record_id: record}


def _reread(changes: Sequence[AccountChange], records: Mapping[str, SalesforceRecord]) -> list[AccountChange]:
    return reread_gaps(changes, records, ACCOUNT_FIELDS)


@pytest.mark.parametrize("kind", list(ChangeType))
def test_only_gaps_of_living_records_are_read_again(kind: ChangeType) -> None:
    """Gaps of created, updated and restored records are; changes with values, deletions and overflows are not."""
    expected = kind in {ChangeType.GAP_CREATE, ChangeType.GAP_UPDATE, ChangeType.GAP_UNDELETE}
    assert needs_reread(_gap(kind)) is expected
    assert needs_reread(_gap(kind, entity_name="Opportunity", record_id=OPPORTUNITY)) is expected


def test_an_update_gets_values_but_no_changed_fields() -> None:
    """Values and empty fields are the record's; event id, order, message and changed fields are the event's."""
    gap = _gap(changed_fields=("Opportunity.StageName",))
    (filled,) = _reread([gap], _record(Name="Acme", Rating=None, Industry="Mining"))
    assert filled == replace(
        gap,
        values={"Industry": "Mining", "Name": "Acme", "SystemModstamp": LATER.isoformat()},
        nulled_fields=("Rating",),
    )
    assert msgspec.json.decode(to_json(filled), type=AccountChange) == filled


def test_an_unusable_value_of_a_record_is_flagged() -> None:
    """It is left out, and the flags of the burst stay."""
    gap = _gap(flags=("unusable_value:Opportunity.Amount",))
    (filled,) = _reread([gap], _record(Name="Acme", AnnualRevenue=-1))
    assert filled.values == {"Name": "Acme", "SystemModstamp": LATER.isoformat()}
    assert filled.flags == ("unusable_value:AnnualRevenue", "unusable_value:Opportunity.Amount")


@pytest.mark.parametrize("kind", [ChangeType.GAP_CREATE, ChangeType.GAP_UNDELETE])
def test_all_fields_of_a_new_record_are_changed(kind: ChangeType) -> None:
    """As with a CREATE that has its values."""
    (filled,) = _reread([_gap(kind)], _record(Name="Acme", Rating=None))
    assert filled.changed_fields == ("Name",)


def test_the_overlay_takes_a_record_that_was_read_again() -> None:
    """The event is older than the mirror's record, but the record that was read for it is newer."""
    gap = _gap(committed_at=COMMITTED_AT - dt.timedelta(days=1))
    (filled,) = _reread([gap], _record(Name="Renamed", Industry=None))
    profile = overlay(context(), filled).profile
    assert (profile.name, profile.industry, profile.modified_at) == ("Renamed", None, LATER)


def test_the_overlay_keeps_a_newer_record_of_the_mirror() -> None:
    """If the mirror has a later write by then, it stays."""
    (filled,) = _reread([_gap()], _record(Name="Renamed"))
    newer = context(profile=context().profile.model_copy(update={"modified_at": LATER + dt.timedelta(seconds=1)}))
    assert overlay(newer, filled) == newer


def test_an_account_that_the_mirror_lacks_can_be_scored_from_its_record() -> None:
    """A record that was read again is enough for a context."""
    (filled,) = _reread([_gap(ChangeType.GAP_CREATE)], _record(Name="Acme", Industry="Mining", Rating="Hot"))
    made = context_from_change(filled)
    assert made is not None
    assert (made.profile.name, made.profile.modified_at) == ("Acme", LATER)


def test_a_deleted_record_is_a_deletion() -> None:
    """A gap whose record is in the recycle bin becomes a deletion without values."""
    gap = _gap(ChangeType.GAP_UPDATE, changed_fields=("Rating",))
    (gone,) = _reread([gap], _record(is_deleted=True, Name="Acme"))
    assert gone == replace(gap, change_type=ChangeType.GAP_DELETE, changed_fields=())
    assert is_gone(gone)
    assert not is_gone(gap)


def test_other_changes_stay_as_they_are_and_in_their_order() -> None:
    """Changes with values, and gaps whose record Salesforce does not show."""
    changes = [change(), _gap(account_id=account_id(2), record_id=account_id(2)), change(3)]
    assert _reread(changes, _record(Name="Acme")) == changes


def _opportunity_gap(kind: ChangeType = ChangeType.GAP_UPDATE) -> AccountChange:
    return _gap(kind, entity_name="Opportunity", record_id=OPPORTUNITY)


def test_the_fields_of_a_read_are_bounded_by_entity() -> None:
    """Those that name the account, and those that a context shows; of one that no context shows, the first only."""
    assert fields_to_read("Account", ACCOUNT_FIELDS) == PROFILE_FIELDS
    assert fields_to_read("Opportunity", ACCOUNT_FIELDS) == ("AccountId", *OPPORTUNITY_FIELDS)
    assert fields_to_read("Task", ACCOUNT_FIELDS) == ("AccountId", "WhatId")
    assert fields_to_read("Project__c", {"Project__c": ("Account__c",)}) == ("Account__c",)


def test_a_context_shows_every_field_that_is_read() -> None:
    """No field is read in vain, and of an opportunity none that a context shows is left out."""
    assert set(PROFILE_FIELDS) <= set(ACCOUNT_COLUMNS)
    assert set(OPPORTUNITY_FIELDS) == set(OPPORTUNITY_COLUMNS)


def test_the_overlay_takes_an_opportunity_that_was_read_again() -> None:
    """The mirror's record is older than the one that was read, although the event is older than both."""
    old = context().opportunities[0].model_copy(update={"opportunity_id": OPPORTUNITY})
    gap = replace(_opportunity_gap(), committed_at=COMMITTED_AT - dt.timedelta(days=1))
    values: dict[str, Any] = {
        "AccountId": account_id(),
        "StageName": "Closed Won",
        "IsClosed": True,
        "IsWon": True,
        "Amount": None,
    }
    (filled,) = _reread([gap], _record(OPPORTUNITY, **values))
    (won,) = overlay(context(opportunities=(old,)), filled).opportunities
    assert (won.stage, won.is_won, won.amount, won.modified_at) == ("Closed Won", True, None, LATER)
    newer = context(opportunities=(old.model_copy(update={"modified_at": LATER + dt.timedelta(seconds=1)}),))
    assert overlay(newer, filled) == newer


def test_a_deleted_opportunity_leaves_the_context_and_no_tombstone() -> None:
    """Its account lives on, and is scored without it."""
    (gone,) = _reread([_opportunity_gap()], _record(OPPORTUNITY, is_deleted=True, AccountId=account_id()))
    old = context().opportunities[0].model_copy(update={"opportunity_id": OPPORTUNITY})
    assert (gone.change_type, is_gone(gone)) == (ChangeType.GAP_DELETE, False)
    assert overlay(context(opportunities=(old,)), gone).opportunities == ()


def test_a_record_that_was_moved_changes_both_accounts() -> None:
    """The account of the event loses it, and the one that it belongs to by now gets its values."""
    gap = replace(_opportunity_gap(), coalesced=("e" * 32,))
    left, joined = _reread(
        [gap], _record(OPPORTUNITY, AccountId=account_id(2), StageName="Prospecting", Name="Renewal")
    )
    assert (left.account_id, left.change_type, left.values) == (account_id(), ChangeType.GAP_DELETE, {})
    assert (joined.account_id, joined.change_type) == (account_id(2), ChangeType.GAP_UPDATE)
    assert {it.event_id for it in (left, joined)} == {gap.event_id}
    assert (left.coalesced, joined.coalesced) == (("e" * 32,), ())  # the others were about the account of the event
    assert [it.name for it in overlay(context(2, opportunities=()), joined).opportunities] == ["Renewal"]


@pytest.mark.parametrize("values", [{}, {"AccountId": None}, {"AccountId": OPPORTUNITY}, {"AccountId": "x"}])
def test_a_record_that_names_no_account_stays_with_that_of_the_event(values: dict[str, Any]) -> None:
    """The event's account was found elsewhere; it is rescored, whatever the record belongs to by now."""
    (filled,) = _reread([_opportunity_gap()], _record(OPPORTUNITY, **values))
    assert (filled.account_id, filled.change_type) == (account_id(), ChangeType.GAP_UPDATE)


def test_a_task_belongs_to_the_account_that_it_is_about() -> None:
    """WhatId counts if AccountId is empty and WhatId is an account's."""
    task = "00Tak00000IiFInEAN"
    gap = _gap(entity_name="Task", record_id=task)
    _, joined = _reread([gap], _record(task, AccountId=None, WhatId=account_id(2)))
    assert joined.account_id == account_id(2)
    assert len(_reread([gap], _record(task, AccountId=None, WhatId=OPPORTUNITY))) == 1


def test_a_record_that_was_read_again_is_newer_than_what_was_known_of_it() -> None:
    """Of what a burst said, other records' values stay; those of another account's row are left out."""
    gap = _opportunity_gap()
    deal, account = (
        RecordValues(
            event_id="5" * 32,
            entity_name=entity,
            record_id=record_id,
            change_type=ChangeType.UPDATE,
            committed_at=COMMITTED_AT,
            sequence_number=1,
            values={"Name": "Before"},
        )
        for entity, record_id in (("Opportunity", gap.record_id), ("Account", gap.account_id))
    )
    known = replace(gap, records=(deal, account), scored_as_of=ChangeOrder(COMMITTED_AT, 7))
    (filled,) = _reread([known], _record(gap.record_id, StageName="Closed Won", AccountId=gap.account_id))
    assert (filled.records, filled.said) == ((account,), (account, filled))
    gone, moved = _reread([known], _record(gap.record_id, AccountId=account_id(2)))
    assert (gone.records, gone.scored_as_of) == ((account,), known.scored_as_of)
    assert (moved.records, moved.scored_as_of) == ((), None)
