"""Read from the CRM mirror to which accounts related records belong, one query a batch.

A table that the mirror lacks has no records: those ids are not found there, and the log says so once.
"""

import datetime as dt
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from cachetools import TTLCache

from schemas.salesforce_ids import normalize_account_id
from schemas.tables import CONTACTS, OPPORTUNITIES, Table
from transforms.clients.bigquery import QueryValue, Rows, dataset_path, is_missing, shared_warehouse
from transforms.errors import WarehouseUnavailable
from transforms.logs import get_logger
from transforms.process import once_per_process

OLDEST_RECORD: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""Older than any record: one that was not touched for years can change today. The table requires a filter."""

MISSING_SECONDS: Final = 600.0
"""How long a table that the mirror lacks is not asked for again."""

_log = get_logger(__name__)


class MirrorTable(NamedTuple):
    """A table that has the accounts of records, and the key prefix of their ids."""

    table: Table
    id_column: str
    prefix: str

    @property
    def parameter(self) -> str:
        """Name of the query's parameter for the ids."""
        return f"{self.id_column}s"


MIRROR_TABLES: Final = (
    MirrorTable(OPPORTUNITIES, "opportunity_id", "006"),
    MirrorTable(CONTACTS, "contact_id", "003"),
)


class Mirror(Protocol):
    """What is needed of the warehouse."""

    project: str

    def look_up(self, sql: str, parameters: Mapping[str, QueryValue]) -> Rows:
        """Run a query."""


def owners_query(crm: str, tables: Iterable[MirrorTable]) -> str:
    """Return the query over some of the tables; `crm` is `project.dataset`, from the configuration."""
    return "\nUNION ALL\n".join(_select(crm, table) for table in tables)


def _select(crm: str, it: MirrorTable) -> str:
    partition = f" AND {it.table.partition_column} >= @since" if it.table.partition_column else ""
    return (
        f"SELECT {it.id_column} AS record_id, account_id, modified_at FROM `{crm}.{it.table.name}` "  # noqa: S608 - names of ours
        f"WHERE {it.id_column} IN UNNEST(@{it.parameter}){partition}"
    )


def accounts_of_rows(rows: Iterable[Mapping[str, Any]]) -> dict[str, str | None]:
    """Return the account of each record, None if it has none; the newest of several rows of a record counts."""
    newest: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        kept = newest.get(row["record_id"])
        if kept is None or row["modified_at"] > kept["modified_at"]:
            newest[row["record_id"]] = row
    return {record_id: _account_id(row["account_id"]) for record_id, row in newest.items()}


def _account_id(text: str | None) -> str | None:
    """Return an account's id in 18 characters; None for a text that is none, as if the record had no account."""
    try:
        return normalize_account_id(text) if text else None
    except ValueError:
        return None


class MirrorOwners:
    """Asks one mirror for the accounts of records, for all threads of a process.

    It knows for a while which tables the mirror lacks.
    """

    def __init__(self, mirror: Mirror, crm_dataset: str) -> None:
        self.mirror, self.crm_dataset = mirror, crm_dataset
        self._missing: TTLCache[str, bool] = TTLCache(len(MIRROR_TABLES), MISSING_SECONDS)
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def find(self, record_ids: Iterable[str]) -> tuple[dict[str, str | None], int]:
        """Return the accounts of the records that the mirror has, and the number of queries.

        Raises:
            WarehouseUnavailable: BigQuery did not answer.
        """
        ids = sorted(set(record_ids))
        wanted = {it: [id_ for id_ in ids if id_.startswith(it.prefix)] for it in MIRROR_TABLES}
        with self._lock:
            tables = [it for it, some in wanted.items() if some and it.table.name not in self._missing]
        if not tables:
            return {}, 0
        try:
            return accounts_of_rows(self._ask(tables, wanted)), 1
        except WarehouseUnavailable as error:
            if not is_missing(error):
                raise
        return self._find_apart(tables, wanted)

    def _find_apart(
        self, tables: list[MirrorTable], wanted: Mapping[MirrorTable, list[str]]
    ) -> tuple[dict[str, str | None], int]:
        """Ask each table by itself, since one of them does not exist."""
        rows: list[Mapping[str, Any]] = []
        for it in tables:
            try:
                rows += self._ask([it], wanted)
            except WarehouseUnavailable as error:
                if not is_missing(error):
                    raise
                self._remember_missing(it.table.name)
        return accounts_of_rows(rows), 1 + len(tables)

    def _ask(self, tables: list[MirrorTable], wanted: Mapping[MirrorTable, list[str]]) -> Rows:
        parameters: dict[str, QueryValue] = {it.parameter: wanted[it] for it in tables}
        if any(it.table.partition_column for it in tables):
            parameters["since"] = OLDEST_RECORD
        crm = dataset_path(self.mirror.project, self.crm_dataset)
        return self.mirror.look_up(owners_query(crm, tables), parameters)

    def _remember_missing(self, name: str) -> None:
        with self._lock:
            self._missing[name] = True
            is_new = name not in self._told
            self._told.add(name)
        if is_new:
            _log.warning("the mirror lacks a table: its records are not looked up there", table=name)


@once_per_process
def shared_mirror_owners(project: str, crm_dataset: str) -> MirrorOwners:
    """Return this process's connection to a mirror."""
    return MirrorOwners(shared_warehouse(project), crm_dataset)
