"""Answers are taken account by account, or refused with what is wrong."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letter import ErrorClass
from schemas.score import ScoreAnswer
from tests.unit.schemas.test_score import ANSWER
from transforms.answers import check_answers
from transforms.errors import AnswerError, InvalidResponse

NAMES = {"bcdf": "Acme", "ghjk": "Beta"}


def _entry(short_id: str = "bcdf", name: str = "Acme", **changes: Any) -> dict[str, Any]:
    return ANSWER | {"id": short_id, "account_name": name} | changes


def _check(*entries: Any) -> dict[str, str]:
    answers = check_answers(json.dumps({"scores": entries}), NAMES)
    return {
        short_id: "taken" if isinstance(answer, ScoreAnswer) else str(answer.error_class)
        for short_id, answer in answers.items()
    }


def test_answers_are_matched_by_id_in_any_order() -> None:
    """Position means nothing."""
    assert _check(_entry("ghjk", "Beta"), _entry()) == {"bcdf": "taken", "ghjk": "taken"}


def test_a_missing_entry_costs_its_account_alone() -> None:
    """The others are kept."""
    assert _check(_entry()) == {"bcdf": "taken", "ghjk": "missing_score"}


def test_unknown_ids_are_dropped() -> None:
    """An entry for an account that was not asked about is nobody's."""
    assert _check(_entry(), _entry("ghjk", "Beta"), _entry("zzzz", "Gamma")) == {"bcdf": "taken", "ghjk": "taken"}


def test_a_doubled_id_is_refused() -> None:
    """Of two entries for one account neither is trusted."""
    assert _check(_entry(), _entry(score=3), _entry("ghjk", "Beta")) == {"bcdf": "mismatched_score", "ghjk": "taken"}


def test_swapped_ids_are_refused() -> None:
    """An entry that repeats another account's name is about that other account."""
    assert _check(_entry("bcdf", "Beta"), _entry("ghjk", "Acme")) == dict.fromkeys(NAMES, "mismatched_score")


@pytest.mark.parametrize(
    "change",
    [
        {"score": 101},
        {"score": True},
        {"score": "70"},
        {"score": 70.5},
        {"confidence": 2},
        {"drivers": []},
        {"summary": ""},
    ],
)
def test_an_entry_that_breaks_the_schema_is_refused(change: dict[str, Any]) -> None:
    """Nothing is clamped or converted, and the neighbour is kept."""
    assert _check(_entry(**change), _entry("ghjk", "Beta")) == {"bcdf": "invalid_score", "ghjk": "taken"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure! Here are the scores",
        '```json\n{"scores": []}\n```',
        '{"scores": [',
        '{"scores": [{"score": NaN}]}',
        "[]",
        "{}",
    ],
)
def test_text_that_is_not_the_json_asked_for_is_refused_whole(text: str) -> None:
    """Prose, fences, truncation and NaN leave no account with an answer."""
    with pytest.raises(InvalidResponse):
        check_answers(text, NAMES)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.lists(st.one_of(_json, st.dictionaries(st.sampled_from([*ANSWER]), _json).map(lambda d: ANSWER | d)), max_size=5)
)
def test_any_json_is_answers_or_classified_errors(entries: list[Any]) -> None:
    """Whatever stands in the list, each account asked about has an answer or an error with a class."""
    answers = check_answers(json.dumps({"scores": entries}), NAMES)
    assert set(answers) == set(NAMES)
    for answer in answers.values():
        assert isinstance(answer, ScoreAnswer) or (isinstance(answer, AnswerError) and answer.error_class in ErrorClass)
