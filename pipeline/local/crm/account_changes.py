"""Draw new field values for the records of a CRM, without the events that carry them."""

import datetime as dt
import random
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from pipeline.local.crm import record_ids
from pipeline.local.crm.company import two_digits
from pipeline.local.crm.record_ids import numbered_record_id
from pipeline.local.crm.stages import CLOSED_STAGES, OPEN_STAGES
from pipeline.local.crm.vocabulary import vocabulary, with_digits
from schemas.account_context import AccountProfile, Opportunity

Values = dict[str, Any]

RATINGS: Final = ("Hot", "Warm", "Cold")
_CLEARED: Final = 0.08
_STAGES: Final = OPEN_STAGES | CLOSED_STAGES


def material_change(rng: random.Random, account: AccountProfile) -> Values:
    """Return new values for one to three material fields, each different from the account's current value."""
    values: Values = {}
    for change in rng.sample(_MATERIAL, rng.choice((1, 1, 1, 2, 3))):
        values |= change(rng, account)
    return values


def immaterial_change(rng: random.Random) -> Values:
    """Return new values of immaterial fields, or none: then only the audit fields change."""
    return rng.choice(
        (
            {},
            {"Phone": with_digits(rng, "+1 4## 555 01##")},
            {"Fax": with_digits(rng, "+1 4## 555 01##")},
            {"CleanStatus": rng.choice(("Matched", "Different", "Acknowledged"))},
            {"Jigsaw": with_digits(rng, "########")},
        )
    )


def whole_account(account: AccountProfile) -> Values:
    """Return the account's fields as a CREATE or UNDELETE sends them, without the empty ones."""
    values = {
        "Name": account.name,
        "Type": account.type,
        "ParentId": account.parent_id,
        "BillingAddress.City": account.billing_city,
        "BillingAddress.State": account.billing_state,
        "BillingAddress.PostalCode": account.billing_postal_code,
        "BillingAddress.Country": account.billing_country,
        "Website": account.website,
        "Industry": account.industry,
        "AnnualRevenue": account.annual_revenue,
        "NumberOfEmployees": account.number_of_employees,
        "Ownership": account.ownership,
        "Rating": account.rating,
        "OwnerId": account.owner_id,
        "AccountSource": account.account_source,
        "YearStarted": None if account.year_started is None else str(account.year_started),
        "CleanStatus": "Pending",
    }
    return {name: value for name, value in values.items() if value is not None}


def owner_change(rng: random.Random, *accounts: AccountProfile) -> Values:
    """Return an owner that is not the owner of any of the accounts."""
    present = {account.owner_id for account in accounts}
    return {"OwnerId": rng.choice([owner for owner in user_ids() if owner not in present])}


@cache
def user_ids() -> tuple[str, ...]:
    """Return the user ids of the sales reps."""
    return tuple(numbered_record_id(record_ids.USER, number) for number in range(len(vocabulary().reps)))


def opportunity_change(rng: random.Random, deal: Opportunity) -> Values:
    """Return another stage or another amount for the opportunity."""
    if rng.random() < 0.3 and deal.amount:  # noqa: PLR2004 - a share
        return {"Amount": two_digits(deal.amount * rng.uniform(1.2, 2.5))}
    stage = rng.choice([stage for stage in _STAGES if stage != deal.stage])
    values: Values = {"StageName": stage, "Probability": _STAGES[stage]}
    if stage in CLOSED_STAGES:
        return values | {"IsClosed": True, "IsWon": stage == "Closed Won", "NextStep": None}
    return values | {"NextStep": rng.choice(vocabulary().next_steps)}


def contact_change(rng: random.Random) -> Values:
    """Return a new name, title or address of a contact."""
    country = rng.choice(vocabulary().countries)
    return rng.choice(
        (
            {"Name.LastName": rng.choice(country.last_names)},
            {"Title": rng.choice(("CFO", "Head of Operations", "IT Director", "Plant Manager", None))},
            {"MailingAddress.City": rng.choice(country.cities)[0], "MailingAddress.Country": country.name},
            {"Email": f"info{rng.randrange(1000)}@contact.example"},
        )
    )


def new_person(rng: random.Random) -> Values:
    """Return the name and title of a new contact or lead."""
    country = rng.choice(vocabulary().countries)
    return {
        "Name.FirstName": rng.choice(country.first_names),
        "Name.LastName": rng.choice(country.last_names),
        "Title": rng.choice(("CEO", "Buyer", "Project Lead", "Head of Data")),
    }


def new_task(rng: random.Random, day: dt.datetime) -> Values:
    """Return a logged call or a to-do."""
    is_call = rng.random() < 0.5  # noqa: PLR2004 - one in two
    values: Values = {
        "Subject": rng.choice(("Call", "Send quote", "Follow up", "Prepare renewal")),
        "ActivityDate": day.date(),
        "Status": "Completed" if is_call else "Not Started",
        "Priority": rng.choice(("Normal", "High")),
        "IsClosed": is_call,
        "TaskSubtype": "Call" if is_call else "Task",
    }
    return values | ({"CallDurationInSeconds": rng.randint(20, 2400), "CallType": "Outbound"} if is_call else {})


def new_meeting(rng: random.Random, day: dt.datetime) -> Values:
    """Return a meeting within the next ten days."""
    start = day.replace(hour=rng.randint(8, 17), minute=0, second=0) + dt.timedelta(days=rng.randint(1, 10))
    return {
        "Subject": rng.choice(("Workshop", "Quarterly review", "Demo", "Kick-off")),
        "Location": rng.choice(("Online", "Customer site")),
        "IsAllDayEvent": False,
        "ActivityDateTime": start,
        "DurationInMinutes": 60,
        "StartDateTime": start,
        "EndDateTime": start + dt.timedelta(hours=1),
        "ShowAs": "Busy",
    }


def new_case(rng: random.Random) -> Values:
    """Return a case that a contact has opened."""
    return {
        "Subject": rng.choice(
            ("Machine stands still", "Invoice is wrong", "Question about the contract", "Late delivery")
        ),
        "Status": "New",
        "Priority": rng.choice(("Low", "Medium", "High")),
        "Origin": rng.choice(("Email", "Phone", "Web")),
        "Type": rng.choice(("Problem", "Question", "Feature Request")),
        "IsClosed": False,
        "IsEscalated": False,
    }


def follow_up(rng: random.Random, entity: str) -> Values:
    """Return what changes of a new related record."""
    if entity == "Contact":
        return contact_change(rng)
    if entity == "Event":
        return {"Subject": rng.choice(("Workshop, part 2", "Quarterly review, postponed", "Second demo"))}
    return {"Status": "Closed" if entity == "Case" else "Completed", "IsClosed": True}


def _rating(rng: random.Random, account: AccountProfile) -> Values:
    return {"Rating": _new(rng, account.rating, RATINGS)}


def _revenue(rng: random.Random, account: AccountProfile) -> Values:
    # Far enough from 1 that the rounded value always differs.
    return {"AnnualRevenue": two_digits((account.annual_revenue or 1e6) * rng.choice((0.5, 0.7, 1.4, 2.0)))}


def _employees(rng: random.Random, account: AccountProfile) -> Values:
    employees = account.number_of_employees or 20
    step = max(1, round(employees * rng.uniform(0.1, 0.6)))
    return {"NumberOfEmployees": employees + rng.choice((-step, step, step))}


def _industry(rng: random.Random, account: AccountProfile) -> Values:
    return {"Industry": _new(rng, account.industry, tuple(industry.name for industry in vocabulary().industries))}


def _move(rng: random.Random, account: AccountProfile) -> Values:
    """Move to another city of the country, or of another country if it has no other city."""
    places = [
        (country.name, *place)
        for country in vocabulary().countries
        for place in country.cities
        if place[0] != account.billing_city
    ]
    at_home = [place for place in places if place[0] == account.billing_country]
    country, city, state, postal_code = rng.choice(at_home or places)
    values = {
        "BillingAddress.City": city,
        "BillingAddress.State": state,
        "BillingAddress.PostalCode": with_digits(rng, postal_code),
    }
    return values if country == account.billing_country else values | {"BillingAddress.Country": country}


def _website(rng: random.Random, account: AccountProfile) -> Values:
    if account.website is not None and rng.random() < _CLEARED:
        return {"Website": None}
    return {"Website": f"https://site-{rng.randrange(10_000)}.example"}


def _custom_field(rng: random.Random, _account: AccountProfile) -> Values:
    return rng.choice(
        (
            {"CustomerPriority__c": rng.choice(("High", "Medium", "Low"))},
            {"UpsellOpportunity__c": rng.choice(("Yes", "Maybe", "No"))},
            {"SLA__c": rng.choice(("Gold", "Silver", "Platinum"))},
            {"NumberofLocations__c": float(rng.randint(1, 60))},
        )
    )


def _new(rng: random.Random, present: str | None, choices: tuple[str, ...]) -> str | None:
    """Return another value than the current one, or sometimes None."""
    if present is not None and rng.random() < _CLEARED:
        return None
    return rng.choice([choice for choice in choices if choice != present])


_MATERIAL: Final[tuple[Callable[[random.Random, AccountProfile], Values], ...]] = (
    _rating,
    _revenue,
    _employees,
    _industry,
    _move,
    _website,
    owner_change,
    _custom_field,
)
