"""Gemini's edge: every vendor error and finish reason has its class, and only passing faults are tried again."""

from typing import Any

import aiohttp
import google.auth.exceptions
import httpx
import pytest
from google.genai import errors, types

from schemas.dead_letter import ErrorClass
from transforms.errors import GeminiError, GeminiUnavailable, InvalidResponse
from transforms.gemini import VENDOR_ERRORS, is_worth_retrying, map_error, read_response


def _status(code: int) -> errors.APIError:
    return errors.APIError(code, {"error": {"code": code, "message": "the prompt said: SECRET", "status": "X"}})


@pytest.mark.parametrize("code", [429, 499, 500, 502, 503, 504])
def test_passing_faults_are_tried_again(code: int) -> None:
    """Shared quota and a server's faults pass."""
    assert is_worth_retrying(map_error(_status(code)))


@pytest.mark.parametrize("code", [400, 401, 403, 404, 501])
def test_lasting_faults_are_not_tried_again(code: int) -> None:
    """The same call would be refused again."""
    assert not is_worth_retrying(map_error(_status(code)))


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (_status(400), ErrorClass.PROMPT_TOO_LARGE),
        (_status(429), ErrorClass.GEMINI_UNAVAILABLE),
        (_status(404), ErrorClass.GEMINI_UNAVAILABLE),
        (errors.UnknownApiResponseError("SECRET"), ErrorClass.INVALID_RESPONSE),
        (aiohttp.ServerDisconnectedError("SECRET"), ErrorClass.GEMINI_UNAVAILABLE),
        (aiohttp.ClientPayloadError("SECRET"), ErrorClass.GEMINI_UNAVAILABLE),
        (httpx.ConnectError("SECRET"), ErrorClass.GEMINI_UNAVAILABLE),
        (ConnectionResetError("SECRET"), ErrorClass.GEMINI_UNAVAILABLE),
        (google.auth.exceptions.RefreshError("SECRET"), ErrorClass.GEMINI_UNAVAILABLE),  # type: ignore[no-untyped-call]
    ],
)
def test_vendor_errors_have_a_class_and_keep_their_text(error: Exception, error_class: ErrorClass) -> None:
    """Each vendor error is mapped; what it quotes of the request goes no further."""
    assert isinstance(error, VENDOR_ERRORS)
    mapped = map_error(error)
    assert mapped.error_class is error_class
    assert "SECRET" not in str(mapped)


def _response(**changes: Any) -> types.GenerateContentResponse:
    document: dict[str, Any] = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "{}"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "cachedContentTokenCount": 4},
        "modelVersion": "gemini-x",
    } | changes
    return types.GenerateContentResponse.model_validate(document)


def test_a_response_is_its_text_and_its_cost() -> None:
    """Text, tokens and the model that answered are read."""
    generation = read_response(_response(), 0.25)
    assert generation.text == "{}"
    assert (generation.prompt_tokens, generation.output_tokens, generation.cached_tokens) == (10, 5, 4)
    assert generation.model_version == "gemini-x"


@pytest.mark.parametrize(
    ("reason", "error_class"),
    [
        ("MAX_TOKENS", ErrorClass.OUTPUT_TRUNCATED),
        ("SAFETY", ErrorClass.BLOCKED_RESPONSE),
        ("RECITATION", ErrorClass.BLOCKED_RESPONSE),
        ("PROHIBITED_CONTENT", ErrorClass.BLOCKED_RESPONSE),
        ("A_REASON_OF_NEXT_YEAR", ErrorClass.BLOCKED_RESPONSE),
    ],
)
@pytest.mark.filterwarnings("ignore:A_REASON_OF_NEXT_YEAR")
def test_finish_reasons_have_their_class(reason: str, error_class: ErrorClass) -> None:
    """Whatever ended the answer early has a class, also a reason that the client does not know."""
    with pytest.raises(GeminiError) as refusal:
        read_response(_response(candidates=[{"finishReason": reason}]), 0)
    assert refusal.value.error_class is error_class


def test_a_blocked_prompt_is_told_apart() -> None:
    """No candidates and a block reason: it was the prompt."""
    with pytest.raises(GeminiError) as refusal:
        read_response(_response(candidates=None, promptFeedback={"blockReason": "SAFETY"}), 0)
    assert refusal.value.error_class is ErrorClass.BLOCKED_PROMPT


@pytest.mark.parametrize("candidates", [[], [{"content": {"parts": []}, "finishReason": "STOP"}]])
def test_nothing_at_all_is_an_invalid_response(candidates: list[Any]) -> None:
    """No candidate, or a finished one without text."""
    with pytest.raises(InvalidResponse):
        read_response(_response(candidates=candidates), 0)


def test_a_lost_connection_is_tried_again() -> None:
    """A connection lost is no verdict on the call."""
    assert is_worth_retrying(GeminiUnavailable("the connection failed"))
    assert not is_worth_retrying(ValueError())
