"""Peer: asyncio.gather in a RemoteModelHandler, so that the calls of a batch are in flight together."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import PredictionResult, RemoteModelHandler, RunInference
from google import genai
from google.genai import errors

from schemas.account_context import EnrichedChange
from tests.benchmarks.scoring.ours import counter, pipeline_options
from tests.benchmarks.scoring.peer_model_handler import CountValid
from tests.benchmarks.scoring.task import LOCATION, MODEL, PROJECT, config, prompt_of


def _passes(error: Exception) -> bool:
    return isinstance(error, errors.APIError) and (error.code == 429 or error.code >= 500)


class GatheringHandler(RemoteModelHandler[str, PredictionResult, genai.Client]):
    """Makes the calls of a batch at once; if one fails, the base class repeats the batch."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(namespace="peer", retry_filter=_passes)
        self._batch_size = batch_size

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Set the size of batches."""
        return {"min_batch_size": self._batch_size, "max_batch_size": self._batch_size}

    def create_client(self) -> genai.Client:
        """Create the client."""
        return genai.Client(vertexai=True, project=PROJECT, location=LOCATION)

    def request(
        self,
        batch: Sequence[str],
        model: genai.Client,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002 - the base class's signature
    ) -> Iterable[PredictionResult]:
        """Make the calls of a batch."""

        async def gather() -> list[Any]:
            return await asyncio.gather(
                *(model.aio.models.generate_content(model=MODEL, contents=one, config=config()) for one in batch)
            )

        return [PredictionResult(one, response) for one, response in zip(batch, asyncio.run(gather()), strict=True)]


def score(accounts: Sequence[EnrichedChange], *, threads: int, batch_size: int) -> int:
    """Score accounts, and return how many results have a valid score."""
    pipeline = beam.Pipeline(options=pipeline_options(threads))
    inferred = (
        pipeline
        | beam.Create([prompt_of(item) for item in accounts])
        | beam.Reshuffle()
        | RunInference(GatheringHandler(batch_size)).with_exception_handling()
    )
    inferred[0] | beam.ParDo(CountValid())
    result = pipeline.run()
    result.wait_until_finish()
    return counter(result, "valid_total")
