"""Vertex AI's `generateContent`, whatever transport carries it: settings, request, response, and errors by status.

Source: Vertex AI's REST reference. Unknown fields and enum values are tolerated.
"""

import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from schemas.score import ScoreAnswers
from transforms.errors import (
    AccessRefused,
    BlockedPrompt,
    BlockedResponse,
    EndedEarly,
    GeminiError,
    GeminiRefusedPrompt,
    InvalidResponse,
    OutputTruncated,
    QuotaExhausted,
    ServerFault,
    Unauthenticated,
)
from transforms.prompt.prompt import DEFAULT_PROMPT_VERSION, load_instruction, response_schema

DEFAULT_MODEL: Final = "gemini-3.5-flash-lite"
DEFAULT_LOCATION: Final = "global"
OUTPUT_TOKENS_PER_ACCOUNT: Final = 1_500
"""Enough for an answer with five drivers."""

_FILTERS: Final = frozenset({"SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "MODEL_ARMOR"})
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,60}\Z")
_TOO_LARGE: Final = frozenset({400, 413})
_TRANSIENT: Final = frozenset({408, 499})


@dataclass(frozen=True)
class CircuitPolicy:
    """When the circuit to Gemini opens, and how often it is probed while it is open."""

    service_failures: int = 5
    """Calls in a row that fail because of the service: server faults, lost connections, deadlines, refused access."""
    useless_answers: int = 20
    """Calls in a row without a single score, for whatever reason: half a batch, so no single account is the cause."""
    probe_seconds: float = 5.0
    hold_seconds: float = 60.0
    """How long a bundle waits for the circuit to close, before what it could not score is parked."""
    release_seconds: float = 10.0
    """The same for a parked batch that is tried again: long enough for a probe and its answer."""
    park_seconds: float = 30.0
    """A parked batch is tried again after half to all of this."""


@dataclass(frozen=True)
class GeminiSettings:
    """The model, its location, and the limits of calls to it."""

    project: str
    location: str = DEFAULT_LOCATION
    model: str = DEFAULT_MODEL
    prompt_version: str = DEFAULT_PROMPT_VERSION
    instruction: str | None = field(default=None, repr=False)
    """The text of a prompt version that is not packaged."""
    deadline_seconds: float = 30.0
    """For one call, from the connection to the last byte of the response."""
    outage_deadline_seconds: float = 1_800.0
    """How long an account waits while Gemini fails as a whole, from its first try, before it is dead-lettered."""
    max_calls_in_flight: int = 256
    """Ceiling of the adaptive limit in one process: its share of the job's limit."""
    max_prompt_tokens: int = 60_000
    """Estimated tokens of one call's prompt."""
    circuit: CircuitPolicy = field(default_factory=CircuitPolicy)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """The variable part of a call: the prompt, and the number of accounts that it asks about."""

    text: str
    accounts: int


@dataclass(frozen=True, slots=True)
class Generation:
    """The result of one call: text, model, tokens, and duration."""

    text: str
    model_version: str | None
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    latency_seconds: float


class Transport(Protocol):
    """Makes calls to Gemini on one event loop, without retries and without deadlines."""

    async def generate(self, request: GenerationRequest) -> Generation:
        """Make one call.

        Raises:
            GeminiError: It failed, or its response has no text.
        """
        ...

    async def refresh_credentials(self) -> None:
        """Request a new access token, even if the old one has not expired.

        Raises:
            Unauthenticated: The token endpoint gave none.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def fixed_part(settings: GeminiSettings) -> dict[str, Any]:
    """Return the part of a request that is the same in every call; the instruction is first, for Gemini's cache."""
    instruction = settings.instruction or load_instruction(settings.prompt_version)
    return {
        "systemInstruction": {"role": "user", "parts": [{"text": instruction}]},
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseJsonSchema": response_schema(ScoreAnswers),
        },
    }


def max_output_tokens(accounts: int) -> int:
    """Return the limit of output tokens for a call about so many accounts."""
    return OUTPUT_TOKENS_PER_ACCOUNT * accounts


def error_of_status(status: int, headers: Mapping[str, str], body: bytes = b"") -> GeminiError:
    """Return our error for an HTTP status, with the name of the reason in the body, if it has one.

    No other text of the response is kept, since it can quote the request.
    """
    if status in _TOO_LARGE:
        return GeminiRefusedPrompt(f"Gemini refused the request as invalid ({status})")
    if status == HTTPStatus.UNAUTHORIZED:
        return Unauthenticated("Gemini refused the access token (401)")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return QuotaExhausted(retry_after(headers.get("Retry-After")))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
        return ServerFault(status, retry_after(headers.get("Retry-After")))
    return AccessRefused(status, reason_of(body))


def reason_of(body: bytes) -> str | None:
    """Return the reason in the google.rpc.ErrorInfo of an error's body, such as SERVICE_DISABLED, or None."""
    try:
        details = _ErrorBody.model_validate_json(body).error.details
    except ValidationError:
        return None
    return next((detail.reason for detail in details if detail.reason and _NAME.match(detail.reason)), None)


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, a number or an HTTP date; None if it is missing or invalid."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value.strip())
    try:
        due = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(due - time.time(), 0.0)


class _Wire(BaseModel):
    """A message of Google's API; unknown fields are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class _Part(_Wire):
    text: str | None = None
    thought: bool = False


class _Content(_Wire):
    parts: tuple[_Part, ...] = ()


class _Candidate(_Wire):
    content: _Content | None = None
    finish_reason: str | None = None


class _PromptFeedback(_Wire):
    block_reason: str | None = None


Tokens = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""A count that counters and columns can hold."""


class _Usage(_Wire):
    prompt_token_count: Tokens = 0
    candidates_token_count: Tokens = 0
    thoughts_token_count: Tokens = 0
    cached_content_token_count: Tokens = 0


class _Response(_Wire):
    candidates: tuple[_Candidate, ...] = ()
    prompt_feedback: _PromptFeedback | None = None
    usage_metadata: _Usage = _Usage()
    model_version: str | None = None


class _ErrorDetail(_Wire):
    reason: str | None = None


class _Error(_Wire):
    details: tuple[_ErrorDetail, ...] = ()


class _ErrorBody(_Wire):
    error: _Error


def read_response(body: bytes | str, latency_seconds: float) -> Generation:
    """Return the text of a response.

    Raises:
        InvalidResponse: It is not a response of Gemini's API.
        BlockedPrompt: The prompt was blocked.
        OutputTruncated: The model reached the limit of output tokens.
        BlockedResponse: A filter withheld the content, or the response has none.
        EndedEarly: The model stopped for another reason.
    """
    try:
        response = _Response.model_validate_json(body)
    except ValidationError as error:
        raise InvalidResponse(
            f"Gemini returned a response that its API does not define: {error.errors()[0]['type']}"
        ) from None
    if response.prompt_feedback and response.prompt_feedback.block_reason:
        raise BlockedPrompt(f"Gemini blocked the prompt: {_safe_name(response.prompt_feedback.block_reason)}")
    if not response.candidates:
        raise BlockedResponse("Gemini's response has no candidate")
    candidate = response.candidates[0]
    _check_end(candidate.finish_reason)
    parts = candidate.content.parts if candidate.content else ()
    text = "".join(part.text for part in parts if part.text and not part.thought)
    if not text:
        raise BlockedResponse("Gemini's response has no text")
    usage = response.usage_metadata
    return Generation(
        text=text,
        model_version=response.model_version,
        prompt_tokens=usage.prompt_token_count,
        output_tokens=usage.candidates_token_count + usage.thoughts_token_count,
        cached_tokens=usage.cached_content_token_count,
        latency_seconds=latency_seconds,
    )


def _check_end(reason: str | None) -> None:
    if reason == "STOP":
        return
    if reason == "MAX_TOKENS":
        raise OutputTruncated("Gemini ran out of output tokens")
    if reason in _FILTERS:
        raise BlockedResponse(f"Gemini's filters withheld the answer: {reason}")
    raise EndedEarly(f"Gemini ended without an answer: {_safe_name(reason)}")


def _safe_name(reason: str | None) -> str:
    """Return a reason for the log if it has the form of an enum's name: a server could send any text."""
    return reason if reason and _NAME.match(reason) else "no valid reason given"
