"""Insert rows, hold them while BigQuery does not answer, and tell a faulty row from a faulty service."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apache_beam.io.gcp.bigquery import RetryStrategy

from schemas.tables import Table
from transforms.clients.bigquery import shared_warehouse
from transforms.clients.halved_inserts import RefusedRow
from transforms.clients.outage import OutageSettings, shared_outage_gate
from transforms.errors import RowRejected, WarehouseUnavailable
from transforms.process import once_per_process

Rows = Mapping[str, Mapping[str, Any]]
"""JSON rows by insert id; BigQuery drops a repeated insert id on a best-effort basis."""

RowError = RowRejected | WarehouseUnavailable

_UNKNOWN_REASON: Final = "unknown"

_NO_COLUMN: Final = "no such field"
NEW_COLUMN_SECONDS: Final = 600.0
"""How long a column may be unknown after it was added: streaming inserts cache a table's schema for some minutes.

Source: https://github.com/googleapis/google-cloud-ruby/issues/3805.
"""


class NewColumns:
    """Since when a table's rows are refused for a column that BigQuery does not know; shared by a process's threads.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    def may_appear(self) -> bool:
        """Return whether such a row may be taken later: for some minutes after the first refusal."""
        if self._since is None:
            self._since = self._clock()
        return self._clock() < self._since + NEW_COLUMN_SECONDS


@once_per_process
def shared_new_columns(_table: str) -> NewColumns:
    """Return this process's memory of a table's unknown columns."""
    return NewColumns()


class RowsHeldBack(WarehouseUnavailable):
    """BigQuery answered, and did not take some rows for a transient reason."""


def refusal_reasons(errors: Iterable[Any]) -> str:
    """Return BigQuery's reasons and the columns they name, without its messages, which can quote values."""
    named = [error for error in errors if isinstance(error, dict)]
    return ", ".join(sorted({f"{_reason(error)} at {error.get('location') or 'the row'}" for error in named}))


def lacks_column(errors: Iterable[Any]) -> bool:
    """Return whether BigQuery refused a row only because the table has no such column, as far as it knows."""
    named = [error for error in errors if isinstance(error, dict)]
    return bool(named) and all(str(error.get("message") or "").startswith(_NO_COLUMN) for error in named)


def is_transient(errors: Iterable[Any]) -> bool:
    """Return whether BigQuery may take the same row later; by Beam's own list of transient reasons."""
    strategy = RetryStrategy.RETRY_ON_TRANSIENT_ERROR
    named = [error for error in errors if isinstance(error, dict)]
    return bool(named) and all(RetryStrategy.should_retry(strategy, _reason(error)) for error in named)


def _reason(error: Mapping[str, Any]) -> str:
    return str(error.get("reason") or _UNKNOWN_REASON)


@dataclass(frozen=True)
class HeldInserts:
    """Inserts into one table."""

    project: str
    dataset: str
    table: Table
    outage: OutageSettings

    def insert(self, rows: Rows, on_wait: Callable[[float], None]) -> dict[str, RowError]:
        """Insert rows; return those that are not in the table, with the reason.

        Rows that BigQuery refuses for a transient reason are sent again without the others, until the outage deadline;
        then their error is WarehouseUnavailable.

        Args:
            rows: At most as many as one request may hold.
            on_wait: Called with the seconds for which work stood still, as they pass.

        Raises:
            WarehouseUnavailable: BigQuery did not answer before the outage deadline; some rows may be in the table.
        """
        left, failed = dict(rows), dict[str, RowError]()
        warehouse = shared_warehouse(self.project)

        def ask() -> None:
            refused = warehouse.insert_rows(self.dataset, self.table, left)
            transient = {row.row_id for row in refused if self._may_be_taken(row)}
            failed.update({row.row_id: self._rejected(row) for row in refused if row.row_id not in transient})
            for row_id in left.keys() - transient:
                del left[row_id]
            if left:
                raise RowsHeldBack(f"BigQuery: {self.table.name}: {_reasons_of(refused, transient)}")

        try:
            shared_outage_gate(f"BigQuery inserts {self.project}.{self.dataset}.{self.table.name}", self.outage).call(
                ask, on_wait
            )
        except RowsHeldBack as error:
            failed.update(dict.fromkeys(left, error))
        return failed

    def _may_be_taken(self, row: RefusedRow) -> bool:
        if lacks_column(row.errors):
            return shared_new_columns(f"{self.project}.{self.dataset}.{self.table.name}").may_appear()
        return is_transient(row.errors)

    def _rejected(self, row: RefusedRow) -> RowRejected:
        return RowRejected(f"{self.dataset}.{self.table.name} refused the row: {refusal_reasons(row.errors)}")


def _reasons_of(refused: Sequence[RefusedRow], row_ids: set[str]) -> str:
    return refusal_reasons(error for row in refused if row.row_id in row_ids for error in row.errors)
