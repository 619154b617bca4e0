"""Whether the process answers, whether it can answer requests, and its metrics."""

from typing import Final

from fastapi import APIRouter, Response

from pipeline.api.answers import Asked, Operator, json_answer, problems
from pipeline.api.documents import Health, Ready
from pipeline.api.metrics import CONTENT_TYPE

router: Final = APIRouter(tags=["operations"])


@router.get("/healthz", summary="The process answers", response_model=None, responses={200: {"model": Health}})
async def healthz() -> Response:
    """For whoever restarts a process that hangs."""
    return json_answer({"status": "ok"})


@router.get(
    "/readyz",
    summary="The read model is filled",
    response_model=None,
    responses={200: {"model": Ready}, 503: problems()[503]},
)
async def readyz(services: Asked) -> Response:
    """For whoever sends requests; with old scores it goes on answering, while BigQuery does not answer."""
    return json_answer({"status": "ready", "as_of": services.fresh()["as_of"]})


@router.get(
    "/metrics",
    summary="Metrics in Prometheus' form",
    response_model=None,
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems()},
)
async def metrics(services: Asked, _operator: Operator) -> Response:
    """Of this process: requests, seconds, refreshes, the age of the read model."""
    as_of = services.freshness().as_of
    services.metrics.age.set((services.now() - as_of).total_seconds() if as_of else float("inf"))
    return Response(services.metrics.text(), media_type=CONTENT_TYPE)
