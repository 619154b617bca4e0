"""Deleted accounts, and changes that arrive after newer ones were emitted."""

import pytest

from schemas.change_event import AccountChange, ChangeType
from schemas.outcome import OutcomeKind, SkipReason
from schemas.score import Flag
from tests.fixtures.changes import COMMITTED_AT, account_id
from tests.fixtures.coalescing import Account, event, redelivered, related
from transforms.coalesce.account_state import AccountState, CoalescingLimits
from transforms.coders import RecordCoder


def test_a_late_change_of_another_record_goes_on() -> None:
    """An opportunity that was won before its account's last change, and arrives after it, is the newest row."""
    newer = event(2, 9, sequence=4)
    won = related(1, 1, changed_fields=("StageName",), values={"StageName": "Closed Won"})
    account = Account().take(newer).end().take(won).end()
    late = account.emitted[1]
    assert (late.event_id, late.order, late.values) == (won.event_id, won.order, {"StageName": "Closed Won"})
    assert late.row_order == (newer.committed_at, 5)
    account.take(redelivered(won), event(3, 5)).end()
    assert account.reasons() == [SkipReason.DUPLICATE, SkipReason.STALE]


def test_a_late_change_says_only_what_newer_ones_did_not() -> None:
    """Of a late change's fields, those that a newer event of the record changed are left out."""
    newer = event(2, 2, changed_fields=("Rating", "BillingAddress.City"), values={"BillingAddress.City": "Oslo"})
    late = event(
        1,
        1,
        changed_fields=("Type", "Rating", "Website", "BillingAddress"),
        values={"Type": "Customer", "Rating": "Cold", "BillingAddress": {"City": "Bergen"}},
        nulled_fields=("Website",),
        enriched={"Industry": "Energy"},
    )
    (_, change) = Account().take(newer).end().take(late).end().emitted
    assert change.changed_fields == ("Type", "Website", "BillingAddress")
    assert (change.values, change.nulled_fields) == ({"Type": "Customer"}, ("Website",))
    assert change.enriched == {"Industry": "Energy"}


@pytest.mark.parametrize("kind", [ChangeType.CREATE, ChangeType.UNDELETE, ChangeType.DELETE, ChangeType.GAP_UPDATE])
def test_a_change_before_the_whole_record_is_stale(kind: ChangeType) -> None:
    """After an event that stands for a whole record, an older change of that record is stale, whatever its fields."""
    whole = related(2, 2, change_type=kind, changed_fields=(), values={})
    late = related(1, 1, changed_fields=("Amount",), values={"Amount": 1})
    assert Account().take(whole).end().take(late).end().reasons() == [SkipReason.STALE]


@pytest.mark.parametrize("kind", [ChangeType.CREATE, ChangeType.UNDELETE])
def test_a_late_whole_record_empties_the_fields_that_it_lacks(kind: ChangeType) -> None:
    """Newer updates said all fields of a late UNDELETE; that the record's other fields are empty is news."""
    before = event(1, 1, changed_fields=("Rating", "Type"), values={"Rating": "Hot", "Type": "Prospect"})
    update = event(3, 3, changed_fields=("Type",), values={"Type": "Customer"})
    whole = event(2, 2, change_type=kind, changed_fields=("Type",), values={"Type": "Prospect"})
    account = Account().take(before, update).end().take(whole).end()
    assert account.reasons() == [OutcomeKind.COALESCED]
    assert {name: it for said in account.emitted[-1].said for name, it in said.values.items()} == {"Type": "Customer"}


def test_a_part_that_no_context_shows_overtakes_its_field() -> None:
    """The older value of a field is not told once a part of it has changed."""
    name = related(1, 1, changed_fields=("Name",), values={"Name": "Renewal"})
    part = related(2, 2, changed_fields=(), values={}, enriched={"Name.LastName": "B"})
    (merged,) = Account().take(name, part, event(3, 3)).end().emitted
    assert [said.record_id for said in merged.said] == [account_id(1)]


def test_a_value_that_a_newer_event_carried_is_newer() -> None:
    """An enriched field of a newer event tells what a late change made of it, or what came after that."""
    newer = event(2, 2, changed_fields=("Type",), values={"Type": "Customer"}, enriched={"Rating": "Hot"})
    late = event(1, 1, changed_fields=("Rating", "Website"), values={"Rating": "Cold", "Website": "x.example"})
    (_, change) = Account().take(newer).end().take(late).end().emitted
    assert (change.changed_fields, change.values) == (("Website",), {"Website": "x.example"})


def test_a_late_gap_and_a_late_deletion() -> None:
    """A late gap event is read again, although updates are newer; a late DELETE of a record that has some is stale."""
    update = related(2, 2, changed_fields=("Amount",), values={"Amount": 1})
    gap = related(1, 1, change_type=ChangeType.GAP_UPDATE, changed_fields=(), values={})
    gone = related(3, 1, change_type=ChangeType.DELETE, changed_fields=(), values={})
    account = Account().take(update).end().take(gone).end().take(gap).end()
    assert [item.event_id for item in account.emitted] == [update.event_id, gap.event_id]
    assert account.reasons() == [SkipReason.STALE]


def contacts(count: int) -> list[AccountChange]:
    """Return the first events of an account's contacts, ten seconds after others."""
    ids = [f"003{number:012d}AAA" for number in range(count)]
    return [event(100 + number, 10 + number, entity_name="Contact", record_id=it) for number, it in enumerate(ids)]


def test_a_late_change_of_a_record_that_is_not_remembered_goes_on() -> None:
    """After twenty contacts, a deal that was won before is the newest row; its values are the mirror's."""
    account = Account()
    account.take(*contacts(20))
    names = ("StageName", "IsWon", "IsClosed")
    won = related(50, 5, changed_fields=names, values={"StageName": "Closed Won", "IsWon": True, "IsClosed": True})
    late = account.end().take(won).end().emitted[-1]
    assert (late.event_id, late.changed_fields, late.flags) == (won.event_id, names, (Flag.VALUES_CUT,))
    assert WON.record_id not in told(late) or told(late)[WON.record_id] == {}
    assert late.row_order > account.emitted[0].row_order


def test_of_evicted_records_no_older_value_replaces_a_newer_one() -> None:
    """Of more records than are remembered, changes older than the evicted ones go on without their values."""
    account = Account(CoalescingLimits(max_records=2))
    for number, record in ((4, 1), (5, 2), (6, 3), (7, 0)):
        account.take(related(number, number, record=record)).end()
    account.take(related(3, 3, record=1, changed_fields=("Amount",), values={"Amount": 3})).end()
    assert (account.emitted[-1].changed_fields, account.emitted[-1].values) == (("Amount",), {})
    account.take(related(9, 6, record=1, changed_fields=("Amount",), values={"Amount": 6})).end()
    assert (account.emitted[-1].changed_fields, account.emitted[-1].values) == (("Amount",), {"Amount": 6})
    assert account.reasons() == []


def test_an_evicted_record_that_may_be_deleted_is_read_again() -> None:
    """An evicted event may have restored it: so its late DELETE takes nothing out of a context."""
    account = Account().take(related(4, 4, change_type=ChangeType.UNDELETE)).end().take(*contacts(20)).end()
    account.take(related(3, 3, change_type=ChangeType.DELETE, changed_fields=(), values={})).end()
    assert account.emitted[-1].change_type is ChangeType.GAP_UPDATE


def test_a_record_that_returned_to_a_burst_has_late_changes() -> None:
    """A burst evicted other records before it met this one: what an older event of this one says is news."""
    account = Account(CoalescingLimits(max_records=2))
    account.take(*(related(number, number, record=record) for number, record in ((4, 2), (7, 3), (8, 0))))
    account.take(related(9, 9, changed_fields=("Description",), values={})).end()
    won = related(1, 1, changed_fields=("StageName",), values={"StageName": "Closed Won"})
    account.take(won).end()
    assert (account.emitted[-1].event_id, account.emitted[-1].changed_fields) == (won.event_id, ("StageName",))


def test_the_first_event_of_an_account_has_its_values_however_late() -> None:
    """The newest own event is never evicted, so an account that was created before its many contacts is told whole."""
    account = Account().take(*contacts(20)).end()
    created = event(1, 1, change_type=ChangeType.CREATE, changed_fields=("Name",), values={"Name": "Nordlys"})
    account.take(created).end()
    assert told(account.emitted[-1])[account_id()] == {"Name": "Nordlys"}


def test_a_late_change_is_stale_in_the_state_of_an_older_release() -> None:
    """A state that does not say what was emitted, but only when."""
    newer = event(2, 2)
    account = Account(state=AccountState(emitted=newer.order)).take(related(1, 1)).end()
    assert account.reasons() == [SkipReason.STALE]
    assert Account(state=AccountState(emitted=newer.order)).take(related(3, 3)).end().emitted


def test_the_memory_of_emitted_changes_is_bounded() -> None:
    """Thousands of fields in hundreds of records leave a state of some 15 KB."""
    account = Account()
    for number in range(100):
        names = tuple(f"Field{number}_{field}__c" for field in range(2_500))
        contact = f"003{number:012d}AAA"
        account.take(event(2 * number, number, entity_name="Contact", record_id=contact, changed_fields=names)).end()
        account.take(event(2 * number + 1, number, changed_fields=names[:5])).end()
    assert len(RecordCoder(AccountState).encode(account.state)) < 30_000


@pytest.mark.parametrize("deletion", [ChangeType.DELETE, ChangeType.GAP_DELETE])
@pytest.mark.parametrize("cascaded", [ChangeType.DELETE, ChangeType.UPDATE])
def test_records_of_a_deleted_account_do_not_revive_it(deletion: ChangeType, cascaded: ChangeType) -> None:
    """A related record's event in a later burst than its account's deletion is skipped, and so is its repetition."""
    gone = event(2, 2, change_type=deletion, changed_fields=(), values={})
    cascade = related(3, 2, change_type=cascaded)
    account = Account().take(gone).end().take(cascade, related(4, 5)).end().take(redelivered(cascade)).end()
    assert [item.change_type for item in account.emitted] == [deletion]
    assert account.reasons() == [*[SkipReason.ACCOUNT_DELETED] * 2, SkipReason.DUPLICATE]
    assert account.has_one_outcome_each()
    older = Account().take(gone).end().take(related(1, 1)).end()
    assert older.reasons() == [SkipReason.STALE]


@pytest.mark.parametrize(
    "kind",
    [ChangeType.CREATE, ChangeType.UNDELETE, ChangeType.GAP_UNDELETE, ChangeType.GAP_OVERFLOW, ChangeType.UPDATE],
)
def test_an_event_of_a_deleted_account_revives_it_in_a_later_burst(kind: ChangeType) -> None:
    """After it, related records' events count again; with one that waits in the same burst, both go on."""
    gone = event(1, 1, change_type=ChangeType.DELETE, changed_fields=(), values={})
    account = Account().take(gone).end().take(related(3, 3), event(2, 2, change_type=kind)).end()
    account.take(related(4, 4)).end()
    assert [item.event_id for item in account.emitted] == [f"{number:032x}" for number in (1, 3, 4)]
    assert account.reasons() == [OutcomeKind.COALESCED]


def test_a_deletion_that_arrives_late_is_the_newest_row() -> None:
    """A DELETE after its cascade was scored hides that score; a later UNDELETE still follows the tombstone."""
    gone = event(2, 2, change_type=ChangeType.DELETE, changed_fields=(), values={})
    back = event(3, 3, change_type=ChangeType.UNDELETE)
    account = Account().take(related(5, 5)).end().take(gone).end().take(back).end()
    orders = [item.row_order for item in account.emitted]
    assert [item.change_type for item in account.emitted] == [ChangeType.UPDATE, ChangeType.DELETE, ChangeType.UNDELETE]
    assert orders == sorted(set(orders))
    assert {order.committed_at for order in orders} == {related(5, 5).committed_at}


def test_a_late_event_of_the_account_does_not_hide_its_newest() -> None:
    """A late gap goes on; a deletion from before the account's last update is stale after it, as it was before it."""
    update = event(3, 3, changed_fields=("Rating",), values={"Rating": "Hot"})
    gap = event(1, 1, change_type=ChangeType.GAP_CREATE, changed_fields=(), values={})
    gone = event(2, 2, change_type=ChangeType.DELETE, changed_fields=(), values={})
    account = Account().take(update).end().take(gap).end().take(gone, related(4, 4)).end()
    assert account.reasons() == [SkipReason.STALE]
    assert account.emitted[-1].change_type is ChangeType.UPDATE


def test_a_related_record_does_not_put_off_an_undelete() -> None:
    """A tombstone has the order of the account's own DELETE, although a newer event of its burst stands for it."""
    gone = event(1, 1, change_type=ChangeType.DELETE, changed_fields=(), values={})
    account = Account().take(gone, related(5, 5)).end().take(event(3, 3, change_type=ChangeType.UNDELETE)).end()
    assert [item.event_id for item in account.emitted] == [f"{number:032x}" for number in (5, 3)]
    assert [item.row_order for item in account.emitted] == [gone.order, account.emitted[1].order]


def test_a_deletion_older_than_the_accounts_last_event_is_stale() -> None:
    """A DELETE that arrives after a newer event of the account: the account was restored since."""
    gone = event(1, 1, change_type=ChangeType.DELETE, changed_fields=(), values={})
    assert Account().take(event(2, 2)).end().take(gone).end().reasons() == [SkipReason.STALE]


@pytest.mark.parametrize("kind", [ChangeType.UPDATE, ChangeType.UNDELETE])
def test_an_update_within_the_second_of_a_deletion_came_before_it(kind: ChangeType) -> None:
    """Of events with the deletion's commit order, an UPDATE is stale; only another event can follow a DELETE."""
    gone = event(1, 1, change_type=ChangeType.DELETE, changed_fields=(), values={})
    account = Account().take(gone).end().take(event(2, 1, change_type=kind)).end()
    assert account.reasons() == ([SkipReason.STALE] if kind is ChangeType.UPDATE else [])
    assert len({item.row_order for item in account.emitted}) == len(account.emitted)


def test_a_replayed_deletion_is_the_deletion_again() -> None:
    """Of an event that stood for the deletion of its account, be it the account's or a related record's."""
    gone = event(1, 1, change_type=ChangeType.DELETE, changed_fields=(), values={})
    for carrier, burst in ((gone, [gone]), (related(2, 2), [gone, related(2, 2)])):
        account = Account().take(*burst).end().take(redelivered(carrier, 1)).end()
        first, again = account.emitted
        assert (again.event_id, again.row_order) == (first.event_id, first.row_order)
        assert (again.entity_name, again.record_id, again.change_type) == ("Account", account_id(), ChangeType.DELETE)


WON = related(1, 1, changed_fields=("StageName",), values={"StageName": "Closed Won"})


def told(change: AccountChange) -> dict[str, dict[str, object]]:
    """Return the values that a change tells, by record."""
    return {said.record_id: said.values for said in change.said}


def test_the_values_of_all_records_of_a_burst_go_on() -> None:
    """A deal that was won, and the account that a flow updates after it."""
    (change,) = Account().take(event(2, 2), WON).end().emitted
    assert (change.entity_name, change.changed_fields) == ("Account", ("Rating", "Opportunity.StageName"))
    assert told(change) == {account_id(): {"Rating": "Hot"}, WON.record_id: {"StageName": "Closed Won"}}


def test_only_fields_that_a_context_shows_go_on_of_other_records() -> None:
    """Their size is bounded by what Salesforce's fields hold; a contact has none."""
    deal = related(3, 3, changed_fields=("Notes__c", "Amount"), values={"Notes__c": "x" * 10**6, "Amount": 5})
    contact = related(4, 4, record=3, changed_fields=("Title",), values={"Title": "CEO"})
    (change,) = Account().take(event(9, 9), deal, contact).end().emitted
    assert told(change) == {account_id(): {"Rating": "Hot"}, deal.record_id: {"Amount": 5}}


@pytest.mark.parametrize(("minutes", "is_behind"), [(14, True), (16, False)])
def test_values_are_known_while_the_mirror_may_lack_them(minutes: int, is_behind: bool) -> None:  # noqa: FBT001 - a case
    """A later burst has what was emitted before, for fifteen minutes after its commit; then the mirror has it."""
    now = COMMITTED_AT.timestamp() + 60 * minutes
    later = event(2, 60 * minutes)
    account = Account().take(WON, now=COMMITTED_AT.timestamp() + 5).end().take(later, now=now).end()
    won = {WON.record_id: {"StageName": "Closed Won"}} if is_behind else {}
    assert told(account.emitted[1]) == {account_id(): {"Rating": "Hot"}, **won}
    if not is_behind:
        account.take(event(3, 60 * minutes + 60), now=now + 60).end()
        assert "Closed Won" not in RecordCoder(AccountState).encode(account.state).decode()


def test_a_late_change_does_not_hide_newer_values() -> None:
    """Its row follows the newer one's, and has its values, too, although the mirror may lack them."""
    newer = event(2, 9, changed_fields=("Rating",), values={"Rating": "Hot"})
    late = event(1, 1, changed_fields=("Type", "Rating"), values={"Type": "Customer", "Rating": "Cold"})
    account = Account().take(newer).end().take(late).end()
    assert told(account.emitted[1]) == {account_id(): {"Rating": "Hot", "Type": "Customer"}}
    assert account.emitted[1].values == {"Type": "Customer"}


def test_a_deletion_tells_nothing_else() -> None:
    """A tombstone needs no values."""
    gone = event(2, 2, change_type=ChangeType.DELETE, changed_fields=(), values={})
    assert Account().take(WON, gone).end().emitted[0].records == ()


@pytest.mark.parametrize("is_alone", [True, False])
def test_an_undelete_tells_what_was_skipped_after_the_deletion(is_alone: bool) -> None:  # noqa: FBT001 - a case
    """A deal that was won after its account was restored, and whose event overtakes the UNDELETE."""
    gone = event(2, 0, change_type=ChangeType.DELETE, changed_fields=(), values={})
    won = related(3, 20, changed_fields=("StageName",), values={"StageName": "Closed Won"})
    others = [] if is_alone else [related(4, 21, record=2, changed_fields=("Amount",), values={"Amount": 5})]
    account = Account().take(gone).end().take(won, *others).end()
    assert account.reasons() == [SkipReason.ACCOUNT_DELETED] * (1 + len(others))
    (back,) = account.take(event(5, 10, change_type=ChangeType.UNDELETE, values={})).end().emitted[1:]
    expected = {won.record_id: {"StageName": "Closed Won"}, **{other.record_id: other.values for other in others}}
    assert {record_id: it for record_id, it in told(back).items() if it} == expected
    assert account.has_one_outcome_each()


def test_a_change_before_one_that_was_skipped_is_not_told_instead() -> None:
    """What was skipped is remembered by field, as what was emitted is: an older value does not take its place."""
    gone = event(2, 0, change_type=ChangeType.DELETE, changed_fields=(), values={})
    won = related(3, 20, changed_fields=("StageName",), values={"StageName": "Closed Won"})
    older = related(4, 15, changed_fields=("StageName",), values={"StageName": "Prospecting"})
    account = Account().take(gone).end().take(won).end().take(event(5, 10, change_type=ChangeType.UNDELETE)).end()
    account.take(older).end()
    assert told(account.emitted[-1])[won.record_id] == {"StageName": "Closed Won"}


def test_the_memory_of_skipped_changes_is_bounded() -> None:
    """A cascade of hundreds of records after the deletion leaves a state of the usual size."""
    account = Account().take(event(2, 0, change_type=ChangeType.DELETE, changed_fields=(), values={})).end()
    for change in contacts(300):
        account.take(change).end()
    assert account.state.emitted_records
    assert len(account.state.emitted_records.records) == account.limits.max_records
