"""Explain the error of a check: one line that says what is wrong, and one that says how to fix it.

The text of a vendor's error is never shown, because it can quote the request, with secrets. Its status, its class and
Google's reason code are safe to show.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import google.auth.exceptions
import requests.exceptions
from google.api_core import exceptions as api

from transforms.clients.redis import RedisUnavailable
from transforms.clients.secrets import SecretUnavailable
from transforms.errors import (
    AccessRefused,
    AnswerError,
    ConnectionLost,
    GeminiError,
    GeminiRefusedPrompt,
    GeminiTimeout,
    QuotaExhausted,
    RescoringError,
    ServerFault,
    Unauthenticated,
)

SERVICE_DISABLED: Final = "SERVICE_DISABLED"
CREATE_AGAIN: Final = "terraform apply in infrastructure; on a local stack, start rescore local"
LOG_IN: Final = (
    "log in with gcloud auth application-default login, or have GOOGLE_APPLICATION_CREDENTIALS name a service "
    "account's key file"
)

_REMEDY_OF_REASON: Final = {
    "BILLING_DISABLED": "link a billing account: gcloud billing projects link {project} --billing-account ID",
    "CONSUMER_INVALID": "check --project: {project} does not exist, or is being deleted",
    "USER_PROJECT_DENIED": "grant these credentials roles/serviceusage.serviceUsageConsumer on {project}",
}
"""Values of google.api.ErrorReason that are about the project, where a role on the resource does not help."""

_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,60}\Z")
_NO_ANSWER: Final = frozenset({408, 499})
_PLUGIN_FAILED: Final = "metadata from plugin failed"
"""gRPC's message when it got no access token; the status is UNAVAILABLE, as if the server were down."""


@dataclass(frozen=True)
class Advice:
    """The remedies of one resource, by the kind of error.

    Args:
        service: Name of the service.
        api: Name of its API, such as `pubsub.googleapis.com`.
        project: The Google Cloud project.
        refused: The remedy if permission is denied.
        missing: The remedy if the resource is not found.
        malformed: The remedy if the request is invalid.
    """

    service: str
    api: str
    project: str
    refused: str
    missing: str
    malformed: str = "check the names and options given to rescore doctor"


def explain(error: BaseException, advice: Advice) -> tuple[str, str]:
    """Return what is wrong and how to fix it, one line each."""
    error = cause_of(error)
    if isinstance(error, AnswerError) or (isinstance(error, GeminiError) and not _is_refused(error)):
        return str(error), "run it again; if it fails again, choose another --model"
    if isinstance(error, google.auth.exceptions.TransportError):
        return f"Google's token endpoint does not answer ({type(error).__name__})", _reach("oauth2.googleapis.com")
    if isinstance(error, Unauthenticated):
        return str(error), LOG_IN
    if isinstance(error, RedisUnavailable) or (isinstance(error, SecretUnavailable) and error.status is None):
        return str(error), advice.missing
    return _explain_refusal(error, advice)


def cause_of(error: BaseException) -> BaseException:
    """Return the error that caused this one: the vendor's behind our own, the last one behind a RetryError."""
    inner = error.cause if isinstance(error, api.RetryError) else None
    if isinstance(error, RescoringError):
        inner = error.__cause__
    return cause_of(inner) if inner else error


def _explain_refusal(error: BaseException, advice: Advice) -> tuple[str, str]:
    kind, (status, reason) = type(error).__name__, _status_and_reason(error)
    told = f" ({status}, {reason})" if reason else f" ({status})"
    if reason == SERVICE_DISABLED:
        return (
            f"the API {advice.api} is not enabled in {advice.project}",
            f"gcloud services enable {advice.api} --project {advice.project}",
        )
    if reason in _REMEDY_OF_REASON:
        remedy = _REMEDY_OF_REASON[reason].format(project=advice.project)
        return f"{advice.service} refuses the project{told}", remedy
    if status is None:
        return (
            f"the check itself failed ({kind})",
            "rescore doctor does not know this error: report it with this line",
        )
    if status in _NO_ANSWER or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED):
        return f"{advice.service} does not answer ({kind})", _reach(advice.api)
    by_status: dict[int, tuple[str, str]] = {
        HTTPStatus.BAD_REQUEST: (f"{advice.service} rejects the request as invalid{told}", advice.malformed),
        HTTPStatus.UNAUTHORIZED: (
            f"{advice.service} does not accept the credentials, or there are none ({kind})",
            LOG_IN,
        ),
        HTTPStatus.FORBIDDEN: (f"{advice.service} refuses these credentials{told}", advice.refused),
        HTTPStatus.NOT_FOUND: (f"{advice.service} does not have it{told}", advice.missing),
        HTTPStatus.TOO_MANY_REQUESTS: (
            f"{advice.service}'s quota is exhausted{told}",
            f"run it again in a minute; if it fails again, ask for more quota of {advice.api}",
        ),
    }
    unknown = (
        f"{advice.service} answers with {kind}{told}",
        f"rescore doctor does not know this status: look it up in the documentation of {advice.api}",
    )
    return by_status.get(status, unknown)


def _reach(host: str) -> str:
    return f"check that this machine reaches {host}, also through its proxy; on a local stack, that rescore local runs"


def _is_refused(error: GeminiError) -> bool:
    """Return whether the service refused or failed; if not, the model gave an answer that can't be used."""
    return _status_and_reason(error)[0] is not None


def _status_and_reason(error: BaseException) -> tuple[int | None, str | None]:
    """Return an error's HTTP status, and Google's reason code if it looks like one, as it is shown."""
    status, reason = _told(error)
    return status, reason if reason and _NAME.match(reason) else None


def _told(error: BaseException) -> tuple[int | None, str | None]:
    if isinstance(error, api.GoogleAPICallError):
        if _PLUGIN_FAILED in error.message:
            return HTTPStatus.UNAUTHORIZED, None
        return (int(error.code) if error.code else None), error.reason
    if isinstance(error, AccessRefused | SecretUnavailable):
        return error.status, error.reason
    return next((status for kind, status in _STATUS_OF if isinstance(error, kind)), None), None


_STATUS_OF: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (QuotaExhausted, HTTPStatus.TOO_MANY_REQUESTS),
    (GeminiRefusedPrompt, HTTPStatus.BAD_REQUEST),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (ServerFault, HTTPStatus.INTERNAL_SERVER_ERROR),
    (ConnectionLost, HTTPStatus.SERVICE_UNAVAILABLE),
    (GeminiTimeout, HTTPStatus.SERVICE_UNAVAILABLE),
    (google.auth.exceptions.GoogleAuthError, HTTPStatus.UNAUTHORIZED),
    (requests.exceptions.RequestException, HTTPStatus.SERVICE_UNAVAILABLE),
    (TimeoutError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ConnectionError, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""The status to assume for errors without one; the first class that matches counts."""
