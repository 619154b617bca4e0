"""Logs have Cloud Logging's shape, and no secrets."""

import json
import logging

import pytest
import structlog

from pipeline.terminal.logs import configure_logging


@pytest.fixture(autouse=True)
def _restore_logging() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def _entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_entry_has_cloud_loggings_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Severity, message, trace and the named values."""
    configure_logging()
    structlog.stdlib.get_logger("x").warning("row refused", event_id="e1", account_id="a1", trace_id="t1")
    (entry,) = _entries(capsys)
    assert entry["severity"] == "WARNING"
    assert entry["message"] == "row refused"
    assert entry["logging.googleapis.com/trace"] == "t1"
    assert (entry["event_id"], entry["account_id"]) == ("e1", "a1")


def test_libraries_logs_have_the_same_shape(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs of Beam and Google's clients through the standard library have the same format."""
    configure_logging()
    logging.getLogger("apache_beam").error("bundle %s failed", 7)
    (entry,) = _entries(capsys)
    assert (entry["severity"], entry["message"]) == ("ERROR", "bundle 7 failed")


@pytest.mark.parametrize("name", ["payload", "body", "prompt", "token", "Authorization", "session_id"])
def test_secrets_and_free_text_are_taken_out(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Names of free text and credentials are logged without their values."""
    configure_logging()
    structlog.stdlib.get_logger("x").error("oops", **{name: "SECRET"})
    assert "SECRET" not in capsys.readouterr().err


def test_debug_stays_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """By default, only warnings and errors are logged."""
    configure_logging()
    structlog.stdlib.get_logger("x").info("hello")
    assert capsys.readouterr().err == ""
    configure_logging(verbose=True)
    structlog.stdlib.get_logger("x").info("hello")
    assert "hello" in capsys.readouterr().err
