"""The runner for this machine, beside Beam's own where both must behave alike."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import RunnerResult
from apache_beam.runners.runner import PipelineState, create_runner
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.trigger import AccumulationMode, AfterProcessingTime, Repeatedly
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue

from pipeline.local.runner import LocalRunner
from pipeline.local.stack import RUNNER

RUNNERS: tuple[type[BundleBasedDirectRunner], ...] = (BundleBasedDirectRunner, LocalRunner)


def test_beam_finds_the_runner_by_its_name() -> None:
    """The name that the local stack exports works as --runner."""
    assert isinstance(create_runner(RUNNER), LocalRunner)


def test_a_bounded_pipeline_runs_on_the_fn_api_runner() -> None:
    """The stack's variables name this runner to a backfill too, which keeps its own."""
    pipeline = beam.Pipeline(runner=LocalRunner(), options=PipelineOptions([]))
    assert_that(pipeline | beam.Create([1, 2]) | beam.CombineGlobally(sum), equal_to([3]))
    result = pipeline.run()
    assert result.wait_until_finish() == PipelineState.DONE
    assert isinstance(result, RunnerResult)


CALLS: list[str] = []
"""What the DoFns below did; they run in this process."""


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


class _Recorder(beam.DoFn):
    """Records its life cycle; fails on "bad"."""

    def setup(self) -> None:
        CALLS.append("setup")

    def start_bundle(self) -> None:
        CALLS.append("start")

    def process(self, element: str) -> Iterator[str]:
        if element == "bad":
            raise ValueError(element)
        CALLS.append(element)
        yield element

    def finish_bundle(self) -> None:
        CALLS.append("finish")

    def teardown(self) -> None:
        CALLS.append("teardown")


_SEEN = beam.DoFn.StateParam(BagStateSpec("seen", beam.coders.StrUtf8Coder()))
_REAL_TIME_TIMER = TimerSpec("real", TimeDomain.REAL_TIME)
_WATERMARK_TIMER = TimerSpec("watermark", TimeDomain.WATERMARK)
_REAL_TIME = beam.DoFn.TimerParam(_REAL_TIME_TIMER)
_WATERMARK = beam.DoFn.TimerParam(_WATERMARK_TIMER)


class _Collect(beam.DoFn):
    """Collects the values of a key; emits them by clock time, or by the watermark."""

    def process(
        self,
        element: tuple[str, str],
        seen: Any = _SEEN,
        real_time: Any = _REAL_TIME,
        watermark: Any = _WATERMARK,
    ) -> None:
        key, value = element
        seen.add(value)
        (real_time if key.startswith("r") else watermark).set(20)

    @on_timer(_REAL_TIME_TIMER)
    def on_real_time(self, key: Any = beam.DoFn.KeyParam, seen: Any = _SEEN) -> Iterator[tuple[str, str, list[str]]]:
        yield from self._emit("real", key, seen)

    @on_timer(_WATERMARK_TIMER)
    def on_watermark(self, key: Any = beam.DoFn.KeyParam, seen: Any = _SEEN) -> Iterator[tuple[str, str, list[str]]]:
        yield from self._emit("watermark", key, seen)

    def _emit(self, timer: str, key: str, seen: Any) -> Iterator[tuple[str, str, list[str]]]:
        yield timer, key, sorted(seen.read())
        seen.clear()


def _streaming(runner: type[BundleBasedDirectRunner]) -> beam.Pipeline:
    return beam.Pipeline(runner=runner(), options=PipelineOptions(["--streaming"]))


@pytest.mark.parametrize("runner", RUNNERS)
def test_timers_fire_once_their_time_has_come(runner: type[BundleBasedDirectRunner]) -> None:
    """State is kept between bundles; REAL_TIME timers follow the clock, WATERMARK timers the watermark."""
    script = (
        TestStream()
        .add_elements([("r1", "a"), ("w1", "b")])
        .advance_processing_time(10)
        .add_elements([("r1", "c"), ("w1", "d")])
        .advance_processing_time(15)
        .add_elements([("r1", "e")])  # after the timer of 20 s
        .advance_processing_time(10)
        .advance_watermark_to(30)
        .add_elements([TimestampedValue(("w1", "f"), 31)])
        .advance_watermark_to_infinity()
    )
    with _streaming(runner) as pipeline:
        fired = pipeline | script | beam.ParDo(_Collect())
        expected = [
            ("real", "r1", ["a", "c"]),
            ("real", "r1", ["e"]),
            ("watermark", "w1", ["b", "d"]),
            ("watermark", "w1", ["f"]),
        ]
        assert_that(fired, equal_to(expected))


@pytest.mark.parametrize("runner", RUNNERS)
def test_windows_and_triggers_fire(runner: type[BundleBasedDirectRunner]) -> None:
    """A fixed window is grouped at its end, a global one when its processing-time trigger fires."""
    script = (
        TestStream()
        .add_elements([TimestampedValue(("k", 1), 1), TimestampedValue(("k", 2), 2)])
        .advance_processing_time(30)
        .add_elements([TimestampedValue(("k", 3), 12)])
        .advance_processing_time(30)
        .advance_watermark_to_infinity()
    )
    with _streaming(runner) as pipeline:
        values = pipeline | script
        by_window = values | beam.WindowInto(FixedWindows(10)) | "By window" >> beam.GroupByKey()
        triggered = (
            values
            | "Global"
            >> beam.WindowInto(
                GlobalWindows(),
                trigger=Repeatedly(AfterProcessingTime(20)),
                accumulation_mode=AccumulationMode.DISCARDING,
            )
            | "By trigger" >> beam.GroupByKey()
        )
        sums = beam.MapTuple(lambda key, group: (key, sum(group)))
        assert_that(by_window | "Sum windows" >> sums, equal_to([("k", 3), ("k", 3)]), label="windows")
        assert_that(triggered | "Sum panes" >> sums, equal_to([("k", 3), ("k", 3)]), label="trigger")


@pytest.mark.parametrize("runner", RUNNERS)
def test_side_inputs_reshuffles_and_tagged_outputs_work(runner: type[BundleBasedDirectRunner]) -> None:
    """The other kinds of steps give the same elements."""

    def split(number: int, factor: int) -> Iterator[Any]:
        yield number * factor
        if number % 2:
            yield beam.pvalue.TaggedOutput("odd", number)

    with _streaming(runner) as pipeline:
        factor = beam.pvalue.AsSingleton(pipeline | "Factor" >> beam.Create([10]))
        numbers = pipeline | "Numbers" >> beam.Create([1, 2, 3]) | beam.Reshuffle()
        outputs = numbers | beam.FlatMap(split, factor).with_outputs("odd", main="all")
        assert_that(outputs.all, equal_to([10, 20, 30]), label="all")
        assert_that(outputs.odd, equal_to([1, 3]), label="odd")


def _stream_of(*bundles: str) -> TestStream:
    script = TestStream()
    for bundle in bundles:
        script = script.add_elements(bundle.split())
    return script.advance_watermark_to_infinity()


def test_a_dofn_lives_as_long_as_the_pipeline() -> None:
    """A DoFn is set up before its first bundle and torn down after its last."""
    with _streaming(LocalRunner) as pipeline:
        _ = pipeline | _stream_of("a b", "c") | beam.ParDo(_Recorder())
    assert " ".join(CALLS) == "setup start a b finish start c finish teardown"


def test_each_bundle_has_its_own_elements() -> None:
    """A DoFn that lives on does not emit what it emitted before."""
    with _streaming(LocalRunner) as pipeline:
        emitted = pipeline | _stream_of("a b", "c") | beam.ParDo(_Recorder())
        assert_that(emitted, equal_to(["a", "b", "c"]))


def test_a_bundle_without_elements_is_dropped() -> None:
    """A step is not evaluated for a bundle whose elements were all filtered out."""
    with _streaming(LocalRunner) as pipeline:
        kept = pipeline | _stream_of("a", "b", "c") | beam.Filter(lambda element: element == "b")
        _ = kept | beam.ParDo(_Recorder())
    assert " ".join(CALLS) == "setup start b finish teardown"


class _Note(beam.DoFn):
    """Notes each element with the name of the step."""

    def __init__(self, step: str) -> None:
        self.step = step

    def process(self, element: Any) -> Iterator[Any]:
        CALLS.append(f"{self.step}:{''.join(element)}")
        yield element


def test_the_first_batch_passes_every_step_before_the_second_passes_one() -> None:
    """A bundle of batches is split, and the batch that is furthest along in the graph goes on first."""
    with _streaming(LocalRunner) as pipeline:
        script = TestStream().add_elements([["a", "b"], ["c"], ["d"]]).advance_watermark_to_infinity()
        _ = pipeline | script | "1" >> beam.ParDo(_Note("1")) | "2" >> beam.ParDo(_Note("2"))
    assert " ".join(CALLS) == "1:ab 2:ab 1:c 2:c 1:d 2:d"


def test_other_bundles_stay_whole() -> None:
    """A step takes all elements of a bundle that are no batches."""
    with _streaming(LocalRunner) as pipeline:
        _ = pipeline | _stream_of("a b c") | "1" >> beam.ParDo(_Note("1")) | "2" >> beam.ParDo(_Note("2"))
    assert " ".join(CALLS) == "1:a 1:b 1:c 2:a 2:b 2:c"


def test_a_dofn_whose_bundle_failed_is_not_used_again() -> None:
    """The bundle is tried four times as in Beam, each time with a new DoFn; then the pipeline fails."""
    pipeline = _streaming(LocalRunner)
    _ = pipeline | _stream_of("a", "bad") | beam.ParDo(_Recorder())
    with pytest.raises(ValueError, match="bad"):
        pipeline.run().wait_until_finish()
    assert " ".join(CALLS) == "setup start a finish start setup start setup start setup start"
