"""The plan of `rescore recover`: what a seek would have delivered again, and what that may cost, by the ledger."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType

from pipeline.dead_letters.recover import Recovery, SeekTarget, check_recovery
from pipeline.dead_letters.recover import render as render_recovery
from pipeline.ledger.lost_events import seek_time
from pipeline.ledger.score_costs import CostEstimate, estimate, read_score_cost
from pipeline.resources.datasets import check_dataset, open_warehouse
from pipeline.resources.names import MESSAGE_RETENTION
from pipeline.terminal.tables import Paragraph, counted, fact_table, verbatim
from pipeline.terminal.times import ago
from schemas.clock import Clock, utc_now
from schemas.standing_outcome import DUPLICATE, UNANSWERED_SQL
from transforms.clients.bigquery import Warehouse, dataset_path

# An account may be scored again unless each of its events was dropped before it could be.
_LEDGER_SQL: Final = f"""
WITH
  ledger AS (
    SELECT event_id, account_id, replay_count, outcome, reason, published_at
    FROM `{{dataset}}.change_outcomes`
    WHERE recorded_at >= @since AND published_at IS NOT NULL
    QUALIFY {UNANSWERED_SQL}
  ),
  events AS (
    SELECT
      event_id,
      account_id,
      MAX(published_at) AS published_at,
      COUNTIF(outcome = 'received') > 0
        AND COUNTIF(outcome != 'received' AND CONCAT(outcome, ':', IFNULL(reason, '')) != '{DUPLICATE}') = 0 AS is_lost,
      COUNTIF(
        outcome IN ('tombstoned', 'resync_requested')
        OR reason IN ('immaterial', 'own_write', 'unsupported_entity', 'no_account')
      ) = 0 AS may_be_scored
    FROM ledger
    GROUP BY event_id, account_id, replay_count
  )
SELECT
  COUNTIF(published_at >= @to) AS events,
  COUNT(DISTINCT IF(published_at >= @to, account_id, NULL)) AS accounts,
  COUNT(DISTINCT IF(published_at >= @to AND may_be_scored, account_id, NULL)) AS scores,
  COUNTIF(published_at >= @to AND is_lost) AS lost,
  COUNTIF(published_at < @to AND is_lost) AS left_behind,
  MIN(IF(published_at < @to AND is_lost, published_at, NULL)) AS left_behind_since
FROM events
"""  # noqa: S608 - constants only


@dataclass(frozen=True)
class LedgerSince:
    """What the ledger says of the events that were published since a time.

    Attributes:
        events: How many were received.
        accounts: How many accounts they name.
        scores: How many of these may be scored again.
        lost: How many events have no outcome.
        left_behind: How many events without an outcome were published before the time.
        left_behind_since: When the oldest of them was published.
    """

    events: int
    accounts: int
    scores: int
    lost: int
    left_behind: int
    left_behind_since: dt.datetime | None


@dataclass(frozen=True)
class RecoveryPlan:
    """What a recovery would do; `since` and `cost` are None for a seek to a snapshot."""

    target: SeekTarget
    planned_at: dt.datetime
    since: LedgerSince | None = None
    cost: CostEstimate | None = None

    @property
    def question(self) -> str:
        """What to ask before it is carried out."""
        return f"Seek {self.target.subscription} now?"

    def document(self) -> dict[str, Any]:
        """Return the plan as `--json` prints it."""
        since, cost = self.since, self.cost
        return {
            **self.target.document(),
            "events": since.events if since else None,
            "accounts": since.accounts if since else None,
            "without_outcome": since.lost if since else None,
            "seeked_past": since.left_behind if since else None,
            "seeked_past_since": since.left_behind_since if since else None,
            "cost": cost.document() if cost else None,
            "executed": False,
        }


@dataclass(frozen=True)
class ExecutedRecovery:
    """A recovery, and the plan by which it was done."""

    plan: RecoveryPlan
    done: Recovery

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints: the plan, and what was done."""
        return self.plan.document() | self.done.document()


def plan_recovery(
    *,
    project: str,
    dataset: str,
    to: dt.datetime | None,
    to_snapshot: str | None,
    subscription: str,
    now: Clock = utc_now,
) -> RecoveryPlan:
    """Return what a recovery would do, without doing anything.

    Raises:
        ValueError: The dataset or the target can't be used.
        PubSubUnavailable: Pub/Sub did not answer, or has no such subscription or snapshot.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    check_dataset(dataset)
    planned_at = now()
    target = check_recovery(project=project, to=to, to_snapshot=to_snapshot, subscription=subscription, now=now)
    if target.to is None:
        return RecoveryPlan(target, planned_at)
    with open_warehouse(project, dataset) as warehouse:
        since = read_ledger_since(warehouse, dataset, target.to, planned_at)
        each = read_score_cost(warehouse, dataset, planned_at)
    return RecoveryPlan(target, planned_at, since, estimate(since.scores, each, planned_at.date()))


def read_ledger_since(warehouse: Warehouse, dataset: str, to: dt.datetime, now: dt.datetime) -> LedgerSince:
    """Return what the ledger says of the events that were published since a time, and of older ones that are lost.

    Raises:
        ValueError: The dataset is not a name.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    sql = _LEDGER_SQL.format(dataset=dataset_path(warehouse.project, dataset))
    (row,) = warehouse.query(sql, {"to": to, "since": now - MESSAGE_RETENTION})
    return LedgerSince(**dict(row))


def render(plan: RecoveryPlan) -> Group:
    """Return the report: what would be delivered again, what that may cost, and what the seek would pass."""
    target, since = plan.target, plan.since
    if since is None:
        what = f"{target.subscription} would deliver what {target.snapshot_name} keeps"
        return Group(Paragraph(what, "bold"), Paragraph("A snapshot is taken first, so that this can be undone too."))
    to = target.to or plan.planned_at
    title = f"{target.subscription} would deliver again from {to:%Y-%m-%d %H:%M:%S} UTC on, {ago(to, plan.planned_at)}"
    events, accounts = counted(since.events, "event"), counted(since.accounts, "account")
    cost = f"{counted(since.scores, 'account')}: {plan.cost}"
    facts = fact_table(
        ("deliver again", f"{events} of {accounts}, and what is unread"),
        ("without outcome", f"{since.lost:,} of these events"),
        ("cost", f"{cost}\nan account whose context is unchanged costs nothing"),
        ("seeked past", _seeked_past(since)),
        ("undo", "a snapshot is taken first"),
    )
    lines: list[RenderableType] = [Paragraph(title, "bold"), facts]
    if since.left_behind_since:
        lines.append(verbatim(f"To include them: --to {seek_time(since.left_behind_since)}"))
    return Group(*lines)


def render_executed(executed: ExecutedRecovery) -> Group:
    """Return the report: what was done, and what the seek has passed."""
    lines: list[RenderableType] = [render_recovery(executed.done)]
    if (since := executed.plan.since) and since.left_behind_since:
        lines.insert(0, Paragraph(f"seeked past: {_seeked_past(since)}", "yellow"))
    return Group(*lines)


def _seeked_past(since: LedgerSince) -> str:
    if since.left_behind_since is None:
        return "no event without an outcome; unread messages are looked for before the seek"
    return (
        f"{counted(since.left_behind, 'event')} without an outcome, the oldest published "
        f"{since.left_behind_since:%Y-%m-%d %H:%M:%S} UTC: not delivered again"
    )
