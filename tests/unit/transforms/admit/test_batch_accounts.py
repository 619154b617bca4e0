"""The step that batches accounts: state, timers, coders, and what is fused to it."""

import threading
from collections import Counter
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import TimestampedValue

from schemas.change_event import AccountChange
from tests.fixtures.changes import change
from transforms.admit.batch_accounts import BatchAccounts, shard_of
from transforms.admit.batching import BatchLimits

CHANGES = [change(number) for number in range(7)]
STREAMING = PipelineOptions(["--streaming"])


def _stream(*changes: AccountChange) -> TestStream:
    return TestStream().advance_watermark_to(0).add_elements([TimestampedValue(item, 0) for item in changes])


def _check(stream: TestStream, limits: BatchLimits, *expected: int) -> None:
    """Check the sizes of the batches, and that no change is lost."""

    def check(batches: list[list[AccountChange]]) -> None:
        assert all(isinstance(batch, list) for batch in batches)
        assert sorted(it.event_id for batch in batches for it in batch) == [it.event_id for it in CHANGES]
        assert sorted(len(batch) for batch in batches) == list(expected)

    with TestPipeline(options=STREAMING) as pipeline:
        typed = pipeline | stream | beam.Map(lambda it: it).with_output_types(AccountChange)
        assert_that(typed | BatchAccounts(limits), check)


def test_a_full_batch_goes_on_at_once_and_the_rest_at_the_end() -> None:
    """At a drain, or the end of the input, nobody is forgotten."""
    _sizes.clear()
    with TestPipeline(runner=FnApiRunner()) as pipeline:
        limits = BatchLimits(fills_call=3, max_accounts=3, max_wait_seconds=3_600)
        _unbounded(pipeline | beam.Create(CHANGES)) | BatchAccounts(limits) | beam.Map(_count)
    assert _sizes == {3: 2, 1: 1}


_sizes: Counter[int] = Counter()


def _count(batch: list[AccountChange]) -> None:
    _sizes[len(batch)] += 1


def _unbounded(changes: Any) -> Any:
    """Have changes pass for those of a subscription, which FnApiRunner can't read."""
    typed = changes | beam.Map(lambda it: it).with_output_types(AccountChange)
    typed.is_bounded = False
    return typed


def test_batches_are_worked_on_side_by_side() -> None:
    """Behind a key's state they would come one after the other: the Reshuffle breaks fusion."""
    _together.reset()
    options = PipelineOptions(["--direct_num_workers=4", "--direct_running_mode=multi_threading"])
    with TestPipeline(runner=FnApiRunner(), options=options) as pipeline:
        changes = _unbounded(pipeline | beam.Create([change(number) for number in range(60)]))
        changes | BatchAccounts(BatchLimits(fills_call=2, max_accounts=2)) | beam.Map(_meet)
    assert _met.is_set()


_together, _met = threading.Barrier(2), threading.Event()


def _meet(_batch: list[AccountChange]) -> None:
    """Wait until another thread has a batch, too."""
    if not _met.is_set():
        _together.wait(timeout=60)
        _met.set()


def test_a_batch_goes_on_when_it_waited() -> None:
    """However few there are."""
    stream = _stream(*CHANGES).advance_processing_time(2**32).advance_watermark_to_infinity()
    _check(stream, BatchLimits(fills_call=50, max_accounts=50, max_wait_seconds=3_600), 7)


def test_a_shard_is_the_same_everywhere() -> None:
    """A change's shard depends on its event id only; shards are used evenly, also by changes of one account."""
    shards = Counter(shard_of(f"{number:032x}", 4) for number in range(1_000))
    assert set(shards) == {"0", "1", "2", "3"}
    assert min(shards.values()) > 150
    assert shard_of("3f2a", 4) == "2"


def test_batches_travel_as_records() -> None:
    """Neither state nor shuffle holds a pickle, which another release could not read."""
    pipeline = beam.Pipeline(options=STREAMING)
    typed = pipeline | _stream(*CHANGES) | beam.Map(lambda it: it).with_output_types(AccountChange)
    _ = typed | BatchAccounts()
    components = pipeline.to_runner_api().components
    steps = [it for it in components.transforms.values() if it.unique_name.startswith("BatchAccounts/")]
    collections = {name for step in steps for name in (*step.inputs.values(), *step.outputs.values())}
    shuffled = {components.pcollections[name].coder_id for name in collections}
    states = [
        spec.bag_spec.element_coder_id or spec.read_modify_write_spec.coder_id
        for step in steps
        if step.spec.urn == common_urns.primitives.PAR_DO.urn
        for spec in beam_runner_api_pb2.ParDoPayload.FromString(step.spec.payload).state_specs.values()
    ]
    assert len(states) == 2
    coders = PipelineContext(components).coders
    assert {str(coders.get_by_id(coder_id)) for coder_id in states} == {"RecordCoder"}
    for name in (str(coders.get_by_id(coder_id)) for coder_id in shuffled):
        assert "RecordCoder" in name
        # Beam's Reshuffle keeps an element's timestamp in a pickle; it is Beam's own, and the same for every element.
        assert "FastPrimitives" not in name.replace("NullableCoder[FastPrimitivesCoder]", "")


@pytest.mark.parametrize("bounded", [True, False])
def test_a_bounded_input_is_batched_within_a_bundle(*, bounded: bool) -> None:
    """A backfill has large bundles: no state, no wait."""
    pipeline = beam.Pipeline(options=PipelineOptions([] if bounded else ["--streaming"]))
    changes = pipeline | (beam.Create(CHANGES) if bounded else _stream(*CHANGES))
    _ = changes | beam.Map(lambda it: it).with_output_types(AccountChange) | BatchAccounts()
    labels = {transform.unique_name for transform in pipeline.to_runner_api().components.transforms.values()}
    assert ("BatchAccounts/Batch within a bundle" in labels) is bounded
    assert ("BatchAccounts/Reshuffle batches" in labels) is not bounded
