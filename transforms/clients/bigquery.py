"""Client of BigQuery: the one module that imports google.cloud.bigquery, and maps its exceptions.

Google's client goes to BIGQUERY_EMULATOR_HOST where that variable is set.
"""

import datetime as dt
import io
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import google.auth.exceptions
import orjson
import requests.exceptions
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.cloud import bigquery
from google.cloud.bigquery.table import RowIterator
from requests.adapters import HTTPAdapter

from schemas.identifiers import DatasetPath, ProjectId, checked
from schemas.record import TableRow, to_row
from schemas.tables import Column, Table
from schemas.views import View
from transforms.clients.deadlines import within
from transforms.clients.halved_inserts import RefusedRow, insert_or_halve, is_malformed
from transforms.errors import WarehouseUnavailable
from transforms.logs import get_logger
from transforms.process import once_per_process

if TYPE_CHECKING:
    from transforms.clients.query_guard import GuardRules

T = TypeVar("T")
Rows = list[Mapping[str, Any]]
QueryValue = str | int | float | dt.datetime | list[str]
"""What can be bound to a query's parameter."""

MAX_BYTES_BILLED: Final = 2**40
"""BigQuery refuses, free of charge, a query that could read more: 1 TiB, which costs about 6 US dollars on demand.

For clustered tables it compares an upper bound: the named columns of all named partitions. A lookup of 40 accounts
counts as all e-mails of its 540 days, although it reads a few blocks. So this limit stops mistakes; it is no budget.
"""

CALL_TIMEOUT_SECONDS: Final = 30.0
RETRY_DEADLINE_SECONDS: Final = 60.0

PATIENCE_SECONDS: Final = 8.0
"""For one answer to a query that a person waits for, and for its retries; the query itself may take longer."""

LOOKUP_DEADLINE_SECONDS: Final = 25.0
"""For a query that a batch waits for, and for an insert: with retries, and every byte of the answer."""

LOOKUP_CALL_SECONDS: Final = 10.0
LOOKUP_RETRY_SECONDS: Final = 10.0
"""Longer than most hiccups; what lasts longer is an outage (transforms/clients/outage.py)."""

POOLED_CONNECTIONS: Final = 64
"""Connections to keep: a worker has 24 threads, which read and write at once, and calls that were given up."""

PROBE_SECONDS: Final = 6.0
"""For calls that look at a dataset or a table, which are made once."""

_log = get_logger(__name__)

_VENDOR_ERRORS: Final = (
    api.GoogleAPIError,
    google.auth.exceptions.GoogleAuthError,
    requests.exceptions.RequestException,
)


@dataclass(frozen=True)
class TableDefinition:
    """A table or a view as BigQuery has it.

    Args:
        kind: TABLE, VIEW, or another of BigQuery's.
        columns: Its schema.
        partition_column: None if it is not partitioned by a column.
        partition_type: DAY, MONTH, ...; None if it is not partitioned by time.
        clustering: Columns that it is clustered by.
        query: Of a view; None for a table, or if BigQuery did not say.
    """

    kind: str
    columns: Sequence[Column] = ()
    partition_column: str | None = None
    partition_type: str | None = None
    clustering: tuple[str, ...] = ()
    query: str | None = None


@dataclass(frozen=True)
class QueryLimits:
    """How much a query may read, and how long it may take.

    Args:
        bytes_billed: BigQuery refuses the query if it could read more.
        job_seconds: BigQuery ends the job after this time, so that it uses no more slots.
        wait_seconds: How long the client waits for the job's result.
        call_seconds: How long it waits for one HTTP answer.
        retry_seconds: How long it retries a call.
    """

    bytes_billed: int = MAX_BYTES_BILLED
    job_seconds: float = 60.0
    wait_seconds: float = 60.0
    call_seconds: float = CALL_TIMEOUT_SECONDS
    retry_seconds: float = RETRY_DEADLINE_SECONDS


REPORT_LIMITS: Final = QueryLimits(call_seconds=PATIENCE_SECONDS, retry_seconds=PATIENCE_SECONDS)
"""Of queries that a person waits for."""

LOOKUP_LIMITS: Final = QueryLimits(
    job_seconds=20.0,
    wait_seconds=LOOKUP_DEADLINE_SECONDS,
    call_seconds=LOOKUP_CALL_SECONDS,
    retry_seconds=LOOKUP_RETRY_SECONDS,
)
"""Of queries that a batch waits for."""


class Warehouse:
    """A connection to BigQuery in one project; each call ends within its deadline or raises WarehouseUnavailable."""

    def __init__(self, project: str) -> None:
        self.project = project
        self._client = bigquery.Client(project=project)
        # requests keeps 10, and opens and closes one for each further thread's call.
        self._client._http.mount("https://", HTTPAdapter(pool_maxsize=POOLED_CONNECTIONS))  # noqa: SLF001 - no other way
        self._client._http.mount("http://", HTTPAdapter(pool_maxsize=POOLED_CONNECTIONS))  # noqa: SLF001 - an emulator's

    def close(self) -> None:
        """Close the connections."""
        self._client.close()  # type: ignore[no-untyped-call]

    def query(self, sql: str, parameters: Mapping[str, QueryValue] | None = None) -> Rows:
        """Run a query of ours that a person waits for, and return its rows.

        Raises:
            WarehouseUnavailable: BigQuery did not answer in time, or refused.
        """
        return self._run(sql, REPORT_LIMITS, parameters or {})

    def rows(self, sql: str, parameters: Mapping[str, QueryValue], *, page: int = 5_000) -> Iterator[Mapping[str, Any]]:
        """Run a query of ours, and yield its rows as their pages come: one page is in memory.

        Raises:
            WarehouseUnavailable: BigQuery did not answer in time, or refused.
        """
        with _mapped("query"):
            yield from self._send(sql, REPORT_LIMITS, parameters, page=page)

    def look_up(self, sql: str, parameters: Mapping[str, QueryValue]) -> Rows:
        """Run a query of ours that a batch waits for, and return its rows, all within a total deadline.

        Raises:
            WarehouseUnavailable: BigQuery did not answer in time, or refused.
        """
        return self._in_time("query", lambda: self._run(sql, LOOKUP_LIMITS, parameters))

    def guarded_query(
        self, sql: str, parameters: Mapping[str, QueryValue] | None = None, *, rules: "GuardRules"
    ) -> Rows:
        """Run a query that a person or a client of the API composed, if the query guard admits it; return its rows.

        BigQuery's estimate of the bytes that it reads is logged before it runs, and how long it took afterwards.

        Raises:
            QueryRefused: The guard refuses it.
            WarehouseUnavailable: BigQuery did not answer or can't run it, or it could read more than the rules allow.
        """
        from transforms.clients.query_guard import guard_query  # noqa: PLC0415 - sqlglot takes 0.1 s to import

        guarded, bound = guard_query(sql, rules), parameters or {}
        limits = replace(REPORT_LIMITS, bytes_billed=rules.max_bytes_billed)
        with _mapped("query estimate"):
            estimate = self._send(guarded, limits, bound, dry_run=True).total_bytes_processed
        _log.info("query estimated", estimated_bytes=estimate)
        started = time.monotonic()
        rows = self._run(guarded, limits, bound)
        seconds = round(time.monotonic() - started, 3)
        _log.info("query ran", rows=len(rows), bigquery_query_duration_seconds=seconds)
        return rows

    def _run(self, sql: str, limits: QueryLimits, parameters: Mapping[str, QueryValue]) -> Rows:
        with _mapped("query"):
            rows = self._send(sql, limits, parameters)
            if not rows.schema and rows.job_id:
                # No columns: a statement without a result, or a failed query that came back without rows.
                self._client.get_job(rows.job_id, location=rows.location, timeout=CALL_TIMEOUT_SECONDS).result(
                    timeout=CALL_TIMEOUT_SECONDS
                )
            return list(rows)

    def _send(
        self,
        sql: str,
        limits: QueryLimits,
        parameters: Mapping[str, QueryValue],
        *,
        dry_run: bool = False,
        page: int | None = None,
    ) -> RowIterator:
        """Send a query to BigQuery. Every query goes through here, with its limits of bytes and of time."""
        config = bigquery.QueryJobConfig(
            query_parameters=[_parameter(name, value) for name, value in parameters.items()],
            maximum_bytes_billed=limits.bytes_billed,
            job_timeout_ms=int(1_000 * limits.job_seconds),
        )
        if dry_run:
            config.dry_run, config.use_query_cache = True, False
        return self._client.query_and_wait(
            sql,
            job_config=config,
            api_timeout=limits.call_seconds,
            wait_timeout=limits.wait_seconds,
            page_size=page,
            retry=_retry(limits.retry_seconds),
            # The client's own retries of whole jobs would go on for ten minutes.
            job_retry=None,  # type: ignore[arg-type] # documented, though the annotation lacks it
        )

    def _in_time(self, what: str, ask: Callable[[], T]) -> T:
        try:
            return within(LOOKUP_DEADLINE_SECONDS, ask)
        except TimeoutError:
            raise WarehouseUnavailable(f"BigQuery: {what}: no answer within {LOOKUP_DEADLINE_SECONDS:g} s") from None

    def insert_rows(self, dataset: str, table: Table, rows: Mapping[str, Mapping[str, Any]]) -> list[RefusedRow]:
        """Stream rows into a table, and return those that BigQuery refused.

        A request that BigQuery refuses as too large (413) or as malformed (400) is sent again in halves, since one of
        its rows may be the cause; alone, that row is refused. If all of several rows end so with 400, they are not the
        cause.

        Args:
            dataset: The table's dataset.
            table: The table.
            rows: JSON rows by insert id, by which BigQuery tries to drop repeated rows.

        Raises:
            WarehouseUnavailable: BigQuery did not answer, or refused the request for another reason than its rows.
        """

        def send(some: Mapping[str, Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
            return self._client.insert_rows_json(
                f"{self.project}.{dataset}.{table.name}",
                list(some.values()),
                row_ids=list(some),
                skip_invalid_rows=True,
                retry=_retry(LOOKUP_RETRY_SECONDS),
                timeout=LOOKUP_CALL_SECONDS,
            )

        def insert(some: Mapping[str, Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
            return self._in_time(f"insert into {dataset}.{table.name}", lambda: send(some))

        with _mapped(f"insert into {dataset}.{table.name}"):
            refused = insert_or_halve(rows, insert)
            if len(rows) > 1 and len(refused) == len(rows) and all(is_malformed(row) for row in refused):
                raise WarehouseUnavailable(f"BigQuery: insert into {dataset}.{table.name}: each row is refused")
            return refused

    def create_dataset(self, dataset: str) -> None:
        """Create a dataset if it does not exist."""
        with _mapped(f"dataset {dataset}"):
            self._client.create_dataset(f"{self.project}.{dataset}", exists_ok=True, timeout=CALL_TIMEOUT_SECONDS)

    def create_table(self, dataset: str, table: Table) -> None:
        """Create a table, partitioned and clustered as its model says, if it does not exist."""
        definition = bigquery.Table(f"{self.project}.{dataset}.{table.name}", schema=_schema(table))
        if table.partition_column:
            definition.time_partitioning = bigquery.TimePartitioning(
                type_=table.partition_type, field=table.partition_column
            )
        definition.clustering_fields = list(table.clustering) or None
        with _mapped(f"table {dataset}.{table.name}"):
            self._client.create_table(definition, exists_ok=True, timeout=CALL_TIMEOUT_SECONDS)

    def create_view(self, dataset: str, view: View) -> None:
        """Create a view if it does not exist."""
        definition = bigquery.Table(f"{self.project}.{dataset}.{view.name}")
        definition.view_query = view.query.format(dataset=f"{self.project}.{dataset}")
        with _mapped(f"view {dataset}.{view.name}"):
            self._client.create_table(definition, exists_ok=True, timeout=CALL_TIMEOUT_SECONDS)

    def find_dataset(self, dataset: str) -> None:
        """Check that a dataset exists, with one call and no retries.

        Raises:
            WarehouseUnavailable: It does not exist, or BigQuery did not answer; the cause is BigQuery's error.
        """
        with _mapped(f"dataset {dataset}"):
            self._client.get_dataset(dataset_path(self.project, dataset), retry=None, timeout=PROBE_SECONDS)  # type: ignore[arg-type] # documented

    def table_definition(self, dataset: str, name: str) -> TableDefinition:
        """Return the definition of a table or a view, with one call and no retries.

        Raises:
            WarehouseUnavailable: It does not exist, or BigQuery did not answer; the cause is BigQuery's error.
        """
        with _mapped(f"table {dataset}.{name}"):
            table = self._client.get_table(
                f"{dataset_path(self.project, dataset)}.{name}",
                retry=None,  # type: ignore[arg-type] # documented
                timeout=PROBE_SECONDS,
            )
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
        """Return which of these permissions the credentials have on a table; None if BigQuery can't test them.

        Raises:
            WarehouseUnavailable: BigQuery did not answer; the cause is BigQuery's error.
        """
        try:
            answer = self._client.test_iam_permissions(
                f"{dataset_path(self.project, dataset)}.{name}",
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
        """Replace a table's rows with one load job, and return the number of the new rows."""
        count = self._load(dataset, table, rows, "WRITE_TRUNCATE")
        if not count:
            self.query(f"TRUNCATE TABLE `{self.project}.{dataset}.{table.name}`")
        return count

    def append_rows(self, dataset: str, table: Table, rows: Iterable[TableRow]) -> int:
        """Add rows to a table with one load job, and return their number."""
        return self._load(dataset, table, rows, "WRITE_APPEND")

    def _load(self, dataset: str, table: Table, rows: Iterable[TableRow], disposition: str) -> int:
        """Load rows; without rows, do nothing: the client does not notice the end of an upload without bytes."""
        lines = [orjson.dumps(to_row(row)) for row in rows]
        if not lines:
            return 0
        config = bigquery.LoadJobConfig(
            schema=_schema(table), source_format="NEWLINE_DELIMITED_JSON", write_disposition=disposition
        )
        with _mapped(f"load into {dataset}.{table.name}"):
            self._client.load_table_from_file(
                io.BytesIO(b"\n".join(lines)), f"{self.project}.{dataset}.{table.name}", job_config=config
            ).result(timeout=RETRY_DEADLINE_SECONDS)
        return len(lines)


def _parameter(name: str, value: QueryValue) -> bigquery.ArrayQueryParameter | bigquery.ScalarQueryParameter:
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, "STRING", value)
    kind = next(kind for python, kind in _PARAMETER_TYPES.items() if isinstance(value, python))
    return bigquery.ScalarQueryParameter(name, kind, value)


_PARAMETER_TYPES: Final[Mapping[type, str]] = {str: "STRING", int: "INT64", float: "FLOAT64", dt.datetime: "TIMESTAMP"}


def _schema(table: Table) -> list[bigquery.SchemaField]:
    return [bigquery.SchemaField.from_api_repr(dict(column)) for column in table.columns]


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed if it is repeated."""
    if isinstance(error, api.Forbidden):
        # BigQuery answers 403 both to calls that come too fast and to calls that are forbidden.
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


_REASON: Final = re.compile("[A-Za-z]{1,40}")
_TRANSIENT_REASONS: Final = frozenset({"rateLimitExceeded", "jobRateLimitExceeded", "backendError"})


def _retry(seconds: float) -> Retry:
    return Retry(predicate=is_transient, initial=0.25, maximum=4.0, multiplier=2.0, timeout=seconds)


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Map the vendor's errors to WarehouseUnavailable."""
    try:
        yield
    except TimeoutError:
        raise WarehouseUnavailable(f"BigQuery: {what}: no result in time") from None
    except _VENDOR_ERRORS as error:
        raise _unavailable(what, error) from error


def _unavailable(what: str, error: Exception) -> WarehouseUnavailable:
    # A message can quote the statement; class, status and reason can't. If retries failed, the last error counts.
    cause = getattr(error, "cause", None) or error
    status = getattr(cause, "code", None)
    reasons = [it.get("reason") for it in getattr(cause, "errors", ()) if isinstance(it, dict)]
    known = sorted({reason for reason in reasons if isinstance(reason, str) and _REASON.fullmatch(reason)})
    parts = [type(cause).__name__, str(int(status)) if status else "", f"({', '.join(known)})" if known else ""]
    return WarehouseUnavailable(f"BigQuery: {what}: {' '.join(part for part in parts if part)}")


def is_missing(error: WarehouseUnavailable) -> bool:
    """Whether BigQuery answered that the table or dataset does not exist."""
    return isinstance(error.__cause__, api.NotFound)


def dataset_path(project: str, dataset: str) -> str:
    """Return `project.dataset` for the text of a query, where names can't be bound as values are.

    Args:
        project: The project of a dataset that names none.
        dataset: A dataset, or `project.dataset`.

    Raises:
        ValueError: A name is not one that Google Cloud allows.
    """
    project, dataset = project_and_dataset(checked(ProjectId, project, "the project"), dataset)
    return f"{project}.{dataset}"


def project_and_dataset(project: str, dataset: str) -> tuple[str, str]:
    """Return a dataset and its project, which is the given one unless the dataset names another.

    Raises:
        ValueError: It is not the name of a dataset.
    """
    named, _, name = checked(DatasetPath, dataset, "the dataset").rpartition(".")
    return named or project, name


@once_per_process
def shared_warehouse(project: str) -> Warehouse:
    """Return this process's connection to BigQuery in a project."""
    return Warehouse(project)
