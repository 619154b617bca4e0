"""Queries of a backfill: its accounts, which of them are done, and its progress.

The rows that a backfill writes are its only state. The message ids of its ledger rows start with its own id, which
contains the time up to which the mirror is assumed to hold every change. A backfill is resumed from that id.
"""

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from more_itertools import divide

from pipeline.backfill.account_filter import AccountFilter
from pipeline.ledger.ledger_groups import MAX_ACCOUNTS
from pipeline.terminal.input_files import read_text
from schemas.identifiers import CheckedAccountId, checked
from schemas.outcome import OutcomeKind
from schemas.standing_outcome import standing_outcome
from schemas.views import SHOWN_SCORES
from transforms.clients.bigquery import Warehouse, dataset_path
from transforms.parse.score_requests import PREFIX, Backfill

LOOK_BACK: Final = dt.timedelta(days=30)
"""Age up to which a backfill can be resumed."""

_ACCOUNTS_SQL: Final = """
SELECT account_id FROM `{crm}.accounts`
{where}
ORDER BY account_id
LIMIT {limit}
"""
# A crash can leave scores without ledger rows. Sequence 0 marks a backfill: Salesforce counts from 1.
_LAST_SQL: Final = """
SELECT id
FROM (
  SELECT REGEXP_EXTRACT(message_id, r'^(backfill/[^/]+)/') AS id, recorded_at AS at
  FROM `{dataset}.change_outcomes`
  WHERE recorded_at >= @since AND STARTS_WITH(message_id, @prefix)
  UNION ALL
  SELECT CONCAT(@prefix, FORMAT_TIMESTAMP('%Y-%m-%dT%H:%M:%SZ', change_committed_at)) AS id, scored_at AS at
  FROM `{dataset}.account_scores`
  WHERE scored_at >= @since AND change_sequence = 0
)
ORDER BY at DESC
LIMIT 1
"""
# An account is done when it has both its score and its outcome; a crash can leave either one (docs/adr/041). A
# dead-lettered account is done, too: it is replayed, not scored again.
_DONE_SQL: Final = f"""
SELECT account_id
FROM `{{dataset}}.account_scores`
WHERE
  scored_at >= @as_of
  AND change_committed_at >= @as_of
  AND {SHOWN_SCORES}
  AND (
    change_committed_at > @as_of
    OR change_sequence > 0
    OR account_id IN (
      SELECT account_id
      FROM `{{dataset}}.change_outcomes`
      WHERE recorded_at >= @as_of AND STARTS_WITH(message_id, @prefix) AND outcome IN ('scored', 'skipped')
    )
  )
UNION DISTINCT
SELECT account_id
FROM `{{dataset}}.change_outcomes`
WHERE
  recorded_at >= @as_of
  AND STARTS_WITH(message_id, @prefix)
  AND account_id IS NOT NULL
  AND outcome IN ('dead_lettered', 'skipped', 'tombstoned')
LIMIT {MAX_ACCOUNTS}
"""  # noqa: S608 - constants only
# By event, not by message: the dead letter of a refused score row lacks the message id.
_PROGRESS_SQL: Final = """
WITH
  ledger AS (
    SELECT
      event_id, message_id, CONCAT(outcome, IFNULL(CONCAT(':', COALESCE(reason, error_class)), '')) AS said
    FROM `{dataset}.change_outcomes`
    WHERE recorded_at >= @as_of
  ),
  events AS (
    SELECT event_id, STRING_AGG(DISTINCT said, ',' ORDER BY said) AS said
    FROM ledger
    GROUP BY event_id
    HAVING COUNTIF(STARTS_WITH(message_id, @prefix)) > 0
  )
SELECT said, COUNT(*) AS accounts
FROM events
GROUP BY said
"""


@dataclass(frozen=True)
class BackfillProgress:
    """Accounts of a backfill by outcome; `received` counts those whose message the pipeline has read."""

    received: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    ended: int = 0
    """Accounts that have an outcome."""

    def of(self, kind: OutcomeKind) -> int:
        """Return how many accounts have an outcome of a kind, for any reason."""
        return sum(count for outcome, count in self.outcomes.items() if outcome.partition(":")[0] == kind)


class BackfillWarehouse:
    """The queries of a backfill."""

    def __init__(self, warehouse: Warehouse, dataset: str, crm_dataset: str) -> None:
        self._warehouse = warehouse
        self._names = {
            "dataset": dataset_path(warehouse.project, dataset),
            "crm": dataset_path(warehouse.project, crm_dataset),
        }

    def accounts(self, where: AccountFilter | None) -> list[str]:
        """Return the ids of the mirror's accounts, sorted; with a filter, of those that match.

        Raises:
            ValueError: There are more than MAX_ACCOUNTS.
        """
        condition = f"WHERE {where.condition}" if where else ""
        sql = _ACCOUNTS_SQL.format(**self._names, where=condition, limit=MAX_ACCOUNTS + 1)
        ids = [row["account_id"] for row in self._warehouse.query(sql, dict(where.parameters) if where else {})]
        if len(ids) > MAX_ACCOUNTS:
            raise ValueError(f"more than {MAX_ACCOUNTS} accounts: select fewer with --where")
        return ids

    def last(self, now: dt.datetime) -> Backfill | None:
        """Return the last backfill; None if there was none within LOOK_BACK."""
        rows = self._warehouse.query(_LAST_SQL.format(**self._names), {"since": now - LOOK_BACK, "prefix": PREFIX})
        return Backfill.from_id(rows[0]["id"]) if rows else None

    def done(self, backfill: Backfill) -> frozenset[str]:
        """Return the accounts that need no score: done by the backfill, or scored by a newer change."""
        return frozenset(row["account_id"] for row in self._of(_DONE_SQL, backfill))

    def progress(self, backfill: Backfill) -> BackfillProgress:
        """Return the progress of a backfill, by the ledger."""
        outcomes: Counter[str] = Counter()
        received = ended = 0
        for row in self._of(_PROGRESS_SQL, backfill):
            standing = standing_outcome(row["said"].split(","))
            received += row["accounts"]
            if standing:
                ended += row["accounts"]
                outcomes[standing] += row["accounts"]
        return BackfillProgress(received=received, outcomes=outcomes, ended=ended)

    def _of(self, sql: str, backfill: Backfill) -> list[Mapping[str, Any]]:
        return self._warehouse.query(sql.format(**self._names), {"as_of": backfill.as_of, "prefix": f"{backfill.id}/"})


def read_account_ids(path: Path) -> list[str]:
    """Return the ids of a file with one id per line, without repeats, blank lines and comments that start with #.

    Raises:
        ValueError: A line is not an account id (the message names it), or there are none, or more than MAX_ACCOUNTS.
        OSError: The file can't be read.
    """
    ids: dict[str, None] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            ids[checked(CheckedAccountId, text, f"{path} line {number}")] = None
    if not ids:
        raise ValueError(f"{path} has no account ids: expected one per line")
    if len(ids) > MAX_ACCOUNTS:
        raise ValueError(f"{path} has {len(ids)} accounts, a backfill at most {MAX_ACCOUNTS}: split it")
    return list(ids)


def left_to_do(wanted: Iterable[str], done: frozenset[str], run_size: int, at_once: int) -> list[Sequence[str]]:
    """Return the accounts that are left, in runs of at most `run_size`.

    The runs have equal sizes and come in multiples of `at_once`, so that they end together: one last run alone would
    use little of Gemini's capacity.
    """
    left = [account_id for account_id in wanted if account_id not in done]
    count = math.ceil(len(left) / run_size)
    if count > at_once:
        count = math.ceil(count / at_once) * at_once
    return [run for part in divide(max(1, count), left) if (run := tuple(part))]
