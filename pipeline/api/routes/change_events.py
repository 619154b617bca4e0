"""Change events over HTTP: from Salesforce, or from any webhook."""

import re
from typing import Any, Final

import anyio.to_thread
from fastapi import APIRouter, Request, Response

from pipeline.api.answers import Asked, Publisher, json_answer, problems
from pipeline.api.documents import AcceptedEvents
from pipeline.api.event_intake import Intake, TooManyEvents, take_in
from pipeline.api.problems import Kind, Problem
from transforms.clients.messages import Message

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_EXAMPLE: Final = {
    "ChangeEventHeader": {
        "entityName": "Account",
        "recordIds": ["0015g00000Xy3ZqAAJ"],
        "changeType": "UPDATE",
        "changeOrigin": "com/salesforce/api/rest/66.0",
        "transactionKey": "0002ac83-fcbd-9443-f901-7d3a380feb2c",
        "sequenceNumber": 1,
        "commitTimestamp": 1772443800000,
        "changedFields": ["Rating"],
    },
    "Rating": "Hot",
}
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "One change event, or a list of up to 1,000, in any shape of docs/event-shapes.md; 3 MiB in all",
    "content": {
        "application/json": {
            "schema": {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}, "maxItems": 1000}]},
            "example": _EXAMPLE,
        }
    },
}
router: Final = APIRouter(tags=["change events"])


@router.post(
    "/v1/change-events",
    summary="Publish change events",
    status_code=202,
    response_model=None,
    responses={202: {"model": AcceptedEvents}, **problems(Kind.INVALID, Kind.TOO_LARGE, Kind.TIMEOUT)},
    openapi_extra={"requestBody": _BODY},
)
async def change_events(request: Request, services: Asked, publisher: Publisher) -> Response:
    """Each event is parsed as the pipeline parses it, and published under its own identity.

    The same event again is the same event: the pipeline drops it as a duplicate. The answer has the reason for each
    event that can't be read; if none can be, it is 422.
    """
    body = await request.body()
    try:
        taken = await anyio.to_thread.run_sync(
            take_in, body, services.rule_files.rules, services.rule_files.avro_schemas
        )
    except TooManyEvents as error:
        raise Problem(Kind.TOO_LARGE, str(error)) from None
    accepted = [it for it in taken if it.event_ids]
    services.metrics.events.labels("accepted").inc(len(accepted))
    services.metrics.events.labels("refused").inc(len(taken) - len(accepted))
    documents = [it.document(number) for number, it in enumerate(taken, 1)]
    if not accepted:
        raise Problem(Kind.INVALID, _why_none(taken), more={"events": documents})
    attributes = {"published_by": publisher.name}
    if _TRACEPARENT.fullmatch(parent := request.headers.get("traceparent", "")):
        attributes["traceparent"] = parent
    await services.call(lambda: services.publish([Message(it.payload, dict(attributes)) for it in accepted]))
    return json_answer({"accepted": len(accepted), "refused": len(taken) - len(accepted), "events": documents}, 202)


def _why_none(taken: list[Intake]) -> str:
    if not taken:
        return "the list is empty: send at least one change event"
    return "no event can be read: each has its reason"
