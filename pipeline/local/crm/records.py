"""What dataset `crm` holds, table by table."""

from dataclasses import dataclass

from schemas.account_context import AccountProfile, Call, Email, Opportunity


@dataclass(frozen=True)
class CrmRecords:
    """The rows of a CRM, each table in the order in which its rows were made or read."""

    accounts: tuple[AccountProfile, ...] = ()
    opportunities: tuple[Opportunity, ...] = ()
    emails: tuple[Email, ...] = ()
    calls: tuple[Call, ...] = ()
