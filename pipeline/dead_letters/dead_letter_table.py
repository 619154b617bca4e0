"""Queries over the table `dead_letters`; free text stays in BigQuery unless a dead letter is shown."""

import base64
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter
from pipeline.dead_letters.held_dead_letter import MAX_REPLAYS
from schemas.dead_letter import REPLAYED_AFTER, DeadLetterRow
from schemas.record import from_row
from schemas.tables import ACCOUNT_SCORES, CHANGE_OUTCOMES, DEAD_LETTER_REPLAYS, DEAD_LETTERS
from transforms.clients.bigquery import QueryValue, Warehouse

SAMPLE_SIZE: Final = 1_000
"""Payloads that are read to estimate what a replay would do."""

MIN_ID_CHARACTERS: Final = 6
_ID_CHARACTERS: Final = frozenset("0123456789abcdef")

# Rows repeat where a bundle ran twice: dead letters are counted by their ids.
_MATCHING: Final = """
WITH
  journalled AS (
    SELECT DISTINCT letter.dead_letter_id FROM `{journal}` AS entry, UNNEST(entry.letters) AS letter
  ),
  matching AS (
    SELECT * FROM (
      SELECT
        row_.*,
        journalled.dead_letter_id IS NOT NULL AS is_journalled,
        row_.replay_count >= {max_replays} OR EXISTS (
          SELECT 1 FROM UNNEST(row_.attributes) AS attribute
          WHERE attribute.key = '{replayed_after}'
            AND attribute.value = CONCAT(row_.error_class, '@', row_.pipeline_version)
        ) AS is_to_park
      FROM `{dead_letters}` AS row_
      LEFT JOIN journalled ON journalled.dead_letter_id = row_.dead_letter_id
    )
    WHERE {condition}
  )
"""
_GROUPS_SQL: Final = """{matching}
SELECT
  error_class,
  stage,
  COUNT(DISTINCT dead_letter_id) AS dead_letters,
  COUNT(DISTINCT account_id) AS accounts,
  COUNT(DISTINCT IF(is_journalled, dead_letter_id, NULL)) AS replayed,
  COUNT(DISTINCT IF(is_to_park AND NOT is_journalled, dead_letter_id, NULL)) AS to_park,
  LOGICAL_OR(retryable) AS retryable,
  MIN(failed_at) AS first_failed_at,
  MAX(failed_at) AS last_failed_at,
  MAX_BY(dead_letter_id, CONCAT(CAST(failed_at AS STRING), dead_letter_id)) AS example_id,
  MAX_BY(error_message, CONCAT(CAST(failed_at AS STRING), dead_letter_id)) AS example_message
FROM matching
GROUP BY error_class, stage
ORDER BY dead_letters DESC, error_class, stage
"""
# The id is a hash, so the first rows by id are a random sample.
_SAMPLE_SQL: Final = """{matching}
SELECT dead_letter_id, ANY_VALUE(payload_base64) AS payload_base64
FROM matching
WHERE NOT is_journalled AND (NOT is_to_park OR {is_forced})
GROUP BY dead_letter_id
ORDER BY dead_letter_id
LIMIT {limit}
"""
_TOKENS_SQL: Final = """
SELECT AVG(prompt_tokens) AS prompt_tokens, AVG(output_tokens) AS output_tokens
FROM `{scores}`
WHERE scored_at >= @since AND status = 'scored'
"""
_DEAD_LETTER_SQL: Final = """
SELECT * FROM `{dead_letters}` WHERE STARTS_WITH(dead_letter_id, @dead_letter_id)
QUALIFY ROW_NUMBER() OVER (PARTITION BY dead_letter_id ORDER BY failed_at) = 1
LIMIT 2
"""
_REPLAYS_SQL: Final = """
SELECT DISTINCT
  entry.replay_id, entry.recorded_at, entry.actor, entry.reason, letter.fate, letter.parked_because,
  letter.replay_count, letter.published_message_id
FROM `{journal}` AS entry, UNNEST(entry.letters) AS letter
WHERE letter.event_id = @event_id AND IFNULL(letter.account_id, '') = @account_id
ORDER BY recorded_at
"""
_OUTCOMES_SQL: Final = """
SELECT DISTINCT outcome, COALESCE(reason, error_class) AS why, stage, replay_count, recorded_at, pipeline_version
FROM `{ledger}`
WHERE event_id = @event_id AND IFNULL(account_id, '') = @account_id
ORDER BY replay_count, recorded_at
LIMIT 100
"""


@dataclass(frozen=True)
class DeadLetterGroup:
    """The dead letters of a class and stage; a replay has taken `replayed` of them, and would park `to_park`."""

    error_class: str
    stage: str
    dead_letters: int
    accounts: int
    replayed: int
    to_park: int
    retryable: bool
    first_failed_at: dt.datetime
    last_failed_at: dt.datetime
    example_id: str
    example_message: str


class DeadLetterTable:
    """`dead_letters` of one dataset, with their replays and ledger rows; calls raise WarehouseUnavailable."""

    def __init__(self, warehouse: Warehouse, dataset: str) -> None:
        self._warehouse = warehouse
        tables = {
            "dead_letters": DEAD_LETTERS,
            "journal": DEAD_LETTER_REPLAYS,
            "ledger": CHANGE_OUTCOMES,
            "scores": ACCOUNT_SCORES,
        }
        self._tables = {key: f"{warehouse.project}.{dataset}.{table.name}" for key, table in tables.items()}

    def groups(self, dead_letter_filter: DeadLetterFilter) -> list[DeadLetterGroup]:
        """Return the dead letters that match by class and stage, the largest group first."""
        return [DeadLetterGroup(**dict(row)) for row in self._matching(_GROUPS_SQL, dead_letter_filter)]

    def sample(self, dead_letter_filter: DeadLetterFilter, *, is_forced: bool = False) -> list[bytes | None]:
        """Return payloads of a sample of what a replay would publish; None where the row does not hold the payload."""
        rows = self._matching(_SAMPLE_SQL, dead_letter_filter, is_forced=is_forced)
        return [base64.b64decode(row["payload_base64"]) if row["payload_base64"] else None for row in rows]

    def tokens_a_score(self, since: dt.datetime) -> float | None:
        """Return the average tokens per score since a time, input and output; None if there are no scores."""
        (row,) = self._query(_TOKENS_SQL, since=since)
        return None if row["prompt_tokens"] is None else float(row["prompt_tokens"] + (row["output_tokens"] or 0))

    def dead_letter(self, dead_letter_id: str) -> DeadLetterRow:
        """Return the dead letter whose id is, or starts with, the one given.

        Raises:
            ValueError: None matches, or more than one.
        """
        text = dead_letter_id.strip().lower()
        if len(text) < MIN_ID_CHARACTERS or not set(text) <= _ID_CHARACTERS:
            raise ValueError(
                f"{dead_letter_id!r} is not a dead letter's id: "
                f"expected {MIN_ID_CHARACTERS} or more hex digits, as `list` prints"
            )
        rows = self._query(_DEAD_LETTER_SQL, dead_letter_id=text)
        if len(rows) != 1:
            raise ValueError(f"{'no' if not rows else 'more than one'} dead letter has an id that starts with {text}")
        return from_row(DeadLetterRow, rows[0])

    def replays(self, row: DeadLetterRow) -> list[Mapping[str, Any]]:
        """Return the replays of a dead letter's change, the oldest first."""
        return self._query(_REPLAYS_SQL, event_id=row.event_id, account_id=row.account_id or "")

    def outcomes(self, row: DeadLetterRow) -> list[Mapping[str, Any]]:
        """Return the ledger's rows of a dead letter's change, before and after its replays."""
        return self._query(_OUTCOMES_SQL, event_id=row.event_id, account_id=row.account_id or "")

    def _matching(
        self, sql: str, dead_letter_filter: DeadLetterFilter, *, is_forced: bool = False
    ) -> list[Mapping[str, Any]]:
        condition, parameters = dead_letter_filter.where()
        matching = _MATCHING.format(
            **self._tables, condition=condition, max_replays=MAX_REPLAYS, replayed_after=REPLAYED_AFTER
        )
        names = {"matching": matching, "limit": SAMPLE_SIZE, "is_forced": "TRUE" if is_forced else "FALSE"}
        return list(self._warehouse.query(sql.format(**names), parameters))

    def _query(self, sql: str, **parameters: QueryValue) -> list[Mapping[str, Any]]:
        return list(self._warehouse.query(sql.format(**self._tables), parameters))
