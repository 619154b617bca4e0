"""Shadow scores: a sample of changes is scored a second time, by another model or prompt, to be compared.

A shadow decides nothing. It has no outcome in the ledger, its failure no dead letter, its row is flagged, and it is
scored behind a Reshuffle of its own: what holds it up does not hold up the scores.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
import structlog
from apache_beam.metrics import Metrics
from msgspec.structs import replace

from schemas.account_context import EnrichedChange
from schemas.outcome import ScoringResult
from schemas.score import Score

STAGE: Final = "Score shadows"

_STEPS: Final = 1_000_000
_log = structlog.stdlib.get_logger(__name__)


def is_in_sample(event_id: str, percent: float) -> bool:
    """Whether a change is in the sample: by its id alone, so that a retry, a replay and every worker agree."""
    place = int.from_bytes(hashlib.sha256(b"shadow:" + event_id.encode()).digest()[:8]) % _STEPS
    return place < percent / 100 * _STEPS


def shadow_row(score: Score) -> Score:
    """Return a score as the row of a shadow."""
    return replace(score, shadow=True)


@dataclass
class ShadowScores(beam.PTransform):
    """list of EnrichedChange → Score, flagged as a shadow, for `percent` of the changes.

    `scoring` is ScoreAccounts with the shadow's model and prompt.
    """

    scoring: beam.PTransform
    percent: float

    def expand(self, batches: beam.PCollection[list[EnrichedChange]]) -> beam.PCollection[Score]:
        """Sample, score, and keep the rows."""
        percent = self.percent
        return (
            batches
            | "Sample" >> beam.FlatMap(lambda batch: sampled(batch, percent)).with_output_types(list[EnrichedChange])
            | "Part from scores" >> beam.Reshuffle()
            | "Score sample" >> self.scoring
            | "Keep rows" >> beam.ParDo(_KeepRows())
        )


def sampled(batch: Sequence[EnrichedChange], percent: float) -> Iterator[list[EnrichedChange]]:
    """Yield the changes of a batch that are in the sample, if there are any."""
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
            yield shadow_row(result.scored.score)
        elif result.letter:
            self.failed.inc()
            _log.warning("no shadow score", error_class=result.letter.error_class, event_id=result.letter.event_id)
