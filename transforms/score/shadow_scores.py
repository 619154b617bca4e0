"""Shadow scores: score a sample of changes a second time, with another model or prompt, for comparison.

A shadow score has no outcome in the ledger, its failure is not dead-lettered, and its row is flagged. Shadows are
scored behind a Reshuffle of their own, so that a delay of theirs does not delay the scores. During an outage of Gemini
they are given up after a minute, and never parked.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
from apache_beam.metrics import Metrics
from msgspec.structs import replace

from schemas.account_context import EnrichedChange
from schemas.outcome import ScoringResult
from schemas.score import Score
from transforms.logs import get_logger

STAGE: Final = "Score shadows"
SHADOW_COUNTERS: Final = "shadow_"
"""Prefix of the names of a shadow's counters, so that alerts tell them from those of scores."""

_BUCKETS: Final = 1_000_000
_log = get_logger(__name__)


def is_in_sample(event_id: str, percent: float) -> bool:
    """Whether a change is in the sample; decided by its id alone, so that retries, replays and workers agree."""
    bucket = int.from_bytes(hashlib.sha256(b"shadow:" + event_id.encode()).digest()[:8]) % _BUCKETS
    return bucket < percent / 100 * _BUCKETS


@dataclass
class ShadowScores(beam.PTransform):
    """list of EnrichedChange → Score, flagged as a shadow, for `percent` of the changes.

    `scoring` is ScoreAccounts with the shadow's model and prompt, the counters' prefix SHADOW_COUNTERS, and no parking.
    """

    scoring: beam.PTransform
    percent: float

    def expand(self, batches: beam.PCollection[list[EnrichedChange]]) -> beam.PCollection[Score]:
        """Sample the changes, score them, and keep the rows."""
        percent = self.percent
        return (
            batches
            | "Sample" >> beam.FlatMap(lambda batch: sampled(batch, percent)).with_output_types(list[EnrichedChange])
            | "Part from scores" >> beam.Reshuffle()
            | "Score sample" >> self.scoring
            | "Keep rows" >> beam.ParDo(_KeepRows())
        )


def sampled(batch: Sequence[EnrichedChange], percent: float) -> Iterator[list[EnrichedChange]]:
    """Yield the batch's changes that are in the sample, unless there are none."""
    chosen = [item for item in batch if is_in_sample(item.change.event_id, percent)]
    if chosen:
        yield chosen


class _KeepRows(beam.DoFn):
    def __init__(self) -> None:
        self.scored = Metrics.counter(STAGE, "shadows_total")
        self.failed = Metrics.counter(STAGE, "shadows_failed_total")

    def process(self, result: ScoringResult) -> Iterator[Score]:
        if result.scored:
            self.scored.inc()
            yield replace(result.scored.score, shadow=True)
        elif result.dead_letter:
            self.failed.inc()
            _log.warning(
                "no shadow score", error_class=result.dead_letter.error_class, event_id=result.dead_letter.event_id
            )
