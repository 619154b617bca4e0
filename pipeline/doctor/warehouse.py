"""Checks of BigQuery: datasets, tables and views against the code, queries, and permissions."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from pipeline.doctor.advice import CREATE_AGAIN, Advice
from pipeline.doctor.check import Check, Finding, Shared, Status
from pipeline.doctor.permissions import READ, ROLES, SEE_TABLE, WRITE, Needs, Persona, grant, judge, needed
from pipeline.doctor.schema_drift import (
    add_columns_statement,
    extra_columns,
    missing_columns,
    schema_drift,
    view_drift,
)
from schemas.tables import (
    ACCOUNT_SCORES,
    ACCOUNTS,
    CHANGE_OUTCOMES,
    CRM_TABLES,
    DEAD_LETTER_REPLAY_LEASE,
    DEAD_LETTER_REPLAYS,
    DEAD_LETTERS,
    SCORING_TABLES,
    Table,
)
from schemas.views import SCORING_VIEWS, View
from transforms.clients.bigquery import TableDefinition, Warehouse, dataset_path, project_and_dataset

ADD_COLUMNS: Final = "infrastructure/deploy.sh tables ENVIRONMENT, of this release, adds the columns"
REBUILD: Final = (
    "a table's columns can't be changed: copy its rows, drop it, terraform apply in infrastructure, copy them back"
)
_EXTRAS_SHOWN: Final = 5

SCORING_NEEDS: Final[Needs] = {
    ACCOUNT_SCORES.name: {Persona.PIPELINE: (READ, WRITE)},
    CHANGE_OUTCOMES.name: {Persona.PIPELINE: (READ, WRITE), Persona.REPLAY: (READ,)},
    DEAD_LETTERS.name: {Persona.PIPELINE: (WRITE,), Persona.REPLAY: (READ,)},
    DEAD_LETTER_REPLAYS.name: {Persona.REPLAY: (READ, WRITE)},
    DEAD_LETTER_REPLAY_LEASE.name: {Persona.REPLAY: (READ, WRITE)},
}
CRM_NEEDS: Final[Needs] = {table.name: {Persona.PIPELINE: (READ,)} for table in CRM_TABLES} | {
    ACCOUNTS.name: {Persona.PIPELINE: (READ,), Persona.REPLAY: (READ,)}
}


class BigQuery:
    """The checks of a project's datasets, on one shared connection."""

    def __init__(self, project: str, dataset: str, crm_dataset: str) -> None:
        self._project = project
        self._dataset = dataset
        self._crm_dataset = crm_dataset
        self._warehouse: Shared[Warehouse] = Shared(lambda: Warehouse(project))

    def close(self) -> None:
        """Close the connection."""
        self._warehouse.close(Warehouse.close)

    def checks(self) -> Iterator[Check]:
        """Yield a check for each dataset, table and view, and one for queries."""
        yield from self.table_checks()
        yield Check("queries", self._run_query, self._advice(grant("roles/bigquery.jobUser")))

    def table_checks(self) -> Iterator[Check]:
        """Yield a check for each dataset, table and view."""
        role = grant("roles/bigquery.metadataViewer")
        seeing = {dataset: self._advice(role, dataset) for dataset in (self._dataset, self._crm_dataset)}
        for dataset, advice in seeing.items():
            yield Check(f"dataset {dataset}", partial(self._look_at_dataset, dataset), advice)
        for dataset, tables in ((self._dataset, SCORING_TABLES), (self._crm_dataset, CRM_TABLES)):
            for table in tables:
                name = f"table {dataset}.{table.name}"
                yield Check(name, partial(self._look_at_table, dataset, table), seeing[dataset])
        for view in SCORING_VIEWS:
            yield Check(f"view {self._dataset}.{view.name}", partial(self._look_at_view, view), seeing[self._dataset])

    def permission_checks(self, persona: Persona) -> Iterator[Check]:
        """Yield a check for each table that a persona needs permissions on."""
        for dataset, needs in ((self._dataset, SCORING_NEEDS), (self._crm_dataset, CRM_NEEDS)):
            for name, wanted in needed(needs, persona).items():
                role = " and ".join(dict.fromkeys(ROLES[permission] for permission in (SEE_TABLE, *wanted)))
                yield Check(
                    f"permissions on table {dataset}.{name}",
                    partial(self._ask_for_permissions, dataset, name, wanted),
                    self._advice(grant(role), dataset),
                )

    def _advice(self, refused: str, dataset: str = "") -> Advice:
        owner, name = project_and_dataset(self._project, dataset or self._dataset)
        missing = CREATE_AGAIN
        if owner != self._project:
            refused = (
                f"have the owner of {owner} grant these credentials roles/bigquery.dataViewer on its dataset {name}"
            )
            missing = f"have the owner of {owner} create it: infrastructure/schemas/tables/crm has the columns"
        return Advice("BigQuery", "bigquery.googleapis.com", self._project, refused=refused, missing=missing)

    def _look_at_dataset(self, dataset: str) -> Finding:
        self._warehouse.get().find_dataset(dataset)
        return Finding(Status.OK, "exists")

    def _look_at_table(self, dataset: str, table: Table) -> Finding:
        actual = self._warehouse.get().table_definition(dataset, table.name)
        return judge_table(table, actual, dataset_path(self._project, dataset))

    def _look_at_view(self, view: View) -> Finding:
        actual = self._warehouse.get().table_definition(self._dataset, view.name)
        return judge_view(view, actual, f"{self._project}.{self._dataset}")

    def _ask_for_permissions(self, dataset: str, name: str, wanted: tuple[str, ...]) -> Finding:
        return judge(wanted, self._warehouse.get().granted_permissions(dataset, name, wanted))

    def _run_query(self) -> Finding:
        self._warehouse.get().look_up("SELECT 1 AS one", {})
        return Finding(Status.OK, "a query that reads nothing succeeded")


def judge_table(expected: Table, actual: TableDefinition, dataset: str) -> Finding:
    """Return how a table differs from its definition, and what fixes it; `dataset` is `project.dataset`.

    Columns can be added to a table that has rows, in a record too; any other difference needs a new table.
    """
    if drift := schema_drift(expected, actual):
        missing = missing_columns(expected, actual)
        remedy = _to_add(expected, missing, dataset) if len(missing) == len(drift) else REBUILD
        return Finding(Status.FAILED, "; ".join(drift), remedy)
    extra = extra_columns(expected, actual)
    more = f", and {len(extra) - _EXTRAS_SHOWN} more" if len(extra) > _EXTRAS_SHOWN else ""
    told = f"; additional: {', '.join(extra[:_EXTRAS_SHOWN])}{more}" if extra else ""
    return Finding(Status.OK, f"as defined, {len(expected.columns)} columns{told}")


def _to_add(table: Table, missing: Sequence[str], dataset: str) -> str:
    """Return how to add columns: by Terraform, or by one statement, which can't add a column within a record."""
    statement = add_columns_statement(table, missing, dataset)
    return f"{ADD_COLUMNS}; or: bq query --use_legacy_sql=false '{statement}'" if statement else ADD_COLUMNS


def judge_view(expected: View, actual: TableDefinition, dataset: str) -> Finding:
    """Return how a view differs from its definition; `dataset` is `project.dataset`."""
    if drift := view_drift(expected, actual, dataset):
        return Finding(Status.FAILED, "; ".join(drift), CREATE_AGAIN)
    if actual.query is None:
        return Finding(Status.OK, "exists; the server does not return its query")
    return Finding(Status.OK, "as defined")
