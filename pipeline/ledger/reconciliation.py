"""Judge a ledger: every (event, account, replay) that was received must have exactly one outcome.

schemas/standing_outcome.py says which combinations of rows count as one outcome. Besides:

- Coalesced into two different events is still one outcome.
- An outcome without `received` is not an error: the event was received before the window. It counts among the outcomes
  and in `without_received`.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.ledger.ledger_groups import EventState, LedgerEvent, LedgerGroup, Window
from pipeline.terminal.times import rfc3339
from schemas.outcome import OutcomeKind
from schemas.standing_outcome import DUPLICATE


@dataclass(frozen=True)
class Lost:
    """Events without an outcome after the grace period, by where they can come from again.

    Attributes:
        retained: Those that Pub/Sub can deliver again.
        retained_since: The oldest time of their publication; None if there are none.
        others: Those that it can't: published before its retention, or events of a backfill, which never were.
    """

    retained: int = 0
    retained_since: dt.datetime | None = None
    others: int = 0

    @property
    def events(self) -> int:
        """How many in all."""
        return self.retained + self.others


@dataclass(frozen=True)
class Reconciliation:
    """The result for a window; `counts` has events by outcome and by outcome:reason.

    Each event counts under the outcome that stands; an event with contradictory outcomes under all of them.
    `skipped:duplicate` counts the events of which a delivery was dropped as a duplicate; no other count includes it.

    Attributes:
        window: The period.
        counts: Events by outcome, and by outcome:reason.
        states: Events by state.
        without_received: Events that were received before the window.
        redelivered: Events that were delivered more than once.
        pending_since: When the oldest pending event was received.
        last_recorded_at: The newest row of the ledger in the window.
        lost: The events without an outcome.
        oldest_unexplained: The oldest of them.
        doubles: The oldest events with contradictory outcomes.
        commands: What to type to have the lost events processed, in this order.
        written_accounts: How many accounts of lost events were written to a file; None if none was asked for.
    """

    window: Window
    counts: Mapping[str, int]
    states: Mapping[EventState, int]
    without_received: int
    redelivered: int = 0
    pending_since: dt.datetime | None = None
    last_recorded_at: dt.datetime | None = None
    lost: Lost = Lost()
    oldest_unexplained: tuple[LedgerEvent, ...] = ()
    doubles: tuple[LedgerEvent, ...] = ()
    commands: tuple[str, ...] = ()
    written_accounts: int | None = None

    @property
    def events(self) -> int:
        """How many (event, account, replay) the window has."""
        return sum(self.states.values())

    @property
    def pending(self) -> int:
        """How many events were received less than the grace period ago and have no outcome yet."""
        return self.states[EventState.PENDING]

    @property
    def is_ok(self) -> bool:
        """Whether no event has two outcomes, or none after the grace period."""
        return not self.states[EventState.UNEXPLAINED] and not self.states[EventState.DOUBLE]

    @property
    def is_all_clear(self) -> bool:
        """Whether every event has its outcome: nothing is wrong, and nothing is pending."""
        return self.is_ok and not self.pending

    def document(self) -> dict[str, Any]:
        """Return the reconciliation as `--json` prints it."""
        return {
            "since": rfc3339(self.window.since),
            "until": rfc3339(self.window.until),
            "grace_seconds": self.window.grace.total_seconds(),
            "last_recorded_at": _iso(self.last_recorded_at),
            "counts": dict(sorted(self.counts.items())),
            "events": self.events,
            "without_received": self.without_received,
            "redelivered": self.redelivered,
            "pending": self.pending,
            "pending_since": _iso(self.pending_since),
            "unexplained": self.states[EventState.UNEXPLAINED],
            "double": self.states[EventState.DOUBLE],
            "oldest_unexplained": [event.document() for event in self.oldest_unexplained],
            "retained_by_pubsub": self.lost.retained,
            "first_lost_published_at": _iso(self.lost.retained_since),
            "commands": list(self.commands),
            "written_accounts": self.written_accounts,
            "doubles": [event.document() for event in self.doubles],
            "ok": self.is_ok,
            "all_clear": self.is_all_clear,
        }


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
    pending = [group.first_received_at for group in groups if group.state is EventState.PENDING]
    return Reconciliation(
        window=window,
        counts=counts,
        states=states,
        without_received=sum(group.events for group in groups if not group.is_received),
        redelivered=sum(group.events for group in groups if group.is_redelivered),
        pending_since=min((time for time in pending if time), default=None),
        last_recorded_at=max((group.last_recorded_at for group in groups), default=None),
        lost=_lost([group for group in groups if group.state is EventState.UNEXPLAINED]),
        oldest_unexplained=_oldest(groups, EventState.UNEXPLAINED, limit),
        doubles=_oldest(groups, EventState.DOUBLE, limit),
    )


def _counted_as(group: LedgerGroup) -> frozenset[str]:
    """Return the names of the counts that include a group: its outcomes, with and without their reasons."""
    received = {str(OutcomeKind.RECEIVED)} if group.is_received else set()
    kinds = {outcome.partition(":")[0] for outcome in group.counted}
    return group.counted | kinds | received | (group.outcomes & {DUPLICATE})


def _lost(unexplained: Iterable[LedgerGroup]) -> Lost:
    unexplained = list(unexplained)
    retained = [group for group in unexplained if group.is_retained]
    return Lost(
        retained=sum(group.events for group in retained),
        retained_since=min((group.first_published_at for group in retained), default=None),
        others=sum(group.events for group in unexplained if not group.is_retained),
    )


def _oldest(groups: Iterable[LedgerGroup], state: EventState, limit: int) -> tuple[LedgerEvent, ...]:
    events = (event for group in groups if group.state is state for event in group.oldest)
    return tuple(sorted(events, key=lambda event: event.age_key)[:limit])


def _iso(time: dt.datetime | None) -> str | None:
    return rfc3339(time) if time else None
