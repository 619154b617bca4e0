"""Which changes delete an account, and the row that hides its score."""

import pytest

from schemas.change_event import ChangeOrder, ChangeType
from schemas.outcome import OutcomeKind
from schemas.score import ScoreStatus
from tests.fixtures.changes import NOW, change
from transforms.coalesce.tombstones import is_deletion, tombstone
from transforms.ledger import Ledger


def test_a_tombstone_has_the_deletions_position_and_no_score() -> None:
    """The row has the DELETE's position in commit order and the change's flags, and no score."""
    deleted = change(change_type=ChangeType.DELETE, coalesced=("older",), flags=("unusable_value:NumberOfEmployees",))
    row = tombstone(deleted, Ledger("s", "1", now=lambda: NOW)).scored
    assert row
    assert row.score.status is ScoreStatus.TOMBSTONE
    assert row.score.score is None
    assert row.score.change_committed_at == deleted.committed_at
    assert row.score.event_ids == (deleted.event_id, "older")
    assert row.score.flags == ("unusable_value:NumberOfEmployees",)
    assert row.outcome.outcome is OutcomeKind.TOMBSTONED


def test_a_tombstone_hides_the_score_that_it_follows() -> None:
    """A DELETE that arrives after newer rows has the order under which it goes on."""
    after = ChangeOrder(NOW, 8)
    row = tombstone(change(change_type=ChangeType.DELETE, scored_as_of=after), Ledger("s", "1", now=lambda: NOW)).scored
    assert row
    assert (row.score.change_committed_at, row.score.change_sequence) == after


@pytest.mark.parametrize(
    ("entity", "change_type", "expected"),
    [
        ("Account", ChangeType.DELETE, True),
        ("Account", ChangeType.GAP_DELETE, True),
        ("Account", ChangeType.UNDELETE, False),
        ("Account", ChangeType.UPDATE, False),
        ("Opportunity", ChangeType.DELETE, False),
    ],
)
def test_only_the_accounts_own_deletion_counts(entity: str, change_type: ChangeType, expected: bool) -> None:  # noqa: FBT001 - a case
    """A deleted opportunity changes its account, but does not delete it."""
    assert is_deletion(change(entity_name=entity, change_type=change_type)) is expected
