"""The filter over dead letters."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter, filter_from_json
from pipeline.dead_letters.held_dead_letter import HeldDeadLetter
from schemas.failures import ErrorClass
from tests.fixtures.changes import NOW, account_id
from tests.fixtures.dead_letters import held

HOUR = dt.timedelta(hours=1)
DEAD_LETTER = held(model="gemini-x")


@pytest.mark.parametrize(
    "chosen",
    [
        DeadLetterFilter(),
        DeadLetterFilter(error_classes=("undecodable", "gemini_timeout")),
        DeadLetterFilter(stages=("Score accounts",)),
        DeadLetterFilter(accounts=(account_id(1)[:15],)),
        DeadLetterFilter(models=("gemini-x",)),
        DeadLetterFilter(pipeline_versions=("1.0.0",)),
        DeadLetterFilter(since=NOW),
        DeadLetterFilter(until=NOW + HOUR),
        DeadLetterFilter(is_not_replayed=True),
    ],
)
def test_a_dead_letter_that_fits_matches(chosen: DeadLetterFilter) -> None:
    """One of the values of a field is enough; an account id may have 15 characters."""
    assert chosen.matches(DEAD_LETTER)


@pytest.mark.parametrize(
    "chosen",
    [
        DeadLetterFilter(error_classes=("undecodable",)),
        DeadLetterFilter(stages=("Write scores",)),
        DeadLetterFilter(accounts=(account_id(2),)),
        DeadLetterFilter(models=("gemini-y",)),
        DeadLetterFilter(pipeline_versions=("1.0.1",)),
        DeadLetterFilter(since=NOW + HOUR),
        DeadLetterFilter(until=NOW),
        DeadLetterFilter(error_classes=("gemini_timeout",), stages=("Write scores",)),
    ],
)
def test_a_dead_letter_that_differs_in_one_field_does_not_match(chosen: DeadLetterFilter) -> None:
    """Every field must match; `until` is excluded."""
    assert not chosen.matches(DEAD_LETTER)


def test_a_message_without_an_envelope_never_matches() -> None:
    """It is not a dead letter, and stays on the subscription."""
    assert not DeadLetterFilter().matches(HeldDeadLetter("a", "m", b"x", {"stage": "Score accounts"}))


def test_not_replayed_leaves_out_what_the_journal_holds() -> None:
    """The acknowledgement may have been lost, but the dead letter was published again."""
    assert not DeadLetterFilter(is_not_replayed=True).matches(DEAD_LETTER, {DEAD_LETTER.dead_letter_id})
    assert DeadLetterFilter().matches(DEAD_LETTER, {DEAD_LETTER.dead_letter_id})


@given(
    st.builds(
        DeadLetterFilter,
        error_classes=st.lists(st.sampled_from(ErrorClass).map(str), max_size=2).map(tuple),
        stages=st.lists(st.text(max_size=9), max_size=2).map(tuple),
        accounts=st.lists(st.integers(1, 9).map(account_id), max_size=2).map(tuple),
        models=st.lists(st.text(max_size=9), max_size=2).map(tuple),
        since=st.none() | st.just(NOW - HOUR),
        until=st.none() | st.just(NOW),
        is_not_replayed=st.booleans(),
    )
)
def test_the_journal_keeps_a_filter(chosen: DeadLetterFilter) -> None:
    """A replay is resumed with its own filter."""
    assert filter_from_json(chosen.as_json()) == chosen


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"error_classes": ("gemini_timeouts",)}, "one of undecodable, "),
        ({"accounts": ("003000000000001AAA",)}, "start with 001"),
        ({"since": NOW, "until": NOW}, "no dead letter could match"),
    ],
)
def test_a_filter_that_can_t_match_is_refused(fields: dict[str, tuple[str, ...]], remedy: str) -> None:
    """A typing error must not look like an empty list."""
    with pytest.raises(ValueError, match=remedy):
        DeadLetterFilter(**fields)  # type: ignore[arg-type]  # of different fields


def test_a_filter_of_a_later_version_is_refused() -> None:
    """Resuming without one of its fields would replay too much."""
    with pytest.raises(ValueError, match="colour"):
        filter_from_json('{"colour": ["red"]}')
