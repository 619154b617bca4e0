"""A transport to Gemini: Vertex AI's REST API over aiohttp, at a tenth of google-genai's CPU a call (ADR 010).

The fixed parts of a request are serialised once; responses are parsed by one validator in native code. Endpoints and
environment variables are those of google-genai, and a test compares the requests of both field by field.
"""

import functools
import os
import time
import urllib.parse
import urllib.request
from http import HTTPStatus
from typing import Final

import aiohttp
import orjson

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
from transforms.errors import ConnectionLost

BASE_URL_VARIABLE: Final = "GOOGLE_VERTEX_BASE_URL"
_MULTI_REGIONS: Final = frozenset({"us", "eu"})
_CONNECT_SECONDS: Final = 10.0


def endpoint(settings: GeminiSettings) -> str:
    """Return the URL of a model's generateContent; GOOGLE_VERTEX_BASE_URL replaces Google's host if it is set."""
    location = settings.location
    if location == "global":
        host = "https://aiplatform.googleapis.com"
    elif location in _MULTI_REGIONS:
        host = f"https://aiplatform.{location}.rep.googleapis.com"
    else:
        host = f"https://{location}-aiplatform.googleapis.com"
    base = (os.environ.get(BASE_URL_VARIABLE) or host).rstrip("/")
    model = f"projects/{settings.project}/locations/{location}/publishers/google/models/{settings.model}"
    return f"{base}/v1beta1/{urllib.parse.quote(model)}:generateContent"


class RequestBody:
    """Builds the bodies of calls; only the prompt is serialised for each."""

    def __init__(self, settings: GeminiSettings) -> None:
        self._fixed = fixed_part(settings)
        self._tail = functools.lru_cache(maxsize=64)(self._serialised_tail)

    def of(self, request: GenerationRequest) -> bytes:
        """Return the body as JSON."""
        text = request.text.encode("utf-8", "replace").decode()  # a lone surrogate is not valid in JSON
        prompt = orjson.dumps([{"role": "user", "parts": [{"text": text}]}])
        return b"".join((b'{"contents":', prompt, self._tail(request.accounts)))

    def _serialised_tail(self, accounts: int) -> bytes:
        config = self._fixed["generationConfig"] | {"maxOutputTokens": max_output_tokens(accounts)}
        return b"," + orjson.dumps(self._fixed | {"generationConfig": config})[1:]


class RestTransport:
    """A pool of connections without a limit of its own: the engine limits the calls in flight."""

    def __init__(self, settings: GeminiSettings) -> None:
        self._url = endpoint(settings)
        self._body = RequestBody(settings)
        self._tokens: AccessTokens | None = None
        self._session: aiohttp.ClientSession | None = None

    async def generate(self, request: GenerationRequest) -> Generation:
        """Make one call; see Transport."""
        headers = await self._headers()
        if self._session is None:
            self._session = _session(self._url)
        started = time.monotonic()
        try:
            async with self._session.post(
                self._url, data=self._body.of(request), headers=headers, allow_redirects=False
            ) as response:
                body = await response.read()  # also an error's: else its connection is not reused
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise ConnectionLost(f"the connection to Gemini failed ({type(error).__name__})") from None
        if response.status != HTTPStatus.OK:
            raise error_of_status(response.status, response.headers, body)
        return read_response(body, time.monotonic() - started)

    async def refresh_credentials(self) -> None:
        """Request a new access token; see Transport."""
        await (await self._access_tokens()).refresh()

    async def close(self) -> None:
        """Close the session."""
        if self._session:
            await self._session.close()

    async def _access_tokens(self) -> AccessTokens:
        if self._tokens is None:
            self._tokens = await AccessTokens.from_environment()
        return self._tokens

    async def _headers(self) -> dict[str, str]:
        tokens = await self._access_tokens()
        headers = {"Authorization": f"Bearer {await tokens.token()}", "Content-Type": "application/json"}
        if project := tokens.credentials.quota_project_id:
            headers["x-goog-user-project"] = project
        return headers


def _session(url: str) -> aiohttp.ClientSession:
    # aiohttp's `trust_env` would look up the proxy, and read ~/.netrc, in every call.
    parts = urllib.parse.urlsplit(url)
    bypassed = urllib.request.proxy_bypass(parts.hostname or "")
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        proxy=None if bypassed else urllib.request.getproxies().get(parts.scheme),
        # The engine's deadline covers the whole call; a failure to connect is known much sooner.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
    )
