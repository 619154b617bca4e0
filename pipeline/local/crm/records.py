"""The records of dataset `crm`."""

from dataclasses import dataclass

from schemas.account_context import AccountProfile, Call, Email, Opportunity


@dataclass(frozen=True)
class CrmRecords:
    """The rows of a CRM, in the order in which they were generated or read."""

    accounts: tuple[AccountProfile, ...] = ()
    opportunities: tuple[Opportunity, ...] = ()
    emails: tuple[Email, ...] = ()
    calls: tuple[Call, ...] = ()
