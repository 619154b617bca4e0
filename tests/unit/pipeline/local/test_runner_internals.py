"""The inner parts of Beam that the local runner rests on."""

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from typing import Any

import pytest

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
    f"{DIRECT}.executor:_CompletionCallback.__init__": "(self, evaluation_context, all_updates, timer_firings)",
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
    f"{DIRECT}.executor:Executor.__init__": ["self._executor ="],
    f"{DIRECT}.executor:_CompletionCallback.handle_result": [
        "self._all_updates.offer(",
        "committed_bundle=output_committed_bundle",
    ],
    f"{DIRECT}.executor:_ExecutorServiceParallelExecutor.__init__": [
        "self.all_updates =",
        "self.default_completion_callback = _CompletionCallback(",
    ],
    f"{DIRECT}.executor:_ExecutorServiceParallelExecutor.schedule_consumers": [
        "committed_bundle.pcollection in self.value_to_consumers"
    ],
    f"{DIRECT}.executor:_ExecutorServiceParallelExecutor._MonitorTask.call": [
        "update = self._executor.all_updates.poll()",
        "while update:",
        "if update.committed_bundle:",
        "self._executor.executor_service.submit(self)",
    ],
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
