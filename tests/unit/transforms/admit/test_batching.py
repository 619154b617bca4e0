"""When a batch of accounts goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.admit.batching import EMPTY, MAX_BATCH_BYTES, BatchLimits, OpenBatch, after, is_complete, with_account
from transforms.coders import RecordCoder

LIMITS = BatchLimits(fills_call=5, max_accounts=40, max_wait_seconds=10)


def _filled(accounts: int, *, seconds: float, before: OpenBatch = EMPTY, limits: BatchLimits = LIMITS) -> OpenBatch:
    """Return a batch whose accounts arrived evenly from second 100 on."""
    batch = before
    for number in range(accounts):
        batch = with_account(batch, 1_000, 100 + seconds * number / max(1, accounts - 1), limits)
    return batch


def test_a_batch_goes_on_when_it_fills_a_call() -> None:
    """While changes are slow, nobody waits for more than a call takes."""
    assert not is_complete(_filled(4, seconds=3), 103, LIMITS)
    assert is_complete(_filled(5, seconds=3), 103, LIMITS)


def test_a_batch_goes_on_after_the_wait_of_its_first_account() -> None:
    """However few there are; an empty one never does."""
    assert not is_complete(_filled(2, seconds=9), 109.9, LIMITS)
    assert is_complete(_filled(2, seconds=9), 110, LIMITS)
    assert not is_complete(EMPTY, 1e9, LIMITS)


def test_large_changes_end_a_batch() -> None:
    """A commit of the runner has a limit of bytes."""
    assert is_complete(with_account(EMPTY, MAX_BATCH_BYTES, 100, LIMITS), 100, LIMITS)


def test_batches_grow_while_calls_fill_at_once_and_shrink_again() -> None:
    """In whole calls, between one call and the largest batch."""
    batch, targets = EMPTY, []
    for _ in range(5):
        full = _filled(batch.target or 5, seconds=0.1, before=batch)
        batch = after(full, 100.1, LIMITS)
        targets.append(batch.target)
    assert targets == [10, 20, 40, 40, 40]
    for _ in range(4):
        batch = after(_filled(3, seconds=9, before=batch), 110, LIMITS)
        targets.append(batch.target)
    assert targets[5:] == [20, 10, 5, 5]
    assert after(_filled(10, seconds=0.6, before=OpenBatch(target=10)), 100.6, LIMITS).target == 10


def test_a_batch_smaller_than_a_call_is_its_largest() -> None:
    """The context query's limit wins."""
    limits = BatchLimits(fills_call=5, max_accounts=3)
    assert is_complete(_filled(3, seconds=0, limits=limits), 100, limits)
    assert after(_filled(3, seconds=0, limits=limits), 100, limits).target == 3


@pytest.mark.parametrize("wrong", [{"fills_call": 0}, {"max_accounts": 0}, {"max_wait_seconds": -1}])
def test_limits_are_checked(wrong: dict[str, int]) -> None:
    """Before anything is submitted."""
    with pytest.raises(ValueError, match="1 or more"):
        BatchLimits(**wrong)


@given(
    pauses=st.lists(st.floats(0, 30), min_size=1, max_size=200),
    fills_call=st.integers(1, 8),
    max_accounts=st.integers(1, 50),
    wait=st.floats(0, 20),
)
def test_batches_keep_their_bounds(pauses: list[float], fills_call: int, max_accounts: int, wait: float) -> None:
    """Whatever arrives when: no batch has more accounts than allowed, and none waits longer while changes arrive."""
    limits = BatchLimits(fills_call, max_accounts, wait)
    batch, moment, accounts = EMPTY, 1_000.0, 0
    for pause in pauses:
        moment += pause
        if batch.accounts and moment >= batch.opened_at + wait:  # the timer
            accounts += batch.accounts
            batch = after(batch, batch.opened_at + wait, limits)
        batch = with_account(batch, 1, moment, limits)
        assert batch.target >= 1
        assert batch.accounts <= max_accounts
        if is_complete(batch, moment, limits):
            accounts += batch.accounts
            batch = after(batch, moment, limits)
            assert batch.accounts == 0
            assert limits.smallest <= batch.target <= max_accounts
    assert accounts + batch.accounts == len(pauses)


def test_the_state_is_as_released() -> None:
    """Golden bytes: a job that is updated reads the state of the version before."""
    batch = OpenBatch(target=10, opened_at=100.5, accounts=3, size=4_096)
    coder = RecordCoder(OpenBatch)
    assert coder.encode(batch) == b'{"target":10,"opened_at":100.5,"accounts":3,"size":4096}'
    assert coder.decode(b'{"target":10,"opened_at":100.5,"accounts":3,"size":4096}') == batch
