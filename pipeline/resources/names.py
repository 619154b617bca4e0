"""Names of the job, topics, subscriptions and datasets, and how long messages are retained."""

import datetime as dt
from collections.abc import Mapping
from typing import Final

JOB_NAME: Final = "account-rescoring"
TOPIC: Final = "account-changes"
DEAD_LETTER_TOPIC: Final = "account-changes-dead-letter"
PARKING_LOT_TOPIC: Final = "account-changes-parking-lot"
SUBSCRIPTION: Final = "account-changes-rescoring"
DEAD_LETTER_HOLD_SUBSCRIPTION: Final = "account-changes-dead-letter-hold"
PARKING_LOT_HOLD_SUBSCRIPTION: Final = "account-changes-parking-lot-hold"
"""Keeps the parked dead letters: a topic without a subscription drops its messages."""

MESSAGE_RETENTION: Final = dt.timedelta(days=7)
"""How long the pipeline's subscription retains messages, acknowledged or not: Pub/Sub's default."""

SCORING_DATASET: Final = "account_scoring"
CRM_DATASET: Final = "crm"

TOPICS: Final = (TOPIC, DEAD_LETTER_TOPIC, PARKING_LOT_TOPIC)
SUBSCRIPTION_TOPICS: Final[Mapping[str, str]] = {
    SUBSCRIPTION: TOPIC,
    DEAD_LETTER_HOLD_SUBSCRIPTION: DEAD_LETTER_TOPIC,
    PARKING_LOT_HOLD_SUBSCRIPTION: PARKING_LOT_TOPIC,
}
"""The topic of each subscription."""


def resource_path(project: str, kind: str, name: str) -> str:
    """Return `projects/P/KIND/NAME`; a name that is a path already stays as it is."""
    return name if "/" in name else f"projects/{project}/{kind}/{name}"
