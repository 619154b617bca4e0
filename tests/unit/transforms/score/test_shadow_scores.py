"""Shadow scores: a sample is scored a second time, for comparison only."""

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

import transforms.coders  # noqa: F401 - registers how the models travel
from schemas.account_context import EnrichedChange
from schemas.outcome import OutcomeKind, ScoredChange, ScoringResult
from schemas.score import Score, ScoreStatus
from tests.fixtures.changes import NOW, enriched_change
from transforms.errors import BlockedPrompt
from transforms.ledger import Ledger, Received
from transforms.score import shadow_scores
from transforms.score.shadow_scores import ShadowScores, is_in_sample, sampled

LEDGER = Ledger("Score accounts", "1", now=lambda: NOW)


def _score_or_fail(batch: list[EnrichedChange]) -> list[ScoringResult]:
    """Score accounts with an even number, and fail the others."""
    results = []
    for item in batch:
        change, received = item.change, Received.of(item.change)
        if int(change.event_id, 16) % 2:
            results.append(ScoringResult(dead_letter=LEDGER.dead_letter(received, BlockedPrompt("blocked"))))
            continue
        score = Score(
            account_id=change.account_id,
            score_id=change.event_id,
            event_ids=(change.event_id,),
            change_committed_at=change.committed_at,
            change_sequence=1,
            scored_at=NOW,
            status=ScoreStatus.SCORED,
            score=50,
            trace_id=change.trace_id,
            pipeline_version="1",
        )
        outcome = LEDGER.outcome(received, OutcomeKind.SCORED)
        results.append(ScoringResult(scored=ScoredChange(score=score, outcome=outcome, source=change.source)))
    return results


class FakeScoring(beam.PTransform):
    """Replaces ScoreAccounts."""

    def expand(self, batches: beam.PCollection[list[EnrichedChange]]) -> beam.PCollection[ScoringResult]:
        """Score, or fail."""
        return batches | beam.FlatMap(_score_or_fail).with_output_types(ScoringResult)


def test_the_output_is_flagged_rows_only() -> None:
    """A failed shadow gives neither a row nor a dead letter, and is counted."""
    batch = [enriched_change(number) for number in range(10)]

    def check(rows: list[Score]) -> None:
        assert sorted(row.event_ids[0] for row in rows) == [f"{number:032x}" for number in range(0, 10, 2)]
        assert all(row.shadow is True for row in rows)

    pipeline = TestPipeline(runner=FnApiRunner())
    assert_that(pipeline | beam.Create([batch]) | ShadowScores(FakeScoring(), 100), check)
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(shadow_scores.STAGE))["counters"]
    counted = {counter.key.metric.name: counter.committed for counter in counters}
    assert counted == {"shadows_total": 5, "shadows_failed_total": 5}


@pytest.mark.parametrize("percent", [0.5, 5.0, 50.0])
def test_the_sample_is_of_its_size(percent: float) -> None:
    """The sample has about the requested percentage of the changes."""
    chosen = sum(is_in_sample(f"{number:032x}", percent) for number in range(20_000))
    assert chosen == pytest.approx(200 * percent, rel=0.25)


@given(st.text(max_size=32), st.floats(0.001, 100), st.floats(0.001, 100))
def test_a_larger_sample_holds_the_smaller(event_id: str, one: float, other: float) -> None:
    """A higher percentage keeps the changes of a lower one; 100 selects every change."""
    assert is_in_sample(event_id, min(one, other)) <= is_in_sample(event_id, max(one, other))
    assert is_in_sample(event_id, 100)
    assert not is_in_sample(event_id, 0)


def test_a_batch_without_sampled_changes_is_dropped() -> None:
    """Empty batches are not passed on."""
    assert list(sampled([enriched_change(1)], 0)) == []
    assert list(sampled([enriched_change(1), enriched_change(2)], 100)) == [[enriched_change(1), enriched_change(2)]]
