"""The tree of errors: each of Gemini's has a class and a handling, each class a severity."""

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
    """There is a sample of every error but the two that only group others: what is tested on them holds for all."""
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
    """The table of what is right for each failure of a call."""
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
def test_what_is_got_over_is_no_alarm(kind: type[GeminiError], severity: Severity) -> None:
    """A 429 is everyday life; a model that is gone, or an outage that lasted too long, is not."""
    assert kind.severity is severity


def test_a_class_without_an_error_of_its_own_can_be_raised() -> None:
    """A new failure class needs its row and the place that raises it."""
    error = InvalidEvent("too deep", ErrorClass.UNSUPPORTED_EVENT)
    assert error.error_class is ErrorClass.UNSUPPORTED_EVENT
    assert (error.severity, error.handling) == (ErrorClass.UNSUPPORTED_EVENT.severity, Handling.GIVE_UP)
    assert InvalidEvent.error_class is ErrorClass.INVALID_EVENT
