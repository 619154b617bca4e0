"""Read a window of the ledger: its events in groups with the same outcomes, by one query.

There are few combinations of outcomes, however many events: the result is one row of bounded size.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Final

from pipeline.resources.names import MESSAGE_RETENTION
from pipeline.terminal.times import rfc3339
from schemas.standing_outcome import (
    DUPLICATE,
    STANDING_ORDER,
    UNANSWERED_SQL,
    final_outcomes,
    is_contradictory,
    standing_outcome,
)
from transforms.clients.bigquery import Warehouse, dataset_path
from transforms.errors import WarehouseUnavailable

MAX_ACCOUNTS: Final = 200_000
"""Accounts of one backfill: their ids are read at once."""

RETENTION_SLACK: Final = dt.timedelta(hours=1)
"""Events that Pub/Sub drops within this time are not counted on: an operator needs time to act."""

_BACKFILL_IDS: Final = "backfill/"
"""Prefix of a backfill's message ids (transforms/parse/score_requests.py): its messages were never published."""

# The window is the partition filter. An outcome older than the window's first `received` row belongs to a delivery that
# was received before the window.
_EVENTS: Final = f"""
WITH
  ledger AS (
    SELECT
      event_id, account_id, replay_count, entity_name, record_id, change_type, message_id, published_at, recorded_at,
      trace_id,
      IF(outcome = 'received', recorded_at, NULL) AS received_at,
      IF(outcome = 'received', NULL, recorded_at) AS ended_at,
      IF(outcome = 'received', NULL, CONCAT(outcome, IFNULL(CONCAT(':', COALESCE(reason, error_class)), ''))) AS said
    FROM `{{dataset}}.change_outcomes`
    WHERE recorded_at BETWEEN @since AND @until
    QUALIFY {UNANSWERED_SQL}
  ),
  events AS (
    SELECT
      event_id,
      account_id,
      replay_count,
      STRING_AGG(DISTINCT said, ',' ORDER BY said) AS outcomes,
      LEAST(
        COUNT(DISTINCT received_at) + IF(MIN(ended_at) < MIN(received_at), 1, 0), {len(STANDING_ORDER)}
      ) AS deliveries,
      MIN(recorded_at) AS first_recorded_at,
      MAX(recorded_at) AS last_recorded_at,
      MIN(received_at) AS received_at,
      COUNT(received_at) > 0 AS is_received,
      COUNTIF(received_at <= @overdue_before) > 0 AS is_overdue,
      COUNTIF(said != '{DUPLICATE}') = 0 AS has_no_outcome,
      MIN(published_at) AS published_at,
      COUNTIF(STARTS_WITH(message_id, '{_BACKFILL_IDS}')) = 0
        AND IFNULL(MIN(published_at), MIN(recorded_at)) > @retained_since AS is_retained,
      MIN(entity_name) AS entity_name,
      MIN(record_id) AS record_id,
      MIN(change_type) AS change_type,
      MIN(message_id) AS message_id,
      MIN(trace_id) AS trace_id
    FROM ledger
    GROUP BY event_id, account_id, replay_count
  )
"""  # noqa: S608 - constants only
# GROUP BY treats NULL account ids as equal.
_GROUPS_SQL: Final = (
    _EVENTS  # noqa: S608 - constants only
    + """
SELECT ARRAY(
  SELECT AS STRUCT
    outcomes,
    deliveries,
    is_received,
    is_overdue,
    is_retained,
    COUNT(*) AS events,
    MIN(IFNULL(published_at, first_recorded_at)) AS first_published_at,
    MIN(received_at) AS first_received_at,
    MAX(last_recorded_at) AS last_recorded_at,
    ARRAY_AGG(e ORDER BY first_recorded_at, event_id, account_id, replay_count LIMIT {limit}) AS oldest
  FROM events AS e
  GROUP BY outcomes, deliveries, is_received, is_overdue, is_retained
) AS ledger_groups
"""
)
_LOST_ACCOUNTS_SQL: Final = (
    _EVENTS
    + """
SELECT DISTINCT account_id
FROM events
WHERE has_no_outcome AND is_overdue AND account_id IS NOT NULL
ORDER BY account_id
LIMIT {limit}
"""
)


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
    deliveries: int

    @property
    def age_key(self) -> tuple[dt.datetime, str, str, int]:
        """Key that sorts the oldest first, with the ids as tie-breakers."""
        return self.first_recorded_at, self.event_id, self.account_id or "", self.replay_count

    def document(self) -> dict[str, Any]:
        """Return the event as `--json` prints it."""
        return {name: rfc3339(it) if isinstance(it, dt.datetime) else it for name, it in asdict(self).items()}


@dataclass(frozen=True)
class LedgerGroup:
    """Events with the same outcomes, and as often delivered; `oldest` has the oldest of them.

    Attributes:
        outcomes: All but `received`.
        deliveries: How often each was received; at most the number of final outcomes there are.
        is_received: Whether the window has a `received` row of each.
        is_overdue: Whether each was received before the grace period.
        is_retained: Whether Pub/Sub can deliver each again: published, and within its retention.
        events: How many.
        first_published_at: The oldest time of publication; of an event without one, the time of its first row.
        first_received_at: The oldest time of receipt; None if the window has none.
        last_recorded_at: The newest row.
    """

    outcomes: frozenset[str]
    deliveries: int
    is_received: bool
    is_overdue: bool
    is_retained: bool
    events: int
    first_published_at: dt.datetime
    first_received_at: dt.datetime | None
    last_recorded_at: dt.datetime
    oldest: tuple[LedgerEvent, ...] = ()

    @property
    def counted(self) -> frozenset[str]:
        """The outcomes that the events count under: the one that stands, or all that contradict each other."""
        if self.state is EventState.DOUBLE:
            return final_outcomes(self.outcomes)
        standing = standing_outcome(self.outcomes)
        return frozenset({standing} if standing else ())

    @property
    def is_redelivered(self) -> bool:
        """Whether the events were delivered more than once, as far as the window tells."""
        return self.deliveries > 1 or DUPLICATE in self.outcomes

    @property
    def state(self) -> EventState:
        """The state of the group's events; without an outcome they are pending during the grace period."""
        if is_contradictory(self.outcomes, self.deliveries):
            return EventState.DOUBLE
        if final_outcomes(self.outcomes) or not self.is_received:
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
            raise ValueError(f"--since {rfc3339(self.since)} is not in the past")
        if self.grace >= self.until - self.since:
            raise ValueError("--grace is as long as the time since --since: no event could be overdue")

    @property
    def bounds(self) -> dict[str, dt.datetime]:
        """The query's parameters."""
        return {
            "since": self.since,
            "until": self.until,
            "overdue_before": self.until - self.grace,
            "retained_since": self.until - MESSAGE_RETENTION + RETENTION_SLACK,
        }


def read_ledger(warehouse: Warehouse, dataset: str, window: Window, *, limit: int) -> list[LedgerGroup]:
    """Read a window of the ledger with one query; each group has at most `limit` of its events.

    Raises:
        ValueError: The dataset is not a name.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    sql = _GROUPS_SQL.format(dataset=dataset_path(warehouse.project, dataset), limit=int(limit))
    answer = warehouse.query(sql, window.bounds)
    if len(answer) != 1:
        # An empty ledger gives one row, too: no row must not be taken for a ledger without errors.
        raise WarehouseUnavailable("BigQuery: query: no answer")
    return [_group(row) for row in answer[0]["ledger_groups"]]


def read_lost_accounts(warehouse: Warehouse, dataset: str, window: Window) -> list[str]:
    """Return the accounts of the events that are overdue and have no outcome, sorted, MAX_ACCOUNTS at most.

    Raises:
        ValueError: The dataset is not a name.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    sql = _LOST_ACCOUNTS_SQL.format(dataset=dataset_path(warehouse.project, dataset), limit=MAX_ACCOUNTS)
    return [row["account_id"] for row in warehouse.query(sql, window.bounds)]


def _group(row: Mapping[str, Any]) -> LedgerGroup:
    names = [column.name for column in fields(LedgerGroup)]
    return LedgerGroup(
        **{name: row[name] for name in names}
        | {"outcomes": frozenset(_said(row)), "oldest": tuple(_event(event) for event in row["oldest"])}
    )


def _event(row: Mapping[str, Any]) -> LedgerEvent:
    names = (column.name for column in fields(LedgerEvent))
    return LedgerEvent(**{name: row[name] for name in names} | {"outcomes": _said(row)})


def _said(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row["outcomes"].split(",")) if row["outcomes"] else ()
