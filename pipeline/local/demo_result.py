"""The result of a demo."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.ledger.ledger_summary import LedgerSummary
from schemas.outcome import OutcomeKind


@dataclass(frozen=True)
class DemoResult:
    """The outcomes of the events.

    Args:
        published: Messages.
        summary: What the ledger says.
        unexplained: Events without an outcome.
        gemini: Counts of the stand-in.
        first_score_seconds: From the publication of the events to the first score in BigQuery; None: there is none.
        includes_start: Whether these seconds include the start of the pipeline: only the first event was scored.
        elapsed_seconds: From the start of the stack to the report.
        data_dir: Folder in which the warehouse is kept.
        accounts_added: Accounts that were added to the mirror because the events name them.
    """

    published: int
    summary: LedgerSummary
    unexplained: int
    gemini: dict[str, Any]
    first_score_seconds: float | None
    elapsed_seconds: float
    includes_start: bool = False
    data_dir: Path | None = None
    accounts_added: int = 0

    def document(self) -> dict[str, Any]:
        """Return the document that `--json` prints; the counts are of ledger rows."""
        outcomes, reasons = self.summary.outcomes, self.summary.reasons
        tokens = {kind: self.gemini[f"{kind}_tokens"] for kind in ("prompt", "output", "cached")}
        return {
            "published": self.published,
            "accounts_added": self.accounts_added,
            **outcomes,
            "skipped_by_reason": reasons.get(OutcomeKind.SKIPPED, {}),
            "dead_lettered_by_class": reasons.get(OutcomeKind.DEAD_LETTERED, {}),
            "accounts_found": dict(self.summary.found),
            "accounts_scored": self.summary.accounts_scored,
            "unexplained": self.unexplained,
            "gemini_calls": self.gemini["calls"],
            "tokens": tokens["prompt"] + tokens["output"],
            "tokens_by_kind": tokens,
            "first_score_seconds": self.first_score_seconds,
            "first_score_includes_start": self.includes_start,
            "latency_seconds": self.summary.latency_seconds,
            "elapsed_seconds": round(self.elapsed_seconds, 1),
            "highest_scores": self.summary.highest,
            "data_dir": str(self.data_dir) if self.data_dir else None,
        }
