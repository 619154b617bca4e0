"""The journal of replays, table `dead_letter_replays`: written before a dead letter is acknowledged."""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from schemas.clock import Clock, utc_now
from schemas.outcome import OutcomeKind
from schemas.record import from_row, to_row
from schemas.replay import DeadLetterReplay, Disposition, JournalEntry, ReplayedDeadLetter
from schemas.standing_outcome import standing_outcome
from schemas.tables import CHANGE_OUTCOMES, DEAD_LETTER_REPLAYS, DEAD_LETTERS
from transforms.clients.bigquery import QueryValue, Warehouse
from transforms.errors import WarehouseUnavailable

_PROGRESS_SQL: Final = """
SELECT
  MAX_BY(entry, recorded_at) AS last,
  MAX(recorded_at) AS last_at,
  MAX_BY(IFNULL(message, ''), recorded_at) AS message,
  SUM(replayed) AS replayed,
  SUM(parked) AS parked,
  MAX(came_back) AS came_back
FROM `{journal}`
WHERE replay_id = @replay_id
"""
_START_SQL: Final = """
SELECT * EXCEPT (letters)
FROM `{journal}`
WHERE entry = 'started' AND {condition}
ORDER BY recorded_at DESC
LIMIT 1
"""
_REPLAYS_SQL: Final = """
SELECT
  replay_id,
  MAX_BY(entry, recorded_at) AS last,
  MAX(recorded_at) AS last_at,
  MAX_BY(IFNULL(message, ''), recorded_at) AS message,
  SUM(replayed) AS replayed,
  SUM(parked) AS parked,
  MAX(came_back) AS came_back,
  COUNT(*) OVER () AS replays
FROM `{journal}`
WHERE recorded_at >= @since
GROUP BY replay_id
ORDER BY MIN(recorded_at) DESC, replay_id DESC
LIMIT {limit}
"""
_STARTS_SQL: Final = """
SELECT * EXCEPT (letters)
FROM `{journal}`
WHERE entry = 'started' AND replay_id IN UNNEST(@replay_ids)
"""
_DEAD_LETTERS_SQL: Final = """
SELECT DISTINCT letter.dead_letter_id, letter.event_id, letter.account_id, letter.replay_count, letter.fate
FROM `{journal}` AS entry, UNNEST(entry.letters) AS letter
WHERE replay_id = @replay_id
"""
_JOURNALLED_SQL: Final = """
SELECT DISTINCT letter.dead_letter_id FROM `{journal}` AS entry, UNNEST(entry.letters) AS letter
"""
_CAME_BACK_SQL: Final = """
SELECT COUNT(DISTINCT CONCAT(again.event_id, IFNULL(again.account_id, ''))) AS came_back
FROM `{journal}` AS entry, UNNEST(entry.letters) AS letter
JOIN `{dead_letters}` AS again
  ON again.event_id = letter.event_id
  AND IFNULL(again.account_id, '') = IFNULL(letter.account_id, '')
  AND again.replay_count >= letter.replay_count
WHERE entry.replay_id = @replay_id AND letter.fate = 'replayed' AND again.failed_at >= @since
"""
# A payload that could not be decoded when it failed gets another event id once it can be: it is found by its message.
_OUTCOMES_SQL: Final = """
WITH
  replayed AS (
    SELECT DISTINCT
      letter.event_id, IFNULL(letter.account_id, '') AS account_id, letter.replay_count, letter.published_message_id
    FROM `{journal}` AS entry, UNNEST(entry.letters) AS letter
    WHERE entry.replay_id = @replay_id AND letter.fate = 'replayed'
  ),
  recorded AS (
    SELECT
      event_id, IFNULL(account_id, '') AS account_id, replay_count, message_id,
      CONCAT(outcome, IFNULL(CONCAT(':', COALESCE(reason, error_class)), '')) AS said
    FROM `{ledger}`
    WHERE outcome != 'received' AND IFNULL(reason, '') != 'duplicate' AND recorded_at >= @since
  ),
  by_event AS (
    SELECT event_id, account_id, replay_count, STRING_AGG(DISTINCT said, ',') AS said FROM recorded GROUP BY 1, 2, 3
  ),
  by_message AS (SELECT message_id, STRING_AGG(DISTINCT said, ',') AS said FROM recorded GROUP BY 1)
SELECT COALESCE(by_event.said, by_message.said, '') AS said, COUNT(*) AS changes
FROM replayed
LEFT JOIN by_event
  ON by_event.event_id = replayed.event_id
  AND by_event.account_id = replayed.account_id
  AND by_event.replay_count = replayed.replay_count
LEFT JOIN by_message ON by_message.message_id = replayed.published_message_id
GROUP BY 1
"""
PENDING: Final = "pending"


@dataclass(frozen=True)
class ReplayProgress:
    """How far a replay is, by its journal."""

    start: DeadLetterReplay
    last: JournalEntry
    last_at: dt.datetime
    message: str | None
    replayed: int
    parked: int
    came_back: int

    @property
    def is_open(self) -> bool:
        """Whether it did not finish, so that it can be resumed."""
        return self.last is not JournalEntry.FINISHED


def unknown_replay(replay_id: str | None) -> ValueError:
    """Return the error of a command about a replay, or the last one, that the journal does not have."""
    if replay_id is None:
        return ValueError("no replay has run yet: `rescore dead-letters replay` starts one")
    return ValueError(f"no replay {replay_id[:60]!r}: `rescore dead-letters replays` lists them")


class ReplayJournal:
    """`dead_letter_replays` of one dataset; calls raise WarehouseUnavailable."""

    def __init__(self, warehouse: Warehouse, dataset: str, *, now: Clock = utc_now) -> None:
        self._warehouse = warehouse
        self._dataset = dataset
        self._now = now
        names = {"journal": DEAD_LETTER_REPLAYS, "dead_letters": DEAD_LETTERS, "ledger": CHANGE_OUTCOMES}
        self._tables = {key: f"{warehouse.project}.{dataset}.{table.name}" for key, table in names.items()}

    def write(
        self,
        start: DeadLetterReplay,
        entry: JournalEntry,
        dead_letters: Sequence[ReplayedDeadLetter] = (),
        *,
        came_back: int | None = None,
        message: str | None = None,
    ) -> None:
        """Write a row of a replay, and return when BigQuery has it.

        Raises:
            WarehouseUnavailable: BigQuery did not answer, or refused the row; don't acknowledge the dead letters.
        """
        row = replace(
            start,
            entry_id=uuid.uuid4().hex,
            entry=entry,
            recorded_at=self._now(),
            replayed=sum(it.fate is Disposition.REPLAYED for it in dead_letters),
            parked=sum(it.fate is Disposition.PARKED for it in dead_letters),
            came_back=came_back,
            message=message,
            letters=tuple(dead_letters),
        )
        document = to_row(row)
        if self._warehouse.insert_rows(self._dataset, DEAD_LETTER_REPLAYS, {row.entry_id: document}):
            raise WarehouseUnavailable(f"BigQuery refused a row of {DEAD_LETTER_REPLAYS.name}: has the table drifted?")

    def progress(self, replay_id: str | None = None) -> ReplayProgress | None:
        """Return how far a replay is; the last one if none is named; None if it was not found."""
        condition = "replay_id = @replay_id" if replay_id else "TRUE"
        starts = self._query(_START_SQL, condition=condition, replay_id=replay_id or "")
        for row in starts:
            start = from_row(DeadLetterReplay, row)
            (sums,) = self._query(_PROGRESS_SQL, replay_id=start.replay_id)
            return _progress(start, sums)
        return None

    def replays(self, since: dt.datetime, limit: int) -> tuple[list[ReplayProgress], int]:
        """Return the replays with entries since a time, the last one first, and how many there are beyond the limit."""
        rows = self._query(_REPLAYS_SQL, limit=limit, since=since)
        ids = [row["replay_id"] for row in rows]
        starts = self._query(_STARTS_SQL, replay_ids=ids) if ids else []
        # A replay that was killed before its first batch may have written its first row twice: either will do.
        started = {row["replay_id"]: from_row(DeadLetterReplay, row) for row in starts}
        found = [_progress(started[row["replay_id"]], row) for row in rows if row["replay_id"] in started]
        return found, rows[0]["replays"] if rows else 0

    def dead_letters(self, replay_id: str) -> Iterable[Mapping[str, Any]]:
        """Return the dead letters that a replay has taken."""
        return self._query(_DEAD_LETTERS_SQL, replay_id=replay_id)

    def journalled(self) -> frozenset[str]:
        """Return the `dead_letter_id` of every dead letter that any replay has taken."""
        return frozenset(row["dead_letter_id"] for row in self._query(_JOURNALLED_SQL))

    def came_back(self, start: DeadLetterReplay) -> int:
        """Return how many changes that a replay published have failed again, by the table `dead_letters`."""
        (row,) = self._query(_CAME_BACK_SQL, replay_id=start.replay_id, since=start.recorded_at)
        return int(row["came_back"])

    def outcomes(self, start: DeadLetterReplay) -> dict[str, int]:
        """Return the count of replayed changes by the outcome that stands; `pending` have none yet."""
        counts: Counter[str] = Counter()
        for row in self._query(_OUTCOMES_SQL, replay_id=start.replay_id, since=start.recorded_at):
            standing = standing_outcome(said for said in row["said"].split(",") if said)
            counts[standing.partition(":")[0] if standing else PENDING] += row["changes"]
        known = [*OutcomeKind, PENDING]
        return {str(name): counts[name] for name in known if name in counts}

    def _query(
        self, sql: str, *, condition: str = "TRUE", limit: int = 1, **parameters: QueryValue
    ) -> list[Mapping[str, Any]]:
        return list(self._warehouse.query(sql.format(**self._tables, condition=condition, limit=limit), parameters))


def _progress(start: DeadLetterReplay, sums: Mapping[str, Any]) -> ReplayProgress:
    return ReplayProgress(
        start=start,
        last=JournalEntry(sums["last"]),
        last_at=sums["last_at"],
        message=sums["message"] or None,
        replayed=sums["replayed"] or 0,
        parked=sums["parked"] or 0,
        came_back=sums["came_back"] or 0,
    )
