"""Requests to BigQuery, and which of its errors are retried."""

import datetime as dt
import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import google.auth.exceptions
import pytest
import requests
from google.api_core import exceptions as api
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from schemas.identifiers import DatasetId, ProjectId, checked
from schemas.tables import ACCOUNTS
from tests.fixtures.changes import COMMITTED_AT
from tests.fixtures.examples import examples
from tests.fixtures.hostile_text import hostile_text
from transforms.clients.bigquery import (
    LOOKUP_DEADLINE_SECONDS,
    LOOKUP_LIMITS,
    MAX_BYTES_BILLED,
    REPORT_LIMITS,
    Warehouse,
    dataset_path,
    is_transient,
)
from transforms.clients.query_guard import guard_rules
from transforms.enrich.account_contexts import ContextBounds, read_account_contexts
from transforms.enrich.skip_unchanged_contexts import read_last_scores

SINCE, UNTIL = COMMITTED_AT - dt.timedelta(days=30), COMMITTED_AT


class _Client:
    """Takes queries as Google's client does, keeps them, and answers without rows."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def query_and_wait(self, sql: str, *, job_config: Any, **_options: Any) -> Any:
        self.sent.append((sql, job_config))
        return _NoRows()


class _NoRows(list[Any]):
    schema = (SimpleNamespace(name="profile"),)


def _warehouse() -> tuple[Warehouse, _Client]:
    warehouse, client = Warehouse.__new__(Warehouse), _Client()
    warehouse.project = "my-project"
    warehouse._client = client  # type: ignore[assignment]
    return warehouse, client


def _texts_sent(values: list[str]) -> set[str]:
    warehouse, client = _warehouse()
    read_account_contexts(warehouse, "crm", values, since=SINCE, until=UNTIL, bounds=ContextBounds())
    read_last_scores(warehouse, "account_scoring", values, since=SINCE, until=UNTIL)
    for _, config in client.sent:
        bound = {it.name: getattr(it, "values", None) or it.value for it in config.query_parameters}
        assert bound == {"account_ids": values, "since": SINCE, "until": UNTIL}
    return {sql for sql, _ in client.sent}


PLAIN = _texts_sent(["001000000000001AAA"])


@examples(ordinary=10, slow=200)
@given(st.lists(hostile_text, min_size=100, max_size=100))
def test_no_value_changes_a_querys_text(values: list[str]) -> None:
    """For any batch of a hundred hostile strings the texts of its two queries are the same, the strings parameters."""
    assert _texts_sent(values) == PLAIN


@examples(ordinary=10, slow=200)
@given(st.lists(hostile_text, min_size=100, max_size=100))
def test_no_accepted_name_can_change_a_query(names: list[str]) -> None:
    """Of hostile strings as names of project and dataset, those that are accepted have no special character of SQL."""
    for name in names:
        for kind in (ProjectId, DatasetId):
            try:
                text = checked(kind, name, "--name")
            except ValueError:
                continue
            assert not set(text) & set("`'\"\\{}@;*/# \n\x00")


class _Session:
    """The HTTP session of Google's client: it keeps each request's path and body, and answers with no rows."""

    is_mtls = False

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def request(self, method: str, url: str, data: str = "{}", **_options: Any) -> requests.Response:
        self.sent.append((f"{method} {url.partition('?')[0].rpartition('/')[2]}", json.loads(data)))
        answer = requests.Response()
        answer.status_code = 200
        answer.headers["Content-Type"] = "application/json"
        schema = {"fields": [{"name": "x", "type": "INT64"}]}
        answer._content = json.dumps({"jobComplete": True, "schema": schema, "totalBytesProcessed": "7"}).encode()
        return answer


def test_every_query_has_a_limit_of_bytes_and_of_time() -> None:
    """Whichever way a query takes, the request that reaches BigQuery has both; a dry run has them too."""
    session, warehouse = _Session(), Warehouse.__new__(Warehouse)
    warehouse.project = "my-project"
    warehouse._client = bigquery.Client("my-project", AnonymousCredentials(), _http=session)  # type: ignore[no-untyped-call, arg-type]
    rules = guard_rules("my-project", "account_scoring", "crm")
    warehouse.query("SELECT 1")
    warehouse.look_up("SELECT 1", {})
    with capture_logs() as logs:
        warehouse.guarded_query("SELECT 1", rules=rules)
    warehouse.replace_rows("crm", ACCOUNTS, [])
    assert [path for path, _ in session.sent] == ["POST queries"] * 5
    limits = [(int(body["maximumBytesBilled"]), int(body["jobTimeoutMs"])) for _, body in session.sent]
    guarded = (rules.max_bytes_billed, 60_000)
    assert limits == [
        (MAX_BYTES_BILLED, 60_000),
        (MAX_BYTES_BILLED, 20_000),
        guarded,
        guarded,
        (MAX_BYTES_BILLED, 60_000),
    ]
    assert [body.get("dryRun", False) for _, body in session.sent] == [False, False, True, False, False]
    assert logs[0] == {"event": "query estimated", "log_level": "info", "estimated_bytes": 7}


def test_queries_are_sent_in_one_place() -> None:
    """No other module has a client (tests/unit/pipeline/test_graph.py), so every query has the limits above."""
    text = Path(inspect.getfile(Warehouse)).read_text()
    assert re.findall(r"_client\.(\w*query\w*)\(", text) == ["query_and_wait"]


def test_a_lookup_ends_within_thirty_seconds_on_both_sides() -> None:
    """BigQuery is told when to end the job, and the client waits no longer than that and a little."""
    assert LOOKUP_LIMITS.job_seconds <= LOOKUP_LIMITS.wait_seconds == LOOKUP_DEADLINE_SECONDS < 30
    assert REPORT_LIMITS.job_seconds <= REPORT_LIMITS.wait_seconds


@pytest.mark.parametrize("name", ["a b", "crm`; DROP TABLE x; --", "crm.accounts", "", "x" * 1025])
def test_a_dataset_path_is_made_of_names_only(name: str) -> None:
    """A project's or dataset's name that Google Cloud does not allow is refused before it becomes part of a query."""
    assert dataset_path("my-project", "crm") == "my-project.crm"
    for arguments in ((name, "crm"), ("my-project", name)):
        with pytest.raises(ValueError, match=" is "):
            dataset_path(*arguments)


def _forbidden(reason: str) -> Any:
    vendor: Any = api
    return vendor.Forbidden("no", errors=[{"reason": reason}])


PASSING: tuple[Any, ...] = (
    api.TooManyRequests,
    api.InternalServerError,
    api.BadGateway,
    api.ServiceUnavailable,
    api.GatewayTimeout,
    requests.exceptions.ConnectionError,
    requests.exceptions.ReadTimeout,
    requests.exceptions.ChunkedEncodingError,
    google.auth.exceptions.TransportError,
)
LASTING: tuple[Any, ...] = (
    api.Forbidden,
    api.BadRequest,
    api.Unauthorized,
    api.NotFound,
    api.Conflict,
    google.auth.exceptions.DefaultCredentialsError,
    google.auth.exceptions.RefreshError,
    requests.exceptions.InvalidURL,
)


@pytest.mark.parametrize("error", PASSING)
def test_transient_errors_are_retried(error: Any) -> None:
    """Server errors, lost connections and incomplete answers."""
    assert is_transient(error("x"))


@pytest.mark.parametrize("error", LASTING)
def test_permanent_errors_are_not_retried(error: Any) -> None:
    """A repeated call would fail too."""
    assert not is_transient(error("x"))


@pytest.mark.parametrize(
    ("reason", "passes"),
    [("rateLimitExceeded", True), ("jobRateLimitExceeded", True), ("accessDenied", False), ("quotaExceeded", False)],
)
def test_rate_limits_are_retried(reason: str, *, passes: bool) -> None:
    """BigQuery answers 403 both to calls that come too fast and to calls that are forbidden."""
    assert is_transient(_forbidden(reason)) is passes
