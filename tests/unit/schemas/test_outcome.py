"""The insert ids of ledger rows."""

import datetime as dt

from msgspec.structs import replace

from schemas.outcome import OutcomeKind, outcome_id
from tests.fixtures.ledger import ledger_row


def test_a_bundle_that_runs_twice_writes_equal_ids() -> None:
    """BigQuery can drop the second row; another outcome, reason, account or replay has another id."""
    row = ledger_row("skipped:stale", "e")
    assert outcome_id(row) == outcome_id(replace(row))
    others = [
        ledger_row("skipped:immaterial", "e"),
        ledger_row("scored", "e"),
        replace(row, account_id=None),
        replace(row, replay_count=1),
        replace(row, message_id="m"),
    ]
    assert len({outcome_id(it) for it in (row, *others)}) == len(others) + 1


def test_each_delivery_keeps_its_received_row() -> None:
    """The same outcome of a second delivery has the same id; its `received` row has an id of its own."""
    for text, is_equal in (("scored", True), ("received", False)):
        first = ledger_row(text, "e")
        second = replace(first, recorded_at=first.recorded_at + dt.timedelta(seconds=1))
        assert (outcome_id(first) == outcome_id(second)) is is_equal
    assert ledger_row("received", "e").outcome is OutcomeKind.RECEIVED
