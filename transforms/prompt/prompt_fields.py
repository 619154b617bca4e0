"""The allow-list: which of an account's fields reach Gemini, each with its reason.

Every field of the context's models stands here as shown or as left out, and a test holds the two together, so that a
new column of the mirror reaches no prompt before somebody has decided that it should.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from schemas.account_context import AccountProfile, Call, Email, Opportunity


@dataclass(frozen=True)
class Shown:
    """A field that scoring needs; of text at most this many characters."""

    why: str
    most_characters: int = 80


@dataclass(frozen=True)
class LeftOut:
    """A field that stays behind."""

    why: str


_OUR_ID = LeftOut("an id of Salesforce's: it tells nothing, and the prompt's own ids stand for it")
_LETTER_CHARACTERS: Final = 600
_NAME_CHARACTERS: Final = 160

PROFILE: Final[Mapping[str, Shown | LeftOut]] = {
    "account_id": _OUR_ID,
    "name": Shown("the fact that an answer repeats; a person account's name is its person's", _NAME_CHARACTERS),
    "type": Shown("customer, prospect or partner"),
    "industry": Shown("fit"),
    "annual_revenue": Shown("fit, and what a deal's amount is measured by"),
    "number_of_employees": Shown("fit"),
    "rating": Shown("a weak hint"),
    "ownership": Shown("fit: how it decides and pays"),
    "account_source": Shown("how it came to us"),
    "website": LeftOut("names the account again; of a sole trader, a person"),
    "parent_id": _OUR_ID,
    "owner_id": LeftOut("a person of ours"),
    "billing_city": Shown("fit: the market it is in"),
    "billing_state": Shown("fit: the market it is in"),
    "billing_postal_code": LeftOut("narrows a place down to a street, and a small company to a person"),
    "billing_country": Shown("fit: the market it is in"),
    "year_started": Shown("fit"),
    "created_at": Shown("how long it has been known"),
    "modified_at": LeftOut("Salesforce writes it without any fact having changed"),
}
OPPORTUNITY: Final[Mapping[str, Shown | LeftOut]] = {
    "opportunity_id": _OUR_ID,
    "account_id": _OUR_ID,
    "name": Shown("what the deal is about", _NAME_CHARACTERS),
    "stage": Shown("pipeline"),
    "amount": Shown("pipeline"),
    "probability": Shown("pipeline"),
    "is_closed": Shown("pipeline and record"),
    "is_won": Shown("record"),
    "product": Shown("what the deal is about"),
    "owner": LeftOut("a person of ours"),
    "engaged_on": Shown("movement"),
    "closed_on": Shown("movement, and what is overdue"),
    "modified_at": LeftOut("Salesforce writes it without any fact having changed"),
}
EMAIL: Final[Mapping[str, Shown | LeftOut]] = {
    "email_id": _OUR_ID,
    "account_id": _OUR_ID,
    "direction": Shown("engagement: who writes"),
    "subject": Shown("engagement: what about", _NAME_CHARACTERS),
    "body": Shown("engagement: what is said", _LETTER_CHARACTERS),
    "sent_at": Shown("engagement: when"),
}
CALL: Final[Mapping[str, Shown | LeftOut]] = {
    "call_id": _OUR_ID,
    "account_id": _OUR_ID,
    "direction": Shown("engagement: who calls"),
    "outcome": Shown("engagement: whether it connected"),
    "duration_seconds": Shown("engagement: for how long"),
    "notes": Shown("engagement: what was said", _LETTER_CHARACTERS),
    "started_at": Shown("engagement: when"),
}
ALLOW_LIST: Final[Mapping[type[BaseModel], Mapping[str, Shown | LeftOut]]] = {
    AccountProfile: PROFILE,
    Opportunity: OPPORTUNITY,
    Email: EMAIL,
    Call: CALL,
}
