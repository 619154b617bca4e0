"""Scores as CSV, for spreadsheets."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.scores.account_score import AccountScore
from pipeline.scores.score_list import ScoreList

_LIST: Final = (
    *("account_id", "name", "score", "tier", "confidence", "scored_at", "change_committed_at", "drivers"),
    *("recommended_action", "summary", "changed_fields", "flags", "model", "prompt_version"),
)
_MOVED: Final = ("previous_score", "previous_tier", "difference", "moved_at", "cause", "moved_by_fields")
_HISTORY: Final = (
    *("account_id", "name", "scored_at", "change_committed_at", "status", "score", "tier", "previous_score"),
    *("difference", "cause", "changed_fields", "confidence", "drivers", "summary", "model", "prompt_version"),
)

CsvTable = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""Names of columns, and rows."""


def list_table(listed: ScoreList) -> CsvTable:
    """Return a row for each account."""
    columns = (*_LIST, *_MOVED) if listed.request.moved_since else _LIST
    return columns, [_cells(row, columns) for row in listed.scores]


def history_table(of: AccountScore) -> CsvTable:
    """Return a row for each score of an account's history, the newest first."""
    return _HISTORY, [_cells({**row, "name": of.name}, _HISTORY) for row in of.history]


def _cells(row: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
    return [_cell(name, row[name]) for name in columns]


def _cell(name: str, value: Any) -> Any:
    if name == "drivers":
        # Without the signs of the report, which a spreadsheet would take for formulas.
        return "; ".join(f"{it['factor']} ({it['impact']}: {it['evidence']})" for it in value)
    return ", ".join(value) if isinstance(value, list | tuple) else value
