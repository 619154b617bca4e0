"""The BigQuery tables and views, generated from the models: a column can't part from the field that fills it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from msgspec import inspect
from msgspec.structs import fields
from pydantic import AwareDatetime

from schemas.account_context import AccountProfile, Call, Email, Opportunity
from schemas.dead_letter import DeadLetterRow
from schemas.outcome import Outcome
from schemas.record import TableRow, ValidatedModel
from schemas.replay import DeadLetterReplay, ReplayLease
from schemas.score import Score


class Column(TypedDict, total=False):
    """A field of a table schema, as the BigQuery REST API and Terraform write it."""

    name: str
    type: str
    mode: str
    description: str
    fields: list["Column"]


@dataclass(frozen=True)
class Table:
    """A table: its rows' record, the column whose day (UTC) partitions it, and its clustering."""

    name: str
    model: type[TableRow]
    partition_column: str | None = None
    partition_type: str = "DAY"
    clustering: tuple[str, ...] = ()

    @property
    def columns(self) -> list[Column]:
        """The table's schema."""
        return table_columns(self.model)


@dataclass(frozen=True)
class View:
    """A view; `query` has the placeholder `{dataset}` for `project.dataset`."""

    name: str
    query: str


_TYPES: Final[Mapping[type, str]] = {
    inspect.StrType: "STRING",
    inspect.EnumType: "STRING",
    inspect.BoolType: "BOOLEAN",
    inspect.IntType: "INTEGER",
    inspect.FloatType: "FLOAT",
    inspect.BytesType: "BYTES",
    inspect.DateTimeType: "TIMESTAMP",
    AwareDatetime: "TIMESTAMP",
    inspect.DateType: "DATE",
}


def table_columns(model: type[TableRow]) -> list[Column]:
    """Return the columns that hold a row's fields: optional is NULLABLE, a tuple REPEATED, a record RECORD."""
    if issubclass(model, ValidatedModel):
        return [_column(name, it.annotation, it.description) for name, it in model.model_fields.items()]
    return [_column(it.name, it.type) for it in fields(model)]


def _column(name: str, annotation: Any, description: str | None = None) -> Column:
    inner, mode = inspect.type_info(annotation), "REQUIRED"
    while True:
        match inner:
            case inspect.Metadata(type=inner, extra_json_schema=extra):
                description = (extra or {}).get("description", description)
            case inspect.UnionType(types=types):
                mode, (inner,) = "NULLABLE", (it for it in types if not isinstance(it, inspect.NoneType))
            case inspect.VarTupleType(item_type=inner):
                mode = "REPEATED"
            case _:
                break
    column = Column(name=name, type="RECORD", mode=mode)
    if description:
        column["description"] = description
    if isinstance(inner, inspect.StructType):
        column["fields"] = [_column(it.name, it.type) for it in fields(inner.cls)]
    else:
        column["type"] = _TYPES[inner.cls if isinstance(inner, inspect.CustomType) else type(inner)]
    return column


ACCOUNT_SCORES: Final = Table(
    name="account_scores", model=Score, partition_column="scored_at", clustering=("account_id",)
)
CHANGE_OUTCOMES: Final = Table(
    name="change_outcomes", model=Outcome, partition_column="recorded_at", clustering=("event_id", "account_id")
)
DEAD_LETTERS: Final = Table(
    name="dead_letters", model=DeadLetterRow, partition_column="failed_at", clustering=("error_class", "event_id")
)
DEAD_LETTER_REPLAYS: Final = Table(
    name="dead_letter_replays", model=DeadLetterReplay, partition_column="recorded_at", clustering=("replay_id",)
)
DEAD_LETTER_REPLAY_LEASE: Final = Table(name="dead_letter_replay_lease", model=ReplayLease)
SCORING_TABLES: Final = (ACCOUNT_SCORES, CHANGE_OUTCOMES, DEAD_LETTERS, DEAD_LETTER_REPLAYS, DEAD_LETTER_REPLAY_LEASE)

ACCOUNTS: Final = Table(name="accounts", model=AccountProfile, clustering=("account_id",))
OPPORTUNITIES: Final = Table(
    name="opportunities",
    model=Opportunity,
    partition_column="modified_at",
    partition_type="MONTH",
    clustering=("account_id",),
)
EMAILS: Final = Table(name="emails", model=Email, partition_column="sent_at", clustering=("account_id",))
CALLS: Final = Table(name="calls", model=Call, partition_column="started_at", clustering=("account_id",))
CRM_TABLES: Final = (ACCOUNTS, OPPORTUNITIES, EMAILS, CALLS)

HISTORY_DAYS: Final = 400
"""How far back the views read: an account that has not changed for longer has no score worth reading."""

_HISTORY: Final = f"scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {HISTORY_DAYS} DAY)"
SHOWN_SCORES: Final = "shadow IS NOT TRUE"
"""Scores of a version that is tried out are in the history, and in no view."""

# Commit order, whatever the order of arrival. Salesforce's times have seconds: of two changes within one, a deletion is
# the later, since nothing but UNDELETE follows it. The same change scored again has the score that was made last.
_NEWEST_FIRST: Final = """\
change_committed_at DESC, change_sequence DESC, IF(status = 'tombstone', 1, 0) DESC, scored_at DESC, score_id"""
_OLDEST_FIRST: Final = """\
change_committed_at, change_sequence, IF(status = 'tombstone', 1, 0), scored_at, score_id DESC"""

_NEWEST_ROWS: Final = f"""\
SELECT * EXCEPT (recency)
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY {_NEWEST_FIRST}) AS recency
  FROM `{{dataset}}.account_scores`
  WHERE {{since}} AND {SHOWN_SCORES}
)
WHERE recency = 1"""  # noqa: S608 - text of ours alone

CURRENT_ACCOUNT_SCORES: Final = View(
    name="current_account_scores",
    query=f"{_NEWEST_ROWS.replace('{since}', _HISTORY)} AND status = 'scored'\n",
)

SCORE_MOVEMENTS: Final = View(
    name="score_movements",
    # A row for each score and tombstone beside the one before it in commit order. A repeated row counts once.
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
""",  # noqa: S608 - text of ours alone
)
SCORING_VIEWS: Final = (CURRENT_ACCOUNT_SCORES, SCORE_MOVEMENTS)

LATEST_ACCOUNT_SCORES: Final = Table(name="latest_account_scores", model=Score, clustering=("account_id",))
"""One row an account, tombstones too: what MERGE_LATEST_SCORES keeps for the day when history is large.

It is none of SCORING_TABLES: whoever needs it creates it, see docs/warehouse.md.
"""

MERGE_WINDOW_DAYS: Final = 2
_MERGED: Final = f"scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {MERGE_WINDOW_DAYS} DAY)"
_COLUMNS: Final = Score.__struct_fields__

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
"""  # noqa: S608 - text of ours alone
"""The scheduled query: the same order as the view's, over the days that may hold rows that were not merged yet."""
