"""`rescore dead-letters list`: dead letters by error class and stage, or each of them, and what to do."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter
from pipeline.dead_letters.dead_letter_state import STATE_NAMES, DeadLetterState
from pipeline.dead_letters.dead_letter_table import DeadLetterGroup, DeadLetterTable
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.terminal.tables import Column, Facts, Listing, Paragraph, fact_table, plain
from pipeline.terminal.times import ago, moment
from schemas.clock import Clock, utc_now
from schemas.failures import ErrorClass

UNKNOWN_CLASS: Final = "This version does not know the class: see CHANGELOG.md of the version that wrote it."

SHORT_ID: Final = 8
"""Digits of an id in a table: `show` takes them, and hardly two dead letters have the same; `--json` has all 32."""


@dataclass(frozen=True)
class DeadLetterListing:
    """The dead letters that match a filter, by error class and stage.

    Attributes:
        dead_letter_filter: Which dead letters.
        groups: Those of a class and stage.
        each: The newest of them, if each was asked for; else None.
        left_out: How many match and are left out: nothing is left to be done about them.
        read_at: When they were read.
    """

    dead_letter_filter: DeadLetterFilter
    groups: tuple[DeadLetterGroup, ...]
    each: Sequence[Mapping[str, Any]] | None
    left_out: int
    read_at: dt.datetime

    @property
    def dead_letters(self) -> int:
        """How many match."""
        return sum(group.dead_letters for group in self.groups)

    def document(self) -> dict[str, Any]:
        """Return the listing as `--json` prints it."""
        document = {
            "filter": self.dead_letter_filter.document(),
            "letters": self.dead_letters,
            "left_out": self.left_out,
            "groups": [
                {
                    "error_class": group.error_class,
                    "stage": group.stage,
                    "letters": group.dead_letters,
                    "accounts": group.accounts,
                    "replayed": group.replayed,
                    "states": {str(state): count for state, count in group.states.items()},
                    "retryable": group.retryable,
                    "first_failed_at": group.first_failed_at,
                    "last_failed_at": group.last_failed_at,
                    "example": {"dead_letter_id": group.example_id, "error_message": group.example_message},
                    "remedy": remedy_of(group.error_class),
                }
                for group in self.groups
            ],
        }
        return document if self.each is None else document | {"each": [dict(row) for row in self.each]}


def remedy_of(error_class: str) -> str:
    """Return what to do about dead letters of a class."""
    return ErrorClass(error_class).remedy if error_class in set(ErrorClass) else UNKNOWN_CLASS


def known_filter(resources: ReplayResources, dead_letter_filter: DeadLetterFilter) -> DeadLetterFilter:
    """Return a filter whose stages, models and versions were compared with those of the dead letters.

    Raises:
        ValueError: One of them is unknown; the message has the known ones.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    if not (dead_letter_filter.stages or dead_letter_filter.models or dead_letter_filter.pipeline_versions):
        return dead_letter_filter
    with resources.open_warehouse() as warehouse:
        return dead_letter_filter.among(DeadLetterTable(warehouse, resources.dataset).stored_values())


def list_dead_letters(
    resources: ReplayResources,
    dead_letter_filter: DeadLetterFilter,
    *,
    with_ended: bool = False,
    each: int | None = None,
    now: Clock = utc_now,
) -> DeadLetterListing:
    """Group the dead letters that match.

    Args:
        resources: Where they are.
        dead_letter_filter: Which of them.
        with_ended: Also those that were replayed and scored, or have another outcome that is no failure.
        each: How many of them to list one by one; None: none.
        now: The clock.

    Raises:
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    with resources.open_warehouse() as warehouse:
        table = DeadLetterTable(warehouse, resources.dataset)
        groups = table.listed(dead_letter_filter, with_ended=with_ended)
        rows = None if each is None else table.each(dead_letter_filter, with_ended=with_ended, limit=each)
    return DeadLetterListing(
        dead_letter_filter=dead_letter_filter,
        groups=tuple(group for group in groups if group.dead_letters),
        each=rows,
        left_out=sum(group.left_out for group in groups),
        read_at=now(),
    )


def render(listing: DeadLetterListing) -> Group:
    """Return a block for each class and stage, with an example and what to do; or a row for each dead letter."""
    parts: list[RenderableType] = []
    if listing.each is None:
        for group in listing.groups:
            title = Text.assemble(plain(f"{group.error_class}", "bold red"), plain(f"  {group.stage}", "bold"))
            parts += [title, _facts(group, listing.read_at), Text()]
    elif listing.each:
        parts.append(_each(listing.each, listing.read_at))
    return Group(*parts, Paragraph(_total(listing), "bold"))


def _facts(group: DeadLetterGroup, now: dt.datetime) -> Facts:
    states = ", ".join(f"{count} {STATE_NAMES[state]}" for state, count in group.states.items() if count)
    first, last = moment(group.first_failed_at), moment(group.last_failed_at)
    period = last if first == last else f"{first} to {last}"
    retryable = "yes: a replay can succeed without other changes"
    accounts = f"{group.accounts or 'no known'} account{'' if group.accounts == 1 else 's'}"
    return fact_table(
        ("dead letters", f"{group.dead_letters}, of {accounts}: {states}"),
        ("failed (UTC)", f"{period}, {ago(group.last_failed_at, now)}"),
        ("retryable", retryable if group.retryable else "no: something has to change first"),
        ("example", f"{group.example_id}\n{group.example_message}"),
        ("remedy", remedy_of(group.error_class)),
    )


def _each(rows: Sequence[Mapping[str, Any]], now: dt.datetime) -> Listing:
    columns = (
        Column("id", is_whole=True),
        Column("class", is_whole=True),
        Column("account", is_whole=True),
        Column("failed", is_whole=True),
        Column("since then", readable=12),
    )
    cells = [
        (
            row["dead_letter_id"][:SHORT_ID],
            row["error_class"],
            row["account_id"] or "no account",
            ago(row["failed_at"], now),
            _since_then(row),
        )
        for row in rows
    ]
    return Listing(columns, cells)


def _since_then(row: Mapping[str, Any]) -> str:
    said = STATE_NAMES[DeadLetterState(row["state"])]
    return f"{said}: {row['parked_because']}" if row["parked_because"] else said


def _total(listing: DeadLetterListing) -> str:
    total, left_out = listing.dead_letters, listing.left_out
    said = f"{total:,} dead letter{'' if total == 1 else 's'}"
    if listing.each is not None and len(listing.each) < total:
        said = f"the newest {len(listing.each):,} of {said}: more with `--limit`"
    if left_out:
        said += f"; {left_out:,} replayed and scored, or ended otherwise, {'is' if left_out == 1 else 'are'} left out: "
        said += "`--all` lists them"
    return said
