"""What the read model reads of BigQuery: queries, and rows page by page."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pipeline.api.read_model.rows import MIRROR_COLUMNS, SCORE_COLUMNS, StoredScore, stored_score
from pipeline.resources.datasets import check_dataset
from schemas.views import HISTORY_DAYS, SHOWN_SCORES
from transforms.clients.bigquery import Warehouse, dataset_path

_SCORES_SQL: Final = f"""
SELECT {", ".join(SCORE_COLUMNS)}
FROM `{{scores}}.account_scores`
WHERE scored_at >= @since AND scored_at < @until AND {SHOWN_SCORES}
"""  # noqa: S608 - constants, and a checked name
# A score counts on the day on which it was made last, as in the read model.
_DAYS_SQL: Final = f"""
SELECT DATE(scored_at) AS day, COUNT(*) AS scores
FROM (
  SELECT account_id, score_id, MAX(scored_at) AS scored_at
  FROM `{{scores}}.account_scores`
  WHERE scored_at >= @since AND scored_at < @until AND {SHOWN_SCORES}
  GROUP BY account_id, score_id
)
GROUP BY day
"""  # noqa: S608 - constants, and a checked name
_MIRROR_SQL: Final = f"""
SELECT {", ".join(MIRROR_COLUMNS)}
FROM `{{crm}}.accounts`
QUALIFY ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY modified_at DESC) = 1
"""  # noqa: S608 - constants, and a checked name
HISTORY: Final = dt.timedelta(days=HISTORY_DAYS)


@dataclass
class ScoreSource:
    """The datasets that the read model is filled from; calls raise WarehouseUnavailable.

    Attributes:
        warehouse: A connection that is used by one thread at a time.
        scores: `project.dataset` of the scores.
        crm: `project.dataset` of the mirror.
    """

    warehouse: Warehouse
    scores: str
    crm: str

    @classmethod
    def of(cls, warehouse: Warehouse, dataset: str, crm_dataset: str) -> Self:
        """Return the source with datasets by their names.

        Raises:
            ValueError: One is not a dataset's name.
        """
        check_dataset(dataset)
        check_dataset(crm_dataset, "--crm-dataset")
        return cls(warehouse, dataset_path(warehouse.project, dataset), dataset_path(warehouse.project, crm_dataset))

    def score_rows(self, since: dt.datetime, until: dt.datetime) -> Iterator[StoredScore]:
        """Yield the scores of a period page by page, its end excluded; they may repeat, in any order."""
        rows = self.warehouse.rows(_SCORES_SQL.format(scores=self.scores), {"since": since, "until": until})
        yield from map(stored_score, rows)

    def scores_by_day(self, since: dt.datetime, until: dt.datetime) -> dict[dt.date, int]:
        """Return how many scores were made on each day of a period (UTC)."""
        rows = self.warehouse.query(_DAYS_SQL.format(scores=self.scores), {"since": since, "until": until})
        return {row["day"]: row["scores"] for row in rows}

    def mirror_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the accounts of the mirror page by page, each once."""
        rows = self.warehouse.rows(_MIRROR_SQL.format(crm=self.crm), {})
        yield from map(_mirror_row, rows)


def _mirror_row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in MIRROR_COLUMNS)
