"""When a run is done, and its latency."""

from pipeline.ledger.ledger_report import Progress, percentiles


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
