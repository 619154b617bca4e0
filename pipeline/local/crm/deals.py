"""Generate the opportunities of a company: won, lost and open ones."""

import datetime as dt
import random
from collections.abc import Iterator
from typing import Final

from pipeline.local.crm import record_ids
from pipeline.local.crm.company import Company, between, log_uniform, two_digits
from pipeline.local.crm.stages import CLOSED_STAGES, OPEN_STAGES
from schemas.account_context import Opportunity

MAX_OPPORTUNITIES: Final = 8

_CYCLE_DAYS: Final = (20, 150)
_PRICE_PER_EMPLOYEE: Final = (18, 140)
_MIN_AMOUNT: Final = 1_200.0
_KINDS: Final = ("Expansion", "Renewal", "Add-on", "New site")


def generate_opportunities(company: Company, rng: random.Random) -> tuple[Opportunity, ...]:
    """Return the opportunities, oldest engagement first."""
    story = company.story
    drafts = [
        *(_closed(company, rng, stage="Closed Won") for _ in range(rng.randint(*story.won))),
        *(_closed(company, rng, stage="Closed Lost") for _ in range(rng.randint(*story.lost))),
        *(_open(company, rng) for _ in range(rng.randint(*story.open))),
    ]
    drafts.sort(key=lambda draft: draft[0])
    return tuple(_opportunities(company, rng, drafts))


Draft = tuple[dt.datetime, dt.datetime, str]
"""Engaged at, closed (or due) at, stage."""


def _closed(company: Company, rng: random.Random, *, stage: str) -> Draft:
    cycle = dt.timedelta(days=rng.randint(*_CYCLE_DAYS))
    latest = company.last_contact_at - cycle
    engaged_at = between(rng, company.active_since, latest)
    return engaged_at, min(engaged_at + cycle, company.as_of), stage


def _open(company: Company, rng: random.Random) -> Draft:
    engaged_at = company.as_of - dt.timedelta(days=rng.randint(*company.story.engaged_days_ago))
    engaged_at = max(engaged_at, company.active_since)
    due_at = company.as_of + dt.timedelta(days=rng.randint(*company.story.due_in_days))
    return engaged_at, max(due_at, engaged_at), rng.choice(company.story.stages)


def _opportunities(company: Company, rng: random.Random, drafts: list[Draft]) -> Iterator[Opportunity]:
    for number, (engaged_at, closed_at, stage) in enumerate(drafts):
        is_closed = stage in CLOSED_STAGES
        product = rng.choice(company.industry.products)
        kind = "New business" if number == 0 else rng.choice(_KINDS)
        touched_at = closed_at if is_closed else between(rng, engaged_at, max(company.last_contact_at, engaged_at))
        yield Opportunity.model_construct(
            opportunity_id=company.record_id(record_ids.OPPORTUNITY, number, of_at_most=MAX_OPPORTUNITIES),
            account_id=company.profile.account_id,
            name=f"{company.short_name} - {product} {kind}",
            stage=stage,
            amount=_amount(company, rng),
            probability=CLOSED_STAGES[stage] if is_closed else OPEN_STAGES[stage],
            is_closed=is_closed,
            is_won=stage == "Closed Won",
            product=product,
            owner=company.rep.name,
            engaged_on=engaged_at.date(),
            closed_on=closed_at.date(),
            modified_at=touched_at,
        )


def _amount(company: Company, rng: random.Random) -> float:
    """Return the price for a company of its size; the share of employees who need the product falls with size."""
    users = (company.profile.number_of_employees or company.industry.employees[0]) ** 0.85
    return two_digits(max(users * log_uniform(rng, *_PRICE_PER_EMPLOYEE), _MIN_AMOUNT))
