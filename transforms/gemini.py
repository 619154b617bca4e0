"""Gemini, at its edge: the one module that imports google.genai, and maps its exceptions.

The client goes to GOOGLE_VERTEX_BASE_URL where that is set: Google's client honours it, no code here knows.
"""

import asyncio
import functools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import google.auth.exceptions
import httpx
import tenacity
from google import genai
from google.genai import errors, types
from pydantic import ValidationError

from schemas.score import ScoreAnswers
from transforms.errors import (
    BlockedPrompt,
    BlockedResponse,
    GeminiError,
    GeminiRefusedPrompt,
    GeminiTimeout,
    GeminiUnavailable,
    InvalidResponse,
    OutputTruncated,
)
from transforms.prompt import DEFAULT_PROMPT_VERSION, load_instruction, response_schema

DEFAULT_MODEL: Final = "gemini-3.5-flash-lite"
DEFAULT_LOCATION: Final = "global"
MAX_ATTEMPTS: Final = 4
OUTPUT_TOKENS_PER_ACCOUNT: Final = 1_500
"""Room for an answer with five drivers; a model that needs more is rambling."""

_HTTP_BAD_REQUEST: Final = 400
_RETRIED_STATUS: Final = frozenset({429, 499, 500, 502, 503, 504})


@dataclass(frozen=True)
class GeminiSettings:
    """Which model to ask, where, and how patiently."""

    project: str
    location: str = DEFAULT_LOCATION
    model: str = DEFAULT_MODEL
    prompt_version: str = DEFAULT_PROMPT_VERSION
    deadline_seconds: float = 60.0
    max_calls_in_flight: int = 64


@dataclass(frozen=True)
class Generation:
    """What one call brought: the text, what it cost in tokens, who answered, and how long it took."""

    text: str
    model_version: str | None
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    latency_seconds: float


class GeminiEngine:
    """One event loop, one client and one limit of calls in flight, for all the threads of a process."""

    def __init__(self, settings: GeminiSettings) -> None:
        self._settings = settings
        self._config = types.GenerateContentConfig(
            system_instruction=load_instruction(settings.prompt_version),
            response_mime_type="application/json",
            response_json_schema=response_schema(ScoreAnswers),
        )
        self._in_flight = asyncio.Semaphore(settings.max_calls_in_flight)
        self._client = genai.Client(
            vertexai=True,
            project=settings.project,
            location=settings.location,
            # One attempt: without this the client sleeps up to 10 s and retries by itself, and 499 is not among what
            # its own policy retries.
            http_options=types.HttpOptions(retry_options=types.HttpRetryOptions(attempts=1)),
        )
        self._loop = asyncio.new_event_loop()
        # A daemon: the process may end without asking, and what was in flight is redelivered.
        threading.Thread(target=self._loop.run_forever, name="gemini", daemon=True).start()

    def close(self) -> None:
        """End the client and the event loop."""
        asyncio.run_coroutine_threadsafe(self._client.aio.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def generate_all(self, prompts: Sequence[tuple[str, int]]) -> list[Generation | GeminiError]:
        """Make calls at once, and return each one's answer or error, in order; blocks until the last has ended.

        Args:
            prompts: The text, and the number of accounts that it asks about.
        """
        return asyncio.run_coroutine_threadsafe(self._gather(prompts), self._loop).result()

    async def _gather(self, prompts: Sequence[tuple[str, int]]) -> list[Generation | GeminiError]:
        # An exception that is none of ours ends the bundle: it is a fault of this program, for an operator to see.
        return await asyncio.gather(*(self._outcome(text, accounts) for text, accounts in prompts))

    async def _outcome(self, text: str, accounts: int) -> Generation | GeminiError:
        try:
            return await self._generate(text, accounts)
        except GeminiError as error:
            return error

    async def _generate(self, text: str, accounts: int) -> Generation:
        """Make one call within the total deadline, retries included; the wait for a free place does not count."""
        config = self._config.model_copy(update={"max_output_tokens": OUTPUT_TOKENS_PER_ACCOUNT * accounts})
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_worth_retrying),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=8),
            stop=tenacity.stop_after_attempt(MAX_ATTEMPTS),
            reraise=True,
        )
        async with self._in_flight:
            try:
                async with asyncio.timeout(self._settings.deadline_seconds):
                    return await retrying(self._call, text, config)
            except TimeoutError:
                raise GeminiTimeout(f"no answer within {self._settings.deadline_seconds:g} s") from None

    async def _call(self, text: str, config: types.GenerateContentConfig) -> Generation:
        started = time.monotonic()
        try:
            response = await self._client.aio.models.generate_content(
                model=self._settings.model, contents=text, config=config
            )
        except VENDOR_ERRORS as error:
            raise map_error(error) from error
        return read_response(response, time.monotonic() - started)


VENDOR_ERRORS: Final = (
    errors.APIError,
    errors.UnknownApiResponseError,
    aiohttp.ClientError,
    httpx.HTTPError,
    ConnectionError,
    google.auth.exceptions.GoogleAuthError,
    ValidationError,
)


class StatusError(GeminiUnavailable):
    """Gemini answered with an HTTP status that is no success."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Gemini answered with HTTP status {status}")
        self.status = status


def map_error(error: Exception) -> GeminiError:
    """Return our error for one of google-genai's; its own text can quote the request, and stays behind."""
    if isinstance(error, errors.APIError):
        if error.code == _HTTP_BAD_REQUEST:
            return GeminiRefusedPrompt("Gemini refused the request as invalid (400)")
        return StatusError(error.code)
    if isinstance(error, errors.UnknownApiResponseError | ValidationError):
        return InvalidResponse(f"Gemini's response is no response of its API ({type(error).__name__})")
    return GeminiUnavailable(f"the connection to Gemini failed ({type(error).__name__})")


def is_worth_retrying(error: BaseException) -> bool:
    """Whether the same call can succeed a moment later: shared quota, a server's fault, a lost connection."""
    if isinstance(error, StatusError):
        return error.status in _RETRIED_STATUS
    return isinstance(error, GeminiUnavailable)


def read_response(response: types.GenerateContentResponse, latency_seconds: float) -> Generation:
    """Return the text of a response.

    Raises:
        BlockedPrompt: There is no candidate, since the prompt was blocked.
        OutputTruncated: The model ran out of tokens.
        BlockedResponse: The model ended for any other reason than being done.
        InvalidResponse: It was done, and wrote nothing.
    """
    feedback = response.prompt_feedback
    if feedback and feedback.block_reason:
        raise BlockedPrompt(f"Gemini blocked the prompt: {_name(feedback.block_reason)}")
    if not response.candidates:
        raise InvalidResponse("Gemini's response has no candidate")
    candidate = response.candidates[0]
    match _name(candidate.finish_reason):
        case "STOP":
            pass
        case "MAX_TOKENS":
            raise OutputTruncated("Gemini ran out of output tokens")
        case reason:
            raise BlockedResponse(f"Gemini ended without an answer: {reason}")
    parts = (candidate.content.parts if candidate.content else None) or []
    text = "".join(part.text for part in parts if part.text and not part.thought)
    if not text:
        raise InvalidResponse("Gemini's response has no text")
    usage = response.usage_metadata or types.GenerateContentResponseUsageMetadata()
    return Generation(
        text=text,
        model_version=response.model_version,
        prompt_tokens=usage.prompt_token_count or 0,
        output_tokens=(usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
        cached_tokens=usage.cached_content_token_count or 0,
        latency_seconds=latency_seconds,
    )


def _name(value: Any) -> str:
    """Return the name of an enum's member; values that the client does not know yet come as they are."""
    return str(getattr(value, "value", value))


_starting = threading.Lock()


def shared_engine(settings: GeminiSettings) -> GeminiEngine:
    """Return this process's engine for the settings: workers have a DoFn a thread, the DirectRunner one a bundle."""
    with _starting:
        return _engine(settings)


@functools.cache
def _engine(settings: GeminiSettings) -> GeminiEngine:
    return GeminiEngine(settings)
