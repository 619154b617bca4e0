"""Logs of workers: one message of the standard library with its fields, sampled, without secrets."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from transforms.logs import MAX_VALUE_CHARACTERS, Sampler, configure_worker_logs, get_logger


@pytest.fixture(autouse=True)
def _worker_logs() -> Iterator[None]:
    before = structlog.get_config()
    configure_worker_logs()
    yield
    structlog.configure(**before)


def test_an_entry_keeps_level_logger_fields_and_exception(caplog: pytest.LogCaptureFixture) -> None:
    """Beam's handler sends the message alone: the fields are in it."""
    try:
        int("no number")
    except ValueError:
        get_logger("transforms.x").error("row 100% refused", event_id="e1", reason='a "b"\nc', none=None, exc_info=True)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("transforms.x", logging.ERROR)
    assert record.getMessage() == r'row 100% refused event_id=e1 reason="a \"b\"\nc"'
    assert record.exc_info
    assert record.filename == "test_logs.py"


def test_secrets_and_free_text_are_redacted_and_values_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """As on the terminal."""
    get_logger("x").warning("oops", token="SECRET", Payload="SECRET", reason="r" * 9_999)
    message = caplog.records[0].getMessage()
    assert "SECRET" not in message
    assert "token=[redacted]" in message
    assert "r" * MAX_VALUE_CHARACTERS + "…" in message
    assert len(message) < MAX_VALUE_CHARACTERS + 100


def test_a_level_that_beam_sets_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """`--sdk_harness_log_level_overrides` sets levels of the standard library's loggers."""
    caplog.set_level(logging.ERROR, logger="quiet")
    get_logger("quiet").warning("not wanted")
    get_logger("quiet").error("wanted")
    assert [record.getMessage() for record in caplog.records] == ["wanted"]


def test_repeated_entries_are_sampled() -> None:
    """The first of a minute pass, and the next minute says how many were left out; CRITICAL always passes."""
    now = [0.0]
    sampler = Sampler(per_minute=2, clock=lambda: now[0])

    def passed(method: str = "warning", **event: str) -> object:
        try:
            return sampler(None, method, {"event": "failed", **event}).get("left_out", "passed")
        except structlog.DropEvent:
            return "left out"

    assert [passed(number=str(number)) for number in range(4)] == ["passed", "passed", "left out", "left out"]
    assert passed(error_class="other") == "passed"
    assert [passed("critical") for _ in range(4)] == ["passed"] * 4
    now[0] = 61.0
    assert [passed() for _ in range(3)] == [2, "passed", "left out"]
    now[0] = 200.0
    assert passed() == 1
    now[0] = 300.0
    assert passed() == "passed"


def test_the_sampler_is_bounded() -> None:
    """Kinds beyond the bound are forgotten, the longest unseen first."""
    sampler = Sampler(per_minute=1, clock=lambda: 0.0)
    for number in range(3_000):
        sampler(None, "warning", {"event": f"kind {number}"})
    assert len(vars(sampler)["_kinds"]) <= 1_024
    with pytest.raises(structlog.DropEvent):
        sampler(None, "warning", {"event": "kind 2999"})
