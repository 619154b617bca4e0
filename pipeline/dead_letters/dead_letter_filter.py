"""Which dead letters to list or replay: one filter for rows of `dead_letters` and messages of the hold subscription."""

import datetime as dt
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

import orjson

from pipeline.dead_letters.held_dead_letter import HeldDeadLetter
from pipeline.terminal.choices import did_you_mean, one_of
from pipeline.terminal.times import rfc3339
from schemas.failures import DEAD_LETTER_STAGES, ErrorClass
from schemas.salesforce_ids import normalize_account_id
from transforms.clients.bigquery import QueryValue

_COLUMNS: Final = {
    "error_classes": "error_class",
    "stages": "stage",
    "accounts": "account_id",
    "models": "model",
    "pipeline_versions": "pipeline_version",
}
"""Fields that list values, with the column and message attribute of each."""


@dataclass(frozen=True)
class DeadLetterFilter:
    """A dead letter matches if every field that is not empty does; one of a field's values is enough.

    Attributes:
        error_classes: Values of `ErrorClass`.
        stages: Labels of pipeline steps.
        accounts: Salesforce account ids of 15 or 18 characters; kept with 18.
        models: Gemini models.
        pipeline_versions: Versions in which the dead letter failed.
        since: Earliest time of the failure.
        until: End of the time of the failure, excluded.
        is_not_replayed: Leave out the dead letters that the journal of replays holds.
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
        classes = tuple(one_of("--class", name, [*map(str, ErrorClass)]) for name in self.error_classes)
        object.__setattr__(self, "error_classes", classes)
        if self.since and self.until and self.since >= self.until:
            raise ValueError("--since is not before --until: no dead letter could match")
        object.__setattr__(self, "accounts", tuple(_account_id(text) for text in self.accounts))

    def matches(self, held: HeldDeadLetter, journalled: AbstractSet[str] = frozenset()) -> bool:
        """Return whether a message of the hold subscription is a dead letter that matches.

        Args:
            held: The message.
            journalled: `dead_letter_id` of the dead letters that earlier replays have taken.
        """
        if not held.is_dead_letter:
            return False
        has_values = all(
            not getattr(self, field) or held.attributes.get(name) in getattr(self, field)
            for field, name in _COLUMNS.items()
        )
        failed_at = held.failed_at
        is_in_time = failed_at is not None and (
            (self.since is None or failed_at >= self.since) and (self.until is None or failed_at < self.until)
        )
        return has_values and is_in_time and not (self.is_not_replayed and held.dead_letter_id in journalled)

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

    def among(self, stored: "StoredValues") -> "DeadLetterFilter":
        """Return the filter with stages, models and versions as they are stored.

        Raises:
            ValueError: No step has such a label, or no dead letter such a model or version; the message has the others.
        """
        stages = [*DEAD_LETTER_STAGES, *sorted(stored.stages - {*DEAD_LETTER_STAGES})]
        return replace(
            self,
            stages=tuple(one_of("--stage", name, stages) for name in self.stages),
            models=tuple(_stored("--model", name, stored.models, stored) for name in self.models),
            pipeline_versions=tuple(
                _stored("--pipeline-version", name, stored.pipeline_versions, stored) for name in self.pipeline_versions
            ),
        )

    def document(self) -> dict[str, Any]:
        """Return the fields that are not empty as JSON values."""
        values = {name: value for name, value in asdict(self).items() if value}
        return {name: rfc3339(it) if isinstance(it, dt.datetime) else it for name, it in values.items()}

    def as_json(self) -> str:
        """Return the filter as the journal stores it."""
        return orjson.dumps(self.document()).decode()


@dataclass(frozen=True)
class StoredValues:
    """The stages, models and pipeline versions of the dead letters that are stored."""

    stages: AbstractSet[str] = frozenset()
    models: AbstractSet[str] = frozenset()
    pipeline_versions: AbstractSet[str] = frozenset()


@dataclass(frozen=True)
class ReplayRequest:
    """What an operator asks of a replay.

    Attributes:
        dead_letter_filter: Which dead letters.
        max_dead_letters: How many to replay or park at most; None: all.
        rate: Dead letters per second, at most.
        is_forced: Replay those that would be parked, too.
        reason: Why, for the journal.
    """

    dead_letter_filter: DeadLetterFilter
    max_dead_letters: int | None
    rate: float
    is_forced: bool
    reason: str


def filter_from_json(text: str) -> DeadLetterFilter:
    """Return a filter that the journal stored.

    Raises:
        ValueError: The text is not JSON, or has fields that this version does not know.
    """
    document: dict[str, Any] = orjson.loads(text)
    names = {field.name for field in fields(DeadLetterFilter)}
    if unknown := set(document) - names:
        raise ValueError(f"the journal's filter has {', '.join(sorted(unknown))}, which this version does not know")
    for name, value in document.items():
        if isinstance(value, list):
            document[name] = tuple(value)
        elif isinstance(value, str):
            document[name] = dt.datetime.fromisoformat(value)
    return DeadLetterFilter(**document)


def _stored(flag: str, value: str, known: AbstractSet[str], stored: StoredValues) -> str:
    """Return a value that dead letters have; any value if there are no dead letters."""
    if value in known or not stored.stages:
        return value
    names = sorted(known)
    have = f"they have {', '.join(names)}{did_you_mean(value, names)}" if names else "they have none"
    raise ValueError(f"{flag} is {value[:60]!r}: no dead letter has it, {have}")


def _account_id(text: str) -> str:
    try:
        return normalize_account_id(text)
    except ValueError as error:
        raise ValueError(f"--account {text[:40]!r}: {error}") from None
