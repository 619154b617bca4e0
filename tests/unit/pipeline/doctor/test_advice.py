"""Explanations of the errors that Google's clients raise; nothing of their texts is shown."""

import json
from typing import Any

import google.auth.exceptions
import pytest
import requests
from google.api_core import exceptions as api
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]  # it ships no annotations

from pipeline.doctor.advice import LOG_IN, Advice, explain
from pipeline.doctor.credentials import refusal_code
from transforms.clients.redis import RedisUnavailable
from transforms.clients.secrets import SecretUnavailable
from transforms.errors import (
    AccessRefused,
    ConnectionLost,
    GeminiRefusedPrompt,
    GeminiTimeout,
    InvalidResponse,
    MissingScore,
    QuotaExhausted,
    ServerFault,
    Unauthenticated,
    WarehouseUnavailable,
)

ADVICE = Advice(
    "Pub/Sub",
    "pubsub.googleapis.com",
    "my-project",
    refused="the role",
    missing="terraform apply",
    malformed="other names",
)
ENABLE = "gcloud services enable pubsub.googleapis.com --project my-project"
PLANTED = "ya29.PLANTED-token"
DISABLED = ErrorInfo(reason="SERVICE_DISABLED", domain="googleapis.com", metadata={"service": "pubsub.googleapis.com"})


def _google(kind: Any, *arguments: Any, **details: Any) -> Exception:
    """Return an error of Google's libraries, whose constructors have no annotations."""
    error: Exception = kind(*arguments, **details)
    return error


def _http_error(status: int, reason: str | None) -> Exception:
    """Return what google-api-core makes of an HTTP answer, as BigQuery's client does."""
    answer = requests.Response()
    answer.status_code = status
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    body = {"error": {"code": status, "message": f"denied for {PLANTED}", "details": details}}
    answer._content = json.dumps(body).encode()
    answer.request = requests.Request("GET", f"https://bigquery.googleapis.com/?key={PLANTED}").prepare()
    return _google(api.from_http_response, answer)


def _of_the_warehouse(cause: Exception) -> WarehouseUnavailable:
    error = WarehouseUnavailable("BigQuery: dataset crm: Forbidden 403")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        _google(api.PermissionDenied, PLANTED, error_info=DISABLED),
        _http_error(403, "SERVICE_DISABLED"),
        _of_the_warehouse(_http_error(403, "SERVICE_DISABLED")),
        _of_the_warehouse(_google(api.RetryError, PLANTED, _http_error(403, "SERVICE_DISABLED"))),
        AccessRefused(403, "SERVICE_DISABLED"),
        SecretUnavailable("Secret Manager did not return the secret", status=403, reason="SERVICE_DISABLED"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_disabled_api_is_known_by_its_reason(error: Exception) -> None:
    """Whatever call raised it, and however it is wrapped."""
    detail, remedy = explain(error, ADVICE)
    assert detail == "the API pubsub.googleapis.com is not enabled in my-project"
    assert remedy == ENABLE


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (_google(api.PermissionDenied, PLANTED), "the role"),
        (_http_error(403, None), "the role"),
        (_of_the_warehouse(_http_error(403, None)), "the role"),
        (_http_error(403, "IAM_PERMISSION_DENIED"), "the role"),
        (AccessRefused(403), "the role"),
        (_google(api.NotFound, PLANTED), "terraform apply"),
        (_of_the_warehouse(_http_error(404, None)), "terraform apply"),
        (AccessRefused(404), "terraform apply"),
        (SecretUnavailable("the environment variable X is not set"), "terraform apply"),
        (RedisUnavailable("Redis does not answer (AuthenticationError)"), "terraform apply"),
        (_google(api.InvalidArgument, PLANTED), "other names"),
        (GeminiRefusedPrompt("400"), "other names"),
        (_google(api.Unauthenticated, PLANTED), LOG_IN),
        (Unauthenticated("401"), LOG_IN),
        (_google(google.auth.exceptions.DefaultCredentialsError, PLANTED), LOG_IN),
        (_google(google.auth.exceptions.RefreshError, PLANTED), LOG_IN),
        (_google(api.ServiceUnavailable, "Getting metadata from plugin failed with error: invalid_grant"), LOG_IN),
    ],
)
def test_each_refusal_has_its_remedy(error: Exception, remedy: str) -> None:
    """A role for a 403, what creates the resource for a 404, a login without credentials; no vendor text is shown."""
    detail, told = explain(error, ADVICE)
    assert told == remedy
    assert PLANTED not in detail


@pytest.mark.parametrize(
    "error",
    [
        _google(api.ServiceUnavailable, PLANTED),
        _google(api.DeadlineExceeded, PLANTED),
        _google(api.InternalServerError, PLANTED),
        _of_the_warehouse(requests.exceptions.ConnectionError(PLANTED)),
        ConnectionLost("lost"),
        ServerFault(503),
        GeminiTimeout("late"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_answer_sends_to_the_network(error: Exception) -> None:
    """The host and the class of the error are named."""
    detail, remedy = explain(error, ADVICE)
    assert detail.startswith("Pub/Sub does not answer (")
    assert "reaches pubsub.googleapis.com" in remedy
    assert PLANTED not in detail


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("BILLING_DISABLED", "billing account"),
        ("CONSUMER_INVALID", "check --project: my-project does not exist"),
        ("USER_PROJECT_DENIED", "roles/serviceusage.serviceUsageConsumer on my-project"),
    ],
)
def test_a_problem_of_the_project_is_fixed_there(reason: str, remedy: str) -> None:
    """A role on the topic or the table would not help."""
    detail, told = explain(_http_error(403, reason), ADVICE)
    assert reason in detail
    assert remedy in told


def test_a_token_endpoint_that_does_not_answer_is_named() -> None:
    """Each client calls it before its first request, so the check of any service can fail by it."""
    detail, remedy = explain(_google(google.auth.exceptions.TransportError, PLANTED), ADVICE)
    assert detail == "Google's token endpoint does not answer (TransportError)"
    assert "oauth2.googleapis.com" in remedy


def test_an_exhausted_quota_is_not_a_missing_permission() -> None:
    """A minute later the check may succeed."""
    assert "in a minute" in explain(QuotaExhausted(), ADVICE)[1]
    assert "in a minute" in explain(_google(api.ResourceExhausted, PLANTED), ADVICE)[1]


def test_an_invalid_answer_is_a_problem_of_the_model() -> None:
    """The service answered, so neither roles nor the network are at fault."""
    for error in (InvalidResponse("prose"), MissingScore("the answer has no entry for the account")):
        detail, remedy = explain(error, ADVICE)
        assert detail == str(error)
        assert "--model" in remedy


@pytest.mark.parametrize(
    "error", [_google(api.PreconditionFailed, PLANTED), KeyError(PLANTED), _google(api.MethodNotImplemented, PLANTED)]
)
def test_an_unknown_error_is_named_by_its_class(error: Exception) -> None:
    """It has a remedy, too, and its text is not shown."""
    detail, remedy = explain(error, ADVICE)
    assert type(error).__name__ in detail
    assert remedy
    assert PLANTED not in detail + remedy


def test_a_refused_token_is_named_by_its_code_only() -> None:
    """The token endpoint's text may quote the request."""
    refused = _google(
        google.auth.exceptions.RefreshError, PLANTED, {"error": "invalid_grant", "error_description": PLANTED}
    )
    assert refusal_code(refused) == "invalid_grant"
    assert refusal_code(_google(google.auth.exceptions.RefreshError, PLANTED, {"error": PLANTED})) == "RefreshError"
