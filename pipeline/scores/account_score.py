"""`rescore scores ACCOUNT`: an account's score, what moved it, its drivers, the next step, and its history."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from pipeline.scores.phrases import cause_text, difference_text, driver_lines, field_names, score_text
from pipeline.scores.queries import current_score, score_history
from pipeline.scores.score_sources import MirroredAccounts, ScoreSources, ask
from pipeline.terminal.tables import Column, Facts, Listing, Paragraph, fact_table, plain
from pipeline.terminal.times import ago, moment
from schemas.clock import Clock, utc_now
from schemas.score import UNCHANGED_CONTEXT_FLAG
from schemas.views import HISTORY_DAYS

CURRENT_FIELDS: Final = (
    "score_id",
    "score",
    "tier",
    "confidence",
    "scored_at",
    "change_committed_at",
    "event_ids",
    "changed_fields",
    "drivers",
    "summary",
    "recommended_action",
    "flags",
    "model",
    "model_version",
    "prompt_version",
    "pipeline_version",
    "trace_id",
)
"""Columns of `account_scores` that say what a score is, why, and what made it."""


@dataclass(frozen=True)
class AccountScore:
    """The score of an account and its history, the newest first.

    Attributes:
        account_id: Of 18 characters.
        name: None if the mirror lacks the account, or could not be read.
        names_missing: Why the mirror could not be read.
        read_at: When it was read.
        current: The row of `current_account_scores`; None for a deleted account.
        movements: How many scores the history has, also beyond the limit.
        history: Rows of `score_movements`.
    """

    account_id: str
    name: str | None
    names_missing: str | None
    read_at: dt.datetime
    current: Mapping[str, Any] | None
    movements: int
    history: Sequence[Mapping[str, Any]]

    def document(self) -> dict[str, Any]:
        """Return the score as `--json` prints it."""
        return {
            "account_id": self.account_id,
            "name": self.name,
            "names_missing": self.names_missing,
            "read_at": self.read_at,
            "current": {name: self.current[name] for name in CURRENT_FIELDS} if self.current else None,
            "movements": self.movements,
            "history": [
                {name: value for name, value in row.items() if name not in {"account_id", "movements"}}
                for row in self.history
            ],
        }


def read_account_score(sources: ScoreSources, account_id: str, limit: int, now: Clock = utc_now) -> AccountScore:
    """Read the score and the history of an account.

    Args:
        sources: Where to read.
        account_id: Of 18 characters.
        limit: Rows of history, at most.
        now: The clock.

    Raises:
        ValueError: The account has no score; the message says what to do.
        WarehouseUnavailable: BigQuery did not answer, or has no such view.
    """
    with sources.open_warehouse() as warehouse:
        history = ask(warehouse, score_history(sources.scores, account_id, limit))
        mirrored = sources.mirrored(warehouse, [account_id])
        if not history:
            raise ValueError(_why_none(account_id, mirrored))
        current = ask(warehouse, current_score(sources.scores, account_id))
    return AccountScore(
        account_id=account_id,
        name=mirrored.name(account_id),
        names_missing=mirrored.missing_because,
        read_at=now(),
        current=current[0] if current else None,
        movements=history[0]["movements"],
        history=history,
    )


def _why_none(account_id: str, mirrored: MirroredAccounts) -> str:
    if account_id in mirrored.rows:
        return (
            f"account {account_id} is in the mirror and has no score of the last {HISTORY_DAYS} days: `rescore account "
            f"{account_id}` says what became of its events, `rescore backfill --accounts FILE` scores it"
        )
    known = "" if mirrored.missing_because else ", and the mirror has no such account"
    return f"account {account_id} has no score of the last {HISTORY_DAYS} days{known}: is the id right?"


def render(of: AccountScore) -> Group:
    """Return the report: now, why, what to do, and the history."""
    title = Text("  ").join([plain(of.name or "account", "bold"), plain(of.account_id, "bold")])
    parts: list[RenderableType] = [title, _now(of)]
    if of.names_missing:
        parts.append(Paragraph(f"the name is missing: {of.names_missing}", "yellow"))
    parts += [Text(), _history(of)]
    if of.movements > len(of.history):
        parts.append(Paragraph(f"{len(of.history)} of {of.movements:,} scores, the newest first: more with `--limit`"))
    parts.append(Paragraph(f"its events and dead letters: `rescore account {of.account_id}`", "dim"))
    return Group(*parts)


def _now(of: AccountScore) -> Facts:
    if of.current is None:
        newest = of.history[0]
        deleted = f"{moment(newest['change_committed_at'])} UTC, {ago(newest['change_committed_at'], of.read_at)}"
        return fact_table(("score", "none"), ("deleted", deleted))
    row, newest = of.current, of.history[0]
    score = Text.assemble(score_text(row["score"], row["tier"]), plain(f", confidence {row['confidence']:.0%}"))
    carried = ", carried over: the account context had not changed" if UNCHANGED_CONTEXT_FLAG in row["flags"] else ""
    flags = [flag for flag in row["flags"] if flag != UNCHANGED_CONTEXT_FLAG]
    fields = field_names(row["changed_fields"])
    facts: list[tuple[str, Any]] = [
        ("score", score),
        ("scored", f"{moment(row['scored_at'])} UTC, {ago(row['scored_at'], of.read_at)}{carried}"),
        ("for the change", f"{moment(row['change_committed_at'])} UTC{f': {fields}' if fields else ''}"),
        ("moved", _movement(newest)),
        ("drivers", driver_lines(row["drivers"])),
        ("summary", row["summary"] or "none"),
        ("next step", row["recommended_action"] or "none"),
        ("made by", f"{row['model']}, prompt {row['prompt_version']}, pipeline {row['pipeline_version']}"),
        *([("flags", ", ".join(flags))] if flags else []),
    ]
    return fact_table(*facts)


def _movement(row: Mapping[str, Any]) -> str:
    cause = cause_text(row["cause"], row["changed_fields"])
    if row["previous_score"] is None or row["score"] is None:
        return cause
    if not row["difference"]:
        return f"not at all; {row['previous_score']} before"
    return f"{difference_text(row['difference'])} from {row['previous_score']} {row['previous_tier'] or ''}: {cause}"


def _history(of: AccountScore) -> Listing:
    columns = (
        Column("scored (UTC)", is_whole=True),
        Column("score", is_whole=True),
        Column("moved", is_number=True),
        Column("moved by"),
    )
    rows = [
        (
            moment(row["scored_at"]),
            score_text(row["score"], row["tier"]),
            difference_text(row["difference"]),
            "-" if row["difference"] == 0 else cause_text(row["cause"], row["changed_fields"]),
        )
        for row in of.history
    ]
    return Listing(columns, rows)
