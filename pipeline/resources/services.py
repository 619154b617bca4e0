"""Whether BigQuery, the token endpoint and Gemini answer, before a pipeline in this process starts.

Later outages are held (docs/adr/012, docs/adr/031), in which the pipeline says nothing for half a minute: at the start
that looks like a pipeline that waits for events.
"""

import functools
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import google.auth
import google.auth.transport.requests
import requests

from pipeline.resources.datasets import open_warehouse
from transforms.clients.access_tokens import SCOPE
from transforms.clients.gemini import endpoint
from transforms.clients.gemini_api import GeminiSettings
from transforms.errors import WarehouseUnavailable

PROBE_SECONDS: Final = 6.0


class GeminiUnreachable(RuntimeError):
    """Gemini's endpoint does not answer; the message has the remedy, the cause is the error of the connection."""


def check_token() -> None:
    """Check that the credentials get an access token.

    Raises:
        GoogleAuthError: They don't, or there are none.
    """
    credentials, _ = google.auth.default(scopes=[SCOPE])
    request = functools.partial(google.auth.transport.requests.Request(), timeout=PROBE_SECONDS)
    credentials.refresh(request)  # type: ignore[no-untyped-call]


def check_dataset_answers(project: str, dataset: str, flag: str = "--dataset") -> None:
    """Check that BigQuery answers and has a dataset. Who may only use its tables may not look at it: that is no error.

    Raises:
        WarehouseUnavailable: BigQuery does not answer, or has no such dataset.
    """
    try:
        with open_warehouse(project, dataset, flag) as warehouse:
            warehouse.find_dataset(dataset)
    except WarehouseUnavailable as error:
        if HTTPStatus.FORBIDDEN not in {getattr(it, "code", None) for it in _causes(error)}:
            raise


def check_gemini(settings: GeminiSettings) -> None:
    """Check that Gemini's host answers, whatever it says: no model is called, which costs nothing.

    Raises:
        GeminiUnreachable: It does not answer.
    """
    parts = urlsplit(endpoint(settings))
    host = f"{parts.scheme}://{parts.netloc}"
    try:
        requests.get(f"{host}/", timeout=PROBE_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        raise GeminiUnreachable(
            f"Gemini at {host} does not answer ({type(error).__name__}): check that this machine reaches {host}, also "
            "through its proxy; on a local stack, that rescore local runs"
        ) from error


def _causes(error: BaseException) -> list[BaseException]:
    return [error, *(_causes(error.__cause__) if error.__cause__ else [])]
