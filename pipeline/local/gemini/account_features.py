"""Extract the features that score an account from its JSON in the prompt: counts, sums and dates, never free text.

The JSON is `schemas.account_context.AccountContext`, with or without ids. A field that is missing or of another type
counts as unknown.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_UNKNOWN_PROBABILITY: Final = 30.0
"""In percent, of an open opportunity."""
_MAX_NUMBER: Final = 1e15
_FAVOURABLE: Final = frozenset(
    b"agreed approve approved budget buy decided excited expand expansion great happy impressed interested keen like "
    b"liked love order pilot pleased pleasure proceed purchase ready recommend recommended rollout sign signed start "
    b"upgrade".split()
)
_UNFAVOURABLE: Final = frozenset(
    b"angry bug cancel cancellation cancelled churn complaint complaints concern concerned cut delay delayed "
    b"disappointed dispute disputed down downgrade escalated expensive export freeze frozen frustrated halved issue "
    b"leave outage outages poor postpone postponed problem problems reducing refund reject rejected risk slow slower "
    b"stalled stopped terminate threatens trouble unhappy unless unsubscribe waiting withheld worried".split()
)
# One pass blanks everything but letters: the texts of a prompt are long.
_LETTERS: Final = bytes(code if chr(code).isascii() and chr(code).isalpha() else ord(" ") for code in range(256))
_FIELD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,79}")


@dataclass(frozen=True, slots=True)
class AccountFeatures:
    """Features of one account. Amounts are in the organisation's currency, probabilities 0 to 1; 0 is also unknown."""

    name: str
    is_customer: bool
    rating: str
    revenue: float
    employees: float
    open_deals: int
    open_amount: float
    best_probability: float
    overdue: int
    won: int
    lost: int
    last_deal_on: dt.date | None
    """When an opportunity was last engaged or closed; the close date of an open one is only planned."""
    quiet_days: int | None
    """From `last_deal_on` to the date that the prompt gives: scores do not depend on the clock."""
    inbound: int
    outbound: int
    calls: int
    connected: int
    talk_minutes: float
    favourable: int
    unfavourable: int
    changed_fields: tuple[str, ...]


def extract_features(account: Mapping[str, Any]) -> AccountFeatures:
    """Return the features of one account; its id is ignored."""
    profile = account.get("profile")
    profile = profile if isinstance(profile, Mapping) else {}
    as_of = _day(account, "as_of")
    deals, emails, calls = (_records(account, name) for name in ("opportunities", "emails", "calls"))
    closed_deals = [deal for deal in deals if deal.get("is_closed") is True]
    open_deals = [deal for deal in deals if deal.get("is_closed") is not True]
    won = sum(deal.get("is_won") is True for deal in closed_deals)
    due_days = [day for deal in open_deals if (day := _day(deal, "closed_on"))]
    moved_days = [_day(deal, "engaged_on") for deal in deals] + [_day(deal, "closed_on") for deal in closed_deals]
    last_deal_on = max((day for day in moved_days if day), default=None)
    inbound = [email for email in emails if _word(email, "direction") == "inbound"]
    connected = [call for call in calls if _word(call, "outcome") == "connected"]
    # Outbound emails are left out: they say nothing about the account's mood.
    texts = [email.get(part) for email in inbound for part in ("subject", "body")] + [
        call.get("notes") for call in calls
    ]
    words = [_words(text) for text in texts if isinstance(text, str)]
    return AccountFeatures(
        name=name if isinstance(name := profile.get("name"), str) else "",
        is_customer="customer" in _word(profile, "type"),
        rating=_word(profile, "rating").capitalize(),
        revenue=_amount(profile, "annual_revenue"),
        employees=_amount(profile, "number_of_employees"),
        open_deals=len(open_deals),
        open_amount=sum(_amount(deal, "amount") for deal in open_deals),
        best_probability=max((_probability(deal) for deal in open_deals), default=0.0),
        overdue=sum(day < as_of for day in due_days) if as_of else 0,
        won=won,
        lost=len(closed_deals) - won,
        last_deal_on=last_deal_on,
        quiet_days=max((as_of - last_deal_on).days, 0) if as_of and last_deal_on else None,
        inbound=len(inbound),
        outbound=sum(_word(email, "direction") == "outbound" for email in emails),
        calls=len(calls),
        connected=len(connected),
        talk_minutes=sum(_amount(call, "duration_seconds") for call in connected) / 60,
        favourable=sum(len(found & _FAVOURABLE) for found in words),
        unfavourable=sum(len(found & _UNFAVOURABLE) for found in words),
        changed_fields=tuple(_field_names(account.get("changed_fields"))),
    )


def _records(account: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    records = account.get(name)
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []


def _word(record: Mapping[str, Any], field: str) -> str:
    value = record.get(field)
    return value.strip().lower() if isinstance(value, str) else ""


def _number(record: Mapping[str, Any], field: str) -> float | None:
    """Return a number; None where it is not one, or is beyond a quadrillion, which is an error in the CRM."""
    value = record.get(field)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if -_MAX_NUMBER < value < _MAX_NUMBER else None


def _amount(record: Mapping[str, Any], field: str) -> float:
    return max(_number(record, field) or 0.0, 0.0)


def _probability(deal: Mapping[str, Any]) -> float:
    percent = _number(deal, "probability")
    return min(max(_UNKNOWN_PROBABILITY if percent is None else percent, 0.0), 100.0) / 100


def _day(record: Mapping[str, Any], field: str) -> dt.date | None:
    value = record.get(field)
    try:
        return dt.date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:  # counts as unknown, like any other malformed field
        return None


def _words(text: str) -> set[bytes]:
    return set(text.encode("utf-8", "replace").translate(_LETTERS).lower().split())


def _field_names(value: Any) -> Iterable[str]:
    """Return the entries that can be field names, such as `AnnualRevenue` or `Region__c`."""
    names = value if isinstance(value, list) else []
    return (name for name in names if isinstance(name, str) and _FIELD_NAME.fullmatch(name))
