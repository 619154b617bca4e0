"""What a burst keeps of large events: all that a context shows, and a bounded rest, which is flagged."""

from typing import Any

import pytest

from schemas.change_event import AccountChange, SourceMessage
from tests.fixtures.coalescing import LIMITS, Account, event, redelivered, related
from transforms.coalesce.account_state import AccountState, CoalescingLimits
from transforms.coders import RecordCoder

BOUND = 4 * LIMITS.max_size
"""Bytes: some characters take several, and positions are larger than they count for."""


def large(number: int, names: str, length: int = 900, **fields: Any) -> AccountChange:
    """Return an event with 2,500 long values besides the rating."""
    values = {f"{names}{index}__c": "v" * length for index in range(2_500)} | {"Rating": f"R{number}"}
    return event(number, number, changed_fields=tuple(values), values=values, source=message(number), **fields)


def message(number: int) -> SourceMessage:
    """Return a message that is not small."""
    return SourceMessage(payload=b"x" * 10_000, message_id=f"large {number}")


def kept(account: Account) -> int:
    """Return the bytes of an account's state."""
    return len(RecordCoder(AccountState).encode(account.state))


@pytest.mark.parametrize(
    "names", [["A", "B", "C", "D", "E"], ["A"] * 5], ids=["fields that differ", "the same fields again"]
)
def test_a_burst_of_large_events_is_bounded(names: list[str]) -> None:
    """Its state and its change hold what a context shows, and as many names as fit, the newest ones."""
    account = Account()
    for number, name in enumerate(names):
        account.take(large(number, name))
        assert kept(account) < BOUND
    (change,) = account.end().emitted
    assert len(RecordCoder(AccountChange).encode(change)) < BOUND
    assert (change.values, change.flags) == ({"Rating": "R4"}, ("values_cut",))
    assert len(change.changed_fields) > 100
    assert kept(account) < BOUND
    assert account.has_one_outcome_each()


def test_one_large_event_is_bounded() -> None:
    """Its message stays as it is, for its dead letter."""
    whole = large(1, "A")
    (change,) = Account().take(whole).end().emitted
    assert (change.values, change.flags, change.source) == ({"Rating": "R1"}, ("values_cut",), whole.source)
    assert set(change.changed_fields) < set(whole.changed_fields)


def test_a_replay_does_not_bring_back_what_was_cut() -> None:
    """The replay of an event that waits has its message, and the fields that were kept."""
    whole = large(1, "A")
    again = redelivered(whole, 1)
    (change,) = Account().take(whole, again).end().emitted
    assert (change.values, change.source) == ({"Rating": "R1"}, again.source)


def test_a_long_name_and_a_long_value_are_cut() -> None:
    """Whatever is long: a name, a text, or a list."""
    for odd in ({"x" * 10**6: 1}, {"A__c": "x" * 10**6}, {"A__c": ["x"] * 10**6}):
        for values in ({**odd, "Rating": "Hot"}, {"Rating": "Hot", **odd}):
            odd_one = event(1, 1, changed_fields=tuple(values), values=values, source=message(1))
            (change,) = Account().take(odd_one).end().emitted
            assert (change.values, change.flags) == ({"Rating": "Hot"}, ("values_cut",))
            assert len(RecordCoder(AccountChange).encode(change)) < BOUND


def test_the_records_of_a_burst_share_the_bound() -> None:
    """Sixteen records with large events, and the names of evicted ones."""
    account = Account()
    for number in range(60):
        values = {f"F{number}_{index}__c": "v" * 100 for index in range(600)}
        contact = f"003{number:012d}AAA"
        account.take(
            event(number, number, entity_name="Contact", record_id=contact, changed_fields=tuple(values), values=values)
        )
        assert kept(account) < BOUND
    account.take(related(70, 70, changed_fields=("StageName",), values={"StageName": "Closed Won"}))
    (change,) = account.end().emitted
    assert (change.values, change.flags) == ({"StageName": "Closed Won"}, ("values_cut",))
    assert len(RecordCoder(AccountChange).encode(change)) < BOUND


def test_an_older_value_does_not_return_for_a_cut_one() -> None:
    """What a context shows is never cut, so a late event of the burst does not set it."""
    older = event(0, 0, changed_fields=("Rating",), values={"Rating": "older"})
    (change,) = Account().take(large(1, "A"), large(2, "B"), older).end().emitted
    assert change.values == {"Rating": "R2"}


def test_many_changes_of_the_same_fields_are_not_cut() -> None:
    """A field counts once, however often it changes."""
    account = Account()
    for number in range(150):
        values = {f"F{index}__c": "v" * 20 for index in range(50)}
        account.take(event(number, number, changed_fields=tuple(values), values=values))
    (change,) = account.end().emitted
    assert (len(change.values), change.flags) == (50, ())


def test_a_bound_that_a_context_does_not_fit_into_is_refused() -> None:
    """When it is set, not on the workers."""
    with pytest.raises(ValueError, match="max_size"):
        CoalescingLimits(max_size=1_000)
