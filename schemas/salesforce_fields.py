"""Names of Salesforce fields that several rooms use: what is read from Salesforce and laid over the mirror."""

import re
from collections.abc import Mapping
from typing import Final

from schemas.change_event import ACCOUNT_ENTITY

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

OPPORTUNITY_FIELDS: Final = ("Name", "StageName", "Amount", "Probability", "CloseDate", "IsClosed", "IsWon")
"""The fields of an Opportunity that an account context shows."""

CONTEXT_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    ACCOUNT_ENTITY: PROFILE_FIELDS,
    "Opportunity": OPPORTUNITY_FIELDS,
}
"""By entity, the fields whose values later stages use. Of other entities only the account matters."""

_PLACE: Final = "Street|City|State|StateCode|PostalCode|Country|CountryCode|Latitude|Longitude|GeocodeAccuracy"
_COMPOUND_PART: Final = re.compile(rf"(?:Name|\w*Address)\.\w+|\w+__c\.(?:{_PLACE})", re.ASCII)


def is_compound_part(name: str) -> bool:
    """Whether a dotted name is that of a part of a compound field, rather than of a field with its entity before it.

    Salesforce's compound fields are Name, addresses, and custom addresses and geolocations.
    """
    return _COMPOUND_PART.fullmatch(name) is not None
