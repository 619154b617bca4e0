"""Ledger rows and dead letters."""

import datetime as dt
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import transforms
from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter
from schemas.failures import DEAD_LETTER_STAGES
from schemas.outcome import OutcomeKind, SkipReason, dead_lettered
from tests.fixtures.changes import NOW, change
from transforms.coders import RecordCoder
from transforms.errors import InvalidScore
from transforms.ledger import Ledger, Received

_LABEL = re.compile(r'^(?:SCORES_)?STAGE: Final = "(.*)"$', re.MULTILINE)
LEDGER = Ledger("Score accounts", "1.2.3", now=lambda: NOW)


def test_an_outcome_names_change_stage_and_version() -> None:
    """A row has the change, the stage and version that decided, the time and the reason."""
    row = LEDGER.outcome(Received.of(change(3)), OutcomeKind.SKIPPED, reason=SkipReason.IMMATERIAL)
    assert (row.event_id, row.account_id) == (change(3).event_id, change(3).account_id)
    assert (row.stage, row.pipeline_version, row.recorded_at) == ("Score accounts", "1.2.3", NOW)
    assert row.reason is SkipReason.IMMATERIAL


def test_a_dead_letter_and_its_row_agree() -> None:
    """The ledger row of a dead letter has the dead letter's values."""
    dead_letter = LEDGER.dead_letter(Received.of(change(3)), InvalidScore("score: out of range"))
    row = dead_lettered(dead_letter)
    assert row.outcome is OutcomeKind.DEAD_LETTERED
    assert (row.event_id, row.account_id, row.error_class) == (
        dead_letter.event_id,
        dead_letter.account_id,
        dead_letter.error_class,
    )
    assert row.change_type == "UPDATE"
    assert dead_letter.first_failed_at == dead_letter.failed_at == NOW


def test_a_replay_remembers_its_first_failure() -> None:
    """The replay count and the time of the first failure come from the message's attributes."""
    first = NOW - dt.timedelta(days=2)
    source = SourceMessage(payload=b"x", attributes={"replay_count": "2", "first_failed_at": first.isoformat()})
    dead_letter = LEDGER.dead_letter(Received(event_id="e", source=source, trace_id="t"), InvalidScore("x"))
    assert dead_letter.replay_count == 2
    assert dead_letter.first_failed_at == first
    assert dead_letter.failed_at == NOW


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T00:00:00+23:59:59.999999",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2099-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "2026-01-01T00:00:00",
    ],
)
def test_times_that_a_sender_sets_are_ones_that_a_record_holds(time: str) -> None:
    """A dead letter that can be written and not read would be repeated for ever."""
    source = SourceMessage(payload=b"x", attributes={"first_failed_at": time})
    dead_letter = LEDGER.dead_letter(Received(event_id="e", source=source, trace_id="t"), InvalidScore("x"))
    coder = RecordCoder(DeadLetter)
    assert coder.decode(coder.encode(dead_letter)) == dead_letter
    assert dt.datetime(2020, 1, 1, tzinfo=dt.UTC) <= dead_letter.first_failed_at <= NOW


@given(
    st.dictionaries(st.sampled_from(["first_failed_at", "replay_count", "traceparent", "event_in_message"]), st.text())
)
def test_whatever_a_sender_sets_a_dead_letter_is_read_again(attributes: dict[str, str]) -> None:
    """Also where the time is one of ISO 8601's odd forms."""
    source = SourceMessage(payload=b"x", attributes=attributes)
    dead_letter = LEDGER.dead_letter(Received(event_id="e", source=source, trace_id="t"), InvalidScore("x"))
    coder = RecordCoder(DeadLetter)
    assert coder.decode(coder.encode(dead_letter)) == dead_letter


@given(st.datetimes(timezones=st.timezones() | st.just(dt.timezone(dt.timedelta(hours=1, seconds=7)))))
def test_any_time_of_iso_8601_is_read_again(time: dt.datetime) -> None:
    """With any offset."""
    source = SourceMessage(payload=b"x", attributes={"first_failed_at": time.isoformat()})
    dead_letter = LEDGER.dead_letter(Received(event_id="e", source=source, trace_id="t"), InvalidScore("x"))
    coder = RecordCoder(DeadLetter)
    assert coder.decode(coder.encode(dead_letter)) == dead_letter


@pytest.mark.parametrize("count", ["-1", "x", "", "9" * 40, "²", "1.5"])
def test_invalid_counts_are_ignored(count: str) -> None:
    """Any publisher can set any attribute; a value that is not a count counts as 0."""
    source = SourceMessage(payload=b"x", attributes={"replay_count": count, "first_failed_at": "yesterday"})
    dead_letter = LEDGER.dead_letter(Received(event_id="e", source=source, trace_id="t"), InvalidScore("x"))
    assert dead_letter.replay_count == 0
    assert dead_letter.first_failed_at == NOW


def test_the_stages_of_dead_letters_are_known() -> None:
    """`--stage` of `rescore dead-letters` takes the labels of the steps that write dead letters, and of no other."""
    sources = {path: path.read_text(encoding="utf-8") for path in Path(transforms.__path__[0]).glob("*/*.py")}
    writing = {path: text for path, text in sources.items() if "ledger.dead_letter(" in text}
    # A stage's label stands in the same file, or in one that commands read, too.
    beside = {path: sources.get(path.with_name("found_accounts.py"), "") for path in writing}
    labels = {_LABEL.findall(text + beside[path])[0] for path, text in writing.items()}
    assert labels == set(DEAD_LETTER_STAGES)
