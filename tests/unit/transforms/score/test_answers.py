"""Answers are taken account by account, or refused with what is wrong."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.failures import ErrorClass
from schemas.score import MAX_ACTION, MAX_EVIDENCE, MAX_FACTOR, MAX_SUMMARY, ScoreAnswer
from tests.unit.schemas.test_score import ANSWER
from transforms.errors import AnswerError, InvalidResponse
from transforms.prompt.crm_text import CUT_MARK
from transforms.prompt.prompt import unique_names
from transforms.score.answers import MAX_RAMBLING, check_answers

FACTS = {"bcdf": "Acme", "ghjk": "Beta"}


def _entry(short_id: str = "bcdf", name: str = "Acme", **changes: Any) -> dict[str, Any]:
    return ANSWER | {"id": short_id, "account_name": name} | changes


def _check(*entries: Any) -> dict[str, str]:
    answers = check_answers(json.dumps({"scores": entries}), FACTS)
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
    assert _check(_entry("bcdf", "Beta"), _entry("ghjk", "Acme")) == dict.fromkeys(FACTS, "mismatched_score")


@pytest.mark.parametrize(
    "change",
    [
        {"score": 101},
        {"score": True},
        {"score": "70"},
        {"score": 70.5},
        {"score": 70.0},
        {"score": None},
        {"score": 10**30},
        {"confidence": True},
        {"summary": "   "},
        {"summary": "x" * (MAX_RAMBLING * MAX_SUMMARY + 1)},
        {"drivers": [{"factor": "x", "impact": "neutral", "evidence": "y"}]},
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
        check_answers(text, FACTS)


@pytest.mark.parametrize("echo", ["Acme", " ACME ", "Ａcme", "acme\u00a0"])  # noqa: RUF001 - a full-width letter
def test_another_form_of_the_same_name_is_the_same_name(echo: str) -> None:
    """White space, case and look-alike forms are no sign of another account."""
    assert _check(_entry(name=echo), _entry("ghjk", "Beta")) == {"bcdf": "taken", "ghjk": "taken"}


def test_reasons_that_run_on_are_cut_with_a_mark() -> None:
    """A sound score is kept; its prose fits the column, and a reader sees that there was more."""
    long = "x" * (MAX_SUMMARY + 1)
    driver = {"factor": "f" * (MAX_FACTOR + 1), "impact": "positive", "evidence": "e" * (MAX_EVIDENCE * 2)}
    answer = check_answers(
        json.dumps({"scores": [_entry(summary=long, recommended_action=long[:MAX_ACTION], drivers=[driver])]}),
        {"bcdf": "Acme"},
    )["bcdf"]
    assert isinstance(answer, ScoreAnswer)
    assert len(answer.summary) == MAX_SUMMARY
    assert answer.summary.endswith(CUT_MARK)
    assert answer.recommended_action == long[:MAX_ACTION]
    assert [len(answer.drivers[0].factor), len(answer.drivers[0].evidence)] == [MAX_FACTOR, MAX_EVIDENCE]
    assert answer.drivers[0].evidence.endswith(CUT_MARK)


def test_an_entry_nested_too_deeply_is_refused() -> None:
    """What can be read, but never written again, is an invalid entry and no crash."""
    nested: Any = "x"
    for _ in range(600):
        nested = [nested]
    assert _check(_entry(summary=nested), _entry("ghjk", "Beta")) == {"bcdf": "invalid_score", "ghjk": "taken"}


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
    answers = check_answers(json.dumps({"scores": entries}), FACTS)
    assert set(answers) == set(FACTS)
    for answer in answers.values():
        assert isinstance(answer, ScoreAnswer) or (isinstance(answer, AnswerError) and answer.error_class in ErrorClass)


@st.composite
def _calls(draw: st.DrawFn) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return the facts of a call, and entries in which ids, names and scores were mixed up in any way.

    An account's true score is its number; an entry's score tells whose data the model looked at.
    """
    names = draw(st.lists(st.sampled_from(["Acme", "acme ", "Beta", "Beta AG", ""]), min_size=1, max_size=6))
    ids = [f"id{number}" for number in range(len(names))]
    facts = dict(zip(ids, unique_names(names), strict=True))
    accounts = st.integers(0, len(names) - 1)
    mixed = draw(st.lists(st.tuples(accounts, accounts), max_size=10))
    return facts, [_entry(ids[told], facts[ids[seen]], score=seen) for told, seen in mixed]


@given(_calls())
def test_no_account_gets_the_score_of_another(call: tuple[dict[str, str], list[dict[str, Any]]]) -> None:
    """However a model swaps, drops and doubles, an answer that is taken was written about its account."""
    facts, entries = call
    for number, answer in enumerate(check_answers(json.dumps({"scores": entries}), facts).values()):
        if isinstance(answer, ScoreAnswer):
            assert answer.score == number
            assert [entry["id"] for entry in entries].count(f"id{number}") == 1


@given(
    st.recursive(_json | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
)
def test_any_document_is_answers_or_a_classified_error(document: Any) -> None:
    """Whatever JSON comes instead of the answer, nothing but the errors of the tree is raised."""
    try:
        answers = check_answers(json.dumps(document), FACTS)
    except InvalidResponse:
        return
    assert set(answers) == set(FACTS)


@given(st.text(max_size=200))
def test_any_text_is_answers_or_a_classified_error(text: str) -> None:
    """The same of text that is no JSON."""
    with contextlib.suppress(InvalidResponse):
        assert set(check_answers(text, FACTS)) == set(FACTS)
