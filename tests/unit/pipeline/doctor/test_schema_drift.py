"""Schema drift: every difference that breaks the pipeline, and no other."""

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from pipeline.doctor.check import Status
from pipeline.doctor.schema_drift import add_columns_statement, extra_columns, missing_columns, schema_drift, view_drift
from pipeline.doctor.warehouse import ADD_COLUMNS, REBUILD, judge_table, judge_view
from schemas.tables import ACCOUNT_SCORES, ACCOUNTS, CRM_TABLES, OPPORTUNITIES, SCORING_TABLES, Column, Table
from schemas.views import CURRENT_ACCOUNT_SCORES
from transforms.clients.bigquery import TableDefinition


def _actual(table: Table, **changes: Any) -> TableDefinition:
    """Return a table as BigQuery describes it if it was created as defined."""
    as_defined = TableDefinition(
        kind="TABLE",
        columns=copy.deepcopy(table.columns),
        partition_column=table.partition_column,
        partition_type=table.partition_type if table.partition_column else None,
        clustering=table.clustering,
    )
    return replace(as_defined, **changes)


def _column(columns: list[Column], name: str) -> Column:
    return next(column for column in columns if column["name"] == name)


@pytest.mark.parametrize("table", [*SCORING_TABLES, *CRM_TABLES], ids=lambda table: table.name)
def test_a_table_created_as_defined_has_no_drift(table: Table) -> None:
    """With any columns, partitions and clusters."""
    assert schema_drift(table, _actual(table)) == []
    assert extra_columns(table, _actual(table)) == []


def test_aliases_of_a_type_are_not_drift() -> None:
    """BigQuery's REST API says INTEGER where SQL says INT64; a column without a mode is NULLABLE."""
    same = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
    columns = copy.deepcopy(ACCOUNT_SCORES.columns)
    for column in columns:
        column["type"] = same.get(column["type"], column["type"])
        if column["mode"] == "NULLABLE":
            del column["mode"]
    assert schema_drift(ACCOUNT_SCORES, _actual(ACCOUNT_SCORES, columns=columns)) == []


def test_each_difference_is_named() -> None:
    """A missing column, also a nested one; another type; another mode."""
    columns = [column for column in copy.deepcopy(ACCOUNT_SCORES.columns) if column["name"] != "tier"]
    _column(columns, "score")["type"] = "STRING"
    _column(columns, "summary")["mode"] = "REQUIRED"
    drivers = _column(columns, "drivers")
    drivers["fields"] = [field for field in drivers["fields"] if field["name"] != "factor"]
    actual = _actual(ACCOUNT_SCORES, columns=columns)
    assert schema_drift(ACCOUNT_SCORES, actual) == [
        "column score is STRING, not INTEGER",
        "column tier is missing",
        "column drivers.factor is missing",
        "column summary is REQUIRED, not NULLABLE",
    ]
    assert set(missing_columns(ACCOUNT_SCORES, actual)) == {"tier", "drivers.factor"}


@pytest.mark.parametrize(
    ("table", "changes", "drift"),
    [
        (ACCOUNT_SCORES, {"partition_column": None}, "is partitioned by nothing, not DAY of scored_at"),
        (
            OPPORTUNITIES,
            {"partition_type": "DAY"},
            "is partitioned by DAY of modified_at, not MONTH of modified_at",
        ),
        (
            ACCOUNTS,
            {"partition_column": "modified_at", "partition_type": "DAY"},
            "is partitioned by DAY of modified_at, not nothing",
        ),
        (ACCOUNT_SCORES, {"clustering": ("score", "tier")}, "is clustered by score, tier, not account_id"),
        (ACCOUNT_SCORES, {"kind": "VIEW"}, "is a VIEW, not a TABLE"),
    ],
)
def test_another_layout_is_drift(table: Table, changes: dict[str, Any], drift: str) -> None:
    """Partitioning, clustering, and a view instead of a table."""
    assert schema_drift(table, _actual(table, **changes)) == [drift]


def test_extra_columns_are_listed_and_ok() -> None:
    """A mirror may have more columns, also nested ones."""
    columns = [*copy.deepcopy(ACCOUNT_SCORES.columns), Column(name="our_own", type="STRING", mode="NULLABLE")]
    _column(columns, "drivers")["fields"].append(Column(name="weight", type="FLOAT", mode="NULLABLE"))
    actual = _actual(ACCOUNT_SCORES, columns=columns)
    assert schema_drift(ACCOUNT_SCORES, actual) == []
    assert set(extra_columns(ACCOUNT_SCORES, actual)) == {"our_own", "drivers.weight"}
    finding = judge_table(ACCOUNT_SCORES, actual, "p.account_scoring")
    assert finding.status is Status.OK
    assert "our_own" in finding.detail


def test_the_remedy_depends_on_the_difference() -> None:
    """Terraform can add columns to a table, but can't change the type of one."""
    columns = copy.deepcopy(ACCOUNTS.columns)
    without = judge_table(ACCOUNTS, _actual(ACCOUNTS, columns=columns[:-1]), "my-project.crm")
    assert (without.status, without.remedy) == (Status.FAILED, ADD_COLUMNS)
    columns[0]["type"] = "INTEGER"
    other = judge_table(ACCOUNTS, _actual(ACCOUNTS, columns=columns[:-1]), "my-project.crm")
    assert (other.status, other.remedy) == (Status.FAILED, REBUILD)


@pytest.mark.parametrize("table", [*SCORING_TABLES, ACCOUNTS, OPPORTUNITIES], ids=lambda table: table.name)
def test_a_statement_adds_the_columns_that_are_missing(table: Table) -> None:
    """BigQuery's SQL for all columns that can be added, with the types that the table has when it is created."""
    names = [column["name"] for column in table.columns if column["mode"] != "REQUIRED"]
    statement = add_columns_statement(table, names, "my-project.the_dataset")
    assert statement
    parsed = sqlglot.parse_one(statement, dialect="bigquery")
    added = {column.name: column.args["kind"].sql("bigquery") for column in parsed.find_all(exp.ColumnDef)}
    plain = {name: kind for name, kind in added.items() if name in names}
    fields = {column["name"]: column for column in table.columns}
    for name, kind in plain.items():
        assert kind.startswith("ARRAY<") == (fields[name]["mode"] == "REPEATED")
        assert not {"INTEGER", "FLOAT", "BOOLEAN", "RECORD"} & set(re.findall(r"[A-Z0-9]+", kind))
    assert set(plain) == set(names)
    (altered,) = parsed.find_all(exp.Table)
    assert altered.sql("bigquery") == f"`my-project.the_dataset.{table.name}`"


def test_what_sql_can_not_add_has_no_statement() -> None:
    """A REQUIRED column, and one of a record."""
    required = next(column["name"] for column in ACCOUNTS.columns if column["mode"] == "REQUIRED")
    assert add_columns_statement(ACCOUNTS, [required], "p.crm") is None
    assert add_columns_statement(ACCOUNT_SCORES, ["summary", "drivers.factor"], "p.account_scoring") is None


def test_a_view_of_another_release_is_drift() -> None:
    """Its query is compared, without white space; a server that does not return the query is ok."""
    query = CURRENT_ACCOUNT_SCORES.query.format(dataset="p.d")
    same = TableDefinition(kind="VIEW", query=f"  {query}\n")
    assert view_drift(CURRENT_ACCOUNT_SCORES, same, "p.d") == []
    assert view_drift(CURRENT_ACCOUNT_SCORES, same, "p.other") == ["its query differs"]
    assert view_drift(CURRENT_ACCOUNT_SCORES, TableDefinition(kind="TABLE"), "p.d") == ["is a TABLE, not a VIEW"]
    assert judge_view(CURRENT_ACCOUNT_SCORES, TableDefinition(kind="VIEW"), "p.d").status is Status.OK
