"""Answers are accepted or rejected account by account."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.failures import ErrorClass
from schemas.score import MAX_ACTION, MAX_EVIDENCE, MAX_FACTOR, MAX_SUMMARY
from tests.unit.schemas.test_score import ANSWER
from transforms.errors import AnswerError, InvalidResponse
from transforms.prompt.crm_text import CUT_MARK
from transforms.prompt.prompt import unique_names
from transforms.score.answers import MAX_RAMBLING, CheckedAnswer, check_answers

NAMES = {"bcdf": "Acme", "ghjk": "Beta"}


def _entry(short_id: str = "bcdf", name: str = "Acme", **changes: Any) -> dict[str, Any]:
    return ANSWER | {"id": short_id, "account_name": name} | changes


def _check(*entries: Any) -> dict[str, str]:
    answers = check_answers(json.dumps({"scores": entries}), NAMES)
    return {
        short_id: "accepted" if isinstance(answer, CheckedAnswer) else str(answer.error_class)
        for short_id, answer in answers.items()
    }


def test_answers_are_matched_by_id_in_any_order() -> None:
    """The order of entries does not matter."""
    assert _check(_entry("ghjk", "Beta"), _entry()) == {"bcdf": "accepted", "ghjk": "accepted"}


def test_a_missing_entry_costs_its_account_alone() -> None:
    """The other accounts' entries are accepted."""
    assert _check(_entry()) == {"bcdf": "accepted", "ghjk": "missing_score"}


def test_unknown_ids_are_dropped() -> None:
    """An entry for an account that was not in the call is ignored."""
    assert _check(_entry(), _entry("ghjk", "Beta"), _entry("zzzz", "Gamma")) == {"bcdf": "accepted", "ghjk": "accepted"}


def test_a_doubled_id_is_refused() -> None:
    """Two entries for one account are both rejected."""
    assert _check(_entry(), _entry(score=3), _entry("ghjk", "Beta")) == {"bcdf": "mismatched_score", "ghjk": "accepted"}


def test_swapped_ids_are_refused() -> None:
    """An entry that repeats another account's name is rejected."""
    assert _check(_entry("bcdf", "Beta"), _entry("ghjk", "Acme")) == dict.fromkeys(NAMES, "mismatched_score")


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
        {"summary": "\x1f"},
        {"drivers": [{"factor": "\u2028\x1c", "impact": "positive", "evidence": "y"}]},
        {"summary": "x" * (MAX_RAMBLING * MAX_SUMMARY + 1)},
        {"drivers": [{"factor": "x", "impact": "neutral", "evidence": "y"}]},
        {"confidence": 2},
        {"drivers": []},
        {"summary": ""},
    ],
)
def test_an_entry_that_breaks_the_schema_is_refused(change: dict[str, Any]) -> None:
    """Values are neither clamped nor converted; the other entry is accepted."""
    assert _check(_entry(**change), _entry("ghjk", "Beta")) == {"bcdf": "invalid_score", "ghjk": "accepted"}


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
def test_text_other_than_the_requested_json_is_rejected_whole(text: str) -> None:
    """For prose, code fences, truncated JSON and NaN no account has an answer."""
    with pytest.raises(InvalidResponse):
        check_answers(text, NAMES)


@pytest.mark.parametrize("echo", ["Acme", " ACME ", "Ａcme", "acme\u00a0"])  # noqa: RUF001 - a full-width letter
def test_another_form_of_the_same_name_is_the_same_name(echo: str) -> None:
    """White space, case and look-alike characters do not make another name."""
    assert _check(_entry(name=echo), _entry("ghjk", "Beta")) == {"bcdf": "accepted", "ghjk": "accepted"}


def test_long_reasons_are_cut_with_a_mark() -> None:
    """The score is accepted; its texts fit their columns and end with the mark."""
    long = "x" * (MAX_SUMMARY + 1)
    driver = {"factor": "f" * (MAX_FACTOR + 1), "impact": "positive", "evidence": "e" * (MAX_EVIDENCE * 2)}
    checked = check_answers(
        json.dumps({"scores": [_entry(summary=long, recommended_action=long[:MAX_ACTION], drivers=[driver])]}),
        {"bcdf": "Acme"},
    )["bcdf"]
    assert isinstance(checked, CheckedAnswer)
    answer = checked.answer
    assert len(answer.summary) == MAX_SUMMARY
    assert answer.summary.endswith(CUT_MARK)
    assert answer.recommended_action == long[:MAX_ACTION]
    assert [len(answer.drivers[0].factor), len(answer.drivers[0].evidence)] == [MAX_FACTOR, MAX_EVIDENCE]
    assert answer.drivers[0].evidence.endswith(CUT_MARK)


def test_an_entry_nested_too_deeply_is_refused() -> None:
    """JSON that orjson can parse but not serialise is an invalid entry."""
    nested: Any = "x"
    for _ in range(600):
        nested = [nested]
    assert _check(_entry(summary=nested), _entry("ghjk", "Beta")) == {"bcdf": "invalid_score", "ghjk": "accepted"}


def _checked(**changes: Any) -> CheckedAnswer:
    checked = check_answers(json.dumps({"scores": [_entry(**changes)]}), {"bcdf": "Acme"})["bcdf"]
    assert isinstance(checked, CheckedAnswer)
    return checked


def test_links_markup_and_personal_data_are_taken_out_and_flagged() -> None:
    """The score is accepted, and its row says that its reasons were cleaned."""
    driver = {"factor": "<b>Open</b> deal", "impact": "positive", "evidence": "jo@example.com wrote"}
    checked = _checked(summary="See https://evil.example", recommended_action="- Call.", drivers=[driver])
    assert (checked.answer.summary, checked.answer.recommended_action) == ("See [link]", "Call.")
    assert (checked.answer.drivers[0].factor, checked.answer.drivers[0].evidence) == ("Open deal", "[email] wrote")
    assert checked.flags == ("cleaned_reasons",)
    assert _checked().flags == ()
    assert _checked(summary="One.\nTwo.").flags == ()


@pytest.mark.parametrize("field", ["summary", "recommended_action", "factor", "evidence"])
def test_a_formula_is_refused(field: str) -> None:
    """In any text of the entry; the other entry is accepted."""
    text = '=HYPERLINK("https://evil.example","x")'
    driver = {"factor": "x", "impact": "positive", "evidence": "y"}
    change: dict[str, Any] = {"drivers": [driver | {field: text}]} if field in driver else {field: text}
    assert _check(_entry(**change), _entry("ghjk", "Beta")) == {"bcdf": "invalid_score", "ghjk": "accepted"}


def test_a_text_of_markup_alone_is_refused() -> None:
    """Nothing is left of it."""
    assert _check(_entry(summary="<br/>"))["bcdf"] == "invalid_score"


def test_a_reason_that_names_another_account_of_the_call_is_refused() -> None:
    """The account is asked for again alone; if its own texts have the name, the reason may repeat it."""
    names = {"bcdf": "Acme", "ghjk": "Quillon Travel AG"}
    entries = [_entry(summary="Like Quillon Travel, it buys."), _entry("ghjk", "Quillon Travel AG")]
    text = json.dumps({"scores": entries})
    checked = check_answers(text, names)
    assert isinstance(checked["bcdf"], AnswerError)
    assert checked["bcdf"].error_class is ErrorClass.MISMATCHED_SCORE
    assert isinstance(checked["ghjk"], CheckedAnswer)
    told = check_answers(text, names, {"bcdf": "Quillon Travel recommends us", "ghjk": ""}.__getitem__)
    assert isinstance(told["bcdf"], CheckedAnswer)
    alone = check_answers(json.dumps({"scores": entries[:1]}), {"bcdf": "Acme"})
    assert isinstance(alone["bcdf"], CheckedAnswer)


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
        assert isinstance(answer, CheckedAnswer) or (
            isinstance(answer, AnswerError) and answer.error_class in ErrorClass
        )


@st.composite
def _calls(draw: st.DrawFn) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return the names_by_id of a call, and entries in which ids, names and scores were mixed up in any way.

    An account's true score is its number; an entry's score tells whose data the model looked at.
    """
    names = draw(st.lists(st.sampled_from(["Acme", "acme ", "Beta", "Beta AG", ""]), min_size=1, max_size=6))
    ids = [f"id{number}" for number in range(len(names))]
    names_by_id = dict(zip(ids, unique_names(names), strict=True))
    accounts = st.integers(0, len(names) - 1)
    mixed = draw(st.lists(st.tuples(accounts, accounts), max_size=10))
    return names_by_id, [_entry(ids[told], names_by_id[ids[seen]], score=seen) for told, seen in mixed]


@given(_calls())
def test_no_account_gets_the_score_of_another(call: tuple[dict[str, str], list[dict[str, Any]]]) -> None:
    """For any mix of swapped, dropped and doubled entries, an accepted answer is about its own account."""
    names_by_id, entries = call
    for number, answer in enumerate(check_answers(json.dumps({"scores": entries}), names_by_id).values()):
        if isinstance(answer, CheckedAnswer):
            assert answer.answer.score == number
            assert [entry["id"] for entry in entries].count(f"id{number}") == 1


@given(
    st.recursive(_json | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
)
def test_any_document_is_answers_or_a_classified_error(document: Any) -> None:
    """For any JSON document, no exception other than InvalidResponse is raised."""
    try:
        answers = check_answers(json.dumps(document), NAMES)
    except InvalidResponse:
        return
    assert set(answers) == set(NAMES)


@given(st.text(max_size=200))
def test_any_text_is_answers_or_a_classified_error(text: str) -> None:
    """For any text, no exception other than InvalidResponse is raised."""
    with contextlib.suppress(InvalidResponse):
        assert set(check_answers(text, NAMES)) == set(NAMES)
