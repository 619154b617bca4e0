"""`rescore scores`: the highest scores, or those that moved since a time."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType

from pipeline.scores.phrases import cause_text, difference_text, driver_line, score_text
from pipeline.scores.queries import first_scores, highest_scores, moved_scores
from pipeline.scores.score_sources import ScoreSources, ask
from pipeline.terminal.choices import one_of
from pipeline.terminal.tables import Column, Listing, Paragraph, counted
from pipeline.terminal.times import ago, rfc3339
from schemas.clock import Clock, utc_now
from schemas.score import Tier
from schemas.views import HISTORY_DAYS

_FIELDS: Final = (
    "account_id",
    "score_id",
    "score",
    "tier",
    "confidence",
    "scored_at",
    "change_committed_at",
    "drivers",
    "recommended_action",
    "summary",
    "changed_fields",
    "flags",
    "model",
    "prompt_version",
)
_MOVED_FIELDS: Final = ("previous_score", "previous_tier", "difference", "moved_at", "cause", "moved_by_fields")


def tiers_of(names: Iterable[str]) -> tuple[Tier, ...]:
    """Return the tiers with these names.

    Raises:
        ValueError: A name is none of a tier.
    """
    return tuple(Tier(one_of("--tier", name, [*Tier])) for name in names)


@dataclass(frozen=True)
class ScoreRequest:
    """Which scores to list.

    Attributes:
        limit: How many, at most.
        tiers: Only these tiers; all, if empty.
        moved_since: Only accounts whose score is another than at this time.
    """

    limit: int
    tiers: tuple[Tier, ...] = ()
    moved_since: dt.datetime | None = None

    def check(self, now: dt.datetime) -> None:
        """Check that scores from before the time are read.

        Raises:
            ValueError: They are not, or the time is not in the past.
        """
        if self.moved_since and self.moved_since >= now:
            raise ValueError(f"--moved-since {rfc3339(self.moved_since)} is not in the past")
        if self.moved_since and self.moved_since < now - dt.timedelta(days=HISTORY_DAYS):
            raise ValueError(
                f"--moved-since {rfc3339(self.moved_since)} is too early: scores of {HISTORY_DAYS} days are read"
            )


@dataclass(frozen=True)
class ScoreList:
    """The current scores that were asked for, and how many match.

    Attributes:
        request: What was asked for.
        read_at: When they were read.
        accounts: How many accounts match, also beyond the limit.
        scores: Rows with the account's name; None where the mirror has none.
        names_missing: Why the mirror could not be read; None if it was.
        first_scored: How many accounts have a score, and had none at the time since which movements are listed.
    """

    request: ScoreRequest
    read_at: dt.datetime
    accounts: int
    scores: Sequence[Mapping[str, Any]]
    names_missing: str | None
    first_scored: int | None = None

    def document(self) -> dict[str, Any]:
        """Return the scores as `--json` prints them."""
        return {
            "read_at": self.read_at,
            "moved_since": self.request.moved_since,
            "tiers": [*self.request.tiers],
            "limit": self.request.limit,
            "accounts": self.accounts,
            "first_scored_since": self.first_scored,
            "names_missing": self.names_missing,
            "scores": [{"name": row["name"]} | {name: row[name] for name in self._fields} for row in self.scores],
        }

    @property
    def _fields(self) -> tuple[str, ...]:
        return (*_FIELDS, *_MOVED_FIELDS) if self.request.moved_since else _FIELDS


def list_scores(sources: ScoreSources, request: ScoreRequest, now: Clock = utc_now) -> ScoreList:
    """Read the scores that are asked for.

    Raises:
        ValueError: The request can't be answered.
        WarehouseUnavailable: BigQuery did not answer, or has no such view.
    """
    at = now()
    request.check(at)
    query = (
        moved_scores(sources.scores, request.moved_since, request.tiers, request.limit)
        if request.moved_since
        else highest_scores(sources.scores, request.tiers, request.limit)
    )
    with sources.open_warehouse() as warehouse:
        rows = ask(warehouse, query)
        first = (
            ask(warehouse, first_scores(sources.scores, request.moved_since, request.tiers))[0]["accounts"]
            if request.moved_since
            else None
        )
        mirrored = sources.mirrored(warehouse, [row["account_id"] for row in rows])
    return ScoreList(
        request=request,
        read_at=at,
        accounts=rows[0]["accounts"] if rows else 0,
        scores=[{**row, "name": mirrored.name(row["account_id"])} for row in rows],
        names_missing=mirrored.missing_because,
        first_scored=first,
    )


def render(listed: ScoreList) -> RenderableType:
    """Return the report: a row for each account, and how many there are."""
    if not listed.scores:
        return Paragraph(_why_empty(listed.request) + _first_scored(listed))
    parts: list[RenderableType] = [_moved(listed) if listed.request.moved_since else _highest(listed)]
    if listed.names_missing:
        parts.append(Paragraph(f"names are missing: {listed.names_missing}", "yellow"))
    parts.append(Paragraph(f"{_count(listed)}; `rescore scores ACCOUNT` says why{_first_scored(listed)}", "bold"))
    return Group(*parts)


def _highest(listed: ScoreList) -> Listing:
    columns = (
        Column("score", is_whole=True),
        Column("account", is_whole=True),
        Column("name"),
        Column("scored", is_whole=True),
        Column("first driver"),
    )
    rows = [
        (
            score_text(row["score"], row["tier"]),
            row["account_id"],
            row["name"] or "-",
            ago(row["scored_at"], listed.read_at),
            driver_line(row["drivers"][0], with_evidence=False) if row["drivers"] else "-",
        )
        for row in listed.scores
    ]
    return Listing(columns, rows)


def _moved(listed: ScoreList) -> Listing:
    columns = (
        Column("moved", is_number=True),
        Column("score", is_whole=True),
        Column("account", is_whole=True),
        Column("name"),
        Column("moved by"),
    )
    rows = [
        (
            difference_text(row["difference"]),
            score_text(row["score"], row["tier"]),
            row["account_id"],
            row["name"] or "-",
            _moved_by(row, listed.read_at),
        )
        for row in listed.scores
    ]
    return Listing(columns, rows)


def _moved_by(row: Mapping[str, Any], now: dt.datetime) -> str:
    said = cause_text(row["cause"], row["moved_by_fields"] or ())
    return f"{said}, {ago(row['moved_at'], now)}" if row["moved_at"] else said


def _count(listed: ScoreList) -> str:
    all_of_them = f"{listed.accounts:,} account{'' if listed.accounts == 1 else 's'}"
    if listed.accounts > len(listed.scores):
        order = "the largest movement first" if listed.request.moved_since else "the highest first"
        return f"{len(listed.scores)} of {all_of_them}, {order}: more with `--limit`"
    return all_of_them


def _first_scored(listed: ScoreList) -> str:
    return f"; {counted(listed.first_scored, 'account')} had no score then" if listed.first_scored else ""


def _why_empty(request: ScoreRequest) -> str:
    tiers = f" of tier {' or '.join(request.tiers)}" if request.tiers else ""
    if request.moved_since:
        return f"no score{tiers} is another than at {request.moved_since:%Y-%m-%d %H:%M} UTC"
    if request.tiers:
        return f"no account has a score{tiers}: `rescore scores` lists all"
    return (
        "no account has a score yet: `rescore run` scores accounts as they change, `rescore backfill --all` scores all "
        "accounts of the mirror now, and `rescore reconcile` says what became of the events so far"
    )
