"""An account that waits for the token budget: what is kept of its changes, and when it is checked."""

import datetime as dt
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.change_event import AccountChange, ChangeOrder, ChangeType, SourceMessage
from schemas.outcome import OutcomeKind, SkipReason
from tests.fixtures.changes import account_id, change
from transforms.admit.held_accounts import (
    FIRST_CHECK_SECONDS,
    LONGEST_WAIT_SECONDS,
    MAX_COALESCED,
    RELEASE_SECONDS,
    Ended,
    next_check,
    with_change,
)

MIDNIGHT = dt.datetime(2026, 3, 3, tzinfo=dt.UTC).timestamp()
DAY = 86_400.0
OPPORTUNITY = "006000000000001AAA"


def _change(number: int, **fields: object) -> AccountChange:
    return change(1, event_id=f"{number:032x}", **{"sequence_number": number, **fields})


def _held(*changes: AccountChange) -> tuple[AccountChange, list[Ended]]:
    """Return what waits after all changes came, and what ended."""
    held, ended = changes[0], []
    for came in changes[1:]:
        held, end = with_change(held, came)
        ended.append(end)
    return held, ended


_KINDS = st.sampled_from([kind for kind in ChangeType if kind is not ChangeType.DELETE])
_CHANGES = st.lists(
    st.builds(
        lambda number, kind: _change(
            number,
            change_type=kind,
            changed_fields=(f"Field_{number % 4}__c",),
            values={f"Field_{number % 4}__c": number},
            record_id=account_id(1) if number % 3 else OPPORTUNITY,
        ),
        st.integers(1, 9),
        _KINDS,
    ),
    min_size=1,
    max_size=9,
)


@given(_CHANGES)
def test_each_change_waits_or_has_one_outcome(changes: list[AccountChange]) -> None:
    """The newest waits, and each other one ends once: coalesced into a newer one, or as a repetition."""
    held, ended = _held(*changes)
    assert held.event_id == max(changes, key=lambda item: item.order).event_id
    assert Counter([held.event_id, *(it.received.event_id for it in ended)]) == Counter(it.event_id for it in changes)
    for it in ended:
        if it.outcome is OutcomeKind.COALESCED:
            assert it.coalesced_into
            assert it.coalesced_into > it.received.event_id
        else:
            assert (it.outcome, it.reason) == (OutcomeKind.SKIPPED, SkipReason.DUPLICATE)
    assert {held.event_id, *held.coalesced} == {item.event_id for item in changes}
    assert {name.rpartition(".")[2] for name in held.changed_fields} == {
        item.changed_fields[0].rpartition(".")[2] for item in changes
    }


def test_a_record_s_newest_values_are_kept() -> None:
    """A field that only an older change has keeps its value; a newer value or a cleared field replaces it."""
    held, _ = _held(
        _change(1, changed_fields=("Rating", "Type", "Site"), values={"Rating": "Hot", "Type": "A", "Site": "x"}),
        _change(2, changed_fields=("Type", "Site"), values={"Type": "B"}, nulled_fields=("Site",), flags=("f",)),
    )
    assert (held.values, held.nulled_fields, held.flags) == ({"Rating": "Hot", "Type": "B"}, ("Site",), ("f",))
    assert held.changed_fields == ("Type", "Site", "Rating")


def test_values_of_another_record_are_no_values_of_this_one() -> None:
    """Its fields are named with its entity, and not twice."""
    deal = {"entity_name": "Opportunity", "record_id": OPPORTUNITY, "values": {"Name": "Deal"}}
    held, _ = _held(
        _change(1, changed_fields=("BillingAddress.City",)),
        _change(2, changed_fields=("Name",), **deal),
        _change(3, changed_fields=("Rating",)),
        _change(4, changed_fields=("Name",), **deal),
    )
    assert (held.entity_name, held.values) == ("Opportunity", {"Name": "Deal"})
    assert held.changed_fields == ("Name", "Account.Rating", "Opportunity.Name", "Account.BillingAddress.City")


@pytest.mark.parametrize("is_related", [False, True])
def test_a_gap_of_the_account_is_still_read_again(is_related: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A newer update, of the account or of a related record, does not say what the gap changed."""
    record = {"entity_name": "Opportunity", "record_id": OPPORTUNITY} if is_related else {}
    held, _ = _held(_change(1, change_type=ChangeType.GAP_UPDATE, values={}), _change(2, **record))
    assert (held.event_id, held.change_type) == (f"{2:032x}", ChangeType.GAP_UPDATE)
    assert (held.entity_name, held.record_id) == ("Account", account_id(1))


def test_a_replay_replaces_the_delivery_that_it_repeats() -> None:
    """Its outcome is that of the replay, so the older delivery ends as a duplicate."""
    replay = _change(1, source=SourceMessage(payload=b"{}", attributes={"replay_count": "1"}))
    for order in ((_change(1), replay), (replay, _change(1))):
        held, (ended,) = _held(*order)
        assert held.source.replay_count == 1
        assert (ended.received.source.replay_count, ended.reason) == (0, SkipReason.DUPLICATE)


def test_what_waits_is_bounded() -> None:
    """However often an account changes while it waits."""
    held, _ = _held(*(_change(number) for number in range(1, MAX_COALESCED + 50)))
    assert len(held.coalesced) == MAX_COALESCED
    assert held.coalesced[0] == f"{MAX_COALESCED + 48:032x}"


@given(st.integers(0, 10**6), st.floats(-3 * DAY, 0), st.floats(0, 1))
@example(1, 0.0, 0.0)
def test_a_check_comes_within_bounds(number: int, held_before: float, share: float) -> None:
    """Later than now, within the longest wait; over midnight, in the first minutes of the new day."""
    held_at = MIDNIGHT + held_before
    now = held_at + share * (MIDNIGHT + DAY - held_at - 1)
    check = next_check(account_id(number), held_at, now)
    midnight = MIDNIGHT if now < MIDNIGHT else MIDNIGHT + DAY
    while midnight - DAY > now:
        midnight -= DAY
    assert check > now
    if check < midnight:
        assert FIRST_CHECK_SECONDS <= check - now <= 1.5 * LONGEST_WAIT_SECONDS + 1
    else:
        assert check <= midnight + RELEASE_SECONDS


def test_accounts_are_released_over_the_first_minutes_of_a_day() -> None:
    """Spread evenly, those that have waited longer first."""
    slots = []
    for number in range(2_000):
        held_at = MIDNIGHT - DAY + number * DAY / 2_000
        slots.append(next_check(account_id(number), held_at, max(held_at, MIDNIGHT - 60)) - MIDNIGHT)
    minutes = Counter(int(slot // 60) for slot in slots)
    assert set(minutes) == set(range(15))
    assert max(minutes.values()) < 2.5 * len(slots) / 15
    assert max(slots[:500]) < min(slots[1_500:])


def test_accounts_of_earlier_days_come_first_and_spread() -> None:
    """They don't all come at midnight."""
    slots = [next_check(account_id(number), MIDNIGHT - 3 * DAY, MIDNIGHT - 1) - MIDNIGHT for number in range(500)]
    assert 0 <= min(slots) < 5
    assert 80 < max(slots) <= 0.1 * RELEASE_SECONDS


def test_values_of_every_record_are_kept() -> None:
    """A deal that is won while its account waits is in the context, although the account changes after it."""
    won = {"StageName": "Closed Won", "Amount": 5_000}
    fields = {"changed_fields": tuple(won), "values": won}
    deal = _change(1, entity_name="Opportunity", record_id=OPPORTUNITY, **fields)
    held, _ = _held(deal, _change(2, changed_fields=("Rating",), values={"Rating": "Hot"}))
    assert {said.record_id: dict(said.values) for said in held.said} == {
        OPPORTUNITY: won,
        account_id(1): {"Rating": "Hot"},
    }


def test_a_late_change_does_not_make_the_row_older() -> None:
    """A late change follows the row of a newer one; merged with it, the row keeps the later order, in either order."""
    newest = _change(5, changed_fields=("Rating",), values={"Rating": "Hot"})
    as_of = ChangeOrder(newest.committed_at, 6)
    late = _change(2, changed_fields=("Site",), values={"Site": "x"}, scored_as_of=as_of)
    for changes in ((newest, late), (late, newest)):
        held, _ = _held(*changes)
        assert (held.event_id, held.row_order) == (newest.event_id, as_of)
        assert held.values == {"Rating": "Hot", "Site": "x"}
