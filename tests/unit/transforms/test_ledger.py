"""Ledger rows and dead letters."""

import datetime as dt
import re
from pathlib import Path

import pytest

import transforms
from schemas.change_event import SourceMessage
from schemas.failures import DEAD_LETTER_STAGES
from schemas.outcome import OutcomeKind, SkipReason, dead_lettered
from tests.fixtures.changes import NOW, change
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
