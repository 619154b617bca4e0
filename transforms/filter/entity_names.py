"""Names of Salesforce objects and of their fields, as `materiality.yaml` may have them."""

import re
from collections.abc import Iterable
from typing import Final

from schemas.api_names import REFERENCES
from schemas.change_event import ACCOUNT_ENTITY, ACCOUNT_FIELD
from schemas.validation_errors import suggestion

_STANDARD: Final = (
    *(ACCOUNT_ENTITY, "AccountContactRelation", "AccountContactRole", "AccountTeamMember", "Asset", "Campaign"),
    *("CampaignMember", "Case", "CaseComment", "Contact", "Contract", "ContractContactRole", "ContractLineItem"),
    *("EmailMessage", "Entitlement", "Event", "EventRelation", "Invoice", "Lead", "LiveChatTranscript"),
    *("MessagingSession", "Opportunity", "OpportunityContactRole", "OpportunityLineItem", "OpportunityTeamMember"),
    *("Order", "OrderItem", "Partner", "Product2", "Quote", "QuoteLineItem", "ServiceAppointment", "ServiceContract"),
    *("Task", "TaskRelation", "User", "VideoCall", "VoiceCall", "WorkOrder", "WorkOrderLineItem"),
)
"""Standard objects that may be meant by a name that is almost one of theirs; others are allowed too."""

_ALMOST: Final = 0.83
_PART: Final = "[A-Za-z](?:_?[A-Za-z0-9])*"
_CUSTOM: Final = re.compile(rf"(?:{_PART}__)?{_PART}__c\Z")
_OBJECT: Final = re.compile(r"[A-Z][A-Za-z0-9]*\Z")
_CHANGE_EVENT: Final = re.compile(r"(?P<custom>\w+__)ChangeEvent\Z|(?P<standard>[A-Za-z0-9]+)ChangeEvent\Z", re.ASCII)
_ALMOST_CUSTOM: Final = re.compile(r"\w*[A-Za-z0-9](?:_[cC]|__C)\Z", re.ASCII)


def entity_name(name: str) -> str:
    """Return a name that can be an object's.

    Raises:
        ValueError: It is none, or almost that of a well-known object; the message says which is probably meant.
    """
    if event := _CHANGE_EVENT.match(name):
        meant: str | None = f"{event['custom']}c" if event["custom"] else event["standard"]
    elif name in _STANDARD or _CUSTOM.match(name):
        return name
    else:
        meant = _almost_custom(name) or _almost(name, _STANDARD)
    if meant is None and _OBJECT.match(name):
        return name
    hint = f"did you mean {meant}?" if meant else "write its API name, such as Case, or Project__c for a custom object"
    raise ValueError(f"{name!r} is no object: {hint}")


def account_field(name: str) -> str:
    """Return a name that can be that of a field which refers to a record.

    Raises:
        ValueError: It is none, or almost that of a well-known field; the message says which is probably meant.
    """
    if name in REFERENCES or _CUSTOM.match(name):
        return name
    meant = _almost_custom(name) or _almost(name, REFERENCES)
    if meant is None and _OBJECT.match(name) and name.endswith("Id"):
        return name
    hint = f"did you mean {meant}?" if meant else f"write its API name, such as {ACCOUNT_FIELD} or Account__c"
    raise ValueError(f"{name!r} is no field that refers to a record: {hint}")


def _almost_custom(name: str) -> str | None:
    """Return the custom name that is meant by one that ends in _c or __C."""
    return f"{name.rstrip('cC').rstrip('_')}__c" if _ALMOST_CUSTOM.match(name) else None


def _almost(name: str, known: Iterable[str]) -> str | None:
    by_lower_case = {it.casefold(): it for it in known}
    meant = suggestion(name.casefold(), by_lower_case, likeness=_ALMOST)
    return by_lower_case[meant] if meant else None
