"""Terraform creates the tables that the pipeline writes to."""

import json
from pathlib import Path

from pipeline.resources.table_schemas import read_schema_files, schema_files, write_schema_files
from pipeline.resources.tables import create_tables
from schemas.tables import Table
from schemas.views import View

COMMITTED = Path(__file__).parents[4] / "infrastructure" / "schemas"


def test_committed_files_are_what_the_models_say() -> None:
    """A changed model or a new table changes the files that Terraform reads; `make generate` writes them."""
    assert read_schema_files(COMMITTED) == schema_files()


def test_terraform_makes_what_the_local_stack_makes() -> None:
    """Each dataset, table and view of `pipeline.resources.tables` has its file, and there are no other files."""

    class Recorder:
        def __init__(self) -> None:
            self.made: set[str] = set()

        def create_dataset(self, dataset: str) -> None:
            """Tables bring their dataset."""

        def create_table(self, dataset: str, table: Table) -> None:
            self.made.add(f"tables/{dataset}/{table.name}.json")

        def create_view(self, dataset: str, view: View) -> None:
            self.made.add(f"views/{dataset}/{view.name}.sql")

    recorder = Recorder()
    create_tables(recorder)  # type: ignore[arg-type] # all that it needs of a warehouse
    assert recorder.made == set(schema_files())


def test_files_of_tables_that_are_no_more_go(tmp_path: Path) -> None:
    """Writing deletes the files of removed tables."""
    stale = tmp_path / "tables" / "account_scoring" / "gone.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    write_schema_files(tmp_path)
    assert read_schema_files(tmp_path) == schema_files()


def test_partitioning_and_clustering_come_along() -> None:
    """A table's definition includes partitioning and clustering."""
    scores = json.loads(schema_files()["tables/account_scoring/account_scores.json"])
    assert scores["partition"] == {"type": "DAY", "field": "scored_at"}
    assert scores["clustering"] == ["account_id"]
    assert {"name": "account_id", "type": "STRING", "mode": "REQUIRED"}.items() <= scores["columns"][0].items()
    accounts = json.loads(schema_files()["tables/crm/accounts.json"])
    assert accounts["partition"] is None
