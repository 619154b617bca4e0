"""One file per table and view for Terraform, generated from `schemas.tables` and `schemas.views`.

    python -m pipeline.resources.table_schemas infrastructure/schemas     # `make generate` does

Terraform creates a table or view from every file that it finds, so a new table needs no second definition.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from schemas.tables import CRM_TABLES, SCORING_TABLES, Table
from schemas.views import SCORING_VIEWS

_TABLES: Final = ((SCORING_DATASET, SCORING_TABLES), (CRM_DATASET, CRM_TABLES))


def table_definition(table: Table) -> dict[str, Any]:
    """Return a table as JSON: columns in BigQuery's form, partitioning (None: not partitioned) and clustering."""
    partition = {"type": table.partition_type, "field": table.partition_column} if table.partition_column else None
    return {"columns": table.columns, "partition": partition, "clustering": list(table.clustering)}


def schema_files() -> Mapping[str, str]:
    """Return the contents of the files by path: `tables/DATASET/NAME.json`, `views/DATASET/NAME.sql`.

    A view's SQL keeps the placeholder `{dataset}` for `project.dataset`.
    """
    tables = {
        f"tables/{dataset}/{table.name}.json": json.dumps(table_definition(table), indent=2) + "\n"
        for dataset, tables in _TABLES
        for table in tables
    }
    return tables | {f"views/{SCORING_DATASET}/{view.name}.sql": view.query for view in SCORING_VIEWS}


def read_schema_files(folder: Path) -> Mapping[str, str]:
    """Return the files of a folder, in the form of `schema_files`."""
    found = (path for pattern in ("tables/*/*.json", "views/*/*.sql") for path in folder.glob(pattern))
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}


def write_schema_files(folder: Path) -> None:
    """Write the files to a folder, and delete those of removed tables and views."""
    files = schema_files()
    for name in read_schema_files(folder).keys() - files.keys():
        (folder / name).unlink()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write_schema_files(Path(sys.argv[1]))
