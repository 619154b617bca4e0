"""How a table or a view differs from its definition in the code."""

from collections.abc import Iterator, Sequence

from schemas.tables import Column, Table
from schemas.views import View
from transforms.clients.bigquery import TableDefinition

_SAME_TYPE = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
_SQL_NAME = {rest: sql for sql, rest in _SAME_TYPE.items()}
"""SQL's names of the types that BigQuery's REST API names differently."""


def schema_drift(expected: Table, actual: TableDefinition) -> list[str]:
    """Return one phrase for each difference; columns that only the table has are not one.

    Nested columns are named with a dot: `drivers.factor`.
    """
    return [
        *_kind_drift("TABLE", actual.kind),
        *(f"column {name} {how or 'is missing'}" for name, how in _differences(expected.columns, actual.columns)),
        *_layout_drift("partitioned by", _partitioning(expected), _partitioning(actual)),
        *_layout_drift("clustered by", ", ".join(expected.clustering), ", ".join(actual.clustering)),
    ]


def missing_columns(expected: Table, actual: TableDefinition) -> list[str]:
    """Return the names of the columns that a table lacks; Terraform can add them."""
    return [name for name, how in _differences(expected.columns, actual.columns) if how is None]


def add_columns_statement(table: Table, missing: Sequence[str], dataset: str) -> str | None:
    """Return the statement that adds columns to a table of `project.dataset`.

    None: SQL can't add one of them, since it belongs to a record or is REQUIRED.
    """
    columns = {column["name"]: column for column in table.columns}
    if not all(name in columns and _mode(columns[name]) != "REQUIRED" for name in missing):
        return None
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {name} {_sql_type(columns[name])}" for name in missing)
    return f"ALTER TABLE `{dataset}.{table.name}` {added}"


def _sql_type(column: Column) -> str:
    kind = _type(column)
    if kind == "RECORD":
        fields = ", ".join(f"{field['name']} {_sql_type(field)}" for field in column["fields"])
        kind = f"STRUCT<{fields}>"
    kind = _SQL_NAME.get(kind, kind)
    return f"ARRAY<{kind}>" if _mode(column) == "REPEATED" else kind


def extra_columns(expected: Table, actual: TableDefinition) -> list[str]:
    """Return the names of the columns that only the table has."""
    return [name for name, how in _differences(actual.columns, expected.columns) if how is None]


def view_drift(expected: View, actual: TableDefinition, dataset: str) -> list[str]:
    """Return one phrase for each difference but white space; `dataset` is `project.dataset`."""
    drift = _kind_drift("VIEW", actual.kind)
    wanted = expected.query.format(dataset=dataset)
    if actual.query is not None and actual.query.split() != wanted.split():
        drift.append("its query differs")
    return drift


def _kind_drift(expected: str, actual: str) -> list[str]:
    return [] if actual == expected else [f"is a {actual}, not a {expected}"]


def _differences(
    these: Sequence[Column], those: Sequence[Column], prefix: str = ""
) -> Iterator[tuple[str, str | None]]:
    """Yield the name of each of `these` columns that differs in `those`, and how; None: it is missing there."""
    by_name = {column["name"].lower(): column for column in those}
    for column in these:
        name, other = f"{prefix}{column['name']}", by_name.get(column["name"].lower())
        if other is None:
            yield name, None
        elif _type(other) != _type(column):
            yield name, f"is {_type(other)}, not {_type(column)}"
        else:
            if _mode(other) != _mode(column):
                yield name, f"is {_mode(other)}, not {_mode(column)}"
            yield from _differences(column.get("fields", ()), other.get("fields", ()), f"{name}.")


def _layout_drift(how: str, expected: str, actual: str) -> list[str]:
    return [] if actual == expected else [f"is {how} {actual or 'nothing'}, not {expected or 'nothing'}"]


def _partitioning(table: Table | TableDefinition) -> str:
    return f"{table.partition_type} of {table.partition_column}" if table.partition_column else ""


def _type(column: Column) -> str:
    return _SAME_TYPE.get(column["type"].upper(), column["type"].upper())


def _mode(column: Column) -> str:
    return column.get("mode", "NULLABLE").upper()
