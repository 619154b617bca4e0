"""Account context: what the CRM mirror knows about an account; a model for each table of dataset `crm`."""

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Final

import msgspec
from pydantic import AwareDatetime, ConfigDict, Field

from schemas.change_event import AccountChange
from schemas.record import Record, ValidatedModel
from schemas.salesforce_ids import AccountId


class MirrorRow(ValidatedModel):
    """A row of the CRM mirror; columns without a field here are ignored."""

    model_config = ConfigDict(extra="ignore")


class AccountProfile(MirrorRow):
    """A row of `crm.accounts`."""

    account_id: AccountId
    name: str
    type: str | None = Field(default=None, description="Prospect, Customer, Partner, ...")
    industry: str | None = None
    annual_revenue: float | None = Field(default=None, description="In the organisation's currency")
    number_of_employees: int | None = None
    rating: str | None = Field(default=None, description="Hot, Warm or Cold")
    ownership: str | None = None
    account_source: str | None = None
    website: str | None = None
    parent_id: str | None = None
    owner_id: str | None = None
    billing_city: str | None = None
    billing_state: str | None = None
    billing_postal_code: str | None = None
    billing_country: str | None = None
    year_started: int | None = None
    created_at: AwareDatetime | None = None
    modified_at: AwareDatetime = Field(description="SystemModstamp: the last write in Salesforce")


class Opportunity(MirrorRow):
    """A row of `crm.opportunities`."""

    opportunity_id: str
    account_id: str | None = Field(default=None, description="NULL: an opportunity without an account")
    name: str
    stage: str
    amount: float | None = None
    probability: float | None = Field(default=None, description="Percent, 0 to 100")
    is_closed: bool
    is_won: bool
    product: str | None = None
    owner: str | None = None
    engaged_on: dt.date | None = Field(default=None, description="Start of the talks")
    closed_on: dt.date | None = Field(default=None, description="Actual or expected close date")
    modified_at: AwareDatetime


class Contact(MirrorRow):
    """A row of `crm.contacts`: whose a person is. Change events of contacts that name no account are looked up here."""

    contact_id: str
    account_id: str | None = Field(default=None, description="NULL: a contact without an account")
    title: str | None = None
    department: str | None = None
    is_reachable: bool | None = Field(
        default=None, description="Has an email address that does not bounce, or a phone number, and did not opt out"
    )
    modified_at: AwareDatetime = Field(description="SystemModstamp: the last write in Salesforce")


class Email(MirrorRow):
    """A row of `crm.emails`: an email between the company and the account."""

    email_id: str
    account_id: AccountId
    direction: str = Field(description="inbound or outbound")
    subject: str
    body: str = Field(description="Free text, written by anybody")
    sent_at: AwareDatetime


class Call(MirrorRow):
    """A row of `crm.calls`: a phone call or meeting."""

    call_id: str
    account_id: AccountId
    direction: str = Field(description="inbound or outbound")
    outcome: str = Field(description="connected, voicemail or no_answer")
    duration_seconds: int
    notes: str = Field(description="Free text, written by whoever called")
    started_at: AwareDatetime


class AccountContext(ValidatedModel):
    """Everything that Gemini may learn about an account; lists are newest first and bounded by the query."""

    profile: AccountProfile
    opportunities: tuple[Opportunity, ...] = ()
    emails: tuple[Email, ...] = ()
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True)
class EnrichedChange:
    """A change and the context of its account."""

    change: AccountChange
    context: AccountContext


class EnrichedRecord(Record, frozen=True):
    """An enriched change as it travels between steps that are not fused.

    Attributes:
        change: The change.
        context: Its account's context as JSON.
    """

    change: AccountChange
    context: str

    @classmethod
    def of(cls, item: EnrichedChange) -> "EnrichedRecord":
        """Return the change as it travels."""
        return cls(change=item.change, context=context_to_json(item.context))

    def enriched(self) -> EnrichedChange:
        """Return the change as it is scored."""
        return EnrichedChange(change=self.change, context=context_from_json(self.context))


_CONTEXT_FIELDS: Final = frozenset(AccountContext.model_fields)


def context_to_json(context: AccountContext) -> str:
    """Return a context as JSON, without empty values; equal contexts have equal JSON."""
    return context.model_dump_json(exclude_none=True)


def context_from_json(document: str) -> AccountContext:
    """Return a context from its JSON, whichever release wrote it: what only a newer one knows is left out.

    Raises:
        msgspec.DecodeError: It is not JSON.
        pydantic.ValidationError: It is not a context.
    """
    context = msgspec.json.decode(document)
    known = {name: value for name, value in context.items() if name in _CONTEXT_FIELDS}
    return AccountContext.model_validate_json(document if known == context else msgspec.json.encode(known))


def context_hash(context: AccountContext) -> str:
    """Return the hash of a context: 32 hex digits, equal if every value is equal.

    `modified_at` is left out: Salesforce sets it also when no value changes.
    """
    document = context.model_dump_json(
        exclude={"profile": {"modified_at": True}, "opportunities": {"__all__": {"modified_at": True}}}
    )
    return hashlib.sha256(document.encode()).hexdigest()[:32]
