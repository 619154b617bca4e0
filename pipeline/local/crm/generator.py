"""Generate a CRM: companies with a story, and the opportunities, e-mails and calls in which it shows."""

import datetime as dt
import random
from typing import Final

from pipeline.local.crm.company import invent_company
from pipeline.local.crm.correspondence import invent_calls, invent_emails
from pipeline.local.crm.deals import invent_opportunities
from pipeline.local.crm.records import CrmRecords
from schemas.account_context import AccountProfile, Call, Email, Opportunity

FULL_SIZE: Final = 8803


def generate_crm(*, accounts: int, seed: int, as_of: dt.datetime) -> CrmRecords:
    """Return the CRM of that many accounts as it stands at `as_of`: the same for the same arguments.

    Account `i` and all that belongs to it are the same whatever `accounts` is.

    Raises:
        ValueError: `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of} has no time zone: give one, such as UTC")
    as_of = as_of.astimezone(dt.UTC).replace(microsecond=0)
    profiles: list[AccountProfile] = []
    opportunities: list[Opportunity] = []
    emails: list[Email] = []
    calls: list[Call] = []
    for index in range(accounts):
        rng = random.Random(f"{seed}/{index}")
        company = invent_company(index, seed=seed, as_of=as_of, rng=rng)
        deals = invent_opportunities(company, rng)
        profiles.append(company.profile)
        opportunities.extend(deals)
        emails.extend(invent_emails(company, deals, rng))
        calls.extend(invent_calls(company, deals, rng))
    return CrmRecords(tuple(profiles), tuple(opportunities), tuple(emails), tuple(calls))
