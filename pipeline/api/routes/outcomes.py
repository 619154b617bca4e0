"""Whether every change event has exactly one outcome."""

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from pipeline.api.answers import Asked, Operator, json_answer, problems
from pipeline.api.documents import ReconciliationDocument
from pipeline.api.problems import Kind, invalid
from pipeline.ledger.reconcile import reconcile

router: Final = APIRouter(tags=["outcomes"])

_DURATION: Final = "^[0-9]{1,4}[smhdw]$"


@router.get(
    "/v1/outcomes:reconcile",
    summary="Check that every event has exactly one outcome",
    response_model=None,
    responses={200: {"model": ReconciliationDocument}, **problems(Kind.INVALID)},
)
async def reconcile_outcomes(
    services: Asked,
    _operator: Operator,
    since: Annotated[str, Query(pattern=_DURATION, description="Start of the period, so long ago: 24h, 7d")] = "24h",
    grace: Annotated[
        str, Query(pattern=_DURATION, description="How long after it was received an event may lack an outcome")
    ] = "15m",
    limit: Annotated[int, Query(ge=1, le=200, description="Events that a listing has, at most")] = 20,
) -> Response:
    """As `rescore reconcile`: counts by outcome, the events that lack one or have two, and what to type then."""
    resources = services.resources
    try:
        result = await services.call(
            partial(
                reconcile,
                project=resources.project,
                dataset=resources.dataset,
                since=since,
                grace=grace,
                limit=limit,
                now=services.now,
            )
        )
    except ValueError:
        raise invalid("query.since", "expected a time longer ago than the grace period, and after the year 1") from None
    return json_answer(result.document())
