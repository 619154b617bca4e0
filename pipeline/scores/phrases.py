"""Scores in words: tiers in colour, causes of movements, drivers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from pipeline.terminal.tables import plain
from schemas.score import Impact

CAUSES: Final[Mapping[str, str]] = {
    "first_score": "the first score",
    "deleted": "the account was deleted",
    "revived": "the account was restored",
    "prompt": "another prompt version",
    "model": "another model",
    "facts": "the account context changed",
    "model_version": "another version of the model",
    "nothing": "the model's own variance",
}
"""What a cause of the view `score_movements` means; docs/scores.md explains each."""

_SYSTEM_FIELDS: Final = frozenset({"LastModifiedById", "LastModifiedDate", "SystemModstamp"})
"""Salesforce lists them with every change, so they say nothing of it."""

_TIER_STYLES: Final = {"hot": "bold red", "warm": "yellow", "cool": "cyan", "cold": "blue"}


def score_text(score: int | None, tier: str | None) -> Text:
    """Return a score with its tier, such as `95 hot`; `none` of a tombstone."""
    if score is None:
        return Text("none", style="dim")
    return plain(f"{score} {tier}" if tier else str(score), _TIER_STYLES.get(tier or "", ""))


def difference_text(difference: int | None) -> str:
    """Return a difference with its sign; `-` where there was no score before."""
    return "-" if difference is None else f"{difference:+d}" if difference else "0"


def cause_text(cause: str | None, changed_fields: Sequence[str]) -> str:
    """Return what moved a score, with the fields that changed."""
    if cause is None:
        return "a change that arrived late"
    said = CAUSES.get(cause, cause)
    fields = field_names(changed_fields)
    return f"{said}: {fields}" if cause == "facts" and fields else said


def field_names(changed_fields: Sequence[str]) -> str:
    """Return the names of changed fields, without those that every change lists."""
    return ", ".join(name for name in changed_fields if name not in _SYSTEM_FIELDS)


def driver_line(driver: Mapping[str, Any], *, with_evidence: bool) -> str:
    """Return a driver with its sign: `+` raises the score."""
    sign = "+" if driver["impact"] == Impact.POSITIVE else "-"
    evidence = f" ({driver['evidence']})" if with_evidence and driver["evidence"] else ""
    # A line break in a text of the model would make two drivers of one.
    return f"{sign} {driver['factor']}{evidence}".replace("\n", " ")


def driver_lines(drivers: Iterable[Mapping[str, Any]]) -> str:
    """Return a line for each driver, with its evidence."""
    return "\n".join(driver_line(driver, with_evidence=True) for driver in drivers) or "none"
