"""Backfill events: the message of an account, and how it is parsed."""

import dataclasses
import datetime as dt

import pytest

from schemas.change_event import AccountChange, ChangeOrder, ChangeType, SourceMessage
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id
from transforms.filter.materiality import load_materiality
from transforms.parse.backfill_events import backfill_message
from transforms.parse.message_parsing import parse_message
from transforms.parse.score_requests import Backfill, single_request

AS_OF = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
BACKFILL = Backfill(AS_OF)


def _change(number: int = 1, backfill: Backfill = BACKFILL) -> AccountChange:
    message = backfill_message(account_id(number), backfill)
    (change,) = parse_message(
        SourceMessage(payload=message.data, message_id=message.message_id), account_fields=ACCOUNT_FIELDS
    )
    assert isinstance(change, AccountChange)
    return change


def test_a_backfill_asks_for_an_account_and_tells_nothing_of_it() -> None:
    """The message is parsed as a gap event of the account: material, and without field values."""
    change = _change()
    assert (change.account_id, change.record_id) == (account_id(1), account_id(1))
    assert change.change_type is ChangeType.GAP_UPDATE
    assert (change.changed_fields, dict(change.values), change.nulled_fields) == ((), {}, ())
    assert load_materiality().skip_reason(change) is None


def test_its_identity_follows_from_account_and_time() -> None:
    """Equal backfills have equal event ids; another account or time has another id."""
    assert _change().event_id == _change().event_id
    later = Backfill(AS_OF + dt.timedelta(seconds=1))
    assert len({_change().event_id, _change(2).event_id, _change(1, later).event_id}) == 3


def test_a_change_of_the_same_moment_is_newer() -> None:
    """Salesforce counts a transaction's changes from 1, so the backfill comes first within a second."""
    assert _change().order < ChangeOrder(AS_OF, 1)
    assert _change().order > ChangeOrder(AS_OF - dt.timedelta(seconds=1), 99)


def test_ids_name_their_backfill() -> None:
    """A message id starts with the backfill's id, which contains its time; the ledger is queried by it."""
    assert BACKFILL.id == "backfill/2026-03-02T09:30:00Z"
    assert backfill_message(account_id(1), BACKFILL).message_id == f"{BACKFILL.id}/{account_id(1)}"
    assert Backfill.from_id(BACKFILL.id) == BACKFILL
    zone = dt.timezone(dt.timedelta(hours=2))
    assert Backfill(AS_OF.astimezone(zone)).id == BACKFILL.id


@pytest.mark.parametrize("text", ["", "backfill/", "backfill/2026-03-02", "x/2026-03-02T09:30:00Z", f"{BACKFILL.id}/x"])
def test_other_texts_are_no_backfill(text: str) -> None:
    """Only the ids of backfills are accepted."""
    with pytest.raises(ValueError, match="is not a backfill"):
        Backfill.from_id(text)


@pytest.mark.parametrize("as_of", [AS_OF.replace(tzinfo=None), AS_OF.replace(microsecond=1)])
def test_a_backfills_time_has_a_zone_and_whole_seconds(as_of: dt.datetime) -> None:
    """Times that the id can't express are refused."""
    with pytest.raises(ValueError, match="whole seconds"):
        dataclasses.replace(BACKFILL, as_of=as_of)


def test_a_single_request_is_older_than_any_change_of_its_second_and_no_backfill() -> None:
    """A backfill that is resumed is found by sequence number 0, which is not this one's."""
    (change,) = parse_message(
        SourceMessage(payload=single_request(account_id(1), AS_OF)), account_fields=ACCOUNT_FIELDS
    )
    assert isinstance(change, AccountChange)
    assert (change.account_id, change.change_type) == (account_id(1), ChangeType.GAP_UPDATE)
    assert ChangeOrder(AS_OF - dt.timedelta(seconds=1), 99) < change.order < ChangeOrder(AS_OF, 1)
    assert change.sequence_number != 0
    assert load_materiality().skip_reason(change) is None
    assert single_request(account_id(1), AS_OF) == single_request(account_id(1), AS_OF)
