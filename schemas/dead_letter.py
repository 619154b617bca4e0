"""What failed, why, and the bytes to try again with."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta

from schemas.change_event import SourceMessage
from schemas.failures import ErrorClass
from schemas.record import AwareDatetime, Record


class Attribute(Record, frozen=True, kw_only=True):
    """A Pub/Sub message attribute, as a table holds it."""

    key: str
    value: str


class DeadLetter(Record, frozen=True, kw_only=True):
    """An item that failed, with the message it came from."""

    error_class: ErrorClass
    stage: Annotated[str, Meta(description="The label of the step that gave it up")]
    error_message: Annotated[str, Meta(description="Redacted: names and numbers of ours, no text of the CRM's")]
    event_id: str
    account_id: str | None = None
    entity_name: str | None = None
    record_id: str | None = None
    change_type: str | None = None
    committed_at: AwareDatetime | None = None
    source: SourceMessage
    rejected_row: Annotated[str | None, Meta(description="JSON of the row that BigQuery refused, if one was")] = None
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
    payload_base64: Annotated[str | None, Meta(description="None over 6 MB: the message on the topic has it")] = None
    payload_sha256: str
    rejected_row: Annotated[str | None, Meta(description="JSON of the row that BigQuery refused, if one was")] = None
    attributes: Annotated[tuple[Attribute, ...], Meta(description="The original message's")]
    message_id: str
    published_at: AwareDatetime | None = None
    pipeline_version: str
    prompt_version: str | None = None
    model: Annotated[str | None, Meta(description="Of a letter that got as far as a prompt: the model asked")] = None
    schema_version: str
    trace_id: str


MAX_ROW_PAYLOAD_BYTES: Final = 6_000_000
"""BigQuery takes requests of 10 MB, and base64 makes four bytes of three."""

SCHEMA_VERSION: Final = "1"
"""Version of these models; rises when a reader of the tables must know."""

REPLAYED_AFTER: Final = "replayed_after"
REPLAY_ATTRIBUTES: Final = frozenset({"replay_count", "first_failed_at", REPLAYED_AFTER})
"""What a replay adds to the original attributes: how often, since when, and `error_class@pipeline_version` it is after;
see docs/adr/051."""

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
"""The attributes that a dead letter adds to those of its message; a replay takes them off again."""

ORIGINAL_PREFIX: Final = "original."
"""Stands before the name of an original attribute whose own name the envelope needs."""

MAX_ATTRIBUTES: Final = 100
MAX_ATTRIBUTE_NAME_BYTES: Final = 256
MAX_ATTRIBUTE_VALUE_BYTES: Final = 1_024
MAX_MESSAGE_BYTES: Final = 10_000_000
"""What Pub/Sub takes. Source: https://cloud.google.com/pubsub/quotas#resource_limits."""


def fits_message(payload: bytes, attributes: Mapping[str, str]) -> bool:
    """Whether Pub/Sub takes a message; sizes are counted as protobuf does, with some bytes to spare."""
    named = [(name.encode(), value.encode()) for name, value in attributes.items()]
    return (
        len(named) <= MAX_ATTRIBUTES
        and all(len(name) <= MAX_ATTRIBUTE_NAME_BYTES for name, _ in named)
        and all(len(value) <= MAX_ATTRIBUTE_VALUE_BYTES for _, value in named)
        and len(payload) + sum(len(name) + len(value) + 16 for name, value in named) + 64 <= MAX_MESSAGE_BYTES
    )


def message_attributes(letter: DeadLetter, model: str | None = None) -> dict[str, str]:
    """Return the attributes of the published letter: the original ones under their names, and the envelope's.

    An original one whose name the envelope needs goes on as `original.NAME`. Where Pub/Sub's limits leave no room for
    an envelope, the message keeps its original attributes alone: a message that can't be published would hold up all
    others, and the row of `dead_letters` says what the envelope would have.

    Args:
        letter: The letter.
        model: The model that the pipeline asks; told of letters that got as far as a prompt.
    """
    original = letter.source.attributes
    envelope = {
        "error_class": letter.error_class.value,
        "stage": letter.stage,
        "event_id": letter.event_id,
        "account_id": letter.account_id or "",
        "retryable": "true" if letter.error_class.retryable else "false",
        "replay_count": str(letter.replay_count),
        "first_failed_at": letter.first_failed_at.isoformat(),
        "failed_at": letter.failed_at.isoformat(),
        "pipeline_version": letter.pipeline_version,
    }
    if asked := _model_asked(letter, model):
        envelope["model"] = asked
    kept = {(f"{ORIGINAL_PREFIX}{name}" if _is_taken(name) else name): value for name, value in original.items()}
    attributes = kept | envelope
    return attributes if fits_message(letter.source.payload, attributes) else dict(original)


def original_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that a published letter's message first came with: without envelope, without replays."""
    added = ENVELOPE_ATTRIBUTES | REPLAY_ATTRIBUTES
    return {name.removeprefix(ORIGINAL_PREFIX): value for name, value in attributes.items() if name not in added}


def dead_letter_id(event_id: str, account_id: str | None, stage: str, failed_at: str) -> str:
    """Identity of a letter: 32 hex digits, the same for its message and its row; `failed_at` in ISO 8601."""
    identity = "\x1f".join((event_id, account_id or "", stage, failed_at))
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def dead_letter_row(letter: DeadLetter, model: str | None = None) -> DeadLetterRow:
    """Return the letter as a row of `dead_letters`."""
    return DeadLetterRow(
        dead_letter_id=dead_letter_id(letter.event_id, letter.account_id, letter.stage, letter.failed_at.isoformat()),
        error_class=letter.error_class,
        stage=letter.stage,
        error_message=letter.error_message,
        retryable=letter.error_class.retryable,
        event_id=letter.event_id,
        account_id=letter.account_id,
        replay_count=letter.replay_count,
        first_failed_at=letter.first_failed_at,
        failed_at=letter.failed_at,
        payload_base64=(
            base64.b64encode(letter.source.payload).decode()
            if len(letter.source.payload) <= MAX_ROW_PAYLOAD_BYTES
            else None
        ),
        payload_sha256=hashlib.sha256(letter.source.payload).hexdigest(),
        rejected_row=letter.rejected_row,
        attributes=tuple(Attribute(key=key, value=value) for key, value in sorted(letter.source.attributes.items())),
        message_id=letter.source.message_id,
        published_at=letter.source.published_at,
        pipeline_version=letter.pipeline_version,
        prompt_version=letter.prompt_version,
        model=_model_asked(letter, model),
        schema_version=SCHEMA_VERSION,
        trace_id=letter.trace_id,
    )


def _model_asked(letter: DeadLetter, model: str | None) -> str | None:
    return model if letter.prompt_version else None


def _is_taken(name: str) -> bool:
    """Whether an original attribute can't keep its name; one that a replay set is not the sender's, and is renewed."""
    return name in ENVELOPE_ATTRIBUTES - REPLAY_ATTRIBUTES or name.startswith(ORIGINAL_PREFIX)
