"""google-genai's exceptions: each is mapped, and what it quotes of a request stays behind."""

import aiohttp
import google.auth.exceptions
import httpx
import pytest
from google.genai import errors

from transforms.clients.gemini import VENDOR_ERRORS, map_error
from transforms.errors import (
    ConnectionLost,
    GeminiError,
    GeminiRefusedPrompt,
    InvalidResponse,
    QuotaExhausted,
    Unauthenticated,
)


def _status(code: int) -> errors.APIError:
    return errors.APIError(code, {"error": {"code": code, "message": "the prompt said: SECRET", "status": "X"}})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_status(400), GeminiRefusedPrompt),
        (_status(429), QuotaExhausted),
        (errors.UnknownApiResponseError("SECRET"), InvalidResponse),
        (aiohttp.ServerDisconnectedError("SECRET"), ConnectionLost),
        (aiohttp.ClientPayloadError("SECRET"), ConnectionLost),
        (httpx.ConnectError("SECRET"), ConnectionLost),
        (ConnectionResetError("SECRET"), ConnectionLost),
        (google.auth.exceptions.RefreshError("SECRET"), Unauthenticated),  # type: ignore[no-untyped-call]
    ],
)
def test_vendor_errors_have_a_class_and_keep_their_text(error: Exception, kind: type[GeminiError]) -> None:
    """Each vendor error is mapped; what it quotes of the request goes no further."""
    assert isinstance(error, VENDOR_ERRORS)
    mapped = map_error(error)
    assert type(mapped) is kind
    assert "SECRET" not in str(mapped)
