"""Reconciling the ledger: every (event, account, replay) that was received has one outcome, and only one.

One query groups the ledger by what was recorded of each; what that means is decided here, a group at a time.

- A row that repeats counts once: Pub/Sub and BigQuery deliver at least once.
- `skipped/duplicate` explains a further delivery. It is no outcome of the event, and no second one.
- `dead_lettered/row_rejected` supersedes the outcome whose row was refused: a bundle that Beam repeats may have its row
  taken once and refused once.
- Into which event a change was coalesced is a detail of the outcome, and makes no second one.
- An outcome without `received` is no fault: the event was received before the time that is looked at. It is counted
  among the outcomes and in `without_received`.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from schemas.failures import ErrorClass
from schemas.identifiers import DatasetId, checked
from schemas.outcome import OutcomeKind, SkipReason
from transforms.clients.bigquery import Warehouse, dataset_path
from transforms.errors import WarehouseUnavailable

DUPLICATE: Final = f"{OutcomeKind.SKIPPED}:{SkipReason.DUPLICATE}"
ROW_REJECTED: Final = f"{OutcomeKind.DEAD_LETTERED}:{ErrorClass.ROW_REJECTED}"
_SUPERSEDED: Final = frozenset(
    {str(OutcomeKind.SCORED), str(OutcomeKind.TOMBSTONED), f"{OutcomeKind.SKIPPED}:{SkipReason.UNCHANGED_CONTEXT}"}
)

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhdw])")

# A group for each combination of outcomes, of which there are few however many events: the answer is bounded, and one
# row, whatever the ledger holds. The window is the partition filter. GROUP BY takes two NULL account ids for equal.
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


class Verdict(StrEnum):
    """What the ledger says of an event."""

    EXPLAINED = "explained"
    PENDING = "pending"
    UNEXPLAINED = "unexplained"
    DOUBLE = "double"


@dataclass(frozen=True)
class LedgerEvent:
    """An (event, account, replay), as the ledger's rows of it tell; `outcomes` are all but `received`."""

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
        """Sorts the oldest first, and always in the same order."""
        return self.first_recorded_at, self.event_id, self.account_id or "", self.replay_count

    def document(self) -> dict[str, Any]:
        """Return the event as JSON has it."""
        values = {column.name: getattr(self, column.name) for column in fields(self)}
        return {name: it.isoformat() if isinstance(it, dt.datetime) else it for name, it in values.items()}


@dataclass(frozen=True)
class LedgerGroup:
    """The events of which the ledger says the same; `oldest` has some of them."""

    outcomes: frozenset[str]
    is_received: bool
    is_overdue: bool
    events: int
    oldest: tuple[LedgerEvent, ...] = ()

    @property
    def finals(self) -> frozenset[str]:
        """The outcomes that stand."""
        return final_outcomes(self.outcomes)

    @property
    def verdict(self) -> Verdict:
        """What that says; an outcome too many is wrong at once, one too few after the grace period."""
        if len(self.finals) > 1:
            return Verdict.DOUBLE
        if self.finals or not self.is_received:
            return Verdict.EXPLAINED
        return Verdict.UNEXPLAINED if self.is_overdue else Verdict.PENDING


@dataclass(frozen=True)
class Window:
    """The time that is looked at, and how long after its receipt an event may lack its outcome.

    Raises:
        ValueError: No event could be overdue in it.
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
    """What the ledger says of a window; `counts` are of events, by outcome and by outcome:reason.

    In `counts` an event with two outcomes is in both, and `skipped:duplicate` has the events that were delivered again:
    it is part of no other count.
    """

    window: Window
    counts: Mapping[str, int]
    verdicts: Mapping[Verdict, int]
    without_received: int
    oldest_unexplained: tuple[LedgerEvent, ...] = ()
    doubles: tuple[LedgerEvent, ...] = ()

    @property
    def events(self) -> int:
        """How many (event, account, replay) the window tells of."""
        return sum(self.verdicts.values())

    @property
    def is_ok(self) -> bool:
        """Whether every event that is due has one outcome."""
        return not self.verdicts[Verdict.UNEXPLAINED] and not self.verdicts[Verdict.DOUBLE]

    def document(self) -> dict[str, Any]:
        """Return the reconciliation as `--json` prints it."""
        return {
            "since": self.window.since.isoformat(),
            "until": self.window.until.isoformat(),
            "grace_seconds": self.window.grace.total_seconds(),
            "counts": dict(sorted(self.counts.items())),
            "events": self.events,
            "without_received": self.without_received,
            "pending": self.verdicts[Verdict.PENDING],
            "unexplained": self.verdicts[Verdict.UNEXPLAINED],
            "double": self.verdicts[Verdict.DOUBLE],
            "oldest_unexplained": [event.document() for event in self.oldest_unexplained],
            "doubles": [event.document() for event in self.doubles],
            "ok": self.is_ok,
        }


def final_outcomes(outcomes: Iterable[str]) -> frozenset[str]:
    """Return which of an event's recorded outcomes stand; each is `outcome` or `outcome:reason`."""
    finals = frozenset(outcomes) - {OutcomeKind.RECEIVED, DUPLICATE}
    return finals - _SUPERSEDED if ROW_REJECTED in finals else finals


def judge(groups: Iterable[LedgerGroup], window: Window, *, limit: int) -> Reconciliation:
    """Judge a ledger; `limit` bounds each listing, and every group must bring as many events as it has, up to it."""
    groups = list(groups)
    counts, verdicts = Counter(dict.fromkeys(map(str, OutcomeKind), 0)), Counter(dict.fromkeys(Verdict, 0))
    for group in groups:
        verdicts[group.verdict] += group.events
        for name in _counted_as(group):
            counts[name] += group.events
    return Reconciliation(
        window=window,
        counts=counts,
        verdicts=verdicts,
        without_received=sum(group.events for group in groups if not group.is_received),
        oldest_unexplained=_oldest(groups, Verdict.UNEXPLAINED, limit),
        doubles=_oldest(groups, Verdict.DOUBLE, limit),
    )


def read_ledger(warehouse: Warehouse, dataset: str, window: Window, *, limit: int) -> list[LedgerGroup]:
    """Read a window of the ledger with one query.

    Raises:
        ValueError: The dataset is no name.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    sql = _RECONCILE_SQL.format(dataset=dataset_path(warehouse.project, dataset), limit=int(limit))
    bounds = {"since": window.since, "until": window.until, "overdue_before": window.until - window.grace}
    answer = warehouse.query(sql, bounds)
    if len(answer) != 1:
        # An empty ledger is a row too: an answer without it must not pass for a ledger in order.
        raise WarehouseUnavailable("BigQuery: query: no answer")
    return [_group(row) for row in answer[0]["ledger_groups"]]


def check_dataset(name: str) -> None:
    """Refuse what can't be a dataset's name: it becomes part of the query, where values are bound.

    Raises:
        ValueError: It can't.
    """
    checked(DatasetId, name, "--dataset")


def parse_duration(text: str) -> dt.timedelta:
    """Return the duration that a text such as 15m, 24h or 7d says.

    Raises:
        ValueError: It is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no duration: a number and s, m, h, d or w are wanted, such as 15m or 24h")
    return dt.timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_since(text: str, now: dt.datetime) -> dt.datetime:
    """Return the time that a text says: a duration before now, or an ISO date or time, in UTC where it says no zone.

    Raises:
        ValueError: It is neither, or out of range.
    """
    try:
        if _DURATION.fullmatch(text.strip()):
            return now - parse_duration(text)
        return parse_time(text, "--since")
    except (ValueError, OverflowError):
        raise ValueError(f"--since is {text!r}: a duration such as 7d, or a time such as 2026-03-02T09:30Z") from None


def parse_time(text: str, flag: str) -> dt.datetime:
    """Return the time that an ISO text says, in UTC where it says no zone.

    Raises:
        ValueError: It says none; the message names the flag.
    """
    try:
        time = dt.datetime.fromisoformat(text.strip())
        return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{flag} is {text!r}: a time such as 2026-03-02T09:30Z is wanted") from None


def _counted_as(group: LedgerGroup) -> frozenset[str]:
    """Return the counts that a group's events are in: its outcomes that stand, with and without their reasons."""
    finals = group.finals
    received = {str(OutcomeKind.RECEIVED)} if group.is_received else set()
    return finals | {final.partition(":")[0] for final in finals} | received | (group.outcomes & {DUPLICATE})


def _oldest(groups: Iterable[LedgerGroup], verdict: Verdict, limit: int) -> tuple[LedgerEvent, ...]:
    events = (event for group in groups if group.verdict is verdict for event in group.oldest)
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
