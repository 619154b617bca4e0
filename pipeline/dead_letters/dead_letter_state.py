"""What became of a dead letter: whether a replay has taken it, and the outcome of what the replay published."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from schemas.outcome import OutcomeKind
from schemas.replay import Disposition
from schemas.standing_outcome import STANDING_KINDS


class DeadLetterState(StrEnum):
    """The state of a dead letter; the last five are outcomes of its replay."""

    WAITING = "waiting"
    """No replay has taken it."""
    PARKED = "parked"
    PENDING = "pending"
    """It was replayed, and the change has no outcome yet."""
    FAILED_AGAIN = "failed_again"
    """It was replayed, and the change is a dead letter again, with an id of its own."""
    SCORED = "scored"
    TOMBSTONED = "tombstoned"
    SKIPPED = "skipped"
    COALESCED = "coalesced"
    RESYNC_REQUESTED = "resync_requested"


ENDED: Final = (
    DeadLetterState.SCORED,
    DeadLetterState.TOMBSTONED,
    DeadLetterState.SKIPPED,
    DeadLetterState.COALESCED,
    DeadLetterState.RESYNC_REQUESTED,
)
"""Nothing is left to be done about these: a list leaves them out unless it is asked for all."""

STATE_NAMES: Final[Mapping[DeadLetterState, str]] = {
    state: {DeadLetterState.WAITING: "not replayed"}.get(state, state.replace("_", " ")) for state in DeadLetterState
}

_WHENS: Final = " ".join(f"WHEN '{kind}' THEN {rank}" for rank, kind in enumerate(STANDING_KINDS))
_RANK_SQL: Final = f"CASE outcome {_WHENS} END"
"""Of several outcomes of one change, the one that stands."""

# A change is found by its event, in this replay or a later one; a payload that could not be decoded when it failed gets
# another event id once it can be, and is found by its message. `duplicate` is left out: it is of a second delivery.
REPLAYED_CTES: Final = f"""
  replayed AS (
    SELECT
      letter.dead_letter_id, letter.event_id, IFNULL(letter.account_id, '') AS account_id, letter.replay_count,
      letter.published_message_id, letter.fate, letter.parked_because, entry.replay_id, entry.recorded_at AS replayed_at
    FROM `{{journal}}` AS entry, UNNEST(entry.letters) AS letter
    WHERE entry.recorded_at >= @replayed_since
    QUALIFY ROW_NUMBER() OVER (PARTITION BY letter.dead_letter_id ORDER BY entry.recorded_at DESC) = 1
  ),
  finals AS (
    SELECT event_id, IFNULL(account_id, '') AS account_id, replay_count, message_id, outcome
    FROM `{{ledger}}`
    WHERE recorded_at >= @recorded_since
      AND replay_count > 0 AND outcome != '{OutcomeKind.RECEIVED}' AND IFNULL(reason, '') != 'duplicate'
  ),
  outcomes AS (
    SELECT replayed.dead_letter_id, finals.outcome
    FROM replayed
    JOIN finals
      ON finals.event_id = replayed.event_id
      AND finals.account_id = replayed.account_id
      AND finals.replay_count >= replayed.replay_count
    UNION ALL
    SELECT replayed.dead_letter_id, finals.outcome
    FROM replayed
    JOIN finals ON finals.message_id = replayed.published_message_id
  ),
  ended AS (
    SELECT
      dead_letter_id,
      REPLACE(MIN_BY(outcome, {_RANK_SQL}), '{OutcomeKind.DEAD_LETTERED}', '{DeadLetterState.FAILED_AGAIN}') AS state
    FROM outcomes
    GROUP BY dead_letter_id
  )"""  # noqa: S608 - all text is from this module
"""`replayed`: what replays took since a time; `ended`: what became of it, without a row while that is pending."""

STATE_SQL: Final = f"""
CASE
  WHEN replayed.dead_letter_id IS NULL THEN '{DeadLetterState.WAITING}'
  WHEN replayed.fate = '{Disposition.PARKED}' THEN '{DeadLetterState.PARKED}'
  ELSE IFNULL(ended.state, '{DeadLetterState.PENDING}')
END""".strip()
