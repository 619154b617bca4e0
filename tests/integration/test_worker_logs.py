"""What Beam gets of our logs from an SDK harness in a process of its own, as on a Dataflow worker."""

import logging
import sys
from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam.portability.api.org.apache.beam.model.fn_execution.v1.beam_fn_api_pb2 import LogEntry
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment
from google.protobuf import text_format  # type: ignore[import-untyped]  # protobuf ships no annotations

from transforms.logs import SAMPLED_PER_MINUTE, get_logger

HARNESS = f"{sys.executable} -m apache_beam.runners.worker.sdk_worker_main"
REPEATED = 500
WORKER = "Worker: "


class _Logging(beam.DoFn):
    """Logs as stages do, in a process that has run no command."""

    def process(self, element: str) -> Iterator[str]:
        log = get_logger("transforms.score.gemini_circuit")
        log.critical("the circuit is open: calls are held", circuit="Gemini", token=element)
        for number in range(REPEATED):
            log.warning("calls to Gemini failed", error_class="gemini_unavailable", times=number)
        try:
            int("no number")
        except ValueError:
            log.exception("last scores can't be read", batch=7)
        yield element


@pytest.fixture(scope="module")
def entries() -> list[LogEntry]:
    """Return what the logging service of the Fn API got: the runner writes each entry as text to a log."""
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        runner = FnApiRunner(default_environment=SubprocessSDKEnvironment(command_string=HARNESS))
        with beam.Pipeline(runner=runner) as pipeline:
            _ = pipeline | beam.Create(["SECRET-VALUE"]) | beam.Reshuffle() | "Log things" >> beam.ParDo(_Logging())
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    parsed = [text_format.Parse(text.removeprefix(WORKER), LogEntry()) for text in told if text.startswith(WORKER)]
    assert parsed
    return [entry for entry in parsed if "Log things" in entry.transform_id or "Log_things" in entry.transform_id]


def test_an_entry_keeps_severity_fields_and_work_item(entries: list[LogEntry]) -> None:
    """CRITICAL stays critical; the step and the work item are Beam's own."""
    (entry,) = (entry for entry in entries if entry.message.startswith("the circuit is open"))
    assert entry.severity == LogEntry.Severity.CRITICAL
    assert entry.message == "the circuit is open: calls are held circuit=Gemini token=[redacted]"
    assert entry.instruction_id
    assert "test_worker_logs.py" in entry.log_location


def test_repeated_entries_are_sampled(entries: list[LogEntry]) -> None:
    """An outage does not write an entry for each call."""
    repeated = [entry for entry in entries if entry.message.startswith("calls to Gemini failed")]
    assert len(repeated) == SAMPLED_PER_MINUTE
    assert {entry.severity for entry in repeated} == {LogEntry.Severity.WARN}
    assert repeated[0].message == "calls to Gemini failed error_class=gemini_unavailable times=0"


def test_an_exception_has_its_trace(entries: list[LogEntry]) -> None:
    """In a field of its own."""
    (entry,) = (entry for entry in entries if entry.message.startswith("last scores"))
    assert entry.message.startswith("last scores can't be read batch=7\n")
    assert "ValueError: invalid literal" in entry.trace


def test_no_entry_has_a_secret(entries: list[LogEntry]) -> None:
    """Names of free text and credentials are logged without their values."""
    assert "SECRET-VALUE" not in "".join(entry.message for entry in entries)
