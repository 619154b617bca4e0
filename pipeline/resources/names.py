"""Names of the job, topics, subscriptions and datasets, and the calls that create them."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from google.api_core.exceptions import AlreadyExists
from google.cloud import pubsub_v1

from schemas.tables import CRM_TABLES, SCORING_TABLES
from schemas.views import SCORING_VIEWS
from transforms.clients.bigquery import Warehouse

JOB_NAME: Final = "account-rescoring"
TOPIC: Final = "account-changes"
DEAD_LETTER_TOPIC: Final = "account-changes-dead-letter"
PARKING_LOT_TOPIC: Final = "account-changes-parking-lot"
SUBSCRIPTION: Final = "account-changes-rescoring"
DEAD_LETTER_HOLD_SUBSCRIPTION: Final = "account-changes-dead-letter-hold"
PARKING_LOT_HOLD_SUBSCRIPTION: Final = "account-changes-parking-lot-hold"
"""Keeps the parked dead letters: a topic without a subscription drops its messages."""

SCORING_DATASET: Final = "account_scoring"
CRM_DATASET: Final = "crm"

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
}
_HELD: Final = {
    "ack_deadline_seconds": HOLD_ACK_DEADLINE_SECONDS,
    "retain_acked_messages": True,
    "message_retention_duration": HOLD_RETENTION,
    # By default Pub/Sub deletes a subscription that nobody pulls for 31 days, with its messages.
    "expiration_policy": {},
}
_SUBSCRIPTIONS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    SUBSCRIPTION: (TOPIC, _CONSUMED),
    DEAD_LETTER_HOLD_SUBSCRIPTION: (DEAD_LETTER_TOPIC, _HELD),
    PARKING_LOT_HOLD_SUBSCRIPTION: (PARKING_LOT_TOPIC, _HELD),
}

TOPICS: Final = (TOPIC, DEAD_LETTER_TOPIC, PARKING_LOT_TOPIC)
SUBSCRIPTION_TOPICS: Final[Mapping[str, str]] = {name: topic for name, (topic, _) in _SUBSCRIPTIONS.items()}
"""The topic of each subscription."""


def resource_path(project: str, kind: str, name: str) -> str:
    """Return `projects/P/KIND/NAME`; a name that is a path already stays as it is."""
    return name if "/" in name else f"projects/{project}/{kind}/{name}"


def create_topics(project: str) -> None:
    """Create missing topics and subscriptions; existing ones keep their settings."""
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    with publisher, subscriber:
        for topic in TOPICS:
            try:
                publisher.create_topic(name=f"projects/{project}/topics/{topic}")
            except AlreadyExists:
                continue
        for name, (topic, settings) in _SUBSCRIPTIONS.items():
            path, of = f"projects/{project}/subscriptions/{name}", f"projects/{project}/topics/{topic}"
            try:
                subscriber.create_subscription({"name": path, "topic": of, **settings})
            except AlreadyExists:
                continue


def create_tables(warehouse: Warehouse) -> None:
    """Create missing datasets, tables and views."""
    warehouse.create_dataset(SCORING_DATASET)
    warehouse.create_dataset(CRM_DATASET)
    for table in SCORING_TABLES:
        warehouse.create_table(SCORING_DATASET, table)
    for view in SCORING_VIEWS:
        warehouse.create_view(SCORING_DATASET, view)
    for table in CRM_TABLES:
        warehouse.create_table(CRM_DATASET, table)
