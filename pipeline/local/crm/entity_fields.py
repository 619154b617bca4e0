"""The fields of the change events' Avro schemas, in the order that field bitmaps refer to.

The fields of Account are those of a published event, with the custom fields of a Developer Edition. Those of the other
entities are standard fields that sales teams use; their order is made up.
"""

from enum import StrEnum
from typing import Final


class FieldKind(StrEnum):
    """Type of a field; the value is the name of its branch in an Avro union."""

    TEXT = "string"
    WHOLE = "int"
    NUMBER = "double"
    FLAG = "boolean"
    MOMENT = "long"
    DAY = "long (a day)"
    ADDRESS = "com.sforce.eventbus.Address"
    PERSON_NAME = "com.sforce.eventbus.PersonName"

    @property
    def union_branch(self) -> str:
        """Name of the branch in Avro JSON: dates and times are both epoch milliseconds."""
        return FieldKind.MOMENT.value if self is FieldKind.DAY else self.value


def _fields(text: str) -> dict[str, FieldKind]:
    """Read `Name` (text) or `Name:KIND` items."""
    items = (item.partition(":") for item in text.split())
    return {name: FieldKind[kind] if kind else FieldKind.TEXT for name, _, kind in items}


COMPOUND_FIELDS: Final = {
    FieldKind.ADDRESS: _fields(
        "Street City State PostalCode Country StateCode CountryCode Latitude:NUMBER Longitude:NUMBER Xyz "
        "GeocodeAccuracy"
    ),
    FieldKind.PERSON_NAME: _fields("Salutation FirstName LastName MiddleName InformalName Suffix"),
}
"""The parts of a compound field, in the order of its Avro record."""

_AUDIT: Final = "OwnerId CreatedDate:MOMENT CreatedById LastModifiedDate:MOMENT LastModifiedById"

ENTITY_FIELDS: Final = {
    "Account": _fields(
        "Name Type ParentId BillingAddress:ADDRESS ShippingAddress:ADDRESS Phone Fax AccountNumber Website Sic "
        "Industry AnnualRevenue:NUMBER NumberOfEmployees:WHOLE Ownership TickerSymbol Description Rating Site "
        f"{_AUDIT} Jigsaw JigsawCompanyId CleanStatus AccountSource DunsNumber Tradestyle NaicsCode NaicsDesc "
        "YearStarted SicDesc DandbCompanyId OperatingHoursId CustomerPriority__c SLA__c Active__c "
        "NumberofLocations__c:NUMBER UpsellOpportunity__c SLASerialNumber__c SLAExpirationDate__c:DAY"
    ),
    "Opportunity": _fields(
        "AccountId IsPrivate:FLAG Name Description StageName Amount:NUMBER Probability:NUMBER ExpectedRevenue:NUMBER "
        "TotalOpportunityQuantity:NUMBER CloseDate:DAY Type NextStep LeadSource IsClosed:FLAG IsWon:FLAG "
        f"ForecastCategory ForecastCategoryName CampaignId Pricebook2Id {_AUDIT} ContactId Product__c"
    ),
    "Contact": _fields(
        "AccountId Name:PERSON_NAME OtherAddress:ADDRESS MailingAddress:ADDRESS Phone Fax MobilePhone HomePhone "
        f"ReportsToId Email Title Department AssistantName LeadSource Birthdate:DAY Description {_AUDIT} CleanStatus"
    ),
    "Task": _fields(
        "WhoId WhatId Subject ActivityDate:DAY Status Priority IsHighPriority:FLAG Description AccountId "
        f"IsClosed:FLAG {_AUDIT} CallDurationInSeconds:WHOLE CallType CallDisposition TaskSubtype"
    ),
    "Event": _fields(
        "WhoId WhatId Subject Location IsAllDayEvent:FLAG ActivityDateTime:MOMENT DurationInMinutes:WHOLE "
        f"StartDateTime:MOMENT EndDateTime:MOMENT Description AccountId {_AUDIT} IsPrivate:FLAG ShowAs"
    ),
    "Case": _fields(
        "CaseNumber ContactId AccountId AssetId ParentId SuppliedEmail Type Status Reason Origin Subject Priority "
        f"Description IsClosed:FLAG ClosedDate:MOMENT IsEscalated:FLAG {_AUDIT}"
    ),
    "Lead": _fields(
        "Name:PERSON_NAME Title Company Address:ADDRESS Phone MobilePhone Email Website Description LeadSource "
        f"Status Industry Rating AnnualRevenue:NUMBER NumberOfEmployees:WHOLE {_AUDIT} IsConverted:FLAG"
    ),
    "User": _fields(
        "Username Name:PERSON_NAME CompanyName Division Department Title Address:ADDRESS Email Phone IsActive:FLAG "
        "TimeZoneSidKey ManagerId CreatedDate:MOMENT CreatedById LastModifiedDate:MOMENT LastModifiedById"
    ),
}
"""Field kinds by entity; ChangeEventHeader, the first field of each schema, is not listed."""
