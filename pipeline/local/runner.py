"""A runner for this machine: `rescore run --runner pipeline.local.runner.LocalRunner`.

Beam's bundle-based DirectRunner runs streaming pipelines on one thread, but it pulls ten messages at a time, evaluates
every step for bundles without elements, pickles and sets up each DoFn for each bundle, and polls an idle subscription
without a pause. 250 messages cost 5,000 evaluations of steps. This subclass changes these four things, works on one
batch after the other, and leaves windows, watermarks, state, timers and retries alone. Like the DirectRunner it
acknowledges messages before it processes them, so it is for development: a killed process loses what was in flight.
Bounded pipelines, such as a backfill, run on the FnApiRunner.

It uses Beam's internals; tests/unit/pipeline/local/test_runner_internals.py lists them, and fails when a new Beam
changes one.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from apache_beam import Pipeline, PTransform
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.options.value_provider import RuntimeValueProvider
from apache_beam.pipeline import AppliedPTransform
from apache_beam.runners.direct.bundle_factory import BundleFactory
from apache_beam.runners.direct.clock import RealClock, TestClock
from apache_beam.runners.direct.consumer_tracking_pipeline_visitor import ConsumerTrackingPipelineVisitor
from apache_beam.runners.direct.direct_runner import (
    BundleBasedDirectRunner,
    DirectPipelineResult,
    _DirectReadFromPubSub,
    _get_transform_overrides,
)
from apache_beam.runners.direct.evaluation_context import EvaluationContext
from apache_beam.runners.direct.executor import Executor, _CompletionCallback
from apache_beam.runners.direct.test_stream_impl import _TestStream
from apache_beam.runners.direct.transform_evaluator import (
    TransformEvaluatorRegistry,
    _ParDoEvaluator,
    _PubSubReadEvaluator,
)
from apache_beam.runners.direct.util import TransformResult
from apache_beam.runners.direct.watermark_manager import WatermarkManager
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.core import ParDo
from apache_beam.transforms.timeutil import TimeDomain

from pipeline.local.message_buffer import MessageBuffer
from pipeline.local.update_queue import UpdateQueue, is_batch

MAX_BUNDLE_MESSAGES: Final = 100
"""The most messages of a bundle, which passes every step before the next is read."""

MAX_IDLE_SECONDS: Final = 0.2
"""The longest wait of an idle pipeline for messages. The watermark advances, and WATERMARK timers fire, as often."""


class LocalRunner(BundleBasedDirectRunner):
    """Runs a pipeline in this process, like BundleBasedDirectRunner with less work for each message."""

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> PipelineResult:
        """Start a pipeline: a streaming one on a thread of its own, a bounded one on the FnApiRunner."""
        if not options.view_as(StandardOptions).streaming:
            return FnApiRunner().run_pipeline(pipeline, options)
        pipeline.replace_all(_get_transform_overrides(options))
        graph = ConsumerTrackingPipelineVisitor()
        pipeline.visit(graph)
        is_scripted = any(isinstance(step.transform, _TestStream) for step in graph.root_transforms)
        context = _Context(options, graph, TestClock() if is_scripted else RealClock())
        updates = UpdateQueue(graph.step_names, graph.value_to_consumers)
        executor = _Executor(graph.value_to_consumers, _Evaluators(context), context, updates)
        RuntimeValueProvider.set_runtime_options({})
        executor.start(graph.root_transforms)
        return DirectPipelineResult(executor, context)


class _Executor(Executor):
    """Beam's executor, which works on one batch after the other, and closes what lives as long as the pipeline."""

    def __init__(
        self, value_to_consumers: Any, evaluators: "_Evaluators", context: "_Context", updates: UpdateQueue
    ) -> None:
        super().__init__(value_to_consumers, evaluators, context)
        self._context = context
        self._executor.all_updates = updates
        self._executor.default_completion_callback = _CompletionCallback(context, updates)

    def await_completion(self) -> None:
        try:
            super().await_completion()
        finally:
            self._context.close()

    def shutdown(self) -> None:
        super().shutdown()
        self._context.close()


class _Context(EvaluationContext):
    """The state of a running pipeline, with the evaluators and buffers that live on between bundles."""

    def __init__(self, options: PipelineOptions, graph: ConsumerTrackingPipelineVisitor, clock: Any) -> None:
        bundles = BundleFactory(stacked=options.view_as(DirectOptions).direct_runner_use_stacked_bundle)
        roots, consumers = graph.root_transforms, graph.value_to_consumers
        super().__init__(options, bundles, roots, consumers, graph.step_names, graph.views, clock)
        self._clock = clock
        # Beam looks for timers in the state of every key, after every few bundles. Here it sees only keys with timers.
        self._timed: dict[AppliedPTransform, dict[Any, Any]] = {step: {} for step in self._transform_keyed_states}
        self._watermark_manager = WatermarkManager(clock, roots, consumers, self._timed)
        self._evaluators: dict[AppliedPTransform, _ParDo] = {}
        self._buffers: dict[AppliedPTransform, MessageBuffer] = {}

    def _commit_bundles(
        self, uncommitted_bundles: Iterable[Any], unprocessed_bundles: Iterable[Any]
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Commit bundles, and return those with elements: only they are evaluated. Watermarks advance without them.

        A bundle of batches is split: a step calls a service with each, and the results of the first need not wait for
        the others.
        """
        uncommitted = [part for bundle in uncommitted_bundles for part in self._parts(bundle)]
        committed: tuple[tuple[Any, ...], tuple[Any, ...]] = super()._commit_bundles(uncommitted, unprocessed_bundles)
        return committed

    def _parts(self, bundle: Any) -> list[Any]:
        """Return nothing for an empty bundle, a bundle for each batch, or the bundle."""
        if not is_batch(bundle):
            return [bundle] if bundle.has_elements() else []
        parts = []
        for element in bundle.get_elements_iterable():
            part = self.create_bundle(bundle.pcollection)
            part.tag = bundle.tag
            part.add(element)
            parts.append(part)
        return parts

    def handle_result(self, completed_bundle: Any, completed_timers: Any, result: TransformResult) -> Sequence[Any]:
        """Commit the result of a bundle, and note which keys have timers."""
        committed: Sequence[Any] = super().handle_result(completed_bundle, completed_timers, result)
        timed = self._timed[result.transform]
        for key, state in result.partial_keyed_state.items():
            if state.timers:
                timed[key] = state
            else:
                timed.pop(key, None)
        return committed

    def idle_seconds(self) -> float:
        """Return the time until the next REAL_TIME timer is due, at most MAX_IDLE_SECONDS."""
        due = (
            float(timestamp)
            for states in self._timed.values()
            for state in states.values()
            for timers in state.timers.values()
            for (_, time_domain, _), timestamp in timers.items()
            if time_domain == TimeDomain.REAL_TIME
        )
        seconds: float = min(due, default=float("inf")) - self._clock.time()
        return min(MAX_IDLE_SECONDS, max(0.0, seconds))

    def keep_evaluator(self, step: AppliedPTransform, evaluator: "_ParDo") -> None:
        """Keep an evaluator for the next bundle of its step. One whose bundle failed is not kept."""
        self._evaluators[step] = evaluator

    def take_evaluator(self, step: AppliedPTransform) -> "_ParDo | None":
        """Return the evaluator of the step's last bundle; None: there is none, or it evaluates another bundle."""
        return self._evaluators.pop(step, None)

    def buffer(self, step: AppliedPTransform, client: Any, subscription: str) -> MessageBuffer:
        """Return the buffer of a step that reads messages."""
        if step not in self._buffers:
            self._buffers[step] = MessageBuffer(
                client, subscription, max_messages=MAX_BUNDLE_MESSAGES, idle_seconds=self.idle_seconds
            )
        return self._buffers[step]

    def close(self) -> None:
        """Tear down the DoFns and end the streams. A second call has no effect."""
        while self._evaluators:
            self._evaluators.popitem()[1].runner.teardown()
        while self._buffers:
            self._buffers.popitem()[1].close()


class _Evaluators(TransformEvaluatorRegistry):
    """The evaluators of the steps, with those below for ParDo and ReadFromPubSub."""

    def __init__(self, context: _Context) -> None:
        super().__init__(context)
        self._evaluators |= {ParDo: _ParDo, _DirectReadFromPubSub: _ReadFromPubSub}
        self._is_serial: dict[AppliedPTransform, bool] = {}

    def get_evaluator(
        self, applied_ptransform: AppliedPTransform, input_committed_bundle: Any, side_inputs: Any
    ) -> Any:
        """Return the evaluator of the step's last bundle, or a new one."""
        kept = self._evaluation_context.take_evaluator(applied_ptransform)
        return kept or super().get_evaluator(applied_ptransform, input_committed_bundle, side_inputs)

    def should_execute_serially(self, applied_ptransform: AppliedPTransform) -> bool:
        """Return whether a step takes one bundle at a time. Beam inspects the DoFn each time it is asked."""
        if applied_ptransform not in self._is_serial:
            self._is_serial[applied_ptransform] = super().should_execute_serially(applied_ptransform)
        return self._is_serial[applied_ptransform]


class _ParDo(_ParDoEvaluator):
    """Evaluates a ParDo with a DoFn that is pickled and set up once, and torn down when the pipeline ends.

    The DoFn writes to the bundles of the first evaluation for as long as it lives; each evaluation takes their elements
    away in new bundles. A step with side inputs gets a new evaluator for each bundle, as in Beam.
    """

    _is_set_up = False

    def start_bundle(self) -> None:
        if not self._is_set_up:
            super().start_bundle()
            self._is_set_up = True
            return
        self._execution_context = self._evaluation_context.get_execution_context(self._applied_ptransform)
        self._step_context = self._execution_context.get_step_context()
        if self.user_state_context:
            self.user_state_context.step_context = self._step_context
        self.runner.start()

    def finish_bundle(self) -> TransformResult:
        if self._applied_ptransform.side_inputs:
            return super().finish_bundle()
        self.runner.finish()
        if self.user_state_context:
            self.user_state_context.commit()
            self.user_state_context.reset()
        bundles = [self._take_elements(bundle) for bundle in self._tagged_receivers.values()]
        self._evaluation_context.keep_evaluator(self._applied_ptransform, self)
        return TransformResult(self, bundles, [], None, None)

    def _take_elements(self, written: Any) -> Any:
        taken = self._evaluation_context.create_bundle(written.pcollection)
        taken.tag = written.tag
        taken._elements, written._elements = written._elements, []  # noqa: SLF001 - the bundle is a Beam internal, see above
        return taken


class _ReadFromPubSub(_PubSubReadEvaluator):
    """Reads what a StreamingPull has received."""

    def _get_subscriber_client(self, transform: PTransform) -> MessageBuffer:
        client = super()._get_subscriber_client(transform)
        buffer: MessageBuffer = self._evaluation_context.buffer(transform, client, self._sub_name)
        return buffer
