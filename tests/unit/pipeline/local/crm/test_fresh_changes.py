"""Change events that are made now are about accounts of the mirror, and matter."""

import random

import pytest

from pipeline.local.crm.fresh_changes import fresh_changes
from pipeline.local.crm.generator import generate_crm
from schemas.change_event import AccountChange, SourceMessage
from tests.fixtures.changes import ACCOUNT_FIELDS, NOW
from transforms.filter.materiality import load_materiality
from transforms.parse.message_parsing import parse_message

ACCOUNTS = generate_crm(accounts=10, seed=1, as_of=NOW).accounts


def _changes(count: int, seed: int) -> list[AccountChange]:
    payloads = fresh_changes(ACCOUNTS, count=count, rng=random.Random(seed), now=NOW)
    records = [
        record for it in payloads for record in parse_message(SourceMessage(payload=it), account_fields=ACCOUNT_FIELDS)
    ]
    changes = [record for record in records if isinstance(record, AccountChange)]
    assert len(changes) == len(records) == count
    return changes


def test_each_is_a_material_change_of_now() -> None:
    """Its account's name comes with it, so that a reader knows whom it is about."""
    names = {account.account_id: account.name for account in ACCOUNTS}
    rules = load_materiality()
    for change in _changes(30, seed=1):
        assert change.committed_at == NOW
        assert change.enriched["Name"] == names[change.account_id]
        assert rules.skip_reason(change) is None


def test_accounts_come_again_when_all_had_their_turn() -> None:
    """Each event is another one, and the later one about an account is newer."""
    changes = _changes(25, seed=2)
    assert len({change.account_id for change in changes[:10]}) == 10
    assert len({change.event_id for change in changes}) == 25
    for before, after in zip(changes, changes[10:], strict=False):
        assert before.account_id == after.account_id
        assert before.order < after.order


def test_a_seed_draws_the_same_changes() -> None:
    """And another seed others."""
    assert [it.event_id for it in _changes(5, seed=3)] == [it.event_id for it in _changes(5, seed=3)]
    assert [it.event_id for it in _changes(5, seed=3)] != [it.event_id for it in _changes(5, seed=4)]


def test_without_accounts_there_is_no_change() -> None:
    """The error says what to do."""
    with pytest.raises(ValueError, match="--accounts"):
        list(fresh_changes([], count=1, rng=random.Random(1), now=NOW))
