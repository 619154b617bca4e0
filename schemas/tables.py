"""The BigQuery tables, generated from the models that fill them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from msgspec import inspect
from msgspec.structs import fields
from pydantic import AwareDatetime

from schemas.account_context import AccountProfile, Call, Contact, Email, Opportunity
from schemas.dead_letter import DeadLetterRow
from schemas.outcome import Outcome
from schemas.record import TableRow, ValidatedModel
from schemas.replay import DeadLetterReplay, ReplayLeaseRow
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
DEAD_LETTER_REPLAY_LEASE: Final = Table(name="dead_letter_replay_lease", model=ReplayLeaseRow)
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
# Read by id, whatever the age of the record, so that partitions by time would only be scanned one by one.
CONTACTS: Final = Table(name="contacts", model=Contact, clustering=("contact_id",))
CRM_TABLES: Final = (ACCOUNTS, OPPORTUNITIES, EMAILS, CALLS, CONTACTS)

LATEST_ACCOUNT_SCORES: Final = Table(name="latest_account_scores", model=Score, clustering=("account_id",))
"""One row per account, tombstones included, which `schemas.views.MERGE_LATEST_SCORES` maintains.

Not in SCORING_TABLES: it is only needed once the history is large. docs/warehouse.md says how to create it.
"""
