"""The SQL of the BigQuery views over `account_scores`, and of the scheduled merge that can replace one of them."""

from dataclasses import dataclass
from typing import Final

from schemas.tables import LATEST_ACCOUNT_SCORES


@dataclass(frozen=True)
class View:
    """A view; `query` has the placeholder `{dataset}` for `project.dataset`."""

    name: str
    query: str


HISTORY_DAYS: Final = 400
"""How many days back the views read; an account without a change in that time has no current score."""

_HISTORY: Final = f"scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {HISTORY_DAYS} DAY)"
SHOWN_SCORES: Final = "shadow IS NOT TRUE"
"""Excludes shadow scores, which the history holds and no view shows."""

NEWEST_FIRST: Final = """\
change_committed_at DESC, change_sequence DESC, IF(status = 'tombstone', 1, 0) DESC, scored_at DESC, score_id"""
"""Commit order, independent of the order of arrival.

Salesforce's commit times have whole seconds: of two changes with the same time and sequence number a deletion counts as
the later one, since only an UNDELETE can follow it. If one change was scored several times, the latest score counts.
"""

_OLDEST_FIRST: Final = """\
change_committed_at, change_sequence, IF(status = 'tombstone', 1, 0), scored_at, score_id DESC"""

_NEWEST_ROWS: Final = f"""\
SELECT * EXCEPT (recency)
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY {NEWEST_FIRST}) AS recency
  FROM `{{dataset}}.account_scores`
  WHERE {{since}} AND {SHOWN_SCORES}
)
WHERE recency = 1"""  # noqa: S608 - all text is from this module

CURRENT_ACCOUNT_SCORES: Final = View(
    name="current_account_scores",
    query=f"{_NEWEST_ROWS.replace('{since}', _HISTORY)} AND status = 'scored'\n",
)

SCORE_MOVEMENTS: Final = View(
    name="score_movements",
    # One row per score or tombstone, next to its predecessor in commit order. Repeated rows count once.
    query=f"""\
WITH
  scores AS (
    SELECT * EXCEPT (copy)
    FROM (
      SELECT *, ROW_NUMBER() OVER (PARTITION BY account_id, score_id ORDER BY scored_at DESC) AS copy
      FROM `{{dataset}}.account_scores`
      WHERE {_HISTORY} AND {SHOWN_SCORES}
    )
    WHERE copy = 1
  ),
  pairs AS (
    SELECT
      *,
      LAG(score_id) OVER before AS previous_score_id,
      LAG(status) OVER before AS previous_status,
      LAG(score) OVER before AS previous_score,
      LAG(tier) OVER before AS previous_tier,
      LAG(scored_at) OVER before AS previous_scored_at,
      LAG(model) OVER before AS previous_model,
      LAG(model_version) OVER before AS previous_model_version,
      LAG(prompt_version) OVER before AS previous_prompt_version,
      LAG(context_hash) OVER before AS previous_context_hash
    FROM scores
    WINDOW before AS (PARTITION BY account_id ORDER BY {_OLDEST_FIRST})
  )
SELECT
  account_id, score_id, previous_score_id, scored_at, previous_scored_at, change_committed_at, change_sequence,
  event_ids, status, score, previous_score, score - previous_score AS difference, tier, previous_tier, confidence,
  CASE
    WHEN status = 'tombstone' THEN 'deleted'
    WHEN previous_score_id IS NULL THEN 'first_score'
    WHEN previous_status = 'tombstone' THEN 'revived'
    WHEN prompt_version IS DISTINCT FROM previous_prompt_version THEN 'prompt'
    WHEN model IS DISTINCT FROM previous_model THEN 'model'
    WHEN context_hash IS DISTINCT FROM previous_context_hash THEN 'facts'
    WHEN model_version IS DISTINCT FROM previous_model_version THEN 'model_version'
    ELSE 'nothing'
  END AS cause,
  changed_fields, drivers, summary, model, previous_model, model_version, previous_model_version, prompt_version,
  previous_prompt_version, pipeline_version, trace_id
FROM pairs
""",  # noqa: S608 - all text is from this module
)
SCORING_VIEWS: Final = (CURRENT_ACCOUNT_SCORES, SCORE_MOVEMENTS)

MERGE_WINDOW_DAYS: Final = 2
_MERGED: Final = f"scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {MERGE_WINDOW_DAYS} DAY)"
_COLUMNS: Final = tuple(column["name"] for column in LATEST_ACCOUNT_SCORES.columns)

MERGE_LATEST_SCORES: Final = f"""\
MERGE `{{dataset}}.latest_account_scores` AS kept
USING (
{_NEWEST_ROWS.replace("{since}", _MERGED)}
) AS came
ON kept.account_id = came.account_id
WHEN MATCHED AND (
  came.change_committed_at > kept.change_committed_at
  OR came.change_committed_at = kept.change_committed_at AND (
    came.change_sequence > kept.change_sequence
    OR came.change_sequence = kept.change_sequence AND (
      came.status = 'tombstone' AND kept.status != 'tombstone'
      OR (came.status = 'tombstone') = (kept.status = 'tombstone') AND (
        came.scored_at > kept.scored_at
        OR came.scored_at = kept.scored_at AND came.score_id < kept.score_id
      )
    )
  )
) THEN
  UPDATE SET {", ".join(f"{name} = came.{name}" for name in _COLUMNS)}
WHEN NOT MATCHED THEN
  INSERT ({", ".join(_COLUMNS)})
  VALUES ({", ".join(f"came.{name}" for name in _COLUMNS)})
"""  # noqa: S608 - all text is from this module
"""The scheduled query: orders rows as the views do, over the last days that can hold rows not merged yet."""
