"""Tombstone deleted accounts: an account's DELETE becomes a row that hides its score; Gemini is not called."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from schemas.change_event import AccountChange
from schemas.outcome import ScoringResult
from transforms.coalesce.tombstones import is_deletion, tombstone
from transforms.ledger import Ledger

STAGE: Final = "Tombstone deleted accounts"
CHANGES: Final = "changes"
TOMBSTONES: Final = "tombstones"


@dataclass
class TombstoneDeleted(beam.PTransform):
    """Separate deletions from changes.

    Input: AccountChange. Outputs: AccountChange that needs a score (main), ScoringResult with a tombstone
    (`tombstones`).
    """

    pipeline_version: str

    def expand(self, changes: beam.PCollection[AccountChange]) -> Any:
        """Apply to a PCollection."""
        return changes | beam.ParDo(_Part(self.pipeline_version)).with_outputs(TOMBSTONES, main=CHANGES)


class _Part(beam.DoFn):
    def __init__(self, pipeline_version: str) -> None:
        self.ledger = Ledger(STAGE, pipeline_version)
        self.tombstones = Metrics.counter(STAGE, "tombstones_total")

    def process(
        self, change: AccountChange
    ) -> Iterator[AccountChange | TaggedOutput[Literal["tombstones"], ScoringResult]]:
        if is_deletion(change):
            self.tombstones.inc()
            yield TaggedOutput(TOMBSTONES, tombstone(change, self.ledger))
        else:
            yield change
