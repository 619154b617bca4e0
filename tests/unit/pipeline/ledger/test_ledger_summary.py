"""When a run is done, its latency, and its first score."""

import datetime as dt

from pipeline.ledger.ledger_summary import (
    FirstScore,
    LedgerCounts,
    Progress,
    ScoredTimes,
    first_score_of,
    first_score_seconds,
    percentiles,
)

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def _counts(messages: int, **outcomes: int) -> LedgerCounts:
    return LedgerCounts(messages, {**LedgerCounts().outcomes, **outcomes})


def _scored(published: float, recorded: float) -> ScoredTimes:
    return ScoredTimes(NOON + dt.timedelta(seconds=published), NOON + dt.timedelta(seconds=recorded))


def test_a_run_is_done_when_everything_received_has_its_outcome() -> None:
    """All messages were received, and each delivery has an outcome."""
    done = Progress(messages=3, received=4, explained=4, unexplained=0)
    assert done.is_done(3)
    assert not done.is_done(4)
    assert not Progress(messages=3, received=4, explained=3, unexplained=1).is_done(3)
    assert not Progress(messages=3, received=4, explained=3, unexplained=0).is_done(3)
    assert not Progress(messages=3, received=4, explained=4, unexplained=0, unwritten=1).is_done(3)


def test_percentiles_of_nothing_are_none() -> None:
    """No values don't give 0."""
    assert percentiles([]) == {"p50": None, "p95": None}
    assert percentiles([2.0]) == {"p50": 2.0, "p95": 2.0}
    assert percentiles([float(n) for n in range(101)]) == {"p50": 50.0, "p95": 95.0}


def test_a_run_may_be_done_when_it_has_as_many_outcomes_as_it_received() -> None:
    """All messages were received, and nothing that was received can lack its outcome for want of rows."""
    assert not LedgerCounts().may_be_done(1)
    assert not _counts(2, received=3, scored=1, coalesced=1).may_be_done(2)
    assert not _counts(2, received=3, scored=2, coalesced=1).may_be_done(3)
    assert _counts(2, received=3, scored=1, skipped=1, dead_lettered=1).may_be_done(2)


def test_the_first_score_is_counted_from_the_publication_of_the_batch() -> None:
    """The event that was published before the batch, to wait for the pipeline, does not count."""
    scored = [_scored(-1, 0.5), _scored(0.2, 4.5), _scored(0, 3.25), _scored(0.1, 3.5)]
    assert first_score_seconds(scored, NOON) == 3.25
    assert first_score_seconds(scored[:1], NOON) is None
    assert first_score_seconds([], NOON) is None


def test_a_single_event_has_its_first_score_too() -> None:
    """With the pipeline's start, for which it waits; a batch has the time without it."""
    at = [NOON + dt.timedelta(seconds=seconds) for seconds in (0, 2, 3, 5)]
    single = [ScoredTimes(published_at=at[0], recorded_at=at[2])]
    batch = [*single, ScoredTimes(published_at=at[1], recorded_at=at[3])]
    assert first_score_of(single, at[0], at[1]) == FirstScore(3.0, includes_start=True)
    assert first_score_of(batch, at[0], at[1]) == FirstScore(3.0, includes_start=False)
    assert first_score_of([], at[0], at[1]) == FirstScore(None, includes_start=False)
