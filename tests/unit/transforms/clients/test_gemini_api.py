"""Gemini's API: every status and finish reason has its error, and errors have no text of responses."""

import datetime as dt
import email.utils
import json
from typing import Any

import pytest
from hypothesis import example, given
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
    """An unexpected status too: an operator has to attend to it."""
    assert type(error_of_status(status, {})) is kind


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_in_the_error(status: int) -> None:
    """The error has the seconds of Retry-After."""
    error = error_of_status(status, {"Retry-After": "7"})
    assert isinstance(error, QuotaExhausted | ServerFault)
    assert error.retry_after_seconds == 7


@example("\x1f7\x1c")
@given(st.text() | st.none())
def test_any_retry_after_is_seconds_or_nothing(value: str | None) -> None:
    """Any value is read as a time that is not negative, or ignored."""
    seconds = retry_after(value)
    assert seconds is None or seconds >= 0


def test_retry_after_can_be_a_date() -> None:
    """HTTP allows a date instead of seconds."""
    due = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    seconds = retry_after(email.utils.format_datetime(due, usegmt=True))
    assert seconds is not None
    assert 3_600 < seconds <= 7_200


def _response(**changes: Any) -> str:
    document: dict[str, Any] = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "{}"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "cachedContentTokenCount": 4},
        "modelVersion": "gemini-x",
        "aFieldOfNextYear": {"deep": [1]},
    } | changes
    return json.dumps(document)


def test_a_response_is_its_text_and_its_cost() -> None:
    """Text, tokens and model version are read; unknown fields are ignored."""
    generation = read_response(_response(), 0.25)
    assert generation.text == "{}"
    assert (generation.prompt_tokens, generation.output_tokens, generation.cached_tokens) == (10, 5, 4)
    assert generation.model_version == "gemini-x"
    assert generation.latency_seconds == 0.25


def test_thoughts_count_as_output_and_are_not_text() -> None:
    """Thoughts are left out of the text, and their tokens are output tokens."""
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
    """An unknown reason has a class too."""
    with pytest.raises(GeminiError) as refusal:
        read_response(_response(candidates=[{"finishReason": reason}]), 0)
    assert type(refusal.value) is kind


def test_a_block_reason_is_a_blocked_prompt() -> None:
    """The response has no candidate, and the reason in `promptFeedback`."""
    with pytest.raises(BlockedPrompt):
        read_response(_response(candidates=[], promptFeedback={"blockReason": "SAFETY"}), 0)


@pytest.mark.parametrize("candidates", [[], [{"content": {"parts": []}, "finishReason": "STOP"}]])
def test_a_response_without_text_is_blocked(candidates: list[Any]) -> None:
    """It has no candidate, or a finished one without text."""
    with pytest.raises(BlockedResponse):
        read_response(_response(candidates=candidates), 0)


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", "{", '{"candidates": 7}', '{"candidates": [{"content": "SECRET"}]}']
)
def test_another_response_than_the_apis_is_invalid(body: str) -> None:
    """A proxy's page or an unexpected shape; the error does not quote it."""
    with pytest.raises(InvalidResponse) as refusal:
        read_response(body, 0)
    assert "SECRET" not in str(refusal.value)


def test_a_finish_reason_that_is_free_text_is_not_quoted() -> None:
    """Only text in the form of an enum's name gets into messages."""
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
    """The reason tells, for example, that an API is not enabled; other text is dropped."""
    body = json.dumps({"error": {"code": 403, "message": "the prompt said", "details": details}}).encode()
    error = error_of_status(403, {}, body)
    assert isinstance(error, AccessRefused)
    assert error.reason == reason
    assert "prompt said" not in str(error)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "denied"}', b'{"error": {"details": ["x"]}}'])
def test_a_refusal_may_have_no_reason(body: bytes) -> None:
    """A server in between can send any body."""
    error = error_of_status(403, {}, body)
    assert isinstance(error, AccessRefused)
    assert error.reason is None


@pytest.mark.parametrize("count", [-1, 2**31, 2**80])
def test_a_token_count_that_no_counter_holds_is_refused(count: int) -> None:
    """Such a response is not what the API defines; a bundle must not fail on it after the call was paid."""
    with pytest.raises(InvalidResponse):
        read_response(_response(usageMetadata={"promptTokenCount": count}), 0)


@pytest.mark.parametrize(
    "value", ["Mon, 01 Jan 2026 00:00:00 +99999999999999999999", "1 Jan 2026 99999999999:0:0", "01 Jan 9" + "9" * 19]
)
def test_a_retry_after_that_overflows_is_ignored(value: str) -> None:
    """The header is a proxy's or a server's text: no value of it may fail a bundle."""
    assert retry_after(value) is None
