"""The allow-list: which fields of an account context reach Gemini, each with its reason.

A test requires that every field of the context's models is listed here, as shown or as left out. So a new column of the
mirror reaches a prompt only by a decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from schemas.account_context import AccountProfile, Call, Email, Opportunity


@dataclass(frozen=True)
class Shown:
    """A field that scoring needs; a text is cut to `most_characters`."""

    why: str
    most_characters: int = 80


@dataclass(frozen=True)
class LeftOut:
    """A field that does not reach Gemini."""

    why: str


_RECORD_ID: Final = LeftOut("a Salesforce id: no use for scoring, and the prompt has ids of its own")
_OUR_PERSON: Final = LeftOut("a person of our organisation")
_NOT_INFORMATIVE: Final = LeftOut("Salesforce writes it even if no other field changes")
_BODY_CHARACTERS: Final = 600
_NAME_CHARACTERS: Final = 160

PROFILE: Final[Mapping[str, Shown | LeftOut]] = {
    "account_id": _RECORD_ID,
    "name": Shown("Gemini repeats it with the score; for a person account, the person's name", _NAME_CHARACTERS),
    "type": Shown("customer, prospect or partner"),
    "industry": Shown("fit"),
    "annual_revenue": Shown("fit, and the measure for a deal's amount"),
    "number_of_employees": Shown("fit"),
    "rating": Shown("a weak signal"),
    "ownership": Shown("fit: how it decides and pays"),
    "account_source": Shown("how the account was won"),
    "website": LeftOut("names the account again, or a person if it is a sole trader's"),
    "parent_id": _RECORD_ID,
    "owner_id": _OUR_PERSON,
    "billing_city": Shown("fit: the market it is in"),
    "billing_state": Shown("fit: the market it is in"),
    "billing_postal_code": LeftOut("can identify a street, and the owner of a small company"),
    "billing_country": Shown("fit: the market it is in"),
    "year_started": Shown("fit"),
    "created_at": Shown("how long it has been known"),
    "modified_at": _NOT_INFORMATIVE,
}
OPPORTUNITY: Final[Mapping[str, Shown | LeftOut]] = {
    "opportunity_id": _RECORD_ID,
    "account_id": _RECORD_ID,
    "name": Shown("subject of the deal", _NAME_CHARACTERS),
    "stage": Shown("pipeline"),
    "amount": Shown("pipeline"),
    "probability": Shown("pipeline"),
    "is_closed": Shown("pipeline and past deals"),
    "is_won": Shown("past deals"),
    "product": Shown("subject of the deal"),
    "owner": _OUR_PERSON,
    "engaged_on": Shown("movement"),
    "closed_on": Shown("movement, and overdue close dates"),
    "modified_at": _NOT_INFORMATIVE,
}
EMAIL: Final[Mapping[str, Shown | LeftOut]] = {
    "email_id": _RECORD_ID,
    "account_id": _RECORD_ID,
    "direction": Shown("engagement: who writes"),
    "subject": Shown("engagement: subject", _NAME_CHARACTERS),
    "body": Shown("engagement: content", _BODY_CHARACTERS),
    "sent_at": Shown("engagement: when"),
}
CALL: Final[Mapping[str, Shown | LeftOut]] = {
    "call_id": _RECORD_ID,
    "account_id": _RECORD_ID,
    "direction": Shown("engagement: who calls"),
    "outcome": Shown("engagement: whether it connected"),
    "duration_seconds": Shown("engagement: for how long"),
    "notes": Shown("engagement: content", _BODY_CHARACTERS),
    "started_at": Shown("engagement: when"),
}
ALLOW_LIST: Final[Mapping[type[BaseModel], Mapping[str, Shown | LeftOut]]] = {
    AccountProfile: PROFILE,
    Opportunity: OPPORTUNITY,
    Email: EMAIL,
    Call: CALL,
}
