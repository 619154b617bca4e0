"""Reconcile the ledger: every (event, account, replay) that was received must have exactly one outcome.

One query groups the ledger by the recorded outcomes; the functions here judge each group.

- Repeated rows count once: Pub/Sub and BigQuery deliver at least once.
- `skipped/duplicate` is the outcome of a second delivery, not of the event.
- `dead_lettered/row_rejected` replaces the outcome whose score row BigQuery refused: when Beam retries a bundle, the
  row may be inserted once and refused once.
- Coalesced into two different events is still one outcome.
- An outcome without `received` is not an error: the event was received before the window. It counts among the outcomes
  and in `without_received`.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Final

from schemas.failures import ErrorClass
from schemas.outcome import OutcomeKind, SkipReason
from transforms.clients.bigquery import Warehouse, dataset_path
from transforms.errors import WarehouseUnavailable

DUPLICATE: Final = f"{OutcomeKind.SKIPPED}:{SkipReason.DUPLICATE}"
ROW_REJECTED: Final = f"{OutcomeKind.DEAD_LETTERED}:{ErrorClass.ROW_REJECTED}"
_SUPERSEDED: Final = frozenset(
    {str(OutcomeKind.SCORED), str(OutcomeKind.TOMBSTONED), f"{OutcomeKind.SKIPPED}:{SkipReason.UNCHANGED_CONTEXT}"}
)

# There are few combinations of outcomes, however many events: the result is one row of bounded size. The window is the
# partition filter. GROUP BY treats NULL account ids as equal.
_RECONCILE_SQL: Final = """
WITH
  ledger AS (
    SELECT
      event_id, account_id, replay_count, outcome, entity_name, record_id, change_type, message_id, published_at,
      recorded_at, trace_id,
      IF(outcome = 'received', NULL, CONCAT(outcome, IFNULL(CONCAT(':', COALESCE(reason, error_class)), ''))) AS said
    FROM `{dataset}.change_outcomes`
    WHERE recorded_at BETWEEN @since AND @until
  ),
  pairs AS (
    SELECT
      event_id,
      account_id,
      replay_count,
      STRING_AGG(DISTINCT said, ',' ORDER BY said) AS outcomes,
      MIN(recorded_at) AS first_recorded_at,
      MIN(IF(outcome = 'received', recorded_at, NULL)) AS received_at,
      COUNTIF(outcome = 'received') > 0 AS is_received,
      COUNTIF(outcome = 'received' AND recorded_at <= @overdue_before) > 0 AS is_overdue,
      MIN(published_at) AS published_at,
      MIN(entity_name) AS entity_name,
      MIN(record_id) AS record_id,
      MIN(change_type) AS change_type,
      MIN(message_id) AS message_id,
      MIN(trace_id) AS trace_id
    FROM ledger
    GROUP BY event_id, account_id, replay_count
  )
SELECT ARRAY(
  SELECT AS STRUCT
    outcomes,
    is_received,
    is_overdue,
    COUNT(*) AS events,
    ARRAY_AGG(p ORDER BY first_recorded_at, event_id, account_id, replay_count LIMIT {limit}) AS oldest
  FROM pairs AS p
  GROUP BY outcomes, is_received, is_overdue
) AS ledger_groups
"""


class EventState(StrEnum):
    """Whether an event has exactly one outcome."""

    EXPLAINED = "explained"
    PENDING = "pending"
    UNEXPLAINED = "unexplained"
    DOUBLE = "double"


@dataclass(frozen=True)
class LedgerEvent:
    """One (event, account, replay) in the ledger; `outcomes` are all of its outcomes but `received`."""

    event_id: str
    account_id: str | None
    replay_count: int
    entity_name: str | None
    record_id: str | None
    change_type: str | None
    first_recorded_at: dt.datetime
    received_at: dt.datetime | None
    published_at: dt.datetime | None
    message_id: str | None
    trace_id: str
    outcomes: tuple[str, ...]

    @property
    def age_key(self) -> tuple[dt.datetime, str, str, int]:
        """Key that sorts the oldest first, with the ids as tie-breakers."""
        return self.first_recorded_at, self.event_id, self.account_id or "", self.replay_count

    def document(self) -> dict[str, Any]:
        """Return the event as `--json` prints it."""
        return {name: it.isoformat() if isinstance(it, dt.datetime) else it for name, it in asdict(self).items()}


@dataclass(frozen=True)
class LedgerGroup:
    """The events with the same outcomes; `oldest` has the oldest of them."""

    outcomes: frozenset[str]
    is_received: bool
    is_overdue: bool
    events: int
    oldest: tuple[LedgerEvent, ...] = ()

    @property
    def finals(self) -> frozenset[str]:
        """The final outcomes, see `final_outcomes`."""
        return final_outcomes(self.outcomes)

    @property
    def state(self) -> EventState:
        """The state of the group's events; without an outcome they are pending during the grace period."""
        if len(self.finals) > 1:
            return EventState.DOUBLE
        if self.finals or not self.is_received:
            return EventState.EXPLAINED
        return EventState.UNEXPLAINED if self.is_overdue else EventState.PENDING


@dataclass(frozen=True)
class Window:
    """The period to reconcile, and the grace period in which a received event may lack an outcome.

    Raises:
        ValueError: No event of the period could be overdue.
    """

    since: dt.datetime
    until: dt.datetime
    grace: dt.timedelta

    def __post_init__(self) -> None:
        if self.since >= self.until:
            raise ValueError(f"--since {self.since.isoformat()} is not in the past")
        if self.grace >= self.until - self.since:
            raise ValueError("--grace is as long as the time since --since: no event could be overdue")


@dataclass(frozen=True)
class Reconciliation:
    """The result for a window; `counts` has events by outcome and by outcome:reason.

    An event with two outcomes is in two counts. `skipped:duplicate` counts the events that were delivered again; no
    other count includes it.
    """

    window: Window
    counts: Mapping[str, int]
    states: Mapping[EventState, int]
    without_received: int
    oldest_unexplained: tuple[LedgerEvent, ...] = ()
    doubles: tuple[LedgerEvent, ...] = ()

    @property
    def events(self) -> int:
        """How many (event, account, replay) the window has."""
        return sum(self.states.values())

    @property
    def is_ok(self) -> bool:
        """Whether no event has two outcomes, or none after the grace period."""
        return not self.states[EventState.UNEXPLAINED] and not self.states[EventState.DOUBLE]

    def document(self) -> dict[str, Any]:
        """Return the reconciliation as `--json` prints it."""
        return {
            "since": self.window.since.isoformat(),
            "until": self.window.until.isoformat(),
            "grace_seconds": self.window.grace.total_seconds(),
            "counts": dict(sorted(self.counts.items())),
            "events": self.events,
            "without_received": self.without_received,
            "pending": self.states[EventState.PENDING],
            "unexplained": self.states[EventState.UNEXPLAINED],
            "double": self.states[EventState.DOUBLE],
            "oldest_unexplained": [event.document() for event in self.oldest_unexplained],
            "doubles": [event.document() for event in self.doubles],
            "ok": self.is_ok,
        }


def final_outcomes(outcomes: Iterable[str]) -> frozenset[str]:
    """Return the final ones of an event's recorded outcomes, each `outcome` or `outcome:reason`."""
    finals = frozenset(outcomes) - {OutcomeKind.RECEIVED, DUPLICATE}
    return finals - _SUPERSEDED if ROW_REJECTED in finals else finals


def judge(groups: Iterable[LedgerGroup], window: Window, *, limit: int) -> Reconciliation:
    """Judge the groups of a ledger.

    Args:
        groups: Each with its oldest events, `limit` of them if it has as many.
        window: The period.
        limit: How many events each listing has at most.
    """
    groups = list(groups)
    counts, states = Counter(dict.fromkeys(map(str, OutcomeKind), 0)), Counter(dict.fromkeys(EventState, 0))
    for group in groups:
        states[group.state] += group.events
        for name in _counted_as(group):
            counts[name] += group.events
    return Reconciliation(
        window=window,
        counts=counts,
        states=states,
        without_received=sum(group.events for group in groups if not group.is_received),
        oldest_unexplained=_oldest(groups, EventState.UNEXPLAINED, limit),
        doubles=_oldest(groups, EventState.DOUBLE, limit),
    )


def read_ledger(warehouse: Warehouse, dataset: str, window: Window, *, limit: int) -> list[LedgerGroup]:
    """Read a window of the ledger with one query.

    Raises:
        ValueError: The dataset is not a name.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    sql = _RECONCILE_SQL.format(dataset=dataset_path(warehouse.project, dataset), limit=int(limit))
    bounds = {"since": window.since, "until": window.until, "overdue_before": window.until - window.grace}
    answer = warehouse.query(sql, bounds)
    if len(answer) != 1:
        # An empty ledger gives one row, too: no row must not be taken for a ledger without errors.
        raise WarehouseUnavailable("BigQuery: query: no answer")
    return [_group(row) for row in answer[0]["ledger_groups"]]


def _counted_as(group: LedgerGroup) -> frozenset[str]:
    """Return the names of the counts that include a group: its final outcomes, with and without their reasons."""
    finals = group.finals
    received = {str(OutcomeKind.RECEIVED)} if group.is_received else set()
    return finals | {final.partition(":")[0] for final in finals} | received | (group.outcomes & {DUPLICATE})


def _oldest(groups: Iterable[LedgerGroup], state: EventState, limit: int) -> tuple[LedgerEvent, ...]:
    events = (event for group in groups if group.state is state for event in group.oldest)
    return tuple(sorted(events, key=lambda event: event.age_key)[:limit])


def _group(row: Mapping[str, Any]) -> LedgerGroup:
    return LedgerGroup(
        outcomes=frozenset(_said(row)),
        is_received=row["is_received"],
        is_overdue=row["is_overdue"],
        events=row["events"],
        oldest=tuple(_event(event) for event in row["oldest"]),
    )


def _event(row: Mapping[str, Any]) -> LedgerEvent:
    names = (column.name for column in fields(LedgerEvent))
    return LedgerEvent(**{name: row[name] for name in names} | {"outcomes": _said(row)})


def _said(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row["outcomes"].split(",")) if row["outcomes"] else ()
