"""What an error of a service says to the person at the terminal: the service, its endpoint, and the remedy.

Errors of Google's clients can quote requests and carry pages of text: only their class and their status are shown.
"""

import os
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

import google.auth
import google.auth.exceptions
import requests.exceptions
from google.api_core import exceptions as api

from transforms.clients.pubsub import PubSubUnavailable
from transforms.errors import WarehouseUnavailable

LOG_IN: Final = (
    "log in with gcloud auth application-default login, or have GOOGLE_APPLICATION_CREDENTIALS name a service "
    "account's key file"
)
TOKEN_HOST: Final = "oauth2.googleapis.com"  # noqa: S105 - a host
_ENDPOINTS: Final = {
    WarehouseUnavailable: ("BigQuery", "BIGQUERY_EMULATOR_HOST", "bigquery.googleapis.com"),
    PubSubUnavailable: ("Pub/Sub", "PUBSUB_EMULATOR_HOST", "pubsub.googleapis.com"),
}
_SILENT: Final = (
    api.ServiceUnavailable,
    api.GatewayTimeout,
    api.DeadlineExceeded,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    google.auth.exceptions.TransportError,
)
_PLUGIN_FAILED: Final = "metadata from plugin failed"
"""gRPC's message when it got no access token; the status is UNAVAILABLE, as if the server were down."""


def reach(host: str) -> str:
    """Return the remedy for a host that does not answer."""
    return f"check that this machine reaches {host}, also through its proxy; on a local stack, that rescore local runs"


def of_service(error: BaseException) -> str | None:
    """Return what is wrong and what to do about it; None: it is not the error of a service."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, google.auth.exceptions.TransportError) or is_without_token(cause):
            return f"no access token from {token_host()} ({type(cause).__name__}): {reach(token_host())}"
    for cause in causes:
        if isinstance(cause, google.auth.exceptions.GoogleAuthError):
            return f"no Google credentials: {_sentence(cause)}: {LOG_IN}"
    for kind, (service, variable, host) in _ENDPOINTS.items():
        if isinstance(error, kind):
            return _line(error, causes, service, os.environ.get(variable) or host)
    if isinstance(error, requests.exceptions.RequestException):
        url = error.request.url if error.request is not None else None
        return f"{url or 'the server'!s} does not answer ({type(error).__name__}): check that this machine reaches it"
    return None


def is_without_token(error: BaseException) -> bool:
    """Return whether gRPC did not make a call because it got no access token."""
    return isinstance(error, api.GoogleAPICallError) and _PLUGIN_FAILED in error.message


def token_host() -> str:
    """Return where the credentials of this environment get their access tokens."""
    try:
        credentials, _ = google.auth.default()
    except google.auth.exceptions.GoogleAuthError:
        return TOKEN_HOST
    return str(getattr(credentials, "_token_uri", None) or TOKEN_HOST)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it: the vendor's behind ours, the last one behind the end of retries."""
    while error is not None:
        yield error
        error = (error.cause if isinstance(error, api.RetryError) else None) or error.__cause__


def _line(error: BaseException, causes: Sequence[BaseException], service: str, endpoint: str) -> str:
    for cause in causes:
        if isinstance(cause, _SILENT):
            return f"{service} at {endpoint} does not answer ({type(cause).__name__}): {reach(endpoint)}"
    if any(getattr(cause, "code", None) == HTTPStatus.UNAUTHORIZED for cause in causes):
        return f"{service} at {endpoint} does not accept the credentials: {LOG_IN}"
    return str(error)


def _sentence(error: BaseException) -> str:
    """Return the first sentence of google-auth's message, which goes on with addresses of documents."""
    text = str(error.args[0]) if error.args else type(error).__name__
    return text.splitlines()[0].partition(". ")[0].rstrip(".")
