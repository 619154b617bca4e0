"""One account is scored again: the plan, and the event that asks for it."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from pipeline.ledger.explanation import explain_message
from pipeline.ledger.score_costs import CostEstimate, ScoreCost, estimate
from transforms.filter.materiality import Materiality
from transforms.parse.score_requests import single_request

MIRROR_LAG: Final = dt.timedelta(minutes=15)
"""How far the mirror may lag behind, as by default for a backfill: a change since then replaces the score."""


@dataclass(frozen=True)
class RescoringPlan:
    """What scoring an account again would do.

    Attributes:
        account_id: The account.
        as_of: The time of the mirror's data; whole minutes, so that asking twice in a minute is one event.
        event_id: Of the event that asks for it.
        payload: That event.
        newer_change_at: The commit time of a change that was scored and is newer than the event; None: there is none.
        cost: What it may cost, if the account context changed.
    """

    account_id: str
    as_of: dt.datetime
    event_id: str
    payload: bytes
    newer_change_at: dt.datetime | None
    cost: CostEstimate

    def document(self, *, is_executed: bool) -> dict[str, Any]:
        """Return the plan as JSON."""
        return {
            "account_id": self.account_id,
            "as_of": self.as_of,
            "event_id": self.event_id,
            "newer_change_at": self.newer_change_at,
            "cost": self.cost.document(),
            "executed": is_executed,
        }


def plan_rescoring(
    account_id: str, newest_change_at: dt.datetime | None, each: ScoreCost, rules: Materiality, now: dt.datetime
) -> RescoringPlan:
    """Return what scoring an account again would do.

    Args:
        account_id: Of 18 characters.
        newest_change_at: Commit time of the newest change that was scored; None: none was.
        each: What a score costs.
        rules: Which changes matter.
        now: The time.
    """
    as_of = (now - MIRROR_LAG).replace(second=0, microsecond=0)
    payload = single_request(account_id, as_of)
    (explained,) = explain_message(payload, rules)
    is_newer = newest_change_at is not None and newest_change_at >= as_of
    return RescoringPlan(
        account_id=account_id,
        as_of=as_of,
        event_id=explained.event_id,
        payload=payload,
        newer_change_at=newest_change_at if is_newer else None,
        cost=estimate(1, each, now.date()),
    )
