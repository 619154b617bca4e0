"""Accounts that events name get mirror rows: whole companies under their ids, older than their first event."""

import datetime as dt
from pathlib import Path

from pipeline.ledger.event_files import read_event_files
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.named_accounts import NamedAccount, crm_of_named_accounts, named_accounts
from schemas.account_context import AccountContext, AccountProfile
from tests.fixtures.changes import COMMITTED_AT, NOW, account_id, change, payload
from transforms.enrich.context_overlay import overlay

EARLIER = COMMITTED_AT - dt.timedelta(days=900)


def _at(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def test_each_account_is_named_once_with_its_first_event() -> None:
    """The commit time is the earliest, also if the events come in another order; related records name accounts too."""
    named = named_accounts(
        [
            payload(recordIds=[account_id(1), account_id(2)]),
            payload(recordIds=[account_id(1)], commitTimestamp=_at(EARLIER)),
            payload({"AccountId": account_id(3)}, entityName="Contact", recordIds=["003000000000001AAA"]),
        ]
    )
    times = {account: it.first_event for account, it in named.items()}
    assert times == {account_id(1): EARLIER, account_id(2): COMMITTED_AT, account_id(3): COMMITTED_AT}


def test_an_event_can_bring_the_name() -> None:
    """The mirror's row then has it, with the opportunities; another record's name is not the account's."""
    contact = payload(
        {"AccountId": account_id(2), "Name": "Ada"}, entityName="Contact", recordIds=["003000000000001AAA"]
    )
    named = named_accounts([payload({"Name": "Acme", "Rating": "Hot"}), payload(commitTimestamp=_at(NOW)), contact])
    assert [account.name for account in named.values()] == ["Acme", None]
    crm = crm_of_named_accounts(named, first_index=0, seed=1, as_of=NOW)
    assert crm.accounts[0].name == "Acme"
    assert {deal.name.split(" - ")[0] for deal in crm.opportunities if deal.account_id == account_id(1)} <= {"Acme"}


def test_messages_without_a_readable_account_name_none() -> None:
    """Bytes, unknown entities and malformed ids are no accounts."""
    assert named_accounts([b"\xff", b"{}", payload(recordIds=["wrong"]), payload(entityName="Case")]) == {}


def test_published_events_name_their_accounts(published_events: Path) -> None:
    """Those of other people's events; one whose changed fields can't be read is none."""
    named = named_accounts(read_event_files(published_events))
    assert {account: it.name for account, it in named.items()} == {
        "0015f00002J9YYEAA3": "Acme",
        "0015f00002J9YYFAA3": "Acme",
        "0017Q00000EiRcfQAF": None,
        "0014H00002LbR7QQAV": None,
        "00106000029G61DAAS": "Redpanda",
    }


def test_the_rows_are_older_than_the_first_event() -> None:
    """So the values of the event are laid over the generated ones."""
    crm = crm_of_named_accounts({account_id(1): NamedAccount(EARLIER)}, first_index=5, seed=1, as_of=NOW)
    (profile,) = crm.accounts
    assert profile.created_at is not None
    assert profile.created_at <= profile.modified_at < EARLIER
    event = change(committed_at=EARLIER, values={"Rating": "Hot", "Name": "Acme"})
    rated = overlay(AccountContext(profile=profile.model_copy(update={"rating": "Cold"})), event).profile
    assert (rated.rating, rated.name) == ("Hot", "Acme")


def test_an_account_has_all_that_a_generated_one_has() -> None:
    """Opportunities, emails and calls belong to it; no id or name of the CRM is used twice."""
    named = {account_id(number): NamedAccount(COMMITTED_AT) for number in range(20)}
    crm = generate_crm(accounts=10, seed=1, as_of=NOW)
    added = crm_of_named_accounts(named, first_index=10, seed=1, as_of=NOW)
    assert [AccountProfile.model_validate(dict(row)).account_id for row in added.accounts] == list(named)
    for records in (added.opportunities, added.emails, added.calls, added.contacts):
        assert {record.account_id for record in records} <= set(named)
        assert records
    whole = crm.with_records(added)
    assert len({account.name for account in whole.accounts}) == 30
    assert len({deal.opportunity_id for deal in whole.opportunities}) == len(whole.opportunities)
    assert len({email.email_id for email in whole.emails}) == len(whole.emails)
    assert len({call.call_id for call in whole.calls}) == len(whole.calls)
    assert len({contact.contact_id for contact in whole.contacts}) == len(whole.contacts)


def test_the_same_arguments_give_the_same_rows() -> None:
    """A mirror can be made again."""
    named = {account_id(1): NamedAccount(COMMITTED_AT)}
    rows = [crm_of_named_accounts(named, first_index=3, seed=2, as_of=NOW) for _ in range(2)]
    assert rows[0] == rows[1]
