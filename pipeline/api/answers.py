"""JSON answers, and what the routes share in the OpenAPI document."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

import orjson
from fastapi import Depends, Request, Response

from pipeline.api.auth.principals import Principal, Role
from pipeline.api.documents import ProblemDocument
from pipeline.api.problems import MEDIA_TYPE, Forbidden, Kind
from pipeline.api.read_model.rows import JSON_OPTIONS
from pipeline.api.services import Services

_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    429: {"Retry-After": "Seconds until the next request may succeed"},
    503: {"Retry-After": "Seconds until the next request may succeed"},
    401: {"WWW-Authenticate": "Bearer"},
}
_EVERYWHERE: Final = (Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.TOO_MANY, Kind.UNAVAILABLE, Kind.BAD_REQUEST)


def json_answer(
    document: Mapping[str, Any], status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a document as JSON; times in RFC 3339."""
    content = orjson.dumps(document, default=_plain, option=JSON_OPTIONS | orjson.OPT_NON_STR_KEYS)
    return Response(content, status_code=int(status), media_type="application/json", headers=dict(headers or {}))


def _plain(value: Any) -> Any:
    """Return what orjson does not know: rows of BigQuery are mappings, and not dicts."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def problems(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route answers with, besides those of the gate."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {
        kind.status: {
            "description": kind.value[2],
            "content": content,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in _HEADERS.get(kind.status, {}).items()
            },
        }
        for kind in (*_EVERYWHERE, *kinds)
    }


PROBLEM_MODEL: Final = ProblemDocument


async def services_of(request: Request) -> Services:
    """Return what the routes work with; asynchronous, or it would be run on another thread."""
    services: Services = request.app.state.services
    return services


def needs(role: Role) -> Any:
    """Return a dependency that lets principals with a role through, and returns the principal."""

    async def principal(request: Request) -> Principal:
        found: Principal = request.state.principal
        if role not in found.roles:
            raise Forbidden(f"this needs the role {role}: ask whoever keeps the allow-list of this service")
        return found

    return Depends(principal)


Asked = Annotated[Services, Depends(services_of)]
Reader = Annotated[Principal, needs(Role.READER)]
Operator = Annotated[Principal, needs(Role.OPERATOR)]
Publisher = Annotated[Principal, needs(Role.PUBLISHER)]
