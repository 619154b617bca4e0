"""Scoring through google-genai against the stand-in: scores, and each failure with its class."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.local.gemini import Fault, GeminiStandIn
from pipeline.local.stack import PROJECT
from schemas.outcome import OutcomeKind, ScoringResult
from tests.fixtures.changes import in_context
from transforms.gemini import GeminiEngine, GeminiSettings
from transforms.score_accounts import ScoreAccounts, _Score

BATCH = [in_context(number) for number in range(10)]


@pytest.fixture
def engine(gemini: GeminiStandIn) -> Iterator[GeminiEngine]:
    """Return an engine with a short deadline, and the stand-in without faults."""
    gemini.reset()
    gemini.configure(faults=[])
    started = GeminiEngine(GeminiSettings(project=PROJECT, deadline_seconds=5))
    yield started
    started.close()
    gemini.configure(faults=[])


def _score(engine: GeminiEngine) -> list[ScoringResult]:
    step = _Score(ScoreAccounts(GeminiSettings(project=PROJECT), "1", accounts_per_call=5))
    step.engine = engine
    return list(step.process(BATCH))


def _verdicts(results: list[ScoringResult]) -> Counter[str]:
    return Counter(
        "scored" if result.scored else str(result.letter and result.letter.error_class) for result in results
    )


def test_every_account_of_a_batch_is_scored(engine: GeminiEngine, gemini: GeminiStandIn) -> None:
    """Ten accounts take two calls; each has its score, its cost and its outcome."""
    results = _score(engine)
    assert _verdicts(results) == {"scored": 10}
    assert gemini.stats().calls == 2
    scores = [result.scored.score for result in results if result.scored]
    assert {score.account_id for score in scores} == {item.change.account_id for item in BATCH}
    assert all(score.accounts_in_call == 5 for score in scores)
    assert sum(score.prompt_tokens or 0 for score in scores) == gemini.stats().prompt_tokens
    assert {result.scored.outcome.outcome for result in results if result.scored} == {OutcomeKind.SCORED}


def test_a_score_does_not_depend_on_its_neighbours(engine: GeminiEngine) -> None:
    """An account that is asked about alone gets the score it got among others."""
    together = {r.scored.score.account_id: r.scored.score.score for r in _score(engine) if r.scored}
    step = _Score(ScoreAccounts(GeminiSettings(project=PROJECT), "1", accounts_per_call=1))
    step.engine = engine
    alone = {r.scored.score.account_id: r.scored.score.score for r in step.process(BATCH) if r.scored}
    assert alone == together


@pytest.mark.parametrize(
    ("kind", "limit"), [("http_429", 2), ("http_503", 2), ("http_499", 1), ("connection_dropped", 1), ("http_500", 2)]
)
def test_passing_faults_are_retried(engine: GeminiEngine, gemini: GeminiStandIn, kind: str, limit: int) -> None:
    """Faults that pass cost a call, not a score."""
    gemini.configure(faults=[Fault(kind=kind, limit=limit)])
    assert _verdicts(_score(engine)) == {"scored": 10}
    assert gemini.stats().calls == 2 + limit


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("http_400", {"prompt_too_large": 10}),
        ("http_401", {"gemini_unavailable": 10}),
        ("http_404", {"gemini_unavailable": 10}),
        ("no_answer", {"gemini_timeout": 10}),
        ("dripping", {"gemini_timeout": 10}),
        ("max_tokens", {"output_truncated": 10}),
        ("truncated_json", {"invalid_response": 10}),
        ("fenced_json", {"invalid_response": 10}),
        ("prose", {"invalid_response": 10}),
        ("finish_safety", {"blocked_response": 10}),
        ("finish_unknown", {"blocked_response": 10}),
        ("prompt_blocked", {"blocked_prompt": 10}),
        ("no_candidates", {"invalid_response": 10}),
        ("item_missing", {"scored": 8, "missing_score": 2}),
        ("item_unknown_id", {"scored": 8, "missing_score": 2}),
        ("item_doubled", {"scored": 8, "mismatched_score": 2}),
        ("items_swapped", {"scored": 6, "mismatched_score": 4}),
        ("score_out_of_range", {"scored": 8, "invalid_score": 2}),
        ("score_boolean", {"scored": 8, "invalid_score": 2}),
        ("score_text", {"scored": 8, "invalid_score": 2}),
        ("score_float", {"scored": 8, "invalid_score": 2}),
        ("score_nan", {"invalid_response": 10}),
    ],
)
def test_each_failure_has_its_class_and_loses_nobody(
    engine: GeminiEngine, gemini: GeminiStandIn, kind: str, expected: dict[str, int]
) -> None:
    """Whatever Gemini does, ten accounts in are ten results out, each a score or a letter with its class and bytes."""
    gemini.configure(faults=[Fault(kind=kind)])
    results = _score(engine)
    assert _verdicts(results) == expected
    for result in results:
        if result.letter:
            assert result.letter.source.payload
            assert "Company" not in result.letter.error_message


def test_another_model_that_answered_is_on_the_row(engine: GeminiEngine, gemini: GeminiStandIn) -> None:
    """The row names both the model that was asked and the one that says it answered."""
    gemini.configure(faults=[Fault(kind="other_model_version")])
    scores: list[Any] = [result.scored.score for result in _score(engine) if result.scored]
    assert all(score.model_version != score.model for score in scores)
