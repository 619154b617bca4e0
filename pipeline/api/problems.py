"""Errors as clients see them: RFC 9457 problem documents, which quote nothing that was sent.

    Problem                    what a route or the gate answers in place of a result
    ├── Unauthenticated        nobody that is known, or not provably
    └── Forbidden              a principal without the role

The handlers at the end map every other error that a request can meet; `tests/unit/pipeline/api/test_problems.py` holds
the map.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from starlette.exceptions import HTTPException

from pipeline.api.read_model.cursors import BadCursor
from pipeline.api.read_model.store import NotFilled
from pipeline.dead_letters.replay_lease import LeaseTaken
from transforms.clients.pubsub import PubSubUnavailable
from transforms.errors import WarehouseUnavailable

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 10
_log = structlog.stdlib.get_logger(__name__)


class Kind(Enum):
    """A kind of problem: its type's last part, and its title."""

    BAD_REQUEST = HTTPStatus.BAD_REQUEST, "bad-request", "The request can't be read"
    UNAUTHENTICATED = HTTPStatus.UNAUTHORIZED, "unauthenticated", "Who asks is not known"
    FORBIDDEN = HTTPStatus.FORBIDDEN, "forbidden", "Who asks may not do this"
    NOT_FOUND = HTTPStatus.NOT_FOUND, "not-found", "There is no such thing"
    METHOD = HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", "The path has no such method"
    TIMEOUT = HTTPStatus.REQUEST_TIMEOUT, "timeout", "The request did not come in time"
    CONFLICT = HTTPStatus.CONFLICT, "conflict", "What was asked for contradicts what is"
    TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", "The request is too large"
    INVALID = HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "A value can't be used"
    TOO_MANY = HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"
    FAILED = HTTPStatus.INTERNAL_SERVER_ERROR, "failed", "The service has a defect"
    UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "A service that is needed does not answer"

    @property
    def status(self) -> int:
        """HTTP's status."""
        return int(self.value[0])


_OF_STATUS: Final = {kind.status: kind for kind in Kind}


class Problem(Exception):
    """An answer that is no result.

    Args:
        kind: Of the problem.
        detail: What is wrong and what to do; it quotes nothing that was sent.
        headers: Of the answer.
        more: Further members of the document.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self) -> Response:
        """Return the answer."""
        status, name, title = self.kind.value
        document = {
            "type": f"urn:problem:account-rescoring:{name}",
            "title": title,
            "status": int(status),
            "detail": self.detail,
            **self.more,
        }
        return Response(orjson.dumps(document), status_code=int(status), media_type=MEDIA_TYPE, headers=self.headers)


class Unauthenticated(Problem):
    """Who asks is not known, or not proven; the answer says by what to prove it."""

    def __init__(self, detail: str) -> None:
        super().__init__(Kind.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Problem):
    """Who asks may not do this."""

    def __init__(self, detail: str) -> None:
        super().__init__(Kind.FORBIDDEN, detail)


def unavailable(detail: str, seconds: int = RETRY_SECONDS) -> Problem:
    """Return the problem of a service that does not answer now."""
    return Problem(Kind.UNAVAILABLE, detail, headers={"Retry-After": str(seconds)})


def invalid(where: str, message: str) -> Problem:
    """Return the problem of one value."""
    return Problem(Kind.INVALID, message, more={"errors": [{"where": where, "message": message}]})


def add_problem_handlers(app: FastAPI) -> None:
    """Have an app answer every error that a request can meet with a problem."""
    for error in (*_PROBLEMS, Exception):
        app.add_exception_handler(error, _answer)


def problem_of(error: Exception) -> Problem:
    """Return an error as a client sees it; one that is unknown here is a defect."""
    if isinstance(error, Problem):
        return error
    for kind, make in _PROBLEMS.items():
        if isinstance(error, kind):
            return make(error)
    return Problem(Kind.FAILED, "see the log of the service at this time")


async def _answer(_request: Request, error: Exception) -> Response:
    return problem_of(error).response()


def _of_http(error: HTTPException) -> Problem:
    kind = _OF_STATUS.get(error.status_code, Kind.BAD_REQUEST)
    details = {
        Kind.NOT_FOUND: "the path is not one of this API: see /openapi.json",
        Kind.METHOD: "see the header Allow for the methods of this path",
    }
    detail = details.get(kind, "the body can't be parsed: expected JSON")
    return Problem(kind, detail, headers=error.headers)


def _of_validation(error: RequestValidationError) -> Problem:
    faults = [{"where": _where(it["loc"]), "message": str(it["msg"])} for it in error.errors()]
    return Problem(Kind.INVALID, f"{faults[0]['where']}: {faults[0]['message']}", more={"errors": faults})


def _where(place: Sequence[str | int]) -> str:
    """Return where a value stands, such as `query.limit`; names that a client made up are left out."""
    return ".".join(str(part) for part in place[:2])[:60]


def _of_warehouse(error: Exception) -> Problem:
    _log.warning("BigQuery did not answer a request", reason=str(error))
    return unavailable("BigQuery did not answer, or refused: try again; the log of the service has the reason")


def _of_pubsub(error: Exception) -> Problem:
    _log.warning("Pub/Sub did not answer a request", reason=str(error))
    return unavailable("Pub/Sub did not answer, or refused: try again; the log of the service has the reason")


def _of_google(error: Exception) -> Problem:
    _log.warning("a service of Google did not answer a request", reason=type(error).__name__)
    return unavailable("a service of Google did not answer, or refused: try again")


_PROBLEMS: Final[Mapping[type[Exception], Callable[[Any], Problem]]] = {
    Problem: lambda error: error,
    RequestValidationError: _of_validation,
    HTTPException: _of_http,
    WarehouseUnavailable: _of_warehouse,
    PubSubUnavailable: _of_pubsub,
    GoogleAPIError: _of_google,
    GoogleAuthError: _of_google,
    NotFilled: lambda _error: unavailable("the scores are being read from BigQuery: see /readyz"),
    BadCursor: lambda error: invalid("query.cursor", str(error)),
    LeaseTaken: lambda _error: Problem(
        Kind.CONFLICT, "another replay is running: wait for it, or cancel it with rescore dead-letters cancel"
    ),
}
