"""The score of one account: a pure function of what the prompt says of it, never of its neighbours or its id."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.local.gemini.facts import AccountFacts, account_facts
from pipeline.local.gemini.signals import Signal, account_signals, counted

_BIAS: Final = -14.0
"""Points of an account of which nothing speaks for or against; generated CRM data then centres a little above 50."""
_SPREAD: Final = 26.0
"""Points that take a score of 50 to 73."""
_DRIVERS: Final = 5
_CHANGED_FIELDS_NAMED: Final = 3


def score_account(account: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer for one account of a prompt, in the fields of `schemas.score.ScoreAnswer`.

    `account` has `id`, `profile`, `opportunities`, `emails`, `calls`, perhaps `as_of` and `changed_fields`. The score
    is 0 to 100, the confidence 0 to 1, and there are one to five drivers, the strongest first; that there is an open
    pipeline, or none, is always one. Evidence tells counts, sums and dates; no free text of the account gets into it.
    """
    facts = account_facts(account)
    signals = account_signals(facts)
    score = _score(signals)
    return {
        "id": str(account.get("id", "")),
        "account_name": facts.name,
        "drivers": [_driver(signal) for signal in signals[:_DRIVERS]],
        "score": score,
        "confidence": _confidence(facts),
        "recommended_action": _recommended_action(facts, score),
        "summary": _summary(facts, signals, score),
    }


def _score(signals: Sequence[Signal]) -> int:
    points = _BIAS + math.fsum(signal.points for signal in signals)
    return round(100 / (1 + math.exp(-points / _SPREAD)))


def _confidence(facts: AccountFacts) -> float:
    deals = facts.open_count + facts.won + facts.lost
    emails = facts.inbound + facts.outbound
    told = (
        min(0.05 * deals, 0.25)
        + min(0.03 * emails, 0.15)
        + min(0.03 * facts.calls, 0.15)
        + 0.02 * facts.known_profile_fields
    )
    return round(0.3 + told, 2)


def _driver(signal: Signal) -> dict[str, str]:
    return {
        "factor": signal.factor,
        "impact": "positive" if signal.points > 0 else "negative",
        "evidence": signal.evidence,
    }


def _recommended_action(facts: AccountFacts, score: int) -> str:
    """Return the one next step; the rules are read from the most pressing to the least."""
    rules = (
        (
            facts.overdue,
            f"Agree on new close dates for {counted(facts.overdue, 'overdue opportunity')}, or close them.",
        ),
        (
            facts.unfavourable > facts.favourable + 1,
            "Call the account about its concerns before you sell: its messages turn negative.",
        ),
        (
            facts.open_count and facts.best_probability >= _NEAR_CLOSE,
            "Call the decision maker this week and settle what is left before signature.",
        ),
        (
            facts.outbound and not facts.inbound and not facts.connected,
            "Find another contact: neither emails nor calls have been answered.",
        ),
        (
            facts.open_count and facts.connected,
            "Book a meeting to take the furthest opportunity to the next stage.",
        ),
        (facts.open_count, "Get the contact on the phone: opportunities are open, but nobody has talked yet."),
        (facts.won, "Propose an extension of what the account has bought; nothing is open at present."),
        (score >= _WORTH_A_CALL, "Open an opportunity: the account is engaged, but has none."),
    )
    return next(
        (action for applies, action in rules if applies), "Leave the account in nurture; don't spend a call on it yet."
    )


_NEAR_CLOSE: Final = 0.6
_WORTH_A_CALL: Final = 50
_CHANCES: Final = (
    (75, "Very likely to buy"),
    (50, "Likely to buy"),
    (25, "Less likely to buy"),
    (0, "Unlikely to buy"),
)


def _summary(facts: AccountFacts, signals: Sequence[Signal], score: int) -> str:
    chance = next(words for floor, words in _CHANCES if score >= floor)
    best = next((signal for signal in signals if signal.points > 0), None)
    worst = next((signal for signal in signals if signal.points < 0), None)
    told = f" {best.evidence}." if best else ""
    told += f" Against it: {_lower_first(worst.evidence)}." if worst else ""
    names = ", ".join(facts.changed_fields[:_CHANGED_FIELDS_NAMED])
    changed = f" Rescored after a change of {names}." if names else ""
    return f"{chance} in the next 90 days.{told}{changed}"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
