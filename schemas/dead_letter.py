"""Dead letters: what failed, why, and the original message for a replay."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta

from schemas.change_event import SourceMessage
from schemas.failures import ErrorClass
from schemas.record import AwareDatetime, Record


class Attribute(Record, frozen=True, kw_only=True):
    """A Pub/Sub message attribute as a column."""

    key: str
    value: str


class DeadLetter(Record, frozen=True, kw_only=True):
    """An item that failed, with the message it came from."""

    error_class: ErrorClass
    stage: Annotated[str, Meta(description="The label of the step that failed")]
    error_message: Annotated[str, Meta(description="Redacted: no text from the CRM")]
    event_id: str
    account_id: str | None = None
    entity_name: str | None = None
    record_id: str | None = None
    change_type: str | None = None
    committed_at: AwareDatetime | None = None
    source: SourceMessage
    rejected_row: Annotated[str | None, Meta(description="JSON of the row that BigQuery refused")] = None
    replay_count: int = 0
    first_failed_at: AwareDatetime
    failed_at: AwareDatetime
    pipeline_version: str
    prompt_version: str | None = None
    trace_id: str


class DeadLetterRow(Record, frozen=True, kw_only=True):
    """A row of `dead_letters`."""

    dead_letter_id: Annotated[str, Meta(description="Hash of event, account, stage and time")]
    error_class: ErrorClass
    stage: str
    error_message: str
    retryable: bool
    event_id: str
    account_id: str | None = None
    replay_count: int
    first_failed_at: AwareDatetime
    failed_at: AwareDatetime
    payload_base64: Annotated[str | None, Meta(description="NULL over 6 MB; the message on the topic has it")] = None
    payload_sha256: str
    rejected_row: Annotated[str | None, Meta(description="JSON of the row that BigQuery refused")] = None
    attributes: Annotated[tuple[Attribute, ...], Meta(description="Of the original message")]
    message_id: str
    published_at: AwareDatetime | None = None
    pipeline_version: str
    prompt_version: str | None = None
    model: Annotated[str | None, Meta(description="The model that was called; NULL if none was")] = None
    schema_version: str
    trace_id: str


MAX_ROW_PAYLOAD_BYTES: Final = 6_000_000
"""BigQuery takes requests of 10 MB, and base64 makes four bytes out of three."""

SCHEMA_VERSION: Final = "1"
"""Version of these tables; raised when their readers must change."""

REPLAYED_AFTER: Final = "replayed_after"
REPLAY_ATTRIBUTES: Final = frozenset({"replay_count", "first_failed_at", REPLAYED_AFTER})
"""What a replay adds to the original attributes: the number of replays, the time of the first failure, and the failure
that it follows as `error_class@pipeline_version`; see docs/adr/051."""

ENVELOPE_ATTRIBUTES: Final = frozenset(
    {
        "error_class",
        "stage",
        "event_id",
        "account_id",
        "retryable",
        "replay_count",
        "failed_at",
        "first_failed_at",
        "pipeline_version",
        "model",
    }
)
"""The attributes that a dead letter adds to its message's own; a replay removes them."""

ORIGINAL_PREFIX: Final = "original."
"""Prefix for original attributes whose names the envelope uses."""

MAX_ATTRIBUTES: Final = 100
MAX_ATTRIBUTE_NAME_BYTES: Final = 256
MAX_ATTRIBUTE_VALUE_BYTES: Final = 1_024
MAX_MESSAGE_BYTES: Final = 10_000_000
"""Pub/Sub's limits. Source: https://cloud.google.com/pubsub/quotas#resource_limits."""


def fits_message(payload: bytes, attributes: Mapping[str, str]) -> bool:
    """Return whether Pub/Sub takes a message; sizes are counted as in protobuf, rounded up."""
    named = [(name.encode(), value.encode()) for name, value in attributes.items()]
    return (
        len(named) <= MAX_ATTRIBUTES
        and all(len(name) <= MAX_ATTRIBUTE_NAME_BYTES for name, _ in named)
        and all(len(value) <= MAX_ATTRIBUTE_VALUE_BYTES for _, value in named)
        and len(payload) + sum(len(name) + len(value) + 16 for name, value in named) + 64 <= MAX_MESSAGE_BYTES
    )


def message_attributes(dead_letter: DeadLetter, model: str | None = None) -> dict[str, str]:
    """Return the attributes of a published dead letter: the original ones and the envelope's.

    An original attribute whose name the envelope uses becomes `original.NAME`. If Pub/Sub's limits leave no room for
    the envelope, the message keeps only its original attributes: a message that can't be published would block all
    others, and the row in `dead_letters` has the envelope's values.

    Args:
        dead_letter: The dead letter.
        model: The model that the pipeline calls; used if the dead letter reached a prompt.
    """
    original = dead_letter.source.attributes
    envelope = {
        "error_class": dead_letter.error_class.value,
        "stage": dead_letter.stage,
        "event_id": dead_letter.event_id,
        "account_id": dead_letter.account_id or "",
        "retryable": "true" if dead_letter.error_class.retryable else "false",
        "replay_count": str(dead_letter.replay_count),
        "first_failed_at": dead_letter.first_failed_at.isoformat(),
        "failed_at": dead_letter.failed_at.isoformat(),
        "pipeline_version": dead_letter.pipeline_version,
    }
    if asked := _model_asked(dead_letter, model):
        envelope["model"] = asked
    kept = {(f"{ORIGINAL_PREFIX}{name}" if _is_taken(name) else name): value for name, value in original.items()}
    attributes = kept | envelope
    return attributes if fits_message(dead_letter.source.payload, attributes) else dict(original)


def original_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the original attributes of a published dead letter, without the envelope's and a replay's."""
    added = ENVELOPE_ATTRIBUTES | REPLAY_ATTRIBUTES
    return {name.removeprefix(ORIGINAL_PREFIX): value for name, value in attributes.items() if name not in added}


def dead_letter_id(event_id: str, account_id: str | None, stage: str, failed_at: str) -> str:
    """Return the id of a dead letter: 32 hex digits, equal for its message and its row; `failed_at` is ISO 8601."""
    identity = "\x1f".join((event_id, account_id or "", stage, failed_at))
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def dead_letter_row(dead_letter: DeadLetter, model: str | None = None) -> DeadLetterRow:
    """Return a dead letter as a row of `dead_letters`."""
    source, failed_at = dead_letter.source, dead_letter.failed_at
    has_room = len(source.payload) <= MAX_ROW_PAYLOAD_BYTES
    return DeadLetterRow(
        dead_letter_id=dead_letter_id(
            dead_letter.event_id, dead_letter.account_id, dead_letter.stage, failed_at.isoformat()
        ),
        error_class=dead_letter.error_class,
        stage=dead_letter.stage,
        error_message=dead_letter.error_message,
        retryable=dead_letter.error_class.retryable,
        event_id=dead_letter.event_id,
        account_id=dead_letter.account_id,
        replay_count=dead_letter.replay_count,
        first_failed_at=dead_letter.first_failed_at,
        failed_at=failed_at,
        payload_base64=base64.b64encode(source.payload).decode() if has_room else None,
        payload_sha256=hashlib.sha256(source.payload).hexdigest(),
        rejected_row=dead_letter.rejected_row,
        attributes=tuple(Attribute(key=key, value=value) for key, value in sorted(source.attributes.items())),
        message_id=source.message_id,
        published_at=source.published_at,
        pipeline_version=dead_letter.pipeline_version,
        prompt_version=dead_letter.prompt_version,
        model=_model_asked(dead_letter, model),
        schema_version=SCHEMA_VERSION,
        trace_id=dead_letter.trace_id,
    )


def _model_asked(dead_letter: DeadLetter, model: str | None) -> str | None:
    return model if dead_letter.prompt_version else None


def _is_taken(name: str) -> bool:
    """Return whether an original attribute needs another name; what a replay set is not original and is replaced."""
    return name in ENVELOPE_ATTRIBUTES - REPLAY_ATTRIBUTES or name.startswith(ORIGINAL_PREFIX)
