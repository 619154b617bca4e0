"""Drop immaterial changes before any lookup or Gemini call; each ends in the ledger as skipped."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from schemas.change_event import AccountChange, RecordChange, UnnamedChange
from schemas.outcome import OutcomeKind, SkipReason
from transforms.filter.materiality import Materiality
from transforms.ledger import Ledger, Received
from transforms.outputs import OUTCOMES, TaggedOutcome

STAGE: Final = "Drop immaterial changes"
MATERIAL: Final = "material"

C = TypeVar("C", bound=RecordChange)


@dataclass
class DropImmaterialChanges(beam.PTransform):
    """Changes → material changes (main, `material`), and an Outcome (`outcomes`) for each immaterial one.

    The changes are of one type: AccountChange, or UnnamedChange with `are_unnamed`.
    """

    materiality: Materiality
    pipeline_version: str
    are_unnamed: bool = False

    def expand(self, changes: beam.PCollection[Any]) -> Any:
        """Decide on each change independently."""
        fn = _DropImmaterialUnnamed if self.are_unnamed else _DropImmaterial
        return changes | beam.ParDo(fn(self.materiality, self.pipeline_version)).with_outputs(OUTCOMES, main=MATERIAL)


class _Drop(beam.DoFn):
    """Base of both: Beam reads the type of the changes from the annotations of `process`."""

    def __init__(self, materiality: Materiality, pipeline_version: str) -> None:
        self.materiality = materiality
        self.ledger = Ledger(STAGE, pipeline_version)
        self.changes = Metrics.counter(STAGE, "changes_total")
        self.material = Metrics.counter(STAGE, "material_total")
        self.skipped = {
            reason: Metrics.counter(STAGE, f"skipped_{reason}_total")
            for reason in (SkipReason.IMMATERIAL, SkipReason.OWN_WRITE)
        }

    def decide(self, change: C) -> Iterator[C | TaggedOutcome]:
        self.changes.inc()
        reason = self.materiality.skip_reason(change)
        if reason:
            self.skipped[reason].inc()
            yield TaggedOutput(OUTCOMES, self.ledger.outcome(Received.of(change), OutcomeKind.SKIPPED, reason=reason))
        else:
            self.material.inc()
            yield change


class _DropImmaterial(_Drop):
    def process(self, change: AccountChange) -> Iterator[AccountChange | TaggedOutcome]:
        yield from self.decide(change)


class _DropImmaterialUnnamed(_Drop):
    def process(self, change: UnnamedChange) -> Iterator[UnnamedChange | TaggedOutcome]:
        yield from self.decide(change)
