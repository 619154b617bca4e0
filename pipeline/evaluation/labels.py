"""The inputs of an evaluation: closed opportunities from a file, and the scores of a time."""

import csv
import datetime as dt
import io
from pathlib import Path
from typing import Final

from pipeline.evaluation.metrics import LabelledOutcome, ScoredAccount
from pipeline.terminal.input_files import read_text
from schemas.identifiers import CheckedAccountId, checked
from schemas.score import tier_of
from schemas.views import SHOWN_SCORES
from transforms.clients.bigquery import Warehouse, dataset_path

COLUMNS: Final = ("account_id", "outcome", "closed_on")
MAX_SCORES: Final = 200_000
_WON: Final = {"won": True, "lost": False}

# Of each prompt version and model, the score of the newest change at the time. Scores made later may know what happened
# since, so only a backtest uses them, whose mirror is as of that time.
_SCORES_SQL: Final = f"""
SELECT account_id, score, prompt_version, model
FROM (
  SELECT
    account_id, status, score, prompt_version, model,
    ROW_NUMBER() OVER (
      PARTITION BY account_id, prompt_version, model
      ORDER BY change_committed_at DESC, change_sequence DESC, scored_at DESC, score_id
    ) AS recency
  FROM `{{dataset}}.account_scores`
  WHERE scored_at BETWEEN @since AND @until AND change_committed_at <= @as_of AND {SHOWN_SCORES}
)
WHERE recency = 1 AND status = 'scored'
ORDER BY account_id
LIMIT {MAX_SCORES}
"""  # noqa: S608 - constants only
HISTORY: Final = dt.timedelta(days=400)


def read_labels(path: Path) -> list[LabelledOutcome]:
    """Return the closed opportunities of a CSV file with the columns account_id, outcome (won or lost), closed_on.

    Raises:
        ValueError: A column is missing or a value wrong; the message names the line.
        OSError: The file can't be read.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]}: expected {', '.join(COLUMNS)}")
    labels = [_label(row, f"{path} line {reader.line_num}") for row in reader]
    if not labels:
        raise ValueError(f"{path} has no labels: expected one line for each opportunity that was won or lost")
    return labels


def _label(row: dict[str, str], where: str) -> LabelledOutcome:
    outcome = (row["outcome"] or "").strip().lower()
    if outcome not in _WON:
        raise ValueError(f"{where}: outcome is {outcome[:40]!r}: expected won or lost")
    try:
        closed_on = dt.date.fromisoformat((row["closed_on"] or "").strip())
    except ValueError:
        raise ValueError(
            f"{where}: closed_on is {str(row['closed_on'])[:40]!r}: expected a date such as 2026-03-02"
        ) from None
    account_id = checked(CheckedAccountId, (row["account_id"] or "").strip(), f"{where}: account_id")
    return LabelledOutcome(account_id, _WON[outcome], closed_on)


def read_scores(
    warehouse: Warehouse, dataset: str, as_of: dt.datetime, *, backtest_until: dt.datetime | None = None
) -> list[ScoredAccount]:
    """Return the newest scores at a time, one per account, prompt version and model.

    Args:
        warehouse: The connection.
        dataset: BigQuery dataset of the scores.
        as_of: The time.
        backtest_until: For a backtest, the latest time at which scores were made; the mirror was as of `as_of`.

    Raises:
        ValueError: The dataset is not a name.
        WarehouseUnavailable: BigQuery did not answer.
    """
    until = backtest_until or as_of
    parameters = {"as_of": as_of, "since": until - HISTORY, "until": until}
    rows = warehouse.query(_SCORES_SQL.format(dataset=dataset_path(warehouse.project, dataset)), parameters)
    return [ScoredAccount(**dict(row), tier=tier_of(row["score"])) for row in rows]
