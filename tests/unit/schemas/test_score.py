"""Scores: range, tiers, ids and the context hash."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.account_context import context_hash
from schemas.score import ScoreAnswer, Tier, score_id, tier_of
from tests.fixtures.changes import NOW, context

ANSWER: dict[str, Any] = {
    "id": "bcdf",
    "account_name": "Acme",
    "score": 71,
    "confidence": 0.8,
    "drivers": [{"factor": "Open deal", "impact": "positive", "evidence": "Negotiation, 1,200"}],
    "recommended_action": "Call.",
    "summary": "Likely.",
}


@pytest.mark.parametrize("score", [-1, 101, 50.5, "50", True, None])
def test_a_score_out_of_range_or_type_is_refused(score: object) -> None:
    """Scores are integers from 0 to 100; values are not clamped or converted."""
    with pytest.raises(ValidationError):
        ScoreAnswer.model_validate_json(json.dumps(ANSWER | {"score": score}))


@pytest.mark.parametrize("score", [0, 71, 100])
def test_a_score_within_range_is_taken(score: int) -> None:
    """The bounds 0 and 100 are accepted."""
    assert ScoreAnswer.model_validate_json(json.dumps(ANSWER | {"score": score})).score == score


@pytest.mark.parametrize("blank", ["\t\r\n", "\x1c\x1d\x1e\x1f", "\x85\xa0", "\u2028\u2029\u3000"], ids=ascii)
def test_texts_have_no_white_space_around_them(blank: str) -> None:
    """What Python counts as white space is stripped, control separators too."""
    driver = {"factor": f"{blank}Open deal", "impact": "positive", "evidence": blank}
    texts = dict.fromkeys(("id", "account_name", "recommended_action", "summary"), f"{blank}x {blank}")
    answer = ScoreAnswer.model_validate_json(json.dumps(ANSWER | texts | {"drivers": [driver]}))
    assert {name: getattr(answer, name) for name in texts} == dict.fromkeys(texts, "x")
    assert (answer.drivers[0].factor, answer.drivers[0].evidence) == ("Open deal", "")


@pytest.mark.parametrize(
    ("score", "tier"),
    [(0, Tier.COLD), (24, Tier.COLD), (25, Tier.COOL), (50, Tier.WARM), (74, Tier.WARM), (75, Tier.HOT)],
)
def test_tiers_follow_from_the_score(score: int, tier: Tier) -> None:
    """Each tier starts at its minimum score."""
    assert tier_of(score) is tier


def test_score_id_depends_on_all_its_parts() -> None:
    """Another account, change, prompt or model gives another id; the same four give the same id."""
    first = score_id("a", "e", "v1", "m")
    assert first == score_id("a", "e", "v1", "m")
    assert (
        len({first, score_id("b", "e", "v1", "m"), score_id("a", "f", "v1", "m"), score_id("a", "e", "v2", "m")}) == 4
    )


def test_context_hash_ignores_when_a_record_was_touched() -> None:
    """A new SystemModstamp alone does not change the hash; a new value does."""
    first = context()
    touched = first.model_copy(update={"profile": first.profile.model_copy(update={"modified_at": NOW})})
    changed = first.model_copy(update={"profile": first.profile.model_copy(update={"industry": "Media"})})
    assert context_hash(touched) == context_hash(first)
    assert context_hash(changed) != context_hash(first)
