"""Extract the features that score an account from its JSON in the prompt: counts, sums and dates, never free text.

The JSON is `schemas.account_context.AccountContext`, with or without ids. A field that is missing or of another type
counts as unknown.
"""

import datetime as dt
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

STAGES: Final[Mapping[str, tuple[str, float]]] = {
    "prospecting": ("Prospecting", 0.10),
    "qualification": ("Qualification", 0.20),
    "needs analysis": ("Needs Analysis", 0.30),
    "value proposition": ("Value Proposition", 0.40),
    "engaging": ("Engaging", 0.45),
    "id. decision makers": ("Id. Decision Makers", 0.50),
    "perception analysis": ("Perception Analysis", 0.55),
    "proposal/price quote": ("Proposal/Price Quote", 0.65),
    "negotiation/review": ("Negotiation/Review", 0.80),
}
"""Open stages by lower-case name: the name to show, and the usual probability."""

_UNKNOWN_STAGE_PROBABILITY: Final = 0.30
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
# One pass lower-cases letters and blanks everything else: the texts of a prompt are long.
_LETTERS: Final = bytes(
    ord(chr(code).lower()) if chr(code) in string.ascii_letters else ord(" ") for code in range(256)
)
_MAX_NUMBER: Final = 1e15
_FIELD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,79}")


@dataclass(frozen=True, slots=True)
class AccountFeatures:
    """Features of one account. Amounts are in the organisation's currency, probabilities 0 to 1, dates in UTC."""

    name: str
    as_of: dt.date | None
    """The date that the prompt gives, else the newest date of any record: scores do not depend on the clock."""
    kind: str
    rating: str
    revenue: float | None
    employees: float | None
    known_profile_fields: int
    open_count: int
    open_amount: float
    best_probability: float
    best_stage: str | None
    overdue: int
    won: int
    lost: int
    last_won_on: dt.date | None
    last_deal_on: dt.date | None
    inbound: int
    outbound: int
    last_inbound_on: dt.date | None
    calls: int
    connected: int
    talk_minutes: int
    last_connected_on: dt.date | None
    favourable: int
    unfavourable: int
    changed_fields: tuple[str, ...]


def extract_features(account: Mapping[str, Any]) -> AccountFeatures:
    """Return the features of one account; its id is ignored."""
    profile = account.get("profile")
    profile = profile if isinstance(profile, Mapping) else {}
    deals = [_deal(record) for record in _records(account, "opportunities")]
    emails, calls = _records(account, "emails"), _records(account, "calls")
    as_of = _day(account.get("as_of")) or _newest_day(profile, deals, emails, calls)

    open_deals = [deal for deal in deals if not deal.closed]
    won_deals = [deal for deal in deals if deal.closed and deal.won]
    furthest = max(open_deals, key=lambda deal: (deal.probability, deal.stage or ""), default=None)

    inbound = [email for email in emails if _word(email, "direction") == "inbound"]
    connected = [call for call in calls if _word(call, "outcome") == "connected"]
    seconds = sum(max(_number(call.get("duration_seconds")) or 0.0, 0.0) for call in connected)
    # Outbound emails are left out: they say nothing about the account's mood.
    favourable, unfavourable = _tone(
        *(email.get(part) for email in inbound for part in ("subject", "body")), *(call.get("notes") for call in calls)
    )
    return AccountFeatures(
        name=_text(profile.get("name")),
        as_of=as_of,
        kind=_word(profile, "type"),
        rating=_word(profile, "rating"),
        revenue=_number(profile.get("annual_revenue")),
        employees=_number(profile.get("number_of_employees")),
        known_profile_fields=sum(
            profile.get(field) is not None
            for field in ("type", "industry", "annual_revenue", "number_of_employees", "rating")
        ),
        open_count=len(open_deals),
        open_amount=sum(deal.amount for deal in open_deals),
        best_probability=furthest.probability if furthest else 0.0,
        best_stage=furthest.stage if furthest else None,
        overdue=sum(deal.closes_on < as_of for deal in open_deals if deal.closes_on) if as_of else 0,
        won=len(won_deals),
        lost=len(deals) - len(open_deals) - len(won_deals),
        last_won_on=_newest(deal.closes_on for deal in won_deals),
        last_deal_on=_newest(deal.moved_on for deal in deals),
        inbound=len(inbound),
        outbound=sum(_word(email, "direction") == "outbound" for email in emails),
        last_inbound_on=_newest(_day(email.get("sent_at")) for email in inbound),
        calls=len(calls),
        connected=len(connected),
        talk_minutes=round(seconds / 60),
        last_connected_on=_newest(_day(call.get("started_at")) for call in connected),
        favourable=favourable,
        unfavourable=unfavourable,
        changed_fields=_field_names(account.get("changed_fields")),
    )


def _records(account: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    records = account.get(name)
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _word(record: Mapping[str, Any], field: str) -> str:
    return _text(record.get(field)).strip().lower()


def _number(value: Any) -> float | None:
    """Return a number; None where it is not one, or is beyond a quadrillion, which is an error in the CRM."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and -_MAX_NUMBER < value < _MAX_NUMBER else None


def _day(value: Any) -> dt.date | None:
    if not isinstance(value, str):
        return None
    try:
        return dt.date.fromisoformat(value[:10])
    except ValueError:  # counts as unknown, like any other malformed field
        return None


def _newest(days: Iterable[dt.date | None]) -> dt.date | None:
    return max((day for day in days if day), default=None)


def _newest_day(
    profile: Mapping[str, Any],
    deals: Iterable["_Deal"],
    emails: Iterable[Mapping[str, Any]],
    calls: Iterable[Mapping[str, Any]],
) -> dt.date | None:
    return _newest(
        [
            _day(profile.get("modified_at")),
            *(day for deal in deals for day in (deal.moved_on, deal.modified_on)),
            *(_day(email.get("sent_at")) for email in emails),
            *(_day(call.get("started_at")) for call in calls),
        ]
    )


@dataclass(frozen=True, slots=True)
class _Deal:
    """One opportunity."""

    closed: bool
    won: bool
    stage: str | None
    """A name from STAGES or None: a stage is free text that any CRM user may have written."""
    probability: float
    amount: float
    closes_on: dt.date | None
    moved_on: dt.date | None
    """When it was engaged or closed; the close date of an open deal is only planned."""
    modified_on: dt.date | None


def _deal(record: Mapping[str, Any]) -> _Deal:
    word = _word(record, "stage")
    won, closed = record.get("is_won"), record.get("is_closed")
    won = won if isinstance(won, bool) else "won" in word
    closed = closed if isinstance(closed, bool) else won or word.startswith(("closed", "lost"))
    stage, usual = STAGES.get(word, (None, _UNKNOWN_STAGE_PROBABILITY))
    percent = _number(record.get("probability"))
    engaged_on, closes_on = _day(record.get("engaged_on")), _day(record.get("closed_on"))
    return _Deal(
        closed=closed,
        won=won,
        stage=stage,
        probability=usual if percent is None else min(max(percent / 100, 0.0), 1.0),
        amount=max(_number(record.get("amount")) or 0.0, 0.0),
        closes_on=closes_on,
        moved_on=_newest((engaged_on, closes_on if closed else None)),
        modified_on=_day(record.get("modified_at")),
    )


def _tone(*texts: Any) -> tuple[int, int]:
    """Count the different favourable and unfavourable words of each text."""
    favourable = unfavourable = 0
    for text in texts:
        if isinstance(text, str) and text:
            words = set(text.encode("utf-8", "replace").translate(_LETTERS).split())
            favourable += len(words & _FAVOURABLE)
            unfavourable += len(words & _UNFAVOURABLE)
    return favourable, unfavourable


def _field_names(value: Any) -> tuple[str, ...]:
    """Return the entries that can be field names, such as `AnnualRevenue` or `Region__c`."""
    names = value if isinstance(value, list) else []
    return tuple(name for name in names if isinstance(name, str) and _FIELD_NAME.fullmatch(name))
