"""A hold subscription with letters on it, the topics they go to, and what is on them afterwards."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.dead_letters.names import Place
from pipeline.resources.names import SCORING_DATASET
from schemas.dead_letter import DeadLetter, dead_letter_row
from schemas.tables import DEAD_LETTERS
from tests.integration.pubsub_targets import Target
from transforms.clients.bigquery import Warehouse
from transforms.write.publish_dead_letters import dead_letter_message

REQUEST_MESSAGES = 500
REQUEST_BYTES = 4_000_000
ACK_DEADLINE_SECONDS = 10
EMPTY_PULLS = 3


@dataclass(frozen=True)
class Stage:
    """Topics and subscriptions of one test, on one broker."""

    target: Target
    place: Place
    letters_topic: str
    changes: str
    parked: str

    def hold(self, letters: Iterable[DeadLetter]) -> None:
        """Publish letters as the pipeline does, so that the hold subscription has them."""
        messages = [dead_letter_message(letter) for letter in letters]
        self.hold_messages([{"data": it.payload, "attributes": it.attributes} for it in messages])

    def hold_messages(self, messages: Sequence[dict[str, Any]]) -> None:
        """Publish messages to the dead-letter topic, in as few requests as they fit in."""
        request: list[dict[str, Any]] = []
        size = 0
        for message in messages:
            if request and (len(request) == REQUEST_MESSAGES or size + len(message["data"]) > REQUEST_BYTES):
                self.target.publish_messages(self.letters_topic, request)
                request, size = [], 0
            request.append(message)
            size += len(message["data"])
        if request:
            self.target.publish_messages(self.letters_topic, request)

    def taken(self, subscription: str) -> list[Any]:
        """Pull and acknowledge all that a subscription has."""
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
        """Take what is left on the hold subscription."""
        return self.taken(self.place.hold)


def stage_on(
    target: Target, warehouse: Warehouse, *, ack_deadline_seconds: int = ACK_DEADLINE_SECONDS, **settings: Any
) -> Stage:
    """Create topics and subscriptions that nobody else has; `settings` are the hold subscription's."""
    letters, changes, parking_lot = target.topic(), target.topic(), target.topic()
    place = Place(
        project=warehouse.project,
        topic=changes,
        parking_lot=parking_lot,
        hold=target.subscription(letters, ack_deadline_seconds=ack_deadline_seconds, **settings),
    )
    return Stage(target, place, letters, target.subscription(changes), target.subscription(parking_lot))


def tell_table(warehouse: Warehouse, letters: Iterable[DeadLetter], model: str | None = None) -> None:
    """Put letters in place of what `dead_letters` held."""
    warehouse.replace_rows(SCORING_DATASET, DEAD_LETTERS, [dead_letter_row(letter, model) for letter in letters])
