"""Ledger rows and dead letters."""

import datetime as dt

import pytest

from schemas.change_event import SourceMessage
from schemas.outcome import OutcomeKind, SkipReason, dead_lettered
from tests.fixtures.changes import NOW, change
from transforms.errors import InvalidScore
from transforms.ledger import Ledger, Received

LEDGER = Ledger("Score accounts", "1.2.3", now=lambda: NOW)


def test_an_outcome_names_change_stage_and_version() -> None:
    """A row tells which change, who decided, when and why."""
    row = LEDGER.outcome(Received.of(change(3)), OutcomeKind.SKIPPED, reason=SkipReason.IMMATERIAL)
    assert (row.event_id, row.account_id) == (change(3).event_id, change(3).account_id)
    assert (row.stage, row.pipeline_version, row.recorded_at) == ("Score accounts", "1.2.3", NOW)
    assert row.reason is SkipReason.IMMATERIAL


def test_a_dead_letter_and_its_row_agree() -> None:
    """The ledger says of a letter what the letter says."""
    letter = LEDGER.dead_letter(Received.of(change(3)), InvalidScore("score: out of range"))
    row = dead_lettered(letter)
    assert row.outcome is OutcomeKind.DEAD_LETTERED
    assert (row.event_id, row.account_id, row.error_class) == (letter.event_id, letter.account_id, letter.error_class)
    assert row.change_type == "UPDATE"
    assert letter.first_failed_at == letter.failed_at == NOW


def test_a_replay_remembers_its_first_failure() -> None:
    """Count and first failure come with the message."""
    first = NOW - dt.timedelta(days=2)
    source = SourceMessage(payload=b"x", attributes={"replay_count": "2", "first_failed_at": first.isoformat()})
    letter = LEDGER.dead_letter(Received(event_id="e", source=source, trace_id="t"), InvalidScore("x"))
    assert letter.replay_count == 2
    assert letter.first_failed_at == first
    assert letter.failed_at == NOW


@pytest.mark.parametrize("count", ["-1", "x", "", "9" * 40, "²", "1.5"])
def test_attributes_of_strangers_are_no_counts(count: str) -> None:
    """Any publisher can set any attribute; what is no count counts as none."""
    source = SourceMessage(payload=b"x", attributes={"replay_count": count, "first_failed_at": "yesterday"})
    letter = LEDGER.dead_letter(Received(event_id="e", source=source, trace_id="t"), InvalidScore("x"))
    assert letter.replay_count == 0
    assert letter.first_failed_at == NOW
