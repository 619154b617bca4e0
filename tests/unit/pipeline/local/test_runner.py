"""The runner for this machine, beside Beam's own where both must behave alike."""

import inspect
import threading
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
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
from google.cloud import pubsub_v1

from pipeline.local import runner as local_runner
from pipeline.local.message_buffer import _Waiting
from pipeline.local.publishing import publish_events
from pipeline.local.pubsub import EmbeddedPubSub
from pipeline.local.runner import MAX_BUNDLE_MESSAGES, LocalRunner
from pipeline.local.stack import RUNNER
from tests.fixtures.waiting import wait_until

RUNNERS: tuple[type[BundleBasedDirectRunner], ...] = (BundleBasedDirectRunner, LocalRunner)
SECONDS = 60
TOPIC, SUBSCRIPTION = "projects/demo-project/topics/changes", "projects/demo-project/subscriptions/rescoring"

DIRECT = "apache_beam.runners.direct"
BEAM_INTERNALS = {
    f"{DIRECT}.bundle_factory:BundleFactory.__init__": "(self, stacked)",
    f"{DIRECT}.bundle_factory:_Bundle.__init__": "(self, pcollection, stacked)",
    f"{DIRECT}.bundle_factory:_Bundle.add": "(self, element)",
    f"{DIRECT}.bundle_factory:_Bundle.commit": "(self, synchronized_processing_time)",
    f"{DIRECT}.bundle_factory:_Bundle.has_elements": "(self)",
    f"{DIRECT}.clock:RealClock.time": "(self)",
    f"{DIRECT}.clock:TestClock.time": "(self)",
    f"{DIRECT}.consumer_tracking_pipeline_visitor:ConsumerTrackingPipelineVisitor.__init__": "(self)",
    f"{DIRECT}.direct_runner:BundleBasedDirectRunner.run_pipeline": "(self, pipeline, options)",
    f"{DIRECT}.direct_runner:DirectPipelineResult.__init__": "(self, executor, evaluation_context)",
    f"{DIRECT}.direct_runner:_DirectReadFromPubSub.__init__": "(self, source)",
    f"{DIRECT}.direct_runner:_get_transform_overrides": "(pipeline_options)",
    f"{DIRECT}.direct_userstate:DirectUserStateContext.__init__": "(self, step_context, dofn, key_coder)",
    f"{DIRECT}.direct_userstate:DirectUserStateContext.commit": "(self)",
    f"{DIRECT}.direct_userstate:DirectUserStateContext.reset": "(self)",
    f"{DIRECT}.evaluation_context:EvaluationContext.__init__": (
        "(self, pipeline_options, bundle_factory, root_transforms, value_to_consumers, step_names, views, clock)"
    ),
    f"{DIRECT}.evaluation_context:EvaluationContext._commit_bundles": (
        "(self, uncommitted_bundles, unprocessed_bundles)"
    ),
    f"{DIRECT}.evaluation_context:EvaluationContext.create_bundle": "(self, output_pcollection)",
    f"{DIRECT}.evaluation_context:EvaluationContext.get_execution_context": "(self, applied_ptransform)",
    f"{DIRECT}.evaluation_context:EvaluationContext.handle_result": (
        "(self, completed_bundle, completed_timers, result)"
    ),
    f"{DIRECT}.evaluation_context:_ExecutionContext.get_step_context": "(self)",
    f"{DIRECT}.executor:Executor.__init__": "(self, *args, **kwargs)",
    f"{DIRECT}.executor:Executor.await_completion": "(self)",
    f"{DIRECT}.executor:Executor.shutdown": "(self)",
    f"{DIRECT}.executor:Executor.start": "(self, roots)",
    f"{DIRECT}.test_stream_impl:_TestStream.__init__": "(self, output_tags, coder, events, endpoint)",
    f"{DIRECT}.transform_evaluator:TransformEvaluatorRegistry.__init__": "(self, evaluation_context)",
    f"{DIRECT}.transform_evaluator:TransformEvaluatorRegistry.get_evaluator": (
        "(self, applied_ptransform, input_committed_bundle, side_inputs)"
    ),
    f"{DIRECT}.transform_evaluator:TransformEvaluatorRegistry.should_execute_serially": "(self, applied_ptransform)",
    f"{DIRECT}.transform_evaluator:_ParDoEvaluator.__init__": (
        "(self, evaluation_context, applied_ptransform, input_committed_bundle, side_inputs, perform_dofn_pickle_test)"
    ),
    f"{DIRECT}.transform_evaluator:_ParDoEvaluator.finish_bundle": "(self)",
    f"{DIRECT}.transform_evaluator:_ParDoEvaluator.start_bundle": "(self)",
    f"{DIRECT}.transform_evaluator:_PubSubReadEvaluator._get_subscriber_client": "(transform)",
    f"{DIRECT}.util:TransformResult.__init__": (
        "(self, transform_evaluator, uncommitted_output_bundles, unprocessed_bundles, counters,"
        " keyed_watermark_holds, undeclared_tag_values)"
    ),
    f"{DIRECT}.watermark_manager:WatermarkManager.__init__": (
        "(self, clock, root_transforms, value_to_consumers, transform_keyed_states)"
    ),
    "apache_beam.runners.common:DoFnRunner.finish": "(self)",
    "apache_beam.runners.common:DoFnRunner.start": "(self)",
    "apache_beam.runners.common:DoFnRunner.teardown": "(self)",
    "apache_beam.transforms.trigger:InMemoryUnmergedState.set_timer": (
        "(self, window, name, time_domain, timestamp, dynamic_timer_tag)"
    ),
}
"""What the runner calls, overrides or replaces in Beam: module, qualified name, parameters."""

BEAM_STATEMENTS = {
    f"{DIRECT}.bundle_factory:_Bundle.__init__": ["self._elements"],
    f"{DIRECT}.evaluation_context:EvaluationContext.__init__": [
        "self._watermark_manager =",
        "_transform_keyed_states =",
    ],
    f"{DIRECT}.evaluation_context:EvaluationContext.handle_result": ["self._commit_bundles(", ".partial_keyed_state"],
    f"{DIRECT}.transform_evaluator:TransformEvaluatorRegistry.__init__": [
        "self._evaluators:",
        "core.ParDo: _ParDoEvaluator",
        "_DirectReadFromPubSub: _PubSubReadEvaluator",
    ],
    f"{DIRECT}.transform_evaluator:_ParDoEvaluator.start_bundle": [
        "self._tagged_receivers",
        "self.user_state_context",
        "self.runner.setup()",
        "self.runner.start()",
    ],
    f"{DIRECT}.transform_evaluator:_ParDoEvaluator.finish_bundle": [
        "self.runner.finish()",
        "self.runner.teardown()",
        "self.user_state_context.commit()",
        "self.user_state_context.reset()",
    ],
    f"{DIRECT}.transform_evaluator:_PubSubReadEvaluator._read_from_pubsub": [
        "sub_client.pull(",
        "subscription=self._sub_name",
        "sub_client.acknowledge(subscription=self._sub_name, ack_ids=ack_ids)",
        "rm.message",
        "rm.ack_id",
    ],
    f"{DIRECT}.watermark_manager:_TransformWatermarks.extract_transform_timers": ["self._keyed_states.items()"],
    "apache_beam.transforms.trigger:InMemoryUnmergedState.set_timer": [
        "self.timers[window][(name, time_domain, dynamic_timer_tag)] = timestamp"
    ],
}
"""Attributes and calls inside of Beam's functions that the runner relies on."""


@pytest.mark.parametrize(("name", "parameters"), BEAM_INTERNALS.items())
def test_beam_has_the_internals_that_the_runner_uses(name: str, parameters: str) -> None:
    """Each function of Beam that the runner calls, overrides or replaces exists with the same parameters."""
    found = f"({', '.join(_parameters(_beam(name)))})"
    assert found == parameters, f"{name}: Beam {_beam_version()} changed its parameters: adapt pipeline/local/runner.py"


@pytest.mark.parametrize(("name", "statements"), BEAM_STATEMENTS.items())
def test_beam_works_as_the_runner_assumes(name: str, statements: list[str]) -> None:
    """Each function of Beam has the attributes and calls that the runner shares with it."""
    source = inspect.getsource(_beam(name))
    gone = [statement for statement in statements if statement not in source]
    assert not gone, f"{name}: Beam {_beam_version()} changed {gone}: adapt pipeline/local/runner.py"


def _beam(name: str) -> Any:
    module, qualified_name = name.split(":")
    found: Any = import_module(module)
    for part in qualified_name.split("."):
        found = getattr(found, part, None)
    assert found, f"{name} is not in Beam {_beam_version()}: adapt pipeline/local/runner.py"
    return found


def _beam_version() -> str:
    return metadata.version("apache-beam")


def _parameters(function: Callable[..., Any]) -> Iterator[str]:
    stars: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    for parameter in inspect.signature(function).parameters.values():
        yield stars.get(parameter.kind, "") + parameter.name


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


def test_a_dofn_whose_bundle_failed_is_not_used_again() -> None:
    """The bundle is tried four times as in Beam, each time with a new DoFn; then the pipeline fails."""
    pipeline = _streaming(LocalRunner)
    _ = pipeline | _stream_of("a", "bad") | beam.ParDo(_Recorder())
    with pytest.raises(ValueError, match="bad"):
        pipeline.run().wait_until_finish()
    assert " ".join(CALLS) == "setup start a finish start setup start setup start setup start"


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedPubSub]:
    """Return a broker with a topic and a subscription."""
    with EmbeddedPubSub() as embedded:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", embedded.host)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-project")
        with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
            publisher.create_topic(name=TOPIC)
            subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
        yield embedded


def _publish(*bodies: str) -> None:
    assert list(publish_events(TOPIC, [body.encode() for body in bodies]))


class _Bundles:
    """The bundles that reached a step, and a way to wait for a message."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.bodies: list[str] = []
        self._changed = threading.Condition()

    def add(self, bodies: list[str]) -> None:
        with self._changed:
            self.sizes.append(len(bodies))
            self.bodies += bodies
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.bodies) >= count, SECONDS), self.bodies


BUNDLES: list[_Bundles] = []
BLOCKED = threading.Event()


class _Gather(beam.DoFn):
    """Hands each bundle to the test, then waits while the test blocks."""

    def start_bundle(self) -> None:
        self.bodies: list[str] = []

    def process(self, message: PubsubMessage) -> None:
        self.bodies.append(message.data.decode())

    def finish_bundle(self) -> None:
        BUNDLES[-1].add(self.bodies)
        assert BLOCKED.wait(SECONDS)


@pytest.fixture
def reading(broker: EmbeddedPubSub) -> Iterator[_Bundles]:
    """Run a pipeline that reads the subscription."""
    BUNDLES.append(_Bundles())
    BLOCKED.set()
    pipeline = _streaming(LocalRunner)
    _ = pipeline | ReadFromPubSub(subscription=SUBSCRIPTION, with_attributes=True) | beam.ParDo(_Gather())
    result = pipeline.run()
    yield BUNDLES[-1]
    BLOCKED.set()
    if result.state == PipelineState.RUNNING:
        result.cancel()


def test_messages_that_wait_become_one_bundle(reading: _Bundles, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a bundle is processed, messages gather for the next, in their order."""
    gathered = threading.Semaphore(0)
    schedule = _Waiting.schedule

    def counted(waiting: _Waiting, *arguments: Any, **options: Any) -> None:
        schedule(waiting, *arguments, **options)
        gathered.release()

    BLOCKED.clear()
    _publish("first")
    reading.wait_for(1)
    monkeypatch.setattr(_Waiting, "schedule", counted)
    bodies = [str(number) for number in range(2 * MAX_BUNDLE_MESSAGES)]
    _publish(*bodies)
    for _ in range(MAX_BUNDLE_MESSAGES):
        assert gathered.acquire(timeout=SECONDS)
    BLOCKED.set()
    reading.wait_for(1 + len(bodies))
    assert reading.bodies == ["first", *bodies]
    assert reading.sizes[:2] == [1, MAX_BUNDLE_MESSAGES]
    assert max(reading.sizes) == MAX_BUNDLE_MESSAGES


def test_messages_that_were_read_are_acknowledged(broker: EmbeddedPubSub, reading: _Bundles) -> None:
    """As with Beam's runner, a message is acknowledged when it has been read."""
    _publish("a", "b")
    reading.wait_for(2)
    wait_until(lambda: broker.backlog(SUBSCRIPTION) == 0)


def test_messages_that_were_not_read_go_back(broker: EmbeddedPubSub) -> None:
    """A pipeline that stops returns what it had received in advance, for the next one."""
    BUNDLES.append(_Bundles())
    BLOCKED.clear()
    pipeline = _streaming(LocalRunner)
    _ = pipeline | ReadFromPubSub(subscription=SUBSCRIPTION, with_attributes=True) | beam.ParDo(_Gather())
    result = pipeline.run()
    _publish("read")
    BUNDLES[-1].wait_for(1)
    _publish("waits")
    stopping = threading.Thread(target=result.cancel)
    stopping.start()
    BLOCKED.set()
    stopping.join(SECONDS)
    if "waits" in BUNDLES[-1].bodies:
        wait_until(lambda: broker.backlog(SUBSCRIPTION) == 0)
    else:
        with pubsub_v1.SubscriberClient() as subscriber:
            wait_until(lambda: subscriber.pull(subscription=SUBSCRIPTION, max_messages=1).received_messages)


def test_a_missing_subscription_ends_the_pipeline(broker: EmbeddedPubSub) -> None:
    """The error of the stream reaches whoever waits for the pipeline."""
    pipeline = _streaming(LocalRunner)
    _ = pipeline | ReadFromPubSub(subscription=f"{SUBSCRIPTION}-of-nobody")
    with pytest.raises(Exception, match="of-nobody"):
        pipeline.run().wait_until_finish()


def test_an_idle_pipeline_sleeps(reading: _Bundles, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle pipeline waits on the subscription, and a message ends the wait at once."""
    is_idle = threading.Event()
    take = _Waiting.take

    def noted(waiting: _Waiting, max_messages: int, seconds: float) -> list[Any]:
        if seconds > SECONDS:
            is_idle.set()
        taken = take(waiting, max_messages, seconds)
        is_idle.clear()
        return taken

    monkeypatch.setattr(_Waiting, "take", noted)
    monkeypatch.setattr(local_runner, "MAX_IDLE_SECONDS", 10 * SECONDS)
    _publish("wakes")
    reading.wait_for(1)
    assert is_idle.wait(SECONDS)  # for longer than this test may take
    monkeypatch.setattr(local_runner, "MAX_IDLE_SECONDS", 0.1)  # so that it ends with the test
    _publish("wakes again")
    reading.wait_for(2)
