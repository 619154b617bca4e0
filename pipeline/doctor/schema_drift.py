"""How a table or a view differs from its definition in the code."""

from collections.abc import Iterator, Sequence

from schemas.tables import Column, Table
from schemas.views import View
from transforms.clients.bigquery import TableDefinition

_SAME_TYPE = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}


def schema_drift(expected: Table, actual: TableDefinition) -> list[str]:
    """Return one phrase for each difference; columns that only the table has are not one.

    Nested columns are named with a dot: `drivers.factor`.
    """
    return [
        *_kind_drift("TABLE", actual.kind),
        *_column_drift("", expected.columns, actual.columns),
        *_layout_drift("partitioned by", _partitioning(expected), _partitioning(actual)),
        *_layout_drift("clustered by", ", ".join(expected.clustering), ", ".join(actual.clustering)),
    ]


def missing_columns(expected: Table, actual: TableDefinition) -> list[str]:
    """Return the names of the columns that a table lacks; Terraform can add them."""
    return [name for name, column in _pairs("", expected.columns, actual.columns) if column is None]


def extra_columns(expected: Table, actual: TableDefinition) -> list[str]:
    """Return the names of the columns that only the table has."""
    return [name for name, column in _pairs("", actual.columns, expected.columns) if column is None]


def view_drift(expected: View, actual: TableDefinition, dataset: str) -> list[str]:
    """Return one phrase for each difference but white space; `dataset` is `project.dataset`."""
    drift = _kind_drift("VIEW", actual.kind)
    wanted = expected.query.format(dataset=dataset)
    if actual.query is not None and actual.query.split() != wanted.split():
        drift.append("its query differs")
    return drift


def _kind_drift(expected: str, actual: str) -> list[str]:
    return [] if actual == expected else [f"is a {actual}, not a {expected}"]


def _column_drift(prefix: str, expected: Sequence[Column], actual: Sequence[Column]) -> Iterator[str]:
    by_name = {column["name"].lower(): column for column in actual}
    for wanted in expected:
        name, found = f"{prefix}{wanted['name']}", by_name.get(wanted["name"].lower())
        if found is None:
            yield f"column {name} is missing"
            continue
        if _type(found) != _type(wanted):
            yield f"column {name} is {_type(found)}, not {_type(wanted)}"
            continue
        if _mode(found) != _mode(wanted):
            yield f"column {name} is {_mode(found)}, not {_mode(wanted)}"
        yield from _column_drift(f"{name}.", wanted.get("fields", ()), found.get("fields", ()))


def _pairs(prefix: str, these: Sequence[Column], those: Sequence[Column]) -> Iterator[tuple[str, Column | None]]:
    """Yield the name of each of `these` columns, with the column of the same name in `those` or None."""
    by_name = {column["name"].lower(): column for column in those}
    for column in these:
        name, other = f"{prefix}{column['name']}", by_name.get(column["name"].lower())
        yield name, other
        if other is not None:
            yield from _pairs(f"{name}.", column.get("fields", ()), other.get("fields", ()))


def _layout_drift(how: str, expected: str, actual: str) -> list[str]:
    return [] if actual == expected else [f"is {how} {actual or 'nothing'}, not {expected or 'nothing'}"]


def _partitioning(table: Table | TableDefinition) -> str:
    return f"{table.partition_type} of {table.partition_column}" if table.partition_column else ""


def _type(column: Column) -> str:
    return _SAME_TYPE.get(column["type"].upper(), column["type"].upper())


def _mode(column: Column) -> str:
    return column.get("mode", "NULLABLE").upper()
