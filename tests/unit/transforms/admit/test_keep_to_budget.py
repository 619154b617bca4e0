"""The budget step: which changes are admitted, held, or dead-lettered."""

import math
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
from schemas.outcome import Outcome, OutcomeKind
from tests.fixtures.changes import change
from transforms.admit import keep_to_budget
from transforms.admit.held_accounts import FIRST_CHECK_SECONDS, next_check
from transforms.admit.keep_to_budget import KeepToBudget
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
    return KeepToBudget(budget, "1", count_of=count_of, clock=stream_clock)


def _collect(gated: Any) -> None:
    gated.changes | "Collect changes" >> beam.Map(_put)
    gated.dead_letters | "Collect letters" >> beam.Map(_put)
    gated.outcomes | "Collect outcomes" >> beam.Map(_put)


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


_Moment = tuple[float, int, AccountChange | None]


def _run_stream(*moments: _Moment) -> None:
    """Run a stream: at each moment the clock, how many accounts the budget has left, and a change that arrives."""
    stream, before = TestStream().advance_watermark_to(0), 0.0
    for moment in moments:
        now = moment[0]
        # The clock and the budget are set first, since the timers that fire on the way ask them.
        stream = stream.add_elements([TimestampedValue((*moment[:2], None), 0)])
        stream = stream.advance_processing_time(now - before) if now > before else stream
        stream, before = stream.add_elements([TimestampedValue(moment, 0)]), now
    with TestPipeline(options=PipelineOptions(["--streaming"])) as pipeline:
        changes = pipeline | stream.advance_watermark_to_infinity() | beam.FlatMap(_at).with_output_types(AccountChange)
        _collect(changes | _gate(BudgetAction.WAIT))


_SURE = 1.5 * FIRST_CHECK_SECONDS
"""By then each account that was held at 0 has been checked once."""


def test_held_accounts_are_emitted_when_the_budget_admits_them() -> None:
    """As many as are admitted at their checks; the others at a later one."""
    _run_stream(*((0.0, 0, change(number)) for number in (3, 1, 2)), (_SURE, 2, None), (10 * _SURE, 9, None))
    assert sorted(_numbers()) == [1, 2, 3]
    assert not _letters()


def test_traffic_does_not_put_off_the_check_of_an_account() -> None:
    """Neither its own changes nor others: the time of the check was set when the account began to wait."""
    due = float(math.ceil(next_check(change(1).account_id, 0.0, 0.0)))
    changes = [change(1, event_id=f"{second:032x}", sequence_number=second) for second in range(10, 60, 10)]
    traffic: list[_Moment] = [(float(it.sequence_number), 0, it) for it in changes]
    others: list[_Moment] = [(due - 1, 0, change(2)), (due, 1, None)]
    _run_stream((0.0, 0, change(1)), *traffic, *others)
    assert _numbers() == [50]


def test_the_newest_change_of_a_held_account_is_scored() -> None:
    """Also if it arrives first; the others end as coalesced into it, and none has two outcomes."""
    changes = [change(1, event_id=f"{number:032x}", sequence_number=number) for number in (2, 3, 1)]
    _run_stream(*((float(second), 0, it) for second, it in enumerate(changes)), (_SURE, 9, None))
    outcomes = {int(it.event_id, 16): it for it in _outputs if isinstance(it, Outcome)}
    assert _numbers() == [3]
    assert sorted(outcomes) == [1, 2]
    assert {(it.outcome, it.coalesced_into, it.stage) for it in outcomes.values()} == {
        (OutcomeKind.COALESCED, changes[1].event_id, keep_to_budget.STAGE)
    }


def test_an_account_that_waits_goes_on_with_its_next_change() -> None:
    """If the budget admits it then; its timer has nothing left to emit."""
    later = change(1, event_id=f"{2:032x}", sequence_number=2, changed_fields=("Type",), values={"Type": "Customer"})
    _run_stream((0.0, 0, change(1)), (1.0, 1, later), (10 * _SURE, 9, None))
    assert _numbers() == [2]
    (went_on,) = [item for item in _outputs if isinstance(item, AccountChange)]
    assert went_on.values == {"Rating": "Hot", "Type": "Customer"}
    assert went_on.coalesced == (change(1).event_id,)
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
