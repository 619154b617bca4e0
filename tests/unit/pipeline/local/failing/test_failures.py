"""The failures that `rescore local fail` takes, and what it says to a wrong one."""

import pytest

from pipeline.local.failing.failures import FAILURES, Failure, Service, failure_lines, find_failure, parse_seconds
from pipeline.local.gemini.config import GeminiConfig


@pytest.mark.parametrize("failure", FAILURES, ids=lambda it: f"{it.service} {it.name}")
def test_each_failure_is_found_and_listed(failure: Failure) -> None:
    """By the names with which it is listed; Gemini's are faults of the stand-in, each another one."""
    assert find_failure(failure.service, failure.name) is failure
    assert f"{failure.service} {failure.name} " in failure_lines()
    assert (failure.fault is not None) == (failure.service is Service.GEMINI)
    GeminiConfig.model_validate({"faults": [{"kind": failure.fault}] if failure.fault else []})
    assert sum(other.fault is failure.fault for other in FAILURES) == 1


@pytest.mark.parametrize(
    ("service", "name", "said"),
    [
        ("gemini", "gargabe", r"no failure 'gargabe'.*did you mean garbage\?"),
        ("gemini", "down", "expected one of 503, 500, rate-limit"),
        ("bigquery", "503", "expected down$"),
        ("bigqeury", "down", r"'bigqeury' is no service.*did you mean bigquery\?"),
        ("redis", "down", "no Redis.*--redis_url"),
        ("salesforce", "expired", "no Salesforce.*docs/tour-of-failures.md"),
        ("pubsub", "down", "in the process of rescore local"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(service: str, name: str, said: str) -> None:
    """In one line."""
    with pytest.raises(ValueError, match=said) as raised:
        find_failure(service, name)
    assert "\n" not in str(raised.value)


def test_durations_are_seconds_and_more() -> None:
    """Zero and other texts are refused, with the option's name."""
    assert parse_seconds("90s") == 90
    assert parse_seconds("2m") == 120
    for text in ("0s", "soon", "-1s", ""):
        with pytest.raises(ValueError, match="--for"):
            parse_seconds(text)
