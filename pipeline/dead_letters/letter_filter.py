"""Which letters are meant: the same filter over rows of `dead_letters` and over messages of the hold subscription."""

import datetime as dt
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import orjson

from pipeline.dead_letters.held_letter import HeldLetter
from schemas.failures import ErrorClass
from schemas.salesforce_ids import normalize_account_id
from transforms.clients.bigquery import QueryValue

_COLUMNS: Final = {
    "error_classes": "error_class",
    "stages": "stage",
    "accounts": "account_id",
    "models": "model",
    "pipeline_versions": "pipeline_version",
}
"""Fields that name values, and the column and attribute that has them."""


@dataclass(frozen=True)
class LetterFilter:
    """Each field narrows the letters down; one that is empty does not. Of several values of a field, any will do.

    `since` and `until` are about the failure, `until` excluded. `is_not_replayed` takes letters that the journal of
    replays does not hold.
    """

    error_classes: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    pipeline_versions: tuple[str, ...] = ()
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    is_not_replayed: bool = False

    def __post_init__(self) -> None:
        for name in self.error_classes:
            if name not in set(ErrorClass):
                raise ValueError(f"--class is {name!r}: one of {', '.join(ErrorClass)} is wanted")
        if self.since and self.until and self.since >= self.until:
            raise ValueError("--since is not before --until: no letter could match")
        object.__setattr__(self, "accounts", tuple(_account_id(text) for text in self.accounts))

    def matches(self, letter: HeldLetter, journalled: AbstractSet[str] = frozenset()) -> bool:
        """Whether a message of the hold subscription is a letter that is meant.

        Args:
            letter: The message.
            journalled: `dead_letter_id` of the letters that replays have taken.
        """
        if not letter.is_letter:
            return False
        named = all(
            not getattr(self, field) or letter.attributes.get(name) in getattr(self, field)
            for field, name in _COLUMNS.items()
        )
        failed_at = letter.failed_at
        in_time = failed_at is not None and (
            (self.since is None or failed_at >= self.since) and (self.until is None or failed_at < self.until)
        )
        return named and in_time and not (self.is_not_replayed and letter.letter_id in journalled)

    def where(self) -> tuple[str, dict[str, QueryValue]]:
        """Return the SQL condition over `dead_letters`, joined with `is_journalled`, and its parameters."""
        conditions: list[str] = []
        parameters: dict[str, QueryValue] = {}
        for field, column in _COLUMNS.items():
            if values := getattr(self, field):
                conditions.append(f"{column} IN UNNEST(@{field})")
                parameters[field] = list(values)
        if self.since:
            conditions.append("failed_at >= @since")
            parameters["since"] = self.since
        if self.until:
            conditions.append("failed_at < @until")
            parameters["until"] = self.until
        if self.is_not_replayed:
            conditions.append("NOT is_journalled")
        return " AND ".join(conditions) or "TRUE", parameters

    def document(self) -> dict[str, Any]:
        """Return the fields that narrow something down, as JSON has them."""
        values = {name: value for name, value in asdict(self).items() if value}
        return {name: it.isoformat() if isinstance(it, dt.datetime) else it for name, it in values.items()}

    def as_json(self) -> str:
        """Return the filter as the journal keeps it."""
        return orjson.dumps(self.document()).decode()


def filter_from_json(text: str) -> LetterFilter:
    """Return a filter that the journal kept.

    Raises:
        ValueError: The text is none.
    """
    document: dict[str, Any] = orjson.loads(text)
    names = {field.name for field in fields(LetterFilter)}
    if unknown := set(document) - names:
        raise ValueError(f"the journal's filter has {', '.join(sorted(unknown))}, which this version does not know")
    for name, value in document.items():
        if isinstance(value, list):
            document[name] = tuple(value)
        elif isinstance(value, str):
            document[name] = dt.datetime.fromisoformat(value)
    return LetterFilter(**document)


def _account_id(text: str) -> str:
    try:
        return normalize_account_id(text)
    except ValueError as error:
        raise ValueError(f"--account {text[:40]!r}: {error}") from None
