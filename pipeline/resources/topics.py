"""Create topics and subscriptions."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from google.api_core.exceptions import AlreadyExists
from google.cloud import pubsub_v1

from pipeline.resources.names import (
    DEAD_LETTER_HOLD_SUBSCRIPTION,
    MESSAGE_RETENTION,
    PARKING_LOT_HOLD_SUBSCRIPTION,
    SUBSCRIPTION,
    SUBSCRIPTION_TOPICS,
    TOPICS,
)
from transforms.clients.pubsub import COMMAND_RETRY, PATIENCE_SECONDS, pubsub_calls

ACK_DEADLINE_SECONDS: Final = 600
HOLD_ACK_DEADLINE_SECONDS: Final = 60
"""After a replay was killed, Pub/Sub delivers the dead letters that it held again within this time."""

HOLD_RETENTION: Final = dt.timedelta(days=31)
"""Pub/Sub's maximum; by default it drops unacknowledged messages after 7 days."""

_CONSUMED: Final = {
    "ack_deadline_seconds": ACK_DEADLINE_SECONDS,
    # Keeps acknowledged messages, so that an operator can seek back: Dataflow acknowledges when a bundle commits, the
    # DirectRunner as soon as it has read.
    "retain_acked_messages": True,
    "message_retention_duration": MESSAGE_RETENTION,
}
_HELD: Final = {
    "ack_deadline_seconds": HOLD_ACK_DEADLINE_SECONDS,
    "retain_acked_messages": True,
    "message_retention_duration": HOLD_RETENTION,
    # By default Pub/Sub deletes a subscription that nobody pulls for 31 days, with its messages.
    "expiration_policy": {},
}
_SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    SUBSCRIPTION: _CONSUMED,
    DEAD_LETTER_HOLD_SUBSCRIPTION: _HELD,
    PARKING_LOT_HOLD_SUBSCRIPTION: _HELD,
}

_CALL: Final[Mapping[str, Any]] = {"retry": COMMAND_RETRY, "timeout": PATIENCE_SECONDS}


def create_topics(project: str) -> None:
    """Create missing topics and subscriptions; existing ones keep their settings.

    Raises:
        PubSubUnavailable: Pub/Sub did not answer.
    """
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    with pubsub_calls(f"projects/{project}"), publisher, subscriber:
        for topic in TOPICS:
            try:
                publisher.create_topic(name=f"projects/{project}/topics/{topic}", **_CALL)
            except AlreadyExists:
                continue
        for name, topic in SUBSCRIPTION_TOPICS.items():
            path, of = f"projects/{project}/subscriptions/{name}", f"projects/{project}/topics/{topic}"
            try:
                subscriber.create_subscription({"name": path, "topic": of, **_SETTINGS[name]}, **_CALL)
            except AlreadyExists:
                continue
