"""What errors say: one line with the thing, its endpoint and the remedy."""

import errno
from collections.abc import Callable
from typing import Any

import google.api_core.exceptions
import google.auth.exceptions
import pytest
import requests.exceptions

from pipeline.terminal.error_lines import told
from transforms.clients.pubsub import pubsub_calls
from transforms.errors import WarehouseUnavailable

api: Any = google.api_core.exceptions  # its classes are not annotated
auth: Any = google.auth.exceptions
REACH = "also through its proxy; on a local stack, that rescore local runs"


@pytest.fixture(autouse=True)
def _endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "localhost:8085")
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://localhost:9050")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "nowhere.json")


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _warehouse(cause: Exception) -> Exception:
    return _caused(WarehouseUnavailable(f"BigQuery: query: {type(cause).__name__}"), cause)


def _pubsub(cause: Exception) -> Exception:
    try:
        with pubsub_calls("projects/p/topics/t"):
            raise cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("made", [_warehouse, _pubsub])
@pytest.mark.parametrize(
    "cause",
    [
        api.ServiceUnavailable("failed to connect"),
        api.DeadlineExceeded("too late"),
        api.RetryError("timeout of 8 s exceeded", api.ServiceUnavailable("failed to connect")),
        api.RetryError("timeout of 8 s exceeded", requests.exceptions.ReadTimeout("no answer")),
        _caused(api.ServiceUnavailable("503"), requests.exceptions.ConnectionError("refused")),
    ],
    ids=repr,
)
def test_a_service_that_does_not_answer_is_named_with_its_endpoint(
    made: Callable[[Exception], Exception], cause: Exception
) -> None:
    """Whatever the client raises, and however often it has tried."""
    if not isinstance(cause, api.GoogleAPIError):
        pytest.skip("Pub/Sub's client raises no other")
    line = told(made(cause))
    service, endpoint = ("BigQuery", "http://localhost:9050") if made is _warehouse else ("Pub/Sub", "localhost:8085")
    assert line.startswith(f"{service} at {endpoint} does not answer (")
    assert line.endswith(f": check that this machine reaches {endpoint}, {REACH}")


@pytest.mark.parametrize("made", [_warehouse, _pubsub])
def test_google_s_own_endpoint_is_named_where_there_is_no_other(
    made: Callable[[Exception], Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In production."""
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST")
    assert ".googleapis.com does not answer" in told(made(api.ServiceUnavailable("503")))


@pytest.mark.parametrize("made", [_warehouse, _pubsub])
@pytest.mark.parametrize(
    "cause",
    [
        _caused(api.RetryError("8 s", auth.TransportError("long text")), ValueError("x")),
        api.ServiceUnavailable("Getting metadata from plugin failed with error: long text"),
    ],
    ids=["BigQuery's client", "gRPC"],
)
def test_a_dead_token_endpoint_is_named(made: Callable[[Exception], Exception], cause: Exception) -> None:
    """Without the text of Google's error, which has pages."""
    line = told(made(cause))
    assert line.startswith("no access token from oauth2.googleapis.com (")
    assert "long text" not in line


@pytest.mark.parametrize("made", [_warehouse, _pubsub])
def test_missing_credentials_come_with_the_way_to_log_in(made: Callable[[Exception], Exception]) -> None:
    """The first sentence of Google's message says what is missing."""
    error = auth.DefaultCredentialsError("File a.json was not found. See https://…\nand more")
    line = told(made(error))
    assert line.startswith("no Google credentials: File a.json was not found: log in with gcloud auth")
    assert "https" not in line


def test_refused_credentials_too() -> None:
    """401 is about the credentials, not about the resource."""
    assert told(_pubsub(api.Unauthenticated("401"))).startswith(
        "Pub/Sub at localhost:8085 does not accept the credentials: log in"
    )


@pytest.mark.parametrize(
    ("cause", "line"),
    [
        (api.NotFound("x"), "Pub/Sub: projects/p/topics/t: it does not exist: name another, or create it with"),
        (api.PermissionDenied("x"), "Pub/Sub: projects/p/topics/t: these credentials may not use it: grant them"),
        (api.InvalidArgument("x"), "Pub/Sub: projects/p/topics/t: Pub/Sub does not accept this name, or what was"),
    ],
)
def test_other_answers_of_pubsub_name_the_resource(cause: Exception, line: str) -> None:
    """And what to do about it, where that is known."""
    assert told(_pubsub(cause)).startswith(line)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.csv"), "x.csv: no such file or directory"),
        (OSError(errno.ENOSPC, "No space left on device", "x.svg"), "x.svg: no space is left: free some, or write"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk: no space is left: free some, or write"),
        (OSError("odd"), "odd"),
        (requests.exceptions.ConnectionError("x"), "the server does not answer (ConnectionError): check that"),
        (ValueError("--since is 'x': expected a time"), "--since is 'x': expected a time"),
    ],
)
def test_other_errors_say_what_they_are_about(error: Exception, line: str) -> None:
    """Errors of the system name the file."""
    assert told(error).startswith(line)
