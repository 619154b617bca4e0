"""Deleted accounts are removed from the current scores without a call to Gemini."""

import pytest
from apache_beam import Create
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that

from schemas.change_event import AccountChange, ChangeType
from schemas.outcome import OutcomeKind, ScoringResult
from schemas.score import ScoreStatus
from tests.fixtures.changes import NOW, account_id, change
from transforms.coalesce.tombstone_deleted import TombstoneDeleted, is_deletion, tombstone
from transforms.ledger import Ledger


def test_a_tombstone_has_the_deletions_position_and_no_score() -> None:
    """The row has the DELETE's position in commit order, and no score."""
    deleted = change(change_type=ChangeType.DELETE, coalesced=("older",))
    row = tombstone(deleted, Ledger("s", "1", now=lambda: NOW)).scored
    assert row
    assert row.score.status is ScoreStatus.TOMBSTONE
    assert row.score.score is None
    assert row.score.change_committed_at == deleted.committed_at
    assert row.score.event_ids == (deleted.event_id, "older")
    assert row.outcome.outcome is OutcomeKind.TOMBSTONED


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


def test_deleted_accounts_are_parted_from_the_living() -> None:
    """The deletion becomes a tombstone; the other change is emitted."""

    def check_living(changes: list[AccountChange]) -> None:
        assert [living.account_id for living in changes] == [account_id(1)]

    def check_tombstones(results: list[ScoringResult]) -> None:
        assert [result.scored and result.scored.score.account_id for result in results] == [account_id(2)]

    with TestPipeline(runner=FnApiRunner()) as pipeline:
        changes = [change(1), change(2, change_type=ChangeType.DELETE)]
        parted = pipeline | Create(changes) | TombstoneDeleted("1")
        assert_that(parted.changes, check_living, label="living")
        assert_that(parted.tombstones, check_tombstones, label="tombstones")
