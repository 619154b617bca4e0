"""`rescore dead-letters status` and `cancel`: how far a replay is, and the outcomes of what it published."""

import json
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.text import Text

from pipeline.dead_letters.dead_letter_filter import filter_from_json
from pipeline.dead_letters.replay_journal import ReplayJournal, ReplayProgress, unknown_replay
from pipeline.dead_letters.replay_lease import LeaseHolder, ReplayLease
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.terminal.tables import fact_table, plain
from pipeline.terminal.times import moment
from schemas.replay import JournalEntry


@dataclass(frozen=True)
class ReplayStatus:
    """A replay, who has the lease, and the outcomes of what was replayed."""

    progress: ReplayProgress | None
    holder: LeaseHolder | None
    outcomes: dict[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the status as `--json` prints it."""
        if self.progress is None:
            return {"replay_id": None, "state": "none"}
        start, of = self.progress.start, self.progress
        is_running = self.holder is not None and self.holder.is_held and self.holder.replay_id == start.replay_id
        return {
            "replay_id": start.replay_id,
            "state": "running" if is_running else state_of(of),
            "message": of.message,
            "actor": start.actor,
            "reason": start.reason,
            "started_at": start.recorded_at,
            "last_at": of.last_at,
            "filter": filter_from_json(start.letter_filter).document(),
            "limit": start.max_letters,
            "rate": start.rate,
            "forced": start.is_forced,
            "replayed": of.replayed,
            "parked": of.parked,
            "came_back": of.came_back,
            "outcomes": self.outcomes,
            "lease_until": self.holder.expires_at if is_running and self.holder else None,
        }


def state_of(progress: ReplayProgress) -> str:
    """Return the state of a replay that is not running; a killed one has no closing row."""
    ended = {JournalEntry.FINISHED, JournalEntry.STOPPED, JournalEntry.CANCELLED, JournalEntry.FAILED}
    return progress.last.value if progress.last in ended else "broken off"


def status(resources: ReplayResources, replay_id: str | None) -> ReplayStatus:
    """Return how far a replay is; the last one if none is named.

    Raises:
        ValueError: There is no replay of that id.
        WarehouseUnavailable: BigQuery did not answer.
    """
    with resources.open_warehouse() as warehouse:
        journal = ReplayJournal(warehouse, resources.dataset)
        progress = journal.progress(replay_id)
        if progress is None and replay_id:
            raise unknown_replay(replay_id)
        if progress is None:
            return ReplayStatus(None, None)
        holder = ReplayLease(warehouse, resources.dataset).current()
        return ReplayStatus(progress, holder, journal.outcomes(progress.start))


@dataclass(frozen=True)
class Cancelled:
    """The replay that was asked to stop; None if none is running."""

    replay_id: str | None

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {"replay_id": self.replay_id, "cancelled": self.replay_id is not None}


def cancel(resources: ReplayResources) -> Cancelled:
    """Ask the running replay to stop.

    Raises:
        WarehouseUnavailable: BigQuery did not answer.
    """
    with resources.open_warehouse() as warehouse:
        holder = ReplayLease(warehouse, resources.dataset).cancel()
    return Cancelled(holder.replay_id if holder else None)


def render_cancelled(cancelled: Cancelled) -> str:
    """Return the report."""
    if cancelled.replay_id is None:
        return "no replay is running"
    return f"replay {cancelled.replay_id} was asked to stop: see `rescore dead-letters status`"


def render(status: ReplayStatus) -> Group:
    """Return the report."""
    document = status.document()
    if document["replay_id"] is None:
        return Group(Text("no replay has run yet"))
    outcomes = ", ".join(f"{name} {count}" for name, count in document["outcomes"].items())
    facts = fact_table(
        ("asked for", f"by {document['actor']}, {moment(document['started_at'])} UTC: {document['reason']}"),
        ("filter", json.dumps(document["filter"])),
        ("limit, rate", f"{document['limit'] or 'none'}, {document['rate']:g} dead letters a second"),
        ("replayed", str(document["replayed"])),
        ("parked", str(document["parked"])),
        ("came back", str(document["came_back"])),
        ("outcomes", outcomes or "none yet"),
        ("last entry", f"{moment(document['last_at'])} UTC{_message(document['message'])}"),
    )
    return Group(plain(f"replay {document['replay_id']}: {document['state']}", "bold"), facts)


def _message(message: str | None) -> str:
    return f": {message}" if message else ""
