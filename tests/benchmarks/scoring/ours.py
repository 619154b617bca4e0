"""Ours: BatchAccounts and ScoreAccounts in a Beam pipeline, on as many threads of one process as a worker has."""

from collections.abc import Iterable, Sequence
from typing import Final

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

import transforms.coders  # noqa: F401 - registers how the models travel
from pipeline.local.stack import PROJECT
from schemas.account_context import EnrichedChange
from schemas.change_event import AccountChange
from tests.benchmarks.scoring.accounts import context_of
from transforms.admit.batch_accounts import BatchAccounts
from transforms.clients.gemini_api import GeminiSettings
from transforms.process import forget_shared_objects
from transforms.score.score_accounts import ScoreAccounts

THREADS: Final = 12
"""Of a Dataflow worker, by default."""
SHARDS: Final = 16


def pipeline_options(threads: int) -> PipelineOptions:
    """Return the options that run a pipeline on threads of this process."""
    return PipelineOptions(
        ["--runner=FnApiRunner", f"--direct_num_workers={threads}", "--direct_running_mode=multi_threading"]
    )


def settings(**fields: float) -> GeminiSettings:
    """Return the settings of a benchmark: the defaults, and room for the limit to find the stand-in's cap."""
    return GeminiSettings(project=PROJECT, max_calls_in_flight=int(fields.pop("max_calls_in_flight", 1_000)), **fields)  # type: ignore[arg-type]


def score(
    changes: Sequence[AccountChange], gemini: GeminiSettings, accounts_per_call: int, *, threads: int = THREADS
) -> int:
    """Score the accounts of changes, and return how many have a score.

    FnApiRunner runs a stateful stage, and what is fused with it, on one thread; the Reshuffle behind it gives the
    scoring stage the threads that it has where keys are worked on side by side. A fresh engine has to find the cap.
    """
    forget_shared_objects()
    pipeline = beam.Pipeline(options=pipeline_options(threads))
    (
        pipeline
        | "Changes" >> beam.Create(list(changes)).with_output_types(AccountChange)
        | "Batch accounts" >> BatchAccounts(shards=SHARDS)
        | "Spread batches" >> beam.Reshuffle()
        | "Add context" >> beam.Map(enriched_change)
        | "Score accounts" >> ScoreAccounts(gemini, "1", accounts_per_call)
    )
    result = pipeline.run()
    result.wait_until_finish()
    return counter(result, "scored_total")


def enriched_change(batch: Iterable[AccountChange]) -> list[EnrichedChange]:
    """Return a batch with contexts from memory: BigQuery is not what is measured."""
    return [EnrichedChange(change=item, context=context_of(item.account_id)) for item in batch]


def counter(result: beam.runners.runner.PipelineResult, name: str) -> int:
    """Return the value of one of the pipeline's counters."""
    found = result.metrics().query(MetricsFilter().with_name(name))["counters"]
    return int(sum(value.committed for value in found))
