"""How a change goes on once its accounts have been looked for."""

import pytest

from schemas.change_event import GAPS, ChangeType
from schemas.failures import ErrorClass
from schemas.outcome import OutcomeKind, SkipReason
from tests.fixtures.changes import account_id
from tests.fixtures.related_records import CONTACT, OPPORTUNITY, TASK, unnamed
from transforms.errors import WarehouseUnavailable
from transforms.find.found_accounts import Found, Source, ending, found_changes
from transforms.find.sightings import Wanted

FOUND = {OPPORTUNITY: Found(account_id(1), Source.MIRROR), CONTACT: Found(None, Source.MIRROR)}
FAULT = WarehouseUnavailable("BigQuery: query: ServiceUnavailable 503")


def _wanted(*record_ids: str, **fields: object) -> Wanted:
    return Wanted(change=unnamed(), record_ids=record_ids, **fields)  # type: ignore[arg-type]


def test_a_change_goes_on_for_each_account_that_was_found() -> None:
    """With all that the event says; each with where it was found."""
    wanted = _wanted(OPPORTUNITY, accounts=(account_id(2),))
    changes = found_changes(wanted, FOUND)
    assert [(it.account_id, source) for it, source in changes] == [
        (account_id(2), Source.MEMORY),
        (account_id(1), Source.MIRROR),
    ]
    assert all(it.values == wanted.change.values for it, _ in changes)
    assert ending(wanted, FOUND) is None


def test_the_account_that_the_event_names_goes_on_elsewhere() -> None:
    """A mirror that has taken the move in knows only the new account: nothing is left to do."""
    wanted = Wanted(change=unnamed(), named=account_id(1), former_ids=(OPPORTUNITY,))
    assert found_changes(wanted, FOUND) == []
    assert ending(wanted, FOUND) is None
    assert ending(wanted, {}) is None


def test_an_unknown_record_is_a_retryable_dead_letter() -> None:
    """Which names the record and the remedy."""
    end = ending(_wanted(TASK), FOUND)
    assert end
    assert end.error
    assert end.error.error_class is ErrorClass.ACCOUNT_NOT_NAMED
    assert ErrorClass.ACCOUNT_NOT_NAMED.retryable
    assert TASK not in str(end.error)
    assert OPPORTUNITY in str(end.error)


@pytest.mark.parametrize("change_type", sorted(GAPS))
def test_a_gap_of_an_unknown_record_requests_a_resync(change_type: ChangeType) -> None:
    """A gap event can't be enriched, so a replay would not help it."""
    end = ending(Wanted(change=unnamed(change_type=change_type), record_ids=(TASK,)), FOUND)
    assert end
    assert (end.outcome, end.error) == (OutcomeKind.RESYNC_REQUESTED, None)


def test_a_record_without_an_account_is_skipped() -> None:
    """Because the look-up says so, or the stream did."""
    for wanted in (_wanted(CONTACT), _wanted()):
        end = ending(wanted, FOUND)
        assert end
        assert (end.outcome, end.reason) == (OutcomeKind.SKIPPED, SkipReason.NO_ACCOUNT)


def test_an_outage_is_not_taken_for_an_answer() -> None:
    """What was not found because BigQuery did not answer is dead-lettered as that, former accounts too."""
    for wanted in (
        _wanted(TASK),
        _wanted(TASK, accounts=(account_id(2),)),
        Wanted(change=unnamed(), named=account_id(1), former_ids=(TASK,)),
    ):
        end = ending(wanted, {}, {TASK: FAULT})
        assert end
        assert end.error is FAULT
    assert ending(_wanted(OPPORTUNITY), FOUND, {TASK: FAULT}) is None


def test_one_of_two_accounts_that_is_not_found_is_told() -> None:
    """The known one goes on, and the event becomes a dead letter for the other."""
    end = ending(_wanted(TASK, accounts=(account_id(2),)), FOUND)
    assert end
    assert end.error
