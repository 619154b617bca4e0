"""The lease that lets one replay run at a time: one row, taken by one UPDATE; see docs/adr/052.

BigQuery runs UPDATEs of one row one after the other, or refuses the later one: of two processes that find the lease
free, one changes the row, and the other then finds it taken. Expiry is by BigQuery's clock, not the operators'.
"""

import datetime as dt
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from schemas.tables import DEAD_LETTER_REPLAY_LEASE
from transforms.clients.bigquery import Warehouse

LEASE_SECONDS: Final = 120
"""How long a lease lasts without being renewed; after a crash the next replay waits for this, or takes over."""

_NAME: Final = "replay"
# Two of these at once may insert two rows. Every UPDATE changes both alike, so they act as one.
_SEED_SQL: Final = """
INSERT INTO `{table}` (name, is_cancelled)
SELECT @name, FALSE FROM (SELECT 1)
WHERE NOT EXISTS (SELECT 1 FROM `{table}` WHERE name = @name)
"""
_TAKE_SQL: Final = """
UPDATE `{table}`
SET
  replay_id = @replay_id,
  holder = @holder,
  expires_at = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {seconds} SECOND),
  is_cancelled = FALSE
WHERE name = @name AND (holder IS NULL OR expires_at < CURRENT_TIMESTAMP() OR {take_over})
"""
_RENEW_SQL: Final = """
UPDATE `{table}`
SET expires_at = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {seconds} SECOND)
WHERE name = @name AND holder = @holder
"""
_RELEASE_SQL: Final = "UPDATE `{table}` SET holder = NULL, expires_at = NULL WHERE name = @name AND holder = @holder"
_CANCEL_SQL: Final = "UPDATE `{table}` SET is_cancelled = TRUE WHERE name = @name AND holder IS NOT NULL"
_READ_SQL: Final = """
SELECT replay_id, holder, expires_at, is_cancelled, holder IS NOT NULL AND expires_at >= CURRENT_TIMESTAMP() AS is_held
FROM `{table}`
WHERE name = @name
LIMIT 1
"""


class LeaseState(StrEnum):
    """State of a lease when its holder renews it."""

    HELD = "held"
    CANCELLED = "cancelled"
    LOST = "lost"


class LeaseTaken(RuntimeError):
    """Another replay has the lease."""


@dataclass(frozen=True)
class LeaseHolder:
    """Who has the lease, or had it last."""

    replay_id: str | None
    holder: str | None
    expires_at: dt.datetime | None
    is_cancelled: bool
    is_held: bool


class ReplayLease:
    """The lease of one dataset, for one process; calls raise WarehouseUnavailable."""

    def __init__(self, warehouse: Warehouse, dataset: str, *, seconds: int = LEASE_SECONDS) -> None:
        self._warehouse = warehouse
        self._table = f"{warehouse.project}.{dataset}.{DEAD_LETTER_REPLAY_LEASE.name}"
        self._seconds = seconds
        self._token = uuid.uuid4().hex

    def take(self, replay_id: str, *, take_over: bool = False) -> None:
        """Take the lease if it is free or has expired; with `take_over`, take it from its holder.

        Raises:
            LeaseTaken: Another process has it; the message says which, until when, and what to do.
        """
        self._run(_SEED_SQL)
        self._run(_TAKE_SQL, replay_id=replay_id, holder=self._token, take_over="TRUE" if take_over else "FALSE")
        current = self.current()
        if current is None or current.holder != self._token:
            who = current.replay_id if current else "another replay"
            until = f" until {current.expires_at:%H:%M:%S} UTC" if current and current.expires_at else ""
            raise LeaseTaken(
                f"replay {who} has the lease{until}: wait, `cancel` it, or `resume --take-over` if its process is gone"
            )

    def renew(self) -> LeaseState:
        """Extend the lease and return its state."""
        self._run(_RENEW_SQL, holder=self._token)
        current = self.current()
        if current is None or current.holder != self._token:
            return LeaseState.LOST
        return LeaseState.CANCELLED if current.is_cancelled else LeaseState.HELD

    def release(self) -> None:
        """Free the lease; does nothing if it was lost."""
        self._run(_RELEASE_SQL, holder=self._token)

    def cancel(self) -> LeaseHolder | None:
        """Ask the holder to stop and return it; None if the lease is free."""
        self._run(_CANCEL_SQL)
        current = self.current()
        return current if current and current.is_held else None

    def current(self) -> LeaseHolder | None:
        """Return who has the lease, or had it last; None if it was never taken."""
        for row in self._warehouse.query(_READ_SQL.format(table=self._table), {"name": _NAME}):
            return LeaseHolder(**{name: row[name] for name in LeaseHolder.__dataclass_fields__})
        return None

    def _run(self, sql: str, *, take_over: str = "FALSE", **parameters: str) -> None:
        statement = sql.format(table=self._table, seconds=int(self._seconds), take_over=take_over)
        list(self._warehouse.query(statement, {"name": _NAME, **parameters}))
