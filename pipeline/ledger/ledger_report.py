"""A report of one run from the ledger: counts, events without an outcome, latency, the highest scores."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from pipeline.ledger.ledger_summary import LedgerCounts, LedgerSummary, Progress, ScoredTimes
from schemas.outcome import OutcomeKind
from schemas.standing_outcome import UNANSWERED_SQL
from transforms.clients.bigquery import QueryValue, Warehouse, dataset_path
from transforms.find.found_accounts import FOUND_STAGES

# BigQuery may have inserted a row twice, if its first response was lost. DISTINCT selects the columns that tell the
# rows of different messages apart. A second delivery that was dropped as a duplicate is no outcome of its event
# (schemas/standing_outcome.py).
_PROGRESS_SQL: Final = """
SELECT
  (SELECT COUNT(DISTINCT message_id) FROM `{dataset}.change_outcomes` WHERE recorded_at >= @since) AS messages,
  (
    SELECT COUNT(DISTINCT score_id) FROM `{dataset}.account_scores` WHERE scored_at >= @since AND shadow IS NOT TRUE
  ) AS score_rows,
  COUNTIF(received > 0 AND outcomes = 0) AS unexplained,
  COUNTIF(scored > 0 AND refused = 0) AS scored_rows,
  SUM(received) AS received_rows,
  SUM(finals) AS final_rows
FROM (
  SELECT
    event_id,
    account_id,
    COUNTIF(outcome = 'received') AS received,
    COUNTIF(outcome != 'received') AS finals,
    COUNTIF(outcome != 'received' AND IFNULL(reason, '') != 'duplicate') AS outcomes,
    COUNTIF(outcome IN ('scored', 'tombstoned')) AS scored,
    COUNTIF(error_class = 'row_rejected') AS refused
  FROM (
    SELECT DISTINCT event_id, account_id, replay_count, outcome, reason, error_class, message_id
    FROM (
      SELECT event_id, account_id, replay_count, outcome, reason, error_class, message_id
      FROM `{dataset}.change_outcomes`
      WHERE recorded_at >= @since
      QUALIFY {unanswered}
    )
  )
  GROUP BY event_id, account_id, replay_count
)
"""
_COUNTS_SQL: Final = """
SELECT outcome, COALESCE(reason, error_class) AS why, COUNT(*) AS events, COUNT(DISTINCT message_id) AS messages
FROM (
  SELECT DISTINCT event_id, account_id, replay_count, outcome, reason, error_class, message_id
  FROM (
    SELECT event_id, account_id, replay_count, outcome, reason, error_class, message_id
    FROM `{dataset}.change_outcomes`
    WHERE recorded_at >= @since
    QUALIFY {unanswered}
  )
)
GROUP BY outcome, why
"""
_FOUND_SQL: Final = """
SELECT stage, COUNT(*) AS events
FROM (
  SELECT DISTINCT event_id, account_id, replay_count, stage
  FROM `{dataset}.change_outcomes`
  WHERE recorded_at >= @since AND outcome = 'received' AND stage IN UNNEST(@stages)
)
GROUP BY stage
"""
_SCORED_SQL: Final = """
SELECT published_at, recorded_at
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


class LedgerReport:
    """Reads the ledger of one dataset since a time, which bounds the partitions that BigQuery scans."""

    def __init__(self, warehouse: Warehouse, dataset: str, crm_dataset: str, *, since: dt.datetime) -> None:
        self._warehouse = warehouse
        self._since = since
        self._names = {
            "dataset": dataset_path(warehouse.project, dataset),
            "crm": dataset_path(warehouse.project, crm_dataset),
            "unanswered": UNANSWERED_SQL,
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

    def counts(self) -> LedgerCounts:
        """Return the rows by outcome; costs the emulator half of what `progress` costs."""
        messages, outcomes, reasons = 0, dict.fromkeys(map(str, OutcomeKind), 0), dict[str, dict[str, int]]()
        for row in self._query(_COUNTS_SQL):
            outcomes[row["outcome"]] += row["events"]
            if row["outcome"] == OutcomeKind.RECEIVED:
                messages += row["messages"]
            if row["why"]:
                reasons.setdefault(row["outcome"], {})[row["why"]] = row["events"]
        return LedgerCounts(messages, outcomes, reasons)

    def summary(self) -> LedgerSummary:
        """Return counts, times and the highest scores."""
        counts = self.counts()
        return LedgerSummary(
            messages=counts.messages,
            outcomes=counts.outcomes,
            reasons=counts.reasons,
            found=self._found(),
            accounts_scored=self._query(_ACCOUNTS_SQL)[0]["accounts"],
            scored=[ScoredTimes(**row) for row in self._query(_SCORED_SQL)],
            highest=[dict(row) for row in self._query(_HIGHEST_SQL)],
        )

    def _found(self) -> dict[str, int]:
        stages = {stage: str(source) for source, stage in FOUND_STAGES.items()}
        rows = self._query(_FOUND_SQL, {"stages": list(stages)})
        return dict.fromkeys(stages.values(), 0) | {stages[row["stage"]]: row["events"] for row in rows}

    def _query(self, sql: str, parameters: Mapping[str, QueryValue] | None = None) -> list[Mapping[str, Any]]:
        return self._warehouse.query(sql.format(**self._names), {"since": self._since, **(parameters or {})})
