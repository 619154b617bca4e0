"""Check resources and messages against Pub/Sub's documented limits; violations raise PubSubError."""

import re
from collections.abc import Collection, Sequence
from typing import Literal, TypeVar

from pipeline.local.pubsub.delivery import NANOS
from pipeline.local.pubsub.errors import InvalidArgumentError, OutOfRangeError, UnimplementedError
from pipeline.local.pubsub.wire import Duration, FieldMask, PubsubMessage, Subscription, Topic

DEFAULT_ACK_DEADLINE_SECONDS = 10
MINIMUM_ACK_DEADLINE_SECONDS = 10
MAXIMUM_ACK_DEADLINE_SECONDS = 600
DEFAULT_RETENTION_SECONDS = 7 * 86_400
MINIMUM_RETENTION_SECONDS = 600
MAXIMUM_RETENTION_SECONDS = 31 * 86_400
DEFAULT_MINIMUM_BACKOFF_SECONDS = 10
MAXIMUM_BACKOFF_SECONDS = 600
DEFAULT_DELIVERY_ATTEMPTS = 5
MINIMUM_DELIVERY_ATTEMPTS = 5
MAXIMUM_DELIVERY_ATTEMPTS = 100

MAX_PUBLISH_MESSAGES = 1000
MAX_PUBLISH_BYTES = 10_000_000
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_KEY_BYTES = 256
MAX_ATTRIBUTE_VALUE_BYTES = 1024
MAX_ORDERING_KEY_BYTES = 1024
CLIENT_ATTRIBUTE_PREFIX = "googclient_"
"""Prefix of the attributes that Google's clients add, such as the trace context."""

MUTABLE_TOPIC_FIELDS = frozenset({"labels", "message_retention_duration"})
MUTABLE_SUBSCRIPTION_FIELDS = frozenset(
    {
        "ack_deadline_seconds",
        "dead_letter_policy",
        "enable_exactly_once_delivery",
        "expiration_policy",
        "labels",
        "message_retention_duration",
        "retain_acked_messages",
        "retry_policy",
    }
)
# Fields that change which messages arrive, or where: storing them without effect would mislead.
_TOPIC_FIELDS_NOT_IMPLEMENTED = ("ingestion_data_source_settings", "message_transforms", "schema_settings")
_SUBSCRIPTION_FIELDS_NOT_IMPLEMENTED = (
    "bigquery_config",
    "bigtable_config",
    "cloud_storage_config",
    "filter",
    "message_transforms",
)

Resource = TypeVar("Resource", Topic, Subscription)
Collected = Literal["topics", "subscriptions", "snapshots"]
_RESOURCE = re.compile(r"projects/([a-z][a-z0-9.:-]{4,61}[a-z0-9])/(\w+)/((?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254})")
_PROJECT = re.compile(r"projects/[a-z][a-z0-9.:-]{4,61}[a-z0-9]")


def check_name(name: str, collected: Collected) -> None:
    """Refuse a resource name that is not of the form `projects/{project}/{collected}/{id}`."""
    match = _RESOURCE.fullmatch(name)
    if match is None or match.group(2) != collected:
        raise InvalidArgumentError(f"Invalid [{collected}] name: (name={name})")


def check_project(name: str) -> None:
    """Refuse a project name that is not `projects/{project}` with an id of at least six characters."""
    if not _PROJECT.fullmatch(name):
        raise InvalidArgumentError(f"Invalid project name: (name={name})")


def valid_topic(topic: Topic) -> Topic:
    """Return a valid copy of a topic, or refuse it."""
    check_name(topic.name, "topics")
    _check_implemented(topic, _TOPIC_FIELDS_NOT_IMPLEMENTED)
    if topic.HasField("message_retention_duration"):
        _check_retention(topic.message_retention_duration)
    valid = Topic()
    valid.CopyFrom(topic)
    return valid


def valid_subscription(subscription: Subscription) -> Subscription:
    """Return a copy of a subscription with the documented defaults, or refuse it."""
    check_name(subscription.name, "subscriptions")
    _check_implemented(subscription, _SUBSCRIPTION_FIELDS_NOT_IMPLEMENTED)
    if subscription.push_config.push_endpoint:
        raise UnimplementedError("This broker does not push: leave push_config empty and pull.")
    valid = Subscription()
    valid.CopyFrom(subscription)
    valid.ack_deadline_seconds = valid.ack_deadline_seconds or DEFAULT_ACK_DEADLINE_SECONDS
    if not MINIMUM_ACK_DEADLINE_SECONDS <= valid.ack_deadline_seconds <= MAXIMUM_ACK_DEADLINE_SECONDS:
        raise InvalidArgumentError("ack_deadline_seconds must be between 10 and 600 seconds")
    if not valid.HasField("message_retention_duration"):
        valid.message_retention_duration.seconds = DEFAULT_RETENTION_SECONDS
    _check_retention(valid.message_retention_duration)
    _fill_dead_letter_policy(valid)
    _fill_retry_policy(valid)
    return valid


def merge_topic(stored: Topic, update: Topic, mask: FieldMask) -> Topic:
    """Return a valid topic with the masked fields replaced."""
    _check_mask(mask, MUTABLE_TOPIC_FIELDS, {field.name for field in Topic.DESCRIPTOR.fields}, "Topic")
    return valid_topic(_merged(stored, update, mask))


def merge_subscription(stored: Subscription, update: Subscription, mask: FieldMask) -> Subscription:
    """Return a valid subscription with the masked fields replaced."""
    if "push_config" in mask.paths:
        raise UnimplementedError("This broker does not push: push_config can't be updated.")
    known = {field.name for field in Subscription.DESCRIPTOR.fields}
    _check_mask(mask, MUTABLE_SUBSCRIPTION_FIELDS, known, "Subscription")
    return valid_subscription(_merged(stored, update, mask))


def check_messages(messages: Sequence[PubsubMessage]) -> None:
    """Refuse a publish request if one of its messages exceeds a limit."""
    if not messages:
        raise InvalidArgumentError("No messages to publish")
    if len(messages) > MAX_PUBLISH_MESSAGES:
        raise InvalidArgumentError(f"Too many messages to publish: {len(messages)}, of at most {MAX_PUBLISH_MESSAGES}")
    if sum(len(message.data) for message in messages) > MAX_PUBLISH_BYTES:
        raise InvalidArgumentError(f"Request payload size exceeds the limit: {MAX_PUBLISH_BYTES} bytes.")
    for message in messages:
        _check_message(message)


def check_stream_deadline(seconds: int) -> None:
    """Refuse an ack deadline that is not allowed for a stream."""
    if not MINIMUM_ACK_DEADLINE_SECONDS <= seconds <= MAXIMUM_ACK_DEADLINE_SECONDS:
        raise InvalidArgumentError("stream_ack_deadline_seconds must be between 10 and 600 seconds")


def check_lease(seconds: int) -> None:
    """Refuse an ack deadline that is not allowed in ModifyAckDeadline. Zero, a nack, is."""
    if seconds < 0:
        raise InvalidArgumentError("Ack deadline cannot be negative")
    if seconds > MAXIMUM_ACK_DEADLINE_SECONDS:
        raise InvalidArgumentError(f"Ack deadline cannot exceed {MAXIMUM_ACK_DEADLINE_SECONDS} seconds")


def _check_message(message: PubsubMessage) -> None:
    if not message.data and not message.attributes:
        raise InvalidArgumentError("Some messages are empty")
    if len(message.ordering_key.encode()) > MAX_ORDERING_KEY_BYTES:
        raise InvalidArgumentError(f"An ordering key has at most {MAX_ORDERING_KEY_BYTES} bytes")
    if len(message.attributes) > MAX_ATTRIBUTES:
        raise InvalidArgumentError(f"A message has at most {MAX_ATTRIBUTES} attributes")
    for key, value in message.attributes.items():
        is_reserved = key.startswith("goog") and not key.startswith(CLIENT_ATTRIBUTE_PREFIX)
        if not 0 < len(key.encode()) <= MAX_ATTRIBUTE_KEY_BYTES or is_reserved:
            raise InvalidArgumentError(
                f"An attribute's key has 1 to {MAX_ATTRIBUTE_KEY_BYTES} bytes and does not start with goog"
            )
        if len(value.encode()) > MAX_ATTRIBUTE_VALUE_BYTES:
            raise InvalidArgumentError(f"An attribute's value has at most {MAX_ATTRIBUTE_VALUE_BYTES} bytes")


def _check_implemented(resource: Topic | Subscription, fields: Sequence[str]) -> None:
    given = {field.name for field, _ in resource.ListFields()}
    for field in fields:
        if field in given:
            raise UnimplementedError(f"This broker does not implement {field} of a {resource.DESCRIPTOR.name}.")


def _merged(stored: Resource, update: Resource, mask: FieldMask) -> Resource:
    merged, given = type(stored)(), type(stored)()
    merged.CopyFrom(stored)
    given.CopyFrom(update)
    for field in stored.DESCRIPTOR.fields:
        (merged if field.name in mask.paths else given).ClearField(field.name)
    merged.MergeFrom(given)
    return merged


def _check_mask(mask: FieldMask, mutable: Collection[str], known: Collection[str], kind: str) -> None:
    if not mask.paths:
        raise InvalidArgumentError(f"The update_mask in the Update{kind}Request must be set, and not empty.")
    for path in mask.paths:
        if path not in known:
            raise InvalidArgumentError(f"Invalid update_mask: {path} is not a known {kind} field.")
        if path not in mutable:
            raise InvalidArgumentError(f"Invalid update_mask: the {path} field in the {kind} is not mutable.")


def _check_retention(retention: Duration) -> None:
    if not MINIMUM_RETENTION_SECONDS * NANOS <= retention.ToNanoseconds() <= MAXIMUM_RETENTION_SECONDS * NANOS:
        raise InvalidArgumentError("message_retention_duration must be between 10 minutes and 31 days")


def _fill_dead_letter_policy(subscription: Subscription) -> None:
    if not subscription.HasField("dead_letter_policy"):
        return
    policy = subscription.dead_letter_policy
    if not policy.dead_letter_topic:
        subscription.ClearField("dead_letter_policy")
        return
    check_name(policy.dead_letter_topic, "topics")
    policy.max_delivery_attempts = policy.max_delivery_attempts or DEFAULT_DELIVERY_ATTEMPTS
    if not MINIMUM_DELIVERY_ATTEMPTS <= policy.max_delivery_attempts <= MAXIMUM_DELIVERY_ATTEMPTS:
        raise OutOfRangeError(f"max_delivery_attempts must be 5 to 100, not {policy.max_delivery_attempts}.")


def _fill_retry_policy(subscription: Subscription) -> None:
    if not subscription.HasField("retry_policy"):
        return
    policy = subscription.retry_policy
    if not policy.HasField("minimum_backoff"):
        policy.minimum_backoff.seconds = DEFAULT_MINIMUM_BACKOFF_SECONDS
    if not policy.HasField("maximum_backoff"):
        policy.maximum_backoff.seconds = MAXIMUM_BACKOFF_SECONDS
    minimum, maximum = policy.minimum_backoff.ToNanoseconds(), policy.maximum_backoff.ToNanoseconds()
    if not 0 <= minimum <= maximum <= MAXIMUM_BACKOFF_SECONDS * NANOS:
        raise InvalidArgumentError("retry_policy needs 0 s <= minimum_backoff <= maximum_backoff <= 600 s")
