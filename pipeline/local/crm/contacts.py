"""Generate the mirror's contacts of a company: what they do there, and whether they can be reached."""

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
