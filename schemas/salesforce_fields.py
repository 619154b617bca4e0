"""Names of Salesforce fields that several rooms use: what is read from Salesforce and laid over the mirror."""

from typing import Final

MODIFIED_FIELD: Final = "SystemModstamp"
"""When Salesforce last wrote a record. A record that was read again has it; change events have no such field."""

PROFILE_FIELDS: Final = (
    "Name",
    "Type",
    "Industry",
    "AnnualRevenue",
    "NumberOfEmployees",
    "Rating",
    "Ownership",
    "AccountSource",
    "Website",
    "ParentId",
    "OwnerId",
    "YearStarted",
    "CreatedDate",
    "BillingCity",
    "BillingState",
    "BillingPostalCode",
    "BillingCountry",
)
"""The fields of an Account that make up its profile, as SOQL names them."""
