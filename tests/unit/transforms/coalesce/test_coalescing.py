"""Duplicates, overtaken changes, replays, deletions, and the length of a burst."""

from collections.abc import Sequence
from typing import Any

import pytest

from schemas.change_event import AccountChange, ChangeType, SourceMessage
from schemas.outcome import OutcomeKind, SkipReason
from tests.fixtures.changes import account_id, change
from tests.fixtures.coalescing import LIMITS, Account, event, redelivered, related
from transforms.coalesce.account_state import AccountState, CoalescingLimits
from transforms.coalesce.coalescing import receive
from transforms.coders import RecordCoder


def test_a_repeated_event_is_a_duplicate() -> None:
    """An event is a duplicate whether its first delivery is pending, was emitted, or was merged into another."""
    older, newer = event(1, 1), event(2, 2)
    account = Account().take(older, newer, redelivered(older), redelivered(newer)).end()
    account.take(redelivered(older), redelivered(newer)).end()
    assert account.reasons() == [
        *[SkipReason.DUPLICATE] * 2,
        OutcomeKind.COALESCED,
        *[SkipReason.DUPLICATE] * 2,
    ]
    assert len(account.emitted) == 1


def test_an_overtaken_change_is_stale() -> None:
    """A change that arrives after a newer one was emitted is stale; so is its repetition."""
    late = event(1, 1)
    account = Account().take(event(2, 2)).end().take(late, redelivered(late)).end()
    assert account.reasons() == [SkipReason.STALE] * 2


@pytest.mark.parametrize("order", [1, -1])
def test_a_person_account_and_its_twin_are_one_change(order: int) -> None:
    """Both events of one transaction, where the contact's does not say that it is the account's twin: one score."""
    changed = event(
        1, 1, transaction_key="t", changed_fields=("PersonEmail",), values={"PersonEmail": "liv@example.org"}
    )
    twin = related(
        2, 1, 3, sequence=2, transaction_key="t", changed_fields=("Email",), values={"Email": "liv@example.org"}
    )
    account = Account().take(*(changed, twin)[::order]).end()
    assert [item.changed_fields for item in account.emitted] == [("Email", "Account.PersonEmail")]
    assert account.reasons() == [OutcomeKind.COALESCED]


def test_a_simultaneous_change_is_not_overtaken() -> None:
    """Changes of two records in the same second are both new, in any order of arrival and of ids."""
    for first, second in ((1, 2), (2, 1)):
        account = Account().take(related(first, 1)).end().take(related(second, 1, record=2)).end()
        assert [item.event_id for item in account.emitted] == [f"{first:032x}", f"{second:032x}"]


def test_a_replay_goes_on_again_until_it_is_overtaken() -> None:
    """Each replay of an event is emitted again, once per replay count; after a newer change it is stale."""
    original = event(1, 1)
    replays = [redelivered(original, count) for count in (1, 1, 0, 2, 3)]
    account = Account().take(original).end()
    for replay in replays[:4]:
        account.take(replay).end()
    assert [item.source.replay_count for item in account.emitted] == [0, 1, 2]
    account.take(event(2, 2)).end().take(replays[4]).end()
    assert account.reasons() == [SkipReason.DUPLICATE, SkipReason.DUPLICATE, SkipReason.STALE]


@pytest.mark.parametrize("other", [[], [event(2, 2)], [event(2, 0)]])
def test_the_latest_replay_of_a_pending_event_is_kept(other: list[AccountChange]) -> None:
    """If a pending event is replayed, the replay replaces it, and the earlier delivery is a duplicate."""
    original = event(1, 1)
    replay = redelivered(original, 1)
    account = Account().take(original, *other, replay).end()
    assert account.decisions[0].received.source.message_id == original.source.message_id
    assert account.decisions[0].reason is SkipReason.DUPLICATE
    ends = [item.source for item in account.emitted] + [item.received.source for item in account.decisions[1:]]
    assert replay.source.message_id in {source.message_id for source in ends}
    assert account.has_one_outcome_each()


@pytest.mark.parametrize("deletion", [ChangeType.DELETE, ChangeType.GAP_DELETE])
def test_a_deleted_account_stays_deleted_for_its_records(deletion: ChangeType) -> None:
    """Neither later events of cascade-deleted opportunities nor an older update hide that the account is deleted."""
    gone = event(2, 2, change_type=deletion, changed_fields=(), values={})
    account = Account().take(related(3, 3), gone, event(1, 1)).end()
    (merged,) = account.emitted
    assert (merged.event_id, merged.entity_name, merged.record_id) == (f"{3:032x}", "Account", account_id())
    assert (merged.change_type, merged.values) == (deletion, {})


@pytest.mark.parametrize("kind", [ChangeType.CREATE, ChangeType.UNDELETE, ChangeType.GAP_UNDELETE, ChangeType.UPDATE])
def test_a_newer_event_of_the_account_revives_it(kind: ChangeType) -> None:
    """An account that is written after its deletion exists; unless it is a gap, related records' events count again."""
    gone = event(1, 1, change_type=ChangeType.DELETE, changed_fields=(), values={})
    back = event(2, 2, change_type=kind)
    assert Account().take(back, gone).end().emitted[0].change_type is kind
    if not kind.is_gap:
        assert Account().take(related(3, 3), back, gone).end().emitted[0].entity_name == "Opportunity"


@pytest.mark.parametrize(
    ("gap", "merged_type"),
    [
        (ChangeType.GAP_UPDATE, ChangeType.GAP_UPDATE),
        (ChangeType.GAP_CREATE, ChangeType.GAP_CREATE),
        (ChangeType.GAP_UNDELETE, ChangeType.GAP_UNDELETE),
        (ChangeType.GAP_DELETE, ChangeType.GAP_UPDATE),
    ],
)
def test_an_update_does_not_close_a_gap(gap: ChangeType, merged_type: ChangeType) -> None:
    """After a gap the account must be read again despite updates; after a GAP_DELETE an update shows that it exists."""
    before, missed = event(1, 1), event(2, 2, change_type=gap, changed_fields=(), values={})
    update = event(3, 3, changed_fields=("Type",), values={"Type": "Customer"})
    for newer in ([], [related(4, 4)]):
        (merged,) = Account().take(*newer, update, missed, before).end().emitted
        assert (merged.entity_name, merged.change_type) == ("Account", merged_type)
        assert merged.values == {"Type": "Customer"}


def test_the_whole_record_closes_a_gap() -> None:
    """After a CREATE or an UNDELETE the account need not be read again."""
    missed = event(2, 2, change_type=ChangeType.GAP_UPDATE, changed_fields=(), values={})
    for kind in (ChangeType.CREATE, ChangeType.UNDELETE):
        (merged,) = Account().take(missed, event(3, 3, change_type=kind), event(4, 4)).end().emitted
        assert merged.change_type is ChangeType.UPDATE


def test_fields_of_two_records_are_kept_apart() -> None:
    """An opportunity's name is neither the account's nor another opportunity's."""
    account = event(3, 3, changed_fields=("Name",), values={"Name": "Acme"})
    deals = [
        related(number, number, record=number, changed_fields=("Name", "StageName"), values={"Name": "Renewal"})
        for number in (1, 2)
    ]
    (merged,) = Account().take(account, *deals).end().emitted
    assert merged.changed_fields == ("Name", "Opportunity.Name", "Opportunity.StageName")
    assert merged.values == {"Name": "Acme"}
    (merged,) = Account().take(*deals).end().emitted
    assert merged.changed_fields == ("Name", "StageName", "Opportunity.Name", "Opportunity.StageName")


def test_an_evicted_value_is_not_replaced_by_an_older_one() -> None:
    """After a record's values were evicted, its events from before the eviction do not set them."""
    given_up = related(5, 5, record=1, changed_fields=("Name",), values={"Name": "newer"})
    others = [related(6, 6, record=2), related(7, 7, record=3)]
    back = related(9, 9, record=1, changed_fields=("Amount",), values={"Amount": 1})
    late = related(3, 3, record=1, changed_fields=("Name",), values={"Name": "older"})
    account = Account(CoalescingLimits(max_records=2)).take(given_up, *others, back, late).end()
    assert account.emitted[0].values == {"Amount": 1}
    assert {"Name", "Amount", "Opportunity.Name"} <= set(account.emitted[0].changed_fields)


def test_the_account_is_known_however_many_records_are_not() -> None:
    """Values of related records may be evicted; those of the account never are, even if they arrive late."""
    records = [related(number, number, record=number - 4) for number in (5, 6, 7)]
    late = event(1, 1, changed_fields=("Type",), values={"Type": "Customer"})
    account = Account(CoalescingLimits(max_records=2)).take(*records, event(8, 8), late).end()
    assert account.emitted[0].values == {"Rating": "Hot", "Type": "Customer"}


def ends(arrivals_at: Sequence[float], limits: CoalescingLimits) -> list[float]:
    """Return the end of the window after each arrival."""
    account, times = Account(limits), []
    for number, now in enumerate(arrivals_at):
        account.take(event(number, number), now=now)
        assert account.state.pending
        times.append(account.state.pending.ends_at)
    return times


def test_a_window_grows_with_each_arrival_up_to_its_longest() -> None:
    """A window ends `window_seconds` after the last change, at most `max_window_seconds` after the first."""
    limits = CoalescingLimits(window_seconds=20, max_window_seconds=50)
    assert ends([100, 110, 125, 140, 149], limits) == [120, 130, 145, 150, 150]
    assert ends([100, 90], limits) == [120, 120]  # another worker's clock is behind


def test_a_duplicate_does_not_extend_the_window() -> None:
    """A repeated event leaves the end of the window as it is."""
    first = event(1, 1)
    account = Account().take(first, now=0).take(redelivered(first), now=10)
    assert account.state.is_due(20)
    assert not account.state.is_due(19.9)


def test_without_a_window_a_change_is_due_at_once() -> None:
    """A window of 0 seconds ends when the change arrives."""
    assert Account(CoalescingLimits(window_seconds=0)).take(event(1, 1), now=7).state.is_due(7)


def test_the_state_of_an_endless_burst_is_bounded() -> None:
    """A mass update of an account's contacts, in large messages, keeps one message and a bounded number of values."""
    sizes, account = [], Account()
    for number in range(600):
        large = SourceMessage(payload=b"x" * 20_000, message_id=str(number))
        contact = f"003{number:012d}AAA"
        account.take(event(number, number % 7, entity_name="Contact", record_id=contact, source=large))
        sizes.append(len(RecordCoder(AccountState).encode(account.state)))
    assert max(sizes[300:]) < 120_000
    assert max(sizes[550:]) - max(sizes[300:350]) < 1_000
    account.end()
    assert account.has_one_outcome_each()
    assert len(account.state.recent) == LIMITS.max_recent_ids


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_seconds": -1},
        {"window_seconds": 20, "max_window_seconds": 10},
        {"max_recent_ids": 0},
        {"max_pending": 0},
        {"max_records": 1},
    ],
)
def test_invalid_limits_are_refused(wrong: dict[str, Any]) -> None:
    """Invalid limits raise an error when they are created."""
    with pytest.raises(ValueError, match="expected"):
        CoalescingLimits(**wrong)


def test_a_gap_waits_for_the_mirror() -> None:
    """A burst with a gap waits at least `gap_delay_seconds`, so that the mirror can catch up, for any window."""
    limits = CoalescingLimits(window_seconds=1, max_window_seconds=2, gap_delay_seconds=60)
    state, _ = receive(AccountState(), change(event_id="a"), 0, limits)
    assert state.pending
    assert state.pending.ends_at == 1
    gap = change(event_id="b", change_type=ChangeType.GAP_UPDATE)
    state, _ = receive(state, gap, 0.5, limits)
    assert state.pending
    assert state.pending.ends_at == 60.5
