"""Gemini's edge, whatever carries a call: every status and finish reason has its error, and errors keep no text."""

import datetime as dt
import email.utils
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.gemini_api import error_of_status, read_response, retry_after
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


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, GeminiRefusedPrompt),
        (413, GeminiRefusedPrompt),
        (401, Unauthenticated),
        (403, AccessRefused),
        (404, AccessRefused),
        (408, ServerFault),
        (429, QuotaExhausted),
        (499, ServerFault),
        (500, ServerFault),
        (502, ServerFault),
        (503, ServerFault),
        (504, ServerFault),
        (302, AccessRefused),
        (418, AccessRefused),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[GeminiError]) -> None:
    """Also one that nobody expects: an operator has to see to it."""
    assert type(error_of_status(status, {})) is kind


@pytest.mark.parametrize("status", [429, 503])
def test_what_the_server_asks_to_wait_is_kept(status: int) -> None:
    """Retry-After is part of the error."""
    error = error_of_status(status, {"Retry-After": "7"})
    assert isinstance(error, QuotaExhausted | ServerFault)
    assert error.retry_after_seconds == 7


@given(st.text() | st.none())
def test_any_retry_after_is_seconds_or_nothing(value: str | None) -> None:
    """Whatever a server sends there, it is a time that is not negative, or ignored."""
    seconds = retry_after(value)
    assert seconds is None or seconds >= 0


def test_a_date_to_retry_after_is_understood() -> None:
    """HTTP allows a date in place of seconds."""
    due = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90)
    seconds = retry_after(email.utils.format_datetime(due, usegmt=True))
    assert seconds is not None
    assert 60 < seconds <= 90


def _response(**changes: Any) -> str:
    document: dict[str, Any] = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "{}"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "cachedContentTokenCount": 4},
        "modelVersion": "gemini-x",
        "aFieldOfNextYear": {"deep": [1]},
    } | changes
    return json.dumps(document)


def test_a_response_is_its_text_and_its_cost() -> None:
    """Text, tokens and the model that answered are read; fields that nobody knows are passed over."""
    generation = read_response(_response(), 0.25)
    assert generation.text == "{}"
    assert (generation.prompt_tokens, generation.output_tokens, generation.cached_tokens) == (10, 5, 4)
    assert generation.model_version == "gemini-x"
    assert generation.latency_seconds == 0.25


def test_thoughts_are_paid_for_and_are_no_answer() -> None:
    """What the model thought is left out of the text, and is part of the output's cost."""
    parts = [{"text": "hm", "thought": True}, {"text": "{"}, {"text": "}"}]
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 5, "thoughtsTokenCount": 7}
    answer = _response(candidates=[{"content": {"parts": parts}, "finishReason": "STOP"}], usageMetadata=usage)
    assert read_response(answer, 0).text == "{}"
    assert read_response(answer, 0).output_tokens == 12


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("MAX_TOKENS", OutputTruncated),
        ("SAFETY", BlockedResponse),
        ("BLOCKLIST", BlockedResponse),
        ("SPII", BlockedResponse),
        ("PROHIBITED_CONTENT", BlockedResponse),
        ("RECITATION", EndedEarly),
        ("OTHER", EndedEarly),
        ("LANGUAGE", EndedEarly),
        ("MALFORMED_FUNCTION_CALL", EndedEarly),
        ("A_REASON_OF_NEXT_YEAR", EndedEarly),
        (None, EndedEarly),
    ],
)
def test_each_finish_reason_has_its_error(reason: str | None, kind: type[GeminiError]) -> None:
    """Whatever ended the answer early has a class, also a reason that nobody knows yet."""
    with pytest.raises(GeminiError) as refusal:
        read_response(_response(candidates=[{"finishReason": reason}]), 0)
    assert type(refusal.value) is kind


def test_a_blocked_prompt_is_told_apart() -> None:
    """A block reason: it was the prompt."""
    with pytest.raises(BlockedPrompt):
        read_response(_response(candidates=[], promptFeedback={"blockReason": "SAFETY"}), 0)


@pytest.mark.parametrize("candidates", [[], [{"content": {"parts": []}, "finishReason": "STOP"}]])
def test_no_content_is_as_if_it_were_withheld(candidates: list[Any]) -> None:
    """No candidate, or a finished one without text."""
    with pytest.raises(BlockedResponse):
        read_response(_response(candidates=candidates), 0)


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", "{", '{"candidates": 7}', '{"candidates": [{"content": "SECRET"}]}']
)
def test_what_is_no_response_of_the_api_is_invalid(body: str) -> None:
    """A proxy's page, or a shape that nobody expects; what it says goes no further."""
    with pytest.raises(InvalidResponse) as refusal:
        read_response(body, 0)
    assert "SECRET" not in str(refusal.value)


def test_a_reason_that_is_no_name_is_not_repeated() -> None:
    """Only what looks like an enum's member gets into messages."""
    with pytest.raises(EndedEarly) as refusal:
        read_response(_response(candidates=[{"finishReason": "I read the email of SECRET"}]), 0)
    assert "SECRET" not in str(refusal.value)


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}], "SERVICE_DISABLED"),
        ([{"@type": "type.googleapis.com/google.rpc.Help"}, {"reason": "BILLING_DISABLED"}], "BILLING_DISABLED"),
        ([{"reason": "what the prompt said"}], None),
        ([], None),
    ],
)
def test_a_refusal_keeps_the_name_of_its_reason_and_no_text(details: list[Any], reason: str | None) -> None:
    """An API that is not enabled is told by it; what is no name stays behind."""
    body = json.dumps({"error": {"code": 403, "message": "the prompt said", "details": details}}).encode()
    error = error_of_status(403, {}, body)
    assert isinstance(error, AccessRefused)
    assert error.reason == reason
    assert "prompt said" not in str(error)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "denied"}', b'{"error": {"details": ["x"]}}'])
def test_a_refusal_without_a_reason_is_one_all_the_same(body: bytes) -> None:
    """Somebody in between may answer with anything."""
    error = error_of_status(403, {}, body)
    assert isinstance(error, AccessRefused)
    assert error.reason is None
