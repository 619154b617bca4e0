"""The datasets that scores and the names of accounts are read from."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from pipeline.resources.datasets import check_dataset, open_warehouse
from pipeline.scores.queries import Query, account_names
from transforms.clients.bigquery import Rows, Warehouse, dataset_path
from transforms.errors import WarehouseUnavailable


@dataclass(frozen=True)
class ScoreSources:
    """Names of the project and its datasets; refused if they are not names, since they become part of queries."""

    project: str
    dataset: str
    crm_dataset: str

    def __post_init__(self) -> None:
        check_dataset(self.dataset)
        check_dataset(self.crm_dataset, "--crm-dataset")
        dataset_path(self.project, self.dataset)

    @property
    def scores(self) -> str:
        """`project.dataset` of the scores."""
        return dataset_path(self.project, self.dataset)

    def open_warehouse(self) -> AbstractContextManager[Warehouse]:
        """Return a connection to the scores; its errors name their dataset."""
        return open_warehouse(self.project, self.dataset)

    def mirrored(self, warehouse: Warehouse, account_ids: Sequence[str]) -> "MirroredAccounts":
        """Return what the mirror says of accounts.

        Whoever may read scores need not be allowed to read the mirror: then the names are missing, and the reason is
        given.
        """
        if not account_ids:
            return MirroredAccounts()
        try:
            rows = ask(warehouse, account_names(dataset_path(self.project, self.crm_dataset), account_ids))
        except WarehouseUnavailable as error:
            return MirroredAccounts(
                missing_because=f"{error} ({dataset_path(self.project, self.crm_dataset)}.accounts)"
            )
        return MirroredAccounts({row["account_id"]: row for row in rows})


@dataclass(frozen=True)
class MirroredAccounts:
    """Rows of the mirror by account id, or why it could not be read."""

    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    missing_because: str | None = None

    def name(self, account_id: str) -> str | None:
        """Return an account's name; None if the mirror lacks the account, or could not be read."""
        return self.rows[account_id]["name"] if account_id in self.rows else None


def ask(warehouse: Warehouse, query: Query) -> Rows:
    """Run a query, and return its rows.

    Raises:
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    return warehouse.query(query.sql, query.parameters)
