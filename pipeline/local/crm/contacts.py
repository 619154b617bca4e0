"""Generate the mirror's contacts of a company: what they do there, and whether they can be reached."""

import datetime as dt
import random
from collections.abc import Iterator
from typing import Final

from pipeline.local.crm import record_ids
from pipeline.local.crm.company import MAX_CONTACTS, Company, between
from schemas.account_context import Contact

_POSITIONS: Final = (
    ("CEO", "Management"),
    ("CFO", "Finance"),
    ("Head of Operations", "Operations"),
    ("IT Director", "IT"),
    ("Plant Manager", "Operations"),
    ("Buyer", "Purchasing"),
    (None, None),
)
_UNREACHABLE: Final = 0.1
_PRIVATE: Final = 10
_FIRST_PRIVATE: Final = 900_000_000
"""Their numbers are above those of all companies' contacts."""


def generate_contacts(company: Company) -> Iterator[Contact]:
    """Yield the contacts, drawn from a generator of their own: the company's other records do not depend on them."""
    rng = random.Random(f"contacts/{company.seed}/{company.profile.account_id}")
    for number in range(len(company.contacts)):
        title, department = rng.choice(_POSITIONS)
        yield Contact.model_construct(
            contact_id=company.record_id(record_ids.CONTACT, number, of_at_most=MAX_CONTACTS),
            account_id=company.profile.account_id,
            title=title,
            department=department,
            is_reachable=rng.random() >= _UNREACHABLE,
            modified_at=between(rng, company.active_since, company.last_contact_at),
        )


def private_contacts(*, seed: int, as_of: dt.datetime) -> tuple[Contact, ...]:
    """Return some contacts that belong to no account."""
    return tuple(
        Contact.model_construct(
            contact_id=record_ids.numbered_record_id(record_ids.CONTACT, _FIRST_PRIVATE + number, seed=seed),
            is_reachable=True,
            modified_at=as_of - dt.timedelta(days=1 + number),
        )
        for number in range(_PRIVATE)
    )
