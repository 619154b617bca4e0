"""Queries over the table `dead_letters`; free text stays in BigQuery unless a dead letter is shown."""

import base64
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter, StoredValues
from pipeline.dead_letters.dead_letter_state import ENDED, REPLAYED_CTES, STATE_SQL, DeadLetterState
from pipeline.dead_letters.held_dead_letter import MAX_REPLAYS
from schemas.change_event import SourceMessage
from schemas.dead_letter import REPLAYED_AFTER, DeadLetterRow
from schemas.record import from_row
from schemas.tables import CHANGE_OUTCOMES, DEAD_LETTER_REPLAYS, DEAD_LETTERS
from transforms.clients.bigquery import QueryValue, Warehouse

SAMPLE_SIZE: Final = 1_000
"""Payloads that are read to estimate what a replay would do."""

_ALWAYS: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NEVER: Final = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
"""As the start of a period: no partition is read."""

_PUBLISHED_BEFORE: Final = dt.timedelta(hours=1)
"""Longer than publishing a batch takes."""

MIN_ID_CHARACTERS: Final = 6
_ID_CHARACTERS: Final = frozenset("0123456789abcdef")

# Rows repeat where a bundle ran twice: dead letters are counted by their ids.
_MATCHING: Final = f"""
WITH{REPLAYED_CTES},
  matching AS (
    SELECT *, is_with_ended OR state NOT IN ({", ".join(f"'{state}'" for state in ENDED)}) AS is_listed
    FROM (
      SELECT
        row_.*,
        replayed.dead_letter_id IS NOT NULL AS is_journalled,
        replayed.replay_id, replayed.replayed_at, replayed.parked_because,
        {STATE_SQL} AS state,
        {{with_ended}} AS is_with_ended,
        row_.replay_count >= {{max_replays}} OR EXISTS (
          SELECT 1 FROM UNNEST(row_.attributes) AS attribute
          WHERE attribute.key = '{{replayed_after}}'
            AND attribute.value = CONCAT(row_.error_class, '@', row_.pipeline_version)
        ) AS is_to_park
      FROM `{{dead_letters}}` AS row_
      LEFT JOIN replayed ON replayed.dead_letter_id = row_.dead_letter_id
      LEFT JOIN ended ON ended.dead_letter_id = row_.dead_letter_id
    )
    WHERE {{condition}}
  )
"""  # noqa: S608 - all text is from this package
_STATE_COUNTS: Final = ",\n  ".join(
    f"COUNT(DISTINCT IF(is_listed AND state = '{state}', dead_letter_id, NULL)) AS {state}" for state in DeadLetterState
)
_GROUPS_SQL: Final = f"""{{matching}}
SELECT
  error_class,
  stage,
  COUNT(DISTINCT IF(is_listed, dead_letter_id, NULL)) AS dead_letters,
  COUNT(DISTINCT IF(is_listed, account_id, NULL)) AS accounts,
  COUNT(DISTINCT IF(is_listed AND is_journalled, dead_letter_id, NULL)) AS replayed,
  COUNT(DISTINCT IF(is_listed AND is_to_park AND NOT is_journalled, dead_letter_id, NULL)) AS to_park,
  COUNT(DISTINCT IF(NOT is_listed, dead_letter_id, NULL)) AS left_out,
  LOGICAL_OR(retryable) AS retryable,
  MIN(IF(is_listed, failed_at, NULL)) AS first_failed_at,
  MAX(IF(is_listed, failed_at, NULL)) AS last_failed_at,
  MAX_BY(dead_letter_id, IF(is_listed, CONCAT(CAST(failed_at AS STRING), dead_letter_id), NULL)) AS example_id,
  MAX_BY(error_message, IF(is_listed, CONCAT(CAST(failed_at AS STRING), dead_letter_id), NULL)) AS example_message,
  {_STATE_COUNTS}
FROM matching
GROUP BY error_class, stage
ORDER BY dead_letters DESC, error_class, stage
"""  # noqa: S608 - all text is from this package
_EACH_SQL: Final = """{matching}
SELECT
  dead_letter_id, error_class, stage, event_id, account_id, failed_at, first_failed_at, replay_count, retryable, model,
  pipeline_version, error_message, state, replay_id, replayed_at, parked_because
FROM matching
WHERE is_listed
QUALIFY ROW_NUMBER() OVER (PARTITION BY dead_letter_id ORDER BY failed_at) = 1
ORDER BY failed_at DESC, dead_letter_id
LIMIT {limit}
"""
_FIRST_REPLAY_SQL: Final = """
SELECT MIN(recorded_at) AS first_at FROM `{journal}` WHERE recorded_at >= @since AND replayed > 0
"""
_VALUES_SQL: Final = """
SELECT DISTINCT stage, model, pipeline_version FROM `{dead_letters}`
"""
# The id is a hash, so the first rows by id are a random sample.
_SAMPLE_SQL: Final = """{matching}
SELECT
  dead_letter_id,
  ANY_VALUE(error_class) AS error_class,
  ANY_VALUE(account_id) AS account_id,
  ANY_VALUE(payload_base64) AS payload_base64,
  ANY_VALUE(attributes) AS attributes,
  ANY_VALUE(replay_count) AS replay_count,
  MIN(first_failed_at) AS first_failed_at
FROM matching
WHERE NOT is_journalled AND (NOT is_to_park OR {is_forced})
GROUP BY dead_letter_id
ORDER BY dead_letter_id
LIMIT {limit}
"""
_NOT_FOUND_SQL: Final = """{matching}
SELECT
  account_id,
  stage,
  COUNT(DISTINCT dead_letter_id) AS dead_letters,
  COUNT(DISTINCT IF(is_to_park, dead_letter_id, NULL)) AS to_park
FROM matching
WHERE NOT is_journalled AND error_class = 'account_not_found' AND account_id IS NOT NULL
GROUP BY account_id, stage
ORDER BY account_id, stage
"""
_DEAD_LETTER_SQL: Final = """
SELECT * FROM `{dead_letters}` WHERE STARTS_WITH(dead_letter_id, @dead_letter_id)
QUALIFY ROW_NUMBER() OVER (PARTITION BY dead_letter_id ORDER BY failed_at) = 1
LIMIT 2
"""
_REPLAYS_SQL: Final = """
SELECT DISTINCT
  entry.replay_id, entry.recorded_at, entry.actor, entry.reason, letter.fate, letter.parked_because,
  letter.replay_count, letter.published_message_id
FROM `{journal}` AS entry, UNNEST(entry.letters) AS letter
WHERE letter.event_id = @event_id AND IFNULL(letter.account_id, '') = @account_id
ORDER BY recorded_at
"""
_OUTCOMES_SQL: Final = """
SELECT DISTINCT outcome, COALESCE(reason, error_class) AS why, stage, replay_count, recorded_at, pipeline_version
FROM `{ledger}`
WHERE event_id = @event_id AND IFNULL(account_id, '') = @account_id
ORDER BY replay_count, recorded_at
LIMIT 100
"""


@dataclass(frozen=True)
class DeadLetterGroup:
    """The dead letters of a class and stage.

    A replay has taken `replayed` of them, and would park `to_park`; `states` counts what became of all, and `left_out`
    those that are not among them, because nothing is left to be done about them.
    """

    error_class: str
    stage: str
    dead_letters: int
    accounts: int
    replayed: int
    to_park: int
    left_out: int
    retryable: bool
    first_failed_at: dt.datetime
    last_failed_at: dt.datetime
    example_id: str
    example_message: str
    states: Mapping[DeadLetterState, int]


class Sampled(NamedTuple):
    """A dead letter of a sample, and the message that a replay would publish; None if the row does not hold it."""

    error_class: str
    account_id: str | None
    message: SourceMessage | None


def message_to_replay(
    payload_base64: str | None, attributes: Mapping[str, str], replay_count: int, first_failed_at: dt.datetime
) -> SourceMessage | None:
    """Return the message that a replay of a dead letter would publish; None if its row does not hold the payload.

    The attributes tell the parser which of several events of the message the dead letter is about, and when it first
    failed: no event may be dated later.
    """
    if payload_base64 is None:
        return None
    replayed = {
        **attributes,
        "replay_count": str(replay_count + 1),
        "first_failed_at": first_failed_at.isoformat(),
    }
    return SourceMessage(payload=base64.b64decode(payload_base64), attributes=replayed, published_at=first_failed_at)


class NotFound(NamedTuple):
    """The dead letters of an account that was not found, which no replay has taken, by stage."""

    account_id: str
    stage: str
    dead_letters: int
    to_park: int


class DeadLetterTable:
    """`dead_letters` of one dataset, with their replays and ledger rows; calls raise WarehouseUnavailable."""

    def __init__(self, warehouse: Warehouse, dataset: str) -> None:
        self._warehouse = warehouse
        tables = {
            "dead_letters": DEAD_LETTERS,
            "journal": DEAD_LETTER_REPLAYS,
            "ledger": CHANGE_OUTCOMES,
        }
        self._tables = {key: f"{warehouse.project}.{dataset}.{table.name}" for key, table in tables.items()}

    def groups(self, dead_letter_filter: DeadLetterFilter) -> list[DeadLetterGroup]:
        """Return the dead letters that match by class and stage, the largest group first.

        Outcomes are not looked up: what was replayed is pending.
        """
        return [_group(row) for row in self._matching(_GROUPS_SQL, dead_letter_filter)]

    def listed(self, dead_letter_filter: DeadLetterFilter, *, with_ended: bool) -> list[DeadLetterGroup]:
        """Return the groups with the outcomes of replays; a group can be empty, if all of it is left out.

        Args:
            dead_letter_filter: Which dead letters.
            with_ended: Also those that were replayed and scored, or have another outcome that is no failure.
        """
        since = self._first_replay(dead_letter_filter)
        rows = self._matching(_GROUPS_SQL, dead_letter_filter, recorded_since=since, with_ended=_sql(with_ended))
        return [_group(row) for row in rows]

    def each(self, dead_letter_filter: DeadLetterFilter, *, with_ended: bool, limit: int) -> list[Mapping[str, Any]]:
        """Return the newest dead letters that match, each with its state; see `listed`."""
        names = {"with_ended": _sql(with_ended), "limit": str(int(limit))}
        since = self._first_replay(dead_letter_filter)
        return self._matching(_EACH_SQL, dead_letter_filter, recorded_since=since, **names)

    def sample(self, dead_letter_filter: DeadLetterFilter, *, is_forced: bool = False) -> list[Sampled]:
        """Return a sample of what a replay would publish."""
        rows = self._matching(_SAMPLE_SQL, dead_letter_filter, is_forced=_sql(is_forced), limit=str(SAMPLE_SIZE))
        return [
            Sampled(
                error_class=row["error_class"],
                account_id=row["account_id"],
                message=message_to_replay(
                    row["payload_base64"],
                    {it["key"]: it["value"] for it in row["attributes"] or ()},
                    row["replay_count"],
                    row["first_failed_at"],
                ),
            )
            for row in rows
        ]

    def not_found(self, dead_letter_filter: DeadLetterFilter) -> list[NotFound]:
        """Return the accounts that were not found, with their dead letters that no replay has taken."""
        return [NotFound(**dict(row)) for row in self._matching(_NOT_FOUND_SQL, dead_letter_filter)]

    def stored_values(self) -> StoredValues:
        """Return the stages, models and pipeline versions that the dead letters have."""
        rows = self._query(_VALUES_SQL)
        found = {name: frozenset(row[name] for row in rows if row[name]) for name in ("stage", "model")}
        versions = frozenset(row["pipeline_version"] for row in rows)
        return StoredValues(found["stage"], found["model"], versions)

    def dead_letter(self, dead_letter_id: str) -> DeadLetterRow:
        """Return the dead letter whose id is, or starts with, the one given.

        Raises:
            ValueError: None matches, or more than one.
        """
        text = dead_letter_id.strip().lower()
        if len(text) < MIN_ID_CHARACTERS or not set(text) <= _ID_CHARACTERS:
            raise ValueError(
                f"{dead_letter_id!r} is not a dead letter's id: "
                f"expected {MIN_ID_CHARACTERS} or more hex digits, as `dead-letters list --each` prints"
            )
        rows = self._query(_DEAD_LETTER_SQL, dead_letter_id=text)
        if len(rows) != 1:
            raise ValueError(f"{'no' if not rows else 'more than one'} dead letter has an id that starts with {text}")
        return from_row(DeadLetterRow, rows[0])

    def replays(self, row: DeadLetterRow) -> list[Mapping[str, Any]]:
        """Return the replays of a dead letter's change, the oldest first."""
        return self._query(_REPLAYS_SQL, event_id=row.event_id, account_id=row.account_id or "")

    def outcomes(self, row: DeadLetterRow) -> list[Mapping[str, Any]]:
        """Return the ledger's rows of a dead letter's change, before and after its replays."""
        return self._query(_OUTCOMES_SQL, event_id=row.event_id, account_id=row.account_id or "")

    def _first_replay(self, dead_letter_filter: DeadLetterFilter) -> dt.datetime:
        """Return a time before the first outcome of a replay, so that no older partition of the ledger is read."""
        (row,) = self._query(_FIRST_REPLAY_SQL, since=dead_letter_filter.since or _ALWAYS)
        # The journal is written after a batch was published: some of it may have an outcome by then.
        return row["first_at"] - _PUBLISHED_BEFORE if row["first_at"] else _NEVER

    def _matching(
        self, sql: str, dead_letter_filter: DeadLetterFilter, *, recorded_since: dt.datetime = _NEVER, **names: str
    ) -> list[Mapping[str, Any]]:
        condition, parameters = dead_letter_filter.where()
        matching = _MATCHING.format(
            **self._tables,
            condition=condition,
            max_replays=MAX_REPLAYS,
            replayed_after=REPLAYED_AFTER,
            with_ended=names.get("with_ended", "TRUE"),
        )
        # A dead letter is replayed after it failed: partitions of the journal before that need not be read.
        times = {"replayed_since": dead_letter_filter.since or _ALWAYS, "recorded_since": recorded_since}
        return list(self._warehouse.query(sql.format(matching=matching, **names), parameters | times))

    def _query(self, sql: str, **parameters: QueryValue) -> list[Mapping[str, Any]]:
        return list(self._warehouse.query(sql.format(**self._tables), parameters))


def _group(row: Mapping[str, Any]) -> DeadLetterGroup:
    values = dict(row)
    states = {state: values.pop(state) for state in DeadLetterState}
    return DeadLetterGroup(**values, states=states)


def _sql(value: bool) -> str:  # noqa: FBT001 - one value, one text
    return "TRUE" if value else "FALSE"
