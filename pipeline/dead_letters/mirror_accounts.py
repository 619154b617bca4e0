"""Which accounts the CRM mirror has: a replay of `account_not_found` helps only those."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

from more_itertools import chunked

from pipeline.ledger.explanation import Decision, Explanation
from pipeline.resources.datasets import open_warehouse
from schemas.change_event import AccountChange
from schemas.tables import ACCOUNTS
from transforms.clients.bigquery import Warehouse, dataset_path
from transforms.enrich.context_overlay import context_from_change
from transforms.parse.account_changes import ParsedRecord

MAX_IDS: Final = 5_000
"""Account ids in one query."""

_PRESENT_SQL: Final = f"SELECT account_id FROM `{{crm}}.{ACCOUNTS.name}` WHERE account_id IN UNNEST(@account_ids)"  # noqa: S608 - constant name


def account_to_look_up(record: ParsedRecord, explanation: Explanation) -> str | None:
    """Return the account that the mirror must have for a change to be scored; None if it needs none.

    An event that has the account's name and two more values is scored without the mirror.
    """
    if explanation.decision is not Decision.RESCORE or not isinstance(record, AccountChange):
        return None
    return record.account_id if context_from_change(record) is None else None


class MirrorAccounts:
    """Asks the mirror for each account once; calls raise WarehouseUnavailable."""

    def __init__(self, warehouse: Warehouse, crm_dataset: str) -> None:
        self._warehouse = warehouse
        self._sql = _PRESENT_SQL.format(crm=dataset_path(warehouse.project, crm_dataset))
        self._is_present: dict[str, bool] = {}

    def missing(self, account_ids: Collection[str]) -> frozenset[str]:
        """Return those of the accounts that the mirror lacks."""
        new = [account_id for account_id in dict.fromkeys(account_ids) if account_id not in self._is_present]
        for some in chunked(new, MAX_IDS):
            found = {row["account_id"] for row in self._warehouse.query(self._sql, {"account_ids": some})}
            self._is_present |= {account_id: account_id in found for account_id in some}
        return frozenset(account_id for account_id in account_ids if not self._is_present[account_id])


@contextmanager
def open_mirror(project: str, crm_dataset: str) -> Iterator[MirrorAccounts]:
    """Yield the accounts of a mirror; its errors name the mirror's dataset.

    Raises:
        ValueError: The dataset is not a name.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    with open_warehouse(project, crm_dataset, "--crm-dataset") as warehouse:
        yield MirrorAccounts(warehouse, crm_dataset)
