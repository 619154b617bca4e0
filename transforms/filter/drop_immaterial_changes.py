"""Drop immaterial changes before any lookup or Gemini call; each ends in the ledger as skipped."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from schemas.change_event import AccountChange
from schemas.outcome import OutcomeKind, SkipReason
from transforms.filter.materiality import Materiality
from transforms.ledger import Ledger, Received
from transforms.outputs import OUTCOMES, TaggedOutcome

STAGE: Final = "Drop immaterial changes"
MATERIAL: Final = "material"


@dataclass
class DropImmaterialChanges(beam.PTransform):
    """AccountChange → material changes (main, `material`), and an Outcome (`outcomes`) for each immaterial one."""

    materiality: Materiality
    pipeline_version: str

    def expand(self, changes: beam.PCollection[AccountChange]) -> Any:
        """Decide on each change independently."""
        return changes | beam.ParDo(_DropImmaterial(self.materiality, self.pipeline_version)).with_outputs(
            OUTCOMES, main=MATERIAL
        )


class _DropImmaterial(beam.DoFn):
    def __init__(self, materiality: Materiality, pipeline_version: str) -> None:
        self.materiality = materiality
        self.ledger = Ledger(STAGE, pipeline_version)
        self.changes = Metrics.counter(STAGE, "changes_total")
        self.material = Metrics.counter(STAGE, "material_total")
        self.skipped = {
            reason: Metrics.counter(STAGE, f"skipped_{reason}_total")
            for reason in (SkipReason.IMMATERIAL, SkipReason.OWN_WRITE)
        }

    def process(self, change: AccountChange) -> Iterator[AccountChange | TaggedOutcome]:
        self.changes.inc()
        reason = self.materiality.skip_reason(change)
        if reason:
            self.skipped[reason].inc()
            yield TaggedOutput(OUTCOMES, self.ledger.outcome(Received.of(change), OutcomeKind.SKIPPED, reason=reason))
        else:
            self.material.inc()
            yield change
