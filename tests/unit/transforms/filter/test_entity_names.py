"""Names of objects and of the fields that name an account: real ones are taken, typos are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.changes import ACCOUNT_FIELDS
from transforms.filter.entity_names import account_field, entity_name

# Standard objects with change events, of Salesforce's guide.
SUPPORTED = """
Account AccountContactRole ActionCadence ActionCadenceStepTracker Asset AssetWarranty AssignedResource
AuthorizationFormConsent CallTemplate Campaign CampaignMember CampaignMemberStatus Case CommSubscriptionConsent Contact
ContactPointAddress ContactPointConsent ContactPointEmail ContactPointPhone ContactPointTypeConsent Contract
ContractLineItem EmailMessage EmailTemplate Entitlement Event EventRelation Individual LandingPage Lead ListEmail
LiveChatTranscript Location LoyaltyLedger Macro MacroInstruction MaintenanceAsset MaintenancePlan MarketingForm
MarketingLink Opportunity OpportunityContactRole OpportunitySplit Order OrderItem OrderItemSpec PartyConsent Pricebook2
Product2 ProductConsumed ProductItem ProductRequest ProductRequestLineItem Quote QuoteLineItem ServiceContract Task
TaskRelation User VoiceCall VoiceCallRecording WorkOrder WorkOrderLineItem WorkType
""".split()  # noqa: SIM905 - a list of words


@pytest.mark.parametrize("name", [*SUPPORTED, *ACCOUNT_FIELDS, "Project__c", "acme__Project__c", "a_b__C_1__c"])
def test_an_object_is_taken(name: str) -> None:
    """Standard objects with change events, and custom ones, also of an installed package."""
    assert entity_name(name) == name


@pytest.mark.parametrize("name", ["AccountId", "WhatId", "OpportunityId", "SellerId", "Account__c", "acme__Account__c"])
def test_a_field_that_refers_to_a_record_is_taken(name: str) -> None:
    """Standard ones end in Id, custom ones in __c."""
    assert account_field(name) == name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Acount", "Account"),
        ("case", "Case"),
        ("Opportunities", "Opportunity"),
        ("Project_c", "Project__c"),
        ("Project__C", "Project__c"),
        ("OpportunityChangeEvent", "Opportunity"),
        ("acme__Project__ChangeEvent", "acme__Project__c"),
    ],
)
def test_what_is_almost_an_object_is_refused_with_the_one_that_is_meant(name: str, meant: str) -> None:
    """Such a name would be an entity of which no event ever comes."""
    with pytest.raises(ValueError, match=rf"is no object: did you mean {meant}\?"):
        entity_name(name)


@pytest.mark.parametrize("name", ["", "7Up", "a b", "Größe__c", "__c", "A__b__c__c", "Project__x", "Project__mdt"])
def test_what_can_be_no_object_is_refused(name: str) -> None:
    """With an example of an API name."""
    with pytest.raises(ValueError, match="write its API name, such as Case, or Project__c"):
        entity_name(name)


@given(st.text(st.characters(codec="ascii"), max_size=12))
def test_what_is_taken_is_safe_in_a_query(name: str) -> None:
    """Only letters, digits and underscores: names become part of SOQL, which has no parameters."""
    for check in (entity_name, account_field):
        try:
            taken = check(name)
        except ValueError as refusal:
            assert "\n" not in str(refusal)  # noqa: PT017 - any text is either taken or refused
        else:
            assert taken.replace("_", "").isalnum()
