"""Score one account: a pure function of its JSON in the prompt, independent of its id and of the other accounts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.local.gemini.account_features import AccountFeatures, extract_features

_BIAS: Final = -14.0
"""Points of an account without reasons, chosen so that generated CRM data centres a little above 50."""
_SPREAD: Final = 26.0
"""Scale of the logistic function: this many points move a score from 50 to 73."""
_MIN_POINTS: Final = 0.5
_MAX_DRIVERS: Final = 5
_MAX_CHANGED_FIELDS: Final = 3
_NEAR_CLOSE: Final = 0.6
_LIKELY: Final = 50


@dataclass(frozen=True, slots=True)
class Rule:
    """A possible reason for a score. Factors and evidence are format strings over the features."""

    points: Callable[[AccountFeatures], float]
    """Raise the score or, if negative, lower it; about 15 are a strong reason."""
    factors: tuple[str, str]
    """The factor if the points are positive, and if they are negative; empty if they never are."""
    evidence: str


RULES: Final = (
    Rule(
        lambda f: _between(5 * math.log10(max(f.open_amount, 1) / 2_000), 1, 16) if f.open_deals else -9,
        ("Open pipeline", "No open pipeline"),
        "Open opportunities: {0.open_deals}, worth {0.open_amount:,.0f} in all",
    ),
    Rule(
        lambda f: 28 * (f.best_probability - 0.4) if f.open_deals else 0,
        ("Deal close to signature", "Deals at an early stage"),
        "The furthest open opportunity is {0.best_probability:.0%} likely to close",
    ),
    Rule(
        # Smoothed with one won and one lost deal, so that a single deal does not decide.
        lambda f: 36 * ((f.won + 1) / (f.won + f.lost + 2) - 0.5),
        ("Wins more deals than it loses", "Loses more deals than it wins"),
        "Closed opportunities: {0.won} won, {0.lost} lost",
    ),
    Rule(
        lambda f: 0 if f.quiet_days is None else max(8 - f.quiet_days / 10, -9),
        ("Recent deal activity", "Deals have gone quiet"),
        "The last deal activity was on {0.last_deal_on}; days since then: {0.quiet_days}",
    ),
    Rule(
        lambda f: -3 * min(f.overdue, 3),
        ("", "Overdue close dates"),
        "Open opportunities whose close date has passed: {0.overdue}",
    ),
    Rule(
        lambda f: _between(2 * math.log10(f.employees / 150), -3, 4) if f.employees else 0,
        ("Many employees", "Few employees"),
        "Employees: {0.employees:,.0f}",
    ),
    Rule(
        lambda f: _between(2 * math.log10(f.revenue / 15_000_000), -3, 5) if f.revenue else 0,
        ("High revenue", "Low revenue"),
        "Annual revenue: {0.revenue:,.0f}",
    ),
    Rule(
        lambda f: {"Hot": 10, "Warm": 3, "Cold": -10}.get(f.rating, 0),
        ("Rated {0.rating}", "Rated {0.rating}"),
        "The account's rating in the CRM is {0.rating}",
    ),
    Rule(lambda f: 4 * f.is_customer, ("Existing customer", ""), "The account's type in the CRM is a customer's"),
    Rule(
        lambda f: min(3 * math.log2(1 + f.inbound), 10) if f.inbound else -2 * min(f.outbound, 4),
        ("The account writes", "Emails stay unanswered"),
        "Emails: {0.inbound} inbound, {0.outbound} outbound",
    ),
    Rule(
        lambda f: min(2.5 * math.log2(1 + f.connected), 8) if f.connected else -1.5 * min(f.calls, 4),
        ("Talks on the phone", "Calls don't get through"),
        "Calls: {0.connected} of {0.calls} connected, for {0.talk_minutes:.0f} minutes in all",
    ),
    Rule(
        lambda f: 24 * (f.favourable - f.unfavourable) / (f.favourable + f.unfavourable + 3),
        ("Favourable tone", "Unfavourable tone"),
        "{0.favourable} favourable and {0.unfavourable} unfavourable words in its emails and call notes",
    ),
    Rule(
        lambda f: 0 if f.inbound or f.outbound or f.calls else -5,
        ("", "No contact"),
        "No email and no call on record",
    ),
)

ACTIONS: Final[Sequence[tuple[Callable[[AccountFeatures, int], object], str]]] = (
    (lambda f, _: f.overdue, "Agree on new close dates for the overdue opportunities, or close them."),
    (
        lambda f, _: f.unfavourable > f.favourable + 1,
        "Call the account about its concerns before you sell: its messages turn negative.",
    ),
    (
        lambda f, _: f.open_deals and f.best_probability >= _NEAR_CLOSE,
        "Call the decision maker this week and settle what is left before signature.",
    ),
    (
        lambda f, _: f.outbound and not f.inbound and not f.connected,
        "Find another contact: neither emails nor calls have been answered.",
    ),
    (
        lambda f, _: f.open_deals and f.connected,
        "Book a meeting to take the furthest opportunity to the next stage.",
    ),
    (lambda f, _: f.open_deals, "Get the contact on the phone: opportunities are open, but nobody has talked yet."),
    (lambda f, _: f.won, "Propose an extension of what the account has bought; nothing is open at present."),
    (lambda _, score: score >= _LIKELY, "Open an opportunity: the account is engaged, but has none."),
    (lambda *_: True, "Leave the account in nurture; don't spend a call on it yet."),
)
"""Recommended actions; the first that applies to an account and its score is given, so the most urgent come first."""

_LIKELIHOODS: Final = (
    (75, "Very likely to buy"),
    (_LIKELY, "Likely to buy"),
    (25, "Less likely to buy"),
    (0, "Unlikely to buy"),
)


def score_account(account: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer for one account of a prompt, in the fields of `schemas.score.ScoreAnswer`.

    `account` has `id`, `profile`, `opportunities`, `emails`, `calls`, perhaps `as_of` and `changed_fields`. The score
    is 0 to 100, the confidence 0 to 1, and there are one to five drivers, the strongest first; the open pipeline, or
    its absence, is always among the reasons. Evidence consists of counts, sums and dates, never of the account's text.
    """
    features = extract_features(account)
    reasons = [(points, rule) for rule in RULES if abs(points := rule.points(features)) >= _MIN_POINTS]
    reasons.sort(key=lambda reason: -abs(reason[0]))
    total = _BIAS + math.fsum(points for points, _ in reasons)
    score = round(100 / (1 + math.exp(-total / _SPREAD)))
    drivers = [_driver(rule, points, features) for points, rule in reasons[:_MAX_DRIVERS]]
    return {
        "id": str(account.get("id", "")),
        "account_name": features.name,
        "drivers": drivers,
        "score": score,
        "confidence": _confidence(features),
        "recommended_action": next(action for applies, action in ACTIONS if applies(features, score)),
        "summary": _summary(features, drivers, score),
    }


def _driver(rule: Rule, points: float, features: AccountFeatures) -> dict[str, str]:
    return {
        "factor": rule.factors[points < 0].format(features),
        "impact": "positive" if points > 0 else "negative",
        "evidence": rule.evidence.format(features),
    }


def _confidence(features: AccountFeatures) -> float:
    """Return 0.3 without any record, and at most 0.9."""
    deals = features.open_deals + features.won + features.lost
    records = 0.05 * min(deals, 6) + 0.03 * min(features.inbound + features.outbound + features.calls, 10)
    return round(0.3 + records, 2)


def _summary(features: AccountFeatures, drivers: Sequence[Mapping[str, str]], score: int) -> str:
    likelihood = next(words for floor, words in _LIKELIHOODS if score >= floor)
    evidence = {driver["impact"]: driver["evidence"] for driver in reversed(drivers)}
    pro = f" For it: {evidence['positive']}." if "positive" in evidence else ""
    con = f" Against it: {evidence['negative']}." if "negative" in evidence else ""
    names = ", ".join(features.changed_fields[:_MAX_CHANGED_FIELDS])
    changed = f" Rescored after a change of {names}." if names else ""
    return f"{likelihood} in the next 90 days.{pro}{con}{changed}"


def _between(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
