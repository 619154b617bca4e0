"""The records of dataset `crm`."""

from dataclasses import dataclass

from schemas.account_context import AccountProfile, Call, Contact, Email, Opportunity


@dataclass(frozen=True)
class CrmRecords:
    """The rows of a CRM, in the order in which they were generated or read."""

    accounts: tuple[AccountProfile, ...] = ()
    opportunities: tuple[Opportunity, ...] = ()
    emails: tuple[Email, ...] = ()
    calls: tuple[Call, ...] = ()
    contacts: tuple[Contact, ...] = ()

    def with_records(self, others: "CrmRecords") -> "CrmRecords":
        """Return these records, then the others."""
        return CrmRecords(
            self.accounts + others.accounts,
            self.opportunities + others.opportunities,
            self.emails + others.emails,
            self.calls + others.calls,
            self.contacts + others.contacts,
        )
