"""Which letters are meant."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dead_letters.held_letter import HeldLetter
from pipeline.dead_letters.letter_filter import LetterFilter, filter_from_json
from schemas.failures import ErrorClass
from tests.fixtures.changes import NOW, account_id
from tests.fixtures.letters import held

HOUR = dt.timedelta(hours=1)
LETTER = held(model="gemini-x")


@pytest.mark.parametrize(
    "meant",
    [
        LetterFilter(),
        LetterFilter(error_classes=("undecodable", "gemini_timeout")),
        LetterFilter(stages=("Score accounts",)),
        LetterFilter(accounts=(account_id(1)[:15],)),
        LetterFilter(models=("gemini-x",)),
        LetterFilter(pipeline_versions=("1.0.0",)),
        LetterFilter(since=NOW),
        LetterFilter(until=NOW + HOUR),
        LetterFilter(is_not_replayed=True),
    ],
)
def test_a_letter_that_is_meant_matches(meant: LetterFilter) -> None:
    """Any of the values of a field will do; an id may be of 15 characters."""
    assert meant.matches(LETTER)


@pytest.mark.parametrize(
    "meant",
    [
        LetterFilter(error_classes=("undecodable",)),
        LetterFilter(stages=("Write scores",)),
        LetterFilter(accounts=(account_id(2),)),
        LetterFilter(models=("gemini-y",)),
        LetterFilter(pipeline_versions=("1.0.1",)),
        LetterFilter(since=NOW + HOUR),
        LetterFilter(until=NOW),
        LetterFilter(error_classes=("gemini_timeout",), stages=("Write scores",)),
    ],
)
def test_a_letter_that_is_not_meant_does_not_match(meant: LetterFilter) -> None:
    """Every field must hold; `until` is excluded."""
    assert not meant.matches(LETTER)


def test_a_message_of_strangers_never_matches() -> None:
    """What is no letter stays where it is."""
    assert not LetterFilter().matches(HeldLetter("a", "m", b"x", {"stage": "Score accounts"}))


def test_not_replayed_leaves_out_what_the_journal_holds() -> None:
    """Its acknowledgement may have been lost; the letter was published again all the same."""
    assert not LetterFilter(is_not_replayed=True).matches(LETTER, {LETTER.letter_id})
    assert LetterFilter().matches(LETTER, {LETTER.letter_id})


@given(
    st.builds(
        LetterFilter,
        error_classes=st.lists(st.sampled_from(ErrorClass).map(str), max_size=2).map(tuple),
        stages=st.lists(st.text(max_size=9), max_size=2).map(tuple),
        accounts=st.lists(st.integers(1, 9).map(account_id), max_size=2).map(tuple),
        models=st.lists(st.text(max_size=9), max_size=2).map(tuple),
        since=st.none() | st.just(NOW - HOUR),
        until=st.none() | st.just(NOW),
        is_not_replayed=st.booleans(),
    )
)
def test_the_journal_keeps_a_filter(meant: LetterFilter) -> None:
    """A replay is resumed with the filter it was asked for with."""
    assert filter_from_json(meant.as_json()) == meant


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"error_classes": ("gemini_timeouts",)}, "one of undecodable, "),
        ({"accounts": ("003000000000001AAA",)}, "start with 001"),
        ({"since": NOW, "until": NOW}, "no letter could match"),
    ],
)
def test_a_filter_that_can_t_match_is_refused(fields: dict[str, tuple[str, ...]], remedy: str) -> None:
    """A typing error must not pass for an empty list."""
    with pytest.raises(ValueError, match=remedy):
        LetterFilter(**fields)  # type: ignore[arg-type]  # of different fields


def test_a_filter_of_a_later_version_is_refused() -> None:
    """To resume with less than what was asked for would replay too much."""
    with pytest.raises(ValueError, match="colour"):
        filter_from_json('{"colour": ["red"]}')
