"""The plan of `rescore backfill`: how many accounts it would score, and what that may cost."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group

from pipeline.backfill.preparation import Selection, preparing
from pipeline.ledger.score_costs import CostEstimate, estimate, read_score_cost
from pipeline.terminal.tables import Paragraph, counted, fact_table
from pipeline.terminal.times import rfc3339
from schemas.clock import Clock, utc_now
from transforms.parse.score_requests import Backfill


@dataclass(frozen=True)
class BackfillPlan:
    """What a backfill would do; `budget` is the daily token budget, if there is one."""

    backfill: Backfill
    wanted: int
    already_done: int
    model: str
    cost: CostEstimate
    budget: int | None

    @property
    def question(self) -> str | None:
        """What to ask before it is carried out; None if no account is left."""
        return f"Score {counted(self.cost.scores, 'account')} now?" if self.cost.scores else None

    def document(self) -> dict[str, Any]:
        """Return the plan as `--json` prints it."""
        return {
            "backfill": self.backfill.id,
            "as_of": rfc3339(self.backfill.as_of),
            "accounts": self.wanted,
            "already_done": self.already_done,
            "model": self.model,
            "cost": self.cost.document(),
            "daily_token_budget": self.budget,
            "executed": False,
        }


def plan_backfill(
    arguments: Sequence[str],
    selection: Selection,
    *,
    resume: bool,
    mirror_lag: dt.timedelta,
    as_of: dt.datetime | None = None,
    own_flags: Sequence[str] = (),
    now: Clock = utc_now,
) -> BackfillPlan:
    """Return what a backfill would do, without doing anything; see `backfill` for the arguments.

    Raises:
        ValueError: An option, a filter or a file can't be used, or there is nothing to resume.
        OSError: The file can't be read.
        WarehouseUnavailable: BigQuery did not answer.
    """
    with preparing(
        arguments, selection, resume=resume, mirror_lag=mirror_lag, as_of=as_of, own_flags=own_flags, now=now
    ) as prepared:
        config, today = prepared.config, now()
        each = read_score_cost(prepared.connection, config.dataset, today)
        return BackfillPlan(
            backfill=prepared.backfill,
            wanted=len(prepared.wanted),
            already_done=len(prepared.wanted) - prepared.left,
            model=config.gemini.model,
            cost=estimate(prepared.left, each, today.date(), config.price),
            budget=config.budget.daily_tokens if config.budget else None,
        )


def render(plan: BackfillPlan) -> Group:
    """Return the report."""
    title = f"{counted(plan.cost.scores, 'account')} would be scored as of {plan.backfill.as_of:%Y-%m-%d %H:%M:%S} UTC"
    budget = f"\nthat is more than the daily token budget, {plan.budget:,}" if _is_over_budget(plan) else ""
    facts = fact_table(
        ("selected", f"{counted(plan.wanted, 'account')}, {plan.already_done:,} of them done"),
        ("model", plan.model),
        ("cost", f"{plan.cost}{budget}\nan account whose context is unchanged costs nothing"),
    )
    return Group(Paragraph(title, "bold"), facts)


def _is_over_budget(plan: BackfillPlan) -> bool:
    return plan.budget is not None and plan.cost.tokens > plan.budget
