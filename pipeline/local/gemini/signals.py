"""Weigh the features of an account: signals for and against it, each with points and evidence in words."""

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.local.gemini.account_features import AccountFeatures


@dataclass(frozen=True, slots=True)
class Signal:
    """One reason for a score. Positive points raise the score; a strong reason has about 15."""

    factor: str
    points: float
    evidence: str


def account_signals(features: AccountFeatures) -> list[Signal]:
    """Return the signals of an account, the strongest first, without those of less than half a point."""
    found = (signal_of(features) for signal_of in _SIGNALS)
    relevant = [signal for signal in found if signal and abs(signal.points) >= _MIN_POINTS]
    return sorted(relevant, key=lambda signal: -abs(signal.points))


def counted(count: int, noun: str) -> str:
    """Return "1 opportunity", "3 opportunities", "2 days"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("ty") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


_MIN_POINTS: Final = 0.5


def _pipeline(features: AccountFeatures) -> Signal | None:
    if not features.open_count:
        return Signal("No open pipeline", -9, "No opportunity is open")
    opportunities = counted(features.open_count, "open opportunity")
    if not features.open_amount:
        return Signal("Pipeline without a value", 1, f"{opportunities}, none with an amount")
    points = _between(5 * math.log10(features.open_amount / 2_000), 1, 16)
    worth = (
        f"worth {features.open_amount:,.0f}"
        if features.open_count == 1
        else f"worth {features.open_amount:,.0f} together"
    )
    return Signal("Open pipeline", points, f"{opportunities} {worth}")


def _stage(features: AccountFeatures) -> Signal | None:
    if not features.open_count:
        return None
    where = f"at {features.best_stage}, " if features.best_stage else ""
    evidence = f"The furthest open opportunity is {where}{features.best_probability:.0%} likely to close"
    points = 28 * (features.best_probability - 0.4)
    return Signal("Deal close to signature" if points > 0 else "Deals at an early stage", points, evidence)


def _history(features: AccountFeatures) -> Signal | None:
    closed = features.won + features.lost
    if not closed:
        return None
    # Smoothed with one won and one lost deal, so that a single deal does not decide.
    points = 36 * ((features.won + 1) / (closed + 2) - 0.5)
    last = f", the last on {features.last_won_on}" if features.last_won_on else ""
    evidence = f"{features.won} of {counted(closed, 'closed opportunity')} won{last}"
    return Signal("Wins more deals than it loses" if points > 0 else "Loses more deals than it wins", points, evidence)


def _recency(features: AccountFeatures) -> Signal | None:
    days = _days_before(features.as_of, features.last_deal_on)
    if days is None:
        return None
    points = _step(days, ((14, 8), (30, 5), (90, 1), (180, -5)), beyond=-9)
    evidence = f"The last deal activity was on {features.last_deal_on}, {counted(days, 'day')} before {features.as_of}"
    return Signal("Recent deal activity" if points > 0 else "Deals have gone quiet", points, evidence)


def _overdue(features: AccountFeatures) -> Signal | None:
    if not features.overdue:
        return None
    evidence = f"The close date of {counted(features.overdue, 'open opportunity')} has passed by {features.as_of}"
    return Signal("Overdue close dates", -3.0 * min(features.overdue, 3), evidence)


def _size(features: AccountFeatures) -> Signal | None:
    points = 0.0
    parts = []
    if features.employees and features.employees > 0:
        points += _between(2 * math.log10(features.employees / 150), -3, 4)
        parts.append(f"{features.employees:,.0f} employees")
    if features.revenue and features.revenue > 0:
        points += _between(2 * math.log10(features.revenue / 15_000_000), -3, 5)
        parts.append(f"annual revenue of {features.revenue:,.0f}")
    return Signal("Large company" if points > 0 else "Small company", points, " and ".join(parts)) if parts else None


def _rating(features: AccountFeatures) -> Signal | None:
    points = {"hot": 10.0, "warm": 3.0, "cold": -10.0}.get(features.rating)
    if points is None:
        return None
    rating = features.rating.capitalize()
    return Signal(f"Rated {rating}", points, f"The account's rating in the CRM is {rating}")


def _relationship(features: AccountFeatures) -> Signal | None:
    if "customer" not in features.kind:
        return None
    return Signal("Existing customer", 4, "The account's type in the CRM is a customer's")


def _emails(features: AccountFeatures) -> Signal | None:
    sent = counted(features.outbound, "outbound email")
    if not features.inbound:
        points = -2.0 * min(features.outbound, 4)
        return Signal("Emails stay unanswered", points, f"{sent}, no inbound one") if features.outbound else None
    last = f", the last inbound one on {features.last_inbound_on}" if features.last_inbound_on else ""
    evidence = f"{counted(features.inbound, 'inbound email')} and {features.outbound} outbound{last}"
    quiet_days = _days_before(features.as_of, features.last_inbound_on) or 0
    if quiet_days > _QUIET_DAYS:
        return Signal("The account has stopped writing", -4, f"{evidence}, {quiet_days} days before {features.as_of}")
    return Signal("The account writes", min(3 * math.log2(1 + features.inbound), 9), evidence)


_QUIET_DAYS: Final = 90


def _calls(features: AccountFeatures) -> Signal | None:
    if not features.calls:
        return None
    evidence = f"{features.connected} of {counted(features.calls, 'call')} connected"
    if not features.connected:
        return Signal("Calls don't get through", -1.5 * min(features.calls, 4), evidence)
    last = f", the last on {features.last_connected_on}" if features.last_connected_on else ""
    points = min(2.5 * math.log2(1 + features.connected), 8)
    return Signal("Talks on the phone", points, f"{evidence}, {counted(features.talk_minutes, 'minute')} in all{last}")


def _tone(features: AccountFeatures) -> Signal | None:
    signs = features.favourable + features.unfavourable
    if not signs:
        return None
    points = 24 * (features.favourable - features.unfavourable) / (signs + 3)
    evidence = (
        f"{features.favourable} favourable and {features.unfavourable} unfavourable words in its emails and call notes"
    )
    return Signal("Favourable tone" if points > 0 else "Unfavourable tone", points, evidence)


def _silence(features: AccountFeatures) -> Signal | None:
    if features.inbound or features.outbound or features.calls:
        return None
    return Signal("No contact", -5, "No email and no call on record")


_SIGNALS: Final[tuple[Callable[[AccountFeatures], Signal | None], ...]] = (
    _pipeline,
    _stage,
    _history,
    _recency,
    _overdue,
    _size,
    _rating,
    _relationship,
    _emails,
    _calls,
    _tone,
    _silence,
)


def _between(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)


def _step(days: int, steps: tuple[tuple[int, float], ...], *, beyond: float) -> float:
    return next((points for limit, points in steps if days <= limit), beyond)


def _days_before(as_of: dt.date | None, day: dt.date | None) -> int | None:
    return max((as_of - day).days, 0) if as_of and day else None
