"""The queries behind `rescore scores` and `rescore account`; pure: names and values in, a text and its parameters out.

Scores are read through the views, which have the order of changes and the filter on partitions. Tables are filtered on
their partition columns here.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.views import NEWEST_FIRST
from transforms.clients.bigquery import QueryValue

# `accounts` counts what matches before the limit.
_HIGHEST_SQL: Final = """
SELECT
  s.account_id, s.score_id, s.score, s.tier, s.confidence, s.scored_at, s.change_committed_at, s.drivers,
  s.recommended_action, s.summary, s.changed_fields, s.flags, s.model, s.prompt_version, COUNT(*) OVER () AS accounts
FROM `{dataset}.current_account_scores` AS s
WHERE {condition}
ORDER BY s.score DESC, s.confidence DESC, s.account_id
LIMIT {limit}
"""
# A score has moved since a time if it is not the one that was current then. First scores and revived accounts had none.
_MOVED_SQL: Final = """
WITH
  movements AS (SELECT * FROM `{dataset}.score_movements`),
  then_current AS (
    SELECT account_id, status, score, tier
    FROM movements
    WHERE scored_at < @moved_since
    QUALIFY ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY {newest_first}) = 1
  ),
  last_move AS (
    SELECT account_id, scored_at, cause, changed_fields
    FROM movements
    WHERE scored_at >= @moved_since AND difference != 0
    QUALIFY ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY {newest_first}) = 1
  )
SELECT
  s.account_id, s.score_id, s.score, s.tier, s.confidence, s.scored_at, s.change_committed_at, s.drivers,
  s.recommended_action, s.summary, s.changed_fields, s.flags, s.model, s.prompt_version,
  t.score AS previous_score, t.tier AS previous_tier, s.score - t.score AS difference,
  m.scored_at AS moved_at, m.cause, m.changed_fields AS moved_by_fields, COUNT(*) OVER () AS accounts
FROM `{dataset}.current_account_scores` AS s
JOIN then_current AS t ON t.account_id = s.account_id
LEFT JOIN last_move AS m ON m.account_id = s.account_id
WHERE t.status = 'scored' AND s.score != t.score AND {condition}
ORDER BY ABS(s.score - t.score) DESC, s.score DESC, s.account_id
LIMIT {limit}
"""
_FIRST_SQL: Final = """
SELECT COUNT(*) AS accounts
FROM `{dataset}.current_account_scores` AS s
LEFT JOIN (
  SELECT DISTINCT account_id FROM `{dataset}.score_movements` WHERE scored_at < @moved_since AND status = 'scored'
) AS t ON t.account_id = s.account_id
WHERE t.account_id IS NULL AND {condition}
"""
_CURRENT_SQL: Final = """
SELECT * FROM `{dataset}.current_account_scores` WHERE account_id = @account_id
"""
_HISTORY_SQL: Final = """
SELECT
  account_id, score_id, previous_score_id, scored_at, change_committed_at, event_ids, status, score, previous_score,
  difference, tier, previous_tier, confidence, cause, changed_fields, drivers, summary, model, previous_model,
  model_version, previous_model_version, prompt_version, previous_prompt_version, pipeline_version, trace_id,
  COUNT(*) OVER () AS movements
FROM `{dataset}.score_movements`
WHERE account_id = @account_id
ORDER BY {newest_first}
LIMIT {limit}
"""
_NAMES_SQL: Final = """
SELECT account_id, MAX(name) AS name, MAX(modified_at) AS modified_at
FROM `{crm}.accounts`
WHERE account_id IN UNNEST(@account_ids)
GROUP BY account_id
"""
# Rows repeat where a bundle ran twice, so each of the four parts counts equal rows once.
_TIMELINE_SQL: Final = """
WITH
  ledger AS (
    SELECT
      MIN(recorded_at) AS happened_at, IF(outcome = 'received', 'event', 'outcome') AS kind, event_id, outcome AS what,
      COALESCE(reason, error_class, coalesced_into) AS why, stage, replay_count, MIN(entity_name) AS entity_name,
      MIN(change_type) AS change_type, MIN(committed_at) AS committed_at, MIN(message_id) AS message_id,
      MIN(trace_id) AS trace_id, MIN(pipeline_version) AS pipeline_version
    FROM `{dataset}.change_outcomes`
    WHERE account_id = @account_id AND recorded_at >= @since
    GROUP BY event_id, outcome, why, stage, replay_count, IFNULL(message_id, '')
  ),
  failed AS (
    SELECT DISTINCT
      failed_at, event_id, dead_letter_id, error_class, error_message, stage, replay_count, message_id, trace_id,
      pipeline_version
    FROM `{dataset}.dead_letters`
    WHERE account_id = @account_id AND failed_at >= @since
  ),
  replayed AS (
    SELECT DISTINCT
      entry.recorded_at, letter.event_id, letter.dead_letter_id, entry.replay_id, letter.fate,
      COALESCE(letter.parked_because, entry.reason) AS why, letter.replay_count, letter.published_message_id
    FROM `{dataset}.dead_letter_replays` AS entry, UNNEST(entry.letters) AS letter
    WHERE entry.recorded_at >= @since AND letter.account_id = @account_id
  ),
  scores AS (
    SELECT *
    FROM `{dataset}.account_scores`
    WHERE account_id = @account_id AND scored_at >= @since
    QUALIFY ROW_NUMBER() OVER (PARTITION BY score_id, IFNULL(shadow, FALSE) ORDER BY scored_at DESC) = 1
  ),
  entries AS (
    SELECT
      happened_at, kind, event_id, CAST(NULL AS STRING) AS dead_letter_id, CAST(NULL AS STRING) AS replay_id, what, why,
      stage, replay_count, entity_name, change_type, committed_at, CAST(NULL AS INT64) AS score,
      CAST(NULL AS STRING) AS tier, message_id, trace_id, pipeline_version
    FROM ledger
    UNION ALL
    SELECT
      failed_at, 'dead_letter', event_id, dead_letter_id, NULL, error_class, error_message, stage, replay_count, NULL,
      NULL, NULL, NULL, NULL, message_id, trace_id, pipeline_version
    FROM failed
    UNION ALL
    SELECT
      recorded_at, 'replay', event_id, dead_letter_id, replay_id, fate, why, NULL, replay_count, NULL, NULL, NULL, NULL,
      NULL, published_message_id, NULL, NULL
    FROM replayed
    UNION ALL
    SELECT
      scored_at, IF(shadow IS TRUE, 'shadow_score', 'score'), event_ids[SAFE_OFFSET(0)], NULL, NULL, status,
      ARRAY_TO_STRING(flags, ', '), NULL, NULL, NULL, NULL, change_committed_at, score, tier, NULL, trace_id,
      pipeline_version
    FROM scores
  )
SELECT *, COUNT(*) OVER () AS entries
FROM entries
ORDER BY happened_at DESC, event_id, kind
LIMIT {limit}
"""


@dataclass(frozen=True)
class Query:
    """A query's text and the values that are bound to it."""

    sql: str
    parameters: Mapping[str, QueryValue] = field(default_factory=dict)


def highest_scores(dataset: str, tiers: Sequence[str], limit: int) -> Query:
    """Return the query of the highest current scores.

    Args:
        dataset: `project.dataset` of the scores, as `dataset_path` returns it.
        tiers: Only scores of these tiers; of all, if it is empty.
        limit: Rows, at most.
    """
    condition, parameters = _of_tiers(tiers)
    return Query(_HIGHEST_SQL.format(dataset=dataset, condition=condition, limit=int(limit)), parameters)


def moved_scores(dataset: str, since: dt.datetime, tiers: Sequence[str], limit: int) -> Query:
    """Return the query of the accounts whose score is another than at a time, the largest movement first."""
    condition, parameters = _of_tiers(tiers)
    sql = _MOVED_SQL.format(dataset=dataset, condition=condition, newest_first=NEWEST_FIRST, limit=int(limit))
    return Query(sql, {"moved_since": since, **parameters})


def first_scores(dataset: str, since: dt.datetime, tiers: Sequence[str]) -> Query:
    """Return the query of how many accounts have a score, and had none before a time."""
    condition, parameters = _of_tiers(tiers)
    return Query(_FIRST_SQL.format(dataset=dataset, condition=condition), {"moved_since": since, **parameters})


def current_score(dataset: str, account_id: str) -> Query:
    """Return the query of an account's current score: one row, or none."""
    return Query(_CURRENT_SQL.format(dataset=dataset), {"account_id": account_id})


def score_history(dataset: str, account_id: str, limit: int) -> Query:
    """Return the query of an account's scores beside their predecessors, the newest first."""
    sql = _HISTORY_SQL.format(dataset=dataset, newest_first=NEWEST_FIRST, limit=int(limit))
    return Query(sql, {"account_id": account_id})


def account_names(crm: str, account_ids: Sequence[str]) -> Query:
    """Return the query of accounts' names in the mirror; `crm` is its `project.dataset`."""
    return Query(_NAMES_SQL.format(crm=crm), {"account_ids": list(account_ids)})


def account_timeline(dataset: str, account_id: str, since: dt.datetime, limit: int) -> Query:
    """Return the query of an account's events, outcomes, dead letters, replays and scores, the newest first."""
    sql = _TIMELINE_SQL.format(dataset=dataset, limit=int(limit))
    return Query(sql, {"account_id": account_id, "since": since})


def _of_tiers(tiers: Sequence[str]) -> tuple[str, dict[str, QueryValue]]:
    return ("s.tier IN UNNEST(@tiers)", {"tiers": list(tiers)}) if tiers else ("TRUE", {})
