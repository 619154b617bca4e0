"""Parked changes: what is kept, under which key, and when it is tried again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.account_context import context_hash
from tests.fixtures.changes import enriched_change
from transforms.coders import RecordCoder
from transforms.score.parked_changes import ParkedChange, deadline_of, next_try, parking_key


def test_a_parked_change_is_scored_with_the_context_that_it_had() -> None:
    """Change and context survive state; so does the hash by which an unchanged context is recognised."""
    item = enriched_change(3)
    coder = RecordCoder(ParkedChange)
    parked = coder.decode(coder.encode(ParkedChange.of(item, 1_000.5)))
    assert parked.enriched() == item
    assert context_hash(parked.enriched().context) == context_hash(item.context)
    assert parked.failed_at == 1_000.5


def test_a_context_of_a_newer_release_is_read() -> None:
    """After a rollback, parts of a context and fields of its rows that this release does not know are left out."""
    parked = ParkedChange.of(enriched_change(3), 0.0)
    context = json.loads(parked.context)
    context["cases"] = [{"case_id": "500"}]
    context["profile"]["churn_risk"] = 0.5
    assert replace(parked, context=json.dumps(context)).enriched() == enriched_change(3)


def test_each_batch_has_a_key_of_its_own() -> None:
    """It is the same when a bundle is repeated, in whatever order its changes are."""
    batch = [enriched_change(number) for number in range(5)]
    assert parking_key(batch) == parking_key(batch[::-1])
    assert parking_key(batch) != parking_key(batch[:4])


@given(st.floats(0, 1e9), st.floats(-100, 5_000), st.floats(0.1, 600))
def test_the_next_try_is_soon_and_not_after_the_deadline(now: float, left: float, seconds: float) -> None:
    """A change is given up when its deadline is over, and not a wait later."""
    due = next_try(now, now + left, seconds)
    assert now <= due <= now + seconds
    assert due <= max(now, now + left)


def test_batches_that_were_parked_together_come_back_apart() -> None:
    """An outage ends for thousands of batches at the same time."""
    tries = [next_try(0, 1_800, 30) for _ in range(200)]
    assert min(tries) < 18
    assert max(tries) > 27


def test_the_first_deadline_counts() -> None:
    """Each change has its own; a key is looked at when the first one is over."""
    parked = [ParkedChange.of(enriched_change(number), 1_000.0 - number) for number in range(3)]
    assert deadline_of(parked, 1_800) == pytest.approx(2_798)
