"""Peer: Beam's RunInference with GeminiModelHandler, as in its documentation."""

from collections.abc import Sequence

import apache_beam as beam
from apache_beam.ml.inference.base import PredictionResult, RunInference
from apache_beam.ml.inference.gemini_inference import GeminiModelHandler, generate_from_string

from schemas.account_context import EnrichedChange
from tests.benchmarks.scoring.ours import counter, pipeline_options
from tests.benchmarks.scoring.task import LOCATION, MODEL, PROJECT, config, is_valid, prompt_of


def score(accounts: Sequence[EnrichedChange], *, threads: int, batch_size: int | None) -> int:
    """Score accounts, and return how many results have a valid score.

    Args:
        accounts: What is scored.
        threads: Of one process.
        batch_size: None leaves batching to Beam, which is its default, and sends a batch as one prompt.
    """
    handler = GeminiModelHandler(
        model_name=MODEL,
        request_fn=generate_from_string,
        project=PROJECT,
        location=LOCATION,
        min_batch_size=batch_size,
        max_batch_size=batch_size,
    )
    pipeline = beam.Pipeline(options=pipeline_options(threads))
    inferred = (
        pipeline
        | beam.Create([prompt_of(item) for item in accounts])
        | beam.Reshuffle()
        | RunInference(handler, inference_args={"config": config()}).with_exception_handling()
    )
    inferred[0] | beam.ParDo(CountValid())
    result = pipeline.run()
    result.wait_until_finish()
    return counter(result, "valid_total")


class CountValid(beam.DoFn):
    """Counts the results that have a valid score."""

    def __init__(self) -> None:
        self.valid = beam.metrics.Metrics.counter("peer", "valid_total")

    def process(self, result: PredictionResult) -> None:
        """Count one."""
        response = result.inference
        if is_valid(getattr(response, "text", None)):
            self.valid.inc()
