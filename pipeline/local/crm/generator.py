"""Generate a CRM: companies with a story, and their opportunities, emails, calls and contacts."""

import datetime as dt
import random
from collections.abc import Iterable
from typing import Final

from pipeline.local.crm.company import Company, generate_company
from pipeline.local.crm.contacts import generate_contacts, private_contacts
from pipeline.local.crm.correspondence import generate_calls, generate_emails
from pipeline.local.crm.deals import generate_opportunities
from pipeline.local.crm.records import CrmRecords
from schemas.account_context import AccountProfile, Call, Contact, Email, Opportunity

FULL_SIZE: Final = 8803


def generate_crm(*, accounts: int, seed: int, as_of: dt.datetime) -> CrmRecords:
    """Return a CRM of that many accounts as of `as_of`; the same arguments give the same CRM.

    Account `i` and its records do not depend on `accounts`.

    Raises:
        ValueError: `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of} has no time zone: give one, such as UTC")
    as_of = as_of.astimezone(dt.UTC).replace(microsecond=0)
    draws = (random.Random(f"{seed}/{index}") for index in range(accounts))
    records = records_of(
        (generate_company(index, seed=seed, as_of=as_of, rng=rng), rng) for index, rng in enumerate(draws)
    )
    return records.with_records(CrmRecords(contacts=private_contacts(seed=seed, as_of=as_of)))


def records_of(companies: Iterable[tuple[Company, random.Random]]) -> CrmRecords:
    """Return the accounts of companies with their other records, drawn from each one's generator."""
    profiles: list[AccountProfile] = []
    opportunities: list[Opportunity] = []
    emails: list[Email] = []
    calls: list[Call] = []
    contacts: list[Contact] = []
    for company, rng in companies:
        deals = generate_opportunities(company, rng)
        profiles.append(company.profile)
        opportunities.extend(deals)
        emails.extend(generate_emails(company, deals, rng))
        calls.extend(generate_calls(company, deals, rng))
        contacts.extend(generate_contacts(company))
    return CrmRecords(tuple(profiles), tuple(opportunities), tuple(emails), tuple(calls), tuple(contacts))
