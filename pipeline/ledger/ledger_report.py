"""A report of one run from the ledger: counts, events without an outcome, latency, the highest scores."""

import datetime as dt
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.outcome import OutcomeKind
from transforms.clients.bigquery import Warehouse, dataset_path

# BigQuery may have inserted a row twice, if its first response was lost. DISTINCT selects the columns of
# schemas.outcome.outcome_id, which identify a row.
_PROGRESS_SQL: Final = """
SELECT
  (SELECT COUNT(DISTINCT message_id) FROM `{dataset}.change_outcomes` WHERE recorded_at >= @since) AS messages,
  (
    SELECT COUNT(DISTINCT score_id) FROM `{dataset}.account_scores` WHERE scored_at >= @since AND shadow IS NOT TRUE
  ) AS score_rows,
  COUNTIF(received > 0 AND finals = 0) AS unexplained,
  COUNTIF(scored > 0 AND refused = 0) AS scored_rows,
  SUM(received) AS received_rows,
  SUM(finals) AS final_rows
FROM (
  SELECT
    event_id,
    account_id,
    COUNTIF(outcome = 'received') AS received,
    COUNTIF(outcome != 'received') AS finals,
    COUNTIF(outcome IN ('scored', 'tombstoned')) AS scored,
    COUNTIF(error_class = 'row_rejected') AS refused
  FROM (
    SELECT DISTINCT event_id, account_id, replay_count, outcome, reason, error_class, message_id
    FROM `{dataset}.change_outcomes`
    WHERE recorded_at >= @since
  )
  GROUP BY event_id, account_id
)
"""
_COUNTS_SQL: Final = """
SELECT outcome, COALESCE(reason, error_class) AS why, COUNT(*) AS events, COUNT(DISTINCT account_id) AS accounts
FROM (
  SELECT DISTINCT event_id, account_id, replay_count, outcome, reason, error_class, message_id
  FROM `{dataset}.change_outcomes`
  WHERE recorded_at >= @since
)
GROUP BY outcome, why
"""
_LATENCY_SQL: Final = """
SELECT TIMESTAMP_DIFF(recorded_at, published_at, MILLISECOND) AS milliseconds
FROM `{dataset}.change_outcomes`
WHERE recorded_at >= @since AND outcome = 'scored' AND published_at IS NOT NULL
"""
_ACCOUNTS_SQL: Final = """
SELECT COUNT(DISTINCT account_id) AS accounts
FROM `{dataset}.account_scores`
WHERE scored_at >= @since AND status = 'scored' AND shadow IS NOT TRUE
"""
_HIGHEST_SQL: Final = """
SELECT s.account_id, a.name, s.score, s.tier, s.confidence, s.summary, s.recommended_action, s.drivers
FROM `{dataset}.current_account_scores` AS s
LEFT JOIN `{crm}.accounts` AS a USING (account_id)
ORDER BY s.score DESC, s.confidence DESC, s.account_id
LIMIT 5
"""


@dataclass(frozen=True)
class Progress:
    """How far a run is, in ledger rows."""

    messages: int = 0
    received: int = 0
    explained: int = 0
    unexplained: int = 0
    unwritten: int = 0
    """Scores that are in the ledger and not yet in `account_scores`."""

    def has_received(self, published: int) -> bool:
        """Return whether every published message was received."""
        return self.messages >= published

    def is_done(self, published: int) -> bool:
        """Return whether every message was received and has its outcome, and every score is in its table."""
        is_explained = self.unexplained == 0 and self.explained >= self.received
        return self.has_received(published) and is_explained and self.unwritten <= 0


@dataclass(frozen=True)
class LedgerSummary:
    """Ledger rows by outcome and reason, accounts with a score, seconds from publication to the scored row."""

    outcomes: Mapping[str, int]
    reasons: Mapping[str, Mapping[str, int]]
    accounts_scored: int
    latency_seconds: Mapping[str, float | None]
    highest: list[dict[str, Any]] = field(default_factory=list)


class LedgerReport:
    """Reads the ledger of one dataset since a time, which bounds the partitions that BigQuery scans."""

    def __init__(self, warehouse: Warehouse, dataset: str, crm_dataset: str, *, since: dt.datetime) -> None:
        self._warehouse = warehouse
        self._since = since
        self._names = {
            "dataset": dataset_path(warehouse.project, dataset),
            "crm": dataset_path(warehouse.project, crm_dataset),
        }

    def progress(self) -> Progress:
        """Return how far the ledger is."""
        (row,) = self._query(_PROGRESS_SQL)
        return Progress(
            messages=row["messages"],
            received=row["received_rows"] or 0,
            explained=row["final_rows"] or 0,
            unexplained=row["unexplained"] or 0,
            unwritten=(row["scored_rows"] or 0) - row["score_rows"],
        )

    def summary(self) -> LedgerSummary:
        """Return counts, latency and the highest scores."""
        outcomes = dict.fromkeys(map(str, OutcomeKind), 0)
        reasons: dict[str, dict[str, int]] = {}
        for row in self._query(_COUNTS_SQL):
            outcomes[row["outcome"]] += row["events"]
            if row["why"]:
                reasons.setdefault(row["outcome"], {})[row["why"]] = row["events"]
        return LedgerSummary(
            outcomes=outcomes,
            reasons=reasons,
            accounts_scored=self._query(_ACCOUNTS_SQL)[0]["accounts"],
            latency_seconds=percentiles([row["milliseconds"] / 1000 for row in self._query(_LATENCY_SQL)]),
            highest=[dict(row) for row in self._query(_HIGHEST_SQL)],
        )

    def _query(self, sql: str) -> list[Mapping[str, Any]]:
        return self._warehouse.query(sql.format(**self._names), {"since": self._since})


def percentiles(seconds: list[float]) -> dict[str, float | None]:
    """Return the median and the 95th percentile in seconds; None if there are no values."""
    if not seconds:
        return {"p50": None, "p95": None}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3)}
