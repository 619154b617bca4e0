"""The error tree: each Gemini error has an error class and a handling, each class has a severity."""

import pytest

from schemas.failures import ErrorClass, Handling, Severity
from tests.fixtures.gemini_errors import GEMINI_ERRORS
from transforms.errors import (
    AccessRefused,
    AnswerError,
    BlockedPrompt,
    BlockedResponse,
    ConnectionLost,
    EndedEarly,
    GeminiError,
    GeminiRefusedPrompt,
    GeminiTimeout,
    GeminiUnavailable,
    InvalidEvent,
    InvalidResponse,
    InvalidScore,
    MismatchedScore,
    MissingScore,
    OutputTruncated,
    QuotaExhausted,
    ServerFault,
    Unauthenticated,
)


def _subclasses(kind: type[GeminiError]) -> set[type[GeminiError]]:
    return {kind}.union(*(_subclasses(child) for child in kind.__subclasses__()))


def test_the_samples_are_complete() -> None:
    """There is a sample of every error except the two base classes, so tests on samples cover all errors."""
    assert {type(error) for error in GEMINI_ERRORS} == _subclasses(GeminiError) - {GeminiError, AnswerError}


@pytest.mark.parametrize(
    ("kind", "error_class", "handling"),
    [
        (QuotaExhausted, "gemini_unavailable", Handling.SLOW_DOWN),
        (ServerFault, "gemini_unavailable", Handling.RETRY),
        (ConnectionLost, "gemini_unavailable", Handling.RETRY),
        (GeminiTimeout, "gemini_timeout", Handling.RETRY_ONCE),
        (Unauthenticated, "gemini_unavailable", Handling.REFRESH),
        (AccessRefused, "gemini_unavailable", Handling.HOLD),
        (GeminiUnavailable, "gemini_unavailable", Handling.GIVE_UP),
        (GeminiRefusedPrompt, "prompt_too_large", Handling.SPLIT),
        (OutputTruncated, "output_truncated", Handling.SPLIT),
        (InvalidResponse, "invalid_response", Handling.RETRY_ONCE),
        (BlockedResponse, "blocked_response", Handling.SPLIT),
        (BlockedPrompt, "blocked_prompt", Handling.SPLIT),
        (EndedEarly, "blocked_response", Handling.RETRY_ONCE),
        (MissingScore, "missing_score", Handling.ASK_AGAIN),
        (MismatchedScore, "mismatched_score", Handling.ASK_AGAIN),
        (InvalidScore, "invalid_score", Handling.ASK_AGAIN),
    ],
)
def test_each_way_to_fail_has_its_class_and_handling(
    kind: type[GeminiError], error_class: str, handling: Handling
) -> None:
    """Each failure of a call has the expected error class and handling."""
    assert kind.error_class == error_class
    assert kind.handling is handling


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (QuotaExhausted, Severity.LOW),
        (ServerFault, Severity.MEDIUM),
        (ConnectionLost, Severity.MEDIUM),
        (AccessRefused, Severity.CRITICAL),
        (Unauthenticated, Severity.CRITICAL),
        (GeminiUnavailable, Severity.CRITICAL),
        (BlockedPrompt, Severity.LOW),
    ],
)
def test_severity_follows_from_the_error(kind: type[GeminiError], severity: Severity) -> None:
    """A 429 is routine; a missing model and an outage past its deadline are not."""
    assert kind.severity is severity


def test_a_class_without_its_own_exception_can_be_raised() -> None:
    """A new error class needs only its row and the code that raises it."""
    error = InvalidEvent("too deep", ErrorClass.UNSUPPORTED_EVENT)
    assert error.error_class is ErrorClass.UNSUPPORTED_EVENT
    assert (error.severity, error.handling) == (ErrorClass.UNSUPPORTED_EVENT.severity, Handling.GIVE_UP)
    assert InvalidEvent.error_class is ErrorClass.INVALID_EVENT
