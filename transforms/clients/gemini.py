"""Gemini over google-genai: the one module that imports it, and maps its exceptions.

The client goes to GOOGLE_VERTEX_BASE_URL where that is set: Google's client honours it, no code here knows.
"""

import time
from typing import Final

import aiohttp
import google.auth.exceptions
import httpx
from google import genai
from google.genai import errors, types
from pydantic import ValidationError

from transforms.clients.access_tokens import AccessTokens
from transforms.clients.gemini_api import (
    GeminiSettings,
    Generation,
    GenerationRequest,
    error_of_status,
    fixed_part,
    max_output_tokens,
    read_response,
)
from transforms.errors import ConnectionLost, GeminiError, InvalidResponse, Unauthenticated

VENDOR_ERRORS: Final = (
    errors.APIError,
    errors.UnknownApiResponseError,
    aiohttp.ClientError,
    httpx.HTTPError,
    ConnectionError,
    google.auth.exceptions.GoogleAuthError,
    ValidationError,
)


class SdkTransport:
    """A client of google-genai, made at the first call, and the credentials that it uses."""

    def __init__(self, settings: GeminiSettings) -> None:
        self._settings = settings
        fixed = fixed_part(settings)
        self._config = types.GenerateContentConfig(
            system_instruction=types.Content.model_validate(fixed["systemInstruction"]),
            response_mime_type=fixed["generationConfig"]["responseMimeType"],
            response_json_schema=fixed["generationConfig"]["responseJsonSchema"],
            should_return_http_response=True,  # read by the same reader as REST's
        )
        self._tokens: AccessTokens | None = None
        self._client: genai.Client | None = None

    async def generate(self, request: GenerationRequest) -> Generation:
        """Make one call; see Transport."""
        client = self._client or await self._made_client()
        config = self._config.model_copy(update={"max_output_tokens": max_output_tokens(request.accounts)})
        started = time.monotonic()
        try:
            response = await client.aio.models.generate_content(
                model=self._settings.model, contents=request.text, config=config
            )
        except VENDOR_ERRORS as error:
            raise map_error(error) from None
        raw = response.sdk_http_response
        return read_response((raw.body if raw else None) or "", time.monotonic() - started)

    async def refresh_credentials(self) -> None:
        """Get a new access token, which google-genai by itself does not do on 401; see Transport."""
        if self._tokens:
            await self._tokens.refresh()

    async def close(self) -> None:
        """Close the client."""
        if self._client:
            await self._client.aio.aclose()

    async def _made_client(self) -> genai.Client:
        self._tokens = self._tokens or await AccessTokens.of_the_environment()
        self._client = genai.Client(
            vertexai=True,
            project=self._settings.project,
            location=self._settings.location,
            credentials=self._tokens.credentials,
            # One attempt: without this the client sleeps up to 10 s and retries by itself, and 499 is not among what
            # its own policy retries.
            http_options=types.HttpOptions(retry_options=types.HttpRetryOptions(attempts=1)),
        )
        return self._client


def map_error(error: Exception) -> GeminiError:
    """Return our error for one of google-genai's; its own text can quote the request, and stays behind."""
    if isinstance(error, errors.APIError):
        return error_of_status(error.code, getattr(error.response, "headers", None) or {})
    if isinstance(error, errors.UnknownApiResponseError | ValidationError):
        return InvalidResponse(f"Gemini's response is no response of its API ({type(error).__name__})")
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return Unauthenticated(f"the token endpoint gave no access token ({type(error).__name__})")
    return ConnectionLost(f"the connection to Gemini failed ({type(error).__name__})")
