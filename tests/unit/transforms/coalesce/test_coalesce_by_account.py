"""Coalescing in Beam: timers, the end of the input, late data, expiry, counters."""

import datetime as dt
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from msgspec.structs import replace

from schemas.change_event import AccountChange, ChangeType
from schemas.outcome import Outcome, OutcomeKind, SkipReason
from tests.fixtures.changes import COMMITTED_AT, change
from transforms.admit.batch_accounts import BatchAccounts
from transforms.admit.batching import BatchLimits
from transforms.coalesce import coalesce_by_account
from transforms.coalesce.account_state import AccountState, CoalescingLimits
from transforms.coalesce.coalesce_by_account import CoalesceByAccount
from transforms.coders import RecordCoder

_clock = [0.0]
_outputs: list[Any] = []
Arrival = tuple[float, AccountChange]
Check = Callable[[list[AccountChange], list[Outcome]], None]


def stream_clock() -> float:
    """Return the time of the stream's clock, which `_tick` sets."""
    return _clock[0]


def _tick(arrival: Arrival) -> AccountChange:
    _clock[0] = arrival[0]
    return arrival[1]


def numbered(number: int, *, account: int = 1, second: int | None = None) -> AccountChange:
    """Return an event of an account; by default, a higher number is a later event."""
    committed_at = COMMITTED_AT + dt.timedelta(seconds=number if second is None else second)
    return change(account, event_id=f"{number:032x}", committed_at=committed_at)


@dataclass
class Script:
    """A TestStream whose processing time is given in seconds from its start."""

    stream: Any = field(default_factory=lambda: TestStream().advance_watermark_to(0))
    now: float = 0.0

    def at(self, now: float, *changes: AccountChange, event_time: float = 0.0) -> "Script":
        """Advance the clock and add changes."""
        if now > self.now:
            self.stream = self.stream.advance_processing_time(now - self.now)
            self.now = now
        if changes:
            arrivals = [TimestampedValue((now, item), event_time) for item in changes]
            self.stream = self.stream.add_elements(arrivals)
        return self

    def watermark(self, seconds: float) -> "Script":
        """Advance event time."""
        self.stream = self.stream.advance_watermark_to(seconds)
        return self

    def run(self, check: Check, *, state_ttl_seconds: float = 604_800.0, **limits: float) -> None:
        """Run the stage over the script to its end, and check the outputs."""
        stage = CoalesceByAccount("1", CoalescingLimits(**limits), state_ttl_seconds, stream_clock)  # type: ignore[arg-type]
        with TestPipeline(options=PipelineOptions(["--streaming"])) as pipeline:
            arrivals = pipeline | self.stream.advance_watermark_to_infinity()
            collect(arrivals | beam.Map(_tick).with_output_types(AccountChange) | stage)
        check(*collected())


def _put(item: Any) -> None:
    # A function of this module, not a lambda, which would be pickled with its own list.
    _outputs.append(item)


def collect(outputs: Any) -> None:
    """Collect both outputs of the stage; `assert_that` does not see what a timer emits at the end of a stream."""
    del _outputs[:]
    outputs.changes | "Collect changes" >> beam.Map(_put)
    outputs.outcomes | "Collect outcomes" >> beam.Map(_put)


def collected() -> tuple[list[AccountChange], list[Outcome]]:
    """Return the collected outputs."""
    changes = [item for item in _outputs if isinstance(item, AccountChange)]
    return changes, [item for item in _outputs if isinstance(item, Outcome)]


def counted(stage: Any, changes: Sequence[AccountChange]) -> dict[str, int]:
    """Run the stage over a bounded input, and return its counters."""
    pipeline = TestPipeline(runner=FnApiRunner())
    collect(pipeline | beam.Create(changes) | stage)
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(coalesce_by_account.STAGE))["counters"]
    return {counter.key.metric.name: counter.committed for counter in counters}


def numbers(event_ids: Sequence[str]) -> list[int]:
    """Return the numbers of events."""
    return [int(event_id, 16) for event_id in event_ids]


def merged(changes: Sequence[AccountChange]) -> list[list[int]]:
    """Return the numbers of the events that each change merges, its own first."""
    return sorted(numbers((item.event_id, *item.coalesced)) for item in changes)


def merges(expected: list[list[int]]) -> Check:
    """Return a check that the changes merge these events, and that all others have their outcome."""

    def check(changes: list[AccountChange], outcomes: list[Outcome]) -> None:
        assert merged(changes) == expected
        assert len(outcomes) == sum(map(len, expected)) - len(expected)

    return check


def test_a_burst_becomes_one_change_an_account() -> None:
    """Interleaved bursts of two accounts become one change for each account; other changes are coalesced into it."""

    def check(changes: list[AccountChange], outcomes: list[Outcome]) -> None:
        assert merged(changes) == [[3, 1], [4, 2]]
        assert sorted((row.event_id[-1], (row.coalesced_into or "")[-1]) for row in outcomes) == [
            ("1", "3"),
            ("2", "4"),
        ]
        assert {(row.stage, row.outcome, row.pipeline_version) for row in outcomes} == {
            ("Coalesce by account", OutcomeKind.COALESCED, "1")
        }

    one, other = numbered(1), numbered(2, account=2)
    Script().at(0, one, other).at(5, numbered(3), numbered(4, account=2)).at(100).run(check)


def test_a_pause_ends_a_burst() -> None:
    """A change that arrives after the window has ended is not merged."""
    script = Script().at(0, numbered(1), numbered(2)).at(21).at(22, numbered(3)).at(43)
    script.run(merges([[2, 1], [3]]))


def test_each_arrival_extends_the_window() -> None:
    """Changes whose distance is shorter than the window are one burst."""
    script = Script().at(0, numbered(1)).at(15, numbered(2)).at(30, numbered(3)).at(60)
    script.run(merges([[3, 2, 1]]))


def test_a_burst_that_does_not_end_is_cut() -> None:
    """A burst ends after `max_window_seconds` at the latest; later changes are the next burst."""
    script = Script()
    for number, now in enumerate((0, 15, 30, 41, 55), start=1):
        script.at(now, numbered(number))
    script.run(merges([[3, 2, 1], [5, 4]]), max_window_seconds=40)


def test_a_change_after_the_longest_window_is_not_kept_waiting_by_a_late_timer() -> None:
    """If the timer is late, the arrival ends the window, and no change is emitted twice."""
    _clock[0] = 0.0
    stream = TestStream().advance_watermark_to(0)
    stream = stream.add_elements([TimestampedValue((0, numbered(1)), 0)])
    # The worker's clock is ahead of the runner's, whose timers have not fired yet.
    stream = stream.add_elements([TimestampedValue((500, numbered(2)), 0)])
    stream = stream.add_elements([TimestampedValue((501, numbered(3)), 0)])
    script = Script(stream.advance_processing_time(1_000))
    script.run(merges([[2, 1], [3]]))


def test_a_cascade_after_the_window_leaves_the_account_deleted() -> None:
    """Deletions of related records that arrive in a later burst than their account's are skipped."""
    gone = replace(numbered(1), change_type=ChangeType.DELETE, changed_fields=(), values={})
    cascade = [
        replace(numbered(2), entity_name="Contact", record_id="003000000000001AAA", change_type=ChangeType.DELETE),
        replace(numbered(3), entity_name="Opportunity", record_id="006000000000001AAA"),
    ]

    def check(changes: list[AccountChange], outcomes: list[Outcome]) -> None:
        assert merged(changes) == [[1]]
        assert [row.reason for row in outcomes] == [SkipReason.ACCOUNT_DELETED] * 2

    Script().at(0, gone).at(30, *cascade).at(60).run(check)


def test_a_deal_that_was_won_is_scored_however_late_it_arrives() -> None:
    """A late change of an opportunity follows the newer change of its account that was emitted before."""
    won = replace(numbered(1), entity_name="Opportunity", record_id="006000000000001AAA")

    def check(changes: list[AccountChange], outcomes: list[Outcome]) -> None:
        assert merged(changes) == [[1], [2]]
        assert [row.reason for row in outcomes] == [SkipReason.STALE]
        assert changes[1].row_order > changes[0].row_order > changes[1].order

    Script().at(0, numbered(2)).at(30, won, numbered(0)).at(60).run(check)


def test_a_won_deal_is_told_with_its_accounts_change_and_with_the_next_one() -> None:
    """The values of a burst's records go on, and those that were emitted a minute before go on again."""
    won = {"StageName": "Closed Won"}
    deal = replace(
        numbered(1), entity_name="Opportunity", record_id="006000000000001AAA", changed_fields=tuple(won), values=won
    )

    def check(changes: list[AccountChange], _outcomes: list[Outcome]) -> None:
        assert merged(changes) == [[2, 1], [3]]
        assert [change.values == {"Rating": "Hot"} for change in changes] == [True, True]
        assert [[said.values for said in change.records] for change in changes] == [[won], [{"Rating": "Hot"}, won]]

    Script().at(0, deal, numbered(2)).at(60, numbered(3)).at(100).run(check)


def test_without_a_window_changes_pass_at_once() -> None:
    """A window of 0 seconds merges nothing, and still drops repeated and overtaken changes."""

    def check(changes: list[AccountChange], outcomes: list[Outcome]) -> None:
        assert merged(changes) == [[2], [3]]
        assert sorted(row.reason or "" for row in outcomes) == [SkipReason.DUPLICATE, SkipReason.STALE]

    script = Script().at(0, numbered(2)).at(0, numbered(1)).at(0, numbered(2)).at(0, numbered(3))
    script.run(check, window_seconds=0.0)


def test_late_data_are_not_dropped() -> None:
    """A change behind the watermark is coalesced like any other."""
    script = Script().at(0, numbered(1), event_time=0).watermark(3_600).at(5, numbered(2), event_time=10).at(60)
    script.run(merges([[2, 1]]))


def test_an_account_expires() -> None:
    """A repeated event is a duplicate until the state expires, and a new event after that."""

    def script(silence: float) -> Script:
        first = Script().at(0, numbered(1)).at(30)
        return first.watermark(silence).at(silence, numbered(1), event_time=silence).at(silence + 30)

    def check_remembered(changes: list[AccountChange], outcomes: list[Outcome]) -> None:
        assert merged(changes) == [[1]]
        assert [row.reason for row in outcomes] == [SkipReason.DUPLICATE]

    script(999).run(check_remembered, state_ttl_seconds=1_000)
    script(1_001).run(merges([[1], [1]]), state_ttl_seconds=1_000)


def test_each_new_change_extends_expiry() -> None:
    """The state of an account that keeps changing does not expire."""
    script = Script().at(0, numbered(1)).at(30).watermark(800).at(800, numbered(2), event_time=800).at(830)
    script = script.watermark(1_500).at(1_500, numbered(1), event_time=1_500)

    def check(changes: list[AccountChange], outcomes: list[Outcome]) -> None:
        assert merged(changes) == [[1], [2]]
        assert [row.reason for row in outcomes] == [SkipReason.DUPLICATE]

    script.run(check, state_ttl_seconds=1_000)


def test_a_bounded_input_ends_with_nothing_pending() -> None:
    """At the end of a bounded input a pending burst is emitted once, although both timers fire; counters count it."""
    burst = [numbered(number, account=1 + number % 2) for number in range(1, 9)]

    def check(changes: list[AccountChange], outcomes: list[Outcome]) -> None:
        assert merged(changes) == [[7, 5, 3, 1], [8, 6, 4, 2]]
        assert Counter(row.reason or row.outcome for row in outcomes) == {
            OutcomeKind.COALESCED: 6,
            SkipReason.DUPLICATE: 1,
        }

    counters = counted(CoalesceByAccount("1"), [*burst, burst[0]])
    check(*collected())
    assert counters == {"received_total": 9, "emitted_total": 2, "coalesced_total": 6, "duplicates_total": 1}


def test_changes_emitted_at_the_end_are_batched() -> None:
    """The next stage's timers still fire for changes that this stage emits at the end of a bounded input."""
    del _outputs[:]
    burst = [numbered(number, account=1 + number % 5) for number in range(20)]
    with TestPipeline(runner=FnApiRunner()) as pipeline:
        changes = (pipeline | beam.Create(burst) | CoalesceByAccount("1")).changes
        batches = changes | BatchAccounts(BatchLimits(max_accounts=3))
        batches | beam.Reshuffle() | beam.Map(len) | beam.Map(_put)
    assert sorted(_outputs) == [2, 3]


def test_the_local_engine_ends_with_its_input() -> None:
    """At the end of a bounded input the DirectRunner ends, and emits a burst whose window would end in an hour."""
    stage = CoalesceByAccount("1", CoalescingLimits(window_seconds=3_600, max_window_seconds=3_600))
    with TestPipeline(runner="BundleBasedDirectRunner") as pipeline:
        collect(pipeline | beam.Create([numbered(1), numbered(2)]) | stage)
    merges([[2, 1]])(*collected())


def test_a_stale_change_is_counted() -> None:
    """Stale changes and duplicates have separate counters."""
    counters = counted(
        CoalesceByAccount("1", CoalescingLimits(window_seconds=0)), [numbered(2), numbered(1), numbered(2)]
    )
    assert counters == {"received_total": 3, "emitted_total": 1, "stale_total": 1, "duplicates_total": 1}


class FakeState:
    """A state cell that stores encoded bytes, as a runner does."""

    def __init__(self) -> None:
        self.coder = RecordCoder(AccountState)
        self.encoded: bytes | None = None

    def read(self) -> AccountState | None:
        """Return the last value that was written."""
        return None if self.encoded is None else self.coder.decode(self.encoded)

    def write(self, value: AccountState) -> None:
        """Store the value's bytes."""
        self.encoded = self.coder.encode(value)

    def clear(self) -> None:
        """Drop the bytes."""
        self.encoded = None


class FakeTimer:
    """A timer that never fires."""

    def set(self, timestamp: float) -> None:
        """Do nothing."""


def taken_in(changes: Sequence[AccountChange]) -> tuple[Any, FakeState]:
    """Return the stage's DoFn and an account's state after changes that arrived at the same time."""
    dofn = coalesce_by_account._MergeBursts(CoalesceByAccount("1", clock=lambda: 0.0))
    state = FakeState()
    for item in changes:
        list(dofn.process((item.account_id, item), GlobalWindow(), state, FakeTimer(), FakeTimer()))
    return dofn, state


def test_state_bytes_are_deterministic() -> None:
    """Equal states have equal bytes, in any order of events and of a message's attributes."""
    source = change().source
    one, other = ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
    last = [replace(numbered(3), source=replace(source, attributes=attributes)) for attributes in (one, other)]
    _, state = taken_in([numbered(1), numbered(2), last[0]])
    _, same = taken_in([last[1], numbered(2), numbered(1)])
    assert state.encoded
    assert state.encoded == same.encoded


def test_timers_that_fire_twice_or_late_do_no_harm() -> None:
    """A burst is emitted once, in any order of timers; an expired account emits nothing."""
    dofn, state = taken_in([numbered(1)])
    assert len(list(dofn.on_burst_end(state))) == 1
    assert list(dofn.on_burst_end(state)) == []
    assert list(dofn.on_expiry(state)) == []
    assert state.encoded is None
    assert list(dofn.on_burst_end(state)) == []
    assert list(dofn.on_expiry(state)) == []


def test_a_state_that_expires_within_a_burst_is_refused() -> None:
    """The setting is refused when the graph is built, not on the workers."""
    with pytest.raises(ValueError, match="expected state_ttl_seconds"):
        CoalesceByAccount("1", state_ttl_seconds=60.0)


def test_the_stage_can_be_sent_to_a_worker() -> None:
    """The stage can be pickled with its clock."""
    stage = pickle.loads(pickle.dumps(CoalesceByAccount("1", clock=stream_clock)))  # noqa: S301 - our own bytes
    assert (stage.clock, stage.limits.window_seconds) == (stream_clock, 20.0)
