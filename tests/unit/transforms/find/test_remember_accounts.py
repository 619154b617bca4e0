"""Remembering accounts in Beam: state, its expiry, the ledger's rows, counters."""

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue

from schemas.change_event import AccountChange, RecordChange, UnnamedChange
from schemas.outcome import Outcome, OutcomeKind
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id
from tests.fixtures.related_records import CONTACT, OPPORTUNITY, TASK, moved, named, unnamed
from transforms.find.found_accounts import STAGE
from transforms.find.remember_accounts import Changes, RememberAccounts
from transforms.find.sightings import Wanted

_outputs: list[Any] = []
_clock = [0.0]
TTL, WAIT = 100.0, 2.0


def _put(item: Any) -> None:
    # A function of this module, not a lambda, which would be pickled with its own list.
    _outputs.append(item)


def stream_clock() -> float:
    """Return the time of the stream's clock, which `_tick` sets."""
    return _clock[0]


def _tick(arrival: tuple[float, RecordChange]) -> RecordChange:
    _clock[0] = arrival[0]
    return arrival[1]


def _is_named(change: RecordChange) -> bool:
    return isinstance(change, AccountChange)


def _is_unnamed(change: RecordChange) -> bool:
    return isinstance(change, UnnamedChange)


def _remember(changes: beam.PCollection[RecordChange]) -> None:
    parts = Changes(
        changes | "Named" >> beam.Filter(_is_named).with_output_types(AccountChange),
        changes | "Unnamed" >> beam.Filter(_is_unnamed).with_output_types(UnnamedChange),
    )
    remembered = parts | RememberAccounts("1", ACCOUNT_FIELDS, TTL, WAIT, stream_clock)
    for name in ("changes", "outcomes", "wanted", "dead_letters"):
        remembered[name] | f"Collect {name}" >> beam.Map(_put)


def _run(*arrivals: tuple[float, RecordChange]) -> tuple[list[AccountChange], list[Outcome], list[Wanted]]:
    """Run the step over changes that arrive at these seconds, in this order; return its outputs."""
    del _outputs[:]
    stream = TestStream().advance_watermark_to(0)
    passed = 0.0
    for now, change in arrivals:
        if now > passed:
            stream = stream.advance_processing_time(now - passed).advance_watermark_to(now)
            passed = now
        stream = stream.add_elements([TimestampedValue((now, change), now)])
    with TestPipeline(options=PipelineOptions(["--streaming"])) as pipeline:
        _remember(pipeline | stream.advance_watermark_to_infinity() | beam.Map(_tick))
    return (
        [it for it in _outputs if isinstance(it, AccountChange)],
        [it for it in _outputs if isinstance(it, Outcome)],
        [it for it in _outputs if isinstance(it, Wanted)],
    )


def test_what_the_stream_has_told_is_not_looked_up() -> None:
    """A change goes on with the account that an earlier event named, and is received in the ledger with it."""
    changes, outcomes, wanted = _run((1, named(1, account=3)), (2, unnamed(2)), (3, unnamed(3, CONTACT)))
    assert [(it.event_id, it.account_id) for it in changes] == [(unnamed(2).event_id, account_id(3))]
    assert [(it.event_id, it.account_id, it.outcome, it.stage) for it in outcomes] == [
        (unnamed(2).event_id, account_id(3), OutcomeKind.RECEIVED, f"{STAGE}: memory")
    ]
    assert [it.looked_up for it in wanted] == [(CONTACT,)]


def test_a_moved_record_rescores_its_former_account() -> None:
    """With the change that says so: what changed is `AccountId`."""
    changes, outcomes, wanted = _run((1, named(1, account=3)), (2, moved(2, account=4)), (3, unnamed(3)))
    assert [(it.account_id, it.changed_fields) for it in changes] == [
        (account_id(3), ("AccountId",)),
        (account_id(4), ("StageName",)),
    ]
    assert len(outcomes) == 2
    assert wanted == []


def test_events_that_arrive_late_have_the_same_accounts() -> None:
    """The naming of a later event does not hide that of an earlier one, from which the move was, too."""
    changes, _, wanted = _run((1, moved(5, account=4)), (2, named(1, account=3)), (3, unnamed(2)), (4, unnamed(6)))
    assert [(int(it.event_id, 16), it.account_id) for it in changes] == [
        (5, account_id(3)),
        (2, account_id(3)),
        (6, account_id(4)),
    ]
    assert wanted == []


def test_a_change_waits_a_moment_for_the_event_that_names_its_account() -> None:
    """A CREATE that arrives after the change that follows it spares the look-up; one that arrives too late does not."""
    changes, outcomes, wanted = _run((1, unnamed(2)), (2, unnamed(3)), (2, named(1, account=3)))
    assert sorted(it.event_id for it in changes) == [unnamed(2).event_id, unnamed(3).event_id]
    assert {it.account_id for it in changes} == {account_id(3)}
    assert len(outcomes) == 2
    assert wanted == []
    changes, _, wanted = _run((1, unnamed(2)), (8, named(1, account=3)), (9, unnamed(3)))
    assert [it.event_id for it in changes] == [unnamed(3).event_id]
    assert [it.change.event_id for it in wanted] == [unnamed(2).event_id]


def test_what_waits_at_the_end_of_the_input_is_looked_up() -> None:
    """A drain, or a bounded input, loses none."""
    changes, _, wanted = _run((1, unnamed(2)))
    assert changes == []
    assert [it.looked_up for it in wanted] == [(OPPORTUNITY,)]


def test_a_record_without_an_account_is_skipped_at_once() -> None:
    """The event that took the account away rescores it; later ones are skipped."""
    cleared = unnamed(2, changed_fields=("AccountId",), nulled_fields=("AccountId",), values={})
    changes, outcomes, wanted = _run((1, named(1, account=3)), (2, cleared), (3, unnamed(3)))
    assert [it.account_id for it in changes] == [account_id(3)]
    assert [(it.outcome, it.reason) for it in outcomes] == [("received", None), ("skipped", "no_account")]
    assert wanted == []


@pytest.mark.parametrize(("seconds", "is_known"), [(TTL - 2, True), (TTL + 2, False)])
def test_state_expires(seconds: float, is_known: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """After the last event that named the account; later ones are looked up."""
    changes, _, wanted = _run((1, named(1)), (1 + seconds, unnamed(2)))
    assert (bool(changes), bool(wanted)) == (is_known, not is_known)


def test_a_bounded_input_is_answered_and_counted() -> None:
    """State answers in a batch run, too; counters say how often."""
    del _outputs[:]
    pipeline = TestPipeline(runner=FnApiRunner())
    arrivals = [(1.0, named(1)), (1.0, unnamed(2)), (1.0, unnamed(3)), (1.0, unnamed(4, TASK))]
    _remember(pipeline | beam.Create(arrivals, reshuffle=False) | beam.Map(_tick))
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(STAGE))["counters"]
    counted = {counter.key.metric.name: counter.committed for counter in counters}
    assert counted["told_total"] == 1
    assert counted["asked_total"] == 3
    answered = sum(isinstance(it, AccountChange) for it in _outputs)
    assert counted.get("found_by_memory_total", 0) == answered
    assert answered + sum(isinstance(it, Wanted) for it in _outputs) == 3
