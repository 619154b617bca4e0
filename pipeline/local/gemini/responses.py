"""The response bodies of Vertex AI."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

_ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: (
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token or other valid credential.",
    ),
    403: ("PERMISSION_DENIED", "Permission 'aiplatform.endpoints.predict' denied on resource (or it may not exist)."),
    404: ("NOT_FOUND", "Publisher Model was not found or your project does not have access to it."),
    429: ("RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "Internal error encountered."),
    503: ("UNAVAILABLE", "The service is currently unavailable."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}


def error_body(code: int, message: str | None = None) -> dict[str, Any]:
    """Return Google's error JSON for an HTTP status; the default message is Google's own."""
    status, default_message = _ERRORS[code]
    return {"error": {"code": code, "message": message or default_message, "status": status}}


def model_not_found(resource: str) -> str:
    """Return the message of the 404 for a model, `projects/P/locations/L/publishers/google/models/M`."""
    return (
        f"Publisher Model `{resource}` was not found or your project does not have access to it. Please ensure you are "
        "using a valid model version."
    )


def usage(prompt_tokens: int, output_tokens: int, cached_tokens: int) -> dict[str, Any]:
    """Return the usageMetadata; counts of zero are left out."""
    counts: dict[str, Any] = {
        "promptTokenCount": prompt_tokens,
        "totalTokenCount": prompt_tokens + output_tokens,
        "trafficType": "ON_DEMAND",
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt_tokens}],
    }
    if output_tokens:
        counts["candidatesTokenCount"] = output_tokens
        counts["candidatesTokensDetails"] = [{"modality": "TEXT", "tokenCount": output_tokens}]
    if cached_tokens:
        counts["cachedContentTokenCount"] = cached_tokens
        counts["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": cached_tokens}]
    return counts


def candidate(text: str | None, finish_reason: str) -> dict[str, Any]:
    """Return a candidate; without a text it has no content, as when Gemini blocks it."""
    content = {} if text is None else {"content": {"role": "model", "parts": [{"text": text}]}}
    return {**content, "finishReason": finish_reason}


def response_body(
    *,
    candidates: list[dict[str, Any]] | None,
    usage_metadata: Mapping[str, Any],
    model_version: str,
    response_id: str,
    created: dt.datetime,
    block_reason: str | None = None,
) -> dict[str, Any]:
    """Return the body of a 200. None for `candidates` leaves them out; `created` is in UTC."""
    body: dict[str, Any] = {}
    if candidates is not None:
        body["candidates"] = candidates
    if block_reason is not None:
        body["promptFeedback"] = {"blockReason": block_reason, "blockReasonMessage": "The prompt was blocked."}
    return {
        **body,
        "usageMetadata": usage_metadata,
        "modelVersion": model_version,
        "createTime": created.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "responseId": response_id,
    }
