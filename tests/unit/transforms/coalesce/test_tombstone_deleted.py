"""Deleted accounts are removed from the current scores without a call to Gemini."""

from apache_beam import Create
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that

from schemas.change_event import AccountChange, ChangeType
from schemas.outcome import ScoringResult
from tests.fixtures.changes import account_id, change
from transforms.coalesce.tombstone_deleted import TombstoneDeleted


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
