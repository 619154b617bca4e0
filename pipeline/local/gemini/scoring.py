"""Score one account: a pure function of its JSON in the prompt, independent of its id and of the other accounts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.local.gemini.account_features import AccountFeatures, extract_features
from pipeline.local.gemini.signals import Signal, account_signals, counted

_BIAS: Final = -14.0
"""Points of an account without signals, chosen so that generated CRM data centres a little above 50."""
_SPREAD: Final = 26.0
"""Scale of the logistic function: this many points move a score from 50 to 73."""
_DRIVERS: Final = 5
_CHANGED_FIELDS_NAMED: Final = 3


def score_account(account: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer for one account of a prompt, in the fields of `schemas.score.ScoreAnswer`.

    `account` has `id`, `profile`, `opportunities`, `emails`, `calls`, perhaps `as_of` and `changed_fields`. The score
    is 0 to 100, the confidence 0 to 1, and there are one to five drivers, the strongest first; the open pipeline, or
    its absence, is always among the signals. Evidence consists of counts, sums and dates, never of the account's text.
    """
    features = extract_features(account)
    signals = account_signals(features)
    score = _score(signals)
    return {
        "id": str(account.get("id", "")),
        "account_name": features.name,
        "drivers": [_driver(signal) for signal in signals[:_DRIVERS]],
        "score": score,
        "confidence": _confidence(features),
        "recommended_action": _recommended_action(features, score),
        "summary": _summary(features, signals, score),
    }


def _score(signals: Sequence[Signal]) -> int:
    points = _BIAS + math.fsum(signal.points for signal in signals)
    return round(100 / (1 + math.exp(-points / _SPREAD)))


def _confidence(features: AccountFeatures) -> float:
    deals = features.open_count + features.won + features.lost
    emails = features.inbound + features.outbound
    told = (
        min(0.05 * deals, 0.25)
        + min(0.03 * emails, 0.15)
        + min(0.03 * features.calls, 0.15)
        + 0.02 * features.known_profile_fields
    )
    return round(0.3 + told, 2)


def _driver(signal: Signal) -> dict[str, str]:
    return {
        "factor": signal.factor,
        "impact": "positive" if signal.points > 0 else "negative",
        "evidence": signal.evidence,
    }


def _recommended_action(features: AccountFeatures, score: int) -> str:
    """Return the action of the first rule that applies; the most urgent rules come first."""
    rules = (
        (
            features.overdue,
            f"Agree on new close dates for {counted(features.overdue, 'overdue opportunity')}, or close them.",
        ),
        (
            features.unfavourable > features.favourable + 1,
            "Call the account about its concerns before you sell: its messages turn negative.",
        ),
        (
            features.open_count and features.best_probability >= _NEAR_CLOSE,
            "Call the decision maker this week and settle what is left before signature.",
        ),
        (
            features.outbound and not features.inbound and not features.connected,
            "Find another contact: neither emails nor calls have been answered.",
        ),
        (
            features.open_count and features.connected,
            "Book a meeting to take the furthest opportunity to the next stage.",
        ),
        (features.open_count, "Get the contact on the phone: opportunities are open, but nobody has talked yet."),
        (features.won, "Propose an extension of what the account has bought; nothing is open at present."),
        (score >= _WORTH_A_CALL, "Open an opportunity: the account is engaged, but has none."),
    )
    return next(
        (action for applies, action in rules if applies), "Leave the account in nurture; don't spend a call on it yet."
    )


_NEAR_CLOSE: Final = 0.6
_WORTH_A_CALL: Final = 50
_LIKELIHOODS: Final = (
    (75, "Very likely to buy"),
    (50, "Likely to buy"),
    (25, "Less likely to buy"),
    (0, "Unlikely to buy"),
)


def _summary(features: AccountFeatures, signals: Sequence[Signal], score: int) -> str:
    likelihood = next(words for floor, words in _LIKELIHOODS if score >= floor)
    best = next((signal for signal in signals if signal.points > 0), None)
    worst = next((signal for signal in signals if signal.points < 0), None)
    told = f" {best.evidence}." if best else ""
    told += f" Against it: {_lower_first(worst.evidence)}." if worst else ""
    names = ", ".join(features.changed_fields[:_CHANGED_FIELDS_NAMED])
    changed = f" Rescored after a change of {names}." if names else ""
    return f"{likelihood} in the next 90 days.{told}{changed}"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
