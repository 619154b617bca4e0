"""The BigQuery tables and views, generated from the models: a column can't part from the field that fills it."""

import datetime as dt
import types
from enum import StrEnum
from typing import Annotated, Any, Final, TypedDict, Union, get_args, get_origin

from pydantic import BaseModel

from schemas.account_context import AccountProfile, Call, Email, Opportunity
from schemas.dead_letter import DeadLetterRow
from schemas.outcome import Outcome
from schemas.record import Record
from schemas.score import Score


class Column(TypedDict, total=False):
    """A field of a table schema, as the BigQuery REST API and Terraform write it."""

    name: str
    type: str
    mode: str
    description: str
    fields: list["Column"]


class Table(Record):
    """A table: its rows' model, the column whose day (UTC) partitions it, and its clustering."""

    name: str
    model: type[BaseModel]
    partition_column: str | None = None
    partition_type: str = "DAY"
    clustering: tuple[str, ...] = ()

    @property
    def columns(self) -> list[Column]:
        """The table's schema."""
        return table_columns(self.model)


class View(Record):
    """A view; `query` has the placeholder `{dataset}` for `project.dataset`."""

    name: str
    query: str


_TYPES: Final[dict[Any, str]] = {
    str: "STRING",
    bool: "BOOLEAN",
    int: "INTEGER",
    float: "FLOAT",
    bytes: "BYTES",
    dt.datetime: "TIMESTAMP",
    dt.date: "DATE",
}


def table_columns(model: type[BaseModel]) -> list[Column]:
    """Return the columns that hold a model's fields: optional is NULLABLE, a tuple REPEATED, a model RECORD."""
    return [_column(name, field.annotation, field.description) for name, field in model.model_fields.items()]


def _column(name: str, annotation: Any, description: str | None) -> Column:
    inner, mode = _strip(annotation)
    column = Column(name=name, type="", mode=mode)
    if description:
        column["description"] = description
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        column["type"] = "RECORD"
        column["fields"] = table_columns(inner)
    elif isinstance(inner, type) and issubclass(inner, StrEnum):
        column["type"] = "STRING"
    else:
        column["type"] = _TYPES[inner]
    return column


def _strip(annotation: Any) -> tuple[Any, str]:
    """Return the type within optional, tuple and Annotated, and the column's mode."""
    if annotation.__class__.__name__ == "TypeAliasType":
        return _strip(annotation.__value__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _strip(arguments[0])
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _strip(inner)[0], "NULLABLE"
    if origin is tuple:
        return _strip(arguments[0])[0], "REPEATED"
    if getattr(annotation, "__name__", "") == "AwareDatetime":
        return dt.datetime, "REQUIRED"
    return annotation, "REQUIRED"


ACCOUNT_SCORES: Final = Table(
    name="account_scores", model=Score, partition_column="scored_at", clustering=("account_id",)
)
CHANGE_OUTCOMES: Final = Table(
    name="change_outcomes", model=Outcome, partition_column="recorded_at", clustering=("event_id", "account_id")
)
DEAD_LETTERS: Final = Table(
    name="dead_letters", model=DeadLetterRow, partition_column="failed_at", clustering=("error_class", "event_id")
)
SCORING_TABLES: Final = (ACCOUNT_SCORES, CHANGE_OUTCOMES, DEAD_LETTERS)

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

CURRENT_ACCOUNT_SCORES: Final = View(
    name="current_account_scores",
    # An account that has not changed for 400 days has no score worth reading, and history stays out of the bill.
    query="""\
SELECT * EXCEPT (recency)
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (
      PARTITION BY account_id
      ORDER BY change_committed_at DESC, change_sequence DESC, scored_at DESC, score_id
    ) AS recency
  FROM `{dataset}.account_scores`
  WHERE scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 400 DAY) AND shadow IS NOT TRUE
)
WHERE recency = 1 AND status = 'scored'
""",
)
SCORING_VIEWS: Final = (CURRENT_ACCOUNT_SCORES,)
