"""Topics and subscriptions of a replay on a broker, the rows of `dead_letters`, and the mirror's accounts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from schemas.account_context import AccountProfile
from schemas.dead_letter import DeadLetter, dead_letter_row
from schemas.tables import ACCOUNTS, DEAD_LETTERS
from tests.fixtures.changes import NOW
from tests.integration.pubsub_targets import Target
from transforms.clients.bigquery import Warehouse
from transforms.write.publish_dead_letters import dead_letter_message

REQUEST_MESSAGES = 500
REQUEST_BYTES = 4_000_000
ACK_DEADLINE_SECONDS = 10
EMPTY_PULLS = 3


@dataclass(frozen=True)
class ReplayTopics:
    """Topics and subscriptions of one test, on one broker."""

    target: Target
    resources: ReplayResources
    dead_letter_topic: str
    changes: str
    parked: str

    def hold(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Publish dead letters as the pipeline does, so that the hold subscription gets them."""
        messages = [dead_letter_message(dead_letter) for dead_letter in dead_letters]
        self.hold_messages([{"data": it.payload, "attributes": it.attributes} for it in messages])

    def hold_messages(self, messages: Sequence[dict[str, Any]]) -> None:
        """Publish messages to the dead-letter topic, in as few requests as possible."""
        request: list[dict[str, Any]] = []
        size = 0
        for message in messages:
            if request and (len(request) == REQUEST_MESSAGES or size + len(message["data"]) > REQUEST_BYTES):
                self.target.publish_messages(self.dead_letter_topic, request)
                request, size = [], 0
            request.append(message)
            size += len(message["data"])
        if request:
            self.target.publish_messages(self.dead_letter_topic, request)

    def taken(self, subscription: str) -> list[Any]:
        """Pull and acknowledge everything on a subscription."""
        received: list[Any] = []
        empty = 0
        while empty < EMPTY_PULLS:
            some = self.target.pull(subscription, 500, at_once=True)
            empty = 0 if some else empty + 1
            if some:
                self.target.acknowledge(subscription, some)
                received += [item.message for item in some]
        return received

    def left(self) -> list[Any]:
        """Pull and acknowledge the messages that are left on the hold subscription."""
        return self.taken(self.resources.hold)


def replay_topics_on(
    target: Target, warehouse: Warehouse, *, ack_deadline_seconds: int = ACK_DEADLINE_SECONDS, **settings: Any
) -> ReplayTopics:
    """Create topics and subscriptions for one test; `settings` are the hold subscription's."""
    dead_letters, changes, parking_lot = target.topic(), target.topic(), target.topic()
    resources = ReplayResources(
        project=warehouse.project,
        topic=changes,
        parking_lot=parking_lot,
        hold=target.subscription(dead_letters, ack_deadline_seconds=ack_deadline_seconds, **settings),
    )
    subscriptions = target.subscription(changes), target.subscription(parking_lot)
    return ReplayTopics(target, resources, dead_letters, *subscriptions)


def replace_dead_letters(warehouse: Warehouse, dead_letters: Iterable[DeadLetter], model: str | None = None) -> None:
    """Replace the rows of `dead_letters`."""
    rows = [dead_letter_row(it, model) for it in dead_letters]
    warehouse.replace_rows(SCORING_DATASET, DEAD_LETTERS, rows)


def load_accounts(warehouse: Warehouse, account_ids: Iterable[str]) -> None:
    """Replace the mirror's accounts."""
    warehouse.replace_rows(
        CRM_DATASET, ACCOUNTS, [AccountProfile(account_id=it, name=it, modified_at=NOW) for it in account_ids]
    )
