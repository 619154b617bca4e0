"""Which of an event's recorded outcomes stands, and which combinations of ledger rows count as one outcome; pure.

An event here is one (event_id, account_id, replay_count). The ledger has a `received` row for each delivery of it, with
the delivery's own time: Pub/Sub may deliver a message again, and after `rescore recover` it does. Rows may repeat.

1. `received` is no outcome, and `skipped:duplicate` is the outcome of a second delivery, not of the event.
2. Beside `dead_lettered:row_rejected`, an outcome that comes with a row of `account_scores` does not count: Beam may
   have repeated the bundle, with the row inserted once and refused once.
3. Each delivery may leave one outcome. Of several, the first in the order of `STANDING_ORDER` stands: a change that has
   its score, and is skipped or fails when it is delivered again, was scored.
4. More different outcomes than deliveries contradict each other: the pipeline recorded two for one delivery.
5. A `received` row without an account is answered by the rows of the same event and replay that have one: the account
   of a related record was found after the event was received, for a moved record two accounts. Queries leave such a
   row out (`UNANSWERED_SQL`).

Outcomes are texts here: `outcome`, or `outcome:reason` where there is a reason or an error class.
"""

from collections.abc import Iterable
from typing import Final

from schemas.failures import ErrorClass
from schemas.outcome import Outcome, OutcomeKind, SkipReason


def _skipped(reason: SkipReason) -> str:
    return f"{OutcomeKind.SKIPPED}:{reason}"


def _dead_lettered(error_class: ErrorClass) -> str:
    return f"{OutcomeKind.DEAD_LETTERED}:{error_class}"


DUPLICATE: Final = _skipped(SkipReason.DUPLICATE)
ROW_REJECTED: Final = _dead_lettered(ErrorClass.ROW_REJECTED)
WITH_SCORE_ROW: Final = frozenset(
    {str(OutcomeKind.SCORED), str(OutcomeKind.TOMBSTONED), _skipped(SkipReason.UNCHANGED_CONTEXT)}
)
"""Outcomes of changes that have a row in `account_scores`."""

STANDING_ORDER: Final = (
    ROW_REJECTED,
    str(OutcomeKind.SCORED),
    str(OutcomeKind.TOMBSTONED),
    _skipped(SkipReason.UNCHANGED_CONTEXT),
    str(OutcomeKind.COALESCED),
    str(OutcomeKind.RESYNC_REQUESTED),
    *map(_skipped, (SkipReason.IMMATERIAL, SkipReason.OWN_WRITE, SkipReason.UNSUPPORTED_ENTITY)),
    *map(_skipped, (SkipReason.NO_ACCOUNT, SkipReason.ACCOUNT_DELETED, SkipReason.STALE)),
    *(_dead_lettered(it) for it in ErrorClass if it is not ErrorClass.ROW_REJECTED),
)
"""Every final outcome: those of changes that reached a score first, failures last. Outcomes that another version wrote
and this one does not know come after all of them."""

STANDING_KINDS: Final = tuple(dict.fromkeys(it.partition(":")[0] for it in STANDING_ORDER if it != ROW_REJECTED))
"""The kinds of final outcomes in that order, for queries that don't look at reasons."""

UNANSWERED_SQL: Final = """\
NOT (
  outcome = 'received' AND account_id IS NULL
  AND COUNT(account_id) OVER of_event > 0
  AND COUNT(IF(outcome != 'received' AND account_id IS NULL, 1, NULL)) OVER of_event = 0
)
WINDOW of_event AS (PARTITION BY event_id, replay_count)"""
"""QUALIFY condition of queries over the ledger: leaves out rows by rule 5. Their window has to hold all of an event."""

_RANK: Final = {outcome: rank for rank, outcome in enumerate(STANDING_ORDER)}


def recorded_as(outcome: Outcome) -> str:
    """Return the text of a ledger row's outcome."""
    reason = outcome.reason or outcome.error_class
    return f"{outcome.outcome}:{reason}" if reason else str(outcome.outcome)


def final_outcomes(recorded: Iterable[str]) -> frozenset[str]:
    """Return those of an event's recorded outcomes that say what became of it (rules 1 and 2)."""
    finals = frozenset(recorded) - {str(OutcomeKind.RECEIVED), DUPLICATE}
    return finals - WITH_SCORE_ROW if ROW_REJECTED in finals else finals


def standing_outcome(recorded: Iterable[str]) -> str | None:
    """Return the outcome that stands (rule 3); None if the event has none."""
    return min(final_outcomes(recorded), key=lambda it: (_RANK.get(it, len(_RANK)), it), default=None)


def is_contradictory(recorded: Iterable[str], deliveries: int) -> bool:
    """Return whether an event has more different outcomes than deliveries (rule 4).

    Args:
        recorded: All its outcomes in the ledger.
        deliveries: How often it was received; an event whose `received` rows are older than what was read counts as
            received once.
    """
    return len(final_outcomes(recorded)) > max(1, deliveries)
