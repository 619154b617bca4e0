"""What speaks for and against an account: facts weighed in points, each with its evidence in plain words."""

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.local.gemini.facts import AccountFacts


@dataclass(frozen=True, slots=True)
class Signal:
    """One reason. `points` are positive where it raises the score; a strong reason has about 15."""

    factor: str
    points: float
    evidence: str


def account_signals(facts: AccountFacts) -> list[Signal]:
    """Return the signals of an account, the strongest first; those that weigh nothing are left out."""
    found = (signal_of(facts) for signal_of in _SIGNALS)
    weighty = [signal for signal in found if signal and abs(signal.points) >= _LEAST_POINTS]
    return sorted(weighty, key=lambda signal: -abs(signal.points))


def counted(count: int, noun: str) -> str:
    """Return "1 opportunity", "3 opportunities", "2 days"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("ty") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


_LEAST_POINTS: Final = 0.5


def _pipeline(facts: AccountFacts) -> Signal | None:
    if not facts.open_count:
        return Signal("No open pipeline", -9, "No opportunity is open")
    opportunities = counted(facts.open_count, "open opportunity")
    if not facts.open_amount:
        return Signal("Pipeline without a value", 1, f"{opportunities}, none with an amount")
    points = _between(5 * math.log10(facts.open_amount / 2_000), 1, 16)
    worth = f"worth {facts.open_amount:,.0f}" if facts.open_count == 1 else f"worth {facts.open_amount:,.0f} together"
    return Signal("Open pipeline", points, f"{opportunities} {worth}")


def _stage(facts: AccountFacts) -> Signal | None:
    if not facts.open_count:
        return None
    where = f"at {facts.best_stage}, " if facts.best_stage else ""
    evidence = f"The furthest open opportunity is {where}{facts.best_probability:.0%} likely to close"
    points = 28 * (facts.best_probability - 0.4)
    return Signal("Deal close to signature" if points > 0 else "Deals at an early stage", points, evidence)


def _history(facts: AccountFacts) -> Signal | None:
    closed = facts.won + facts.lost
    if not closed:
        return None
    # Two imagined deals, one of them won: a single deal is no track record.
    points = 36 * ((facts.won + 1) / (closed + 2) - 0.5)
    last = f", the last on {facts.last_won_on}" if facts.last_won_on else ""
    evidence = f"{facts.won} of {counted(closed, 'closed opportunity')} won{last}"
    return Signal("Wins more deals than it loses" if points > 0 else "Loses more deals than it wins", points, evidence)


def _recency(facts: AccountFacts) -> Signal | None:
    days = _days_before(facts.as_of, facts.last_deal_on)
    if days is None:
        return None
    points = _step(days, ((14, 8), (30, 5), (90, 1), (180, -5)), beyond=-9)
    evidence = f"The last deal activity was on {facts.last_deal_on}, {counted(days, 'day')} before {facts.as_of}"
    return Signal("Recent deal activity" if points > 0 else "Deals have gone quiet", points, evidence)


def _overdue(facts: AccountFacts) -> Signal | None:
    if not facts.overdue:
        return None
    evidence = f"The close date of {counted(facts.overdue, 'open opportunity')} has passed by {facts.as_of}"
    return Signal("Overdue close dates", -3.0 * min(facts.overdue, 3), evidence)


def _size(facts: AccountFacts) -> Signal | None:
    points = 0.0
    parts = []
    if facts.employees and facts.employees > 0:
        points += _between(2 * math.log10(facts.employees / 150), -3, 4)
        parts.append(f"{facts.employees:,.0f} employees")
    if facts.revenue and facts.revenue > 0:
        points += _between(2 * math.log10(facts.revenue / 15_000_000), -3, 5)
        parts.append(f"annual revenue of {facts.revenue:,.0f}")
    return Signal("Large company" if points > 0 else "Small company", points, " and ".join(parts)) if parts else None


def _rating(facts: AccountFacts) -> Signal | None:
    points = {"hot": 10.0, "warm": 3.0, "cold": -10.0}.get(facts.rating)
    if points is None:
        return None
    rating = facts.rating.capitalize()
    return Signal(f"Rated {rating}", points, f"The account's rating in the CRM is {rating}")


def _relationship(facts: AccountFacts) -> Signal | None:
    if "customer" not in facts.kind:
        return None
    return Signal("Existing customer", 4, "The account's type in the CRM is a customer's")


def _emails(facts: AccountFacts) -> Signal | None:
    sent = counted(facts.outbound, "outbound email")
    if not facts.inbound:
        points = -2.0 * min(facts.outbound, 4)
        return Signal("Emails stay unanswered", points, f"{sent}, no inbound one") if facts.outbound else None
    last = f", the last inbound one on {facts.last_inbound_on}" if facts.last_inbound_on else ""
    evidence = f"{counted(facts.inbound, 'inbound email')} and {facts.outbound} outbound{last}"
    quiet_days = _days_before(facts.as_of, facts.last_inbound_on) or 0
    if quiet_days > _QUIET_DAYS:
        return Signal("The account has stopped writing", -4, f"{evidence}, {quiet_days} days before {facts.as_of}")
    return Signal("The account writes", min(3 * math.log2(1 + facts.inbound), 9), evidence)


_QUIET_DAYS: Final = 90


def _calls(facts: AccountFacts) -> Signal | None:
    if not facts.calls:
        return None
    evidence = f"{facts.connected} of {counted(facts.calls, 'call')} connected"
    if not facts.connected:
        return Signal("Calls don't get through", -1.5 * min(facts.calls, 4), evidence)
    last = f", the last on {facts.last_connected_on}" if facts.last_connected_on else ""
    points = min(2.5 * math.log2(1 + facts.connected), 8)
    return Signal("Talks on the phone", points, f"{evidence}, {counted(facts.talk_minutes, 'minute')} in all{last}")


def _tone(facts: AccountFacts) -> Signal | None:
    signs = facts.favourable + facts.unfavourable
    if not signs:
        return None
    points = 24 * (facts.favourable - facts.unfavourable) / (signs + 3)
    evidence = f"{facts.favourable} favourable and {facts.unfavourable} unfavourable words in its emails and call notes"
    return Signal("Favourable tone" if points > 0 else "Unfavourable tone", points, evidence)


def _silence(facts: AccountFacts) -> Signal | None:
    if facts.inbound or facts.outbound or facts.calls:
        return None
    return Signal("No contact", -5, "No email and no call on record")


_SIGNALS: Final[tuple[Callable[[AccountFacts], Signal | None], ...]] = (
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
