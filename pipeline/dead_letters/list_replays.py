"""`rescore dead-letters replays`: the past replays: who asked for them, when, why, and what they did."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType

from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.dead_letters.replay_lease import LeaseHolder, ReplayLease
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.dead_letters.status import ReplayStatus
from pipeline.terminal.tables import Column, Listing, Paragraph
from pipeline.terminal.times import ago, moment
from schemas.clock import Clock, utc_now


@dataclass(frozen=True)
class ReplayListing:
    """The last replays since a time, the newest first, and how many there were."""

    since: dt.datetime
    read_at: dt.datetime
    all_replays: int
    replays: Sequence[ReplayStatus]

    def document(self) -> dict[str, Any]:
        """Return the replays as `--json` prints them; `status` has the outcomes of one."""
        of_each = [replay.document() for replay in self.replays]
        return {
            "since": self.since,
            "all_replays": self.all_replays,
            "replays": [{name: it for name, it in document.items() if name != "outcomes"} for document in of_each],
        }


def list_replays(resources: ReplayResources, since: dt.datetime, limit: int, now: Clock = utc_now) -> ReplayListing:
    """Read the journal.

    Raises:
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    with resources.open_warehouse() as warehouse:
        found, count = ReplayJournal(warehouse, resources.dataset).replays(since, limit)
        holder: LeaseHolder | None = ReplayLease(warehouse, resources.dataset).current()
    return ReplayListing(since, now(), count, [ReplayStatus(progress, holder) for progress in found])


def render(listing: ReplayListing) -> RenderableType:
    """Return a row for each replay."""
    if not listing.replays:
        return Paragraph(f"no replay since {moment(listing.since)} UTC")
    columns = (
        Column("replay", is_whole=True),
        Column("started", is_whole=True),
        Column("by, why"),
        Column("result"),
    )
    rows = [_row(replay.document(), listing.read_at) for replay in listing.replays]
    count, shown = listing.all_replays, len(listing.replays)
    replays = f"{count:,} replay{'' if count == 1 else 's'}"
    total = f"{shown} of {replays}, the last first: more with `--limit`" if count > shown else replays
    return Group(
        Listing(columns, rows), Paragraph(f"{total}; `rescore dead-letters status REPLAY` has their outcomes", "bold")
    )


def _row(of: dict[str, Any], now: dt.datetime) -> tuple[str, ...]:
    counts = f"{of['replayed']} replayed, {of['parked']} parked, {of['came_back']} came back"
    return of["replay_id"], ago(of["started_at"], now), f"{of['actor']}: {of['reason']}", f"{of['state']}: {counts}"
