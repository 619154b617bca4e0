"""Rows of BigQuery as rows of the read model; pure.

Times are whole microseconds since 1970, as BigQuery keeps them. What is only shown, and never compared, is one JSON
document, made once when the row comes and copied into each answer.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from pipeline.scores.account_score import CURRENT_FIELDS
from schemas.score import ScoreStatus

DOCUMENT_FIELDS: Final = (*CURRENT_FIELDS, "status", "change_sequence")
"""Columns of `account_scores` that a score's document has."""

SCORE_COLUMNS: Final = ("account_id", "context_hash", *DOCUMENT_FIELDS)
"""Columns of `account_scores` that are read."""

MIRROR_COLUMNS: Final = ("account_id", "name", "owner_id", "industry", "type", "website", "billing_country")
"""Columns of `crm.accounts` that are read."""

JSON_OPTIONS: Final = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_ARRAYS: Final = frozenset({"event_ids", "changed_fields", "drivers", "flags"})


class StoredScore(NamedTuple):
    """A row of the table `scores`, in the order of its columns."""

    account_id: str
    score_id: str
    committed: int
    sequence: int
    is_tombstone: int
    scored: int
    score: int | None
    tier: str | None
    confidence: float | None
    model: str | None
    model_version: str | None
    prompt_version: str | None
    context_hash: str | None
    document: bytes


def stored_score(row: Mapping[str, Any]) -> StoredScore:
    """Return a row of `account_scores` as the read model keeps it."""
    document = {name: (row[name] or []) if name in _ARRAYS else row[name] for name in DOCUMENT_FIELDS}
    return StoredScore(
        account_id=row["account_id"],
        score_id=row["score_id"],
        committed=microseconds(row["change_committed_at"]),
        sequence=row["change_sequence"],
        is_tombstone=int(row["status"] == ScoreStatus.TOMBSTONE),
        scored=microseconds(row["scored_at"]),
        score=row["score"],
        tier=row["tier"],
        confidence=row["confidence"],
        model=row["model"],
        model_version=row["model_version"],
        prompt_version=row["prompt_version"],
        context_hash=row["context_hash"],
        document=orjson.dumps(document, option=JSON_OPTIONS),
    )


def microseconds(time: dt.datetime) -> int:
    """Return a time as the read model keeps it."""
    return (time - _EPOCH) // _MICROSECOND


def time_of(microseconds: int) -> dt.datetime:
    """Return a time that the read model keeps."""
    return _EPOCH + microseconds * _MICROSECOND
