"""The table of error classes."""

import msgspec
import pytest

from schemas.failures import ErrorClass, Handling, Severity


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_every_class_has_a_whole_row(error_class: ErrorClass) -> None:
    """Every class has a severity, a remedy and a handling."""
    assert error_class.severity in Severity
    assert error_class.handling in Handling
    assert error_class.retryable in {True, False}
    assert 40 <= len(error_class.remedy) <= 240
    assert error_class.remedy.endswith(".")


def test_a_class_is_its_name() -> None:
    """Rows, attributes and JSON contain the class's name, and the class is found by it."""
    assert ErrorClass("row_rejected") is ErrorClass.ROW_REJECTED
    assert f"{ErrorClass.ROW_REJECTED}" == "row_rejected"
    assert msgspec.json.encode(ErrorClass.ROW_REJECTED) == b'"row_rejected"'
    assert msgspec.json.decode(b'"row_rejected"', type=ErrorClass) is ErrorClass.ROW_REJECTED


def test_an_outage_is_retryable_and_garbage_is_not() -> None:
    """An error that can pass without a change of the message is retryable."""
    assert ErrorClass.GEMINI_UNAVAILABLE.retryable
    assert ErrorClass.BIGQUERY_UNAVAILABLE.retryable
    assert ErrorClass.MISSING_SCORE.retryable
    assert not ErrorClass.UNDECODABLE.retryable
    assert not ErrorClass.INVALID_EVENT.retryable
