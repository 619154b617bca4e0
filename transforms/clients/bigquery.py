"""BigQuery, at its edge: the one module that imports google.cloud.bigquery, and maps its exceptions.

The client goes to BIGQUERY_EMULATOR_HOST where that is set: Google's client honours it, no code here knows.
"""

import datetime as dt
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import google.auth.exceptions
import orjson
import requests.exceptions
import structlog
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.cloud import bigquery

from schemas.record import TableRow, to_row
from schemas.tables import Column, Table, View
from transforms.clients.circuit import within
from transforms.clients.query_guard import GuardedQuery, GuardRules, QueryRefused, guard_query
from transforms.errors import WarehouseUnavailable
from transforms.process import once_per_process

T = TypeVar("T")
QueryValue = str | int | float | dt.datetime | list[str]
"""What can be bound to a query's parameter."""

CALL_TIMEOUT_SECONDS: Final = 30.0
RETRY_DEADLINE_SECONDS: Final = 60.0

LOOKUP_DEADLINE_SECONDS: Final = 25.0
"""For a query that a batch waits for, and for an insert: all of it, with its retries and every byte of its answer."""

PROBE_SECONDS: Final = 6.0
"""For a question about what there is, which is asked once."""

LOOKUP_JOB_SECONDS: Final = 20.0
"""After which BigQuery itself ends the job of such a query, so that it costs no more slots."""

LOOKUP_CALL_SECONDS: Final = 10.0
LOOKUP_RETRY_SECONDS: Final = 10.0
"""Retries of such a call: longer than most hiccups; what lasts longer is an outage (transforms/clients/outage.py)."""
_log = structlog.stdlib.get_logger(__name__)

_VENDOR_ERRORS: Final = (
    api.GoogleAPIError,
    google.auth.exceptions.GoogleAuthError,
    requests.exceptions.RequestException,
)


@dataclass(frozen=True)
class RefusedRow:
    """A row that BigQuery did not take: its identity, and BigQuery's errors."""

    row_id: str
    errors: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class TableDefinition:
    """A table or a view as BigQuery has it.

    Args:
        kind: TABLE, VIEW, or another of BigQuery's.
        columns: Its schema.
        partition_column: None: it is not partitioned by a column.
        partition_type: DAY, MONTH, ...; None: it is not partitioned by time.
        clustering: Columns that it is clustered by.
        query: A view's; None: it is none, or BigQuery did not tell.
    """

    kind: str
    columns: Sequence[Column] = ()
    partition_column: str | None = None
    partition_type: str | None = None
    clustering: tuple[str, ...] = ()
    query: str | None = None


class Warehouse:
    """A connection to BigQuery in one project; calls end within the deadline, or raise WarehouseUnavailable."""

    def __init__(self, project: str) -> None:
        self.project = project
        self._client = bigquery.Client(project=project)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()  # type: ignore[no-untyped-call]

    def query(self, sql: str, parameters: Mapping[str, QueryValue] | None = None) -> Iterator[Mapping[str, Any]]:
        """Run a query with bound parameters and yield its rows."""
        bound = [_parameter(name, value) for name, value in (parameters or {}).items()]
        yield from self._rows(sql, bigquery.QueryJobConfig(query_parameters=bound))

    def look_up(self, sql: str, parameters: Mapping[str, QueryValue]) -> list[Mapping[str, Any]]:
        """Run a query that a batch waits for, and return its rows, all within a total deadline.

        Raises:
            WarehouseUnavailable: BigQuery did not answer in time, or refused.
        """
        config = bigquery.QueryJobConfig(
            query_parameters=[_parameter(name, value) for name, value in parameters.items()],
            job_timeout_ms=int(1_000 * LOOKUP_JOB_SECONDS),
        )
        return self._in_time("query", lambda: list(self._rows(sql, config)))

    def _in_time(self, what: str, ask: Callable[[], T]) -> T:
        try:
            return within(LOOKUP_DEADLINE_SECONDS, ask)
        except TimeoutError:
            raise WarehouseUnavailable(f"BigQuery: {what}: no answer within {LOOKUP_DEADLINE_SECONDS:g} s") from None

    def _rows(self, sql: str, config: bigquery.QueryJobConfig) -> Iterator[Mapping[str, Any]]:
        is_lookup = config.job_timeout_ms is not None
        try:
            rows = self._client.query_and_wait(
                sql,
                job_config=config,
                api_timeout=LOOKUP_CALL_SECONDS if is_lookup else CALL_TIMEOUT_SECONDS,
                wait_timeout=LOOKUP_DEADLINE_SECONDS if is_lookup else RETRY_DEADLINE_SECONDS,
                retry=_LOOKUP_RETRY if is_lookup else Retry(predicate=is_transient, timeout=RETRY_DEADLINE_SECONDS),
                # The client's own retries of whole jobs would go on for ten minutes.
                job_retry=None,  # type: ignore[arg-type] # documented, though the annotation lacks it
            )
            if not rows.schema and rows.job_id:
                # No columns: a statement without a result, or a failed query that came back as no rows.
                self._client.get_job(rows.job_id, location=rows.location, timeout=CALL_TIMEOUT_SECONDS).result()
            yield from rows
        except _VENDOR_ERRORS as error:
            raise _unavailable("query", error) from error

    def guarded_query(
        self, sql: str, parameters: Mapping[str, QueryValue] | None = None, *, rules: GuardRules
    ) -> list[Mapping[str, Any]]:
        """Run an ad-hoc query as the query guard lets it run, and return its rows.

        What was added to it, BigQuery's estimate of what it reads, and how long it took are logged.

        Raises:
            QueryRefused: The guard refuses it, or it would read more than the rules allow.
            WarehouseUnavailable: BigQuery did not answer, or can't run it.
        """
        guarded = guard_query(sql, rules)
        bound = [_parameter(name, value) for name, value in (parameters or {}).items()]
        started = time.monotonic()
        estimate = self._estimated_bytes(guarded, bound)
        if estimate > rules.max_bytes_billed:
            raise QueryRefused(
                f"the query would read {estimate:,} bytes, {rules.max_bytes_billed:,} at most are allowed: "
                "read fewer days or columns"
            )
        config = bigquery.QueryJobConfig(query_parameters=bound, maximum_bytes_billed=rules.max_bytes_billed)
        rows = list(self._rows(guarded.sql, config))
        _log.info(
            "query ran",
            estimated_bytes=estimate,
            added=list(guarded.added),
            rows=len(rows),
            bigquery_query_duration_seconds=round(time.monotonic() - started, 3),
        )
        return rows

    def _estimated_bytes(self, guarded: GuardedQuery, bound: Sequence[Any]) -> int:
        """Return what BigQuery says a query would read, without running it."""
        config = bigquery.QueryJobConfig(query_parameters=bound, dry_run=True, use_query_cache=False)
        try:
            job = self._client.query(
                guarded.sql,
                job_config=config,
                timeout=CALL_TIMEOUT_SECONDS,
                retry=Retry(predicate=is_transient, timeout=RETRY_DEADLINE_SECONDS),
                job_retry=None,
            )
        except _VENDOR_ERRORS as error:
            raise _unavailable("query estimate", error) from error
        return job.total_bytes_processed or 0

    def insert_rows(self, dataset: str, table: Table, rows: Mapping[str, Mapping[str, Any]]) -> list[RefusedRow]:
        """Stream rows into a table, and return those that BigQuery refused.

        Args:
            dataset: The table's dataset.
            table: The table.
            rows: JSON rows by their identity, for which BigQuery tries to take a repeated row only once.

        Raises:
            WarehouseUnavailable: BigQuery did not answer, or refused the request as a whole.
        """
        what, ids = f"insert into {dataset}.{table.name}", list(rows)

        def insert() -> Sequence[Mapping[str, Any]]:
            return self._client.insert_rows_json(
                f"{self.project}.{dataset}.{table.name}",
                list(rows.values()),
                row_ids=ids,
                skip_invalid_rows=True,
                retry=_LOOKUP_RETRY,
                timeout=LOOKUP_CALL_SECONDS,
            )

        try:
            entries = self._in_time(what, insert)
        except _VENDOR_ERRORS as error:
            raise _unavailable(what, error) from error
        return [RefusedRow(ids[entry["index"]], entry["errors"]) for entry in entries]

    def create_dataset(self, dataset: str) -> None:
        """Create a dataset if it is not there."""
        try:
            self._client.create_dataset(f"{self.project}.{dataset}", exists_ok=True, timeout=CALL_TIMEOUT_SECONDS)
        except _VENDOR_ERRORS as error:
            raise _unavailable(f"dataset {dataset}", error) from error

    def create_table(self, dataset: str, table: Table) -> None:
        """Create a table, partitioned and clustered as its model says, if it is not there."""
        definition = bigquery.Table(f"{self.project}.{dataset}.{table.name}", schema=_schema(table))
        if table.partition_column:
            definition.time_partitioning = bigquery.TimePartitioning(
                type_=table.partition_type, field=table.partition_column
            )
        definition.clustering_fields = list(table.clustering) or None
        try:
            self._client.create_table(definition, exists_ok=True, timeout=CALL_TIMEOUT_SECONDS)
        except _VENDOR_ERRORS as error:
            raise _unavailable(f"table {dataset}.{table.name}", error) from error

    def create_view(self, dataset: str, view: View) -> None:
        """Create a view if it is not there."""
        definition = bigquery.Table(f"{self.project}.{dataset}.{view.name}")
        definition.view_query = view.query.format(dataset=f"{self.project}.{dataset}")
        try:
            self._client.create_table(definition, exists_ok=True, timeout=CALL_TIMEOUT_SECONDS)
        except _VENDOR_ERRORS as error:
            raise _unavailable(f"view {dataset}.{view.name}", error) from error

    def find_dataset(self, dataset: str) -> None:
        """Look for a dataset; a question of one attempt, as those below.

        Raises:
            WarehouseUnavailable: It is not there, or BigQuery did not say; the cause is BigQuery's error.
        """
        try:
            self._client.get_dataset(f"{self.project}.{dataset}", retry=None, timeout=PROBE_SECONDS)  # type: ignore[arg-type] # documented
        except _VENDOR_ERRORS as error:
            raise _unavailable(f"dataset {dataset}", error) from error

    def table_definition(self, dataset: str, name: str) -> TableDefinition:
        """Return a table or a view as it is.

        Raises:
            WarehouseUnavailable: It is not there, or BigQuery did not say; the cause is BigQuery's error.
        """
        try:
            table = self._client.get_table(f"{self.project}.{dataset}.{name}", retry=None, timeout=PROBE_SECONDS)  # type: ignore[arg-type] # documented
        except _VENDOR_ERRORS as error:
            raise _unavailable(f"table {dataset}.{name}", error) from error
        partitioning = table.time_partitioning
        return TableDefinition(
            kind=table.table_type or "TABLE",
            columns=[cast("Column", field.to_api_repr()) for field in table.schema],
            partition_column=partitioning.field if partitioning else None,
            partition_type=partitioning.type_ if partitioning else None,
            clustering=tuple(table.clustering_fields or ()),
            query=table.view_query,
        )

    def granted_permissions(self, dataset: str, name: str, permissions: Sequence[str]) -> frozenset[str] | None:
        """Return which of these permissions the credentials have on a table; None: BigQuery does not tell.

        Raises:
            WarehouseUnavailable: BigQuery did not answer; the cause is BigQuery's error.
        """
        try:
            answer = self._client.test_iam_permissions(
                f"{self.project}.{dataset}.{name}",
                permissions,
                retry=None,  # type: ignore[arg-type] # documented
                timeout=PROBE_SECONDS,
            )
        except (api.NotFound, api.MethodNotAllowed, api.MethodNotImplemented):
            return None
        except _VENDOR_ERRORS as error:
            raise _unavailable(f"permissions on {dataset}.{name}", error) from error
        return frozenset(answer.get("permissions", ()))

    def replace_rows(self, dataset: str, table: Table, rows: Iterable[TableRow]) -> int:
        """Load rows in place of those a table has, with one load job; return how many."""
        lines = [orjson.dumps(to_row(row)) for row in rows]
        if not lines:
            # An upload of no bytes has no end that the client would see.
            list(self.query(f"TRUNCATE TABLE `{self.project}.{dataset}.{table.name}`"))
            return 0
        config = bigquery.LoadJobConfig(
            schema=_schema(table), source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_TRUNCATE"
        )
        try:
            self._client.load_table_from_file(
                io.BytesIO(b"\n".join(lines)), f"{self.project}.{dataset}.{table.name}", job_config=config
            ).result(timeout=RETRY_DEADLINE_SECONDS)
        except _VENDOR_ERRORS as error:
            raise _unavailable(f"load into {dataset}.{table.name}", error) from error
        return len(lines)


def _parameter(name: str, value: QueryValue) -> bigquery.ArrayQueryParameter | bigquery.ScalarQueryParameter:
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, "STRING", value)
    kind = next(kind for python, kind in _PARAMETER_TYPES.items() if isinstance(value, python))
    return bigquery.ScalarQueryParameter(name, kind, value)


_PARAMETER_TYPES: Final[Mapping[type, str]] = {
    str: "STRING",
    int: "INT64",
    float: "FLOAT64",
    dt.datetime: "TIMESTAMP",
}


def _schema(table: Table) -> list[bigquery.SchemaField]:
    return [bigquery.SchemaField.from_api_repr(dict(column)) for column in table.columns]


def is_transient(error: Exception) -> bool:
    """Whether BigQuery may answer the same call if it is asked again."""
    if isinstance(error, api.Forbidden):
        # BigQuery says so of calls that come too fast, and of what is forbidden for good.
        return any(isinstance(it, dict) and it.get("reason") in _TRANSIENT_REASONS for it in error.errors)
    return isinstance(
        error,
        api.TooManyRequests
        | api.InternalServerError
        | api.BadGateway
        | api.ServiceUnavailable
        | api.GatewayTimeout
        | requests.exceptions.ConnectionError
        | requests.exceptions.ChunkedEncodingError
        | requests.exceptions.Timeout
        | google.auth.exceptions.TransportError,
    )


_TRANSIENT_REASONS: Final = frozenset({"rateLimitExceeded", "jobRateLimitExceeded", "backendError"})
_LOOKUP_RETRY: Final = Retry(
    predicate=is_transient, initial=0.25, maximum=4.0, multiplier=2.0, timeout=LOOKUP_RETRY_SECONDS
)


def _unavailable(what: str, error: Exception) -> WarehouseUnavailable:
    # The vendor's text can quote the statement; its class and status can't. Of retries that ran out, the last counts.
    cause = getattr(error, "cause", None) or error
    status = getattr(cause, "code", None)
    return WarehouseUnavailable(f"BigQuery: {what}: {type(cause).__name__}{f' {int(status)}' if status else ''}")


@once_per_process
def shared_warehouse(project: str) -> Warehouse:
    """Return this process's connection to BigQuery in a project."""
    return Warehouse(project)
