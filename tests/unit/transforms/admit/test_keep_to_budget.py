"""The budget step: which changes are admitted, held, or dead-lettered."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue

from schemas.change_event import AccountChange
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from tests.fixtures.changes import change
from transforms.admit import keep_to_budget
from transforms.admit.keep_to_budget import CHECK_SECONDS, KeepToBudget
from transforms.admit.token_budget import BudgetAction, TokenBudget

_clock = [0.0]
_left = [0]
_outputs: list[Any] = []


class FakeCount:
    """A count that admits a number of accounts."""

    def admits(self) -> bool:
        """Return whether one is left."""
        _left[0] -= 1
        return _left[0] >= 0


def count_of(_budget: TokenBudget) -> Any:
    """Return the shared count."""
    return FakeCount()


def stream_clock() -> float:
    """Return the time of the stream's clock."""
    return _clock[0]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    _clock[0], _left[0] = 0.0, 0
    del _outputs[:]
    yield
    del _outputs[:]


def _put(item: Any) -> None:
    _outputs.append(item)


def _at(arrival: tuple[float, int, AccountChange | None]) -> list[AccountChange]:
    """Set the clock and the number of accounts left; a moment may have no change."""
    _clock[0], _left[0] = arrival[0], arrival[1]
    return [arrival[2]] if arrival[2] else []


def _budget(action: BudgetAction) -> TokenBudget:
    return TokenBudget(daily_tokens=1_000, action=action, project="p", dataset="d")


def _gate(action: BudgetAction | None) -> KeepToBudget:
    budget = _budget(action) if action else None
    return KeepToBudget(budget, "1", shards=1, count_of=count_of, clock=stream_clock)


def _collect(gated: Any) -> None:
    gated.changes | "Collect changes" >> beam.Map(_put)
    gated.dead_letters | "Collect letters" >> beam.Map(_put)


def _numbers() -> list[int]:
    return [int(item.event_id, 16) for item in _outputs if isinstance(item, AccountChange)]


def _letters() -> list[DeadLetter]:
    return [item for item in _outputs if isinstance(item, DeadLetter)]


def _run_bounded(action: BudgetAction | None, changes: list[AccountChange]) -> dict[str, int]:
    pipeline = TestPipeline(runner=FnApiRunner())
    _collect(pipeline | beam.Create(changes) | _gate(action))
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(keep_to_budget.STAGE))["counters"]
    return {counter.key.metric.name: counter.committed for counter in counters}


def test_without_a_budget_everything_passes() -> None:
    """No count is made."""
    _run_bounded(None, [change(number) for number in range(1, 6)])
    assert sorted(_numbers()) == [1, 2, 3, 4, 5]
    assert not _letters()


def test_changes_beyond_the_budget_are_dead_lettered() -> None:
    """As budget_exhausted, with their bytes, to be replayed; each change has one output."""
    _left[0] = 3
    counters = _run_bounded(BudgetAction.DEAD_LETTER, [change(number) for number in range(1, 9)])
    assert len(_numbers()) == 3
    assert sorted(_numbers() + [int(letter.event_id, 16) for letter in _letters()]) == list(range(1, 9))
    assert {letter.error_class for letter in _letters()} == {ErrorClass.BUDGET_EXHAUSTED}
    assert all(letter.source.payload for letter in _letters())
    assert ErrorClass.BUDGET_EXHAUSTED.retryable
    assert counters == {"admitted_total": 3, "budget_exhausted_total": 5}


def test_held_changes_are_emitted_when_the_budget_admits_them() -> None:
    """The oldest first, as many as are admitted at the next check; the others at a later one."""
    stream = TestStream().advance_watermark_to(0)
    arrivals = [(0.0, 0, change(number, sequence_number=number)) for number in (3, 1, 2)]
    stream = stream.add_elements([TimestampedValue(arrival, 0) for arrival in arrivals])
    for look, left in ((1, 0), (2, 2), (3, 9)):
        moment = (look * CHECK_SECONDS - 1.0, left, None)
        stream = stream.add_elements([TimestampedValue(moment, 0)]).advance_processing_time(CHECK_SECONDS)
    with TestPipeline(options=PipelineOptions(["--streaming"])) as pipeline:
        changes = pipeline | stream.advance_watermark_to_infinity() | beam.FlatMap(_at).with_output_types(AccountChange)
        _collect(changes | _gate(BudgetAction.WAIT))
    assert _numbers() == [1, 2, 3]
    assert not _letters()


def test_the_end_of_the_input_ends_the_wait() -> None:
    """At a drain, and at the end of a bounded input, held changes are dead-lettered: none disappears."""
    _left[0] = 1
    counters = _run_bounded(BudgetAction.WAIT, [change(number) for number in range(1, 5)])
    assert len(_numbers()) == 1
    assert sorted(_numbers() + [int(letter.event_id, 16) for letter in _letters()]) == [1, 2, 3, 4]
    assert counters == {"admitted_total": 1, "held_total": 3, "budget_exhausted_total": 3}


def test_the_direct_runner_loses_no_held_change() -> None:
    """It ends with a bounded input, and its held changes are dead-lettered too."""
    with TestPipeline(runner="BundleBasedDirectRunner") as pipeline:
        _collect(pipeline | beam.Create([change(1), change(2)]) | _gate(BudgetAction.WAIT))
    assert len(_letters()) == 2
